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


def test_who_paid_nothing_for_what_is_gone_is_told_of_no_money() -> None:
    message = checkout.OrderSoldOut(order_id=new_id(), lines=(MUG, GUIDE), customer=ADA)

    mail = Writer.of(HOUSE).write(decide.order_sold_out(message))

    assert mail.subject == "We cannot send your order"
    for text in (mail.plain, mail.html):
        assert all(told in text for told in ("We are sorry", "You paid nothing", "Mug", "Guide"))
        assert not any(told in text for told in ("refund", "goes back", "$"))


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


DISPUTE = {
    "order_id": external_id("ord", new_id()),
    "dispute_id": "du_1",
    "payment_intent": "pi_1",
    "charge": "ch_1",
    "amount_minor": 6000,
    "currency": "usd",
    "reason": "product_not_received",
    "kind": "dispute",
    "due_by": datetime(2026, 3, 9, 17, tzinfo=UTC),
    "version": 1,
}


@pytest.mark.parametrize(
    ("model", "given", "told"),
    [
        (
            refunds.DisputeOpened,
            {},
            ["$60.00 is disputed: product not received", "due by 2026-03-09 17:00 UTC", "du_1"],
        ),
        (refunds.DisputeOpened, {"kind": "inquiry"}, ["A bank asks about $60.00", "no money has moved"]),
        (refunds.DisputeOpened, {"due_by": None}, ["No evidence can be handed in"]),
        (refunds.DisputeDue, {"hours_left": 24}, ["24 hours left", "It is due by 2026-03-09 17:00 UTC"]),
        (refunds.DisputeWon, {}, ["A dispute is won: $60.00"]),
        (refunds.DisputeWon, {"kind": "inquiry"}, ["An inquiry is closed"]),
        (refunds.DisputeLost, {}, ["A dispute is lost: $60.00"]),
    ],
)
def test_staff_are_told_each_turn_of_a_dispute(
    model: type[refunds.AboutDispute], given: dict[str, object], told: list[str]
) -> None:
    letter = decide.dispute(model.model_validate({**DISPUTE, **given}), HOUSE)

    mail = Writer.of(HOUSE).write(letter)

    assert letter.recipient == HOUSE.staff
    assert all(text in mail.plain and text in mail.html for text in told)


def test_each_turn_of_a_dispute_and_each_reminder_is_a_mail_of_its_own() -> None:
    turns = [
        refunds.DisputeOpened.model_validate({**DISPUTE, "kind": "inquiry"}),
        refunds.DisputeOpened.model_validate({**DISPUTE, "version": 2}),
        *(refunds.DisputeDue.model_validate({**DISPUTE, "version": 2, "hours_left": hours}) for hours in (72, 24)),
        refunds.DisputeLost.model_validate({**DISPUTE, "version": 3}),
    ]

    letters = [decide.dispute(message, HOUSE) for message in (*turns, *turns)]

    assert len({(letter.kind, letter.ref) for letter in letters}) == len(turns)


REFUND = {
    "order_id": new_id(), "refund_id": new_id(), "payment_intent": "pi_1", "amount_minor": 1500, "currency": "usd",
    "reason": "goodwill", "requester": "sam", "customer": ADA,
}  # fmt: skip


@pytest.mark.parametrize("model", [refunds.RefundFailed, refunds.RefundCanceled])
def test_who_was_told_of_money_that_came_back_is_told_so_and_nobody_else(
    model: type[refunds.RefundFailed | refunds.RefundCanceled],
) -> None:
    message, nobodys = model.model_validate(REFUND), model.model_validate(REFUND | {"customer": None})

    told = decide.refund_returned(message, told=True)

    assert [decide.refund_returned(message, told=False), decide.refund_returned(nobodys, told=True)] == [None, None]
    assert told is not None
    assert (told.kind, told.recipient) == (Kind.REFUND_RETURNED, "ada@example.com")
    mail = Writer.of(HOUSE).write(told)
    assert mail.subject == "Your refund did not arrive"
    assert all("$15.00" in text and "came back to us" in text for text in (mail.plain, mail.html))


@pytest.mark.parametrize(("withdrawn_by", "told"), [(None, True), ("sam", False)])
def test_staff_are_told_of_a_refund_that_none_of_them_took_back(withdrawn_by: str | None, told: bool) -> None:
    message = refunds.RefundCanceled.model_validate(REFUND | {"withdrawn_by": withdrawn_by})

    letter = decide.refund_canceled(message, HOUSE)

    assert (letter is not None) is told
    if letter is not None:
        mail = Writer.of(HOUSE).write(letter)
        assert letter.recipient == HOUSE.staff
        assert decide.mail_id(letter.kind, letter.ref) in decide.ends_of_refund(message.refund_id)
        assert all("$15.00" in text and "was canceled by Stripe" in text for text in (mail.plain, mail.html))


def test_staff_are_told_once_for_each_parcel_that_a_refund_is_theirs_to_decide() -> None:
    about = {"order_id": new_id(), "shipment_id": new_id(), "reason": "dispute_lost"}
    messages = [refunds.RefundLeftToStaff.model_validate(about | more) for more in ({}, {}, {"shipment_id": new_id()})]

    letters = [decide.refund_left_to_staff(message, HOUSE) for message in messages]
    mail = Writer.of(HOUSE).write(letters[0])

    assert {letter.recipient for letter in letters} == {HOUSE.staff}
    assert len({decide.mail_id(letter.kind, letter.ref) for letter in letters}) == 2
    assert all("is not sent (dispute lost)" in text for text in (mail.plain, mail.html))


@pytest.mark.parametrize(("reason", "is_owed"), [("credit_is_back", False), ("expired_or_canceled_card", True)])
def test_staff_pay_nothing_another_way_where_the_order_gave_its_credit_back(reason: str, is_owed: bool) -> None:
    message = refunds.RefundFailed.model_validate(REFUND | {"failure_reason": reason})

    mail = Writer.of(HOUSE).write(decide.refund_failed(message, HOUSE))

    assert all(("must be paid another way" in text) is is_owed for text in (mail.plain, mail.html))
    assert all(("Nothing must be paid" in text) is not is_owed for text in (mail.plain, mail.html))


def test_staff_are_told_once_for_each_reason_why_a_refund_waits() -> None:
    about = {
        "order_id": new_id(), "refund_id": new_id(), "payment_intent": "pi_1", "amount_minor": 1500, "currency": "usd",
        "reason": "goodwill", "requester": "sam", "stripe_refund_id": "re_1",
    }  # fmt: skip
    lacks = refunds.RefundPending.model_validate(about | {"status": "pending", "pending_reason": "insufficient_funds"})
    asks = refunds.RefundPending.model_validate(
        about | {"status": "requires_action", "action_expires_at": datetime(2026, 3, 1, 12, tzinfo=UTC)}
    )

    letters = [decide.refund_pending(message, HOUSE) for message in (lacks, lacks, asks)]
    mails = [Writer.of(HOUSE).write(letter) for letter in letters]

    assert {letter.recipient for letter in letters} == {HOUSE.staff}
    assert len({decide.mail_id(letter.kind, letter.ref) for letter in letters}) == 2
    assert all("$15.00" in text for mail in mails for text in (mail.plain, mail.html))
    assert "too little money" in mails[0].plain
    assert "2026-03-01 12:00 UTC" in mails[2].plain
