"""The rules of refunds, in versions."""

from typing import Final

from pydantic import TypeAdapter

from payments_shared.postgres import Connection, fetch_as
from refunds.model.requests import Person
from refunds.model.rules import RuleChange, Rules
from refunds.store.refunds import QUERIES

_RULES: Final = TypeAdapter(Rules)


async def load_rules(connection: Connection) -> Rules | None:
    """The newest version; None as long as nobody made one."""
    row = await connection.fetchrow(QUERIES["load_rules"])
    return None if row is None else read_rules({**row["rules"], "version": row["version"]})


def read_rules(kept: object) -> Rules:
    """Rules as they are kept, with their version."""
    return _RULES.validate_python(kept)


async def insert_rules(connection: Connection, rules: Rules, before: Rules, actor: Person, reason: str) -> bool:
    """Save a version after `before`; False when somebody was quicker."""
    kept, former = (_RULES.dump_python(one, mode="json") for one in (rules, before))
    made = await connection.fetchval(
        QUERIES["insert_rules"], rules.version, kept, former, actor.subject, actor.email, reason
    )
    return made is not None


async def list_rules(connection: Connection, limit: int) -> list[RuleChange]:
    """The versions, the newest first."""
    return await fetch_as(connection, RuleChange, QUERIES["list_rules"], limit)
