"""Cards that are tried where customers save them count as those that are tried at orders."""

import itertools
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from checkout.decide import velocity
from checkout.handlers.gating import Gates
from checkout.handlers.methods import Methods
from checkout.handlers.suspecting import attempt_that_saved, attempt_to_save
from checkout.model.limits import Limit
from checkout.model.risks import Attempt
from checkout.model.velocity import Limits, Tally
from checkout.store import methods as store
from checkout.store.orders import business_now
from payments_shared.contracts.stripe import StripeEvent
from payments_shared.errors import Refused
from payments_shared.ids import derived_id
from payments_shared.messaging import Outbox
from payments_shared.postgres import open_pool
from sandbox.services.resolver import Servers
from tests.checkout.fraud import a_careful_shop
from tests.checkout.test_card_testing import DECLINED
from tests.shared.messaging import provisioned
from tests.support.people import CARD, Person
from tests.support.shopping import Answer, Json, Shopper, eventually
from tests.support.stripe_spec import validate_event

NARROW = Limits(cards_per_buyer=Limit("cards_per_buyer", 3, 600), declines_per_buyer=Limit("declines_per_buyer", 4, 60))


def failed(
    attempt: str | None, card: str | None, customer: str | None = "cus_ada", *, created: int = 60, event: str = "evt_1"
) -> StripeEvent:
    """A card could not be saved."""
    method = {"id": "pm_1", "type": "card", "card": {"fingerprint": card}} if card else None
    error = {"code": "card_declined", "decline_code": "stolen_card", "type": "card_error", "payment_method": method}
    shown = {"id": "seti_1", "status": "requires_payment_method", "customer": customer, "latest_attempt": attempt}
    data = {"object": {**shown, "last_setup_error": error}}
    return StripeEvent(id=event, type="setup_intent.setup_failed", created=created, livemode=False, data=data)


def attached(method: str, card: str, customer: str, *, created: int = 60) -> StripeEvent:
    """A card was saved."""
    details = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2034, "fingerprint": card}
    data = {"object": {"id": method, "type": "card", "customer": customer, "created": created, "card": details}}
    return StripeEvent(id="evt_2", type="payment_method.attached", created=created, livemode=False, data=data)


# -- what an event tells ---------------------------------------------------------------------------------------------


def test_an_attempt_to_save_is_known_by_its_own_id_and_tells_the_card() -> None:
    at = datetime.fromtimestamp(60, UTC)

    assert attempt_to_save(failed("setatt_1", "fp")) == Attempt(
        "setatt_1", None, declined=True, at=at, method="card", failure="card_declined", fingerprint="fp",
        reason="stolen_card",
    )  # fmt: skip
    assert attempt_that_saved(attached("pm_1", "fp", "cus_ada")) == Attempt(
        "pm_1", None, declined=False, at=at, method="card", fingerprint="fp"
    )


def test_what_is_not_told_of_an_attempt_makes_it_no_other() -> None:
    bare = attempt_to_save(failed(None, None))

    assert (bare.charge, bare.fingerprint, bare.declined) == ("evt_1", None, True)


def test_who_tries_without_an_order_is_held_back_by_himself_alone() -> None:
    tally = Tally("setatt_1", None, None, "subject", "card", 0, 0, 0, 3, 3, 1)

    (found,) = velocity.exceeded(NARROW, tally)

    assert (found.limit.name, found.marks, found.own) == ("cards_per_buyer", ("subject",), True)


# -- a database ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def outbox(servers: Servers) -> AsyncIterator[Outbox]:
    """Checkout's database."""
    async with provisioned(servers) as made:
        pool = await open_pool(
            made.database_urls["checkout"], schema="checkout", application_name="checkout", max_size=4
        )
        yield Outbox(pool, service="checkout")
        await pool.close()


