"""Store credit pays for orders first; Stripe is asked for exactly the rest, or for nothing."""

import asyncio
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest_asyncio

from tests.checkout.test_canceling import cancel
from tests.checkout.test_one_click import intents_of
from tests.support.credit import Holder
from tests.support.shopping import Json, Shopper, eventually, uuid_of

PRICE: Final = 1800
SESSION_SECONDS: Final = 4000  # a page is over by then


@pytest_asyncio.fixture(loop_scope="session")
async def ada(shopper: Shopper) -> AsyncIterator[Holder]:
    """Somebody without credit."""
    yield Holder(shopper)


@pytest_asyncio.fixture(loop_scope="session")
async def sku(shopper: Shopper) -> AsyncIterator[str]:
    """Goods, five pieces."""
    yield await shopper.offer(stock=5)


async def session_of(shopper: Shopper, order: Json) -> Json:
    """The order's session, as Stripe shows it."""
    found = await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(order)}")
    assert isinstance(found, dict)
    return found


async def expired(shopper: Shopper, order: Json) -> None:
    """Let the time of the order's page pass."""
    await shopper.advance(SESSION_SECONDS)
    await shopper.until(order, "expired")


# -- a part of it ------------------------------------------------------------------------------------------------------


async def test_credit_pays_first_and_the_page_asks_for_exactly_the_rest(
    shopper: Shopper, ada: Holder, sku: str
) -> None:
    await ada.given(500)
    code = await shopper.coupon(percent_off=10)
    cart = {"lines": [{"sku": sku, "quantity": 2}], "currency": "usd", "coupon": code, "use_store_credit": True}

    quote = (await ada.call("POST", "/quote", cart)).body
    order = await ada.placed(sku, quantity=2, coupon=code)
    session = await session_of(shopper, order)
    before = await shopper.order(order)

    assert (quote["total_minor"], quote["store_credit_minor"], quote["amount_due_minor"]) == (3240, 500, 2740)
    assert {name: order[name] for name in ("total_minor", "store_credit_minor", "amount_due_minor", "status")} == {
        "total_minor": 3240, "store_credit_minor": 500, "amount_due_minor": 2740, "status": "pending"
    }  # fmt: skip
    assert (session["amount_total"], session["total_details"]["amount_discount"]) == (2740, 860)
    assert (before["store_credit"], await ada.has()) == ({"amount_minor": 500, "status": "reserved"}, (0, 500))
    assert await shopper.pay(order) == 303
    seen = await shopper.until(order, "paid")
    assert (seen["total_minor"], seen["discount_minor"], seen["held"]) == (3240, 360, False)
    assert (seen["store_credit"], seen["amount_due_minor"]) == ({"amount_minor": 500, "status": "spent"}, 2740)
    listed = (await ada.call("GET", "/orders")).body["orders"]
    assert [one["store_credit"] for one in listed] == [seen["store_credit"]]
    await shopper.quiet()
    assert await shopper.effects(order) == (1, 1, 1, 1)
    (mail,) = await shopper.mails(order, "order_confirmation")
    html, text = await shopper.mail_parts(mail)
    for part in (html, text):
        assert "$32.40" in part
        assert "$5.00" in part
        assert "$27.40" in part
    assert await ada.entered() == [("granted", 500), ("reserved", 500), ("spent", 500)]
    report = await shopper.audited()
    examined = {finding.predicate.number: finding.examined for finding in report.findings}
    assert min(examined["I36"], examined["I37"], examined["I38"]) >= 1


async def test_a_rest_that_cannot_be_charged_leaves_some_of_the_credit(ada: Holder, shopper: Shopper, sku: str) -> None:
    await ada.given(PRICE - 10)

    order = await ada.placed(sku)

    assert (order["store_credit_minor"], order["amount_due_minor"]) == (PRICE - 50, 50)
    assert (await session_of(shopper, order))["amount_total"] == 50
    assert await ada.has() == (40, PRICE - 50)


async def test_without_credit_it_is_an_order_like_any_other(ada: Holder, shopper: Shopper, sku: str) -> None:
    order = await ada.placed(sku)

    assert (order["store_credit_minor"], order["amount_due_minor"]) == (0, PRICE)
    assert (await session_of(shopper, order))["amount_total"] == PRICE
    assert (await shopper.order(order))["store_credit"] is None


