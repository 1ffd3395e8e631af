"""Events that no webhook brought are had from Stripe's list, once, by an operator or by the service itself."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from payments_shared.clock import utc_now
from sandbox.services import warm
from sandbox.services.children import clean_environment
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.support.exposition import Exposition
from tests.support.shopping import Answer, Json, Shopper, eventually

pytestmark = pytest.mark.servers

PATH: Final = "/admin/stripe/backfill"
NAMES: Final = ("stripe", "frontdoor", "inventory", "checkout", "webhook-ingest")
SOURCES: Final = "SELECT source, count(*) AS events FROM webhook_ingest.stripe_events GROUP BY source"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told_nothing(servers: Servers) -> AsyncIterator[Deployment]:
    """A deployment whose service looks by itself only when its clock is moved by a day."""
    extra = {
        "PAYMENTS_PULL_GRACE_SECONDS": "86400",
        "PAYMENTS_PULL_SECONDS": "1",
        "PAYMENTS_LOOK_THROUGH_SECONDS": "604800",
        "PAYMENTS_WAIT_SECONDS": "864000",
    }
    async with deploy(servers, namespace="t" + secrets.token_hex(4), names=NAMES, extra=extra) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(told_nothing: Deployment) -> AsyncIterator[Shopper]:
    """A buyer, before each of whose tests Stripe delivers nothing and our store of events is empty."""
    async with Shopper.of(told_nothing) as made:
        await made.stripe("POST", "/_sim/chaos", {"drop": 1.0})
        await made.owner.execute("TRUNCATE webhook_ingest.stripe_events, webhook_ingest.outbox")
        yield made


async def _asked(shopper: Shopper, *roles: str, **body: object) -> Answer:
    token = shopper.deployment.keys.token("olga", *(roles or ("operator",)))
    given = {"since": (utc_now() - timedelta(hours=1)).isoformat(), **body}
    url = shopper.deployment.internal_url("webhook-ingest") + PATH
    return await shopper.call("POST", url, given, Authorization=f"Bearer {token}")


async def _walked(shopper: Shopper, **body: object) -> list[Json]:
    """All steps of a walk."""
    steps: list[Json] = []
    cursor: str | None = None
    while not steps or not steps[-1]["done"]:
        answer = await _asked(shopper, **body, cursor=cursor)
        assert answer.status == 200, answer
        steps.append(answer.body)
        cursor = answer.body["cursor"]
    return steps


def _summed(steps: list[Json]) -> dict[str, tuple[int, ...]]:
    return {
        stage: tuple(sum(s[name] for s in steps if s["stage"] == stage) for name in ("seen", "new", "ignored", "dead"))
        for stage in ("undelivered", "all")
    }


async def _events(shopper: Shopper) -> list[Json]:
    return list((await shopper.stripe("GET", "/_sim/truth"))["events"])


def payctl(deployment: Deployment, folder: Path, *arguments: str) -> tuple[int, str, str]:
    """The command line as an operator runs it: status, output, errors."""
    token = folder / "token"
    token.write_text(deployment.keys.token("olga", "operator"))
    environment = {
        "PATH": os.environ["PATH"],
        "PAYMENTS_WEBHOOK_INGEST_URL": deployment.internal_url("webhook-ingest"),
        "PAYMENTS_TOKEN_FILE": str(token),
    }
    command = [str(Path(sys.executable).parent / "payctl"), "stripe", "backfill", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


async def _made_events(shopper: Shopper, count: int) -> None:
    """Make at least so many events at Stripe, many of them in one second."""

    async def customer() -> None:
        form = {"email": "ada@example.com"}
        headers = {"Authorization": "Bearer sk_test_looking"}
        async with shopper.http.post(
            shopper.deployment.stripe_url + "/v1/customers", data=form, headers=headers
        ) as answer:
            assert answer.status == 200, await answer.text()

    await asyncio.gather(*(customer() for _ in range(count)))


async def test_orders_whose_webhooks_were_lost_are_paid_by_a_backfill_and_a_second_one_finds_nothing_new(
    shopper: Shopper, told_nothing: Deployment, tmp_path: Path
) -> None:
    sku = await shopper.offer(stock=5)
    orders = [await shopper.bought(sku) for _ in range(3)]
    emitted = len(await _events(shopper))

    status, text, errors = await asyncio.to_thread(payctl, told_nothing, tmp_path, "--since", "1h", "--json")

    assert status == 0, errors
    told = json.loads(text)
    assert told["undelivered"]["new"] + told["all"]["new"] == told["all"]["seen"] == emitted
    heard = told["undelivered"]["new"] - told["undelivered"]["ignored"]
    assert heard >= 2 * len(orders), "a session and an intent for each"
    for order in orders:
        await shopper.until(order, "paid", within=60)
    stored = {row["source"]: row["events"] for row in await shopper.owner.fetch(SOURCES)}
    assert stored == {"pull": emitted}
    status, text, _ = await asyncio.to_thread(payctl, told_nothing, tmp_path, "--since", "1h")
    assert status == 0
    assert text.splitlines()[0].startswith("Stripe's events since")
    log = told_nothing.children["webhook-ingest"].log.read_text()
    (first, *_) = [json.loads(line) for line in log.splitlines() if "backfill.walked" in line]
    assert (first["actor"], first["dry_run"], first["new"]) == ("olga", False, emitted)


async def test_a_webhook_that_comes_after_the_backfill_is_a_duplicate(shopper: Shopper) -> None:
    order = await shopper.bought(await shopper.offer(stock=1))
    await _walked(shopper)
    await shopper.until(order, "paid", within=60)
    said = await shopper.count("SELECT count(*) FROM webhook_ingest.outbox")
    stored = await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events")

    for event in await _events(shopper):
        answer = await shopper.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 2})
        assert answer["statuses"] == [200, 200]

    assert await shopper.count("SELECT count(*) FROM webhook_ingest.outbox") == said
    assert await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events") == stored
    assert len(await shopper.said_about(order, "order.paid.v1")) == 1


async def test_what_webhooks_brought_is_left_alone_and_what_they_missed_is_new(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=2)
    before = len(await _events(shopper))
    await _walked(shopper)
    await shopper.stripe("POST", "/_sim/chaos", {})
    told = await shopper.bought(sku)
    await shopper.until(told, "paid")

    async def delivered() -> bool:
        return not (await shopper.stripe("GET", "/_sim/deliveries"))["waiting"]

    await eventually(delivered, what="all webhooks")
    between = len(await _events(shopper))
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    untold = await shopper.bought(sku)
    after = len(await _events(shopper))

    summed = _summed(await _walked(shopper))
    await shopper.until(untold, "paid", within=60)

    assert summed["undelivered"][1] == after - between
    assert summed["all"][:2] == (after, 0)
    stored = {row["source"]: row["events"] for row in await shopper.owner.fetch(SOURCES)}
    assert stored == {"pull": before + after - between, "webhook": between - before}


async def test_a_dry_run_counts_and_stores_nothing(shopper: Shopper, told_nothing: Deployment, tmp_path: Path) -> None:
    await shopper.bought(await shopper.offer(stock=1))
    emitted = len(await _events(shopper))
    said = await shopper.count("SELECT count(*) FROM webhook_ingest.outbox")

    arguments = ("--since", "1h", "--dry-run", "--json")
    status, text, errors = await asyncio.to_thread(payctl, told_nothing, tmp_path, *arguments)

    assert status == 0, errors
    told = json.loads(text)
    assert told["all"]["new"] == told["all"]["seen"] == emitted
    assert told["undelivered"]["new"] == told["undelivered"]["seen"] > 0
    assert await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events") == 0
    assert await shopper.count("SELECT count(*) FROM webhook_ingest.outbox") == said


async def test_many_events_of_one_second_are_walked_in_order_and_none_twice(shopper: Shopper) -> None:
    """Stripe lists the newest first, a hundred at a time, and its times have whole seconds."""
    await _made_events(shopper, 350)
    emitted = [event["id"] for event in await _events(shopper)]
    assert len(emitted) > 300

    summed = _summed(await _walked(shopper))

    assert summed["undelivered"][0] == summed["undelivered"][1] > 300
    assert summed["all"][0] == summed["undelivered"][1] + summed["all"][1] == len(emitted)
    assert await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events") == len(emitted)
    requests = (await shopper.stripe("GET", "/_sim/requests"))["requests"]
    cursors = [r["form"] for r in requests if r["path"] == "/v1/events" and "ending_before" in r["form"]]
    places = [emitted.index(form.partition("ending_before=")[2].partition("&")[0]) for form in cursors[-4:]]
    assert places == sorted(places), "from the oldest to the newest"


async def test_an_interrupted_walk_goes_on_where_it_stopped(
    shopper: Shopper, told_nothing: Deployment, tmp_path: Path
) -> None:
    """Stripe goes away in the middle; the command says how to go on, and nothing is asked for again."""
    await _made_events(shopper, 250)
    emitted = len(await _events(shopper))
    first = (await _walked(shopper, dry_run=True))[0]
    assert first["stage"] == "undelivered"
    fault = {"kind": "html_502", "method": "GET", "path": "/v1/events", "count": 100}
    await shopper.stripe("POST", "/_sim/faults", fault)
    arguments = ("--since", "1h", "--cursor", first["cursor"], "--json")

    status, _, errors = await asyncio.to_thread(payctl, told_nothing, tmp_path, *arguments)
    await shopper.stripe("DELETE", "/_sim/faults")

    assert status == 2
    assert "stripe_unavailable" in errors
    assert f"--cursor {first['cursor']}" in errors

    async def answered() -> dict[str, Any] | None:
        code, text, _ = await asyncio.to_thread(payctl, told_nothing, tmp_path, *arguments)
        return dict(json.loads(text)) if code == 0 else None

    told = await eventually(answered, within=30, every=1.0, what="Stripe is asked again")
    assert (told["undelivered"]["seen"], told["all"]["seen"], told["all"]["new"]) == (0, emitted, emitted)


async def test_an_event_that_the_database_refuses_keeps_no_other_waiting(
    shopper: Shopper, told_nothing: Deployment, tmp_path: Path
) -> None:
    order = await shopper.bought(await shopper.offer(stock=1))
    emitted = await _events(shopper)
    odd = next(event["id"] for event in reversed(emitted) if event["type"] == "charge.succeeded")
    await shopper.owner.execute(
        f"ALTER TABLE webhook_ingest.stripe_events ADD CONSTRAINT odd CHECK (event_id <> '{odd}') NOT VALID"
    )
    try:
        status, text, errors = await asyncio.to_thread(payctl, told_nothing, tmp_path, "--since", "1h")
    finally:
        await shopper.owner.execute("ALTER TABLE webhook_ingest.stripe_events DROP CONSTRAINT odd")

    assert (status, "2 events were refused" in errors) == (1, True), text + errors
    assert await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events") == len(emitted) - 1
    await shopper.until(order, "paid", within=60)


async def test_the_service_looks_by_itself_and_leaves_to_webhooks_what_is_young(
    shopper: Shopper, told_nothing: Deployment
) -> None:
    order = await shopper.bought(await shopper.offer(stock=1))

    def looks() -> int:
        return told_nothing.children["webhook-ingest"].log.read_text().count("backfill.looked")

    before = looks()

    async def looked_twice() -> bool:
        return looks() >= before + 2

    await eventually(looked_twice, within=30, what="two looks")
    assert await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events") == 0
    assert (await shopper.order(order))["status"] == "pending"

    await shopper.advance(86_500)

    await shopper.until(order, "paid", within=60)
    stored = {row["source"]: row["events"] for row in await shopper.owner.fetch(SOURCES)}
    assert stored.keys() == {"pull"}
    text = (await shopper.call("GET", told_nothing.internal_url("webhook-ingest") + "/metrics")).body["raw"]
    healed = [line for line in text.splitlines() if line.startswith('payments_sweeper_healed_total{kind="event"}')]
    assert float(healed[0].rpartition(" ")[2]) >= 2


async def test_an_event_that_was_refused_is_looked_for_again_until_it_is_stored(
    shopper: Shopper, told_nothing: Deployment
) -> None:
    """The next look began behind it, and the look that left it out counted as one with nothing to find."""
    order = await shopper.bought(await shopper.offer(stock=1))
    odd = next(event["id"] for event in reversed(await _events(shopper)) if event["type"] == "charge.succeeded")
    stored = "SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id = $1"
    await shopper.owner.execute(
        f"ALTER TABLE webhook_ingest.stripe_events ADD CONSTRAINT odd CHECK (event_id <> '{odd}') NOT VALID"
    )
    try:
        await shopper.advance(86_500)
        await shopper.until(order, "paid", within=60)
        await _looks_come_to(shopper, told_nothing, "failed")
        await shopper.advance(7200)
        await _looks_come_to(shopper, told_nothing, "failed")
    finally:
        await shopper.owner.execute("ALTER TABLE webhook_ingest.stripe_events DROP CONSTRAINT odd")

    async def taken_in() -> bool:
        return await shopper.count(stored, odd) == 1

    await eventually(taken_in, within=30, what="the event that was refused")
    await _looks_come_to(shopper, told_nothing, "clean")


async def test_a_look_that_stripe_refuses_has_failed(shopper: Shopper, told_nothing: Deployment) -> None:
    fault = {"kind": "refuse", "method": "GET", "path": "/v1/events", "count": 1000}
    await shopper.stripe("POST", "/_sim/faults", fault)

    await _looks_come_to(shopper, told_nothing, "failed")
    await shopper.stripe("DELETE", "/_sim/faults")

    await _looks_come_to(shopper, told_nothing, "clean")


async def _looks_come_to(shopper: Shopper, deployment: Deployment, outcome: str) -> None:
    """Wait until two more looks of the service's own have come to `outcome`."""
    exposition = Exposition(shopper.http, deployment.internal_url("webhook-ingest"))
    labels = {"sweep": "webhook-ingest:catch-up", "outcome": outcome}
    before = await exposition.of("payments_sweeps_total", **labels)

    async def came() -> bool:
        return await exposition.of("payments_sweeps_total", **labels) >= before + 2

    await eventually(came, within=30, what=f"two looks that are {outcome}")


