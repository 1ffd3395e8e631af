"""What happens in a shop beside purchases: money goes back, banks ask for it, store credit pays, pages are left."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from payments_shared.ids import parse_external_id
from payments_shared.queries import parse_queries
from sandbox.demo.customer import Json, wait_for
from sandbox.drill.shop import CODE, SETTLED_SECONDS, Shop

SENT: Final = "TOTE-CANVAS"
UNSENT: Final = "GUIDE-GLAZE"
CREDIT_MINOR: Final = 1_000  # less than a bag
PART_MINOR: Final = 500
COUPON: Final = "DRILL10"
_QUERIES: Final = parse_queries(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Round:
    """Orders by what becomes of them: given back in `part` and `whole`, `disputed`, `lost` to the buyer's bank, paid with
    store `credit` and given back in part, `unsent`, `expired`, and `left` with their page open."""

    part: Json
    whole: Json
    disputed: Json
    lost: Json
    credit: Json
    unsent: Json
    expired: Json
    left: Json

    @property
    def refunded(self) -> tuple[Json, ...]:
        """Whose money goes back, as far as it was paid by card."""
        return self.part, self.whole, self.credit

    @property
    def paid(self) -> tuple[Json, ...]:
        """What was paid for by card."""
        return *self.refunded, self.disputed, self.lost, self.unsent


@dataclass(frozen=True, slots=True)
class Dealings:
    """Rounds of such orders in one shop."""

    shop: Shop

    async def begin(self, name: str) -> Round:
        """Place the orders of a round, and wait until those that are paid are known as paid everywhere."""
        made = Round(
            part=await self.place(f"{name}-part"),
            whole=await self.place(f"{name}-whole"),
            disputed=await self.place(f"{name}-disputed"),
            lost=await self.place(f"{name}-lost"),
            credit=await self.place_with_credit(f"{name}-credit"),
            unsent=await self.place(f"{name}-unsent", UNSENT),
            expired=await self.place(f"{name}-expired"),
            left=await self.place(f"{name}-left"),
        )
        await self.shop.pay(made.paid)
        await self.paid(*made.paid)
        return made

    async def end(self, made: Round) -> None:
        """Let become of each order what its place says, and wait until it is known."""
        await self.refund(made.part, PART_MINOR)
        await self.refund(made.whole, None)
        await self.refund(made.credit, CREDIT_MINOR)
        for order in (made.disputed, made.lost):
            dispute = await self.shop.stripe("POST", f"/_sim/charges/{await self._charge(order)}/dispute", {})
            if order is made.lost:
                await self._wait("disputed", "a dispute to be known", _id(order))
                await self.shop.stripe("POST", f"/_sim/disputes/{dispute['id']}", {"won": False})
        await self.shop.stripe("POST", f"/v1/checkout/sessions/{_session(made.expired)}/expire")
        ids = (_ids(made.refunded), _id(made.disputed), _id(made.lost), _id(made.unsent), _id(made.expired))
        await self._wait("dealt", "what becomes of a round", *ids)

    # -- one by one --------------------------------------------------------------------------------------------------

    async def place(self, name: str, sku: str = SENT) -> Json:
        """An order by a guest."""
        return await self._placed({"email": f"{name}@example.com"}, sku)

    async def place_with_credit(self, name: str) -> Json:
        """An order by a customer who has some store credit, which it takes."""
        await self.grant(name)
        return await self.place_by(name)

    async def grant(self, name: str) -> None:
        """An administrator gives `name` store credit."""
        headers = _bearer(self.shop.deployment.keys.token("drill", "admin"))
        given = {"customer": name, "currency": "usd", "amount_minor": CREDIT_MINOR, "reference": f"drill-{name}"}
        await self.shop.ask(
            "POST", self.shop.deployment.internal_url("checkout") + "/admin/store-credits", given, headers
        )

    async def issue(self) -> None:
        """An administrator makes a coupon that each buyer may use a few times, and the code that stands for it."""
        headers = _bearer(self.shop.deployment.keys.token("drill", "admin"))
        url = self.shop.deployment.internal_url("checkout") + "/admin"
        await self.shop.ask("PUT", f"{url}/coupons/{COUPON}", {"percent_off": 10, "per_customer": 3}, headers)
        code = {"coupon": COUPON, "max_redemptions": 100_000}
        await self.shop.ask("PUT", f"{url}/promotion-codes/{CODE}", code, headers)

    async def place_by(self, name: str) -> Json:
        """An order by a customer, which takes what store credit he has."""
        return await self._placed({"use_store_credit": True}, SENT, self._customer(name))

    async def credit_of(self, name: str) -> int:
        """What store credit `name` may use."""
        url = f"{self.shop.deployment.front_door_url}/api/payments/store-credit"
        told = await self.shop.ask("GET", url, None, self._customer(name))
        return sum(balance["available_minor"] for balance in told["balances"])

    async def refund(self, order: Json, amount_minor: int | None) -> None:
        """Support gives so much back, or all of it."""
        token = self.shop.deployment.keys.token("sam", "support", email="sam@shop.example")
        amount = {} if amount_minor is None else {"amount_minor": amount_minor}
        wish = {"order_id": order["order_id"], "reason": "goodwill", **amount}
        url = f"{self.shop.deployment.front_door_url}/api/payments/refund"
        await self.shop.ask("POST", url, wish, {**_bearer(token), "Idempotency-Key": secrets.token_hex(12)})

    async def given_back(self, orders: Sequence[Json]) -> dict[str, list[int]]:
        """What Stripe paid back of each order."""
        truth = await self.shop.stripe("GET", "/_sim/truth")
        paid_by = {session["payment_intent"]: session["order_ref"] for session in truth["sessions"]}
        back: dict[str, list[int]] = {order["order_id"]: [] for order in orders}
        for refund in truth["refunds"]:
            if (order_id := paid_by.get(refund["payment_intent"])) in back:
                back[order_id].append(refund["amount"])
        return {order_id: sorted(amounts) for order_id, amounts in back.items()}

    async def returned(self, orders: Sequence[Json]) -> None:
        """Wait until Stripe has paid something back of each, and refunds knows it."""
        await self._wait("returned", "refunds to be known", _ids(orders))

    async def _placed(self, more: Json, sku: str, headers: dict[str, str] | None = None) -> Json:
        body = {"lines": [{"sku": sku, "quantity": 1}], "currency": "usd", "country": "US", **more}
        url = f"{self.shop.deployment.front_door_url}/api/payments/checkout-session"
        return await self.shop.ask("POST", url, body, {**(headers or {}), "Idempotency-Key": secrets.token_hex(12)})

    def _customer(self, name: str) -> dict[str, str]:
        return _bearer(self.shop.deployment.keys.token(name, "customer", email=f"{name}@example.com"))

    async def _charge(self, order: Json) -> str:
        session = await self.shop.stripe("GET", f"/v1/checkout/sessions/{_session(order)}")
        intent = await self.shop.stripe("GET", f"/v1/payment_intents/{session['payment_intent']}")
        return str(intent["latest_charge"])

    async def paid(self, *orders: Json) -> None:
        """Wait until refunds knows what was paid for them."""
        await self._wait("paid", "orders to be known as paid", _ids(orders))

    async def _wait(self, query: str, what: str, *ids: object) -> None:
        async def come() -> bool:
            return bool(await self.shop.value(_QUERIES[query], *ids))

        await wait_for(come, what, seconds=SETTLED_SECONDS)


def refunded(rounds: Sequence[Round]) -> list[Json]:
    """Whose money went back, of all rounds."""
    return [order for one in rounds for order in one.refunded]


def _session(order: Json) -> str:
    return str(order["checkout_url"]).rpartition("/")[2]


def _id(order: Json) -> UUID:
    return parse_external_id("ord", order["order_id"])


def _ids(orders: Sequence[Json]) -> list[UUID]:
    return [_id(order) for order in orders]


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
