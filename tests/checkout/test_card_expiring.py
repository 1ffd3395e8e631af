"""A customer whose saved card is about to expire gets one mail about it."""

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.support.people import Person
from tests.support.shopping import Json, Shopper, eventually

pytestmark = pytest.mark.servers

NAMES = ("stripe", "mailbox", "frontdoor", "webhook-ingest", "checkout", "inventory", "notifications")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(servers: Servers) -> AsyncIterator[Deployment]:
    """A deployment that looks for cards that expire all the time."""
    namespace = f"x{secrets.token_hex(4)}"
    async with deploy(servers, namespace=namespace, names=NAMES, extra={"PAYMENTS_REMIND_SECONDS": "0.5"}) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(own: Deployment) -> AsyncIterator[Shopper]:
    async with Shopper.of(own) as made:
        yield made


async def test_a_card_that_expires_this_month_is_mailed_about_once_and_its_successor_again(shopper: Shopper) -> None:
    ada = Person(shopper, "ada-" + secrets.token_hex(4))
    year, month = await shopper.owner.fetchrow(
        "SELECT extract(year FROM at)::int, extract(month FROM at)::int"
        "  FROM (SELECT payments.business_now() + interval '1 day' AS at) AS tomorrow"
    ) or (0, 0)
    last_day = (
        "SELECT extract(epoch FROM date_trunc('month', at) + interval '1 month' - interval '1 day' - at)::float8"
        "  FROM (SELECT payments.business_now() + interval '1 day' AS at) AS tomorrow"
    )

    async def mails() -> list[Json]:
        found = (await shopper.call("GET", f"{shopper.deployment.mailbox_url}/api/messages?kind=card_expiring")).body
        return [mail for mail in found["messages"] if mail["recipient"] == f"{ada.subject}@example.com"]

    method = await ada.saves(expiry=f"{month} / {year % 100:02}")
    await shopper.advance(max(0.0, await shopper.owner.fetchval(last_day)))
    [mail] = await eventually(mails, what="the mail about the card")
    html, text = await shopper.mail_parts(mail)

    assert mail["subject"] == "Your saved card expires soon"
    assert f"Visa ending in 4242 is good until the end of {month:02}/{year}." in text
    assert "4242" in html
    await shopper.stripe("POST", f"/_sim/payment_methods/{method['id']}/renew", {"exp_year": year + 1})
    await shopper.advance(3600)

    async def renewed() -> bool:
        return [saved["exp_year"] for saved in await ada.methods()] == [year + 1]

    await eventually(renewed, what="the renewed card")
    assert len(await mails()) == 1
    await shopper.advance(365 * 86_400)

    async def both() -> bool:
        return len(await mails()) == 2

    await eventually(both, what="the mail about the next expiry")
