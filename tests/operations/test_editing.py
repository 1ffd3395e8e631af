"""An operator may correct a message, and may not make it another one."""

import json
from typing import Any

from payments_shared.contracts.checkout import OrderHeld, OrderRefundDue, OrderUnheld
from payments_shared.ids import new_id
from tests.operations.desk import LETTERS, Desk, Stray, message, unheld


def misspelt() -> Stray:
    """A reason that the contract does not know."""
    return message(
        OrderHeld(order_id=new_id(), reason="amount_mismatch"), spoil={"reason": "amuont_mismatch", "deadline": None}
    )


def body_of(stray: Stray) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stray.body)
    return found


async def edit(desk: Desk, letter: str, body: object, **asked: Any) -> tuple[int, dict[str, Any]]:
    return await desk.call("POST", f"{LETTERS}/{letter}/edit", {"reason": "misspelt", "body": body, **asked})


async def test_a_valid_copy_takes_effect_under_its_original_s_id_and_resolves_it(desk: Desk) -> None:
    stray = misspelt()
    letter = (await desk.fail([stray]))[0]
    body = body_of(stray)
    body["data"]["reason"] = "amount_mismatch"
    change = {"pointer": "/data/reason", "from": "amuont_mismatch", "to": "amount_mismatch"}

    previewed = await edit(desk, letter, body, dry_run=True)
    assert previewed == (200, {"changes": [change]})
    assert (await desk.letter(letter))["replays"] == []
    status, answer = await edit(desk, letter, body)

    assert (status, answer["changes"]) == (202, [change])
    shown = await desk.until_letter(letter, "resolved")
    assert await desk.inboxed("fulfillment", [stray]) == 1
    assert shown["body"] == stray.body.decode(), "the original is kept"
    assert [(row["edited"], row["outcome"]) for row in shown["replays"]] == [(True, "applied")]
    assert [(row["action"], row["actor"], row["reason"]) for row in shown["audit"]] == [
        ("edit", "olga", "misspelt"),
        ("resolved", "service:fulfillment", "applied"),
    ]
    assert shown["audit"][0]["detail"] == {"changes": [change], "force": False}


async def test_what_says_which_message_it_is_is_locked(desk: Desk) -> None:
    stray = misspelt()
    letter = (await desk.fail([stray]))[0]
    good = body_of(stray)
    good["data"]["reason"] = "amount_mismatch"
    wanted: dict[str, object] = {
        "id": str(new_id()), "type": "order.unheld.v1", "source": "payments/refunds", "subject": "order/another",
        "time": "2026-01-01T00:00:00+00:00", "partitionkey": "another", "correlationid": "ord_1", "livemode": True,
        "causationid": str(new_id()), "sequence": 7, "specversion": "1.1",
    }  # fmt: skip

    answers = {name: await edit(desk, letter, {**good, name: value}) for name, value in wanted.items()}
    gone = {name: good[name] for name in good if name != "subject"}
    answers["subject"] = await edit(desk, letter, gone)

    for name, (status, problem) in answers.items():
        assert (status, problem["code"]) == (422, "locked_field"), name
        assert [error["pointer"] for error in problem["errors"]] == [f"/{name}"]
    assert await desk.statuses([letter]) == {"open": 1}
    assert await desk.replays_of([letter]) == []


async def test_a_copy_about_another_order_is_refused(desk: Desk) -> None:
    stray = misspelt()
    letter = (await desk.fail([stray]))[0]
    body = body_of(stray)
    body["data"] |= {"reason": "amount_mismatch", "order_id": "ord_" + new_id().hex}

    status, problem = await edit(desk, letter, body)

    assert (status, problem["code"]) == (422, "locked_field")


