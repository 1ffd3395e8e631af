"""Replays in bulk: what was asked for, once, no faster than allowed, and written down."""

from collections import Counter

import pytest

from payments_shared.clock import monotonic_seconds
from payments_shared.contracts.catalog import CONSUMERS, WORKERS
from payments_shared.messaging.recoverability import Forged, Forgotten
from tests.operations.desk import BULKS, LETTERS, Desk, spoiled, unheld
from tests.support.deadline import eventually

UNHELD = "order.unheld.v1"


class Mislaid(Exception):
    """One way to fail."""


class Torn(Exception):
    """Another."""


class Wet(Exception):
    """A third."""


async def groups(desk: Desk) -> dict[str, dict[str, object]]:
    status, answer = await desk.call("GET", f"{LETTERS}/groups?service=fulfillment&type={UNHELD}")
    assert status == 200
    return {row["exception_type"].rpartition(".")[2]: row for row in answer["groups"]}


async def test_a_group_of_120_goes_to_the_one_service_that_failed_and_all_of_it_is_written_down(desk: Desk) -> None:
    messages = [unheld() for _ in range(300)]
    mislaid = await desk.fail(messages[:120], error=Mislaid("no such table"))
    others = await desk.fail(messages[120:210], error=Torn("x")) + await desk.fail(messages[210:], error=Wet("y"))
    before = await desk.consumed("fulfillment", UNHELD)
    found = await groups(desk)
    assert {name: found[name]["open"] for name in ("Mislaid", "Torn", "Wet")} == {"Mislaid": 120, "Torn": 90, "Wet": 90}
    started = monotonic_seconds()

    bulk = await desk.start(filter={"fingerprint": found["Mislaid"]["fingerprint"]})
    done = await desk.until(bulk["id"], "done")

    assert monotonic_seconds() - started >= 119 / 50  # 50 a second
    assert (done["total"], done["counts"]) == (120, {"resolved": 120})
    assert await desk.statuses(mislaid) == {"resolved": 120}
    assert await desk.statuses(others) == {"open": 180}
    assert await desk.consumed("fulfillment", UNHELD) - before == {"applied": 120}
    # Nobody else runs: what reached another service lies in its queue. The resolutions are for operations alone.
    queues = [f"{name}.events" for name in CONSUMERS if name not in ("fulfillment", "operations")]
    queues += [f"{name}.work" for name in WORKERS]
    assert {queue: await desk.depth(queue.partition(".")[0], queue) for queue in queues} == dict.fromkeys(queues, 0)
    audit = await desk.audit(mislaid)
    assert Counter((row["action"], row["actor"], row["reason"]) for row in audit) == {
        ("replay", "olga", "a test"): 120,
        ("resolved", "service:fulfillment", "applied"): 120,
    }
    assert {str(row["bulk_id"]) for row in audit} == {bulk["id"]}
    assert [(row["action"], row["actor"], row["detail"]["taken"]) for row in done["audit"]] == [
        ("bulk_replay", "olga", 120)
    ]


async def test_a_dry_run_and_a_limit(desk: Desk) -> None:
    messages = [unheld() for _ in range(12)]
    letters = await desk.fail(messages)
    replays = await desk.owner.fetchval("SELECT count(*) FROM operations.replays")
    audit = await desk.owner.fetchval("SELECT count(*) FROM operations.dead_letter_audit")
    asked = {"act": "replay", "reason": "a test", "filter": {"ids": letters}, "limit": 5, "dry_run": True}

    status, found = await desk.call("POST", BULKS, asked)

    assert (status, found["matching"], found["taken"]) == (200, 12, 5)
    assert set(found["ids"]) <= set(letters)
    assert await desk.owner.fetchval("SELECT count(*) FROM operations.replays") == replays
    assert await desk.owner.fetchval("SELECT count(*) FROM operations.dead_letter_audit") == audit
    assert await desk.statuses(letters) == {"open": 12}
    bulk = await desk.start(filter={"ids": letters}, limit=5)
    assert (await desk.until(bulk["id"], "done"))["counts"] == {"resolved": 5}
    assert await desk.statuses(letters) == {"open": 7, "resolved": 5}
    assert set(found["ids"]) == {str(row["dead_letter_id"]) for row in await desk.replays_of(letters)}, "the oldest"


async def test_what_fails_after_the_command_is_not_swept_in(desk: Desk) -> None:
    first = await desk.fail([unheld() for _ in range(8)], error=Torn("a"), service="inventory")
    bulk = await desk.start(filter={"service": "inventory"}, rate=4)
    later = [unheld() for _ in range(4)]

    late = await desk.fail(later, error=Torn("a"), service="inventory")

    assert (await desk.bulk(bulk["id"]))["state"] == "running", "they came while it ran"

    async def all_sent() -> bool:
        return bool((await desk.bulk(bulk["id"]))["counts"] == {"on_the_way": 8})

    await eventually(all_sent, within_seconds=30, what="eight on their way to inventory, which is not here")
    assert await desk.statuses(first) == {"replaying": 8}
    assert await desk.statuses(late) == {"open": 4}
    assert await desk.replays_of(late) == []


