"""Who paid for orders that are not here is asked of Stripe few at a time, and nobody's silence hides the others."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from checkout.gateway import Takings
from checkout.model.losing import Buyer, Taken
from payments_shared.ids import new_id
from payments_shared.stripe_client import OutcomeUnknown, Stripe


@dataclass(slots=True)
class SlowStripe:
    """Knows a customer of each id but `silent`, of whom it says nothing; counts the calls that are under way."""

    silent: str | None = None
    under_way: int = 0
    most: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def v1(self) -> Any:  # Any: as the client's
        return SimpleNamespace(
            checkout=SimpleNamespace(sessions=SimpleNamespace(list_async=self._sessions)),
            customers=SimpleNamespace(retrieve_async=self._customer),
        )

    async def call(self, _: str, request: Callable[[], Awaitable[Any]]) -> Any:  # Any: as the client's
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0.01)
            return await request()
        finally:
            self.under_way -= 1

    async def _sessions(self, params: dict[str, Any]) -> Any:  # Any: as the client's
        self.asked.append(params["payment_intent"])
        return SimpleNamespace(data=[])

    async def _customer(self, customer: str) -> Any:  # Any: as the client's
        if customer == self.silent:
            raise OutcomeUnknown("Stripe did not answer in time.")
        return SimpleNamespace(to_dict=lambda: {"email": f"{customer}@example.com", "name": None})


def taken(number: int, refunded: int = 0) -> Taken:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Taken(f"pi_{number}", new_id(), 1000, "usd", at, f"cus_{number}", refunded)


async def test_ten_buyers_are_asked_after_at_once_and_come_in_their_order() -> None:
    stripe = SlowStripe()

    found = await Takings(cast("Stripe", stripe)).buyers([taken(number) for number in range(25)])

    assert found == [Buyer(f"cus_{number}@example.com") for number in range(25)]
    assert stripe.most == 10


async def test_one_of_whom_stripe_says_nothing_does_not_hide_the_others() -> None:
    found = await Takings(cast("Stripe", SlowStripe(silent="cus_1"))).buyers([taken(n) for n in range(3)])

    assert found == [Buyer("cus_0@example.com"), Buyer(), Buyer("cus_2@example.com")]


async def test_nobody_is_asked_after_where_nothing_is_left_to_give_back() -> None:
    stripe = SlowStripe()

    found = await Takings(cast("Stripe", stripe)).buyers([taken(0, 1000), taken(1, 999)])

    assert found == [Buyer(), Buyer("cus_1@example.com")]
    assert stripe.asked == ["pi_1"]
