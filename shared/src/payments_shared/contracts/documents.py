"""The contracts as documents for people and other programs: a JSON Schema per message, and AsyncAPI for who says what.

They are made from the models and the catalogue, and kept in the tree so that a change of a contract shows in review.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from payments_shared.contracts import stripe
from payments_shared.contracts.catalog import CATALOG, SERVICES, MessageType, heard_by, said_by
from payments_shared.contracts.compatibility import breaks
from payments_shared.messaging.envelope import BUCKETS, CONTENT_TYPE, wire_schema
from payments_shared.messaging.topology import EVENTS_EXCHANGE
from payments_shared.writing import put

Json = dict[str, Any]  # Any: JSON
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ENVELOPE: Final = "envelope"
ASYNCAPI: Final = "asyncapi.json"
SCHEMAS: Final = "schemas"


_STRIPE_OBJECTS: Final[Mapping[str, type[stripe.StripeObject]]] = {
    **dict.fromkeys(stripe.CHECKOUT_SESSION_TYPES, stripe.CheckoutSession),
    **dict.fromkeys(stripe.PAYMENT_INTENT_TYPES, stripe.PaymentIntent),
    **dict.fromkeys(stripe.SETUP_INTENT_TYPES, stripe.SetupIntent),
    **dict.fromkeys(stripe.PAYMENT_METHOD_TYPES, stripe.PaymentMethod),
    **dict.fromkeys(stripe.CUSTOMER_TYPES, stripe.Customer),
    **dict.fromkeys(stripe.CHARGE_TYPES + stripe.REFUNDED_TYPES, stripe.Charge),
    **dict.fromkeys(stripe.REFUND_TYPES, stripe.Refund),
    **dict.fromkeys(stripe.REVIEW_TYPES, stripe.Review),
    **dict.fromkeys(stripe.WARNING_TYPES + stripe.CHANGED_WARNING_TYPES, stripe.EarlyFraudWarning),
    **dict.fromkeys(stripe.DISPUTE_TYPES, stripe.Dispute),
}


class Incompatible(Exception):
    """A snapshot cannot be replaced: the change would break readers. The message names type, field and change."""


def documents() -> dict[str, Json]:
    """Every document by its path below the folder of contracts."""
    schemas = {ENVELOPE: wire_schema(), **{name: _schema(entry) for name, entry in CATALOG.items()}}
    found = {f"{SCHEMAS}/{name}.json": _titled(name, schema) for name, schema in schemas.items()}
    return {**found, ASYNCAPI: _asyncapi()}


def as_text(document: Mapping[str, Any]) -> str:
    """A document as it stands in its file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def incompatibilities(folder: Path) -> list[str]:
    """What the code changed since the snapshots in `folder` that would break readers, a line each."""
    made = documents()
    found = []
    for path in sorted((folder / SCHEMAS).glob("*.json")):
        name = path.stem
        now = made.get(f"{SCHEMAS}/{path.name}")
        if now is None:
            found.append(f"{name}: the type is no longer in the catalogue, and messages of it may still wait")
            continue
        found += [f"{name}: {change}" for change in breaks(json.loads(path.read_text(encoding="utf-8")), now)]
    return found


def write(folder: Path) -> list[str]:
    """Bring the documents in `folder` up to date and return the paths that changed.

    Raises:
        Incompatible: a change would break readers; nothing was written.
    """
    if found := incompatibilities(folder):
        raise Incompatible("\n".join(found))
    changed = []
    for name, document in documents().items():
        path, text = folder / name, as_text(document)
        path.parent.mkdir(parents=True, exist_ok=True)
        if put(path, text):
            changed.append(name)
    return changed


# -- JSON Schema -----------------------------------------------------------------------------------------------------


def _schema(entry: MessageType) -> Json:
    schema: Json = entry.model.model_json_schema(mode="serialization")
    if entry.model is stripe.StripeEvent:
        name = entry.name.removeprefix(stripe.PREFIX)
        _narrow(schema, name, _stripe_object(name))
    return schema


def _stripe_object(stripe_type: str) -> type[stripe.StripeObject]:
    """What readers make of `data.object`."""
    return _STRIPE_OBJECTS[stripe_type]


def _narrow(schema: Json, stripe_type: str, model: type[stripe.StripeObject]) -> None:
    subject = model.model_json_schema(mode="validation")
    schema["$defs"] |= subject.pop("$defs", {})
    schema["$defs"][model.__name__] = subject
    schema["$defs"]["EventData"]["properties"]["object"] = {"$ref": f"#/$defs/{model.__name__}"}
    schema["properties"]["type"] = {"type": "string", "const": stripe_type}


def _titled(name: str, schema: Json) -> Json:
    return {"$schema": DIALECT, "$id": f"urn:payments:message:{name}", **schema}


# -- AsyncAPI --------------------------------------------------------------------------------------------------------


def _asyncapi() -> Json:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Payments: messages between services",
            "version": "1.0.0",
            "description": "Structured CloudEvents over RabbitMQ. Messages arrive at least once and in any order. "
            "Fields are only added within a type; readers ignore what they do not know.",
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {"broker": {"host": "rabbitmq:5672", "protocol": "amqp", "pathname": "/payments"}},
        "channels": {entry.name: _channel(entry) for entry in CATALOG.values()},
        "operations": dict(_operations()),
        "components": {
            "messages": {entry.name: _message(entry) for entry in CATALOG.values()},
            "parameters": {
                "bucket": {
                    "description": f"b00 to b{BUCKETS - 1}: a hash of the envelope's partitionkey, so that a service "
                    "can move to partitioned queues without its publishers knowing.",
                    "examples": ["b07"],
                }
            },
        },
    }


def _channel(entry: MessageType) -> Json:
    exchange = {
        "name": EVENTS_EXCHANGE,
        "type": "topic",
        "durable": True,
        "autoDelete": False,
        "vhost": "/payments",
    }
    return {
        "address": f"{entry.name}.{{bucket}}",
        "messages": {entry.name: {"$ref": f"#/components/messages/{entry.name}"}},
        "parameters": {"bucket": {"$ref": "#/components/parameters/bucket"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0"}},
    }


def _message(entry: MessageType) -> Json:
    about = (entry.model.__doc__ or entry.name).strip().splitlines()[0]
    data = {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"$ref": f"./{SCHEMAS}/{entry.name}.json"}, "type": {"const": entry.name}},
    }
    return {
        "name": entry.name,
        "summary": about,
        "contentType": CONTENT_TYPE,
        "payload": {"allOf": [{"$ref": f"./{SCHEMAS}/{ENVELOPE}.json"}, data]},
    }


def _operations() -> Iterable[tuple[str, Json]]:
    for service in SERVICES:
        for entry in said_by(service):
            yield f"{service}.says.{entry.name}", _operation("send", service, entry)
    for service in SERVICES:
        for entry in heard_by(service):
            yield (
                f"{service}.hears.{entry.name}",
                {**_operation("receive", service, entry), "x-queue": f"{service}.events"},
            )
    for entry in CATALOG.values():
        for service in sorted(entry.hearers) if entry.command else ():
            yield (
                f"{service}.hears.{entry.name}",
                {**_operation("receive", service, entry), "x-queue": f"{service}.work"},
            )


def _operation(action: str, service: str, entry: MessageType) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{entry.name}"},
        "messages": [{"$ref": f"#/channels/{entry.name}/messages/{entry.name}"}],
        "tags": [{"name": service}],
    }
