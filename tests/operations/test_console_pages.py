"""What strangers wrote stays text on every page, whatever it is and wherever it stands."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from operations.decide import searching, telling, watching
from operations.handlers.agreeing import Page
from operations.handlers.contesting import Due
from operations.handlers.looking import Found
from operations.handlers.redelivering import Walk
from operations.model.alerts import Alert
from operations.model.letters import Group, Listed, Status, Unsettled
from operations.model.people import Person, Role
from operations.model.queues import Backlog, QueueState
from operations.model.services import ServiceState
from operations.model.switches import Switch
from operations.model.timeline import Mentioned
from operations.model.trail import ACTIONS, Acted
from operations.routes.console import audit, bulks, disputes, letters, pages, refunds, stripe_events, wording
from operations.routes.console.services import Standing
from operations.routes.looking import GroupsQuery
from payments_shared.contracts.catalog import CONSUMERS
from payments_shared.errors import FieldError, Refused

EVIL = "</pre></textarea>'\"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 1234*1000 }}\u202etxt\x07"
ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
AT = datetime(2026, 8, 26, 12, tzinfo=UTC)
FIELDS = re.compile(r'value="[^"]*"|<textarea.*?</textarea>', re.DOTALL)  # what is sent back must stay as it is
ALLOWED = {"script": "src", "img": "src", "link": "href"}


class Seen(HTMLParser):
    """What a browser would make of a page: scripts, handlers of events, styles, and where links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if tag in ALLOWED and not str(given.get(ALLOWED[tag], "")).startswith("/console/static/"):
            self.wrong.append(f"<{tag}> of {given}")
        for name, value in given.items():
            if name.startswith(("on", "hx-on")) or name == "style":
                self.wrong.append(f"{name} of <{tag}>")
            if name in ("href", "src", "action", "formaction", "hx-get", "hx-post") and not str(value).startswith(
                ("/", "#")
            ):
                self.wrong.append(f"{name}={value}")
        if tag in ("iframe", "object", "embed", "base", "style", "svg"):
            self.wrong.append(f"<{tag}>")


def request(path: str = "/console", *roles: Role) -> web.Request:
    app = web.Application()
    pages.prepare(app)
    made = make_mocked_request("GET", path, app=app)
    if roles:
        made[pages.PERSON], made[pages.TOKEN] = Person(EVIL, EVIL, frozenset(roles)), "token"
    return made


def render(template: str, *roles: Role, **values: Any) -> str:
    response = pages.page(request("/console", *(roles or (Role.OPERATOR,))), template, **values)
    assert response.text is not None
    return response.text


def listed(**changes: Any) -> Listed:
    given: dict[str, Any] = {
        "id": ID, "message_id": EVIL, "service": EVIL, "queue": EVIL, "type": EVIL, "correlation_id": EVIL,
        "status": "open", "reason": EVIL, "fingerprint": EVIL, "exception_type": EVIL, "exception_message": EVIL,
        "handler": EVIL, "attempts": 3, "failures": 2, "first_failed_at": AT, "last_failed_at": AT,
    }  # fmt: skip
    return Listed(**{**given, **changes})


def letter(**changes: Any) -> dict[str, Any]:
    one = listed()
    named = {name: getattr(one, name) for name in Listed.__slots__}
    acted = {"action": EVIL, "actor": EVIL, "reason": EVIL, "replay_id": ID, "bulk_id": ID, "at": AT}
    attempt = {"failed_at": AT, "reason": EVIL, "exception_type": EVIL, "exception_message": EVIL, "replay_id": ID}
    replay = {
        "id": ID,
        "bulk_id": ID,
        "edited": True,
        "made_at": AT,
        "sent_at": AT,
        "settled_at": None,
        "outcome": None,
    }
    return {
        **named, "trace_id": EVIL, "answer": None, "replay_id": None, "lease_until": AT, "settled_at": AT, "archived_at": AT, "stack": EVIL, "headers": {EVIL: EVIL},
        "body": f'{{"a": "{EVIL}"}}'.encode(), "attempts_made": [{**attempt, "body": EVIL.encode()}],
        "replays": [replay], "audit": [{**acted, "detail": {"changes": [{"pointer": EVIL, "from": EVIL, "to": EVIL}]}}],
        **changes,
    }  # fmt: skip