@pytest.mark.parametrize("error", [Forged("user 'x' may not say this"), Forgotten("said long ago")])
async def test_a_filter_sends_nothing_that_only_a_person_can_vouch_for(desk: Desk, error: Exception) -> None:
    letters = await desk.fail([unheld()], error=error, service="checkout")
    asked = {"act": "replay", "reason": "a test", "filter": {"service": "checkout"}}
    fingerprint = (await desk.letter(letters[0]))["fingerprint"]

    answers = [
        await desk.call("POST", BULKS, {**asked, "filter": one})
        for one in ({"service": "checkout"}, {"fingerprint": fingerprint})
    ]

    assert [(status, problem["code"]) for status, problem in answers] == [(409, "nothing_matches")] * 2
    by_id = await desk.start(filter={"ids": letters})
    assert by_id["total"] == 1
    other = await desk.fail([unheld()], error=error, service="checkout")
    discarded = await desk.start("discard", filter={"fingerprint": fingerprint})
    await desk.until(discarded["id"], "done")
    assert await desk.statuses(other) == {"discarded": 1}


async def test_one_that_failed_anew_since_the_command_is_skipped(desk: Desk) -> None:
    messages = [spoiled() for _ in range(3)]
    letters = await desk.fail(messages)
    bulk = await desk.start(filter={"ids": letters}, rate=0.4)  # one at once, the third after five seconds
    other = await desk.start(filter={"ids": letters[2:]}, rate=100, who="piet")
    await desk.until(other["id"], "done")
    await desk.until_letter(letters[2], "open", failures=2)

    done = await desk.until(bulk["id"], "done")

    assert done["counts"] == {"failed": 2, "skipped": 1}
    assert len(await desk.replays_of(letters[2:])) == 1


async def test_two_overlapping_replays_send_each_message_once(desk: Desk) -> None:
    messages = [unheld() for _ in range(60)]
    letters = await desk.fail(messages)
    before = await desk.consumed("fulfillment", UNHELD)

    bulks = [
        await desk.start(filter={"ids": letters[:40]}, rate=6),  # so slow that both want the last twenty of these
        await desk.start(filter={"ids": letters[20:]}, rate=200, who="piet"),
    ]

    done = [await desk.until(bulk["id"], "done") for bulk in bulks]
    counts: Counter[str] = Counter(done[0]["counts"]) + Counter(done[1]["counts"])
    assert counts == {"resolved": 60, "skipped": 20}
    assert len(await desk.replays_of(letters)) == 60
    assert await desk.consumed("fulfillment", UNHELD) - before == {"applied": 60}
    assert await desk.statuses(letters) == {"resolved": 60}


async def test_a_bulk_whose_messages_fail_again_pauses_itself(desk: Desk) -> None:
    letters = await desk.fail([spoiled() for _ in range(60)])
    good = await desk.fail([unheld() for _ in range(20)])

    bulk = await desk.start(filter={"ids": [*good, *letters]}, rate=10)
    paused = await desk.until(bulk["id"], "paused")

    assert "failed again as" in paused["state_reason"]
    assert [(row["action"], row["actor"]) for row in paused["audit"]] == [
        ("bulk_replay", "olga"),
        ("pause", "service:operations"),
    ]

    async def at_rest() -> dict[str, int] | None:
        counts: dict[str, int] = (await desk.bulk(bulk["id"]))["counts"]
        return None if counts.get("on_the_way") else counts

    counts = await eventually(at_rest, within_seconds=30, what="what was on the way has ended")
    assert counts is not None
    assert counts["failed"] >= 11
    assert counts["waiting"] > 20, "most were spared"
    # Once somebody has looked, earlier failures do not count: it goes on, and pauses after as many again.
    status, _ = await desk.call("POST", f"{BULKS}/{bulk['id']}/resume", {"reason": "have looked"})
    assert status == 200
    await desk.until(bulk["id"], "paused")
    again = await eventually(at_rest, within_seconds=30, what="at rest again")
    assert again is not None
    assert again["failed"] >= counts["failed"] + 11
    status, ended = await desk.call("POST", f"{BULKS}/{bulk['id']}/cancel", {"reason": "not mended"})
    assert (status, ended["state"]) == (200, "canceled")
    assert "replaying" not in await desk.statuses(letters)


