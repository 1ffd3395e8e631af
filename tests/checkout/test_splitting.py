"""An order that two cards pay: both are captured, or neither, and what one took for nothing goes back once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from checkout.decide.recovering import Links
from checkout.gateway import Payments
from checkout.handlers.canceling import Canceling
from checkout.handlers.facts import Delays, Facts
from checkout.model.orders import State
from checkout.store import orders
from payments_shared.errors import Refused
from payments_shared.messaging import Outbox
from payments_shared.postgres import open_pool
from payments_shared.stripe_client import open_stripe
from tests.checkout.test_one_click import ASKS, DECLINES, intents_of
from tests.support.people import Person
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of


@pytest_asyncio.fixture(loop_scope="session")
async def ada(shopper: Shopper) -> AsyncIterator[Person]:
    """Somebody without a saved method."""
    yield Person(shopper, "ada-" + secrets.token_hex(4))


@pytest_asyncio.fixture(loop_scope="session")
async def sku(shopper: Shopper) -> AsyncIterator[str]:
    """Goods, five pieces."""
    yield await shopper.offer(stock=5)


async def cards(person: Person, *numbers: str) -> list[str]:
    """What he saved, in this order."""
    return [(await person.saves(number))["id"] for number in numbers]


async def buys(
    person: Person, sku: str, methods: list[str], *, quantity: int = 2, amount: int = 1000, **given: object
) -> Answer:
    """An order of which the first card pays so much."""
    split = [{"method_id": methods[0], "amount_minor": amount}, {"method_id": methods[1]}]
    return await person.buys(sku, quantity=quantity, split=split, **given)  # type: ignore[arg-type]


async def taken(shopper: Shopper, sku: str) -> list[tuple[str, int]]:
    """What became of all intents of a product, in the order in which they were made."""
    return [(intent["status"], intent["amount_received"]) for intent in await intents_of(shopper, sku)]


async def becomes(shopper: Shopper, sku: str, wanted: list[tuple[str, int]]) -> None:
    """Wait until that is so."""

    async def probe() -> bool:
        return await taken(shopper, sku) == wanted

    await eventually(probe, what=f"the intents {wanted}")


async def test_two_cards_pay_one_order_that_is_shipped_and_confirmed_once(
    shopper: Shopper, ada: Person, sku: str
) -> None:
    methods = await cards(ada, "4242424242424242", "5555555555554444")

    answer = await buys(ada, sku, methods)

    assert (answer.status, answer.body["status"], answer.body["total_minor"]) == (201, "paid", 3600), answer
    assert [(part["method_id"], part["amount_minor"]) for part in answer.body["payments"]] == [
        (methods[0], 1000),
        (methods[1], 2600),
    ]
    assert await taken(shopper, sku) == [("succeeded", 1000), ("succeeded", 2600)]
    await shopper.until(answer.body, "paid")
    await shopper.audited()
    assert await shopper.effects(answer.body) == (1, 1, 1, 1)
    captured = "SELECT captured_minor FROM refunds.payments WHERE order_id = $1 ORDER BY captured_minor"
    assert [row[0] for row in await shopper.owner.fetch(captured, uuid_of(answer.body))] == [1000, 2600]
    assert await shopper.count("SELECT count(*) FROM refunds.refunds WHERE order_id = $1", uuid_of(answer.body)) == 0


async def test_where_one_card_is_refused_neither_pays(shopper: Shopper, ada: Person) -> None:
    good, poor, asks = await cards(ada, "4242424242424242", DECLINES, ASKS)
    skus = [await shopper.offer(stock=5) for _ in range(3)]

    answers = [
        await buys(ada, sku, methods)
        for sku, methods in zip(skus, ([good, poor], [poor, good], [good, asks]), strict=True)
    ]

    assert [(one.status, one.body["code"], one.body["method_id"]) for one in answers] == [
        (402, "payment_declined", poor),
        (402, "payment_declined", poor),
        (402, "payment_declined", asks),
    ]
    assert answers[2].body["payment_problem"]["code"] == "authenticate"
    assert await taken(shopper, skus[1]) == [("canceled", 0)], "the second was never asked for"
    for sku in (skus[0], skus[2]):
        assert await taken(shopper, sku) == [("canceled", 0)] * 2
    await shopper.audited()
    assert [(await shopper.stock_of(sku))["available"] for sku in skus] == [5] * 3


async def test_what_one_card_paid_goes_back_once_when_the_other_cannot_be_captured(
    shopper: Shopper, ada: Person, sku: str
) -> None:
    """The second authorization ends at Stripe between the two captures."""
    methods = await cards(ada, "4242424242424242", "5555555555554444")
    fault = {"kind": "hold", "path": "/v1/payment_intents/pi_", "count": 2, "seconds": 2.0}
    await shopper.stripe("POST", "/_sim/faults", fault)
    asked = asyncio.ensure_future(buys(ada, sku, methods))
    await becomes(shopper, sku, [("succeeded", 1000), ("requires_capture", 0)])
    (_, second) = await intents_of(shopper, sku)
    await asyncio.sleep(0.3)  # the second capture is on its way, so that this is not held
    await shopper.stripe("POST", f"/v1/payment_intents/{second['id']}/cancel")

    answer = await asked
    await shopper.stripe("DELETE", "/_sim/faults")

    assert (answer.status, answer.body["code"]) == (402, "payment_declined"), answer
    order: Json = {"order_id": answer.body["order_id"]}
    await becomes(shopper, sku, [("succeeded", 1000), ("canceled", 0)])

    async def given_back() -> bool:
        sql = "SELECT count(*) FROM refunds.refunds WHERE order_id = $1 AND state = 'succeeded' AND amount_minor = 1000"
        return await shopper.count(sql, uuid_of(order)) == 1

    await eventually(given_back, what="the first part back")
    await shopper.audited()
    assert await shopper.count("SELECT count(*) FROM refunds.refunds WHERE order_id = $1", uuid_of(order)) == 1
    assert len(await shopper.mails(order, "refund_succeeded")) == 1
    assert (await shopper.stock_of(sku))["available"] == 5


async def test_whoever_repeats_his_request_too_late_pays_with_neither_card(
    shopper: Shopper, ada: Person, sku: str
) -> None:
    """The answer to the second authorization was lost, and the stock is kept no longer."""
    methods, key = await cards(ada, "4242424242424242", "5555555555554444"), secrets.token_hex(12)
    for kind, count in (("hold", 1), ("cut_before", 2)):
        await shopper.stripe("POST", "/_sim/faults", {"kind": kind, "path": "/v1/payment_intents", "count": count})
    first = await buys(ada, sku, methods, key=key)
    await shopper.stripe("DELETE", "/_sim/faults")
    assert await taken(shopper, sku) == [("requires_capture", 0)]
    await shopper.advance(1900)

    async def answered() -> Answer | None:
        answer = await buys(ada, sku, methods, key=key)
        return None if answer.status == 503 else answer

    second: Answer = await eventually(answered, what="an answer")

    assert first.status == 503
    assert (second.status, second.body["code"]) == (402, "payment_declined")
    assert await taken(shopper, sku) == [("canceled", 0)]


async def test_a_split_that_cannot_be_is_refused_before_anything_is_ordered(
    shopper: Shopper, ada: Person, sku: str
) -> None:
    methods = await cards(ada, "4242424242424242", "5555555555554444")
    account = (await ada.saves("DE89370400440532013000", method="sepa_debit"))["id"]
    both = [{"method_id": methods[0], "amount_minor": 1000}, {"method_id": methods[1], "amount_minor": 800}]

    answers = [
        await ada.buys(sku, split=[{"method_id": methods[0], "amount_minor": 1000}, {"method_id": methods[0]}]),
        await ada.buys(sku, split=[{**both[0], "amount_minor": 999}, both[1]]),
        await ada.buys(sku, split=[{**both[0], "amount_minor": 49}, {"method_id": methods[1]}]),
        await ada.buys(sku, split=[both[0], {"method_id": account}], currency="eur"),
        await ada.buys(sku, split=[both[0], {"method_id": "pm_none"}]),
        await ada.buys(sku, split=both, method_id=methods[0]),
        await ada.buys(sku, split=both[:1]),
    ]

    assert [(one.status, one.body["code"]) for one in answers] == [
        (422, "split_same_method"),
        (422, "split_not_total"),
        (422, "split_part_too_small"),
        (409, "payment_method_not_splittable"),
        (404, "not_found"),
        (422, "validation_failed"),
        (422, "validation_failed"),
    ]
    assert await shopper.count("SELECT count(*) FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku) == 0


async def test_no_end_is_wanted_of_money_on_its_way_and_nothing_is_asked_for_what_is_released(
    shopper: Shopper, ada: Person, sku: str
) -> None:
    """Whoever asks for either has looked at the order a moment ago, when it was otherwise."""
    good, second, poor = await cards(ada, "4242424242424242", "5555555555554444", DECLINES)
    paid = uuid_of((await buys(ada, sku, [good, second])).body)
    released = uuid_of((await buys(ada, sku, [poor, good])).body)
    pool = await open_pool(
        shopper.deployment.provisioned.database_urls["checkout"], schema="checkout", application_name="test"
    )
    outbox = Outbox(pool, service="checkout")
    facts = Facts(outbox, Delays(60, 60), Links(b"s" * 32, 60))

    async with open_stripe(api_key="sk_test_" + "0" * 24, api_base=shopper.deployment.stripe_url) as stripe:
        async with outbox.transaction() as tx:
            seen = await orders.load_order(tx.connection, paid)
            assert seen is not None
            await orders.mark_leg(tx.connection, released, 1, asked=True)
            after = await orders.load_order(tx.connection, released)
        with pytest.raises(Refused) as refused:
            await Canceling(outbox, facts, Payments(stripe)).end(replace(seen, state=State.PENDING), "buyer")
    await pool.close()

    assert refused.value.code == "order_not_cancelable"
    wishes = "SELECT count(*) FROM checkout.order_facts WHERE order_id = $1 AND kind = 'EndAsked'"
    assert await shopper.count(wishes, paid) == 0
    assert after is not None
    assert after.split is not None
    assert (after.split.legs[1].asked, after.split_open) == (False, False)
