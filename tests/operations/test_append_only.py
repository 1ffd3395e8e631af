"""The audit of what operators did can be added to, and by nobody changed."""

import asyncpg
import pytest

from tests.operations.desk import LETTERS, Desk, unheld


@pytest.mark.parametrize("login", ["operations", "owner"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE operations.dead_letter_audit SET actor = 'nobody'",
        "UPDATE operations.dead_letter_audit SET actor = 'nobody' WHERE false",
        "DELETE FROM operations.dead_letter_audit",
        "TRUNCATE operations.dead_letter_audit",
        "UPDATE operations.restores SET actor = 'nobody'",
        "DELETE FROM operations.restores",
        "UPDATE operations.audit_outcomes SET outcome = 'done'",
        "DELETE FROM operations.audit_outcomes",
        "TRUNCATE operations.audit_outcomes",
    ],
)
async def test_nobody_changes_the_audit(desk: Desk, login: str, statement: str) -> None:
    letter = (await desk.fail([unheld()]))[0]
    await desk.call("POST", f"{LETTERS}/{letter}/replay", {"reason": "a test"})
    provisioned = desk.deployment.provisioned
    urls = {"operations": provisioned.database_urls["operations"], "owner": provisioned.owner_database_url}
    connection = await asyncpg.connect(urls[login])
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()
    assert {row["actor"] for row in await desk.audit([letter])} >= {"olga"}


async def test_failures_once_kept_are_not_rewritten(desk: Desk) -> None:
    await desk.fail([unheld()])
    connection = await asyncpg.connect(desk.deployment.provisioned.database_urls["operations"])
    try:
        for statement in (
            "UPDATE dead_letter_attempts SET reason = 'x'",
            "DELETE FROM dead_letter_attempts",
            "DELETE FROM dead_letters",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement.replace("dead_letter", "operations.dead_letter", 1))
    finally:
        await connection.close()


async def test_every_act_has_who_and_why(desk: Desk) -> None:
    """Also the one that only reads: what was taken out of the house is written down."""
    letters = await desk.fail([unheld() for _ in range(3)])
    bulk = await desk.start("discard", filter={"ids": letters[:1]}, who="piet")
    await desk.until(bulk["id"], "done")
    status, page = await desk.call(
        "POST", f"{LETTERS}/export", {"reason": "for the accountant", "filter": {"ids": letters[1:]}}, who="jo"
    )

    assert (status, {row["id"] for row in page["dead_letters"]}, page["next"]) == (200, set(letters[1:]), None)
    sql = "SELECT action, actor, reason FROM operations.dead_letter_audit WHERE actor = ANY ($1) ORDER BY id"
    assert [tuple(row) for row in await desk.owner.fetch(sql, ["piet", "jo"])] == [
        ("bulk_discard", "piet", "a test"),
        ("discard", "piet", "a test"),
        ("export", "jo", "for the accountant"),
    ]
    lacking = "SELECT count(*) FROM operations.dead_letter_audit WHERE actor = '' OR length(reason) < 3"
    assert await desk.owner.fetchval(lacking) == 0