def bulk(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID, "act": "replay", "state": "running", "state_reason": EVIL, "actor": EVIL, "reason": EVIL,
        "filter": {"service": EVIL, EVIL: EVIL, "ids": [EVIL]}, "rate": 50.0, "force": False, "total": 12_000,
        "cutoff": AT, "paused_at": AT, "finished_at": None, "counts": {"waiting": 11_000, "on_the_way": 10},
        "failures": [{"fingerprint": EVIL, "messages": 3}],
        "audit": [{"action": EVIL, "actor": EVIL, "reason": EVIL, "detail": None, "at": AT}], **changes,
    }  # fmt: skip


REFUSED = Refused("validation_failed", EVIL, status=422, errors=[FieldError(EVIL, EVIL)])
DRAFT = bulks.Draft("discard", [("service", EVIL), ("id", EVIL)], rate=EVIL, limit=EVIL, reason=EVIL, force=True)
SAID = {
    "message_id": ID,
    "order_id": EVIL,
    "type": EVIL,
    "source": EVIL,
    "causation_id": EVIL,
    "time": AT,
    "data": {EVIL: EVIL},
}
FAILED = {"id": ID, "service": EVIL, "type": EVIL, "status": "open", "reason": EVIL, "last_failed_at": AT}
GROUP = Group(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, 5, 1, AT, AT)
STATE = ServiceState("checkout", answers=True, failing=(EVIL,), outbox_depth=3, outbox_oldest_seconds=99, orders_held={EVIL: 1})  # fmt: skip
EDIT = {"letter": letter(), "text": EVIL, "reason": EVIL, "force": True, "doubtful": True, "refused": REFUSED}
LIST = {"filtered": True, "services": CONSUMERS, "statuses": (), "following": "/console/dead-letters/list?before=x"}
INSTANT = "2026-08-26T12:00:00Z"
LINE = {"line": 1, "quantity": 3, "restock": False, "goods_minor": 5400, "tax_minor": 1026}
PART = {
    "id": EVIL, "tender": EVIL, "destination": EVIL, "amount_minor": 500, "status": EVIL, "stripe_refund_id": EVIL,
    "failure_reason": EVIL, "pending_reason": EVIL, "action_expires_at": INSTANT,
}  # fmt: skip
REFUND = {
    "refund_id": EVIL, "order_id": EVIL, "status": "awaiting_approval", "currency": "usd", "amount_minor": 125_000,
    "goods_minor": 100, "tax_minor": 0, "shipping_minor": 0, "fee_minor": 0, "lines": [LINE], "destination": EVIL,
    "reason": EVIL, "note": EVIL, "origin": EVIL, "requester": EVIL, "needs": [EVIL], "score": 70,
    "score_reasons": [{"signal": EVIL, "points": -5, "detail": {EVIL: 12_000}}], "decided_by": EVIL,
    "decision_note": EVIL, "version": 3, "created_at": INSTANT, "pending_reason": EVIL, "parts": [PART],
    "refundable_minor": 0, "disputed_minor": 0,
    "history": [{"part": EVIL, "before": None, "after": EVIL, "cause": EVIL, "actor": EVIL, "at": INSTANT}],
}  # fmt: skip
DISPUTE = {
    "dispute_id": EVIL, "order_id": EVIL, "payment_intent": EVIL, "charge": EVIL, "status": "open", "stripe_status": EVIL,
    "amount_minor": 5000, "currency": EVIL, "reason": EVIL, "network_reason_code": EVIL, "due_by": INSTANT,
    "has_evidence": True, "submission_count": 0, "past_due": False, "charge_refundable": True, "version": 1,
    "opened_at": INSTANT, "closed_at": INSTANT,
    "history": [{"before": None, "after": EVIL, "cause": EVIL, "at": INSTANT}],
    "warnings": [{"warning_id": EVIL, "charge": EVIL, "fraud_type": EVIL, "actionable": True, "heard_at": INSTANT}],
    "refunds": [REFUND],
}  # fmt: skip
SUBMISSION = {
    "submission_id": EVIL, "status": EVIL, "submit": False, "digest": EVIL, "actor": EVIL, "reason": EVIL,
    "evidence": {EVIL: EVIL}, "file_id": EVIL, "refusal": EVIL, "created_at": INSTANT, "settled_at": None,
}  # fmt: skip
EVIDENCE: Mapping[str, Any] = {
    "dispute_id": "du_1", "submissions": [SUBMISSION], "refused": None, "pack_text": EVIL,
    "pack": {
        "parcels": [], "mails": [], "refunds": [], "evidence": {}, "digest": EVIL, "timeline": [{"at": EVIL, "what": EVIL}],
    },
}  # fmt: skip
DELIVERY = {"message_id": EVIL, "order_id": EVIL, "published_at": None, "attempts": 3, "last_error": EVIL}
EVENT = {
    "day": "2026-08-26", "event_id": EVIL, "type": EVIL, "object_id": EVIL, "livemode": None, "account": EVIL,
    "api_version": EVIL, "state": EVIL, "reason": EVIL, "source": "pull", "received_at": INSTANT, "delivery": DELIVERY,
    "payload": EVIL, "exact": False, "resends": [{"actor": EVIL, "reason": EVIL, "at": INSTANT}],
}  # fmt: skip
PROGRESS = stripe_events.Progress(
    Walk(AT, dry_run=False, cursor=EVIL), dict.fromkeys((f"{s}_{c}" for s in stripe_events.STAGES for c in stripe_events.COUNTS), 3),
    reached=AT, refused=REFUSED,
)  # fmt: skip
WALKED: Mapping[str, Any] = {
    "progress": PROGRESS, "stages": stripe_events.STAGES, "kinds": stripe_events.COUNTS, "percent": 40,
}  # fmt: skip
QUEUE = QueueState("checkout.events", 12, 3, 0, 1.5, 0.0)
STATES: Mapping[str, Any] = {
    "services": [STATE, ServiceState("refunds", answers=False)], "old_seconds": 30, "warnings": [EVIL],
}  # fmt: skip
QUEUES: Mapping[str, Any] = {"backlogs": [Backlog(EVIL, QUEUE, None, 4, 1)], "lag": watching.lag_seconds}
DEADLINES: Mapping[str, Any] = {"urgent": disputes.URGENT, "soon": disputes.SOON}
ALERTED: Mapping[str, Any] = {
    "alerts": [Alert(EVIL, "critical", fires=True, since=AT, summary=EVIL, runbook=EVIL)],
    "runbook": watching.runbook_address,
}  # fmt: skip
DECISIONS: Mapping[str, Any] = {
    "waiting": Page([REFUND], "more"), "due": Due([DISPUTE], more=True), "refused": None, "shown": 5, **DEADLINES,
}  # fmt: skip
SHOWN = {"state": "open", "turns": [{"state": EVIL, "actor": EVIL, "reason": EVIL, "at": INSTANT}]}
SWITCHES = [
    Standing(Switch.CHECKOUTS, SHOWN), Standing(Switch.REFUNDS, {**SHOWN, "state": "stopped"}),
    Standing(Switch.MAILS, unknown=REFUSED),
]  # fmt: skip
WANTED: Mapping[str, Mapping[str, Any]] = {
    "trouble.html": {"detail": EVIL, "code": "x", "errors": REFUSED.errors, "again": True, "acted": True, "request_id": "r", "status_code": 422},
    "sign_in.html": {"to": EVIL, "denied": True},
    "home.html": {"decides": True, "hears_alerts": True, "unsettled": [Unsettled(EVIL, 1, 2, AT, AT)], "paused": [bulk()], "running": [bulk()]},
    "attention.html": {"unsettled": [Unsettled(EVIL, 1, 2, AT, AT)], "paused": [bulk()], "running": [bulk()]},
    "alerts.html": ALERTED,
    "alerts_page.html": ALERTED,
    "services.html": STATES,
    "services_page.html": {**STATES, **QUEUES, "switches": SWITCHES, "reasons": {Switch.REFUNDS: EVIL}, "refused": REFUSED},
    "queues.html": QUEUES,
    "decisions.html": DECISIONS,
    "decisions_page.html": {**DECISIONS, "refused": REFUSED},
    "refunds.html": {
        "refunds": [REFUND], "status_shown": "awaiting_approval", "statuses": refunds.SHOWN,
        "following": "/console/refunds?cursor=x",
    },
    "refund.html": {
        "refund": REFUND, "waits": True, "own": False, "put_off": True, "takes_back": True, "reason": EVIL, "refused": REFUSED,
    },
    "disputes.html": {
        "disputes": [DISPUTE], "more": True, "status_shown": "due", "statuses": disputes.SHOWN, "following": None, **DEADLINES,
    },
    "dispute.html": {"dispute": {**DISPUTE, "dispute_id": "du_1"}, **DEADLINES},
    "evidence.html": EVIDENCE,
    "evidence_page.html": {**EVIDENCE, "refused": REFUSED},
    "events.html": {
        "events": [EVENT], "day": "2026-08-26", "query": stripe_events.EventsQuery.model_construct(type=EVIL, named=EVIL),
        "states": stripe_events.STATES, "following": None, "before": "/console/stripe-events?day=2026-08-25",
    },
    "event.html": {"event": EVENT, "payload": wording.payload(EVIL.encode()), "reason": EVIL, "refused": REFUSED},
    "backfill.html": {"spans": stripe_events.SPANS, "span": EVIL, "dry_run": False, "reason": EVIL, "refused": REFUSED},
    "backfill_page.html": WALKED,
    "backfill_progress.html": WALKED,
    "groups.html": {
        "groups": [GROUP], "count": 2, "every": "/console/dead-letters?all=1", "services": CONSUMERS,
        "query": GroupsQuery.model_construct(service=EVIL, type=EVIL),
    },
    "letters.html": {"letters": [listed()], "query": letters.PageQuery.model_construct(type=EVIL, fingerprint=EVIL), **LIST},
    "letter.html": {"letter": letter(), "payload": wording.payload(letter()["body"])},
    "letter_state.html": {"letter": letter(status="replaying")},
    "archive.html": {"ids": [ID], "verb": "unarchive", "reason": EVIL, "refused": REFUSED},
    "edit.html": {**EDIT, "changes": [{"pointer": EVIL, "from": EVIL, "to": None}]},
    "bulks.html": {"bulks": [bulk()]},
    "bulk.html": {"bulk": bulk(), "changed": False},
    "bulk_progress.html": {"bulk": bulk(state="paused"), "changed": True},
    "bulk_steer.html": {"bulk": bulk()},
    "bulk_new.html": {
        "draft": DRAFT, "wanted": {"service": EVIL}, "preview": {"matching": 40, "taken": 30, "ids": [ID]}, "shown_ids": 20,
        "typed": True, "refused": REFUSED, "doubtful": True,
    },
    "order.html": {"order_id": EVIL, "story": telling.story([SAID], [FAILED]), "failed": [FAILED]},
    "search.html": {
        "term": searching.Term(EVIL, searching.Kind.REFERENCE),
        "found": Found([EVIL], [Mentioned(ID, EVIL, EVIL, EVIL, AT)], [listed()], ID),
    },
    "audit.html": {
        "acts_told": [
            Acted(1, ID, EVIL, EVIL, EVIL, ID, ID, {EVIL: EVIL}, AT),
            Acted(2, None, EVIL, EVIL, EVIL, None, None, None, AT, "refunds", EVIL, "refused", EVIL),
            Acted(3, None, EVIL, EVIL, EVIL, None, None, None, AT, "webhook-ingest", EVIL, "unknown"),
        ],
        "following": "/console/audit?before=1", "query": audit.TrailQuery.model_construct(actor=EVIL), "actions": ACTIONS,
    },
}  # fmt: skip


