"""The judges are awake: each fault that is planted in the simulator, or in a request, is found."""

from typing import Any

import pytest
import stripe

from sandbox.stripe import objects
from tests.sandbox.stripe.simulator import SECRET, Json, Simulator, a_session
from tests.support.stripe_spec import Departure, validate_event, validate_request, validate_response

Patch = pytest.MonkeyPatch


def _plant(monkeypatch: Patch, name: str, **fault: Any) -> None:  # Any: whatever is wrong
    """Let every object of a kind leave the simulator with something wrong."""
    honest = getattr(objects, name)

    def faulty(*args: Any, **kwargs: Any) -> Json:
        made: Json = honest(*args, **kwargs)
        made.update(fault)
        return made

    monkeypatch.setattr(objects, name, faulty)


async def test_a_field_that_stripe_does_not_have_is_found(simulator: Simulator, monkeypatch: Patch) -> None:
    _plant(monkeypatch, "session", paid_at=1)

    with pytest.raises(Departure, match="'paid_at' was unexpected"):
        await simulator.session()


async def test_a_missing_field_is_found(simulator: Simulator) -> None:
    session = await simulator.session()
    del session["payment_status"]

    with pytest.raises(Departure, match="'payment_status' is a required property"):
        validate_response("POST", "/v1/checkout/sessions", 200, session)


async def test_a_wrong_type_is_found(simulator: Simulator, monkeypatch: Patch) -> None:
    _plant(monkeypatch, "payment_intent", amount_received="1800")

    with pytest.raises(Departure, match="amount_received"):
        await simulator.post("payment_intents", {"amount": 500, "currency": "usd"})


async def test_a_status_that_does_not_exist_is_found(simulator: Simulator, monkeypatch: Patch) -> None:
    _plant(monkeypatch, "session", status="paid")

    with pytest.raises(Departure, match="at status: 'paid' is not one of"):
        await simulator.session()


async def test_an_event_about_a_wrong_object_is_found(simulator: Simulator) -> None:
    await simulator.paid()
    event = (await simulator.events())[-1]

    with pytest.raises(Departure, match="there is no event"):
        validate_event({**event, "type": "checkout.session.paid"})
    with pytest.raises(Departure, match="amount_total"):
        validate_event({**event, "data": {"object": {**event["data"]["object"], "amount_total": "much"}}})
    with pytest.raises(Departure, match="previous attributes"):
        validate_event({**event, "data": {**event["data"], "previous_attributes": {"paid_at": 1}}})


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("mode=payment&colour=red", "'colour' was unexpected"),
        ("mode=gift", "at mode: 'gift' is not one of"),
        ("line_items[0][quantity]=many", "at line_items/0/quantity"),
        ("line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]=1.5", "unit_amount"),
        ("client_reference_id=" + "x" * 201, "too long"),
        ("payment_intent_data[metadata][order_id]=1&payment_intent_data[order]=1", "'order' was unexpected"),
    ],
)
def test_a_request_that_stripe_would_refuse_is_found(form: str, found: str) -> None:
    with pytest.raises(Departure, match=found):
        validate_request("POST", "/v1/checkout/sessions", form)


def test_a_query_and_a_path_that_stripe_does_not_know_are_found() -> None:
    validate_request("GET", "/v1/refunds", "payment_intent=pi_1&limit=100")

    with pytest.raises(Departure, match="'order' was unexpected"):
        validate_request("GET", "/v1/refunds", "order=1")
    with pytest.raises(Departure, match="Stripe has no POST"):
        validate_request("POST", "/v1/checkout/orders", "")


async def test_the_simulator_itself_refuses_an_unknown_parameter(simulator: Simulator) -> None:
    refused = await simulator.refused(
        "POST", "/v1/checkout/sessions", a_session(payment_intent_data={"metadata": {"a": "b"}, "order": "1"})
    )

    assert (refused.status, refused.error["code"]) == (400, "parameter_unknown")
    assert refused.error["param"] == "payment_intent_data[order]"


async def test_a_signature_by_another_secret_is_found(simulator: Simulator, monkeypatch: Patch) -> None:
    def forged(body: bytes, secret: str, timestamp: int, *further: str) -> str:
        made: str = stripe.WebhookSignature.generate_signature_header(body.decode(), secret + "x", timestamp)
        return made

    monkeypatch.setattr("sandbox.stripe.delivery.signature", forged)
    await simulator.paid()

    (heard, *_) = await simulator.hears(1)

    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(heard.body, heard.signature, SECRET)
