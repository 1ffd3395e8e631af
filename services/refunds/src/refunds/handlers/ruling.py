"""Rules are made by people, one version after the other, and none is ever changed."""

from dataclasses import dataclass

from payments_shared.errors import Refused
from payments_shared.messaging import Outbox
from payments_shared.postgres import Connection, acquire
from refunds.decide.ruling import DEFAULT_RULES
from refunds.model.requests import Person
from refunds.model.rules import RuleChange, Rules
from refunds.store import rules as store


async def current_rules(connection: Connection) -> Rules:
    """The rules that bind."""
    return await store.load_rules(connection) or DEFAULT_RULES


@dataclass(frozen=True, slots=True)
class Ruling:
    """The rules and their changes."""

    outbox: Outbox

    async def current(self) -> Rules:
        """The rules that bind."""
        async with acquire(self.outbox.pool) as connection:
            return await current_rules(connection)

    async def put(self, wanted: Rules, actor: Person, reason: str) -> Rules:
        """Let `wanted` bind, which follows the version that its maker saw.

        Raises:
            Refused: 409 `rules_changed`: it is not the newest any more.
        """
        async with acquire(self.outbox.pool) as connection, connection.transaction():
            before = await current_rules(connection)
            if wanted.version != before.version + 1 or not await store.insert_rules(
                connection, wanted, before, actor, reason
            ):
                raise Refused("rules_changed", "Somebody made another version; look at it first.")
        return wanted

    async def changes(self, limit: int) -> list[RuleChange]:
        """The versions, the newest first."""
        async with acquire(self.outbox.pool) as connection:
            return await store.list_rules(connection, limit)