async def test_money_is_locked(desk: Desk) -> None:
    due = OrderRefundDue(
        order_id=new_id(), payment_intent="pi_1", amount_minor=1800, currency="usd", reason="surplus_payment"
    )
    stray = message(due, spoil={"reason": "surplus"})
    letter = (await desk.fail([stray], service="refunds"))[0]
    body = body_of(stray)
    body["data"]["reason"] = "surplus_payment"
    dearer = {**body, "data": {**body["data"], "amount_minor": 180000}}
    elsewhere = {**body, "data": {**body["data"], "currency": "jpy"}}
    without = {**body, "data": {name: value for name, value in body["data"].items() if name != "amount_minor"}}

    another = {**body, "data": {**body["data"], "payment_intent": "pi_2"}}

    answers = [await edit(desk, letter, one) for one in (dearer, elsewhere, without, another)]

    assert [(status, problem["code"]) for status, problem in answers] == [(422, "locked_field")] * 4
    assert [problem["errors"][0]["pointer"] for _, problem in answers] == [
        "/data/amount_minor",
        "/data/currency",
        "/data/amount_minor",
        "/data/payment_intent",
    ]
    unreadable = message(due)
    broken = Stray(unreadable.id, unreadable.type, unreadable.body[:-20])
    letter = (await desk.fail([broken], service="refunds"))[0]
    status, problem = await edit(desk, letter, body_of(unreadable))
    assert (status, problem["code"]) == (422, "locked_field"), "there is nothing to compare its money with"


async def test_a_copy_that_breaks_its_contract_is_refused_with_a_pointer(desk: Desk) -> None:
    stray = misspelt()
    letter = (await desk.fail([stray]))[0]
    body = body_of(stray)
    body["data"]["reason"] = "amount_missmatch"

    status, problem = await edit(desk, letter, body)

    assert (status, problem["code"]) == (422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == ["/data/reason"]
    status, problem = await edit(desk, letter, body_of(stray))
    assert (status, problem["code"]) == (422, "nothing_changed")
    assert await desk.statuses([letter]) == {"open": 1}


async def test_a_message_that_nobody_can_read_may_be_written_anew(desk: Desk) -> None:
    whole = message(OrderUnheld(order_id=new_id()))
    torn = Stray(whole.id, whole.type, whole.body[:-7])
    letter = (await desk.fail([torn]))[0]
    other = {**body_of(whole), "id": str(new_id())}

    assert (await edit(desk, letter, other))[0] == 422
    status, answer = await edit(desk, letter, body_of(whole))

    assert status == 202, answer
    await desk.until_letter(letter, "resolved")
    assert await desk.inboxed("fulfillment", [whole]) == 1


async def test_a_copy_that_fails_again_opens_its_original(desk: Desk) -> None:
    """A contract cannot say everything: this copy is in order, and its service refuses the original's twin."""
    stray = message(OrderHeld(order_id=new_id(), reason="amount_mismatch"))
    letter = (await desk.fail([stray]))[0]
    body = body_of(stray)
    body["data"]["reason"] = "identity_conflict"
    await desk.owner.execute("ALTER TABLE fulfillment.inbox RENAME COLUMN type TO mislaid")
    try:
        status, answer = await edit(desk, letter, body)
        assert status == 202, answer
        shown = await desk.until_letter(letter, "open", failures=2)
    finally:
        await desk.owner.execute("ALTER TABLE fulfillment.inbox RENAME COLUMN mislaid TO type")

    assert shown["body"] == stray.body.decode()
    assert json.loads(shown["attempts_made"][-1]["body"])["data"]["reason"] == "identity_conflict"
    assert [row["outcome"] for row in shown["replays"]] == ["failed"]
    status, answer = await edit(desk, letter, body)
    assert status == 202, answer
    await desk.until_letter(letter, "resolved")


async def test_a_second_edit_at_the_same_time_is_told_so(desk: Desk) -> None:
    """The service is not here: the first copy stays on its way."""
    stray = message(OrderHeld(order_id=new_id(), reason="amount_mismatch"), spoil={"reason": "odd"})
    letter = (await desk.fail([stray], service="notifications"))[0]
    body = body_of(stray)
    body["data"]["reason"] = "amount_mismatch"
    assert (await edit(desk, letter, body))[0] == 202

    status, problem = await edit(desk, letter, body)

    assert (status, problem["code"]) == (409, "not_open")
    assert len(await desk.replays_of([letter])) == 1


async def test_what_stripe_said_and_what_the_service_does_not_hear_is_not_edited(desk: Desk) -> None:
    stray = unheld()
    stripe = Stray(stray.id, "stripe.checkout.session.completed", stray.body)
    letters = await desk.fail([stripe], service="checkout") + await desk.fail([unheld()], service="refunds")

    answers = [await edit(desk, letter, body_of(stray)) for letter in letters]

    assert [(status, problem["code"]) for status, problem in answers] == [(422, "not_editable")] * 2