async def test_one_click_charges_the_rest(shopper: Shopper, ada: Holder, sku: str) -> None:
    await ada.person.saves()
    await ada.given(500)

    answer = await ada.person.buys(sku, use_store_credit=True)

    assert (answer.status, answer.body["status"], answer.body["amount_due_minor"]) == (201, "paid", PRICE - 500)
    (intent,) = await intents_of(shopper, sku)
    assert intent["amount_received"] == PRICE - 500
    seen = await shopper.until(answer.body, "paid")
    assert (seen["held"], seen["total_minor"], seen["store_credit"]["status"]) == (False, PRICE, "spent")


# -- all of it ---------------------------------------------------------------------------------------------------------


async def test_credit_that_covers_an_order_pays_it_at_once_and_stripe_hears_nothing(
    shopper: Shopper, ada: Holder, sku: str
) -> None:
    await ada.given(5000)
    key = secrets.token_hex(12)

    answer = await ada.orders(sku, key=key, success_path="/thanks", metadata={"cart": "c1"})
    again = await ada.orders(sku, key=key, success_path="/thanks", metadata={"cart": "c1"})

    order = answer.body
    assert (answer.status, order["status"], order["amount_due_minor"]) == (201, "paid", 0)
    assert order["checkout_url"].endswith(f"/thanks?order_id={order['order_id']}")
    assert (again.status, again.body) == (201, order)
    seen = await shopper.order(order)
    assert (seen["status"], seen["store_credit"], seen["checkout_url"]) == (
        "paid", {"amount_minor": PRICE, "status": "spent"}, None
    )  # fmt: skip
    assert seen["metadata"] == {"cart": "c1"}
    assert await intents_of(shopper, sku) == []
    truth = await shopper.stripe("GET", "/_sim/truth")
    assert not [one for one in truth["sessions"] if one["order_ref"] == order["order_id"]]
    assert await shopper.count("SELECT count(*) FROM checkout.customers WHERE subject = $1", ada.subject) == 0
    await shopper.quiet()
    assert await shopper.effects(order) == (1, 1, 1, 1)
    assert (await shopper.stock_of(sku))["committed"] == 1
    assert await shopper.count("SELECT count(*) FROM refunds.payments WHERE order_id = $1", uuid_of(order)) == 0
    (mail,) = await shopper.mails(order, "order_confirmation")
    assert "Your store credit paid all of it" in (await shopper.mail_parts(mail))[1]
    assert await ada.has() == (5000 - PRICE, 0)
    await shopper.audited()


async def test_one_click_needs_no_method_where_credit_covers_it(shopper: Shopper, ada: Holder, sku: str) -> None:
    await ada.given(PRICE)

    answer = await ada.person.buys(sku, use_store_credit=True)

    assert (answer.status, answer.body["status"], answer.body["payment_intent"]) == (201, "paid", None)
    assert await intents_of(shopper, sku) == []
    assert await ada.has() == (0, 0)


async def test_a_covered_order_whose_goods_cannot_be_had_costs_nothing(ada: Holder, sku: str) -> None:
    await ada.given(20_000)

    answer = await ada.orders(sku, quantity=6)

    assert (answer.status, answer.body["code"]) == (409, "out_of_stock")
    assert await ada.has() == (20_000, 0)
    assert (await ada.entered())[1:] == [("reserved", 6 * PRICE), ("released", 6 * PRICE)]


async def test_a_covered_order_is_paid_and_cannot_be_canceled(shopper: Shopper, ada: Holder, sku: str) -> None:
    await ada.given(PRICE)
    order = await ada.placed(sku)

    answer = await cancel(shopper, order)

    assert (answer.status, answer.body["code"]) == (409, "order_not_cancelable")
    assert await ada.has() == (0, 0)


async def test_fifty_orders_at_once_never_use_more_than_there_is(shopper: Shopper, ada: Holder) -> None:
    goods = await shopper.offer(stock=100)
    await ada.given(4 * PRICE)
    await ada.given(6 * PRICE, expires_at=(datetime.now(UTC) + timedelta(days=400)).isoformat())

    orders = await asyncio.gather(*(ada.placed(goods) for _ in range(50)))

    used = Counter((order["status"], order["store_credit_minor"]) for order in orders)
    assert used == {("paid", PRICE): 10, ("pending", 0): 40}
    assert await ada.has() == (0, 0)
    sums = Counter[str]()
    for kind, amount in await ada.entered():
        sums[kind] += amount
    assert sums == {"granted": 10 * PRICE, "reserved": 10 * PRICE, "spent": 10 * PRICE}


# -- the way back ------------------------------------------------------------------------------------------------------


