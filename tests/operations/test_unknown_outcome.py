"""While nobody has told how the last replay of a message ended, it may still take effect: nothing else is made of it,
unless an operator says so."""

import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from payments_shared.contracts.checkout import OrderHeld
from payments_shared.ids import new_id
from sandbox.services.resolver import Servers
from tests.operations.desk import BULKS, LETTERS, Desk, Stray, desk_at, message

AWAY = "notifications"  # its queue is there, and nobody reads it


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A lease runs out soon."""
    folder = tmp_path_factory.mktemp("desk")
    async with desk_at(servers, folder, mark="t" + secrets.token_hex(4), PAYMENTS_REPLAY_LEASE_SECONDS="2") as made:
        yield made


def misspelt() -> Stray:
    return message(OrderHeld(order_id=new_id(), reason="amount_mismatch"), spoil={"reason": "odd"})


def corrected(stray: Stray) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(stray.body)
    body["data"]["reason"] = "amount_mismatch"
    return body


async def unknown(desk: Desk, stray: Stray) -> str:
    """The dead letter of `stray`, open again after a replay of which nobody told."""
    letter = (await desk.fail([stray], service=AWAY))[0]
    await replayed(desk, letter)
    return letter


async def replayed(desk: Desk, letter: str) -> str:
    """A replay to the service that is away, once its lease has run out."""
    status, answer = await desk.call("POST", f"{LETTERS}/{letter}/replay", {"reason": "a test"})
    assert status == 202
    shown = await desk.until_letter(letter, "open")
    assert shown["replays"][-1]["outcome"] == "unknown"
    return str(answer["replay_id"])


async def discard(desk: Desk, wanted: dict[str, Any], **asked: Any) -> tuple[int, dict[str, Any]]:
    body = {"act": "discard", "reason": "for nobody", "filter": wanted, **asked}
    return await desk.call("POST", BULKS, body)


async def test_what_may_still_take_effect_is_not_discarded(desk: Desk) -> None:
    letter = await unknown(desk, misspelt())
    fingerprint = (await desk.letter(letter))["fingerprint"]

    answers = [
        await discard(desk, {"ids": [letter]}),
        await discard(desk, {"ids": [letter]}, dry_run=True),
        await discard(desk, {"fingerprint": fingerprint}),
    ]

    assert [(status, problem["code"]) for status, problem in answers] == [(409, "outcome_unknown")] * 3
    assert letter in answers[0][1]["detail"]
    assert "force" in answers[0][1]["detail"]
    assert await desk.statuses([letter]) == {"open": 1}
    status, bulk = await discard(desk, {"ids": [letter]}, force=True)
    assert status == 202
    assert (await desk.until(bulk["id"], "done"))["counts"] == {"discarded": 1}
    assert bulk["audit"][0]["detail"]["force"] is True
    last = (await desk.letter(letter))["audit"][-1]
    assert (last["action"], last["actor"], last["reason"], last["detail"]) == (
        "discard", "olga", "for nobody", {"force": True},
    )  # fmt: skip


async def test_once_somebody_has_told_there_is_nothing_to_force(desk: Desk) -> None:
    stray = misspelt()
    letter = (await desk.fail([stray], service=AWAY))[0]
    replay_id = await replayed(desk, letter)
    await desk.fail([stray], service=AWAY, replay_id=replay_id)
    await desk.until_letter(letter, "open", failures=2)

    status, bulk = await discard(desk, {"ids": [letter]})

    assert status == 202, bulk
    assert (await desk.until(bulk["id"], "done"))["counts"] == {"discarded": 1}
    assert (await desk.letter(letter))["audit"][-1]["detail"] == {"force": False}


async def test_a_replay_that_never_left_hides_no_outcome_that_is_unknown(desk: Desk) -> None:
    letter = await unknown(desk, misspelt())
    await desk.owner.execute(
        """INSERT INTO operations.replays (id, dead_letter_id, service, outcome, settled_at)
           VALUES (gen_random_uuid(), $1, $2, 'unsent', now())""",
        letter,
        AWAY,
    )

    status, problem = await discard(desk, {"ids": [letter]})

    assert (status, problem["code"]) == (409, "outcome_unknown")


async def test_one_whose_outcome_became_unknown_after_the_command_is_skipped(desk: Desk) -> None:
    letter = (await desk.fail([misspelt()], service=AWAY))[0]
    await desk.owner.execute(
        "CREATE TRIGGER not_yet BEFORE UPDATE ON operations.dead_letters FOR EACH ROW "
        "WHEN (NEW.status = 'discarded') EXECUTE FUNCTION operations.refuse_change()"
    )
    try:
        bulk = await desk.start("discard", filter={"ids": [letter]})
        assert (await desk.call("POST", f"{BULKS}/{bulk['id']}/pause", {"reason": "wait"}))[0] == 200
    finally:
        await desk.owner.execute("DROP TRIGGER not_yet ON operations.dead_letters")
    await replayed(desk, letter)

    assert (await desk.call("POST", f"{BULKS}/{bulk['id']}/resume", {"reason": "go on"}))[0] == 200

    assert (await desk.until(bulk["id"], "done"))["counts"] == {"skipped": 1}
    assert await desk.statuses([letter]) == {"open": 1}
    note = await desk.owner.fetchval("SELECT note FROM operations.bulk_items WHERE bulk_id = $1", bulk["id"])
    assert note == "outcome unknown"


async def test_no_copy_goes_in_place_of_what_may_still_take_effect(desk: Desk) -> None:
    stray = misspelt()
    letter = await unknown(desk, stray)
    asked = {"reason": "misspelt", "body": corrected(stray)}
    path = f"{LETTERS}/{letter}/edit"

    answers = [await desk.call("POST", path, asked), await desk.call("POST", path, {**asked, "dry_run": True})]

    assert [(status, problem["code"]) for status, problem in answers] == [(409, "outcome_unknown")] * 2
    assert await desk.statuses([letter]) == {"open": 1}
    assert len(await desk.replays_of([letter])) == 1
    assert (await desk.call("POST", path, {**asked, "force": True}))[0] == 202
    shown = await desk.letter(letter)
    assert [row["edited"] for row in shown["replays"]] == [False, True]
    edited = next(row for row in shown["audit"] if row["action"] == "edit")
    assert (edited["actor"], edited["reason"], edited["detail"]["force"]) == ("olga", "misspelt", True)


async def test_a_replay_needs_no_force_and_takes_none(desk: Desk) -> None:
    letter = await unknown(desk, misspelt())
    asked = {"act": "replay", "reason": "a test", "filter": {"ids": [letter]}}

    status, problem = await desk.call("POST", BULKS, {**asked, "force": True})

    assert (status, problem["code"]) == (422, "validation_failed")
    assert (await desk.call("POST", BULKS, asked))[0] == 202


async def test_payctl_says_why_and_how_to_force_it(desk: Desk, tmp_path: Path) -> None:
    letters = [await unknown(desk, misspelt()) for _ in range(2)]
    patch = tmp_path / "patch.json"
    patch.write_text('{"data": {"reason": "amount_mismatch"}}')
    discarding = ("dlq", "discard", letters[0], "--reason", "for nobody")
    editing = ("dlq", "edit", letters[1], "--reason", "misspelt", "--patch", str(patch))

    refused = [desk.payctl(*discarding), desk.payctl(*discarding, "--dry-run"), desk.payctl(*editing)]

    for (status, text, said), letter in zip(refused, (letters[0], letters[0], letters[1]), strict=True):
        assert (status, text) == (1, "")
        assert said.startswith(f"outcome_unknown: Nobody has told how the last replay of {letter} ended")
    assert desk.payctl(*discarding, "--force", "--watch")[0] == 0
    assert desk.payctl(*editing, "--force")[0] == 0
    assert await desk.statuses(letters) == {"discarded": 1, "replaying": 1}
    shown = desk.payctl("dlq", "show", letters[0], COLUMNS="160")[1]
    assert [line.split("│")[-1].strip() for line in shown.splitlines() if " discard " in line] == ["True"]