async def somebody(outbox: Outbox) -> str:
    """The subject of a new customer; at Stripe he is `cus_` and that."""
    subject = secrets.token_hex(6)
    async with outbox.transaction() as tx:
        await store.insert_customer(tx.connection, derived_id("customer", subject), subject, None, livemode=False)
        customer = await store.load_customer(tx.connection, subject, livemode=False)
        assert customer is not None
        await store.keep_stripe_customer(tx.connection, customer, f"cus_{subject}")
    return subject


async def hear(methods: Methods, *events: StripeEvent) -> None:
    """Hear events one after the other."""
    for event in events:
        heard = methods.hear_attached if event.type == "payment_method.attached" else methods.hear_setup_failed
        async with methods.outbox.transaction() as tx:
            await heard(tx, event)


async def refusal_of(methods: Methods, subject: str) -> str | None:
    """The rule for whose sake he saves nothing."""
    async with methods.outbox.transaction() as tx:
        try:
            await methods.gates.admit_saving(tx.connection, subject)
        except Refused as refusal:
            return refusal.code
    return None


async def canceled(outbox: Outbox) -> int:
    """How often an intent was to be canceled."""
    sql = "SELECT count(*) FROM outbox WHERE type = 'checkout.cmd.cancel_setup_intent.v1'"
    async with outbox.pool.acquire() as connection:
        found: int = await connection.fetchval(sql)
    return found


async def moment(outbox: Outbox) -> int:
    async with outbox.transaction() as tx:
        return int((await business_now(tx.connection)).timestamp())


@pytest.mark.servers
async def test_in_every_order_so_many_different_cards_hold_their_customer_back_and_nobody_else(outbox: Outbox) -> None:
    methods, now = Methods(outbox, Gates(b"secret", NARROW)), await moment(outbox)
    for order in itertools.permutations(range(3)):
        subject, other = await somebody(outbox), await somebody(outbox)
        events = [failed(f"setatt_{subject}{n}", f"fp{n}", f"cus_{subject}", created=now) for n in range(3)]
        before = await canceled(outbox)

        await hear(methods, *(events[place] for place in order[:2]))
        almost = await refusal_of(methods, subject)
        await hear(methods, *(events[place] for place in order))

        assert (almost, await refusal_of(methods, subject)) == (None, "velocity_exceeded")
        assert await refusal_of(methods, other) is None
        assert await canceled(outbox) == before + 1


@pytest.mark.servers
async def test_what_is_told_twice_of_an_attempt_was_tried_once(outbox: Outbox) -> None:
    methods, now, subject = Methods(outbox, Gates(b"secret", NARROW)), await moment(outbox), await somebody(outbox)
    told = [failed(f"setatt_{subject}", "fp", f"cus_{subject}", created=now, event=f"evt_{n}") for n in range(9)]

    await hear(methods, *told, told[0])

    assert await refusal_of(methods, subject) is None


@pytest.mark.servers
async def test_a_card_that_was_saved_is_one_of_those_that_were_tried(outbox: Outbox) -> None:
    methods, now, subject = Methods(outbox, Gates(b"secret", NARROW)), await moment(outbox), await somebody(outbox)
    good = [attached(f"pm_{subject}{n}", f"good{n}", f"cus_{subject}", created=now) for n in range(2)]

    await hear(methods, *good, *good)
    saved = await refusal_of(methods, subject)
    await hear(methods, failed(f"setatt_{subject}", "bad", f"cus_{subject}", created=now))

    assert (saved, await refusal_of(methods, subject)) == (None, "velocity_exceeded")


@pytest.mark.servers
async def test_what_somebody_elses_customer_tries_is_nobodys_here(outbox: Outbox) -> None:
    methods = Methods(outbox, Gates(b"secret", NARROW))

    for customer in ("cus_other", None):
        with pytest.raises(Refused, match="not_ours"):
            await hear(methods, failed(f"setatt_{secrets.token_hex(4)}", "fp", customer))