async def test_a_canceled_order_gives_its_credit_back_once(shopper: Shopper, ada: Holder, sku: str) -> None:
    await ada.given(500)
    order = await ada.placed(sku)

    assert (await cancel(shopper, order)).status == 200
    assert (await cancel(shopper, order)).status == 200

    assert (await shopper.order(order))["store_credit"] == {"amount_minor": 500, "status": "released"}
    assert await ada.has() == (500, 0)
    await shopper.quiet()
    assert await ada.entered() == [("granted", 500), ("reserved", 500), ("released", 500)]


async def test_an_expired_order_gives_its_credit_back_and_what_expired_meanwhile_is_lost(
    shopper: Shopper, ada: Holder, sku: str
) -> None:
    now: datetime = await shopper.owner.fetchval("SELECT payments.business_now()")
    await ada.given(300)
    await ada.given(200, expires_at=(now + timedelta(seconds=SESSION_SECONDS - 600)).isoformat())
    order = await ada.placed(sku)
    assert await ada.has() == (0, 500)

    await expired(shopper, order)

    assert await ada.has() == (300, 0)

    async def lost() -> bool:
        return ("expired", 200) in await ada.entered()

    await eventually(lost, what="what was left of the grant is entered as lost")
    (mail,) = await eventually(lambda: shopper.mails(order, "order_expired"), what="the mail about his cart")
    assert all("your store credit of $5.00 is yours again" in part for part in await shopper.mail_parts(mail))
    assert Counter(kind for kind, _ in await ada.entered()) == {
        "granted": 2, "reserved": 2, "released": 2, "expired": 1
    }  # fmt: skip


async def test_what_was_reserved_in_time_stays_good_and_what_has_expired_is_not_used(
    shopper: Shopper, ada: Holder, sku: str
) -> None:
    now: datetime = await shopper.owner.fetchval("SELECT payments.business_now()")
    await ada.given(700)
    await ada.given(200, expires_at=(now + timedelta(seconds=600)).isoformat())
    await ada.given(400, currency="eur")
    order = await ada.placed(sku)

    await shopper.advance(1200)
    other = await ada.placed(sku)

    assert (order["store_credit_minor"], other["store_credit_minor"]) == (900, 0)
    assert await shopper.pay(order) == 303
    assert (await shopper.until(order, "paid"))["store_credit"] == {"amount_minor": 900, "status": "spent"}


async def test_late_money_takes_its_credit_again_or_goes_back_whole(shopper: Shopper) -> None:
    """One has his credit still, one has used it for something else, of one the goods were sold to another."""
    bo, cy, di = (Holder(shopper) for _ in range(3))
    goods, last = await shopper.offer(stock=5), await shopper.offer(stock=1)
    for one in (bo, cy, di):
        await one.given(500)
    late = {"bo": await bo.placed(goods), "cy": await cy.placed(goods), "di": await di.placed(last)}
    await shopper.advance(SESSION_SECONDS)
    for order in late.values():
        await shopper.until(order, "expired")
    other = await cy.placed(goods)
    assert other["store_credit_minor"] == 500

    async def is_back() -> bool:
        return bool((await shopper.stock_of(last))["available"] == 1)

    await eventually(is_back, what="the last piece is on sale again")
    await shopper.until(await shopper.bought(last), "paid")

    for order in late.values():
        await shopper.stripe("POST", f"/_sim/sessions/{order['checkout_url'].rpartition('/')[2]}/pay_again")
    seen = {name: await shopper.until(order, "paid") for name, order in late.items()}

    async def settled() -> bool:
        shown = [await shopper.order(late[name]) for name in ("cy", "di")]
        return [one["refunded_minor"] for one in shown] == [PRICE - 500] * 2

    await eventually(settled, within=40, what="the money of two is back")
    assert seen["bo"]["store_credit"]["status"] == "spent"
    assert await bo.has() == (0, 0)
    assert (await shopper.order(late["cy"]))["store_credit"]["status"] == "released"
    assert await cy.has() == (0, 500)
    assert (await shopper.order(late["di"]))["store_credit"]["status"] == "released"
    assert await di.has() == (500, 0)
    await shopper.quiet()
    assert await shopper.effects(late["bo"]) == (1, 1, 1, 1)
    assert (await shopper.effects(late["cy"]))[:3] == (0, 0, 0)
    assert (await shopper.effects(late["di"]))[2] == 0
    await shopper.audited()


