"""Money that was taken for an order that is not here, as after a restore, is found at Stripe and given back once."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from payments_shared.clock import utc_now
from payments_shared.ids import external_id, new_id
from tests.support.shopping import Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.servers

TOTAL = 2500


async def taken(shopper: Shopper, email: str) -> Json:
    """What a customer of that address paid for an order that nobody here has heard of."""
    order_id = external_id("ord", new_id())
    customer = await posted(shopper, "customers", email=email, name="Ada Lovelace")
    intent = await posted(
        shopper, "payment_intents", amount=str(TOTAL), currency="usd", customer=customer["id"],
        payment_method="pm_card_visa", confirm="true", **{"payment_method_types[]": "card", "metadata[order_id]": order_id},
    )  # fmt: skip
    return {"order_id": order_id, "payment_intent": intent["id"]}


async def posted(shopper: Shopper, path: str, **form: str) -> Json:
    """One call of Stripe's API."""
    url, key = f"{shopper.deployment.stripe_url}/v1/{path}", {"Authorization": "Bearer sk_test_looking"}
    async with shopper.http.post(url, data=form, headers=key) as answer:
        assert answer.status == 200, await answer.text()
        return dict(await answer.json())


async def payctl(shopper: Shopper, token: Path, *arguments: str) -> tuple[int, str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PAYMENTS_CHECKOUT_URL": shopper.deployment.internal_url("checkout"),
        "PAYMENTS_TOKEN_FILE": str(token),
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [str(Path(sys.executable).parent / "payctl"), "lost-payments", *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


async def letters(shopper: Shopper, lost: Json, status: str) -> list[Json]:
    """Checkout's dead letters about the order that is not here."""
    sql = "SELECT id FROM operations.dead_letters WHERE service = 'checkout' AND status = $1 AND correlation_id = $2"
    return [dict(row) for row in await shopper.owner.fetch(sql, status, lost["order_id"])]


async def refunded(shopper: Shopper, lost: Json) -> list[Json]:
    listed = await shopper.stripe("GET", f"/v1/refunds?payment_intent={lost['payment_intent']}")
    return list(listed["data"])


async def test_it_is_found_given_back_once_and_its_messages_are_mended(shopper: Shopper, tmp_path: Path) -> None:
    since = (utc_now() - timedelta(minutes=5)).isoformat()
    token = tmp_path / "token"
    token.write_text(shopper.deployment.keys.token("carol", "admin"))
    lost, known = await taken(shopper, "lost@example.com"), await shopper.bought(await shopper.offer())
    await shopper.until(known, "paid")
    await eventually(lambda: letters(shopper, lost, "open"), within=60, what="its messages are given up")

    listed = json.loads((await payctl(shopper, token, "list", "--since", since, "--json"))[1])["lost_payments"]
    would = await payctl(shopper, token, "refund", lost["payment_intent"], "--reason", "restored", "--dry-run")
    assert not await refunded(shopper, lost)
    done = await payctl(shopper, token, "refund", lost["payment_intent"], "--reason", "restored")
    again = await payctl(shopper, token, "refund", lost["payment_intent"], "--reason", "once more")

    mine = {one["order_id"]: one for one in listed}
    assert known["order_id"] not in mine
    assert mine[lost["order_id"]].pop("created_at").startswith("20")
    assert mine[lost["order_id"]] == {
        **lost, "amount_minor": TOTAL, "currency": "usd", "email": "lost@example.com", "name": "Ada Lovelace",
        "refunded_minor": 0, "asked_for": False, "given_back": False,
    }  # fmt: skip
    assert would[0] == done[0] == again[0] == 0
    assert all(text in done[1] for text in ("25.00 USD", "lost@example.com", "asked for"))
    await eventually(lambda: shopper.mails(lost, "refund_succeeded"), within=60, what="its buyer is told")
    await eventually(lambda: _mended(shopper, lost), within=60, what="its dead letters are resolved")
    [refund] = await refunded(shopper, lost)
    assert (refund["amount"], refund["status"]) == (TOTAL, "succeeded")
    [mail] = await shopper.mails(lost, "refund_succeeded")
    for text in await shopper.mail_parts(mail):
        assert "your order was lost" in text
    rows = await shopper.owner.fetch(
        "SELECT actor, reason FROM checkout.lost_payments WHERE order_id = $1", uuid_of(lost)
    )
    assert [tuple(row) for row in rows] == [("carol", "restored")]
    await shopper.audited()
    assert not await letters(shopper, lost, "open")


async def test_what_went_back_before_stays_and_what_the_bank_returned_goes_again(
    shopper: Shopper, tmp_path: Path
) -> None:
    since = (utc_now() - timedelta(minutes=5)).isoformat()
    token = tmp_path / "token"
    token.write_text(shopper.deployment.keys.token("carol", "admin"))
    lost, whole = await taken(shopper, "part@example.com"), await taken(shopper, "whole@example.com")
    await posted(shopper, "refunds", payment_intent=lost["payment_intent"], amount="1000")
    await posted(shopper, "refunds", payment_intent=whole["payment_intent"])

    async def shown() -> dict[str, tuple[int, bool, bool]]:
        page = json.loads((await payctl(shopper, token, "list", "--since", since, "--json"))[1])["lost_payments"]
        return {one["order_id"]: (one["refunded_minor"], one["asked_for"], one["given_back"]) for one in page}

    async def is_back() -> bool:
        return (await shown())[lost["order_id"]] == (TOTAL, True, True)

    async def active() -> list[int]:
        return sorted(one["amount"] for one in await refunded(shopper, lost) if one["status"] == "succeeded")

    async def give_back() -> str:
        asked = ("refund", lost["payment_intent"], whole["payment_intent"], "--reason", "restored")
        code, said = await payctl(shopper, token, *asked)
        assert code == 0, said
        await eventually(is_back, within=60, what="all of it is back")
        return said

    before = await shown()
    would = await payctl(shopper, token, "refund", "--since", since, "--reason", "restored", "--dry-run")
    said = await give_back()
    first = await active()
    [made] = [one for one in await refunded(shopper, lost) if one["amount"] == TOTAL - 1000]
    await shopper.stripe("POST", f"/_sim/refunds/{made['id']}", {"status": "failed"})
    sql = "SELECT state FROM refunds.refunds WHERE stripe_refund_id = $1"
    await eventually(lambda: _is(shopper, sql, made["id"], "failed"), within=60, what="its return is known")
    returned = (await shown())[lost["order_id"]]
    await give_back()
    await give_back()

    assert before[lost["order_id"]] == (1000, False, False)
    assert before[whole["order_id"]] == (TOTAL, False, True)
    assert lost["payment_intent"] in would[1]
    assert "15.00 USD" in would[1]
    assert whole["payment_intent"] not in would[1]
    assert "15.00 USD" in said
    assert returned == (1000, True, False)
    assert first == await active() == [1000, TOTAL - 1000]
    assert len(await refunded(shopper, lost)) == 3
    assert len(await refunded(shopper, whole)) == 1
    for one in (lost, whole):
        await eventually(partial(_mended, shopper, one), within=60, what="its dead letters are resolved")
    await shopper.audited()


async def _is(shopper: Shopper, sql: str, key: str, wanted: str) -> bool:
    return bool(await shopper.owner.fetchval(sql, key) == wanted)


async def _mended(shopper: Shopper, lost: Json) -> bool:
    """Whether no dead letter is left about it; those that are open, late ones too, are sent again."""
    if still_open := await letters(shopper, lost, "open"):
        asked = {"act": "replay", "filter": {"ids": [str(one["id"]) for one in still_open]}, "reason": "given back"}
        await shopper.admin("POST", "operations", "/admin/dead-letters/bulks", asked)
    return not still_open and not await letters(shopper, lost, "replaying")


async def test_what_is_here_or_took_nothing_is_not_given_back(shopper: Shopper) -> None:
    order = await shopper.bought(await shopper.offer())
    await shopper.until(order, "paid")
    session = await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(order)}")
    strange = await posted(shopper, "payment_intents", amount=str(TOTAL), currency="usd")
    headers = {"Authorization": f"Bearer {shopper.deployment.keys.token('carol', 'admin')}"}
    url = shopper.deployment.internal_url("checkout") + "/admin/lost-payments"

    answers = [
        await shopper.call("POST", f"{url}/{intent}/refund", {"reason": "restored"}, **headers)
        for intent in (session["payment_intent"], strange["id"], "pi_nobodys")
    ]
    page = await shopper.call("GET", f"{url}?since=2026-01-01T00:00:00Z&cursor=pi_nobodys", **headers)

    assert [(one.status, one.body["code"]) for one in (*answers, page)] == [
        (409, "order_known"), (404, "not_found"), (404, "not_found"), (422, "cursor_unknown"),
    ]  # fmt: skip
    assert await shopper.count("SELECT count(*) FROM checkout.lost_payments WHERE order_id = $1", uuid_of(order)) == 0
