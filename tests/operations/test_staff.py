"""What the console asks other services, and what it makes of their answers; and what of a sign-in they would take."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from operations.decide import sealing, watching
from operations.gateway.services import read
from operations.gateway.staff import Staff
from operations.handlers.signing_in import SigningIn
from operations.model.people import Access
from operations.model.queues import QueueState
from operations.model.services import ServiceState
from payments_shared.auth import Verifier
from payments_shared.errors import PaymentsError, Refused, Retryable
from sandbox.services.keys import ISSUER, Keys, mint

WHO = Access("the-token", "olga", datetime(2026, 8, 26, tzinfo=UTC))
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def asked() -> AsyncIterator[Callable[[Handle], Awaitable[Staff]]]:
    """A service that answers as it is told."""
    opened: list[Any] = []

    async def serve(handle: Handle) -> Staff:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handle)
        server = TestServer(app)
        await server.start_server()
        staff = Staff("refunds", str(server.make_url("/")))
        opened.extend((staff, server))
        return staff

    yield serve
    for one in opened:
        await one.close()


def answering(status: int, body: object = None, **headers: str) -> Handle:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body), headers=headers)

    return handle


async def error_of(staff: Staff, method: str) -> PaymentsError:
    with pytest.raises((Refused, Retryable)) as caught:
        await staff.ask(WHO, method, "/x", body={})
    found: PaymentsError = caught.value
    return found


async def test_a_request_bears_the_token_of_its_person_and_nothing_of_the_one_before(asked: Any) -> None:
    seen: list[tuple[str | None, str | None]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.headers.get("Authorization"), request.headers.get("Cookie")))
        return web.json_response({}, headers={"Set-Cookie": "session=olgas"})

    staff = await asked(handle)
    await staff.ask(WHO, "GET", "/x")
    await staff.ask(Access("another", "amir", WHO.ends_at), "GET", "/x")

    assert seen == [("Bearer the-token", None), ("Bearer another", None)]
    assert "the-token" not in repr(WHO)


async def test_the_token_follows_no_redirect(asked: Any) -> None:
    hits: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        hits.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    staff = await asked(handle)

    assert (await error_of(staff, "GET")).code == "service_unavailable"
    assert (await error_of(staff, "POST")).code == "answer_lost"
    assert hits == ["/x", "/x"]


async def test_a_refusal_is_told_as_the_service_tells_it(asked: Any) -> None:
    problem = {
        "code": "already_decided",
        "detail": "Somebody has decided about it.",
        "errors": [{"pointer": "/note", "detail": "too long"}, "odd"],
    }

    refused = await error_of(await asked(answering(409, problem)), "POST")

    assert isinstance(refused, Refused)
    assert (refused.status, refused.code, refused.detail) == (409, problem["code"], problem["detail"])
    assert [(one.pointer, one.detail) for one in refused.errors] == [("/note", "too long")]


@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"code": 3, "detail": null, "errors": 7}'])
async def test_a_refusal_in_no_words_is_one(asked: Any, body: str) -> None:
    refused = await error_of(await asked(answering(403, body)), "POST")

    assert isinstance(refused, Refused)
    assert (refused.status, refused.code, refused.detail) == (403, "refused", "refunds refused it.")


async def test_a_token_that_is_not_believed_signs_nobody_out(asked: Any) -> None:
    refused = await error_of(await asked(answering(401, {"code": "unauthorized"})), "GET")

    assert isinstance(refused, Refused)
    assert (refused.status, refused.code) == (403, "token_refused")


@pytest.mark.parametrize("status", [500, 502, 503, 302, 200])
async def test_an_act_without_a_plain_answer_may_have_been_done(asked: Any, status: int) -> None:
    staff = await asked(answering(status, "no JSON"))

    acted, looked = await error_of(staff, "POST"), await error_of(staff, "GET")

    assert (acted.code, "may have been done" in acted.detail) == ("answer_lost", True)
    assert isinstance(looked, Retryable)


async def test_whoever_was_never_reached_did_nothing() -> None:
    staff = Staff("refunds", "http://127.0.0.1:9")

    assert isinstance(await error_of(staff, "POST"), Retryable)
    await staff.close()


async def test_an_answer_without_end_is_given_up(asked: Any) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(b"x" * 131_072)
        return response

    assert isinstance(await error_of(await asked(handle), "GET"), Retryable)


# -- what of a sign-in is kept ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys") / "keys")


def usable(keys: Keys, token: str | None, subject: str = "olga") -> Access | None:
    verifier = Verifier(keys.jwks_file, ISSUER, "payments")
    nothing: Any = None
    signing_in = SigningIn(nothing, nothing, nothing, verifier, lifetime_seconds=1, idle_seconds=1)
    return signing_in._usable(token, subject)


def test_a_token_that_the_services_take_of_who_signed_in_is_kept(keys: Keys) -> None:
    token = mint(keys.people_key_file, "olga", "operator", seconds=600)

    found = usable(keys, token)

    assert found is not None
    assert (found.token, found.subject) == (token, "olga")
    assert found.ends_at.timestamp() == jwt.decode(token, options={"verify_signature": False})["exp"]


def test_a_token_of_somebody_else_is_not_kept(keys: Keys) -> None:
    for subject in ("amir", "payments-console", "OLGA"):
        assert usable(keys, mint(keys.people_key_file, subject, "approver")) is None


def test_a_token_that_the_services_would_not_take_is_not_kept(keys: Keys, tmp_path: Any) -> None:
    stranger = Keys.make(tmp_path / "others")
    given = [
        None,
        "",
        secrets.token_urlsafe(32),
        mint(stranger.people_key_file, "olga", "operator"),
        mint(keys.people_key_file, "olga", "operator", seconds=-60),
        mint(keys.people_key_file, "olga", "operator", seconds=30),
        mint(keys.people_key_file, "olga", "operator", seconds=7200),
        mint(keys.people_key_file, "olga", "operator") + "x",
    ]
    for token in given:
        assert usable(keys, token) is None, token


def test_what_is_sealed_is_opened_by_the_same_session_and_not_once_it_was_changed() -> None:
    session, text = secrets.token_hex(32), "a.b.c"
    kept = sealing.sealed(session, text)

    assert sealing.opened(session, kept) == text
    assert text.encode() not in kept
    assert sealing.opened(secrets.token_hex(32), kept) is None
    for place in (0, len(kept) - 1):
        changed = bytearray(kept)
        changed[place] ^= 1
        assert sealing.opened(session, bytes(changed)) is None
    assert sealing.opened(session, b"") is None


# -- what queues and services say ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ready", "outgoing", "lag"),
    [(0, None, 0.0), (0, 0.0, 0.0), (100, 50.0, 2.0), (100, 0.0, None), (100, None, None), (1, 0.01, None)],
)
def test_the_lag_of_a_queue_is_what_waits_at_its_pace(ready: int, outgoing: float | None, lag: float | None) -> None:
    assert watching.lag_seconds(QueueState("checkout.events", ready, 0, 1, 1.0, outgoing)) == lag


def test_queues_are_told_by_the_service_that_they_are_of() -> None:
    queues = [
        QueueState("checkout.events", 5, 1, 1),
        QueueState("checkout.retry.5000", 2, 0, 0),
        QueueState("checkout.retry.30000", 3, 0, 0),
        QueueState("checkout.dlq", 4, 0, 1),
        QueueState("somebody.else", 9, 0, 0),
    ]

    found = {one.service: one for one in watching.backlogs(queues)}

    assert (found["checkout"].events, found["checkout"].work) == (queues[0], None)
    assert (found["checkout"].retrying, found["checkout"].dead) == (5, 4)
    assert (found["refunds"].events, found["refunds"].retrying, found["refunds"].dead) == (None, 0, 0)


def test_what_a_service_says_of_its_queues_and_its_switch_is_read() -> None:
    text = """