def test_every_template_is_judged() -> None:
    folder = Path(pages.__file__).parent / "templates"

    assert {one.name for one in folder.glob("*.html")} == {*WANTED, "base.html", "macros.html"}


@pytest.mark.parametrize("template", WANTED)
def test_what_strangers_wrote_stays_text(template: str) -> None:
    text = render(template, **WANTED[template])

    assert Seen(text).wrong == []
    assert "<script>alert" not in text
    assert "1234000" not in text, "a template made of what strangers wrote"
    assert "\u202e" not in FIELDS.sub("", text), "a line turned around"


def test_the_reader_of_pages_would_see_an_attack() -> None:
    assert Seen(f"<p title='{EVIL}'>").wrong
    assert Seen(f"<textarea>{EVIL}</textarea>").wrong
    assert Seen("<a href='javascript:alert(1)'>x</a>").wrong


class Many:
    """More groups than a page shows."""

    async def groups(self, service: str | None, type_: str | None) -> list[Group]:
        assert (service, type_) == ("inventory", None)
        return [replace(GROUP, fingerprint=f"way-{number}") for number in range(letters.GROUPS + 7)]


async def test_the_largest_groups_are_shown_and_all_of_them_to_whoever_asks() -> None:
    door = letters.Door(None, Many(), None)  # type: ignore[arg-type] # what is asked of them is there
    path = "/console/dead-letters?service=inventory"

    first = (await door.groups(request(path, Role.VIEWER))).text or ""
    every = (await door.groups(request(f"{path}&all=1", Role.VIEWER))).text or ""

    assert (first.count("<tr>"), every.count("<tr>")) == (1 + letters.GROUPS, 1 + letters.GROUPS + 7)
    assert 'href="/console/dead-letters?service=inventory&amp;all=1"' in first
    assert f"The {letters.GROUPS} largest of {letters.GROUPS + 7}." in first
    assert "Show all" not in every


