"""New orders are stopped and taken again, on all instances at once, and what is under way goes on."""

import asyncio
import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.checkout.test_canceling import cancel
from tests.support.instances import another_checkout
from tests.support.shopping import Answer, Json, Shopper, eventually

PATH = "/api/payments/checkout-session"
SWITCH = "/admin/switches/checkouts"


@pytest_asyncio.fixture(loop_scope="session")
async def buyer(shopper: Shopper) -> AsyncIterator[Shopper]:
    """A shopper who leaves the shop open."""
    yield shopper
    await shopper.admin("PUT", "checkout", SWITCH, {"state": "open"})


async def stop(shopper: Shopper, reason: str = "prices are wrong") -> Json:
    return (await shopper.admin("PUT", "checkout", SWITCH, {"state": "stopped", "reason": reason})).body


async def start(shopper: Shopper) -> Json:
    return (await shopper.admin("PUT", "checkout", SWITCH, {"state": "open"})).body


async def place_at(shopper: Shopper, url: str, sku: str, key: str) -> Answer:
    body = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd"}
    return await shopper.call("POST", url + PATH, body, **{"Idempotency-Key": key})


async def test_a_stop_holds_on_every_instance_within_a_second_and_a_start_as_well(buyer: Shopper) -> None:
    sku, key = await buyer.offer(), secrets.token_hex(12)
    async with another_checkout(buyer.deployment, "checkout-stopped") as other:
        doors = (buyer.deployment.public_url("checkout"), other.public_url)
        assert [(await place_at(buyer, url, sku, secrets.token_hex(12))).status for url in doors] == [201, 201]

        await stop(buyer)
        stopped_at = time.monotonic()
        refused = [await place_at(buyer, url, sku, key) for url in doors]
        took = time.monotonic() - stopped_at

        assert took < 1
        for answer in refused:
            assert (answer.status, answer.body["code"]) == (503, "checkouts_stopped")
            assert answer.headers["Retry-After"] == "30"
        await start(buyer)
        placed = [await place_at(buyer, url, sku, key) for url in doors]
        assert [answer.status for answer in placed] == [201, 201]
        assert placed[0].body == placed[1].body, "the key that was refused has placed one order"


async def test_while_stopped_all_that_was_begun_goes_on(buyer: Shopper) -> None:
    sku, known, begun = await buyer.offer(), secrets.token_hex(12), secrets.token_hex(12)
    first, second = (await buyer.checkout(sku, key=known)).body, await buyer.placed(sku)
    await buyer.stripe("POST", "/_sim/faults", {"kind": "cut_before", "path": "/v1/checkout/sessions", "count": 2})
    assert (await buyer.checkout(sku, key=begun)).status == 503
    await buyer.stripe("DELETE", "/_sim/faults")
    await stop(buyer)

    replay, resumed = await buyer.checkout(sku, key=known), await buyer.checkout(sku, key=begun)

    assert (replay.status, replay.body, replay.headers["Idempotency-Replayed"]) == (201, first, "true")
    assert resumed.status == 201, "an order under way gets its session"
    assert await buyer.pay(first) == 303
    await buyer.until(first, "paid")
    assert (await cancel(buyer, second)).body["status"] == "canceled"
    mismatch = await buyer.checkout(sku, key=known, quantity=2)
    assert (mismatch.status, mismatch.body["code"]) == (422, "idempotency_mismatch")


async def test_a_turn_is_kept_with_who_when_and_why_and_cannot_be_rewritten(buyer: Shopper) -> None:
    await start(buyer)
    before = (await buyer.admin("GET", "checkout", SWITCH)).body

    await stop(buyer, "  a flood of stolen cards ")
    again = await stop(buyer, "another reason")

    assert before["state"] == "open"
    assert (again["state"], len(again["turns"])) == ("stopped", min(len(before["turns"]) + 1, 20))
    last = again["turns"][0]
    assert (last["state"], last["actor"], last["reason"]) == ("stopped", "admin-1", "a flood of stolen cards")
    service = await asyncpg.connect(buyer.deployment.provisioned.database_urls["checkout"])
    try:
        for sql in ("UPDATE checkout.switch_turns SET actor = 'me'", "DELETE FROM checkout.switch_turns"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(sql)
    finally:
        await service.close()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"state": "stopped"}, ""),
        ({"state": "stopped", "reason": "  "}, "/reason"),
        ({"state": "closed", "reason": "because"}, "/state"),
        ({"state": "open", "until": "tomorrow"}, "/until"),
        ({}, "/state"),
    ],
)
async def test_an_odd_turn_is_refused_by_name(buyer: Shopper, body: Json, pointer: str) -> None:
    token = buyer.deployment.keys.token("ann", "admin")
    url = buyer.deployment.internal_url("checkout") + SWITCH

    answer = await buyer.call("PUT", url, body, Authorization=f"Bearer {token}")

    assert answer.status == 422, answer
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]


