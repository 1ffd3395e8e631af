"""Who tries cards that are not his is stopped: his page is closed, and he places nothing for a while."""

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from checkout.decide import velocity
from checkout.model.limits import Limit
from checkout.model.velocity import Block, Limits, Tally
from sandbox.services.resolver import Servers
from tests.checkout.fraud import a_careful_shop, decided, looked_at
from tests.checkout.test_order_list import signed_in
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of

DECLINED = (
    "4000000000000002", "4000000000009995", "4000000000009987", "4000000000009979", "4000000000000069",
    "4000000000000127", "4000000000000119",
)  # fmt: skip
SETTINGS = {
    "PAYMENTS_TRUSTED_PROXIES": "127.0.0.0/8",
    "PAYMENTS_DECLINES_PER_ORDER": "3/600",
    "PAYMENTS_CARDS_PER_ADDRESS": "4/900",
    "PAYMENTS_DECLINES_PER_BUYER": "4/900",
    "PAYMENTS_CARDS_PER_BUYER": "0",
    "PAYMENTS_DECLINES_PER_CARD": "0",
    "PAYMENTS_PLACEMENTS_PER_EMAIL": "8/60",
    "PAYMENTS_THREE_D_SECURE_RULES": json.dumps(
        [
            {"request": "challenge", "declines": 2, "amounts": {"usd": 3000}},
            {"request": "any", "first_order": True, "countries": ["BR"]},
        ]
    ),
}

# -- the rule --------------------------------------------------------------------------------------------------------

LIMITS = Limits(
    declines_per_order=Limit("declines_per_order", 5, 3600),
    declines_per_address=Limit("declines_per_address", 50, 3600),
    cards_per_address=Limit("cards_per_address", 10, 1800),
    declines_per_buyer=Limit("declines_per_buyer", 10, 3600),
    cards_per_buyer=Limit("cards_per_buyer", 6, 600),
    declines_per_card=Limit("declines_per_card", 10, 3600),
)
TALLY = Tally("ch_1", "address", "email", None, "card", 1, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("counted", "rule", "marks"),
    [
        ({"order_declines": 5}, "declines_per_order", ("email+address",)),
        ({"buyer_declines": 10}, "declines_per_buyer", ("email+address",)),
        ({"buyer_cards": 6}, "cards_per_buyer", ("email+address",)),
        ({"card_declines": 10}, "declines_per_card", ("email+address",)),
        ({"address_declines": 50}, "declines_per_address", ("address",)),
        ({"address_cards": 10}, "cards_per_address", ("address",)),
    ],
)
def test_a_limit_is_reached_at_its_number_and_names_who_is_held_back(
    counted: dict[str, int], rule: str, marks: tuple[str, ...]
) -> None:
    (found,) = velocity.exceeded(LIMITS, replace(TALLY, **counted))  # type: ignore[arg-type]
    almost = {name: number - 1 for name, number in counted.items()}

    assert (found.limit.name, found.marks) == (rule, marks)
    assert found.reason.startswith(f"{rule}: {next(iter(counted.values()))} of ")
    assert velocity.exceeded(LIMITS, replace(TALLY, **almost)) == ()  # type: ignore[arg-type]
    assert velocity.exceeded(Limits(), replace(TALLY, **counted)) == ()  # type: ignore[arg-type]


def test_who_is_signed_in_is_himself_and_his_address_is_nobodys() -> None:
    customer = replace(TALLY, subject="subject", address_cards=99, address_declines=99)

    assert velocity.exceeded(LIMITS, customer) == ()
    (found,) = velocity.exceeded(LIMITS, replace(customer, order_declines=5))
    assert (found.marks, found.own) == (("subject",), True)


def test_limits_by_address_are_not_the_orders_own() -> None:
    found = velocity.exceeded(LIMITS, replace(TALLY, address_cards=10, order_declines=5))

    assert [(one.limit.name, one.own) for one in found] == [("declines_per_order", True), ("cards_per_address", False)]


