"""The operations of `public`: what buyers may ask for."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from checkout.routes.ordering import CheckoutRequest
from checkout.routes.shapes import (
    BUYERS,
    IN_PROGRESS,
    OF_PLACING,
    ORDER_ID,
    RATE_LIMITED,
    RATE_LIMITS,
    STRIPE_AWAY,
    STRIPE_REFUSED,
    Order,
    OrderId,
    Orders,
    PlacedOrder,
)
from payments_shared.http import DIGITS
from payments_shared.http.operations import (
    ANYONE,
    DATABASE_AWAY,
    IDEMPOTENCY_KEY,
    NOT_FOUND,
    REPLAYED,
    Answer,
    Body,
    Header,
    Operation,
    Parameter,
    Refusal,
    people,
)

PAGE: Final = 20
PAGE_MAX: Final = 100
ETAG: Final = Header(
    "ETag", "Tells whether the order changed.", Annotated[str, Field(pattern=r'^"[0-9a-f]{32}"$')], always=True
)


class PageQuery(BaseModel):
    """`GET /api/payments/orders`."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX), DIGITS] = PAGE
    cursor: Annotated[OrderId | None, Field(description="The `next_cursor` of the page before.")] = None


PLACE: Final = Operation(
    method="POST",
    path="/api/payments/checkout-session",
    id="createCheckoutSession",
    summary="Place an order and get the URL to pay at.",
    description=(
        "The same `Idempotency-Key` with the same body gets the same answer again, marked by `Idempotency-Replayed`. "
        "A guest is told apart by the e-mail address, a customer by the bearer token.\n\n"
        "With `use_store_credit` the customer's store credit pays first, as `quoteCart` shows it. Where it pays all of "
        "the order nothing is asked of Stripe: the answer is 201 with `status` `paid`, and `checkout_url` leads to the "
        "success page."
    ),
    callers=(ANYONE, people()),
    parameters=(IDEMPOTENCY_KEY,),
    body=Body(
        CheckoutRequest,
        {
            "lines": [{"sku": "MUG-CLAY", "quantity": 2}],
            "coupon": "WELCOME10",
            "currency": "usd",
            "email": "ada@example.com",
        },
    ),
    answers=(
        Answer(201, "The order waits for its payment, or is paid.", PlacedOrder, headers=(REPLAYED, *RATE_LIMITS)),
    ),
    refusals=OF_PLACING,
)
LIST: Final = Operation(
    method="GET",
    path="/api/payments/orders",
    id="listOrders",
    summary="List the orders of the signed-in customer.",
    description="The newest first. A page ends with the cursor of the next one, or null when it is the last.",
    callers=(people("customer"),),
    query=PageQuery,
    answers=(Answer(200, "A page of orders.", Orders, headers=RATE_LIMITS),),
    refusals=(
        RATE_LIMITED,
        DATABASE_AWAY,
    ),
)
SHOW: Final = Operation(
    method="GET",
    path="/api/payments/orders/{order_id}",
    id="getOrder",
    summary="See an order.",
    description="Whoever may not see an order gets the same 404 as for one that does not exist.",
    callers=BUYERS,
    parameters=(ORDER_ID, Parameter("If-None-Match", "header", "The `ETag` of the last answer.")),
    answers=(
        Answer(200, "The order.", Order, headers=(ETAG, *RATE_LIMITS)),
        Answer(304, "Nothing changed since the answer with that `ETag`.", headers=(ETAG, *RATE_LIMITS)),
    ),
    refusals=(NOT_FOUND, RATE_LIMITED, DATABASE_AWAY),
)
CANCEL: Final = Operation(
    method="POST",
    path="/api/payments/orders/{order_id}/cancel",
    id="cancelOrder",
    summary="Cancel an order that is not paid.",
    description=(
        "The page to pay at is closed, and stock and coupon are given back. Asking again gets the same answer. A "
        "payment that is quicker wins: then the order is paid and stays so."
    ),
    callers=BUYERS,
    parameters=(ORDER_ID,),
    answers=(Answer(200, "The order, which is canceled, or had expired before.", Order, headers=RATE_LIMITS),),
    refusals=(
        NOT_FOUND,
        Refusal(409, "order_not_cancelable", "it is paid, or its payment is on its way."),
        STRIPE_REFUSED,
        RATE_LIMITED,
        IN_PROGRESS,
        STRIPE_AWAY,
        DATABASE_AWAY,
    ),
)
OPERATIONS: Final = (PLACE, LIST, SHOW, CANCEL)
