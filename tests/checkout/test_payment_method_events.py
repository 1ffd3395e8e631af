"""Events about payment methods on a real database: every order of a small history, with repeats, ends in the same row."""

import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from checkout.decide import methods as rules
from checkout.gateway import method_in
from checkout.handlers.expiring import Reminding
from checkout.handlers.methods import Methods
from checkout.store import methods as store
from checkout.store.orders import business_now
from payments_shared.contracts import stripe as wire
from payments_shared.contracts.stripe import StripeEvent
from payments_shared.errors import Refused
from payments_shared.ids import derived_id, new_secret
from payments_shared.messaging import Outbox
from payments_shared.postgres import open_pool
from sandbox.services.resolver import Servers
from tests.shared.messaging import provisioned
from tests.support.shopping import Json

pytestmark = pytest.mark.servers

CUSTOMER = "cus_ours"


@dataclass(slots=True)
class Stripe:
    """What Stripe shows of one method, and what it answers when it is asked."""

    outbox: Outbox
    truth: Json
    id: str = field(default_factory=lambda: "pm_" + new_secret(64))

    def shown(self, **changes: Any) -> Json:
        """The method with `changes` of its card, or of whose it is."""
        card = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030, "fingerprint": "fp", **changes}
        customer = card.pop("customer", CUSTOMER)
        return {"id": self.id, "type": "card", "customer": customer, "created": 1_760_000_000, "card": card}

    async def tell(self, *events: StripeEvent) -> None:
        """Hear events one after the other; what is asked is answered with the truth at the end of all of them."""
        methods = Methods(self.outbox)
        handlers = {
            "setup_intent.succeeded": methods.hear_setup,
            "payment_method.detached": methods.hear_detached,
            "customer.deleted": methods.hear_customer_deleted,
        }
        for event in events:
            async with self.outbox.transaction() as tx:
                await handlers.get(event.type, methods.hear_method)(tx, event)
        await self.answer(methods)

    async def answer(self, methods: Methods) -> None:
        """Answer all questions, the last one first, and each of them twice."""
        sql = "SELECT body FROM outbox WHERE type = 'checkout.cmd.fetch_payment_method.v1' AND partition_key = $1"
        async with self.outbox.pool.acquire() as connection:
            rows = await connection.fetch(sql + " ORDER BY seq DESC", self.id)
        numbers = [StripeNumber.model_validate_json(row["body"]).data.number for row in rows]
        for number in (*numbers, *numbers):
            async with self.outbox.transaction() as tx:
                await methods.learn(tx, self.id, method_in(wire.PaymentMethod.model_validate(self.truth)), number)

    async def row(self) -> Mapping[str, object] | None:
        """What is kept of the method."""
        async with self.outbox.pool.acquire() as connection:
            saved = await store.load_method(connection, self.id)
        if saved is None:
            return None
        return {"detached": saved.detached, "last4": saved.method.last4, "exp_year": saved.method.exp_year}


class _Data(wire.StripeObject):
    number: int


class StripeNumber(wire.StripeObject):
    """The number in a command's envelope."""

    data: _Data


@pytest.fixture(scope="module")
async def outbox(servers: Servers) -> AsyncIterator[Outbox]:
    """Checkout's database, with one customer."""
    async with provisioned(servers) as made:
        pool = await open_pool(
            made.database_urls["checkout"], schema="checkout", application_name="checkout", max_size=4
        )
        ready = Outbox(pool, service="checkout")
        async with ready.transaction() as tx:
            await store.insert_customer(tx.connection, derived_id("customer", "ada"), "ada", None, livemode=False)
            customer = await store.load_customer(tx.connection, "ada", livemode=False)
            assert customer is not None
            await store.keep_stripe_customer(tx.connection, customer, CUSTOMER)
        yield ready
        await pool.close()


def event(type_: str, subject: Json) -> StripeEvent:
    """An event of Stripe's."""
    named = f"evt_{derived_id('event', type_, repr(subject)).hex}"
    return StripeEvent(id=named, type=type_, created=1, livemode=False, data={"object": subject})


def history(stripe: Stripe) -> Sequence[StripeEvent]:
    """A card that is saved, renewed and replaced."""
    ready = {"id": "seti_1", "status": "succeeded", "customer": CUSTOMER, "payment_method": stripe.id}
    return (
        event("setup_intent.succeeded", ready),
        event("payment_method.attached", stripe.shown()),
        event("payment_method.updated", stripe.shown(exp_year=2034)),
        event("payment_method.automatically_updated", stripe.shown(exp_year=2034, last4="1881")),
    )


async def test_every_order_of_a_cards_history_ends_with_the_card_as_it_is(outbox: Outbox) -> None:
    ends = set()
    for order in itertools.permutations(range(4)):
        stripe = Stripe(outbox, {})
        stripe.truth = stripe.shown(exp_year=2034, last4="1881")
        events = [history(stripe)[place] for place in order]

        await stripe.tell(*events)
        await stripe.tell(*events)

        ends.add(tuple((await stripe.row() or {}).items()))
    assert ends == {(("detached", False), ("last4", "1881"), ("exp_year", 2034))}