def test_what_is_not_known_is_no_reason() -> None:
    guest = replace(TALLY, address=None, card=None, address_cards=99, address_declines=99, card_declines=99)

    assert velocity.exceeded(LIMITS, guest) == ()
    (found,) = velocity.exceeded(LIMITS, replace(guest, order_declines=7))
    assert found.marks == (), "an e-mail address that anybody may type is nobody"


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("8.8.8.8", True),
        ("2a00:1450:4001::/64", True),
        ("10.1.2.3", False),
        ("127.0.0.1", False),
        ("192.168.0.7", False),
        ("fd00::/64", False),
        ("unknown", False),
    ],
)
def test_only_a_public_address_is_a_buyers(address: str, own: bool) -> None:
    assert velocity.is_buyers(address) is own


def test_marks_differ_by_kind_value_and_secret_and_say_nothing() -> None:
    marks = {
        velocity.mark(secret, kind, value)
        for secret in (b"one", b"two")
        for kind in ("card", "email")
        for value in ("fp1", "fp2")
    }

    assert len(marks) == 8
    assert not any("fp" in mark for mark in marks)
    assert velocity.wait_seconds(Block("mark", "declines_per_order", 12.1)) == 13
    assert velocity.wait_seconds(Block("mark", "declines_per_order", 0.0)) == 1


# -- a deployment ----------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(servers: Servers) -> AsyncIterator[Shopper]:
    async with a_careful_shop(servers, **SETTINGS) as made:
        yield made


def some_address() -> str:
    return ".".join(str(number) for number in (81, *secrets.token_bytes(3)))


def somebody() -> str:
    return f"{secrets.token_hex(6)}@example.com"


async def place(shop: Shopper, sku: str, email: str, address: str | None = None, **headers: str) -> Answer:
    quantity = int(headers.pop("quantity", "1"))
    body: Json = {"lines": [{"sku": sku, "quantity": quantity}], "email": email, "currency": "usd", "coupon": None}
    if country := headers.pop("country", None):
        body["country"] = country
    coupon = headers.pop("coupon", None)
    given = {"Idempotency-Key": secrets.token_hex(12), **({"X-Forwarded-For": address} if address else {}), **headers}
    url = shop.deployment.public_url("checkout") + "/api/payments/checkout-session"
    return await shop.call("POST", url, {**body, "coupon": coupon}, **given)


async def declined(shop: Shopper, order: Json, *cards: str) -> None:
    """Try cards, and wait until each decline has been counted."""
    sql = "SELECT count(*) FROM checkout.card_attempts WHERE order_id = $1"
    before = await shop.count(sql, uuid_of(order))
    for card in cards:
        assert await shop.pay(order, card=card) == 402

    async def counted() -> bool:
        return await shop.count(sql, uuid_of(order)) == before + len(cards)

    await eventually(counted, what=f"{len(cards)} declines of {order['order_id']}")


@pytest.mark.servers
async def test_the_page_is_closed_stock_and_coupon_come_back_and_the_buyer_waits(shop: Shopper) -> None:
    sku, email, address = await shop.offer(stock=1), somebody(), some_address()
    code = await shop.coupon(percent_off=10, max_redemptions=1)
    order = (await place(shop, sku, email, address, coupon=code)).body

    await declined(shop, order, DECLINED[0], DECLINED[0])
    assert (await shop.order(order))["status"] == "failed", "two are not three"
    await declined(shop, order, DECLINED[1])

    await shop.until(order, "canceled")
    session = await shop.stripe("GET", f"/v1/checkout/sessions/{await shop.session_of(order)}")
    assert session["status"] == "expired"
    await shop.quiet()
    assert (await shop.stock_of(sku))["available"] == 1
    coupon = (await shop.admin("GET", "checkout", f"/admin/coupons/{code}")).body
    assert (coupon["held"], coupon["redeemed"]) == (0, 0)
    said = "SELECT convert_from(body, 'UTF8') FROM checkout.outbox WHERE correlation_id = $1 AND type = $2"
    assert '"card_testing"' in await shop.owner.fetchval(said, order["order_id"], "order.canceled.v1")
    risk = (await looked_at(shop, order))["risk"][-1]
    assert (risk["gate"], risk["outcome"]) == ("card_testing", "expired")
    assert risk["reasons"] == ["declines_per_order: 3 of 3 in 600 s"]

    refused = await place(shop, sku, email.upper(), address)
    assert (refused.status, refused.body["code"]) == (429, "velocity_exceeded")
    assert 0 < int(refused.headers["Retry-After"]) <= 600
    assert (await place(shop, sku, somebody(), address)).status == 201, "somebody else is not held back"
    sku = await shop.offer()
    assert (await place(shop, sku, email, some_address())).status == 201, "who only has his e-mail address is not he"
    assert (await place(shop, sku, email, address, **signed_in(shop, secrets.token_hex(6)))).status == 201
    await shop.advance(int(refused.headers["Retry-After"]) + 1)
    assert (await place(shop, sku, email, address)).status == 201, "the window is over"
    await shop.audited()


