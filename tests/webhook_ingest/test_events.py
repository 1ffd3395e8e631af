"""Operators look at Stripe's events, and hand one to the broker again."""

import json
import secrets
from datetime import UTC, datetime
from typing import Any

import pytest

from payments_shared.personal import HIDDEN
from payments_shared.redaction import REDACTED
from tests.support.deadline import eventually
from tests.support.shopping import Answer, Shopper
from tests.webhook_ingest.deliveries import event, post_event

pytestmark = pytest.mark.servers
PATH = "/admin/stripe/events"
HEARD = "customer.deleted"  # of customers that nobody knows, so that nothing comes of it
MOVE = "UPDATE webhook_ingest.outbox SET day = day + $2::int WHERE message_id = $1::text::uuid"


async def ask(shopper: Shopper, method: str, path: str, body: Any = None, role: str = "operator") -> Answer:
    token = shopper.deployment.keys.token("olga", role)
    url = shopper.deployment.internal_url("webhook-ingest") + PATH + path
    return await shopper.call(method, url, body, Authorization=f"Bearer {token}")


async def come(shopper: Shopper, type_: str = HEARD, about: str | None = None) -> tuple[str, str]:
    """An event that came: its day and its id."""
    subject = {"id": about or f"cus_{secrets.token_hex(12)}", "object": "customer", "deleted": True}
    value = event(type=type_, data={"object": subject})
    assert await post_event(shopper, value) == 200
    return datetime.fromtimestamp(value["created"], UTC).date().isoformat(), value["id"]


async def until_published(shopper: Shopper, day: str, event_id: str) -> dict[str, Any]:
    async def published() -> dict[str, Any] | None:
        found = (await ask(shopper, "GET", f"/{day}/{event_id}")).body
        return found if found["delivery"]["published_at"] else None

    found = await eventually(published, within_seconds=30, what="the event is published")
    assert found is not None
    return found


async def test_pages_of_a_day_follow_each_other_and_miss_nothing(shopper: Shopper) -> None:
    about = f"cus_{secrets.token_hex(12)}"
    came = [await come(shopper, about=about) for _ in range(5)]
    day = came[0][0]

    pages: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        more = f"&cursor={cursor.replace('+', '%2B')}" if cursor else ""
        page = (await ask(shopper, "GET", f"?day={day}&named={about}&limit=2{more}")).body
        pages.append([one["event_id"] for one in page["events"]])
        cursor = page["next_cursor"]

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [one for page in pages for one in page] == [event_id for _, event_id in reversed(came)]


async def test_a_list_is_narrowed_by_type_state_and_name(shopper: Shopper) -> None:
    about = f"cus_{secrets.token_hex(12)}"
    day, heard = await come(shopper, about=about)
    _, ignored = await come(shopper, "climate.order.created", about=about)

    async def listed(query: str) -> set[str]:
        found = (await ask(shopper, "GET", f"?day={day}&{query}")).body["events"]
        return {one["event_id"] for one in found} & {heard, ignored}

    assert await listed(f"named={about}") == {heard, ignored}
    assert await listed(f"named={heard}") == {heard}
    assert await listed(f"named={about}&state=ignored") == {ignored}
    assert await listed(f"named={about}&type={HEARD}") == {heard}
    assert (await ask(shopper, "GET", f"?day=2026-01-01&named={about}")).body["events"] == []


@pytest.mark.parametrize(
    "query",
    ["", "day=x", "day=2026-01-01&type=a%00b", "day=2026-01-01&named=%00", "day=2026-01-01&state=odd",
     "day=2026-01-01&cursor=x", "day=2026-01-01&cursor=2026-01-01T00:00:00~evt_1", "day=2026-01-01&limit=0",
     "day=2026-01-01&cursor=2026-01-01T00:00:00Z~%00"],
)  # fmt: skip
async def test_a_list_that_cannot_be_is_refused(shopper: Shopper, query: str) -> None:
    assert (await ask(shopper, "GET", f"?{query}")).status == 422


