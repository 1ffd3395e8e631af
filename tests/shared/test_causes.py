"""A message names what it was said because of, and that is something which everybody can have heard."""

from typing import Any
from uuid import UUID

from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import CATALOG
from payments_shared.contracts.checkout import OrderUnheld
from payments_shared.contracts.message import is_command
from payments_shared.ids import new_id
from payments_shared.messaging import Envelope
from payments_shared.messaging.envelope import decode
from payments_shared.messaging.outbox import Transaction


def envelope(type_: str, cause: UUID | None) -> Envelope:
    return Envelope(
        id=new_id(),
        source="payments/checkout",
        type=type_,
        subject="order/ord_1",
        time=utc_now(),
        partitionkey="ord_1",
        causationid=str(cause) if cause else None,
    )


def cause_said(cause: Envelope) -> str | None:
    """What a message names as its cause that is said while `cause` is handled."""
    nowhere: Any = None
    tx = Transaction(nowhere, "payments/checkout", False, cause)
    tx.announce(OrderUnheld(order_id=new_id()))
    return decode(tx.rows[0].body)[0].causationid


def test_commands_are_known_by_their_names() -> None:
    assert {name for name, entry in CATALOG.items() if entry.command} == {name for name in CATALOG if is_command(name)}


def test_a_fact_is_the_cause_of_what_it_leads_to() -> None:
    fact = envelope("order.paid.v1", new_id())

    assert cause_said(fact) == str(fact.id)


def test_in_the_place_of_a_command_stands_what_it_was_said_because_of() -> None:
    """However many commands lie between, as each names what the one before did."""
    fact = new_id()
    command = envelope("notifications.cmd.deliver.v1", fact)

    assert cause_said(command) == str(fact)
    assert cause_said(envelope("checkout.cmd.fetch_session.v1", None)) is None, "of a request, or a sweep"
