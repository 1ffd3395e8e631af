"""What is shown to people who need not know who a buyer is: nothing that tells it, wherever in a message it stands."""

import json
import time
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_shared.contracts.checkout import Address, Client, Customer, OrderPaid, OrderPlaced
from payments_shared.contracts.notifications import NotificationSent
from payments_shared.personal import HIDDEN, NAMES, PEOPLE, hidden, hidden_body, hidden_text, is_personal

ADDRESS: Final = {
    "line1": "C4n4ry Street 1",
    "line2": None,
    "city": "C4n4ry",
    "postal_code": "C4N 4RY",
    "country": "GB",
}
DETAILS: Final = {"email": "c4n4ry@example.com", "name": "Ada C4n4ry", "phone": "+44 c4n4ry", "address": ADDRESS}
STRIPES: Final = {
    "session": {
        "object": "checkout.session", "customer_details": DETAILS, "customer_email": "c4n4ry@example.com",
        "collected_information": {"shipping_details": {"name": "Ada C4n4ry", "address": ADDRESS}},
        "custom_fields": [{"key": "gift", "text": {"value": "for C4n4ry"}}],
    },
    "intent": {
        "object": "payment_intent", "receipt_email": "c4n4ry@example.com", "shipping": {"name": "C4n4ry", **ADDRESS},
        "charges": {"data": [{"billing_details": DETAILS, "receipt_url": "https://pay.stripe.com/c4n4ry"}]},
        "last_payment_error": {"payment_method": {"billing_details": DETAILS, "card": {"wallet": {"name": "C4n4ry", "email": "c4n4ry@x.io"}}}},
    },
    "customer": {"object": "customer", "name": "Ada C4n4ry", "description": "C4n4ry of Leeds", "phone": None, "metadata": {"note": "c4n4ry@example.com"}},
    "changed customer": {"data": {"object": {"object": "customer"}, "previous_attributes": {"name": "Ada C4n4ry"}}},
    "whole customer": {"object": "charge", "customer": {"id": "cus_1", "object": "customer", "name": "C4n4ry"}},
    "dispute": {"evidence": {"customer_name": "C4n4ry", "customer_purchase_ip": "c4n4ry", "customer_email_address": "c4n4ry"}},
    "wallet": {"payment_method_details": {"paypal": {"payer_email": "c4n4ry@x.io", "payer_name": "C4n4ry"}}},
    "bank": {"sepa_debit": {"iban": "C4N4RY"}, "us_bank_account": {"account_holder_name": "C4n4ry"}},
    "lists": [[{"a": [{"shipping": {"x": ["C4n4ry"]}}]}], ["c4n4ry@example.com"]],
    "another spelling": {"Client-IP": "c4n4ry", "EMAIL": "c4n4ry", "User-Agent": "c4n4ry"},
    "a number": {"postal_code": "c4n4ry", "zip": 12345},
    "a key": {"c4n4ry@example.com": 1},
    "within a text": {"note": '{"name": "C4n4ry", "email": "c4n4ry"}'},
}  # fmt: skip


@pytest.mark.parametrize("kind", STRIPES)
def test_who_a_buyer_is_is_gone_from_what_stripe_says(kind: str) -> None:
    for value in (STRIPES[kind], {"data": {"object": STRIPES[kind]}}, [STRIPES[kind]]):
        shown = json.dumps(hidden(value))
        assert "c4n4ry" not in shown.lower()
        assert "12345" not in shown
        assert HIDDEN in shown


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("value", ["c4n4ry", {"a": "c4n4ry"}, ["c4n4ry"], [{"a": {"b": "c4n4ry"}}], 17, b"c4n4ry"])
def test_a_members_whole_value_is_hidden(name: str, value: Any) -> None:
    assert hidden({"kept": {name: value, "amount": 17}}) == {"kept": {name: HIDDEN, "amount": 17}}


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("value", [None, "", {}, [], False, True, 0])
def test_what_holds_nothing_is_seen_to_hold_nothing(name: str, value: Any) -> None:
    assert hidden({name: value}) == {name: value}


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_a_persons_name_is_hidden_and_what_names_him_to_a_machine_stays(name: str) -> None:
    value = {name: {"name": "Ada", "description": "of Leeds", "id": "cus_1", "account": "ada-1", "locale": "en-GB"}}

    assert hidden(value) == {
        name: {"name": HIDDEN, "description": HIDDEN, "id": "cus_1", "account": "ada-1", "locale": "en-GB"}
    }
    assert hidden({name: [{"name": "Ada"}]}) == {name: [{"name": HIDDEN}]}
    assert hidden({name: "cus_1"}) == {name: "cus_1"}


