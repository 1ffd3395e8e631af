"""What requests say of the page at Stripe."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field, StrictInt

from checkout.decide.paging import (
    METADATA_KEY,
    METADATA_MAX,
    METADATA_VALUE_MAX,
    OWN_METADATA,
    PAYMENT_METHODS,
    SECONDS_MAX,
    SECONDS_MIN,
)

MINUTES_MIN: Final = SECONDS_MIN // 60
MINUTES_MAX: Final = SECONDS_MAX // 60


def _known(value: str) -> str:
    if value not in PAYMENT_METHODS:
        raise ValueError("must be a kind of payment method such as card")
    return value


def _free(value: str) -> str:
    if value in OWN_METADATA:
        raise ValueError("is a key of ours")
    return value


def readable(value: str) -> str:
    """`value`, in which nothing acts in secret.

    Raises:
        ValueError: it has control characters.
    """
    if not value.isprintable():
        raise ValueError("must be text that can be read")
    return value


def named(value: str) -> str:
    """`value`, which people can read and which says something.

    Raises:
        ValueError: it has control characters, or nothing but space.
    """
    if not value.isprintable() or not value.strip():
        raise ValueError("must be text that can be read")
    return value


PaymentMethods = Annotated[
    list[Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": sorted(PAYMENT_METHODS)})]],
    Field(min_length=1, max_length=len(PAYMENT_METHODS)),
]
Minutes = Annotated[StrictInt, Field(ge=MINUTES_MIN, le=MINUTES_MAX)]
Metadata = Annotated[
    dict[
        Annotated[str, Field(pattern=METADATA_KEY), AfterValidator(_free)],
        Annotated[str, Field(min_length=1, max_length=METADATA_VALUE_MAX), AfterValidator(readable)],
    ],
    Field(max_length=METADATA_MAX),
]