@pytest.mark.parametrize("template", ["groups.html", "letters.html", "letter.html", "bulk.html"])
def test_who_only_looks_is_offered_no_act(template: str) -> None:
    operators, viewers = (render(template, role, **WANTED[template]) for role in (Role.OPERATOR, Role.VIEWER))

    for act in ("Replay", "Discard", "Pause"):
        assert (act in operators) >= (act in viewers)
    assert "/console/bulks/new" not in viewers
    assert 'method="post"' not in viewers.replace('method="post" action="/console/sign-out"', "")
    assert "/console/bulks/new" in operators or 'name="reason"' in operators


@pytest.mark.parametrize(
    ("template", "act", "role"),
    [
        ("refund.html", "/approve", Role.APPROVER),
        ("refund.html", "/reject", Role.APPROVER),
        ("event.html", "/resend", Role.OPERATOR),
        ("events.html", "/backfill", Role.OPERATOR),
        ("services_page.html", "/services/checkouts", Role.OPERATOR),
        ("services_page.html", "/services/refunds", Role.OPERATOR),
    ],
)
def test_an_act_at_another_service_is_offered_to_who_may_do_it(template: str, act: str, role: Role) -> None:
    offered = [each for each in Role if act in render(template, each, **WANTED[template])]

    assert offered == [role]


