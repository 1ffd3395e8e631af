"""What a request may say of the page beside what is bought."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final


class Device(StrEnum):
    """Where the buyer comes from."""

    WEB = "web"
    MOBILE = "mobile"


@dataclass(frozen=True, slots=True)
class PageWish:
    """`payment_methods` are the only kinds that are offered; `expires_in_minutes` or `expires_at` is when the page
    ends; `metadata` is the shop's own, for what it does at Stripe."""

    payment_methods: Sequence[str] | None = None
    expires_in_minutes: int | None = None
    expires_at: datetime | None = None
    device: Device | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


PLAIN_PAGE: Final = PageWish()


@dataclass(frozen=True, slots=True)
class PageRules:
    """How long a page lives by default, in seconds of business time; and whose card must confirm with 3-D Secure: who
    pays so much, in minor units by currency, or is in one of the countries."""

    session_seconds: float
    secured_above: Mapping[str, int] = field(default_factory=dict)
    secured_countries: Sequence[str] = ()
