"""What an upsert does not name refuses it: PostgreSQL looks for a conflict only in the index that ON CONFLICT names, and
of two at once the second hits a unique index beside it as an error."""

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest_asyncio

from checkout.store.methods import insert_customer
from notifications.model import Kind, Letter, Rendered
from notifications.store import insert_mail
from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.ids import derived_id
from payments_shared.queries import load_queries
from sandbox.services.deployment import Deployment

AT_ONCE = 8
ROUNDS = 60
UPSERT = re.compile(r"INSERT INTO (?P<table>\w+)(?P<rest>.*?)ON CONFLICT (?P<target>\([^)]*\))?", re.DOTALL)
# Statements that name one index of several, and what keeps two of them apart.
KEPT_APART = {
    ("checkout", "store_session"): "the order's row is locked",
    ("checkout", "save_ledger"): "the order's row is locked",
    ("checkout", "keep_risks"): "ids are drawn, and never the same",
    ("checkout", "insert_grant"): "ids are drawn, and never the same",
    ("fulfillment", "save_shipments"): "the order's row is locked",
}

Connections = Sequence["asyncpg.Connection[asyncpg.Record]"]


@pytest_asyncio.fixture
async def connections(deployment: Deployment) -> AsyncIterator[Connections]:
    opened = [await asyncpg.connect(deployment.provisioned.owner_database_url) for _ in range(AT_ONCE)]
    yield opened
    for connection in opened:
        await connection.close()


async def test_of_first_requests_of_one_person_at_once_none_is_refused(connections: Connections) -> None:
    await searching(connections, "checkout")
    answers: Counter[str] = Counter()
    for _ in range(ROUNDS):
        subject = "race-" + secrets.token_hex(8)
        id_ = derived_id("customer", subject, "False")
        found = await asyncio.gather(
            *(insert_customer(one, id_, subject, None, livemode=False) for one in connections), return_exceptions=True
        )
        answers.update(type(answer).__name__ for answer in found)

    assert answers == {"NoneType": ROUNDS * AT_ONCE}


async def test_of_one_mail_that_is_written_by_several_at_once_there_is_one(connections: Connections) -> None:
    await searching(connections, "notifications")
    answers: Counter[object] = Counter()
    for _ in range(ROUNDS):
        ref = "race-" + secrets.token_hex(8)
        letter = Letter(Kind.PAYMENT_FAILED, ref, "ada@example.com", "en-US", {})
        rendered = Rendered("A race", "<p>A race</p>", "A race")
        found = await asyncio.gather(
            *(
                insert_mail(one, derived_id("mail", Kind.PAYMENT_FAILED, ref), letter, rendered, f"<{ref}@example.com>")
                for one in connections
            ),
            return_exceptions=True,
        )
        answers.update(answer if isinstance(answer, bool) else type(answer).__name__ for answer in found)
        await connections[0].execute("DELETE FROM mails WHERE ref = $1", ref)

    assert answers == {True: ROUNDS, False: ROUNDS * (AT_ONCE - 1)}


async def test_every_upsert_names_the_only_index_that_could_refuse_it(connections: Connections) -> None:
    several = {
        (row["schema"], row["name"])
        for row in await connections[0].fetch(
            """
            SELECT n.nspname AS schema, c.relname AS name
              FROM pg_index AS i
              JOIN pg_class AS c ON c.oid = i.indrelid
              JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE i.indisunique
             GROUP BY n.nspname, c.relname
            HAVING count(*) > 1
            """
        )
    }
    found = {
        (service, name)
        for service in SERVICES
        for name, statement in load_queries(schema_name(service)).items()
        for upsert in UPSERT.finditer(statement)
        if upsert["target"] is not None and (schema_name(service), upsert["table"]) in several
    }

    assert found == set(KEPT_APART)


async def searching(connections: Connections, schema: str) -> None:
    for connection in connections:
        await connection.execute(f"SET search_path TO {schema}")
