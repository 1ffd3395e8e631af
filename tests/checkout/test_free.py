"""A coupon may take all of an order off: it is bought without Stripe, once, and its coupon is used."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Final

import pytest

from checkout.decide import charging, pricing
from checkout.decide import order as rules
from checkout.decide.recovering import Links
from checkout.decide.saying import message_for
from checkout.model.carts import Cart, Coupon, Price, Quote, Standing, Wanted
from checkout.model.delivery import DeliveryTerms, DeliveryWish, Destination, Recipient, ShippingOption
from checkout.model.facts import Fact, NothingDue, OrderEnded, StockShort
from checkout.model.orders import State
from checkout.store.velocity import QUERIES
from payments_shared.clock import utc_now
from payments_shared.contracts import checkout as said
from payments_shared.errors import Refused
from sandbox.shop.catalogue import SHIPPING
from tests.checkout.test_canceling import cancel
from tests.checkout.test_order_fold import AT, an_order
from tests.checkout.test_recovering import closed, recover
from tests.checkout.test_store_credit_rules import told
from tests.support.credit import Holder
from tests.support.instances import another_checkout
from tests.support.shopping import Shopper, uuid_of

MUG: Final = Price("MUG", "Mug", True, None, 1800, {})
FREE: Final = an_order(discount_minor=3600, total_minor=0, coupon="ALL", stripe_session_id=None)


def quoted(coupon: Coupon, *, shipping_minor: int | None = None) -> Quote:
    wish = DeliveryWish(Destination("DE"), asked=shipping_minor is not None)
    terms = DeliveryTerms(options=[ShippingOption("post", "Post", {"usd": shipping_minor or 0})])
    cart = Cart((Wanted("MUG", 1),), coupon, Standing(), utc_now(), delivery=wish)
    return pricing.quote(cart, {"MUG": MUG}, currency="usd", exchange=None, maximum_minor=9_999_999, terms=terms)


@pytest.mark.parametrize("coupon", [Coupon("ALL", 10_000, None), Coupon("OFF", None, {"usd": 5000})])
def test_what_a_coupon_takes_off_altogether_can_be_bought(coupon: Coupon) -> None:
    quote = quoted(coupon)

    assert (quote.total_minor, quote.due_minor, quote.covered) == (0, 0, True)


def test_less_than_stripe_charges_is_refused_unless_it_is_nothing() -> None:
    with pytest.raises(Refused) as refusal:
        quoted(Coupon("MOST", None, {"usd": 1799}))

    assert refusal.value.code == "total_too_small"


def test_what_is_sent_for_nothing_needs_an_address_with_the_request() -> None:
    free, paid = (quoted(Coupon("ALL", 10_000, None), shipping_minor=minor) for minor in (0, 500))

    pricing.check_address(paid, None)
    pricing.check_address(free, Recipient("Ada", "1 Broadway"))
    with pytest.raises(Refused) as refusal:
        pricing.check_address(free, None)
    assert (refusal.value.code, refusal.value.status) == ("address_needed", 422)


PAID_WORD: Final = "paid:nothing_due"


@pytest.mark.parametrize(
    ("facts", "state", "use", "words"),
    [
        ((NothingDue(),), State.PAID, "redeemed", [PAID_WORD]),
        ((NothingDue(), StockShort()), State.PAID, "redeemed", [PAID_WORD, "sold_out"]),
        ((StockShort(), NothingDue()), State.PAID, "redeemed", [PAID_WORD, "sold_out"]),
        ((OrderEnded("hold_failed"), StockShort()), State.CANCELED, "released", ["canceled"]),
        ((OrderEnded("hold_failed"),), State.CANCELED, "released", ["canceled"]),
        ((OrderEnded("hold_failed"), NothingDue()), State.CANCELED, "released", ["canceled"]),
        ((), State.PENDING, "held", []),
    ],
)
def test_an_order_of_which_nothing_is_due_is_paid_once_by_nobody(
    facts: tuple[Fact, ...], state: State, use: str, words: list[str]
) -> None:
    for arrival in (facts, (*facts, *facts)):
        ends, heard = told(FREE, arrival)
        seen = rules.view(ends.order, facts, settled_intent=rules.settled_intent_of(heard))
        assert (ends.order.state, rules.coupon_use(seen), heard) == (state, use, words)
        assert (ends.order.stripe_payment_intent, ends.order.total_minor) == (None, 0)


def test_what_is_said_of_it_names_no_payment() -> None:
    ends, _ = told(FREE, (NothingDue(),))
    seen = rules.view(ends.order, [NothingDue()], settled_intent=None)

    message = message_for(PAID_WORD, ends.order, seen, now=AT, hold_until=AT, links=Links(b"", 1))

    assert isinstance(message, said.OrderPaid)
    assert (message.payments, message.total_minor, message.discount_minor) == ((), 0, 3600)


def test_of_goods_that_cannot_be_had_its_buyer_is_told_which_they_were() -> None:
    facts = (NothingDue(), StockShort())
    ends, _ = told(FREE, facts)
    seen = rules.view(ends.order, facts, settled_intent=charging.BY_NOBODY)

    message = message_for("sold_out", ends.order, seen, now=AT, hold_until=AT, links=Links(b"", 1))

    assert isinstance(message, said.OrderSoldOut)
    assert (message.order_id, message.customer.email) == (FREE.id, FREE.email)
    assert [(line.sku, line.quantity) for line in message.lines] == [(one.sku, one.quantity) for one in FREE.lines]


@contextlib.asynccontextmanager
async def nothing_to_pay_for_shipping(shopper: Shopper) -> AsyncIterator[None]:
    """The shop's ways to ship are away for a while."""
    gone = {"name": "Gone", "amounts": {"usd": 1}, "active": False}
    for code in SHIPPING:
        await shopper.admin("PUT", "checkout", f"/admin/shipping-options/{code}", gone)
    yield
    for code, option in SHIPPING.items():
        await shopper.admin("PUT", "checkout", f"/admin/shipping-options/{code}", option)