@pytest.mark.parametrize(
    "path", ["/2026-01-01/evt_1", "/x/evt_1", "/2026-01-01/%00", "/2026-01-01/evt_%00", "/2026-01-01/x"]
)
async def test_an_event_that_is_none_is_not_found(shopper: Shopper, path: str) -> None:
    assert (await ask(shopper, "GET", path)).status == 404
    assert (await ask(shopper, "POST", f"{path}/resend", {"reason": "a test"})).status == 404


async def test_what_is_handed_over_again_is_published_again_under_its_id(shopper: Shopper) -> None:
    day, event_id = await come(shopper)
    first = await until_published(shopper, day, event_id)

    sent = await ask(shopper, "POST", f"/{day}/{event_id}/resend", {"reason": "the queue was made anew"})
    again = await until_published(shopper, day, event_id)

    assert sent.status == 200
    assert again["delivery"]["message_id"] == first["delivery"]["message_id"]
    assert again["delivery"]["published_at"] > first["delivery"]["published_at"]
    assert [(one["actor"], one["reason"]) for one in again["resends"]] == [("olga", "the queue was made anew")]
    assert event_id in again["payload"]
    assert again["exact"]


async def test_who_a_buyer_is_is_shown_to_who_works_with_buyers(shopper: Shopper) -> None:
    mail, name = f"{secrets.token_hex(6)}@example.com", f"Ada {secrets.token_hex(6)}"
    subject = {"id": f"pi_{secrets.token_hex(8)}", "object": "payment_intent", "amount": 1800, "receipt_email": mail}
    value = event(type="climate.order.created", data={"object": {**subject, "shipping": {"name": name}}})
    assert await post_event(shopper, value) == 200
    day = datetime.fromtimestamp(value["created"], UTC).date().isoformat()

    for role in ("operator", "support", "admin", "approver", "viewer"):
        shown = (await ask(shopper, "GET", f"/{day}/{value['id']}", role=role)).body
        seen = json.loads(shown["payload"])["data"]["object"]
        sees = role in ("operator", "support", "admin")
        assert seen["receipt_email"] == (mail if sees else HIDDEN), role
        assert seen["shipping"] == ({"name": name} if sees else HIDDEN), role
        assert (seen["id"], seen["amount"], shown["exact"]) == (subject["id"], 1800, True)


async def test_what_lets_a_browser_act_is_not_shown(shopper: Shopper) -> None:
    secret = f"seti_1_secret_{secrets.token_hex(8)}"
    subject = {"id": "cus_1", "object": "customer", "client_secret": secret, "note": 'a "client_secret" of its own'}
    value = event(
        type="climate.order.created", data={"object": subject, "previous": {"client_secret": secret + '\\"x'}}
    )
    assert await post_event(shopper, value) == 200
    day = datetime.fromtimestamp(value["created"], UTC).date().isoformat()

    payload = (await ask(shopper, "GET", f"/{day}/{value['id']}")).body["payload"]

    assert secret not in payload
    subject["client_secret"] = REDACTED
    assert json.loads(payload)["data"] == {"object": subject, "previous": {"client_secret": REDACTED}}


async def test_what_has_no_message_is_not_handed_over(shopper: Shopper) -> None:
    day, ignored = await come(shopper, "climate.order.created")
    _, gone = await come(shopper)
    message = (await until_published(shopper, day, gone))["delivery"]["message_id"]
    await shopper.owner.execute(MOVE, message, -1)
    try:
        for event_id, code in ((ignored, "not_heard"), (gone, "no_longer_kept")):
            refused = await ask(shopper, "POST", f"/{day}/{event_id}/resend", {"reason": "a test"})
            assert (refused.status, refused.body["code"]) == (409, code)
            assert (await ask(shopper, "GET", f"/{day}/{event_id}")).body["resends"] == []
    finally:
        await shopper.owner.execute(MOVE, message, 1)


@pytest.mark.parametrize("role", ["viewer", "approver", "support", "admin"])
async def test_only_operators_hand_over(shopper: Shopper, role: str) -> None:
    day, event_id = await come(shopper)

    assert (await ask(shopper, "GET", f"/{day}/{event_id}", role=role)).status == 200
    assert (await ask(shopper, "POST", f"/{day}/{event_id}/resend", {"reason": "a test"}, role=role)).status == 403
    assert (await ask(shopper, "GET", f"/{day}/{event_id}")).body["resends"] == []