async def test_pause_and_cancel_in_mid_run(desk: Desk) -> None:
    letters = await desk.fail([unheld() for _ in range(40)])
    bulk = await desk.start(filter={"ids": letters}, rate=5)
    path = f"{BULKS}/{bulk['id']}"

    async def begun() -> bool:
        return bool((await desk.bulk(bulk["id"]))["counts"].get("resolved"))

    await eventually(begun, within_seconds=30, what="some are through")
    status, paused = await desk.call("POST", f"{path}/pause", {"reason": "wait"})
    assert (status, paused["state"]) == (200, "paused")
    sent = len(await desk.replays_of(letters))
    assert sent < 40

    async def settled() -> bool:
        return not (await desk.bulk(bulk["id"]))["counts"].get("on_the_way")

    await eventually(settled, within_seconds=30, what="what was on the way has ended")
    other = await desk.start(filter={"ids": await desk.fail([unheld() for _ in range(4)])}, rate=5)
    await desk.until(other["id"], "done")  # the worker had its turns meanwhile
    assert len(await desk.replays_of(letters)) == sent, "a paused bulk sends nothing"
    assert (await desk.call("POST", f"{path}/pause", {"reason": "again"}))[0] == 409
    assert (await desk.call("POST", f"{path}/resume", {"reason": "go on"}))[0] == 200

    async def more() -> bool:
        return len(await desk.replays_of(letters)) > sent

    await eventually(more, within_seconds=30, what="it goes on")
    status, canceled = await desk.call("POST", f"{path}/cancel", {"reason": "enough"})

    assert (status, canceled["state"]) == (200, "canceled")
    await eventually(settled, within_seconds=30, what="what was on the way has ended")
    end = await desk.bulk(bulk["id"])
    through = len([row for row in await desk.replays_of(letters) if row["tried_at"]])
    assert end["counts"] == {"resolved": through, "canceled": 40 - through}
    assert await desk.statuses(letters) == {"resolved": through, "open": 40 - through}
    assert (await desk.call("POST", f"{path}/resume", {"reason": "go on"}))[0] == 409
    assert [row["action"] for row in end["audit"]] == ["bulk_replay", "pause", "resume", "cancel"]


async def test_discarded_letters_are_kept_and_a_replay_by_id_still_sends_one(desk: Desk) -> None:
    messages = [unheld() for _ in range(3)]
    letters = await desk.fail(messages)

    bulk = await desk.start("discard", filter={"ids": letters})
    done = await desk.until(bulk["id"], "done")

    assert done["counts"] == {"discarded": 3}
    assert await desk.statuses(letters) == {"discarded": 3}
    assert {(row["action"], row["actor"], row["reason"]) for row in await desk.audit(letters)} == {
        ("discard", "olga", "a test")
    }
    assert await desk.inboxed("fulfillment", messages) == 0
    status, refused = await desk.call("POST", BULKS, {"act": "discard", "reason": "again", "filter": {"ids": letters}})
    assert (status, refused["code"]) == (409, "nothing_matches")
    again = await desk.start(filter={"ids": letters[:1]})
    await desk.until(again["id"], "done")
    assert await desk.statuses(letters) == {"resolved": 1, "discarded": 2}


async def test_the_rate_holds_for_a_service_whoever_asks(desk: Desk) -> None:
    letters = await desk.fail([unheld() for _ in range(60)])

    bulks = [
        await desk.start(filter={"ids": letters[:30]}, rate=20),
        await desk.start(filter={"ids": letters[30:]}, rate=20, who="piet"),
    ]

    for bulk in bulks:
        await desk.until(bulk["id"], "done")
    made = [row["made_at"] for row in await desk.replays_of(letters)]
    assert (made[-1] - made[0]).total_seconds() >= (60 - 20 - 1) / 20
    for position, at in enumerate(made):
        within_a_second = [one for one in made[position:] if (one - at).total_seconds() <= 1]
        assert len(within_a_second) <= 20 * 2 + 1, "twenty a second, and what one second's delay may make up for"


@pytest.mark.parametrize("roles", [(), ("support",), ("admin",), ("customer",)])
async def test_only_operators_act(desk: Desk, roles: tuple[str, ...]) -> None:
    letter = (await desk.fail([unheld()]))[0]
    bulk = {"act": "replay", "reason": "a test", "filter": {"ids": [letter]}}
    reason = {"reason": "a test"}
    acts = [
        (BULKS, bulk), (f"{BULKS}/{letter}/pause", reason), (f"{BULKS}/{letter}/resume", reason),
        (f"{BULKS}/{letter}/cancel", reason), (f"{LETTERS}/{letter}/replay", reason),
        (f"{LETTERS}/{letter}/edit", {**reason, "body": {}}), (f"{LETTERS}/export", reason),
    ]  # fmt: skip

    answers = [await desk.call("POST", path, body, roles=roles) for path, body in acts]

    assert {(status, body["code"]) for status, body in answers} == {
        (403, "forbidden") if roles else (401, "unauthorized")
    }
    assert await desk.statuses([letter]) == {"open": 1}


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"filter": {}}, 422, "filter_required"),
        ({"filter": {"service": "x"}, "reason": ""}, 422, "validation_failed"),
        ({"filter": {"service": "x"}, "rate": 0}, 422, "validation_failed"),
        ({"filter": {"service": "x"}, "act": "burn"}, 422, "validation_failed"),
        ({"filter": {"serivce": "x"}}, 422, "validation_failed"),
        ({"filter": {"ids": ["x"]}}, 422, "validation_failed"),
        ({"filter": {"service": "nobody"}}, 409, "nothing_matches"),
    ],
)
async def test_what_cannot_be_asked_is_a_problem(desk: Desk, asked: dict[str, object], status: int, code: str) -> None:
    answer = await desk.call("POST", BULKS, {"act": "replay", "reason": "a test", **asked})

    assert (answer[0], answer[1]["code"]) == (status, code)
    assert answer[1]["type"] == f"urn:payments:problem:{code}"