async def test_who_takes_his_order_up_again_pays_with_credit_again(shopper: Shopper, ada: Holder, sku: str) -> None:
    await ada.given(500)
    order = await ada.placed(sku)
    await expired(shopper, order)

    answer = await ada.call(
        "POST", f"/orders/{order['order_id']}/recover", **{"Idempotency-Key": secrets.token_hex(12)}
    )

    assert (answer.status, answer.body["store_credit_minor"]) == (201, 500)
    assert (await session_of(shopper, answer.body))["amount_total"] == PRICE - 500
    assert await ada.has() == (0, 500)


# -- who gives, and who sees -------------------------------------------------------------------------------------------


async def test_a_guest_has_no_credit(shopper: Shopper, sku: str) -> None:
    cart = {"lines": [{"sku": sku, "quantity": 1}], "use_store_credit": True}
    url = shopper.deployment.front_door_url + "/api/payments/quote"

    answers = [await shopper.checkout(sku, use_store_credit=True), await shopper.call("POST", url, cart)]

    for answer in answers:
        assert (answer.status, answer.body["code"]) == (422, "sign_in_needed")
        assert [error["pointer"] for error in answer.body["errors"]] == ["/use_store_credit"]


async def test_one_reference_gives_once(shopper: Shopper, ada: Holder) -> None:
    keys, url = shopper.deployment.keys, shopper.deployment.internal_url("checkout") + "/admin/store-credits"
    reference = "ticket-" + secrets.token_hex(4)
    wanted = {"customer": ada.subject, "currency": "usd", "amount_minor": 700, "reference": reference, "note": "sorry"}
    signed = {"Authorization": f"Bearer {keys.token('ben', 'admin')}"}

    first, *others = await asyncio.gather(*(shopper.call("POST", url, wanted, **signed) for _ in range(6)))
    more = await shopper.call("POST", url, {**wanted, "amount_minor": 701}, **signed)
    past = await shopper.call(
        "POST", url, {**wanted, "reference": reference + "x", "expires_at": "2020-01-01T00:00:00Z"}, **signed
    )
    crowns = await shopper.call(
        "POST", url, {**wanted, "reference": reference + "y", "currency": "isk", "amount_minor": 750}, **signed
    )

    assert Counter(answer.status for answer in (first, *others)) == {201: 1, 200: 5}
    assert {answer.body["id"] for answer in (first, *others)} == {first.body["id"]}
    assert (more.status, more.body["code"]) == (409, "reference_in_use")
    assert (past.status, past.body["code"]) == (422, "expires_in_the_past")
    assert (crowns.status, crowns.body["code"]) == (422, "not_payable")
    seen = (await shopper.admin("GET", "checkout", f"/admin/store-credits?customer={ada.subject}")).body
    (grant,) = seen["grants"]
    assert (grant["granted_by"], grant["note"], grant["source"], grant["reference"]) == (
        "ben",
        "sorry",
        "admin",
        reference,
    )
    assert "note" not in str(await ada.statement())


async def test_a_statement_comes_in_pages_and_is_its_owners(shopper: Shopper, ada: Holder) -> None:
    for amount in (100, 200, 300):
        await ada.given(amount)

    first = await ada.statement("?limit=2")
    second = await ada.statement(f"?limit=2&cursor={first['next_cursor']}")

    assert [entry["amount_minor"] for entry in first["entries"]] == [300, 200]
    assert [entry["amount_minor"] for entry in second["entries"]] == [100]
    assert second["next_cursor"] is None
    assert first["balances"] == second["balances"]
    strangers = await Holder(shopper).statement(f"?limit=2&cursor={first['next_cursor']}")
    assert (strangers["entries"], strangers["balances"]) == ([], [])


async def test_payctl_gives_and_shows(shopper: Shopper, ada: Holder, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(shopper.deployment.keys.token("ben", "admin"))
    found = {"PAYMENTS_CHECKOUT_URL": shopper.deployment.internal_url("checkout"), "PAYMENTS_TOKEN_FILE": str(token)}

    async def payctl(*arguments: str) -> str:
        program = str(Path(sys.executable).parent / "payctl")
        done = await asyncio.create_subprocess_exec(
            program, "credit", *arguments, env={"PATH": "/usr/bin:/bin", **found}, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await done.communicate()
        assert done.returncode == 0
        return out.decode()

    reference = "ticket-" + secrets.token_hex(4)
    said = await payctl(
        "grant", ada.subject, "--amount-minor", "700", "--currency", "usd", "--reference", reference, "--note", "sorry"
    )
    shown = await payctl("show", ada.subject)

    assert said.endswith(f": 7.00 USD to {ada.subject} as {reference}\n")
    for text in ("Balances", "7.00 USD", reference, "ben", "sorry", "granted"):
        assert text in shown
    assert await ada.has() == (700, 0)