@pytest.mark.servers
async def test_a_buyer_who_goes_from_order_to_order_is_the_same(shop: Shopper) -> None:
    sku, email, address = await shop.offer(), somebody(), some_address()
    orders = [(await place(shop, sku, email, address)).body for _ in range(3)]

    await declined(shop, orders[0], DECLINED[0], DECLINED[0])
    await declined(shop, orders[1], DECLINED[0])
    await declined(shop, orders[2], DECLINED[0])

    await shop.until(orders[2], "canceled")
    assert (await place(shop, sku, email, address)).body["code"] == "velocity_exceeded"
    assert await shop.pay(orders[1]) == 303, "what is open may be paid"
    await shop.until(orders[1], "paid")


@pytest.mark.servers
async def test_a_signed_in_buyer_is_held_back_wherever_he_goes_and_whatever_he_types(shop: Shopper) -> None:
    sku, customer = await shop.offer(), signed_in(shop, secrets.token_hex(6))
    order = (await place(shop, sku, somebody(), some_address(), **customer)).body

    await declined(shop, order, *DECLINED[:3])

    await shop.until(order, "canceled")
    assert (await place(shop, sku, somebody(), some_address(), **customer)).body["code"] == "velocity_exceeded"


@pytest.mark.servers
async def test_an_address_from_which_many_cards_are_tried_places_nothing_more(shop: Shopper) -> None:
    sku, address = await shop.offer(), some_address()
    for card in DECLINED[:3]:
        order = (await place(shop, sku, somebody(), address)).body
        await declined(shop, order, card, card)
        assert (await shop.order(order))["status"] == "failed"
    known, stranger = [signed_in(shop, secrets.token_hex(6)) for _ in range(2)]
    bought = (await place(shop, sku, somebody(), **known)).body
    assert await shop.pay(bought) == 303
    await shop.until(bought, "paid")
    last = (await place(shop, sku, somebody(), address)).body

    await declined(shop, last, DECLINED[3])

    assert (await place(shop, sku, somebody(), address)).body["code"] == "velocity_exceeded"
    assert (await place(shop, sku, somebody(), address, **stranger)).body["code"] == "velocity_exceeded"
    assert (await place(shop, sku, somebody(), address, **known)).status == 201, "who has paid before is known"
    await shop.until(last, "failed")
    await shop.quiet()
    assert (await shop.order(last))["status"] == "failed", "one card is no reason to close his page"
    risk = (await looked_at(shop, last))["risk"][-1]
    assert (risk["gate"], risk["outcome"], risk["reasons"]) == (
        "velocity", "crowded", ["cards_per_address: 4 of 4 in 900 s"],
    )  # fmt: skip
    assert (await place(shop, sku, somebody(), some_address())).status == 201
    assert (await place(shop, sku, somebody())).status == 201, "an address that is nobody's own holds nobody back"


@pytest.mark.servers
async def test_an_order_that_is_paid_or_about_to_be_is_left_alone(shop: Shopper) -> None:
    sku = await shop.offer()
    paid, processing = [(await place(shop, sku, somebody())).body for _ in range(2)]
    await declined(shop, paid, DECLINED[0], DECLINED[1])
    assert await shop.pay(processing, card="DE89370400440532013000", method="sepa_debit") == 303
    await shop.until(processing, "processing")
    await shop.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    try:
        assert await shop.pay(paid, card=DECLINED[2]) == 402
        assert await shop.pay(paid) == 303
    finally:
        await shop.stripe("POST", "/_sim/chaos", {})
    events = await shop.stripe("GET", "/_sim/truth")
    for event in events["events"]:
        if not event["delivered"]:
            await shop.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 1})

    await shop.until(paid, "paid")
    await shop.quiet()
    assert (await shop.order(paid))["status"] == "paid"
    assert (await shop.order(processing))["status"] == "processing"
    assert ("card_testing", "expired") not in await decided(shop, processing)
    await shop.audited()


