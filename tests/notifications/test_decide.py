"""Which mail a message deserves."""

from datetime import UTC, datetime

import pytest

from notifications import decide
from notifications.decide import House
from notifications.gateway import Writer
from notifications.model import Kind
from payments_shared.contracts import checkout, refunds
from payments_shared.errors import Refused
from payments_shared.ids import external_id, new_id
from tests.notifications.words import ADA, order_paid

HOUSE = House("The Shop", "https://shop.example", "staff@shop.example", "https://shop.example/recover")

BOUGHT = {"quantity": 1, "unit_amount_minor": 900, "amount_minor": 900}
MUG = checkout.Line.model_validate({"sku": "MUG", "name": "Mug", **BOUGHT})
GUIDE = checkout.Line.model_validate({"sku": "GUIDE", "name": "Guide", "digital": True, **BOUGHT})
PARTS = [{"sku": "MUG", "quantity": 1}, {"sku": "GUIDE", "quantity": 1, "digital": True}]
COURSE = checkout.Line.model_validate({"sku": "COURSE", "name": "Course", "parts": PARTS, **BOUGHT})


def failed(**given: object) -> checkout.OrderPaymentFailed:
    return checkout.OrderPaymentFailed.model_validate(
        {"order_id": external_id("ord", new_id()), "final": False, "customer": ADA.model_dump(), **given}
    )


@pytest.mark.parametrize(
    ("final", "abandoned", "settled", "kind"),
    [
        (False, False, False, None),  # the buyer is trying a second card at this moment
        (False, True, False, Kind.PAYMENT_RETRY),
        (True, False, False, Kind.PAYMENT_FAILED),
        (True, False, True, None),
        (False, True, True, None),  # money came after all
    ],
)
def test_bad_news_is_sent_only_when_it_is_news(final: bool, abandoned: bool, settled: bool, kind: Kind | None) -> None:
    letter = decide.payment_failed(failed(final=final, abandoned=abandoned), HOUSE, settled=settled)

    assert (letter and letter.kind) == kind


@pytest.mark.parametrize(
    ("split", "returned_minor", "told"),
    [
        (False, 0, "Nothing was charged."),
        (True, 0, "should a part have been charged already, it goes back"),
        (True, 700, "$7.00 that one of your cards was charged already goes back to it."),
    ],
)
def test_that_nothing_was_charged_is_said_only_where_it_is_so(split: bool, returned_minor: int, told: str) -> None:
    message = failed(final=True, currency="usd", total_minor=1800, split=split, returned_minor=returned_minor)
    letter = decide.payment_failed(message, HOUSE, settled=False)
    assert letter is not None

    mail = Writer.of(HOUSE).write(letter)

    assert all((told in text, "Nothing was charged" in text) == (True, not split) for text in (mail.plain, mail.html))


@pytest.mark.parametrize(
    ("charged_minor", "told"), [(0, "that paid for it is yours"), (300, "the $3.00 that you paid")]
)
def test_credit_that_paid_for_what_is_gone_is_given_back_and_not_refunded(charged_minor: int, told: str) -> None:
    message = checkout.OrderCreditReturned(
        order_id=new_id(), currency="usd", amount_minor=1500, charged_minor=charged_minor, customer=ADA
    )

    mail = Writer.of(HOUSE).write(decide.credit_returned(message))

    assert "$15.00 of store credit" in mail.plain
    assert "<strong>$15.00</strong> of store credit" in mail.html
    assert all(told in text and "refund" not in text.lower() for text in (mail.plain, mail.html))


@pytest.mark.parametrize(
    ("reason", "destination", "told"),
    [
        ("goodwill", "original", ("$15.00 is on its way back", "Banks usually", "a refund for your order")),
        ("dashboard", "original", ("$15.00 is on its way back", "Banks usually", "a refund for your order")),
        ("returned", "store_credit", ("$15.00 is yours as store credit", "next order", "a refund for your order")),
        ("surplus_payment", "original", ("$15.00 is on its way back", "Banks usually", "paid twice")),
        ("canceled_order", "original", ("$15.00 is on its way back", "Banks usually", "could not be used")),
    ],
)
def test_a_refund_says_where_the_money_goes_and_why(reason: str, destination: str, told: tuple[str, ...]) -> None:
    about = {
        "order_id": new_id(),
        "refund_id": new_id(),
        "payment_intent": "pi_1",
        "amount_minor": 1500,
        "currency": "usd",
    }
    message = refunds.RefundSucceeded.model_validate(
        {
            **about,
            "reason": reason,
            "requester": "sam",
            "destination": destination,
            "customer": ADA,
            "stripe_refund_id": "",
        }
    )
    letter = decide.refund_succeeded(message)
    assert letter is not None

    mail = Writer.of(HOUSE).write(letter)

    assert mail.subject == "Your refund"
    assert all(part in text for part in told for text in (mail.plain, mail.html))


