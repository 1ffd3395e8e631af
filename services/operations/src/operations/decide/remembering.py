"""What the timeline keeps of a message: what was said, and nothing that tells who somebody is. Pure."""

import re
from typing import Any, Final

from payments_shared.contracts.message import Message
from payments_shared.contracts.stripe import StripeEvent, partition_key

_PERSONAL: Final = ("customer", "shipping_address", "client", "recipient")
_STRIPE_CUSTOMER: Final = re.compile(r"cus_[A-Za-z0-9_]{1,250}", re.ASCII)


def order_of(message: Message, correlation: str | None) -> str | None:
    """The order that a message is about, if anybody can say."""
    if correlation or not isinstance(message, StripeEvent):
        return correlation
    found = partition_key(message.data.object)
    return found if found.startswith("ord_") else None


def content(message: Message) -> dict[str, Any]:  # Any: JSON
    """Its data. Of a buyer stays who he is to Stripe (`cus_…`), or to the shop's sign-in (`account`): by these his
    orders are found, and by no name or address. Of Stripe's objects only the ids stay."""
    if isinstance(message, StripeEvent):
        return _of_stripe(message)
    data: dict[str, Any] = message.model_dump(mode="json")
    account = (data.get("customer") or {}).get("account")
    for name in _PERSONAL:
        data.pop(name, None)
    if _is_subject(account):
        data["customer"] = {"account": account}
    if not _is_subject(data.get("account")):
        data.pop("account", None)
    return data


def _of_stripe(event: StripeEvent) -> dict[str, Any]:  # Any: JSON
    about = event.data.object
    kept: dict[str, Any] = {"id": event.id, "type": event.type, "object_id": about.get("id")}
    customer = about.get("customer")
    if isinstance(customer, dict):  # where Stripe shows it whole
        customer = customer.get("id")
    if isinstance(customer, str) and _STRIPE_CUSTOMER.fullmatch(customer):
        kept["customer"] = customer
    return kept


def _is_subject(account: object) -> bool:
    return isinstance(account, str) and account != "" and "@" not in account