@pytest.mark.servers
async def test_placements_are_limited_by_email_and_who_is_signed_in_by_himself(shop: Shopper) -> None:
    sku, email, customer = await shop.offer(), somebody(), signed_in(shop, secrets.token_hex(6))

    answers = [await place(shop, sku, email, some_address()) for _ in range(9)]
    his = [await place(shop, sku, email if number else somebody(), **customer) for number in range(9)]

    assert [answer.status for answer in his] == [201] * 8 + [429], "others may have typed his address"

    assert [answer.status for answer in answers] == [201] * 8 + [429]
    assert answers[-1].body["code"] == "rate_limited"
    assert '"email";r=0' in answers[-1].headers["RateLimit"]


@pytest.mark.servers
async def test_3d_secure_is_demanded_by_the_rules_and_the_order_tells_why(shop: Shopper) -> None:
    sku, email = await shop.offer(), somebody()
    first = (await place(shop, sku, email)).body
    await declined(shop, first, DECLINED[0], DECLINED[1])

    small, large = [(await place(shop, sku, email, quantity=quantity)).body for quantity in ("1", "2")]
    stranger = (await place(shop, sku, somebody(), quantity="2")).body
    abroad = (await place(shop, sku, somebody(), country="BR")).body

    asked = []
    for order in (small, large, stranger, abroad):
        session = await shop.stripe("GET", f"/v1/checkout/sessions/{await shop.session_of(order)}")
        asked.append((session["payment_method_options"].get("card") or {}).get("request_three_d_secure"))
    assert asked == [None, "challenge", None, "any"]
    told = [(await looked_at(shop, order))["risk"] for order in (small, large, abroad)]
    assert [[(risk["gate"], risk["outcome"], risk["reasons"]) for risk in risks] for risks in told] == [
        [],
        [("three_d_secure", "challenge", ["from 3000 usd", "2 declines within the hour"])],
        [("three_d_secure", "any", ["first order", "country BR"])],
    ]


@pytest.mark.servers
async def test_who_types_somebody_elses_address_neither_has_his_good_name_nor_spoils_it(shop: Shopper) -> None:
    sku, email, home, elsewhere = await shop.offer(), somebody(), some_address(), some_address()
    paid = (await place(shop, sku, email, home)).body
    assert await shop.pay(paid) == 303
    await shop.until(paid, "paid")
    await declined(shop, (await place(shop, sku, email, elsewhere)).body, DECLINED[0], DECLINED[1])

    stranger = (await place(shop, sku, email, elsewhere, country="BR")).body
    account = (await place(shop, sku, email, home, country="BR", **signed_in(shop, secrets.token_hex(6)))).body
    himself = [
        (await place(shop, sku, email, home, country="BR")).body,
        (await place(shop, sku, email, home, quantity="2")).body,
    ]

    asked = []
    for order in (stranger, account, *himself):
        session = await shop.stripe("GET", f"/v1/checkout/sessions/{await shop.session_of(order)}")
        asked.append((session["payment_method_options"].get("card") or {}).get("request_three_d_secure"))
    assert asked == ["any", "any", None, None]


@pytest.mark.servers
async def test_no_fingerprint_is_kept_as_it_is(shop: Shopper) -> None:
    order = (await place(shop, await shop.offer(), somebody())).body
    await declined(shop, order, DECLINED[0])

    rows = await shop.owner.fetch("SELECT to_jsonb(a)::text AS row FROM checkout.card_attempts AS a")
    risks = await shop.owner.fetch("SELECT to_jsonb(r)::text AS row FROM checkout.order_risks AS r")

    assert rows
    assert not any("fp" + card[-8:] in row["row"] for row in (*rows, *risks) for card in DECLINED)
