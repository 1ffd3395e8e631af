"""`payctl dlq` as an operator runs it: what it prints, what it asks, and with which status it ends."""

import asyncio
import json
import os
import pty
import re
import stat
import subprocess
import sys
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from payments_shared.contracts.catalog import SERVICES
from payments_shared.contracts.checkout import OrderHeld
from payments_shared.ids import new_id
from tests.faults.printed import blocks
from tests.operations.desk import Desk, message, spoiled, unheld
from tests.support.deadline import eventually


class Drowned(Exception):
    """One way to fail, of this file alone."""


def columns(text: str, start: str) -> list[str]:
    """The line of a table that begins with `start`, cell by cell."""
    line = next(line for line in text.splitlines() if line.strip().startswith(start))
    return [cell.strip() for cell in line.split("│")]


async def test_groups_summary_and_list_say_what_is_open(desk: Desk) -> None:
    letters = await desk.fail([unheld() for _ in range(3)], error=Drowned("in the moat"))

    status, text, _ = desk.payctl("dlq", "groups", "--service", "fulfillment", COLUMNS="220")
    assert status == 0
    assert "in the moat" in text
    found = json.loads(desk.payctl("dlq", "groups", "--json")[1])
    group = next(row for row in found if (row["exception_type"] or "").endswith("Drowned"))
    assert (group["open"], group["service"], group["type"]) == (3, "fulfillment", "order.unheld.v1")
    listed = json.loads(desk.payctl("dlq", "list", "--fingerprint", group["fingerprint"], "--json")[1])
    assert {row["id"] for row in listed} == set(letters)
    assert (
        json.loads(desk.payctl("dlq", "list", "--fingerprint", group["fingerprint"], "--older-than", "1h", "--json")[1])
        == []
    )
    young = desk.payctl("dlq", "list", "--fingerprint", group["fingerprint"], "--newer-than", "1h", "--json")[1]
    assert len(json.loads(young)) == 3
    status, text, _ = desk.payctl("dlq", "summary", COLUMNS="160")
    assert status == 0
    assert "order.unheld.v1" in text
    status, _, said = desk.payctl("dlq", "list", "--older-than", "yesterday")
    assert status == 2
    assert "30m" in said


async def test_show_tells_the_whole_story(desk: Desk) -> None:
    letter = (await desk.fail([spoiled()], error=Drowned("twice")))[0]
    assert desk.payctl("dlq", "replay", letter, "--reason", "try it")[0] == 0
    await desk.until_letter(letter, "open", failures=2)

    status, text, _ = desk.payctl("dlq", "show", letter, COLUMNS="160")

    assert status == 0
    for part in (
        "fulfillment.events",
        "undecodable",
        "nobody's",
        "Stack",
        "Failures",
        "Replays",
        "Audit",
        "olga",
        "try it",
        "failed",
    ):
        assert part in text, part
    body = desk.payctl("dlq", "show", letter, "--body")[1]
    assert json.loads(body)["type"] == "order.unheld.v1"
    status, _, said = desk.payctl("dlq", "show", str(new_id()))
    assert (status, said) == (1, "not_found: There is no such dead letter.\n")


async def test_what_an_attacker_wrote_is_shown_and_steers_nothing(desk: Desk) -> None:
    letter = (await desk.fail([unheld()], error=Drowned("[/bold] :bomb: \x1b[2J gone"), service="checkout"))[0]

    status, text, said = desk.payctl("dlq", "show", letter)
    grouped = desk.payctl("dlq", "groups", "--service", "checkout")[1]

    assert (status, said) == (0, "")
    assert "[/bold] :bomb: �[2J gone" in text
    assert "[/bold] :bomb: �[2J gone" in grouped
    assert "\x1b" not in text + grouped


async def test_replay_says_how_to_follow_and_watch_follows(desk: Desk) -> None:
    letters = await desk.fail([unheld() for _ in range(12)])
    ids = (*letters, "--reason", "mended")

    assert desk.payctl("dlq", "replay", *ids, "--dry-run")[:2] == (0, "would replay 12 of 12 that match\n")
    assert json.loads(desk.payctl("dlq", "replay", *ids, "--limit", "4", "--dry-run", "--json")[1])["taken"] == 4
    assert await desk.statuses(letters) == {"open": 12}
    status, text, said = desk.payctl("dlq", "replay", *ids)
    assert (status, said) == (0, "")
    match = re.fullmatch(r"bulk (\S+): replay 12\nfollow it with: payctl dlq watch (\S+)\n", text)
    assert match is not None
    assert match[1] == match[2]
    status, text, _ = desk.payctl("dlq", "watch", match[1])

    assert status == 0
    assert text.splitlines()[-1] == "done: 12 of 12, resolved 12"
    assert await desk.statuses(letters) == {"resolved": 12}
    status, text, _ = desk.payctl("dlq", "watch", COLUMNS="200")
    assert status == 0
    assert columns(text, match[1])[1:5] == ["replay", "done", "12", "olga"]
    assert desk.payctl("dlq", "replay", *ids) == (1, "", "nothing_matches: No open dead letter matches.\n")
    assert desk.payctl("dlq", "replay", "--reason", "all of it")[0] == 2, "never everything by mistake"


