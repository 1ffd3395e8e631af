"""Who left a cart is invited back once, never after he bought, and never again once he said so."""

import asyncio
import contextlib
import html
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from uuid import UUID

import pytest

from payments_shared.clock import utc_now
from payments_shared.contracts import checkout
from payments_shared.ids import external_id, new_id
from tests.notifications.mailbox import Json, Mailbox
from tests.notifications.words import order_paid
from tests.support.deadline import eventually
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers

LINK = checkout.RecoveryLink(token="1790000000." + "a" * 64, expires_at=utc_now())
LINE = checkout.Line(sku="MUG", name="Clay mug", quantity=2, unit_amount_minor=1800, amount_minor=3600)


def somebody() -> str:
    return f"Ada.{secrets.token_hex(4)}@example.com"


def placed(order_id: UUID, email: str, *, recovered_from: UUID | None = None) -> checkout.OrderPlaced:
    return checkout.OrderPlaced(
        order_id=order_id,
        currency="eur",
        subtotal_minor=3600,
        discount_minor=0,
        total_minor=3600,
        lines=(LINE,),
        customer=checkout.Customer(email=email, locale="de-DE"),
        expires_at=utc_now(),
        recovered_from=recovered_from,
    )


def expired(order_id: UUID, email: str, *, recovered_from: UUID | None = None) -> checkout.OrderExpired:
    return checkout.OrderExpired(
        order_id=order_id,
        customer=checkout.Customer(email=email, locale="de-DE"),
        lines=(LINE,),
        currency="eur",
        total_minor=3600,
        recovered_from=recovered_from,
        recovery=LINK,
    )


def given_up(order_id: UUID, email: str) -> checkout.OrderPaymentFailed:
    problem = checkout.PaymentProblem(code="contact_bank", advice="Please ask your bank.", retryable=False)
    return checkout.OrderPaymentFailed(
        order_id=order_id,
        final=False,
        abandoned=True,
        customer=checkout.Customer(email=email),
        problem=problem,
        recovery=LINK,
    )


async def kinds(notifications: OneService, mailbox: Mailbox, order_id: UUID) -> list[str]:
    """The kinds of the mails about an order once none waits."""

    async def settled() -> bool:
        waiting = "SELECT count(*) FROM notifications.mails WHERE order_id = $1 AND state IN ('queued', 'sending')"
        return not await notifications.owner.fetchval(waiting, order_id)

    await eventually(settled, within_seconds=30, what=f"the mails of {order_id}")
    return sorted(mail["kind"] for mail in await mailbox.about(order_id))


async def fate(notifications: OneService, order_id: UUID) -> tuple[str, str | None]:
    """What became of the mail that shows the way back."""
    sql = "SELECT state, detail FROM notifications.mails WHERE order_id = $1 AND kind = 'order_expired'"
    row = await notifications.owner.fetchrow(sql, order_id)
    assert row is not None
    return row["state"], row["detail"]


@contextlib.asynccontextmanager
async def no_mail_server(notifications: OneService) -> AsyncIterator[None]:
    """Within, mails are written and wait."""
    deployment = notifications.deployment
    await asyncio.to_thread(deployment.stop, "mailbox")
    try:
        yield
    finally:
        deployment.start("mailbox")
        await asyncio.to_thread(deployment.wait_ready, "mailbox")


async def the_mail(mailbox: Mailbox, order_id: UUID, kind: str = "order_expired") -> Json:
    async def here() -> list[Json]:
        return [mail for mail in await mailbox.about(order_id) if mail["kind"] == kind]

    (mail,) = await eventually(here, within_seconds=30, what=f"{kind} about {order_id}")
    return mail


async def headers_of(mailbox: Mailbox, mail: Json) -> Mapping[str, str]:
    """As a mail program reads them: a link that is not written out is none."""
    head, _, _ = (await mailbox.raw(mail["id"])).partition("\r\n\r\n")
    lines = (line.partition(": ") for line in head.split("\r\n"))
    return {name: value for name, _, value in lines}


async def unsubscribe_url(mailbox: Mailbox, mail: Json) -> str:
    """The link in the header, at the service's own port."""
    header = (await headers_of(mailbox, mail))["List-Unsubscribe"]
    found = re.fullmatch(
        r"<(http://127\.0\.0\.1:\d+/api/payments/unsubscribe\?token=[0-9a-f]{32}\.[0-9a-f]{32})>", header
    )
    assert found is not None, header
    return found[1]


