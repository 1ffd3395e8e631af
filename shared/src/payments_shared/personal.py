"""What tells who a buyer is, taken out of what is shown to people who need not know: his name, where he lives, how he
is reached, from where he came. What names him to a machine alone, as `cus_…` does, stays.

Names are those of Stripe's objects and of our messages. Where one of them holds an object, all of it is hidden.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from payments_shared.redaction import quoted_members, without_refused, without_value
from payments_shared.strict_json import MalformedJson, strict_json_loads

HIDDEN: Final = "[hidden]"
NAMES: Final = frozenset(
    {
        "account_holder_name", "account_number", "address", "billing_address", "billing_details", "city", "client",
        "client_ip", "collected_information", "custom_fields", "customer_address", "customer_communication",
        "customer_details", "customer_email", "customer_email_address", "customer_name", "customer_phone",
        "customer_purchase_ip", "customer_shipping", "customer_signature", "customer_tax_ids", "date_of_birth", "dob",
        "email", "first_name", "full_name", "iban", "individual_name", "ip", "ip_address", "last_name", "line1",
        "line2", "owner", "payer_details", "payer_email", "payer_name", "phone", "postal_code", "receipt_email",
        "receipt_number", "receipt_url", "recipient", "shipping", "shipping_address", "shipping_details", "tax_id",
        "tax_ids", "user_agent", "verified_address", "verified_email", "verified_name", "verified_phone", "zip",
    }
)  # fmt: skip
"""Members that are a person's whatever they hold."""
PEOPLE: Final = frozenset({"buyer", "cardholder", "customer", "individual", "previous_attributes"})
"""Members whose `name` and `description` are a person's, and not those of something that is sold."""

_OF_PEOPLE: Final = frozenset({"name", "description"})
_PART: Final = r"""[^\s@<>()\[\]{}"'\\,;:=/|]"""  # of an address; begun where such a part begins, a search is linear
_ADDRESSES: Final = re.compile(rf"(?<!{_PART}){_PART}+@{_PART}+\.{_PART}+")
_MEMBERS: Final = quoted_members(NAMES | {"name"})


def hidden(value: Any) -> Any:  # Any: JSON, with bytes and column values in it
    """A value without what tells who somebody is. What tells nothing is returned as it is."""
    return _hidden(value, of_person=False)


def hidden_text(text: str) -> str:
    """A text without it: an exception's words, or a value of JSON."""
    return _ADDRESSES.sub(HIDDEN, _MEMBERS.sub(_hidden_member, without_refused(text, HIDDEN)))


def hidden_body(body: bytes) -> bytes:
    """A message's body without it. What is no JSON object may be anything, and is hidden whole."""
    if not body:
        return body
    try:
        value = strict_json_loads(body)
        shown = hidden(value)
    except (MalformedJson, RecursionError):
        return HIDDEN.encode()
    if not isinstance(value, dict):
        return HIDDEN.encode()
    return body if shown == value else json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode()


def is_personal(pointer: str) -> bool:
    """Whether a JSON pointer leads to what tells who somebody is."""
    steps = [_plain(step) for step in pointer.split("/")]
    return not NAMES.isdisjoint(steps) or (not PEOPLE.isdisjoint(steps) and steps[-1] in _OF_PEOPLE)


def _hidden(value: Any, *, of_person: bool) -> Any:  # Any: JSON
    match value:
        case str():
            return hidden_text(value)
        case bytes():
            return hidden_body(value)
        case Mapping():
            person = of_person or _is_person(value)
            return {_hidden_name(name): _member(name, inner, of_person=person) for name, inner in value.items()}
        case list() | tuple():
            return [_hidden(item, of_person=of_person) for item in value]
        case _:
            return value


def _member(name: object, value: Any, *, of_person: bool) -> Any:  # Any: JSON
    plain = _plain(name)
    personal = plain in NAMES or (of_person and plain in _OF_PEOPLE)
    if personal and value and not isinstance(value, bool):
        return HIDDEN
    return _hidden(value, of_person=plain in PEOPLE)


def _is_person(value: Mapping[Any, Any]) -> bool:  # Any: JSON
    """Stripe's customer says that it is one; elsewhere a name is a person's that stands beside an e-mail address."""
    return value.get("object") == "customer" or any(_plain(name) in ("email", "phone") for name in value)


def _hidden_name(name: object) -> object:
    return hidden_text(name) if isinstance(name, str) else name


def _hidden_member(match: "re.Match[str]") -> str:
    return without_value(match, HIDDEN)


def _plain(name: object) -> str:
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    return text.lower().replace("-", "_")
