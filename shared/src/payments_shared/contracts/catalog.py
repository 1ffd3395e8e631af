"""Who says what, and who hears it: the one table from which bindings and permissions are made."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from payments_shared.contracts import (
    checkout,
    dead_letter,
    fulfillment,
    inventory,
    notifications,
    refunds,
    stripe,
)
from payments_shared.contracts.message import Message

CONSUMERS: Final = ("checkout", "inventory", "fulfillment", "refunds", "notifications", "operations")
SERVICES: Final = ("webhook-ingest", *CONSUMERS)
WORKERS: Final = ("checkout", "refunds", "notifications")
"""Services that send commands to themselves."""


def schema_name(service: str) -> str:
    """The PostgreSQL schema, and the Python package, of a service."""
    return service.replace("-", "_")


@dataclass(frozen=True, slots=True)
class MessageType:
    """One type with its speakers and hearers. `model` is StripeEvent for every Stripe type."""

    name: str
    model: type[Message]
    speakers: frozenset[str]
    hearers: frozenset[str]
    command: bool = False


def _stripe(*types: str) -> tuple[str, ...]:
    return tuple(stripe.message_type(name) for name in types)


_HEARD: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "checkout": (
            *_stripe(*(name for name in stripe.EVENT_TYPES if name not in stripe.TOLD_REFUNDS)),
            "stock.committed.v1",
            "stock.released.v1",
            "stock.shortfall.v1",
            "shipment.created.v1",
            "shipment.shipped.v1",
            "shipment.delivered.v1",
            "shipment.canceled.v1",
            "shipment.returned.v1",
            "digital.delivered.v1",
            "refund.requested.v1",
            "refund.approved.v1",
            "refund.rejected.v1",
            "refund.succeeded.v1",
            "refund.failed.v1",
            "refund.canceled.v1",
            "store_credit.issued.v1",
            "dispute.opened.v1",
            "dispute.won.v1",
            "dispute.lost.v1",
        ),
        "inventory": (
            "order.processing.v1",
            "order.paid.v1",
            "order.payment_failed.v1",
            "order.payment_retrying.v1",
            "order.expired.v1",
            "order.canceled.v1",
            "shipment.canceled.v1",
            "shipment.returned.v1",
        ),
        "fulfillment": (
            "order.paid.v1",
            "order.held.v1",
            "order.unheld.v1",
            "stock.committed.v1",
            "refund.approved.v1",
            "refund.rejected.v1",
            "refund.succeeded.v1",
            "refund.failed.v1",
            "refund.canceled.v1",
            "dispute.opened.v1",
            "dispute.won.v1",
            "dispute.lost.v1",
        ),
        "refunds": (
            *_stripe(*stripe.TOLD_REFUNDS, *stripe.WARNING_TYPES, *stripe.CHARGED_TYPES),
            "order.paid.v1",
            "order.refund_due.v1",
            "stock.shortfall.v1",
            "shipment.canceled.v1",
            "store_credit.booked.v1",
            "store_credit.released.v1",
            "store_credit.refused.v1",
            "order.placed.v1",
            "shipment.created.v1",
            "shipment.shipped.v1",
            "shipment.delivered.v1",
            "shipment.returned.v1",
            "digital.delivered.v1",
            "notification.sent.v1",
        ),
        "notifications": (
            "order.placed.v1",
            "order.paid.v1",
            "order.payment_failed.v1",
            "order.payment_retrying.v1",
            "order.expired.v1",
            "order.held.v1",
            "order.credit_returned.v1",
            "order.sold_out.v1",
            "shipment.shipped.v1",
            "shipment.delivered.v1",
            "refund.pending.v1",
            "refund.succeeded.v1",
            "refund.failed.v1",
            "refund.canceled.v1",
            "refund.left_to_staff.v1",
            "dispute.opened.v1",
            "dispute.won.v1",
            "dispute.lost.v1",
            "dispute.due.v1",
            "stock.low.v1",
            "payment_method.expiring.v1",
        ),
    }
)


def _entries() -> Iterable[MessageType]:
    said: list[tuple[str, type[Message], frozenset[str]]] = [
        (stripe.message_type(name), stripe.StripeEvent, frozenset({stripe.OWNER})) for name in stripe.EVENT_TYPES
    ]
    for owner in (checkout, inventory, fulfillment, refunds, notifications):
        said += [(model.TYPE, model, frozenset({owner.OWNER})) for model in owner.EVENTS]
    said += [(model.TYPE, model, frozenset(CONSUMERS)) for model in dead_letter.EVENTS]
    for name, model, speakers in said:
        hearers = {service for service, heard in _HEARD.items() if name in heard}
        yield MessageType(name, model, speakers, frozenset(hearers | {"operations"}))
    for owner in (checkout, refunds, notifications):
        for command in owner.COMMANDS:
            own = frozenset({owner.OWNER})
            yield MessageType(command.TYPE, command, own, own, command=True)


CATALOG: Final[Mapping[str, MessageType]] = MappingProxyType({entry.name: entry for entry in _entries()})


def heard_by(service: str) -> tuple[MessageType, ...]:
    """The facts that `service` subscribes to; commands are not among them."""
    return tuple(entry for entry in CATALOG.values() if service in entry.hearers and not entry.command)


def commands_of(service: str) -> tuple[MessageType, ...]:
    """The commands that `service` sends to itself."""
    return tuple(entry for entry in CATALOG.values() if entry.command and service in entry.hearers)


def said_by(service: str) -> tuple[MessageType, ...]:
    """Everything that `service` may publish, commands to itself included."""
    return tuple(entry for entry in CATALOG.values() if service in entry.speakers)


def business_hearers(name: str) -> frozenset[str]:
    """Who acts on `name`; operations only keeps a copy and does not count."""
    return CATALOG[name].hearers - {"operations"}
