"""Payment methods: attached to a customer, changed by him or by his bank, and detached for good."""

from typing import Any

from sandbox.stripe.errors import invalid
from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json


def attach(machine: Machine, method: Json, customer_id: str, *, redisplay: str | None = None) -> Json:
    """Give a method to a customer. `redisplay` says whether Checkout may offer it to him again."""
    _check_unspent(machine, method)
    method["customer"] = customer_id
    if redisplay is not None:
        method["allow_redisplay"] = redisplay
    machine.store.put("payment_method", method)
    machine.emit("payment_method.attached", method)
    return method


def check_usable(machine: Machine, method: Json, customer_id: str | None) -> None:
    """Refuse to charge what was detached, and what belongs to somebody else."""
    _check_unspent(machine, method)
    if method["customer"] not in (None, customer_id):
        raise invalid(
            f"The payment method `{method['id']}` does not belong to the Customer you supplied."
            " Please use this payment method with the customer that it belongs to instead.",
            param="payment_method",
        )


def _check_unspent(machine: Machine, method: Json) -> None:
    if machine.store.find("_spent", "spent_" + method["id"]):
        raise invalid(
            "This PaymentMethod was previously used without being attached to a Customer or was detached from a"
            " Customer, and may not be used again."
        )


def detach(machine: Machine, method: Json) -> Json:
    """Take a method from its customer. It can never be used again."""
    if method["customer"] is None:
        raise invalid(
            "The payment method you provided is not attached to a customer so detachment is impossible.",
            param="payment_method",
        )
    previous = {"customer": method["customer"]}
    method["customer"] = None
    machine.store.put("_spent", {"id": "spent_" + method["id"]})
    machine.store.put("payment_method", method)
    machine.emit("payment_method.detached", method, previous=previous)
    return method


def change_card(machine: Machine, method: Json, changes: dict[str, Any], event: str) -> Json:
    """Change what is known of a card, such as when it expires, and say so as `event`."""
    previous = {name: method["card"][name] for name, value in changes.items() if method["card"][name] != value}
    method["card"] = {**method["card"], **changes}
    machine.store.put("payment_method", method)
    machine.emit(event, method, previous={"card": previous} if previous else {})
    return method
