"""What the timeline keeps of a message: by what a buyer's orders are found, and nothing that tells who he is."""

import json
from typing import Any
from uuid import UUID

import pytest

from operations.decide import ending, remembering
from operations.model.trail import Ended
from payments_shared.contracts.checkout import Client, Customer, OrderPlaced
from payments_shared.contracts.message import Message
from payments_shared.contracts.refunds import StoreCreditIssued
from payments_shared.contracts.stripe import StripeEvent
from payments_shared.errors import PaymentsError, Refused, Retryable
from payments_shared.ids import external_id, new_id

ORDER = UUID("0199f0a2-b3c4-7d5e-8f60-718293a4b5c6")


def placed(account: str | None) -> OrderPlaced:
    return OrderPlaced(
        order_id=ORDER,
        currency="usd",
        subtotal_minor=1800,
        discount_minor=0,
        total_minor=1800,
        lines=(),
        customer=Customer(email="ada@example.com", name="Ada Lovelace", account=account),
        expires_at="2026-08-26T12:00:00Z",
        client=Client(address="192.0.2.7", user_agent="Mozilla"),
    )


def said_by_stripe(**about: Any) -> StripeEvent:
    return StripeEvent.model_validate(
        {"id": "evt_1", "type": "payment_intent.succeeded", "created": 1, "livemode": False, "data": {"object": about}}
    )


def test_of_a_buyer_stays_who_he_is_to_the_sign_in_and_nothing_else() -> None:
    kept = remembering.content(placed("customer-17"))

    assert kept["customer"] == {"account": "customer-17"}
    assert not {"client", "shipping_address", "recipient"} & kept.keys()
    for personal in ("ada@", "Lovelace", "192.0.2.7", "Mozilla"):
        assert personal not in json.dumps(kept)


@pytest.mark.parametrize("account", [None, "", "ada@example.com"])
def test_a_guest_or_an_address_leaves_nothing(account: str | None) -> None:
    assert "customer" not in remembering.content(placed(account))


@pytest.mark.parametrize(("account", "kept"), [("customer-17", "customer-17"), ("ada@example.com", None)])
def test_whose_store_credit_it_is_stays_unless_that_is_an_address(account: str, kept: str | None) -> None:
    message = StoreCreditIssued(
        order_id=ORDER, refund_id=new_id(), payment_intent="", account=account, amount_minor=5, currency="usd"
    )

    assert remembering.content(message).get("account") == kept


@pytest.mark.parametrize(
    ("customer", "kept"),
    [
        ("cus_QabcDEF12345", "cus_QabcDEF12345"),
        ({"id": "cus_QabcDEF12345", "email": "ada@example.com"}, "cus_QabcDEF12345"),
        (None, None),
        ("ada@example.com", None),
        ("cus_", None),
        ({"id": {"a": 1}}, None),
        (["cus_QabcDEF12345"], None),
        (17, None),
    ],
)
def test_of_stripes_objects_stays_the_customer_by_his_id(customer: object, kept: str | None) -> None:
    event = said_by_stripe(id="pi_1", customer=customer, receipt_email="ada@example.com", shipping={"name": "Ada"})

    content = remembering.content(event)

    assert content == {
        "id": "evt_1", "type": "payment_intent.succeeded", "object_id": "pi_1", **({"customer": kept} if kept else {})
    }  # fmt: skip


@pytest.mark.parametrize(
    ("message", "correlation", "order"),
    [
        (placed(None), external_id("ord", ORDER), external_id("ord", ORDER)),
        (placed(None), None, None),
        (said_by_stripe(id="pi_1", metadata={"order_id": "ord_1"}), None, "ord_1"),
        (said_by_stripe(id="pi_1", metadata={"order_id": "ord_1"}), "ord_2", "ord_2"),
        (said_by_stripe(id="pi_1"), None, None),
    ],
)
def test_a_message_is_about_the_order_that_it_names(
    message: Message, correlation: str | None, order: str | None
) -> None:
    assert remembering.order_of(message, correlation) == order


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (Refused("answer_lost", "x", status=504), Ended("unknown", "answer_lost")),
        (Refused("own_request", "x", status=403), Ended("refused", "own_request")),
        (Retryable("service_unavailable", "x"), Ended("refused", "service_unavailable")),
    ],
)
def test_only_a_lost_answer_leaves_unknown_what_became_of_an_act(error: PaymentsError, ended: Ended) -> None:
    assert ending.of_error(error) == ended
