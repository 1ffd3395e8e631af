"""A disputed order as tests put it together: facts as they are heard, and how Stripe took the money."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from payments_shared.contracts import checkout, fulfillment, notifications
from payments_shared.contracts.inventory import StockLine
from refunds.decide import hearing
from refunds.decide.exhibiting import Case
from refunds.model.bills import Bill, Line
from refunds.model.disputes import Dispute, DisputeState
from refunds.model.exhibits import Charge, Exhibit, GivenBack
from refunds.model.refunds import Order

ORDER_ID: Final = UUID(int=7)
SHIPMENT_ID: Final = UUID(int=8)
NOON: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EMAIL: Final = "ada@example.com"
POLICY: Final = "Goods may be sent back within 30 days."


def hours(count: float) -> datetime:
    """So many hours after noon of the day on which everything begins."""
    return NOON + timedelta(hours=count)


BILL: Final = Bill(
    currency="usd",
    subtotal_minor=10_000,
    discount_minor=1_000,
    tax_minor=500,
    shipping_minor=500,
    total_minor=10_000,
    store_credit_minor=0,
    lines=(Line("TEA", "Tea 茶", 2, 6_000, (("TEA", 1),)), Line("EBOOK", "A book", 1, 4_000, (("EBOOK", 1),))),
    paid_at=hours(0.1),
)
DISPUTE: Final = Dispute(
    id="du_1",
    charge="ch_1",
    payment_intent="pi_1",
    order_id=ORDER_ID,
    amount_minor=6_000,
    currency="usd",
    state=DisputeState.OPEN,
    stripe_status="needs_response",
    reason="fraudulent",
    network_reason_code="10.4",
    due_by=hours(24 * 20),
    has_evidence=False,
    submission_count=0,
    past_due=False,
    charge_refundable=False,
    asked_at=hours(24 * 10),
    version=1,
    said="opened:dispute",
    reminded_hours=None,
    opened_at=hours(24 * 10),
    closed_at=None,
)
CHARGE: Final = Charge(
    id="ch_1",
    payment_intent="pi_1",
    at=hours(0.1),
    amount_minor=10_000,
    currency="usd",
    method="card",
    brand="visa",
    last4="4242",
    country="US",
    three_d_secure="authenticated",
    three_d_secure_flow="challenge",
    three_d_secure_version="2.2.0",
    cvc_check="pass",
    line1_check="pass",
    postal_code_check="unavailable",
    network_status="approved_by_network",
    risk_level="normal",
    risk_score=12,
    billing_name="Ada Lovelace",
    billing_address=("12 St James's Square", "SW1Y 4JH London", "GB"),
)
CUSTOMER: Final = checkout.Customer(email=EMAIL, name="Ada Lovelace")
ADDRESS: Final = checkout.Address(
    name="山田太郎", line1="1-2-3 Marunouchi", city="Tōkyō", postal_code="100-0005", country="JP"
)


def order(**changed: object) -> Order:
    """The order, paid."""
    known = Order(ORDER_ID, {"email": EMAIL, "name": "Ada Lovelace"}, paid=True, shortfall=False, bill=BILL)
    return replace(known, **changed)  # type: ignore[arg-type]


def paid_message() -> checkout.OrderPaid:
    """What checkout said when the order was paid."""
    return checkout.OrderPaid(
        order_id=ORDER_ID,
        currency="usd",
        subtotal_minor=10_000,
        discount_minor=1_000,
        tax_minor=500,
        shipping_minor=500,
        total_minor=10_000,
        lines=(),
        customer=CUSTOMER,
        shipping_address=ADDRESS,
        shipping_option=checkout.ShippingOption(code="post", name="By post"),
        payments=(),
        paid_at=hours(0.1),
    )


def heard() -> list[tuple[hearing.Heard, datetime]]:
    """What the neighbours said, and when."""
    about = {"order_id": ORDER_ID, "shipment_id": SHIPMENT_ID}
    lines = (StockLine(sku="TEA", quantity=2),)
    client = checkout.Client(address="203.0.113.7", user_agent="Mozilla/5.0 (a browser)")
    placed = checkout.OrderPlaced(
        order_id=ORDER_ID,
        currency="usd",
        subtotal_minor=10_000,
        discount_minor=1_000,
        total_minor=9_000,
        lines=(),
        customer=CUSTOMER,
        expires_at=hours(1),
        client=client,
    )
    mail = notifications.NotificationSent(
        mail_id=UUID(int=9),
        kind="order_confirmation",
        ref="1",
        order_id=ORDER_ID,
        message_id="<m1@shop.example>",
        recipient="Ada@example.com",
    )
    return [
        (placed, hours(0)),
        (fulfillment.ShipmentCreated(lines=lines, **about), hours(1)),
        (fulfillment.ShipmentShipped(carrier="Post", tracking_number="RR123", **about), hours(24)),
        (fulfillment.ShipmentDelivered(**about), hours(72)),
        (fulfillment.DigitalDelivered(order_id=ORDER_ID, lines=(StockLine(sku="EBOOK", quantity=1),)), hours(0.5)),
        (mail, hours(0.2)),
        (mail.model_copy(update={"mail_id": UUID(int=10), "recipient": "staff@shop.example"}), hours(0.3)),
    ]


def exhibits(*charges: Charge) -> list[Exhibit]:
    """All that was heard, with what Stripe says of the charges; without any, of the disputed one."""
    kept = [hearing.exhibit_of(message, at) for message, at in heard()]
    found = [one for one in kept if one is not None]
    found.append(hearing.exhibit_of_paid(paid_message(), hours(0.1)))
    return found + [hearing.exhibit_of_charge(ORDER_ID, charge) for charge in charges or (CHARGE,)]


def refund(**changed: object) -> GivenBack:
    """A refund that succeeded before the dispute."""
    known = GivenBack(
        refund_id=UUID(int=11),
        payment_intent="pi_1",
        stripe_refund_id="re_1",
        amount_minor=4_000,
        currency="usd",
        reason="goodwill",
        state="succeeded",
        asked_at=hours(100),
        state_at=hours(101),
    )
    return replace(known, **changed)  # type: ignore[arg-type]


def case(*, reason: str = "fraudulent", refunds: Sequence[GivenBack] = (), charges: Sequence[Charge] = ()) -> Case:
    """The disputed order with everything that proves it."""
    return Case(replace(DISPUTE, reason=reason), order(), exhibits(*charges), refunds, POLICY)