async def test_a_replay_that_fails_again_ends_with_1_and_says_how(desk: Desk) -> None:
    letters = await desk.fail([spoiled() for _ in range(3)])

    status, text, _ = desk.payctl("dlq", "replay", *letters, "--reason", "hope", "--watch")

    assert status == 1
    assert "done: 3 of 3, failed 3" in text
    assert re.search(r"failed again:\n  3 as [0-9a-f]{40}\n", text)


async def test_one_that_pauses_by_itself_says_so_and_how_to_go_on(desk: Desk) -> None:
    letters = await desk.fail([spoiled() for _ in range(40)])

    status, text, _ = desk.payctl("dlq", "replay", *letters, "--reason", "hope", "--rate", "10", "--watch")

    assert status == 1
    assert "paused (more than 10 of the last 50 failed again as " in text
    match = re.search(r"go on with: payctl dlq resume (\S+)", text)
    assert match is not None
    status, text, _ = desk.payctl("dlq", "cancel", match[1], "--reason", "not mended")
    assert status == 0
    assert text.startswith("canceled (not mended): 40 of 40")
    status, _, said = desk.payctl("dlq", "resume", match[1], "--reason", "again")
    assert (status, said) == (1, "wrong_state: The bulk is not paused.\n")


async def test_pause_and_resume(desk: Desk) -> None:
    letters = await desk.fail([unheld() for _ in range(6)])
    bulk = json.loads(desk.payctl("dlq", "replay", *letters, "--reason", "slow", "--rate", "0.05", "--json")[1])

    status, text, _ = desk.payctl("dlq", "pause", bulk["id"], "--reason", "wait a moment")

    assert status == 0
    assert text.startswith("paused (wait a moment): ")
    assert desk.payctl("dlq", "resume", bulk["id"], "--reason", "go on")[1].startswith("running: ")
    assert desk.payctl("dlq", "cancel", bulk["id"], "--reason", "enough")[0] == 0


async def test_discard_asks_on_a_terminal_and_shows_a_bar(desk: Desk) -> None:
    letters = await desk.fail([unheld() for _ in range(5)], error=Drowned("terminal"), service="refunds")
    command = ("dlq", "discard", "--service", "refunds", "--reason", "for nobody")

    status, text = await asyncio.to_thread(on_a_terminal, desk, command, "n\n")
    assert (status, "discard 5 of 5 that match? [y/N]" in text) == (1, True)
    assert await desk.statuses(letters) == {"open": 5}
    status, text = await asyncio.to_thread(on_a_terminal, desk, command, "y\n")

    assert status == 0
    assert "━" in text
    assert "5/5" in text
    assert "done: 5 of 5, discarded 5" in text
    assert await desk.statuses(letters) == {"discarded": 5}