async def test_every_order_that_holds_the_detachment_ends_without_the_card(outbox: Outbox) -> None:
    ends = set()
    for order in itertools.permutations(range(5)):
        stripe = Stripe(outbox, {})
        stripe.truth = stripe.shown(exp_year=2034, last4="1881", customer=None)
        gone = event("payment_method.detached", stripe.truth)
        events = [(*history(stripe), gone)[place] for place in order]

        await stripe.tell(*events)

        ends.add(tuple((await stripe.row() or {}).items()))
    assert ends == {(("detached", True), ("last4", None), ("exp_year", None))}


async def test_what_belongs_to_no_customer_of_ours_is_not_kept(outbox: Outbox) -> None:
    stripe = Stripe(outbox, {})
    foreign = {"id": "seti_1", "status": "succeeded", "customer": "cus_other", "payment_method": stripe.id}

    for heard in (
        event("payment_method.attached", stripe.shown(customer="cus_other")),
        event("payment_method.updated", stripe.shown(customer=None)),
        event("setup_intent.succeeded", foreign),
        event("setup_intent.succeeded", {**foreign, "customer": None}),
    ):
        with pytest.raises(Refused, match="not_ours"):
            await stripe.tell(heard)

    assert await stripe.row() is None


async def test_an_answer_that_makes_a_method_somebody_elses_is_not_kept(outbox: Outbox) -> None:
    stripe = Stripe(outbox, {})
    stripe.truth = stripe.shown(customer="cus_other")

    await stripe.tell(history(stripe)[0])

    assert await stripe.row() is None


async def test_a_customer_who_was_deleted_leaves_no_card(outbox: Outbox) -> None:
    async with outbox.transaction() as tx:
        await store.insert_customer(tx.connection, derived_id("customer", "eve"), "eve", None, livemode=False)
        eve = await store.load_customer(tx.connection, "eve", livemode=False)
        assert eve is not None
        await store.keep_stripe_customer(tx.connection, eve, "cus_eve")
    stripe = Stripe(outbox, {})
    await stripe.tell(event("payment_method.attached", stripe.shown(customer="cus_eve")))

    await stripe.tell(event("customer.deleted", {"id": "cus_eve"}), event("customer.deleted", {"id": "cus_eve"}))

    async with outbox.transaction() as tx:
        after = await store.load_customer(tx.connection, "eve", livemode=False)
    assert after is not None
    assert (after.stripe_customer_id, after.stripe_attempt) == (None, 1)
    assert await stripe.row() == {"detached": True, "last4": None, "exp_year": None}


async def _said(outbox: Outbox, method_id: str) -> list[Json]:
    sql = "SELECT body FROM outbox WHERE type = 'payment_method.expiring.v1' AND partition_key = $1 ORDER BY seq"
    async with outbox.pool.acquire() as connection:
        return [json.loads(row["body"])["data"] for row in await connection.fetch(sql, method_id)]


async def _default_of(outbox: Outbox, person: str, **card: Any) -> Stripe:
    """The first card of a person, who has an address."""
    async with outbox.transaction() as tx:
        await store.insert_customer(
            tx.connection, derived_id("customer", person), person, f"{person}@example.com", livemode=False
        )
        customer = await store.load_customer(tx.connection, person, livemode=False)
        assert customer is not None
        await store.keep_stripe_customer(tx.connection, customer, f"cus_{person}")
    stripe = Stripe(outbox, {})
    await stripe.tell(event("payment_method.attached", stripe.shown(customer=f"cus_{person}", **card)))
    return stripe


async def test_the_owner_of_a_default_card_is_told_once_for_each_expiry(outbox: Outbox) -> None:
    async with outbox.transaction() as tx:
        now = await business_now(tx.connection)
    [month, *_] = rules.ending_months(now) or [rules.month_number(now.year, now.month)]
    year, number = divmod(month - 1, 12)
    ends = {"exp_year": year, "exp_month": number + 1}
    told, later = await _default_of(outbox, "told", **ends), await _default_of(outbox, "later", exp_year=2090)
    near = bool(rules.ending_months(now))

    for _ in range(2):
        await Reminding(outbox).remind()
    told.truth = told.shown(customer="cus_told", **{**ends, "last4": "1881"})
    await told.tell(event("payment_method.updated", told.truth))
    await Reminding(outbox).remind()

    said = await _said(outbox, told.id)
    assert [(one["customer"]["email"], one["last4"], one["exp_year"]) for one in said] == [
        ("told@example.com", "4242", year)
    ] * near
    assert await _said(outbox, later.id) == []


async def test_of_a_second_card_and_of_one_that_is_gone_nobody_is_told(outbox: Outbox) -> None:
    async with outbox.transaction() as tx:
        now = await business_now(tx.connection)
    ends = {"exp_year": now.year, "exp_month": now.month}
    first = await _default_of(outbox, "two", exp_year=2090)
    second = Stripe(outbox, {}, id="pm_z" + first.id[4:])
    shown = {**second.shown(customer="cus_two", **ends), "created": 1_770_000_000}
    await second.tell(event("payment_method.attached", shown))
    gone = await _default_of(outbox, "gone", **ends)
    await gone.tell(event("payment_method.detached", gone.shown(customer=None)))

    await Reminding(outbox).remind()

    assert [await _said(outbox, one.id) for one in (first, second, gone)] == [[], [], []]