# -- a deployment ----------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(servers: Servers) -> AsyncIterator[Shopper]:
    settings = {"PAYMENTS_CARDS_PER_BUYER": "6/3600", "PAYMENTS_DECLINES_PER_BUYER": "10/3600"}
    async with a_careful_shop(servers, **settings) as made:
        yield made


@pytest.fixture
def eve(shop: Shopper) -> Person:
    return Person(shop, "eve-" + secrets.token_hex(4))


@pytest.fixture
def bob(shop: Shopper) -> Person:
    return Person(shop, "bob-" + secrets.token_hex(4))


async def place(person: Person, sku: str) -> Answer:
    """An order of a signed-in customer, under whatever address."""
    token = person.shopper.deployment.keys.token(person.subject, "customer")
    body: Json = {
        "lines": [{"sku": sku, "quantity": 1}],
        "email": f"{secrets.token_hex(4)}@example.com",
        "currency": "usd",
    }
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(12)}
    url = f"{person.shopper.deployment.front_door_url}/api/payments/checkout-session"
    return await person.shopper.call("POST", url, body, **headers)


async def confirm(shopper: Shopper, intent: str, card: str) -> int:
    """Confirm as a form made with Stripe.js does."""
    form = {"payment_method_data[type]": "card", "payment_method_data[card][number]": card}
    url = f"{shopper.deployment.stripe_url}/v1/setup_intents/{intent}/confirm"
    async with shopper.http.post(url, data=form, headers={"Authorization": "Bearer sk_test_looking"}) as answer:
        await answer.read()
        return answer.status


async def counted(shopper: Shopper) -> int:
    return await shopper.count("SELECT count(*) FROM checkout.card_attempts WHERE order_id IS NULL AND declined")


@pytest.mark.servers
async def test_who_tries_cards_with_one_secret_saves_and_orders_nothing_more(
    shop: Shopper, eve: Person, bob: Person
) -> None:
    sku, key = await shop.offer(), secrets.token_hex(12)
    before = await counted(shop)
    intent = (await eve.add(using="form")).body["client_secret"].partition("_secret_")[0]

    statuses = [await confirm(shop, intent, card) for card in DECLINED[:6]]

    async def is_canceled() -> bool:
        shown = await shop.stripe("GET", f"/v1/setup_intents/{intent}")
        return bool(shown["status"] == "canceled")

    assert statuses == [402] * 6
    await eventually(is_canceled, what="the intent is taken from who tries cards")
    assert await counted(shop) == before + 6
    assert await confirm(shop, intent, DECLINED[6]) == 400
    refused, unplaced = await eve.add(key, using="form"), await place(eve, sku)
    assert [(answer.status, answer.body["code"]) for answer in (refused, unplaced)] == [(429, "velocity_exceeded")] * 2
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert [(await bob.add(using="form")).status, (await place(bob, sku)).status] == [201, 201]
    listed = await shop.stripe("GET", "/v1/events?limit=100&type=setup_intent.setup_failed")
    ours = [event for event in listed["data"] if event["data"]["object"]["id"] == intent]
    for event in ours:
        validate_event(event)
    assert len({event["data"]["object"]["latest_attempt"] for event in ours}) == 6
    await shop.advance(int(refused.headers["Retry-After"]) + 1)
    again = await eve.add(key, using="form")
    assert again.status == 201, "nothing was kept under the key, and the window is over"
    assert await confirm(shop, again.body["client_secret"].partition("_secret_")[0], CARD) == 200


@pytest.mark.servers
async def test_who_tries_cards_on_a_page_of_stripes_does_so_no_longer(shop: Shopper, eve: Person) -> None:
    before = await counted(shop)
    page = (await eve.add()).body["url"]

    assert [await eve.fill(page, card) for card in DECLINED[:6]] == [402] * 6

    async def all_counted() -> bool:
        return await counted(shop) == before + 6

    await eventually(all_counted, what="six attempts are counted")
    refused = await eve.add()
    assert (refused.status, refused.body["code"]) == (429, "velocity_exceeded")
