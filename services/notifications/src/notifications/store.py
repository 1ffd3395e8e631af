"""The SQL door of notifications."""

from collections.abc import Sequence
from uuid import UUID

from notifications.decide import INVITATIONS
from notifications.model import Letter, Mail, Rendered
from payments_shared.postgres import Connection, fetch_one_as
from payments_shared.queries import load_queries

_QUERIES = load_queries("notifications")


async def note_order(connection: Connection, order_id: UUID, family: UUID, email: str) -> None:
    """There is an order of this address. `family`: the order that it takes up again, else itself."""
    await connection.execute(_QUERIES["note_order"], order_id, family, email.lower())


async def settle_order(connection: Connection, order_id: UUID, email: str | None = None) -> None:
    """The order's money is here or on its way."""
    await connection.execute(_QUERIES["settle_order"], order_id, email.lower() if email else None)


async def lock_order(connection: Connection, order_id: UUID) -> None:
    """Whoever else decides by what was heard of the order, or written about it, waits until the transaction ends."""
    await connection.execute(_QUERIES["lock_order"], str(order_id))


async def is_invited(connection: Connection, order_id: UUID) -> bool:
    """Whether its buyer was invited to pay it, or another of its family."""
    return bool(await connection.fetchval(_QUERIES["is_invited"], order_id, sorted(INVITATIONS)))


async def lock_address(connection: Connection, email: str) -> None:
    """Whoever else writes an invitation to this address waits until the transaction ends."""
    await connection.execute(_QUERIES["lock_address"], email.lower())


async def is_invited_lately(connection: Connection, email: str, seconds: float) -> bool:
    """Whether an invitation to this address was written within the last `seconds`, to whichever order."""
    return bool(
        await connection.fetchval(_QUERIES["is_invited_lately"], email.lower(), sorted(INVITATIONS), float(seconds))
    )


async def why_not_invite(connection: Connection, order_id: UUID, email: str) -> str | None:
    """Why nobody is invited to pay the order any more: `unsubscribed`, `paid`, `bought` or `taken_up`."""
    reason: str | None = await connection.fetchval(_QUERIES["why_not_invite"], order_id, email.lower())
    return reason


async def has_mail(connection: Connection, mail_id: UUID) -> bool:
    """Whether there is such a mail."""
    return bool(await connection.fetchval(_QUERIES["has_mail"], mail_id))


async def suppress(connection: Connection, mail_id: UUID) -> None:
    """No more invitations go to whoever got the mail."""
    await connection.execute(_QUERIES["suppress"], mail_id)


async def is_settled(connection: Connection, order_id: UUID) -> bool:
    """Whether it is."""
    return bool(await connection.fetchval(_QUERIES["is_settled"], order_id))


async def insert_mail(
    connection: Connection, mail_id: UUID, letter: Letter, rendered: Rendered, message_id: str
) -> bool:
    """Save a written mail; False when its cause has one."""
    row = await connection.fetchrow(
        _QUERIES["insert_mail"],
        mail_id,
        letter.kind.value,
        letter.ref,
        letter.order_id,
        letter.recipient,
        message_id,
        rendered.subject,
        rendered.html,
        rendered.plain,
    )
    return row is not None


async def claim_mail(connection: Connection, mail_id: UUID, lease_seconds: float) -> Mail | None:
    """The mail, for us alone to send; None when it is settled or another sends it."""
    return await fetch_one_as(connection, Mail, _QUERIES["claim_mail"], mail_id, lease_seconds)


async def renew_leases(connection: Connection, mails: Sequence[Mail], lease_seconds: float) -> None:
    """These mails are still being sent, by us."""
    ids, attempts = [mail.id for mail in mails], [mail.attempts for mail in mails]
    await connection.execute(_QUERIES["renew_leases"], ids, attempts, lease_seconds)


async def is_taken(connection: Connection, message_id: str) -> bool:
    """Whether the mail server took the mail in a time that a restore took away."""
    return bool(await connection.fetchval(_QUERIES["is_taken"], message_id))


async def is_unsettled(connection: Connection, mail_id: UUID) -> bool:
    """Whether the mail is still to be sent."""
    return bool(await connection.fetchval(_QUERIES["is_unsettled"], mail_id))


async def give_back_mail(connection: Connection, mail: Mail) -> None:
    """The mail was not sent; whoever comes next may."""
    await connection.execute(_QUERIES["give_back_mail"], mail.id, mail.attempts)


async def settle_mail(connection: Connection, mail_id: UUID, state: str, detail: str | None = None) -> bool:
    """Save what became of a mail; False when that was known."""
    return await connection.fetchrow(_QUERIES["settle_mail"], mail_id, state, detail) is not None


async def lock_unsent(connection: Connection, patience_seconds: float) -> list[tuple[UUID, str, str, UUID | None]]:
    """Mails that should have been sent by now, locked: (id, kind, ref, order)."""
    rows = await connection.fetch(_QUERIES["lock_unsent"], patience_seconds)
    return [(row["id"], row["kind"], row["ref"], row["order_id"]) for row in rows]


async def mark_asked(connection: Connection, mail_id: UUID) -> None:
    """A command to deliver the mail is under way."""
    await connection.execute(_QUERIES["mark_asked"], mail_id)
