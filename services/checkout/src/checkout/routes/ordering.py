"""What a request to place an order says."""

import re
from collections.abc import Collection
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, WithJsonSchema, model_validator
from typing_extensions import TypeAliasType

from checkout.decide import returning
from checkout.decide.returning import is_path
from checkout.model.options import Device
from checkout.routes.paging import Metadata, Minutes, PaymentMethods
from checkout.routes.wishes import Country, Region, ShippingWish, UseStoreCredit
from payments_shared.http import Time
from payments_shared.money import SUPPORTED

LINES_MAX: Final = 50
QUANTITY_MAX: Final = 99
EMAIL_MAX: Final = 254
_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", re.ASCII)
COUPON: Final = r"^[A-Za-z0-9_-]{1,40}$"


def _own_path(value: str) -> str:
    # A path on the shop's own origin and never a URL: what is joined to an origin cannot leave it.
    if not is_path(value):
        raise ValueError("must be a path on the shop's own site")
    return value


def is_email(value: str) -> bool:
    """Whether a mail may be sent there."""
    return len(value) <= EMAIL_MAX and _EMAIL.fullmatch(value) is not None


def checked_email(value: str) -> str:
    """`value`, to which a mail may be sent.

    Raises:
        ValueError: none may be.
    """
    if not is_email(value):
        raise ValueError("must be an e-mail address")
    return value


def _currency(value: str) -> str:
    if value not in SUPPORTED:
        raise ValueError("must be a supported currency in lower case, such as usd")
    return value


ReturnUrl = Annotated[str, Field(min_length=1, max_length=returning.URL_MAX)]
OwnPath = Annotated[
    str,
    AfterValidator(_own_path),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": returning.URL_MAX,
            "pattern": r"^/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*/?)?(\?[A-Za-z0-9._~=&%-]*)?$",
            "description": "A path on the shop's own site, never a URL.",
        }
    ),
]
Currency = TypeAliasType(
    "Currency", Annotated[str, AfterValidator(_currency), Field(json_schema_extra={"enum": sorted(SUPPORTED)})]
)
Email = Annotated[
    str,
    AfterValidator(checked_email),
    WithJsonSchema({"type": "string", "maxLength": EMAIL_MAX, "pattern": f"^{_EMAIL.pattern}$"}),
]


class CheckoutLine(BaseModel):
    """One wanted line. A price is never accepted: prices are the catalogue's."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    sku: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    quantity: Annotated[StrictInt, Field(ge=1, le=QUANTITY_MAX)]


class CheckoutRequest(BaseModel):
    """`POST /api/payments/checkout-session`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    lines: Annotated[list[CheckoutLine], Field(min_length=1, max_length=LINES_MAX)]
    coupon: Annotated[str, Field(pattern=COUPON)] | None = None
    currency: Currency | None = None
    country: Country | None = None
    email: Email | None = None
    locale: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")] = "en-US"
    success_path: OwnPath | None = None
    cancel_path: OwnPath | None = None
    region: Region | None = None
    shipping: ShippingWish | None = None
    success_url: ReturnUrl | None = None
    cancel_url: ReturnUrl | None = None
    payment_methods: PaymentMethods | None = None
    expires_in_minutes: Minutes | None = None
    expires_at: Time | None = None
    origin: Device | None = None
    metadata: Metadata | None = None
    use_store_credit: UseStoreCredit = False

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        pairs = (("success_path", "success_url"), ("cancel_path", "cancel_url"), ("expires_in_minutes", "expires_at"))
        for one, other in pairs:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"give either {one} or {other}")
        return self

    def asked(self) -> dict[str, object]:
        """What tells this request from others under its key. What was added after the first release is left out where
        it is not given, so that a repeat of an older request is one still."""
        return self.model_dump(mode="json", exclude=not_given(self, _ADDED))


def not_given(request: BaseModel, added: Collection[str]) -> set[str]:
    """Those of `added` that a request leaves as they are without it."""
    fields = type(request).model_fields
    return {name for name in added if getattr(request, name) == fields[name].default}


_ADDED: Final = frozenset(
    [
        "region",
        "shipping",
        "success_url",
        "cancel_url",
        "payment_methods",
        "expires_in_minutes",
        "expires_at",
        "origin",
        "metadata",
        "use_store_credit",
    ]
)