def test_a_runbook_is_a_link_where_its_address_is_whole_and_a_place_in_words_elsewhere() -> None:
    whole, path = (
        Alert("ServiceDown", "critical", fires=True, since=AT, summary="x", runbook=runbook)
        for runbook in ("https://git.example/readiness.md", "docs/runbooks/readiness.md")
    )

    text = render("alerts.html", **{**ALERTED, "alerts": [whole, path]})

    assert text.count("<a ") == 1
    assert '<a href="https://git.example/readiness.md" rel="noreferrer">' in text
    assert "<code>docs/runbooks/readiness.md</code>" in text


def test_nobody_is_offered_to_decide_about_what_he_asked_for_or_what_is_decided() -> None:
    given = WANTED["refund.html"]

    for changes in ({"own": True}, {"waits": False}):
        text = render("refund.html", Role.APPROVER, **{**given, **changes})
        assert "/approve" not in text
        assert "/reject" not in text


@pytest.mark.parametrize(
    ("put_off", "takes_back", "offered"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_what_is_put_off_is_offered_to_be_taken_back_to_whom_refunds_lets(
    put_off: bool, takes_back: bool, offered: bool
) -> None:
    changes = {"put_off": put_off, "takes_back": takes_back, "waits": False}

    text = render("refund.html", Role.VIEWER, **{**WANTED["refund.html"], **changes})

    assert ("Take back 1,250.00 USD" in text) is offered
    assert ("/cancel" in text) is offered
    assert ("Refunds are stopped." in text) is put_off


def test_a_refund_tells_which_goods_come_back_and_for_whom_a_part_waits() -> None:
    part = {**PART, "destination": "store_credit", "failure_reason": "bank_said_no", "action_expires_at": INSTANT}
    refund = {**REFUND, "lines": [LINE], "destination": "original", "parts": [part]}

    text = render("refund.html", Role.APPROVER, **{**WANTED["refund.html"], "refund": refund})

    for told in ("2 of the order", "54.00 USD", "10.26 USD", "not sold again", "as store credit", "bank said no"):
        assert told in text
    assert "waits for its buyer until" in text
    without = {**refund, "lines": [], "parts": [{**part, "action_expires_at": None}]}
    text = render("refund.html", Role.APPROVER, **{**WANTED["refund.html"], "refund": without})
    assert not any(told in text for told in ("Goods that come back", "waits for its buyer"))


def test_an_approval_names_what_was_seen() -> None:
    text = render("refund.html", Role.APPROVER, **WANTED["refund.html"])

    for name, value in (("amount_minor", 125_000), ("currency", "usd"), ("version", 3)):
        assert f'name="{name}" value="{value}"' in text
    assert "Approve 1,250.00 USD" in text


@pytest.mark.parametrize(
    ("progress", "goes_on"),
    [
        (stripe_events.Progress(PROGRESS.walk, PROGRESS.counts), True),
        (stripe_events.Progress(PROGRESS.walk, PROGRESS.counts, done=True), False),
        (PROGRESS, False),
    ],
)
def test_a_walk_goes_on_by_itself_until_it_is_done_or_stopped(progress: stripe_events.Progress, goes_on: bool) -> None:
    text = render("backfill_progress.html", **{**WALKED, "progress": progress})

    assert ("hx-trigger" in text) is goes_on
    assert ("<button" in text) is not progress.done


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (125_000, "usd", "1,250.00 USD"),
        (500, "jpy", "500 JPY"),
        (1500, "kwd", "1.500 KWD"),
        (5, "xxx", "5 minor units"),
    ],
)
def test_amounts_are_shown_in_their_currency(amount: int, currency: str, shown: str) -> None:
    assert wording.money(amount, currency).startswith(shown)