payments_switch_stopped{switch="checkouts"} 1.0
payments_consumers_expected{queue="checkout.events"} 1.0
payments_consumers_expected{queue="checkout.work"} 1.0
payments_consumers_active{queue="checkout.events"} 0.0
payments_consumers_active{queue="checkout.work"} 0.0
payments_consumer_paused{queue="checkout.work",reason="stripe"} 1.0
payments_consumer_paused{queue="checkout.events",reason="database"} 0.0
"""

    state = read("checkout", text)

    assert state.stopped == ("checkouts",)
    assert state.idle == ("checkout.events", "checkout.work")
    assert state.resting == {"checkout.work": "stripe"}
    assert watching.warnings([state, ServiceState("refunds", answers=False)], WHO.ends_at) == [
        "No new orders are taken: somebody stopped them.",
        "checkout.work rests until it has stripe again.",
        "Nobody takes from checkout.events.",
    ]


def test_who_stopped_refunds_or_mails_is_told_and_what_rests_for_it_needs_nobody_else() -> None:
    mails = """
payments_switch_stopped{switch="mails"} 1.0
payments_consumers_expected{queue="notifications.work"} 1.0
payments_consumers_active{queue="notifications.work"} 0.0
payments_consumer_paused{queue="notifications.work",reason="switch"} 1.0
"""
    states = [read("refunds", 'payments_switch_stopped{switch="refunds"} 1.0\n'), read("notifications", mails)]

    assert watching.warnings(states, WHO.ends_at) == [
        "No money goes back: somebody stopped refunds.",
        "No mails are sent: somebody stopped them.",
    ]
