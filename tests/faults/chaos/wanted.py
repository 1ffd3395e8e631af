"""What buyers want and how their visits go, drawn from a seed; and what it must cost."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Json = dict[str, Any]  # Any: bodies of requests

PRICES: Final = {
    "CHAOS-TEA": {"usd": 1800, "eur": 1700, "jpy": 2400},
    "CHAOS-CUP": {"usd": 900, "eur": 800, "jpy": 1200},
    "CHAOS-POT": {"usd": 7400, "eur": 6900, "jpy": 9800},
}
SCARCE: Final = "CHAOS-RARE"
SCARCE_PRICES: Final = {"usd": 25_000, "eur": 23_000, "jpy": 33_000}
STOCK: Final = 100_000
SCARCE_STOCK: Final = 25
COUPON: Final = "CHAOS10"
RARE_COUPON: Final = "CHAOSFEW"
RARE_COUPON_USES: Final = 20
USES_EACH: Final = 2  # each buys once: it refuses nobody, and is there for the audit to look at
PERCENT_OFF: Final = 10  # of prices that are whole hundreds, so that no rounding blurs what an order must cost
COUPON_SHARE: Final = 0.2
REFUND_LIMIT: Final = 15_000  # above it a second person decides, in any currency
DEAR: Final = (("CHAOS-POT", 3),)  # more than that, with the coupon as well
CURRENCIES: Final = ("usd", "eur", "jpy")


class Visit(StrEnum):
    """How a buyer behaves."""

    PAY = "pay"  # with the first card
    SECOND_CARD = "second card"  # the first is declined
    DECLINED = "declined"  # and gives up
    ABANDON = "abandon"  # never pays
    EXPIRE = "expire"  # the session is closed at Stripe
    SURPLUS = "surplus"  # pays, and then once more
    LATE = "late"  # money comes for a session that has expired
    DELAYED = "delayed"  # a debit that arrives later
    BOUNCED = "bounced"  # a debit that fails
    TWICE = "twice"  # sends the same request twice at once, then pays
    OTHER_CART = "other cart"  # pays, and uses the key again for another cart
    IMPATIENT = "impatient"  # goes away at the first answer that is no payment page
    SCARCE = "scarce"  # wants what is nearly sold out, then pays
    SCARCE_LATE = "scarce, late"  # money comes for a session that has expired, when the goods may be gone
    RARE_COUPON = "rare coupon"  # wants one of the last uses, then pays
    CHALLENGE = "challenge"  # pays with a card whose bank asks back
    # Those pay, and then:
    REFUNDED = "refunded"  # staff give everything back
    PARTLY_REFUNDED = "partly refunded"  # or a part
    REFUNDED_AT_ONCE = "refunded at once"  # or halves, more at once than there are
    REFUND_REFUSED = "refund refused"  # a second person is asked, and says no
    DASHBOARD = "dashboard"  # somebody gives a part back in Stripe's dashboard
    REFUND_FAILS = "refund fails"  # the bank returns what was given back
    DISPUTE_WON = "dispute won"  # the bank takes the money, and gives it back
    DISPUTE_LOST = "dispute lost"  # and keeps a half
    INQUIRY = "inquiry"  # the bank asks, and is content
    ESCALATED = "escalated"  # the bank asks, and then takes the money
    REFUND_DISPUTED = "refund disputed"  # staff give all of it back while the bank takes a part


AFTERWARDS: Final = frozenset(
    {
        Visit.REFUNDED, Visit.PARTLY_REFUNDED, Visit.REFUNDED_AT_ONCE, Visit.REFUND_REFUSED, Visit.DASHBOARD,
        Visit.REFUND_FAILS, Visit.DISPUTE_WON, Visit.DISPUTE_LOST, Visit.INQUIRY, Visit.ESCALATED,
        Visit.REFUND_DISPUTED,
    }
)  # fmt: skip
"""Visits that go on after the purchase."""


SHARES: Final = {
    Visit.PAY: 22, Visit.SECOND_CARD: 8, Visit.DECLINED: 5, Visit.ABANDON: 6, Visit.EXPIRE: 5, Visit.SURPLUS: 6,
    Visit.LATE: 2, Visit.DELAYED: 4, Visit.BOUNCED: 3, Visit.TWICE: 4, Visit.OTHER_CART: 2, Visit.IMPATIENT: 4,
    Visit.SCARCE: 3, Visit.SCARCE_LATE: 2, Visit.RARE_COUPON: 2, Visit.CHALLENGE: 2, Visit.REFUNDED: 2,
    Visit.PARTLY_REFUNDED: 2, Visit.REFUNDED_AT_ONCE: 2, Visit.REFUND_REFUSED: 2, Visit.DASHBOARD: 2,
    Visit.REFUND_FAILS: 2, Visit.DISPUTE_WON: 2, Visit.DISPUTE_LOST: 2, Visit.INQUIRY: 2, Visit.ESCALATED: 2,
    Visit.REFUND_DISPUTED: 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """One purchase before it is made. Amounts are in minor units; `key` is its idempotency key."""

    number: int
    visit: Visit
    key: str
    lines: tuple[tuple[str, int], ...]
    currency: str
    coupon: str | None

    @property
    def email(self) -> str:
        return f"buyer{self.number}@example.com"

    @property
    def subtotal_minor(self) -> int:
        return sum(price(sku, self.currency) * quantity for sku, quantity in self.lines)

    @property
    def discount_minor(self) -> int:
        return self.subtotal_minor * PERCENT_OFF // 100 if self.coupon else 0

    @property
    def total_minor(self) -> int:
        return self.subtotal_minor - self.discount_minor

    @property
    def body(self) -> Json:
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in self.lines]
        body: Json = {"lines": lines, "email": self.email, "currency": self.currency}
        return body | ({"coupon": self.coupon} if self.coupon else {})


def price(sku: str, currency: str) -> int:
    """The catalogue's price."""
    return (SCARCE_PRICES if sku == SCARCE else PRICES[sku])[currency]


def purchases(seed: int) -> Iterator[Wanted]:
    """Purchases without end; the same seed gives the same ones."""
    chance = random.Random(f"buyers {seed}")
    number = 0
    while True:
        number += 1
        yield _drawn(chance, number)


def _drawn(chance: random.Random, number: int) -> Wanted:
    (visit,) = chance.choices(list(SHARES), list(SHARES.values()))
    scarce = visit in (Visit.SCARCE, Visit.SCARCE_LATE)
    skus = (SCARCE,) if scarce else chance.sample(sorted(PRICES), chance.choice((1, 1, 2)))
    lines = tuple((sku, 1 if sku == SCARCE else chance.randint(1, 3)) for sku in skus)
    return Wanted(
        number=number,
        visit=visit,
        key=f"{chance.getrandbits(96):024x}",
        lines=DEAR if visit is Visit.REFUND_REFUSED else lines,
        currency=chance.choice(CURRENCIES),
        coupon=RARE_COUPON if visit is Visit.RARE_COUPON else COUPON if chance.random() < COUPON_SHARE else None,
    )