@pytest.mark.parametrize("status", [None, *Status])
def test_all_that_match_may_go_where_they_are_open_ones(status: Status | None) -> None:
    query = letters.PageQuery.model_construct(status=status)
    text = render("letters.html", **{**WANTED["letters.html"], "query": query})

    assert ("Replay all that match" in text) is (status in (None, Status.OPEN))
    assert ("Archive all that match" in text) is (status in (None, Status.RESOLVED, Status.DISCARDED))
    assert "Replay selected" in text


@pytest.mark.parametrize(("archived", "act"), [("0", "archive"), ("any", "archive"), ("1", "unarchive")])
def test_what_is_in_the_archive_is_taken_out_and_not_put_there(archived: Literal["0", "1", "any"], act: str) -> None:
    query = letters.PageQuery.model_construct(status=Status.RESOLVED, archived=archived)
    text = render("letters.html", **{**WANTED["letters.html"], "query": query})

    assert [one for one in ("archive", "unarchive") if f'/console/dead-letters/{one}"' in text] == [act]
    assert ("Archive all that match" in text) is (act == "archive")
    page = render("archive.html", **{**WANTED["archive.html"], "verb": act})
    assert f'action="/console/dead-letters/{act}"' in page


def test_an_act_is_offered_only_where_it_can_be_done() -> None:
    offered = {status: render("letter_state.html", letter=letter(status=status)) for status in Status}

    assert [status for status, text in offered.items() if "/replay" in text] == ["open", "discarded"]
    assert [status for status, text in offered.items() if "/edit" in text] == ["open"]
    assert [status for status, text in offered.items() if "/unarchive" in text] == ["resolved", "discarded"]
    assert [status for status, text in offered.items() if "hx-get" in text] == ["replaying"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [("applied", "It took effect"), ("duplicate", "dealt with it before"), ("refused", "it took no effect")],
)
def test_what_was_refused_or_was_known_is_not_said_to_have_taken_effect(answer: str, words: str) -> None:
    text = render("letter_state.html", letter=letter(status="resolved", answer=answer))

    assert words in text
    assert ("It took effect" in text) is (answer == "applied")
    assert ('class="badge state refused"' in text) is (answer == "refused")


