"""The message that webhook-ingest says for an event of `bench.events`, for benches that do without the endpoint."""

import json
from datetime import UTC, datetime

from payments_shared.contracts.stripe import message_type, partition_key
from payments_shared.ids import derived_id
from payments_shared.messaging import Envelope
from payments_shared.messaging.outbox import OutboxRow, outbox_row


def row_of(body: bytes) -> OutboxRow:
    """The row of the outbox that tells the event in `body`."""
    event = json.loads(body)
    key = partition_key(event["data"]["object"])
    envelope = Envelope(
        id=derived_id("stripe", "", event["id"]),
        source="payments/webhook-ingest",
        type=message_type(event["type"]),
        subject=f"stripe_event/{event['id']}",
        time=datetime.fromtimestamp(event["created"], UTC),
        partitionkey=key,
        correlationid=key,
    )
    return outbox_row(envelope, body)