async def test_only_an_operator_may_ask_and_only_for_what_stripe_keeps(shopper: Shopper) -> None:
    token = shopper.deployment.keys.token("sam", "support")
    url = shopper.deployment.internal_url("webhook-ingest") + PATH
    old, oldest = ((utc_now() - timedelta(days=days)).isoformat() for days in (32, 30))
    future = (utc_now() + timedelta(hours=1)).isoformat()

    nobody = await shopper.call("POST", url, {"since": old})
    support = await shopper.call("POST", url, {"since": old}, Authorization=f"Bearer {token}")
    answers = {
        "too old": await _asked(shopper, since=old),
        "not yet": await _asked(shopper, since=future),
        "no zone": await _asked(shopper, since="2026-11-01T00:00:00"),
        "cursor": await _asked(shopper, cursor="evt_1"),
        "unknown": await _asked(shopper, until=old),
    }

    assert (nobody.status, support.status) == (401, 403)
    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(answers, 422)
    assert answers["too old"].body["code"] == "since_out_of_range"
    assert answers["cursor"].body["code"] == "cursor_unknown"
    assert all(a.headers["Content-Type"].startswith("application/problem+json") for a in answers.values())
    assert (await _asked(shopper, since=oldest, dry_run=True)).status == 200
    forgotten = await _asked(shopper, cursor="all:evt_that_stripe_forgot")
    assert (forgotten.status, forgotten.body["code"]) == (502, "stripe_refused")


async def test_without_a_key_the_door_says_so(told_nothing: Deployment, shopper: Shopper, tmp_path: Path) -> None:
    settings = {**told_nothing._service_settings("webhook-ingest"), **told_nothing.extra}
    kept = {name: value for name, value in settings.items() if not name.startswith("PAYMENTS_STRIPE_API")}
    told_nothing.stop("webhook-ingest")
    log = tmp_path / "keyless.log"
    keyless = warm.run("keyless", "webhook_ingest", log=log, environment=clean_environment(**kept))
    try:
        told_nothing.children["webhook-ingest"] = keyless
        await asyncio.to_thread(told_nothing.wait_ready, "webhook-ingest")

        answer = await _asked(shopper)

        assert (answer.status, answer.body["code"]) == (409, "backfill_off")
    finally:
        keyless.stop()
        told_nothing.start("webhook-ingest")
        await asyncio.to_thread(told_nothing.wait_ready, "webhook-ingest")


def test_the_sdk_is_loaded_only_for_who_may_use_it() -> None:
    """It costs memory and a third of a second, which a door for webhooks need not pay."""
    program = "import sys, webhook_ingest.app; print('stripe' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
