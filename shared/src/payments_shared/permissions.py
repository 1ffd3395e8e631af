"""`python -m payments_shared.permissions FILE`: write who may do what at PostgreSQL and RabbitMQ, as a page.

Made of what provisioning grants to everybody alike, of what each service's migrations grant and revoke beyond it, and
of the permissions that follow from the contracts. A test compares it with what the servers say.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from payments_shared.contracts.catalog import CONSUMERS, SERVICES, schema_name
from payments_shared.messaging.topology import EVENTS_EXCHANGE, permissions_of
from payments_shared.migrations import load_migrations
from payments_shared.provision import LOGIN_CONNECTIONS
from payments_shared.writing import write_page

_STATEMENT: Final = re.compile(
    r"^(?P<verb>GRANT|REVOKE)\s+(?P<rights>[A-Z, ]+?)\s+ON\s+(?!SCHEMA|ALL|FUNCTION|SEQUENCE)(?P<tables>[a-z_, ]+?)\s+"
    r"(?:TO|FROM)\s+(?P<role>[a-z_]+)\s*;",
    re.MULTILINE,
)
_EVERYWHERE: Final = frozenset({"SELECT", "INSERT", "UPDATE"})

HEAD: Final = """\
# Who may do what at the servers

Written by `make contracts` from provisioning, the migrations and the contracts; a test compares it with what
PostgreSQL and RabbitMQ say. Provisioning alone has administrators' logins.

## PostgreSQL

One database, in which `PUBLIC` may do nothing. Each service has a schema and a login, a member of the role
`<schema>_app`. It owns nothing and makes nothing. In its schema it reads, inserts and updates, except for what stands
here, and it only reads `schema_migrations`; in others it sees nothing. It may call `payments.business_now()` and, for
its own schema, `payments.keep_partitions()`, which makes and drops days of inbox and outbox.

| login | schema | never inserts into | never updates | deletes from |
|---|---|---|---|---|
"""
BETWEEN: Final = """\
| `auditor` | all, and `payments.bindings` | anything | anything | nothing; it calls `payments.business_now()` alone |

A login may hold {connections} connections. With the sandbox, and there alone, the login `sandbox` may move the
business clock and write `stripe_truth`, what the simulator holds to be true, which `auditor` reads.

## RabbitMQ

One vhost. Each service has a user; the patterns are RabbitMQ's, over names of queues and exchanges.

| user | configures | writes | reads |
|---|---|---|---|
"""
TOPICS: Final = """\

At topic exchanges the routing key decides as well: which keys a user publishes with, and which it binds.

| user | exchange | publishes | binds |
|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Exceptions:
    """The tables of a schema in which its service may do less, or more, than read, insert and update."""

    never_inserted: frozenset[str]
    never_updated: frozenset[str]
    deleted_from: frozenset[str]


def exceptions_of(service: str) -> Exceptions:
    """What the migrations of `service` grant and revoke, the last word about each table."""
    schema = schema_name(service)
    rights: dict[str, set[str]] = {}
    for migration in load_migrations(schema):
        for statement in _STATEMENT.finditer(migration.sql):
            if statement["role"] != f"{schema}_app":
                continue
            for table in _words(statement["tables"]):
                held = rights.setdefault(table, set(_EVERYWHERE))
                named = set(_words(statement["rights"]))
                rights[table] = held | named if statement["verb"] == "GRANT" else held - named
    return Exceptions(
        frozenset(table for table, held in rights.items() if "INSERT" not in held),
        frozenset(table for table, held in rights.items() if "UPDATE" not in held),
        frozenset(table for table, held in rights.items() if "DELETE" in held),
    )


def _words(text: str) -> Iterable[str]:
    return (word.strip() for word in text.split(","))


def page() -> str:
    """The page."""
    lines = [HEAD]
    for service in SERVICES:
        found = exceptions_of(service)
        schema = schema_name(service)
        tables = (found.never_inserted, found.never_updated, found.deleted_from)
        lines.append(f"| `{schema}` | `{schema}` | {' | '.join(map(_listed, tables))} |\n")
    lines.append(BETWEEN.format(connections=LOGIN_CONNECTIONS))
    for service in SERVICES:
        allowed = permissions_of(service)
        cells = " | ".join(_pattern(pattern) for pattern in (allowed.configure, allowed.write, allowed.read))
        lines.append(f"| `{service}` | {cells} |\n")
    lines.append(TOPICS)
    lines += [row for service in SERVICES for row in _topics(service)]
    return "".join(lines)


def _topics(service: str) -> Iterable[str]:
    for exchange, write, read in dict.fromkeys(
        (exchange.rstrip("0123456789"), write, read) for exchange, write, read in permissions_of(service).topics
    ):
        name = f"{exchange}<ms>" if exchange.endswith(".") else exchange
        cells = f"{_pattern(write)} | {_pattern(read)}"
        if exchange == EVENTS_EXCHANGE:
            heard = "the types that it hears" if service in CONSUMERS else "nothing"
            cells = f"the types that it says | {heard}"
        yield f"| `{service}` | `{name}` | {cells} |\n"


def _listed(tables: frozenset[str]) -> str:
    return ", ".join(f"`{table}`" for table in sorted(tables)) or "–"


def _pattern(text: str) -> str:
    return "nothing" if text == "^$" else "`" + text.replace("|", "\\|") + "`"


def main(arguments: list[str]) -> int:
    """The exit status: 0 written or current, 2 wrong usage."""
    return write_page(arguments, "payments_shared.permissions", page)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
