"""What is settled goes out of sight, many at once as well, and nothing that waits for somebody goes with it."""

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from sandbox.services.resolver import Servers
from tests.operations.desk import BULKS, LETTERS, Desk, desk_at, unheld
from tests.operations.test_stopping import waits_for_a_lock
from tests.operations.visitors import Visitor

pytestmark = pytest.mark.servers
SETTLED = "SELECT count(*) FROM operations.dead_letters WHERE id = ANY ($1::uuid[]) AND archived_at IS NOT NULL"


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk with an identity provider beside it."""
    names, folder = ("identity", "fulfillment", "operations"), tmp_path_factory.mktemp("desk")
    async with desk_at(servers, folder, names=names, mark="t" + secrets.token_hex(4)) as made:
        yield made


async def settled(desk: Desk) -> tuple[str, dict[str, list[str]]]:
    """Fourteen that failed in one way of their own: twelve are settled, and two wait. The fingerprint, and which."""

    class Shelved(Exception):
        """One way to fail."""

    letters = await desk.fail([unheld() for _ in range(14)], error=Shelved("x"))
    fingerprint = secrets.token_hex(20)
    sql = "UPDATE operations.dead_letters SET fingerprint = $1 WHERE id = ANY ($2::uuid[])"
    await desk.owner.execute(sql, fingerprint, [UUID(one) for one in letters])
    found = {"discarded": letters[:5], "resolved": letters[5:12], "open": letters[12:]}
    for act, ids in (("discard", found["discarded"]), ("replay", found["resolved"])):
        bulk = await desk.start(act, filter={"ids": ids})
        await desk.until(bulk["id"], "done")
    return fingerprint, found


def every(found: dict[str, list[str]]) -> list[str]:
    return [one for ids in found.values() for one in ids]


async def archived(desk: Desk, letters: list[str]) -> int:
    return int(await desk.owner.fetchval(SETTLED, [UUID(one) for one in letters]))


async def test_a_filter_archives_what_is_settled_and_it_is_written_down(desk: Desk) -> None:
    fingerprint, found = await settled(desk)
    asked: dict[str, Any] = {"act": "archive", "reason": "all is well", "filter": {"fingerprint": fingerprint}}

    status, preview = await desk.call("POST", BULKS, {**asked, "dry_run": True})
    assert (status, preview["taken"], preview["matching"]) == (200, 12, 12)
    one = {**asked, "filter": {"fingerprint": fingerprint, "status": "discarded"}}
    assert sorted((await desk.call("POST", BULKS, {**one, "dry_run": True}))[1]["ids"]) == sorted(found["discarded"])
    assert await archived(desk, every(found)) == 0, "to look is no act"

    first = await desk.until((await desk.start(**one))["id"], "done")
    assert (first["total"], first["counts"]) == (5, {"archived": 5})
    rest = await desk.until((await desk.start(**asked))["id"], "done")

    assert (rest["total"], rest["counts"]) == (7, {"archived": 7})
    assert {name: await archived(desk, ids) for name, ids in found.items()} == {
        "discarded": 5,
        "resolved": 7,
        "open": 0,
    }
    assert await desk.statuses(every(found)) == {"discarded": 5, "resolved": 7, "open": 2}
    audit = [row for row in await desk.audit(found["resolved"]) if row["action"] == "archive"]
    assert {(row["actor"], row["reason"], str(row["bulk_id"])) for row in audit} == {
        ("olga", "all is well", rest["id"])
    }
    assert len(audit) == 7
    status, problem = await desk.call("POST", BULKS, asked)
    assert (status, problem["code"]) == (409, "nothing_matches")


async def test_what_goes_back_meanwhile_is_left_in_sight(desk: Desk) -> None:
    fingerprint, found = await settled(desk)
    back = found["discarded"][0]
    sql = "UPDATE operations.dead_letters SET status = 'open', settled_at = NULL WHERE id = $1"

    async with desk.owner.acquire() as connection, connection.transaction():
        await connection.execute(sql, UUID(back))
        bulk = await desk.start("archive", filter={"fingerprint": fingerprint, "status": "discarded"})
        await waits_for_a_lock(desk, "SET archived_at")

    done = await desk.until(bulk["id"], "done")
    assert (done["total"], done["counts"]) == (5, {"archived": 4, "skipped": 1})
    assert await archived(desk, [back]) == 0


async def test_the_console_archives_all_that_match_and_takes_a_selection_out(desk: Desk) -> None:
    olga = Visitor(desk.deployment, desk.http)
    await olga.sign_in("olga")
    fingerprint, found = await settled(desk)
    listed = f"/console/dead-letters/list?fingerprint={fingerprint}"
    assert "Archive all that match" in (await olga.look(listed)).plain
    assert "Archive all that match" not in (await olga.look(f"{listed}&status=open")).plain

    draft = await olga.look(f"/console/bulks/new?act=archive&status=&fingerprint={fingerprint}&archived=0")
    assert "It takes 12 messages" in draft.plain
    fields = {"act": "archive", "fingerprint": fingerprint, "reason": "all is well", "rate": "50", "limit": "100"}
    path = "/console/bulks/new"
    refused = await olga.ask("POST", path, data={"csrf": draft.csrf, "step": "start", **fields}, Origin=olga.origin)
    assert (refused.status, "must be the number that was shown" in refused.plain) == (422, True)
    typed = {"csrf": draft.csrf, "step": "start", "shown": "12", "typed": "12", **fields}
    started = await olga.ask("POST", path, data=typed, Origin=olga.origin)
    assert started.status == 303, started.plain
    bulk = started.location.partition("?")[0]
    await desk.until(bulk.rpartition("/")[2], "done")
    shown = (await olga.look(bulk)).plain
    assert "Archive of 12" in shown
    assert "archived 12" in shown
    assert [one in (await olga.look(listed)).text for one in (found["resolved"][0], found["open"][0])] == [False, True]

    inside = (await olga.look(f"{listed}&archived=1")).text
    assert "/console/dead-letters/unarchive" in inside
    back = found["resolved"][:2]
    draft = await olga.look("/console/dead-letters/unarchive?act=unarchive&" + "&".join(f"id={one}" for one in back))
    assert "Take out of the archive 2" in draft.plain
    form = [("csrf", draft.csrf), *(("id", one) for one in back), ("reason", "not over")]
    sent = await olga.ask("POST", "/console/dead-letters/unarchive", data=form, Origin=olga.origin)
    assert (sent.status, sent.location) == (303, "/console/dead-letters/list?said=unarchived")
    assert await archived(desk, found["resolved"]) == 5


async def test_payctl_archives_by_filter_and_by_id_and_takes_out_again(desk: Desk) -> None:
    fingerprint, found = await settled(desk)
    by = ("--fingerprint", fingerprint)

    status, text, _ = desk.payctl("dlq", "archive", *by, "--reason", "all is well", "--dry-run")
    assert (status, text) == (0, "would archive 12 of 12 that match\n")
    done = desk.payctl("dlq", "archive", *by, "--status", "discarded", "--reason", "all is well", "--watch")
    assert (done[0], "done: 5 of 5, archived 5" in done[1]) == (0, True), done
    one = found["resolved"][0]
    assert desk.payctl("dlq", "archive", one, "--reason", "all is well")[:2] == (0, "archived 1 of 1\n")
    assert await archived(desk, every(found)) == 6
    assert (
        desk.payctl("dlq", "unarchive", one, "--reason", "not over", "--json")[1]
        == json.dumps({"dead_letters": 1}, indent=2) + "\n"
    )
    assert await archived(desk, [one]) == 0
    for wrong in ((one, *by), (one, "--dry-run"), ()):
        assert desk.payctl("dlq", "archive", *wrong, "--reason", "a test")[0] == 2
    assert "not_settled" in desk.payctl("dlq", "archive", found["open"][0], "--reason", "a test")[2]


@pytest.mark.parametrize("roles", [("support",), ("admin",), ("viewer", "approver")])
async def test_only_operators_archive_many(desk: Desk, roles: tuple[str, ...]) -> None:
    asked = {"act": "archive", "reason": "a test", "filter": {"status": "resolved"}}

    assert (await desk.call("POST", BULKS, asked, roles=roles))[0] == 403
    assert (await desk.call("POST", f"{LETTERS}/archive", {"ids": [str(UUID(int=1))], "reason": "a"}, roles=roles))[
        0
    ] == 403