async def test_only_operators_and_administrators_turn_it_and_staff_may_look(buyer: Shopper) -> None:
    url = buyer.deployment.internal_url("checkout") + SWITCH
    body = {"state": "stopped", "reason": "may I"}

    for role, looking, turning in (("support", 200, 403), ("viewer", 200, 403), ("customer", 403, 403)):
        bearer = {"Authorization": f"Bearer {buyer.deployment.keys.token('somebody', role)}"}
        assert (await buyer.call("GET", url, **bearer)).status == looking
        assert (await buyer.call("PUT", url, body, **bearer)).status == turning
    assert (await buyer.call("PUT", url, body)).status == 401
    assert (await buyer.call("GET", buyer.deployment.front_door_url + SWITCH)).status == 404
    assert (await buyer.checkout(await buyer.offer())).status == 201
    bearer = {"Authorization": f"Bearer {buyer.deployment.keys.token('olga', 'operator')}"}
    assert (await buyer.call("PUT", url, body, **bearer)).status == 200
    assert (await buyer.checkout(await buyer.offer())).status == 503
    assert (await buyer.call("PUT", url, {"state": "open", "reason": "I may"}, **bearer)).status == 200


async def test_a_stop_is_a_metric_on_every_instance(buyer: Shopper) -> None:
    async with another_checkout(buyer.deployment, "checkout-measured") as other:
        urls = (buyer.deployment.internal_url("checkout"), other.internal_url)

        async def shown() -> set[str]:
            texts = [(await buyer.call("GET", f"{url}/metrics")).body["raw"] for url in urls]
            return {
                value
                for text in texts
                for value in re.findall(r"^payments_switch_stopped{switch=\"checkouts\"} (\S+)$", text, re.MULTILINE)
            }

        async def stands(value: str) -> bool:
            return await shown() == {value}

        await start(buyer)
        await eventually(lambda: stands("0.0"), within=30, what="nobody counts as stopped")
        await stop(buyer)
        await eventually(lambda: stands("1.0"), within=30, what="both count as stopped")


# -- payctl ----------------------------------------------------------------------------------------------------------


def payctl(shopper: Shopper, folder: Path, *arguments: str, role: str = "admin", url: str = "") -> tuple[int, str, str]:
    token = folder / "token"
    token.write_text(shopper.deployment.keys.token("ada", role))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "payctl"), "checkouts", *arguments],
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "COLUMNS": "160",
            "PAYMENTS_CHECKOUT_URL": url or shopper.deployment.internal_url("checkout"),
            "PAYMENTS_TOKEN_FILE": str(token),
        },
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


async def test_payctl_stops_starts_and_tells(buyer: Shopper, tmp_path: Path) -> None:
    await start(buyer)
    sku = await buyer.offer()

    status, text, said = await asyncio.to_thread(payctl, buyer, tmp_path, "stop", "--reason", "the till burns \x1b[2J")

    assert (status, said) == (0, "")
    assert re.fullmatch(r"checkouts: stopped since \S+ by ada: the till burns �\[2J\n", text)
    assert (await buyer.checkout(sku)).body["code"] == "checkouts_stopped"
    status, text, _ = await asyncio.to_thread(payctl, buyer, tmp_path, "status", role="operator")
    assert status == 0
    assert text.startswith("checkouts: stopped since ")
    assert "ada" in text
    assert "UTC" in text
    status, text, _ = await asyncio.to_thread(payctl, buyer, tmp_path, "start", "--json")
    found = json.loads(text)
    assert (status, found["state"], found["turns"][0]["actor"], found["turns"][0]["reason"]) == (0, "open", "ada", None)
    assert (await buyer.checkout(sku)).status == 201


async def test_payctl_says_in_a_line_what_it_cannot_do(buyer: Shopper, tmp_path: Path) -> None:
    refused = await asyncio.to_thread(payctl, buyer, tmp_path, "stop", "--reason", "may I", role="support")
    short = await asyncio.to_thread(payctl, buyer, tmp_path, "stop", "--reason", "x")
    silent = await asyncio.to_thread(payctl, buyer, tmp_path, "status", url="http://127.0.0.1:9")

    assert refused == (1, "", "forbidden: This needs another role.\n")
    assert (short[0], "  /reason: " in short[2]) == (1, True)
    assert (silent[0], silent[2].startswith("http://127.0.0.1:9 cannot be reached")) == (2, True)
    assert (await asyncio.to_thread(payctl, buyer, tmp_path, "stop"))[0] == 2, "a reason is needed"
