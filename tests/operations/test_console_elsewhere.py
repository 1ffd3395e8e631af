"""What people do at other services from the console: under their own names, as far as the services let them."""

import secrets
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from operations.decide.sealing import opened, sealed
from operations.routes.console.stripe_events import COUNTS, STAGES
from sandbox.services.keys import mint
from sandbox.services.resolver import Servers
from tests.operations.desk import Desk, desk_at
from tests.operations.elsewhere import NAMES, Elsewhere, around
from tests.operations.visitors import SESSION, Page, Visitor
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers
REFUNDS, DISPUTES, EVENTS = "/console/refunds", "/console/disputes", "/console/stripe-events"
SEALED = "SELECT access_sealed, access_ends_at FROM operations.sessions WHERE token_hash = sha256($1::text::bytea)"


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk among the services that it asks."""
    folder = tmp_path_factory.mktemp("desk")
    async with desk_at(servers, folder, names=NAMES, mark="t" + secrets.token_hex(4)) as made:
        yield made


@pytest.fixture(scope="module")
async def elsewhere(desk: Desk) -> AsyncIterator[Elsewhere]:
    async with around(desk) as made:
        yield made


async def signed_in(desk: Desk, subject: str) -> Visitor:
    made = Visitor(desk.deployment, desk.http)
    await made.sign_in(subject)
    return made


@pytest.fixture(scope="module")
async def olga(desk: Desk) -> Visitor:
    """An operator."""
    return await signed_in(desk, "olga")


@pytest.fixture(scope="module")
async def amir(desk: Desk) -> Visitor:
    """An approver."""
    return await signed_in(desk, "amir")


@pytest.fixture(scope="module")
async def nora(desk: Desk) -> Visitor:
    """An operator who is an administrator at the services."""
    return await signed_in(desk, "nora")


@pytest.fixture(scope="module")
async def vera(desk: Desk) -> Visitor:
    """Who only looks."""
    return await signed_in(desk, "vera")


def seen(page: Page, *names: str) -> dict[str, str]:
    """Hidden fields of a page, as a browser sends them back."""
    return {name: page.text.partition(f'name="{name}" value="')[2].partition('"')[0] for name in names}


async def trail(desk: Desk, subject: str | None) -> list[tuple[object, ...]]:
    """What operations itself wrote down of acts at other services upon `subject`, and how they ended."""
    sql = """
        SELECT a.action, a.actor, a.reason, a.service, o.outcome, o.code
          FROM operations.dead_letter_audit AS a
          LEFT JOIN operations.audit_outcomes AS o ON o.audit_id = a.id
         WHERE a.service IS NOT NULL AND a.subject IS NOT DISTINCT FROM $1
         ORDER BY a.id
    """
    return [tuple(row) for row in await desk.owner.fetch(sql, subject)]


# -- under whose name ------------------------------------------------------------------------------------------------


async def test_the_token_is_kept_so_that_only_the_browser_of_its_person_opens_it(desk: Desk) -> None:
    vera = await signed_in(desk, "vera")
    session = vera.cookies[SESSION]
    kept = await desk.owner.fetchrow(SEALED, session)
    assert kept is not None

    token = opened(session, kept["access_sealed"])

    assert token is not None
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["email"], claims["roles"]) == ("vera", "vera@shop.example", ["viewer"])
    assert kept["access_ends_at"] == datetime.fromtimestamp(claims["exp"], UTC)
    assert token.encode() not in kept["access_sealed"]
    assert opened(secrets.token_hex(32), kept["access_sealed"]) is None
    await vera.send("/console/sign-out", page="/console")
    left = await desk.owner.fetchrow(SEALED, session)
    assert left is not None
    assert left["access_sealed"] is None


async def test_who_gets_no_token_that_the_services_take_sees_what_the_console_knows_itself(desk: Desk) -> None:
    vera = await signed_in(desk, "vera")
    sql = "UPDATE operations.sessions SET access_sealed = NULL, access_ends_at = NULL WHERE token_hash = sha256($1::text::bytea)"
    await desk.owner.execute(sql, vera.cookies[SESSION])

    assert (await vera.look("/console/dead-letters")).status == 200
    assert (await vera.look("/console")).status == 200
    services = await vera.look("/console/services")
    assert (services.status, "no token that the services take" in services.plain) == (200, True)
    for path in (REFUNDS, DISPUTES, EVENTS):
        refused = await vera.look(path)
        assert (refused.status, "no_access" in refused.plain) == (403, True), path


async def test_whose_token_is_over_is_sent_for_another_and_comes_back(desk: Desk) -> None:
    amir = await signed_in(desk, "amir")
    over = mint(desk.deployment.keys.people_key_file, "amir", "approver", seconds=-60)
    sql = "UPDATE operations.sessions SET access_sealed = $2 WHERE token_hash = sha256($1::text::bytea)"
    await desk.owner.execute(sql, amir.cookies[SESSION], sealed(amir.cookies[SESSION], over))

    away = await amir.look(f"{REFUNDS}?status=any")
    assert (away.status, away.location) == (303, "/console/sign-in/start?to=%2Fconsole%2Frefunds%3Fstatus%3Dany")
    part = await amir.look("/console/decisions", **{"HX-Request": "true"})
    assert (part.status, "Sign in again" in part.plain) == (200, True), "a part does not take the page away"
    acted = await amir.send(f"{REFUNDS}/ref_{'0' * 32}/reject", page="/console", reason="a test")
    assert (acted.status, "Sign in again" in acted.plain) == (401, True)
    back = await amir.sign_in("amir", f"{REFUNDS}?status=any")
    assert back.location == f"{REFUNDS}?status=any"
    assert (await amir.look(back.location)).status == 200


# -- refunds ---------------------------------------------------------------------------------------------------------


async def test_an_approver_agrees_to_what_he_saw_and_refunds_writes_down_who_he_is(
    elsewhere: Elsewhere, amir: Visitor
) -> None:
    refund_id = await elsewhere.asked(61_200, note="<script>alert(1)</script>")
    listed = await amir.look(REFUNDS)
    page = await amir.look(f"{REFUNDS}/{refund_id}")
    fields = seen(page, "amount_minor", "currency", "version")

    assert f'href="{REFUNDS}/{refund_id}"' in listed.text
    assert "Approve 612.00 USD" in page.plain
    assert "per refund" in page.plain
    assert "<script>alert" not in page.text
    for wrong in ({"amount_minor": "1"}, {"version": "9"}, {"currency": "eur"}):
        refused = await amir.send(
            f"{REFUNDS}/{refund_id}/approve", page=REFUNDS, reason="it is right", **{**fields, **wrong}
        )
        assert (refused.status, "refund_changed" in refused.plain) == (409, True), wrong
    refused = await amir.send(f"{REFUNDS}/{refund_id}/approve", page=REFUNDS, reason="x", **fields)
    assert (refused.status, "/reason" in refused.plain) == (422, True)
    assert (await elsewhere.refund(refund_id))["status"] == "awaiting_approval"
    agreed = await amir.send(f"{REFUNDS}/{refund_id}/approve", page=REFUNDS, reason="it is right", **fields)

    assert (agreed.status, agreed.location) == (303, f"{REFUNDS}/{refund_id}?said=approved")
    decided = await elsewhere.refund(refund_id)
    assert (decided["decided_by"], decided["decision_note"]) == ("amir", "it is right")
    assert decided["status"] in ("approved", "submitted", "succeeded")
    assert "amir" in {step["actor"] for step in decided["history"]}
    again = await amir.send(f"{REFUNDS}/{refund_id}/reject", page=REFUNDS, reason="after all not")
    assert (again.status, "already_decided" in again.plain) == (409, True)
    assert await trail(elsewhere.desk, refund_id) == [
        *(("refund_approve", "amir", "it is right", "refunds", "refused", "refund_changed") for _ in range(3)),
        ("refund_approve", "amir", "it is right", "refunds", "done", None),
        ("refund_reject", "amir", "after all not", "refunds", "refused", "already_decided"),
    ], "what is not even a reason asks nobody"
    shown = await amir.look("/console/audit?actor=amir&action=refund_approve")
    assert f'href="{REFUNDS}/{refund_id}"' in shown.text
    assert ("it is right" in shown.plain, "after all not" in shown.plain) == (True, False)
    assert "it is right" not in (await amir.look("/console/audit?actor=amir&since=2999-01-01")).plain
    assert "it is right" in (await amir.look("/console/audit?since=2026-01-01")).plain


async def test_an_approver_refuses_with_a_reason(elsewhere: Elsewhere, amir: Visitor) -> None:
    refund_id = await elsewhere.asked()

    refused = await amir.send(
        f"{REFUNDS}/{refund_id}/reject", page=f"{REFUNDS}/{refund_id}", reason="nothing came back"
    )

    assert (refused.status, refused.location) == (303, f"{REFUNDS}/{refund_id}?said=rejected")
    decided = await elsewhere.refund(refund_id)
    assert (decided["status"], decided["decided_by"]) == ("rejected", "amir")
    assert decided["decision_note"] == "nothing came back"


@pytest.mark.parametrize(
    ("who", "email"),
    [("bea", None), ("BEA", None), ("someone", "bea@shop.example"), ("someone", "Bea+shop@shop.example")],
)
async def test_nobody_decides_about_what_he_asked_for_under_any_name(
    desk: Desk, elsewhere: Elsewhere, who: str, email: str | None
) -> None:
    bea = await signed_in(desk, "bea")
    refund_id = await elsewhere.asked(who=who, email=email)
    fields = {"amount_minor": "60000", "currency": "usd", "version": "1", "reason": "it is mine"}

    for act in ("approve", "reject"):
        refused = await bea.send(f"{REFUNDS}/{refund_id}/{act}", page="/console", **fields)
        assert (refused.status, "own_request" in refused.plain) == (403, True), act
    assert (await elsewhere.refund(refund_id))["status"] == "awaiting_approval"


async def test_only_approvers_decide(elsewhere: Elsewhere, olga: Visitor, vera: Visitor) -> None:
    refund_id = await elsewhere.asked()
    fields = {"amount_minor": "60000", "currency": "usd", "version": "1", "reason": "a test"}

    for visitor in (olga, vera):
        shown = await visitor.look(f"{REFUNDS}/{refund_id}")
        assert (shown.status, "It waits for an approver" in shown.plain) == (200, True)
        for act in ("approve", "reject"):
            assert f"/{act}" not in shown.text
            assert (await visitor.send(f"{REFUNDS}/{refund_id}/{act}", page="/console", **fields)).status == 403
    assert (await elsewhere.refund(refund_id))["version"] == 1


async def test_a_role_at_the_console_alone_decides_nothing(desk: Desk, elsewhere: Elsewhere) -> None:
    refund_id = await elsewhere.asked()
    vera = await signed_in(desk, "vera")
    sql = "UPDATE operations.sessions SET roles = '{approver,operator}' WHERE token_hash = sha256($1::text::bytea)"
    await desk.owner.execute(sql, vera.cookies[SESSION])
    fields = {"amount_minor": "60000", "currency": "usd", "version": "1", "reason": "a test"}

    for act in ("approve", "reject"):
        refused = await vera.send(f"{REFUNDS}/{refund_id}/{act}", page="/console", **fields)
        assert (refused.status, "forbidden" in refused.plain) == (403, True), "refunds has the last word"
    acts = await trail(desk, refund_id)
    assert {(action, actor, outcome, code) for action, actor, _, _, outcome, code in acts} == {
        ("refund_approve", "vera", "refused", "forbidden"),
        ("refund_reject", "vera", "refused", "forbidden"),
    }
    stopped = await vera.send("/console/services/checkouts", page="/console", state="stopped", reason="a test")
    assert (stopped.status, "forbidden" in stopped.plain) == (403, True)
    assert (await elsewhere.refund(refund_id))["status"] == "awaiting_approval"


async def test_an_administrator_takes_back_what_is_put_off(
    elsewhere: Elsewhere, olga: Visitor, nora: Visitor, vera: Visitor
) -> None:
    refund_id = await elsewhere.asked(61_200)
    page, services = f"{REFUNDS}/{refund_id}", "/console/services/refunds"
    await olga.send(services, page="/console/services", state="stopped", reason="a rule is wrong")
    try:
        await elsewhere.put_off(refund_id)
        listed = await vera.look(f"{REFUNDS}?status=approved")
        for visitor in (olga, vera):
            shown = await visitor.look(page)
            assert ("Refunds are stopped." in shown.plain, "/cancel" in shown.text) == (True, False)
            refused = await visitor.send(f"{page}/cancel", page="/console", reason="may I")
            assert (refused.status, "forbidden" in refused.plain) == (403, True), "refunds has the last word"
        offered = await nora.look(page)
        wordless = await nora.send(f"{page}/cancel", page=page, reason="x")
        taken = await nora.send(f"{page}/cancel", page=page, reason="rule 12 was wrong")
        again = await nora.send(f"{page}/cancel", page=page, reason="once more")
    finally:
        await olga.send(services, page="/console/services", state="open", reason="it is right again")

    assert f'href="{REFUNDS}/{refund_id}"' in listed.text
    assert "approved stopped" in listed.plain
    assert "Take back 612.00 USD" in offered.plain
    assert (wordless.status, "/reason" in wordless.plain) == (422, True)
    assert (taken.status, taken.location) == (303, f"{page}?said=taken_back")
    assert (again.status, "already_decided" in again.plain) == (409, True)
    shown = await vera.look(taken.location)
    assert "The refund is taken back." in shown.plain
    assert "withdrawn by nora: rule 12 was wrong" in shown.plain
    assert "Refunds are stopped." not in shown.plain
    kept = await elsewhere.refund(refund_id)
    assert (kept["status"], kept["decided_by"]) == ("canceled", "ann")
    assert await trail(elsewhere.desk, refund_id) == [
        ("refund_cancel", "olga", "may I", "refunds", "refused", "forbidden"),
        ("refund_cancel", "vera", "may I", "refunds", "refused", "forbidden"),
        ("refund_cancel", "nora", "rule 12 was wrong", "refunds", "done", None),
        ("refund_cancel", "nora", "once more", "refunds", "refused", "already_decided"),
    ]


async def test_an_act_whose_answer_is_lost_is_one_of_which_the_trail_does_not_know_the_end(
    desk: Desk, elsewhere: Elsewhere, amir: Visitor, vera: Visitor
) -> None:
    refund_id = await elsewhere.asked()
    refunds = desk.deployment.children["refunds"].popen
    csrf = (await amir.look(REFUNDS)).csrf
    refunds.send_signal(signal.SIGSTOP)
    try:
        lost = await amir.ask(
            "POST",
            f"{REFUNDS}/{refund_id}/reject",
            data={"csrf": csrf, "reason": "no word of it"},
            Origin=amir.origin,
        )
    finally:
        refunds.send_signal(signal.SIGCONT)

    assert (lost.status, "did not answer in time" in lost.plain) == (503, True), "the page asks for the refund, too"
    assert await trail(desk, refund_id) == [
        ("refund_reject", "amir", "no word of it", "refunds", "unknown", "answer_lost")
    ]
    told = (await vera.look("/console/audit?action=refund_reject")).plain
    assert "not known refunds knows" in told
    decided = await elsewhere.refund(refund_id)
    assert decided["decision_note"] in ("", "no word of it"), "it was decided, or was not"


# -- disputes --------------------------------------------------------------------------------------------------------


async def test_disputes_stand_in_the_order_of_their_deadlines(elsewhere: Elsewhere, vera: Visitor) -> None:
    later = await elsewhere.disputed(5000, timedelta(days=20))
    soon = await elsewhere.disputed(7000, timedelta(hours=5))
    between = await elsewhere.disputed(6000, timedelta(days=5))

    listed = (await vera.look(DISPUTES)).text
    home = await vera.look("/console/decisions", **{"HX-Request": "true"})
    shown = await vera.look(f"{DISPUTES}/{soon}")

    places = [listed.index(f'href="{DISPUTES}/{one}"') for one in (soon, between, later)]
    assert places == sorted(places)
    assert soon in home.text
    assert between in home.text
    assert later not in home.text
    assert "70.00 USD" in shown.plain
    assert (await vera.look(f"{DISPUTES}?status=won")).status == 200
    assert (await vera.look(f"{DISPUTES}/du_{'0' * 24}")).status == 404


async def test_evidence_is_seen_by_who_may_see_buyers_addresses(
    elsewhere: Elsewhere, amir: Visitor, vera: Visitor
) -> None:
    dispute = await elsewhere.disputed(5000, timedelta(days=9))
    part = {"HX-Request": "true"}

    shown = await amir.look(f"{DISPUTES}/{dispute}/evidence", **part)
    hidden = await vera.look(f"{DISPUTES}/{dispute}/evidence", **part)

    assert (shown.status, "Nothing was handed in." in shown.plain) == (200, True), shown.plain
    assert (hidden.status, "forbidden" in hidden.plain) == (200, True)
    headers = {"Cookie": f"{SESSION}={amir.cookies[SESSION]}"}
    async with elsewhere.desk.http.get(f"{amir.origin}{DISPUTES}/{dispute}/evidence.pdf", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "application/pdf")
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{dispute}.pdf"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert (await answer.read()).startswith(b"%PDF-")
    assert (await vera.look(f"{DISPUTES}/{dispute}/evidence.pdf")).status == 403


# -- Stripe's events -------------------------------------------------------------------------------------------------


async def published(desk: Desk, message: str) -> Any:
    sql = "SELECT published_at FROM webhook_ingest.outbox WHERE convert_from(body, 'UTF8') LIKE '%' || $1 || '%'"
    return await desk.owner.fetchval(sql, message)


async def test_an_event_is_seen_with_its_payload_and_handed_to_the_broker_again(
    desk: Desk, elsewhere: Elsewhere, olga: Visitor, vera: Visitor
) -> None:
    intent = f"pi_{secrets.token_hex(12)}"
    given = {"id": intent, "object": "payment_intent", "description": "<script>alert(1)</script>"}
    event_id = await elsewhere.delivered(type="payment_intent.succeeded", data={"object": given})
    first = await eventually(lambda: published(desk, event_id), within_seconds=30, what="the event is published")
    listed = await olga.look(f"{EVENTS}?named={intent}")
    path = f"{EVENTS}/{datetime.now(UTC).date().isoformat()}/{event_id}"
    shown = await vera.look(path)

    assert f'href="{path}"' in listed.text
    assert "published" in listed.plain
    assert intent in shown.plain
    assert "<script>alert" not in shown.text
    assert "/resend" not in shown.text
    assert (await vera.send(f"{path}/resend", page="/console", reason="a test")).status == 403
    assert (await olga.send(f"{path}/resend", page=path, reason="x")).status == 422
    sent = await olga.send(f"{path}/resend", page=path, reason="the queue was made anew")

    assert (sent.status, sent.location) == (303, f"{path}?said=resent")

    async def again() -> bool:
        at = await published(desk, event_id)
        return at is not None and at > first

    await eventually(again, within_seconds=30, what="the event is published again")
    assert "the queue was made anew" in (await olga.look(path)).plain
    assert await trail(desk, path.removeprefix(f"{EVENTS}/")) == [
        ("stripe_resend", "olga", "the queue was made anew", "webhook-ingest", "done", None)
    ]
    assert f'href="{path}"' in (await olga.look("/console/audit?action=stripe_resend")).text
    sql = "SELECT count(*) FROM operations.inbox AS i JOIN webhook_ingest.outbox AS o USING (day, message_id) WHERE convert_from(o.body, 'UTF8') LIKE '%' || $1 || '%'"
    assert await desk.owner.fetchval(sql, event_id) == 1, "who took it does nothing again"


async def test_what_nobody_hears_is_seen_and_cannot_be_handed_over(elsewhere: Elsewhere, olga: Visitor) -> None:
    event_id = await elsewhere.delivered(type="climate.order.created")
    path = f"{EVENTS}/{datetime.now(UTC).date().isoformat()}/{event_id}"

    assert "nobody hears it" in (await olga.look(path)).plain
    refused = await olga.send(f"{path}/resend", page="/console", reason="a test")
    assert (refused.status, "not_heard" in refused.plain) == (409, True)
    assert (await olga.look(f"{EVENTS}/2026-01-01/{event_id}")).status == 404
    assert (await olga.look(f"{EVENTS}/2026-99-01/{event_id}")).status == 404


async def test_a_gap_is_filled_step_by_step_and_the_audit_says_who_did_it(
    desk: Desk, elsewhere: Elsewhere, olga: Visitor, vera: Visitor
) -> None:
    await elsewhere.paid(1200)  # its webhooks reach nobody: there is no front door
    assert (await vera.look(f"{EVENTS}/backfill")).status == 403
    assert (await vera.send(f"{EVENTS}/backfill", page="/console", span="1", reason="a test")).status == 403
    assert (await olga.send(f"{EVENTS}/backfill", page="/console", span="2", reason="a test")).status == 422
    assert (await olga.send(f"{EVENTS}/backfill", page="/console", span="1", reason="")).status == 422
    names = ("since", "dry_run", "cursor", "act", *(f"{stage}_{count}" for stage in STAGES for count in COUNTS))

    async def walked(page: Page, who: Visitor = olga, **changes: str) -> Page:
        for _ in range(20):
            if "Nothing of Stripe's list is left" in page.plain:
                return page
            page = await who.ask(
                "POST",
                f"{EVENTS}/backfill/progress",
                data={"csrf": page.csrf, **seen(page, *names), **changes},
                **{"HX-Request": "true", "Origin": who.origin},
            )
            assert page.status == 200, page.plain
        raise AssertionError(page.plain)

    counted = await walked(await olga.send(f"{EVENTS}/backfill", page="/console", span="1", dry_run="1"))
    begun = await olga.send(f"{EVENTS}/backfill", page="/console", span="1", reason="left half way")
    before = await desk.owner.fetchval("SELECT count(*) FROM webhook_ingest.stripe_events WHERE source = 'pull'")
    filled = await walked(await olga.send(f"{EVENTS}/backfill", page="/console", span="1", reason="the door was shut"))
    after = await desk.owner.fetchval("SELECT count(*) FROM webhook_ingest.stripe_events WHERE source = 'pull'")

    new = sum(int(seen(filled, f"{stage}_new")[f"{stage}_new"]) for stage in STAGES)
    assert after - before == new
    assert int(seen(counted, "all_seen")["all_seen"]) > 0
    assert await trail(desk, None) == [
        ("stripe_backfill", "olga", "left half way", "webhook-ingest", None, None),
        ("stripe_backfill", "olga", "the door was shut", "webhook-ingest", "done", None),
    ], "and no line of what was only counted"
    told = (await olga.look("/console/audit?actor=olga&action=stripe_backfill")).plain
    assert ("the door was shut" in told, "not known" in told) == (True, True)
    bea = await signed_in(desk, "bea")
    her_own = await bea.send(f"{EVENTS}/backfill", page="/console", span="1", dry_run="1")
    await walked(her_own, bea, **seen(begun, "act"))
    assert (await trail(desk, None))[0][4] is None, "nobody ends the act of somebody else"


# -- services --------------------------------------------------------------------------------------------------------


async def test_an_operator_stops_new_orders_and_takes_them_again(desk: Desk, olga: Visitor, vera: Visitor) -> None:
    looking = await vera.look("/console/services")
    assert (looking.status, "/console/services/checkouts" in looking.text) == (200, False)
    assert (
        await vera.send("/console/services/checkouts", page="/console", state="stopped", reason="a test")
    ).status == 403

    stopped = await olga.send(
        "/console/services/checkouts", page="/console/services", state="stopped", reason="prices are wrong"
    )
    try:
        assert (stopped.status, stopped.location) == (303, "/console/services?said=stopped")
        assert "prices are wrong" in (await vera.look("/console/services")).plain

        async def said() -> bool:
            part = await vera.look("/console/services", **{"HX-Request": "true"})
            return "No new orders are taken" in part.plain

        await eventually(said, within_seconds=30, what="the first page says so")
    finally:
        opened_again = await olga.send(
            "/console/services/checkouts", page="/console/services", state="open", reason="they are right"
        )
    assert opened_again.location == "/console/services?said=opened"
    turns = await desk.owner.fetch("SELECT state, actor FROM checkout.switch_turns ORDER BY at DESC LIMIT 2")
    assert [(row["state"], row["actor"]) for row in turns] == [("open", "olga"), ("stopped", "olga")]
    assert (await trail(desk, "checkouts"))[-2:] == [
        ("checkouts_stop", "olga", "prices are wrong", "checkout", "done", None),
        ("checkouts_open", "olga", "they are right", "checkout", "done", None),
    ]


async def test_an_operator_stops_refunds_and_an_approver_is_told_so(
    desk: Desk, elsewhere: Elsewhere, olga: Visitor, amir: Visitor
) -> None:
    act, fields = "/console/services/refunds", {"amount_minor": "60000", "currency": "usd", "version": "1"}
    refund_id = await elsewhere.asked()
    stopped = await olga.send(act, page="/console/services", state="stopped", reason="a rule is wrong")
    try:
        assert (stopped.status, stopped.location) == (303, "/console/services?said=stopped")

        approved = await amir.send(f"{REFUNDS}/{refund_id}/approve", page="/console", reason="a test", **fields)
        page = await olga.look("/console/services")

        assert (approved.status, "No money goes back at the moment." in approved.plain) == (503, True)
        assert "may have been done" not in approved.plain, "a switch refuses before anything is done"
        assert ("a rule is wrong" in page.plain, "notifications did not answer" in page.plain) == (True, True)
        assert (await elsewhere.refund(refund_id))["status"] == "awaiting_approval"
    finally:
        opened_again = await olga.send(act, page="/console/services", state="open", reason="it is right")
    assert opened_again.location == "/console/services?said=opened"
    approved = await amir.send(f"{REFUNDS}/{refund_id}/approve", page="/console", reason="a test", **fields)
    assert approved.status == 303


async def test_queues_are_counted_by_the_broker(vera: Visitor) -> None:
    async def counted() -> str | None:
        part = (await vera.look("/console/services/queues", **{"HX-Request": "true"})).plain
        return part if "no lag" in part else None

    shown = await eventually(counted, within_seconds=30, what="the broker's counts")
    assert "fulfillment" in str(shown)
    assert "nobody takes" in str(shown), "fulfillment was not started"


# -- nobody else through his browser ---------------------------------------------------------------------------------


async def test_a_form_that_no_page_of_this_session_sent_does_nothing_elsewhere(
    elsewhere: Elsewhere, amir: Visitor, olga: Visitor
) -> None:
    refund_id = await elsewhere.asked()
    day = datetime.now(UTC).date().isoformat()
    acts = {
        f"{REFUNDS}/{refund_id}/approve": amir,
        f"{REFUNDS}/{refund_id}/reject": amir,
        f"{REFUNDS}/{refund_id}/cancel": amir,
        f"{EVENTS}/{day}/evt_1/resend": olga,
        f"{EVENTS}/backfill": olga,
        f"{EVENTS}/backfill/progress": olga,
        "/console/services/checkouts": olga,
        "/console/services/refunds": olga,
        "/console/services/mails": olga,
    }
    fields = {
        "amount_minor": "60000", "currency": "usd", "version": "1", "reason": "a test", "state": "stopped", "span": "1",
        "since": datetime.now(UTC).isoformat(), "dry_run": "0",
    }  # fmt: skip

    for act, visitor in acts.items():
        csrf, own = (await visitor.look("/console")).csrf, visitor.origin
        for given, headers in (
            ({"csrf": csrf}, {}),
            ({"csrf": csrf}, {"Origin": "https://evil.example"}),
            ({"csrf": csrf}, {"Origin": own, "Sec-Fetch-Site": "cross-site"}),
            ({"csrf": "0" * 64}, {"Origin": own}),
            ({}, {"Origin": own}),
        ):
            assert (await visitor.ask("POST", act, data={**fields, **given}, **headers)).status == 403, (act, headers)
    assert (await elsewhere.refund(refund_id))["version"] == 1


async def test_a_service_that_is_away_is_said_to_be(desk: Desk, elsewhere: Elsewhere, amir: Visitor) -> None:
    refund_id = await elsewhere.asked()
    desk.deployment.stop("refunds")
    try:
        started = time.monotonic()
        away = await amir.look(REFUNDS)
        acted = await amir.send(f"{REFUNDS}/{refund_id}/reject", page="/console", reason="a test")
        part = await amir.look("/console/decisions", **{"HX-Request": "true"})
        assert [(page.status, "refunds did not answer" in page.plain) for page in (away, acted)] == [(503, True)] * 2
        assert await trail(desk, refund_id) == [
            ("refund_reject", "amir", "a test", "refunds", "refused", "service_unavailable")
        ]
        assert (part.status, "refunds did not answer" in part.plain) == (200, True)
        assert (await amir.look("/console")).status == 200
        assert time.monotonic() - started < 60
    finally:
        desk.deployment.start("refunds")
        desk.deployment.wait_ready("refunds")
    assert (await elsewhere.refund(refund_id))["status"] == "awaiting_approval"
