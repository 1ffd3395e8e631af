"""The SQL door of notifications."""

from uuid import UUID

from notifications.model import Letter, Mail, Rendered
from payments_shared.postgres import Connection, fetch_one_as
from payments_shared.queries import load_queries

_QUERIES = load_queries("notifications")


async def settle_order(connection: Connection, order_id: UUID) -> None:
    """The order's money is here or on its way."""
    await connection.execute(_QUERIES["settle_order"], order_id)


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


async def claim_mail(connection: Connection, mail_id: UUID) -> Mail | None:
    """The mail, for us to send; None when it is settled."""
    return await fetch_one_as(connection, Mail, _QUERIES["claim_mail"], mail_id)


async def settle_mail(connection: Connection, mail_id: UUID, state: str, detail: str | None = None) -> None:
    """Save what became of a mail."""
    await connection.execute(_QUERIES["settle_mail"], mail_id, state, detail)


async def take_unsent(connection: Connection, after_seconds: float) -> list[tuple[UUID, str, str, UUID | None]]:
    """Mails that should have been sent by now: (id, kind, ref, order)."""
    rows = await connection.fetch(_QUERIES["list_unsent"], after_seconds)
    for row in rows:
        await connection.execute(_QUERIES["touch_mail"], row["id"])
    return [(row["id"], row["kind"], row["ref"], row["order_id"]) for row in rows]
