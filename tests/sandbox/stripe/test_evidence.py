"""Evidence as Stripe takes it: files, texts within their limits, and a bank that is answered once."""

import pytest

from tests.sandbox.stripe.simulator import Answer, Json, Simulator

LETTER = b"%PDF-1.7 a letter"
RAISED = {"amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_createDispute"}


async def _dispute(simulator: Simulator) -> Json:
    intent = await simulator.post("payment_intents", RAISED)
    return dict((await simulator.get("disputes", {"payment_intent": intent["id"]}))["data"][0])


async def _update(simulator: Simulator, dispute: Json, **given: object) -> Answer:
    return await simulator.call("POST", f"/v1/disputes/{dispute['id']}", given, lawful=False)


async def test_a_file_is_uploaded_once_under_its_key_whatever_boundary_is_drawn(simulator: Simulator) -> None:
    first = await simulator.upload(LETTER, key="k")
    again = await simulator.upload(LETTER, key="k")
    other = await simulator.upload(LETTER + b"!", key="k")

    assert (first.status, again.body, again.headers["Idempotent-Replayed"]) == (200, first.body, "true")
    assert (other.status, other.error["type"]) == (400, "idempotency_error")
    assert (first.body["type"], first.body["size"], first.body["filename"]) == ("pdf", len(LETTER), "evidence.pdf")
    async with simulator.http.get(f"{simulator.url}/_sim/files/{first.body['id']}") as answer:
        assert await answer.read() == LETTER


@pytest.mark.parametrize(
    ("content", "purpose", "param"),
    [(b"hello", "dispute_evidence", "file"), (LETTER, "business_logo", "purpose")],
)
async def test_what_is_no_evidence_is_not_taken(simulator: Simulator, content: bytes, purpose: str, param: str) -> None:
    refused = await simulator.upload(content, purpose)

    assert (refused.status, refused.error["param"]) == (400, param)


async def test_staged_evidence_is_sent_to_nobody_and_submitted_evidence_once(simulator: Simulator) -> None:
    dispute = await _dispute(simulator)
    letter = (await simulator.upload(LETTER)).body["id"]

    staged = await _update(simulator, dispute, evidence={"uncategorized_file": letter}, submit=False)
    handed_in = await _update(simulator, dispute, evidence={"customer_name": "Ada"}, submit=True)
    again = await _update(simulator, dispute, evidence={"customer_name": "Eve"}, submit=True)

    details = staged.body["evidence_details"]
    assert (staged.body["status"], details["has_evidence"], details["submission_count"]) == ("needs_response", True, 0)
    assert (handed_in.body["status"], handed_in.body["evidence_details"]["submission_count"]) == ("under_review", 1)
    assert handed_in.body["evidence"]["uncategorized_file"] == letter
    assert again.status == 400
    assert (await simulator.get(f"disputes/{dispute['id']}"))["evidence"]["customer_name"] == "Ada"


async def test_evidence_that_was_due_before_is_not_taken(simulator: Simulator) -> None:
    dispute = await _dispute(simulator)
    await simulator.later(10 * 86_400)

    late = await _update(simulator, dispute, evidence={"customer_name": "Ada"})

    assert (late.status, late.error["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("evidence", "param"),
    [
        ({"uncategorized_file": "file_no"}, "evidence[uncategorized_file]"),
        ({"uncategorized_text": "x" * 20_001}, "evidence[uncategorized_text]"),
        ({"no_such_thing": "x"}, "evidence[no_such_thing]"),
    ],
)
async def test_evidence_that_no_bank_is_sent_is_refused_and_changes_nothing(
    simulator: Simulator, evidence: Json, param: str
) -> None:
    dispute = await _dispute(simulator)

    refused = await _update(simulator, dispute, evidence=evidence)

    assert (refused.status, refused.error["param"]) == (400, param)
    assert await simulator.get(f"disputes/{dispute['id']}") == dispute