@pytest.mark.parametrize("settled", [False, True])
def test_a_decline_that_is_tried_again_is_told_once_and_says_when(settled: bool) -> None:
    order_id, told = new_id(), []
    for attempt, at in enumerate((datetime(2026, 1, 1, 13, 30, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))):
        message = checkout.OrderPaymentRetrying(
            order_id=order_id, attempt=attempt, next_attempt_at=at, customer=ADA, currency="usd", total_minor=1800
        )
        told.append(decide.payment_retrying(message, settled=settled))

    if settled:
        assert told == [None, None]
        return
    first, second = (letter for letter in told if letter is not None)
    assert (first.kind, first.ref) == (second.kind, second.ref), "one mail for each kind and reference"
    mail = Writer.of(HOUSE).write(first)
    assert all("2026-01-01 13:30 UTC" in text and "$18.00" in text for text in (mail.plain, mail.html))


@pytest.mark.parametrize(
    "address",
    [
        "a@example.com\r\nBcc: everybody@example.com", "a@example.com, b@example.com", "a@example.com;b@example.com",
        "<a@example.com>", "a b@example.com", "", "nobody", "a@b@c", "a\u2028@example.com",
    ],
)  # fmt: skip
def test_an_address_that_could_carry_more_than_itself_is_refused(address: str) -> None:
    with pytest.raises(Refused, match="invalid_recipient"):
        decide.check_address(address)


@pytest.mark.parametrize(
    ("locale", "currency", "total"),
    [
        ("en-US", "usd", "$1,234.50"),
        ("de-DE", "eur", "1.234,50\xa0€"),
        ("fr-FR", "eur", "1\u202f234,50\xa0€"),
        ("ja-JP", "jpy", "¥123,450"),
        ("en-GB", "gbp", "£1,234.50"),
        ("xx-XX", "usd", "$1,234.50"),
    ],
)
def test_money_is_written_as_the_reader_writes_it(locale: str, currency: str, total: str) -> None:
    letter = decide.confirmation(order_paid(new_id(), 123450, currency=currency, locale=locale))
    mail = Writer.of(HOUSE).write(letter)

    assert letter.values["total"] in (total, total.replace("¥", "\uffe5"))
    assert str(letter.values["total"]) in mail.plain
    assert str(letter.values["total"]) in mail.html


@pytest.mark.parametrize(
    ("lines", "said", "unsaid"),
    [
        ((MUG,), ["is being packed", "Mug: "], ["online"]),
        ((GUIDE,), ["Nothing of it has to be sent", "Guide: "], ["packed", "(online)"]),
        ((MUG, GUIDE), ["What is sent is being packed", "Mug: ", "Guide (online): "], ["Nothing of it"]),
        ((COURSE,), ["What is sent is being packed", "Course (in part online): "], ["Nothing of it"]),
    ],
)
def test_a_confirmation_says_what_is_sent(lines: tuple[checkout.Line, ...], said: list[str], unsaid: list[str]) -> None:
    paid = order_paid(new_id()).model_copy(update={"lines": lines})

    mail = Writer.of(HOUSE).write(decide.confirmation(paid))

    assert [text for text in said if text not in mail.plain] == []
    assert [text for text in said if text.removesuffix(": ") not in mail.html] == []
    assert [text for text in unsaid if text in mail.plain or text in mail.html] == []


def test_what_a_stranger_writes_is_text_and_never_markup() -> None:
    name = '<script>alert(1)</script><a href="https://evil.example">x</a>'

    mail = Writer.of(HOUSE).write(decide.confirmation(order_paid(new_id(), 500, name=name, article="<img src=x>")))

    assert "<script" not in mail.html
    assert "<img src=x" not in mail.html
    assert "evil.example</a>" not in mail.html
    assert "&lt;script&gt;" in mail.html


def test_a_message_id_is_the_same_for_every_telling() -> None:
    first = decide.message_id("order_confirmation", "1", "shop.example")

    assert first == decide.message_id("order_confirmation", "1", "shop.example")
    assert first != decide.message_id("order_confirmation", "2", "shop.example")
    assert first.startswith("<")
    assert first.endswith("@shop.example>")


def expiring(**given: object) -> checkout.PaymentMethodExpiring:
    card = {"brand": "visa", "last4": "4242", "exp_month": 3, "exp_year": 2031}
    about = {"payment_method": "pm_1", "customer": ADA.model_dump()}
    return checkout.PaymentMethodExpiring.model_validate({**about, **card, **given})


def test_a_card_that_expires_is_told_by_its_last_digits_once_for_each_expiry() -> None:
    letter = decide.card_expiring(expiring(label="<b>Ours</b>"))
    mail = Writer.of(HOUSE).write(letter)

    assert (letter.kind, letter.recipient, letter.order_id) == (Kind.CARD_EXPIRING, "ada@example.com", None)
    assert mail.plain.startswith("Visa ending in 4242 (<b>Ours</b>) is good until the end of 03/2031.")
    assert "<b>Ours" not in mail.html
    assert "because you saved a card at The Shop" in mail.html
    assert letter.ref == decide.card_expiring(expiring(last4="1881")).ref
    assert letter.ref != decide.card_expiring(expiring(exp_year=2034)).ref