def test_a_bulk_counts_what_was_refused_beside_what_was_resolved() -> None:
    done = bulk(state="done", total=3, counts={"resolved": 2, "refused": 1})
    text = render("bulk_progress.html", bulk=done, changed=False)

    assert "3 of 3 have ended" in text
    assert '<div class="refused"><dt>refused</dt><dd>1</dd></div>' in text


@pytest.mark.parametrize("reason", ["forged", "forgotten", "exhausted"])
def test_what_nobody_but_a_person_can_judge_is_ticked_one_by_one(reason: str) -> None:
    text = render("letters.html", **{**WANTED["letters.html"], "letters": [listed(reason=reason)]})

    assert ("data-doubtful" in text) is (reason != "exhausted")
    assert f">{reason}</span>" in text, "why it failed is seen in the list"


def test_a_part_that_does_not_come_is_given_up() -> None:
    assert '"timeout": 15000' in unescape(render("sign_in.html", to="/console"))


def test_pages_are_closed() -> None:
    headers = pages.page(request(), "sign_in.html", to="/console").headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))

    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"], policy["frame-ancestors"]) == ("'self'", "'self'", "'none'")
    assert not [rule for rule in policy.values() if "unsafe" in rule or "http" in rule or "*" in rule]
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "shown", "noted"),
    [
        (b'{"b":1,"a":[1,2]}', '{\n  "b": 1,\n  "a": [\n    1,\n    2\n  ]\n}', None),
        (b"\xff\xfe\x00", "ff fe 00", "No text"),
        (b'{"a":1,"a":2}', '{"a":1,"a":2}', "twice"),
        ('{"name":"\u202egnp.exe"}'.encode(), '{\n  "name": "\\u202egnp.exe"\n}', None),
        (b"x" * 300_000, "x" * wording.SHOWN_MAX, "200,000"),
        (b"", "", "not JSON"),
    ],
)
def test_a_payload_is_shown_as_exactly_as_can_be(body: bytes, shown: str, noted: str | None) -> None:
    payload = wording.payload(body)

    assert payload.text == shown
    assert (payload.note is None) == (noted is None)
    assert noted is None or noted in str(payload.note)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (86_399, "23 h"),
        (86_400, "1 d"),
        (86_400 * 800, "2 y"),
    ],
)
def test_spans_are_told_in_their_largest_unit(seconds: int, shown: str) -> None:
    assert wording.since(seconds) == shown