@pytest.mark.parametrize(
    "value",
    [
        {"id": "pi_3Nabc", "object": "payment_intent", "amount": 1800, "customer": "cus_1", "description": "Order 17"},
        {"lines": [{"sku": "MUG-CLAY", "name": "Mug, clay", "description": "turned"}], "subject": "order/ord_1"},
        {"a": [1, 2.5, None, True, "v1.2.3", "a @ b", "https://example.com/@x", "@ada", "ada@", "ada@host"]},
        {"client_reference_id": "ord_1", "shipping_minor": 500, "shipping_option": {"name": "Express"}, "emails": 3},
    ],
)
def test_what_tells_nobody_stays(value: Any) -> None:
    assert hidden(value) == value
    body = json.dumps(value, indent=1).encode()
    assert hidden_body(body) is body, "byte for byte"


def test_our_own_messages_tell_viewers_nobody() -> None:
    """Members that a message gains later are found by this, as long as they are made of these parts."""
    customer = Customer(email="c4n4ry@example.com", name="C4n4ry", account="ada-1")
    address = Address(name="C4n4ry", line1="C4n4ry", city="C4n4ry", postal_code="C4n4ry", country="GB")
    client = Client(address="c4n4ry", user_agent="c4n4ry")
    common = {"order_id": "ord_" + "0" * 31 + "1", "currency": "usd", "subtotal_minor": 1, "discount_minor": 0, "total_minor": 1, "lines": []}  # fmt: skip
    at = "2026-08-26T12:00:00Z"
    placed = OrderPlaced.model_validate({**common, "customer": customer, "client": client, "expires_at": at})
    more = {"tax_minor": 0, "shipping_minor": 0, "payments": [], "paid_at": at, "shipping_address": address}
    paid = OrderPaid.model_validate({**common, "customer": customer, **more})
    mail = {"mail_id": "msg_" + "0" * 31 + "1", "kind": "k", "ref": "r", "message_id": "m"}
    sent = NotificationSent.model_validate({**mail, "recipient": "c4n4ry@example.com"})

    for message in (placed, paid, sent):
        shown = hidden_body(json.dumps({"id": "1", "data": message.model_dump(mode="json")}).encode())
        assert b"c4n4ry" not in shown.lower()
    assert b"ada-1" in hidden_body(paid.model_dump_json().encode())


@pytest.mark.parametrize(
    "text",
    [
        "no mail for c4n4ry@example.com today",
        "<c4n4ry@example.com>, (C4n4ry.x+y@mail.example.co.uk)",
        "1 validation error\n  Input should be a valid tuple [type=tuple_type, input_value='Ada C4n4ry', input_type=str]",
        "input_value={'name': 'C4n4ry', 'x': [1, 2]}, input_type=dict]\n input_value='C4n4ry', input_type=str]",
        "input_value='C4n4ry and so on",
        "null value in column\nDETAIL:  Failing row contains (1, C4n4ry,\nC4n4ry Street).",
        "duplicate key\nDETAIL:  Key (name)=(Ada C4n4ry) already exists.",
        "DETAIL:  Key (email)=(c4n4ry@example.com) already exists.",
        "Customer(email='c4n4ry', name='C4n4ry', locale='en')",
        '{"city": "C4n4ry", "postal_code": "C4n4ry',
        "{'customer': {'name': \"O'C4n4ry\"}}",
    ],
)
def test_the_words_of_an_exception_tell_nobody(text: str) -> None:
    shown = hidden_text(text)

    assert "c4n4ry" not in shown.lower()
    assert HIDDEN in shown


def test_what_is_no_object_is_hidden_whole() -> None:
    for body in (
        b"Ada Lovelace",
        b'["Ada"]',
        b'"Ada"',
        b"\xff\xfe",
        b'{"name": "Ada"',
        b"[" * 100_000,
        b'{"a":1,"a":2}',
    ):
        assert hidden_body(body) == HIDDEN.encode()
    assert hidden_body(b"") == b""


def test_a_long_text_takes_no_longer_than_its_length() -> None:
    started = time.monotonic()

    for text in (
        "a" * 500_000,
        "a." * 250_000,
        "a@" * 250_000,
        "@" * 500_000,
        "a@a" + "a" * 500_000,
        "name=" * 100_000,
    ):
        hidden_text(text)

    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("pointer", "personal"),
    [
        ("/data/customer/email", True),
        ("/data/customer/name", True),
        ("/data/shipping_address/line1", True),
        ("/data/shipping_address", True),
        ("/data/recipient", True),
        ("/data/lines/0/name", False),
        ("/data/reason", False),
        ("", False),
    ],
)
def test_a_pointer_says_whether_it_leads_to_a_person(pointer: str, personal: bool) -> None:
    assert is_personal(pointer) is personal


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([*sorted(NAMES), "name"]), inner),
    max_leaves=12,
)


@given(JSON)
def test_what_was_hidden_stays_as_it_is(value: Any) -> None:
    once = hidden(value)

    assert hidden(once) == once