def on_a_terminal(desk: Desk, arguments: tuple[str, ...], typed: str) -> tuple[int, str]:
    """The command on a terminal of its own."""
    master, slave = pty.openpty()
    program = str(Path(sys.executable).parent / "payctl")
    environment = {**desk.shell(), "TERM": "xterm", "COLUMNS": "120"}
    child = subprocess.Popen([program, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    os.write(master, typed.encode())
    seen = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(master)
    return child.wait(timeout=60), seen.decode(errors="replace")


async def test_edit_by_patch_and_in_an_editor(desk: Desk, tmp_path: Path) -> None:
    strays = [
        message(OrderHeld(order_id=new_id(), reason="amount_mismatch"), spoil={"reason": "odd"}) for _ in range(2)
    ]
    letters = await desk.fail(strays)
    patch = tmp_path / "patch.json"
    patch.write_text('{"data": {"reason": "amount_mismatch"}}')
    command = ("dlq", "edit", letters[0], "--reason", "misspelt", "--patch")

    assert desk.payctl(*command, str(patch), "--dry-run")[:2] == (
        0,
        '/data/reason: "odd" → "amount_mismatch"\nnothing was sent\n',
    )
    status, _, said = desk.payctl(*command, "-", given='{"data": {"reason": "strange"}}')
    assert status == 1
    assert said.startswith(
        "validation_failed: The copy breaks its contract.\n  /data/reason: Input should be 'amount_mismatch'"
    )
    status, _, said = desk.payctl(*command, "-", given='{"subject": "order/other"}')
    assert status == 1
    assert "  /subject: is part of the envelope or speaks of money\n" in said
    status, text, _ = desk.payctl(*command, str(patch))
    assert status == 0
    assert re.search(r"^sent as replay \S+$", text, re.MULTILINE)
    await desk.until_letter(letters[0], "resolved")
    editor = "sed -i s/odd/identity_conflict/"
    status, text, said = desk.payctl("dlq", "edit", letters[1], "--reason", "misspelt", EDITOR=editor)
    assert (status, said) == (0, "")
    await desk.until_letter(letters[1], "resolved")
    status, _, said = desk.payctl("dlq", "edit", letters[1], "--reason", "misspelt", EDITOR="true")
    assert (status, said) == (1, "nothing was changed, nothing was sent\n")


async def test_export_writes_whole_letters_for_the_operator_alone(desk: Desk, tmp_path: Path) -> None:
    strays = [unheld() for _ in range(205)]
    letters = await desk.fail(strays, error=Drowned("exported"), service="inventory")
    target = tmp_path / "letters.jsonl"
    command = ("dlq", "export", "--service", "inventory", "--reason", "for the accountant")

    status, text, _ = desk.payctl(*command, "--output", str(target))

    assert (status, text) == (0, f"exported 205 to {target}\n")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert {row["id"] for row in rows} == set(letters)
    assert {row["body"] for row in rows} == {stray.body.decode() for stray in strays}
    assert all(row["headers"]["pay-fault-stack"] and row["stack"] for row in rows)
    assert desk.payctl(*command, "--output", str(target))[::2] == (2, f"{target} exists\n")
    assert len(desk.payctl(*command, "--limit", "3")[1].splitlines()) == 3


async def test_no_answer_and_no_right_are_said_in_a_line(desk: Desk, tmp_path: Path) -> None:
    status, _, said = desk.payctl("dlq", "summary", PAYMENTS_OPERATIONS_URL="http://127.0.0.1:9")
    assert status == 2
    assert said.startswith("http://127.0.0.1:9 cannot be reached")
    support = tmp_path / "support"
    support.write_text(desk.deployment.keys.token("sue", "support"))
    command = ("dlq", "replay", "--service", "fulfillment", "--reason", "may I")
    status, _, said = desk.payctl(*command, PAYMENTS_TOKEN_FILE=str(support))
    assert (status, said) == (1, "forbidden: This needs another role.\n")
    status, _, said = desk.payctl("dlq", "summary", PAYMENTS_TOKEN_FILE=str(tmp_path / "none"))
    assert (status, "cannot be read" in said) == (2, True)


async def test_operations_goes_away_while_somebody_watches(desk: Desk) -> None:
    letters = await desk.fail([unheld() for _ in range(10)])
    bulk = await desk.start(filter={"ids": letters}, rate=2)
    watching = asyncio.create_task(asyncio.to_thread(desk.payctl, "dlq", "watch", bulk["id"]))

    async def begun() -> bool:
        return bool((await desk.bulk(bulk["id"]))["counts"].get("resolved"))

    await eventually(begun, within_seconds=60, what="some are through")
    desk.deployment.kill("operations")
    desk.deployment.start("operations")
    desk.deployment.wait_ready("operations")

    status, text, said = await watching

    assert (status, text.splitlines()[-1]) == (0, "done: 10 of 10, resolved 10"), said


async def test_the_story_of_an_order_is_told_where_checkout_has_lost_it_or_is_away(desk: Desk) -> None:
    """As after a restore: its messages are dead letters here, and checkout has lost the order itself."""
    order_id = f"ord_{new_id().hex}"
    sql = """INSERT INTO operations.timeline (message_id, order_ref, type, source, subject, time, data)
        VALUES ($1, $2, 'order.placed.v1', 'payments/checkout', 's', now(), '{}')"""
    await desk.owner.execute(sql, new_id(), order_id)

    async def unknown(_: web.Request) -> web.Response:
        return web.json_response({"code": "not_found", "detail": "There is no such order."}, status=404)

    app = web.Application()
    app.router.add_get("/admin/orders/{order_id}", unknown)
    async with TestServer(app) as checkout:
        url = str(checkout.make_url("/"))
        lost = await asyncio.to_thread(desk.payctl, "order", "show", order_id, PAYMENTS_CHECKOUT_URL=url)
    away = desk.payctl("order", "show", order_id, PAYMENTS_CHECKOUT_URL="http://127.0.0.1:9")
    as_json = desk.payctl("order", "show", order_id, "--json", PAYMENTS_CHECKOUT_URL="http://127.0.0.1:9")

    assert [status for status, _, _ in (lost, away, as_json)] == [0, 0, 0]
    assert all("order.placed.v1" in text for _, text, _ in (lost, away, as_json))
    assert lost[2] == "risks are not known: not_found: There is no such order.\n"
    assert away[2].startswith("risks are not known: http://127.0.0.1:9 cannot be reached")
    assert json.loads(as_json[1])["risk"] is None


# -- where services are ----------------------------------------------------------------------------------------------


def addresses(desk: Desk) -> str:
    return ", ".join(f"{name}={desk.deployment.internal_url(name)}" for name in SERVICES)


async def test_metrics_prints_the_figures_of_a_service_that_are_asked_for(desk: Desk) -> None:
    urls = {"PAYMENTS_SERVICE_URLS": addresses(desk)}

    status, text, said = desk.payctl(
        "metrics", "operations", "--only", "payments_ready", "--only", "payments_outbox_depth", **urls
    )

    assert (status, said) == (0, "")
    assert 'payments_ready{check="database"} 1.0' in text.splitlines()
    assert {line.partition("{")[0].partition(" ")[0] for line in text.splitlines()} == {
        "payments_ready",
        "payments_outbox_depth",
    }
    every = desk.payctl("metrics", "operations", **urls)[1].splitlines()
    assert len(every) > len(text.splitlines())
    assert not [line for line in every if line.startswith("#")]
    status, _, said = desk.payctl("metrics", "operations", "--only", "payments_dept", **urls)
    assert (status, said) == (1, "operations has no figure whose name begins with payments_dept\n")
    status, _, said = desk.payctl("metrics", "ledger", **urls)
    assert (status, said.startswith("ledger is none of checkout, ")) == (2, True)
    status, _, said = desk.payctl("metrics", "refunds", **urls)
    assert (status, said.startswith("refunds cannot be reached at http://127.0.0.1:")) == (2, True)


async def test_ready_says_how_a_service_is_and_ends_so(desk: Desk) -> None:
    status, text, _ = desk.payctl("ready", "operations", PAYMENTS_SERVICE_URLS=addresses(desk))
    assert (status, json.loads(text)["status"]) == (0, "ok")

    async def failing(_: web.Request) -> web.Response:
        return web.json_response({"status": "fail", "failing": {"topology": "a queue is missing"}}, status=503)

    app = web.Application()
    app.router.add_get("/readyz", failing)
    async with TestServer(app) as server:
        urls = f"checkout={server.make_url('/')}"
        status, text, _ = await asyncio.to_thread(desk.payctl, "ready", "checkout", PAYMENTS_SERVICE_URLS=urls)

    assert (status, json.loads(text)["failing"]) == (1, {"topology": "a queue is missing"})


def test_one_list_of_addresses_does_for_commands_about_single_services(desk: Desk) -> None:
    shell = {name: value for name, value in desk.shell().items() if name != "PAYMENTS_OPERATIONS_URL"}
    command = [str(Path(sys.executable).parent / "payctl"), "dlq", "summary", "--json"]

    done = subprocess.run(
        command, env={**shell, "PAYMENTS_SERVICE_URLS": addresses(desk)}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)


async def test_what_the_runbooks_print_for_kubernetes_runs_in_the_pod_with_the_operators_token(
    desk: Desk, tmp_path: Path
) -> None:
    """`kubectl exec` is played by a program that runs in this place what it is given."""
    (function,) = blocks("README", "**On Kubernetes**")
    kubectl, token, scratch = tmp_path / "kubectl", tmp_path / ".payments.token", tmp_path / "scratch"
    kubectl.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    kubectl.chmod(0o700)
    token.write_text(desk.deployment.keys.token("olga", "operator"))
    scratch.mkdir()
    environment = {
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TMPDIR": str(scratch),
        "PAYMENTS_SERVICE_URLS": addresses(desk),  # as in the pod
    }

    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euo", "pipefail", "-c", f"{function}\npayctl dlq summary --json; payctl dlq list --type 'a b' --json"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n"), "words keep together"
    assert list(scratch.iterdir()) == [], "the token does not stay there"