async def ask(
    notifications: OneService, mailbox: Mailbox, url: str, method: str = "POST", **given: str
) -> tuple[int, str]:
    at = notifications.deployment.public_url("notifications") + url[url.index("/api/") :]
    async with mailbox.http.request(method, at, data=given or None, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def test_a_cart_that_was_left_is_written_about_once_with_the_way_back(
    notifications: OneService, mailbox: Mailbox
) -> None:
    order_id, email = new_id(), somebody()

    await notifications.tell(placed(order_id, email))
    await notifications.heard(
        await notifications.say(expired(order_id, email), times=3), await notifications.say(expired(order_id, email))
    )

    mail = await the_mail(mailbox, order_id)
    shown, page = await mailbox.shown(mail["id"])
    way_back = f"/recover?order_id={external_id('ord', order_id)}&token={LINK.token}"
    for part in (html.unescape(shown), html.unescape(page)):
        assert way_back in part
        assert "Clay mug" in part
        assert "36,00\xa0€" in part, "money is written as the reader writes it"
        assert LINK.expires_at.date().isoformat() in part
        assert await unsubscribe_url(mailbox, mail) in part
    assert (mail["recipient"], mail["subject"]) == (email, "Your cart is still here")
    assert (await headers_of(mailbox, mail))["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert await kinds(notifications, mailbox, order_id) == ["order_expired"]


async def test_without_a_way_back_nothing_is_written(notifications: OneService, mailbox: Mailbox) -> None:
    order_id = new_id()

    await notifications.tell(expired(order_id, somebody()).model_copy(update={"recovery": None}))

    assert await kinds(notifications, mailbox, order_id) == []


async def test_who_was_invited_after_a_decline_is_not_written_to_again_at_the_expiry(
    notifications: OneService, mailbox: Mailbox
) -> None:
    order_id, email = new_id(), somebody()

    await notifications.tell(placed(order_id, email), given_up(order_id, email), expired(order_id, email))

    mail = await the_mail(mailbox, order_id, "payment_retry")
    assert await kinds(notifications, mailbox, order_id) == ["payment_retry"]
    shown, page = await mailbox.shown(mail["id"])
    for part in (html.unescape(shown), html.unescape(page)):
        assert "Please ask your bank." in part
        assert f"token={LINK.token}" in part
    assert (await headers_of(mailbox, mail))["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize("what", ["the order", "the one that took it up", "another one of the same buyer"])
async def test_who_has_bought_is_not_invited(notifications: OneService, mailbox: Mailbox, what: str) -> None:
    order_id, other, email = new_id(), new_id(), somebody()
    recovered_from = order_id if what == "the one that took it up" else None
    bought = order_id if what == "the order" else other
    same_buyer = email if what != "the one that took it up" else somebody()

    await notifications.tell(placed(order_id, email), placed(other, same_buyer, recovered_from=recovered_from))
    await notifications.tell(order_paid(bought, email=same_buyer.upper()), expired(order_id, email))

    assert "order_expired" not in await kinds(notifications, mailbox, order_id)


async def test_what_was_bought_before_keeps_nobody_from_being_invited(
    notifications: OneService, mailbox: Mailbox
) -> None:
    order_id, before, email = new_id(), new_id(), somebody()

    await notifications.tell(placed(before, email), order_paid(before, email=email))
    await notifications.tell(placed(order_id, email), expired(order_id, email))

    await the_mail(mailbox, order_id)


async def test_a_payment_while_the_mail_waits_holds_it_back(notifications: OneService, mailbox: Mailbox) -> None:
    """The mail was written; the mail server was there again only after the money."""
    order_id, email = new_id(), somebody()
    async with no_mail_server(notifications):
        await notifications.tell(placed(order_id, email), expired(order_id, email))
        assert (await fate(notifications, order_id))[0] in ("queued", "sending")
        await notifications.tell(order_paid(order_id, email=email))

    assert await kinds(notifications, mailbox, order_id) == ["order_confirmation"]
    assert await fate(notifications, order_id) == ("suppressed", "paid")


async def test_a_family_is_invited_once_and_the_second_if_the_first_was_not(
    notifications: OneService, mailbox: Mailbox
) -> None:
    first, second, email = new_id(), new_id(), somebody()
    await notifications.tell(placed(first, email), expired(first, email))
    await the_mail(mailbox, first)
    await notifications.tell(placed(second, email, recovered_from=first))
    await notifications.tell(expired(second, email, recovered_from=first))
    assert await kinds(notifications, mailbox, second) == []

    superseded, taken_up, other = new_id(), new_id(), somebody()
    await notifications.tell(placed(superseded, other), placed(taken_up, other, recovered_from=superseded))
    await notifications.tell(expired(superseded, other), expired(taken_up, other, recovered_from=superseded))

    await the_mail(mailbox, taken_up)
    assert await kinds(notifications, mailbox, superseded) == [], "its cart was taken up already"


@contextlib.asynccontextmanager
async def invited_within(notifications: OneService, seconds: int) -> AsyncIterator[None]:
    """Within, one address is invited once in so many seconds."""
    deployment = notifications.deployment
    deployment.stop("notifications")
    deployment.start("notifications", PAYMENTS_INVITED_SECONDS=str(seconds))
    deployment.wait_ready("notifications")
    yield
    deployment.stop("notifications")
    deployment.start("notifications")
    deployment.wait_ready("notifications")


async def test_many_carts_left_in_somebodys_name_are_one_invitation(
    notifications: OneService, mailbox: Mailbox
) -> None:
    """Anybody may type his address."""
    email, stranger = somebody(), new_id()
    orders = [new_id() for _ in range(12)]
    async with invited_within(notifications, 3600):
        said = [
            await notifications.say(expired(order_id, email.upper() if number % 2 else email))
            for number, order_id in enumerate(orders)
        ]
        await notifications.heard(*said)
        await notifications.tell(expired(stranger, somebody()))

        mails = [await kinds(notifications, mailbox, order_id) for order_id in orders]
        assert [mail for mail in mails if mail] == [["order_expired"]]
        assert await kinds(notifications, mailbox, stranger) == ["order_expired"]


async def test_one_click_ends_invitations_and_nothing_else(notifications: OneService, mailbox: Mailbox) -> None:
    first, second, email = new_id(), new_id(), somebody()
    await notifications.tell(placed(first, email), expired(first, email))
    url = await unsubscribe_url(mailbox, await the_mail(mailbox, first))

    looked = [await ask(notifications, mailbox, url, "GET") for _ in range(2)]
    suppressed = "SELECT count(*) FROM notifications.suppressions WHERE address = $1"
    assert [status for status, _ in looked] == [200, 200]
    assert '<form method="post">' in looked[0][1]
    assert await notifications.owner.fetchval(suppressed, email.lower()) == 0, "looking changes nothing"

    clicks = await asyncio.gather(
        *(ask(notifications, mailbox, url, **{"List-Unsubscribe": "One-Click"}) for _ in range(4))
    )
    assert {status for status, _ in clicks} == {200}
    assert "You get no more reminders" in clicks[0][1]
    assert await notifications.owner.fetchval(suppressed, email.lower()) == 1

    await notifications.tell(placed(second, email.upper()), expired(second, email.upper()))
    assert await kinds(notifications, mailbox, second) == []
    third = new_id()
    await notifications.tell(placed(third, email), given_up(third, email))
    assert await kinds(notifications, mailbox, third) == []
    final = given_up(third, email).model_copy(update={"final": True, "abandoned": False})
    await notifications.tell(final, order_paid(second, email=email))
    assert await kinds(notifications, mailbox, third) == ["payment_failed"], "what became of a payment is told"
    assert await kinds(notifications, mailbox, second) == ["order_confirmation"]
    assert "List-Unsubscribe" not in await headers_of(mailbox, await the_mail(mailbox, second, "order_confirmation"))


async def test_who_unsubscribes_while_a_mail_waits_does_not_get_it(notifications: OneService, mailbox: Mailbox) -> None:
    first, second, email = new_id(), new_id(), somebody()
    await notifications.tell(placed(first, email), expired(first, email))
    url = await unsubscribe_url(mailbox, await the_mail(mailbox, first))
    async with no_mail_server(notifications):
        await notifications.tell(placed(second, email), expired(second, email))
        assert (await ask(notifications, mailbox, url))[0] == 200

    assert await kinds(notifications, mailbox, second) == []
    assert await fate(notifications, second) == ("suppressed", "unsubscribed")


@pytest.mark.parametrize("spoil", ["", "0" * 32 + "." + "0" * 32, "nonsense", None])
async def test_a_link_that_is_none_of_ours_ends_nothing(
    notifications: OneService, mailbox: Mailbox, spoil: str | None
) -> None:
    order_id, email = new_id(), somebody()
    await notifications.tell(placed(order_id, email), expired(order_id, email))
    url = await unsubscribe_url(mailbox, await the_mail(mailbox, order_id))
    base, _, token = url.partition("?token=")
    other = token[:-1] + ("0" if token[-1] != "0" else "1")

    for method in ("GET", "POST"):
        status, page = await ask(notifications, mailbox, f"{base}?token={other if spoil is None else spoil}", method)
        assert status == 404
        assert "We do not know this link" in page

    assert await ask(notifications, mailbox, base) == (404, page)
    suppressed = "SELECT count(*) FROM notifications.suppressions WHERE address = $1"
    assert await notifications.owner.fetchval(suppressed, email.lower()) == 0