@pytest.mark.servers
async def test_a_guest_gets_it_at_once_and_once_and_stripe_hears_nothing(shopper: Shopper) -> None:
    sku, code = await shopper.offer(stock=5), await shopper.coupon(percent_off=100, per_customer=1)
    key, email = secrets.token_hex(12), f"{secrets.token_hex(5)}@example.com"
    cart = {"lines": [{"sku": sku, "quantity": 2}], "currency": "usd", "coupon": code}
    url = shopper.deployment.front_door_url + "/api/payments/quote"

    quote = (await shopper.call("POST", url, cart)).body
    answers = [await shopper.checkout(sku, quantity=2, coupon=code, email=email, key=key) for _ in range(2)]
    second = await shopper.checkout(sku, coupon=code, email=email)
    async with nothing_to_pay_for_shipping(shopper):
        sent = await shopper.checkout(sku, coupon=code, shipping={"country": "DE"}, country="DE")

    order = answers[0].body
    assert [quote[name] for name in ("total_minor", "amount_due_minor", "discount_minor")] == [0, 0, 3600]
    assert quote["coupon"]["reason"] is None
    assert (answers[0].status, order["status"], order["total_minor"], order["amount_due_minor"]) == (201, "paid", 0, 0)
    assert order["checkout_url"].endswith(f"?order_id={order['order_id']}")
    assert (answers[1].status, answers[1].body) == (201, order)
    assert (second.status, second.body["code"]) == (409, "coupon_used")
    assert (sent.status, sent.body["code"]) == (422, "address_needed")
    refused = await cancel(shopper, order)
    assert (refused.status, refused.body["code"]) == (409, "order_not_cancelable")
    await shopper.quiet()
    assert await shopper.effects(order) == (1, 1, 1, 1)
    assert (await shopper.stock_of(sku))["committed"] == 2
    truth = await shopper.stripe("GET", "/_sim/truth")
    assert order["order_id"] not in {one["order_ref"] for one in (*truth["sessions"], *truth["payment_intents"])}
    assert await used(shopper, code) == (0, 1)
    assert await shopper.count("SELECT count(*) FROM refunds.payments WHERE order_id = $1", uuid_of(order)) == 0
    (mail,) = await shopper.mails(order, "order_confirmation")
    for text in await shopper.mail_parts(mail):
        assert "There was nothing to pay." in text
    await shopper.audited()


async def used(shopper: Shopper, code: str) -> tuple[int, int]:
    """Uses of a coupon that are held, and redeemed."""
    row = await shopper.owner.fetchrow("SELECT held, redeemed FROM checkout.coupons WHERE code = $1", code)
    assert row is not None
    return row["held"], row["redeemed"]


@pytest.mark.servers
async def test_one_click_needs_no_method_and_leaves_the_credit(shopper: Shopper) -> None:
    ada, sku, code = Holder(shopper), await shopper.offer(stock=5), await shopper.coupon(percent_off=100)
    half = await shopper.coupon(percent_off=50)
    await ada.given(900)

    free = await ada.person.buys(sku, coupon=code, use_store_credit=True)
    assert (free.status, free.body["status"], free.body["payment_intent"]) == (201, "paid", None)
    assert (free.body["store_credit_minor"], await ada.has()) == (0, (900, 0))
    both = await ada.person.buys(sku, coupon=half, use_store_credit=True)
    assert (both.status, both.body["status"], both.body["store_credit_minor"]) == (201, "paid", 900)

    assert await ada.has() == (0, 0)
    assert await shopper.count("SELECT count(*) FROM checkout.customers WHERE subject = $1", ada.subject) == 0
    await shopper.audited()


@pytest.mark.servers
async def test_what_is_taken_up_again_may_have_become_free(shopper: Shopper) -> None:
    sku, code = await shopper.offer(stock=5), await shopper.coupon(percent_off=50)
    left = await shopper.placed(sku, coupon=code)
    await closed(shopper, left)
    await shopper.admin("PUT", "checkout", f"/admin/coupons/{code}", {"percent_off": 100})

    answer = await recover(shopper, left)

    assert (answer.status, answer.body["status"], answer.body["total_minor"]) == (201, "paid", 0)
    assert [change["code"] for change in answer.body["changes"]] == ["discount_changed"]
    assert (await shopper.until(answer.body, "paid"))["amount_due_minor"] == 0
    await shopper.quiet()
    assert await shopper.effects(answer.body) == (1, 1, 1, 1)


@pytest.mark.servers
async def test_what_cost_nothing_takes_room_as_if_it_waited_and_shows_no_card(shopper: Shopper) -> None:
    ada, sku, code = Holder(shopper), await shopper.offer(), await shopper.coupon(percent_off=100)
    bounds = {"PAYMENTS_OPEN_ORDERS_PER_CUSTOMER": "2"}

    async with another_checkout(shopper.deployment, "checkout-for-nothing", **bounds) as instance:
        answers = [await ada.person.buys(sku, coupon=code, url=instance.public_url) for _ in range(3)]

    assert [(one.status, one.body.get("code")) for one in answers] == [
        (201, None), (201, None), (429, "too_many_open_orders"),
    ]  # fmt: skip
    async with shopper.owner.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL search_path TO checkout, payments, public")
        assert not await connection.fetchval(QUERIES["has_paid"], ada.subject)
