"""What a round of a sweep counts as: only one that looked at everything has succeeded."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from payments_shared.errors import Retryable
from payments_shared.metrics import REGISTRY
from payments_shared.postgres import Pool, acquire, open_pool
from payments_shared.sweeper import Outcome, Round, Sweep, outcome_of, sweep_every
from sandbox.services.resolver import Servers
from tests.shared.messaging import metric
from tests.support.deadline import eventually


@pytest.mark.parametrize(
    ("done", "outcome"),
    [
        (Round(), Outcome.CLEAN),
        (Round(healed=3), Outcome.HEALED),
        (Round(failed=1), Outcome.FAILED),
        (Round(healed=3, failed=1), Outcome.FAILED),
        (None, Outcome.SKIPPED),
    ],
)
def test_a_round_succeeds_only_when_it_looked_at_everything(done: Round | None, outcome: Outcome) -> None:
    assert outcome_of(done) is outcome


def test_rounds_add_up() -> None:
    assert sum([Round(healed=1), Round(failed=2), Round(3, 4)], start=Round()) == Round(healed=4, failed=6)


@pytest_asyncio.fixture(loop_scope="session")
async def pool(servers: Servers) -> AsyncIterator[Pool]:
    """Two connections: one for a round, one for another instance."""
    opened = await open_pool(servers.admin_dsn, schema="public", application_name="test", max_size=2)
    yield opened
    await opened.close()


async def _rounds_of(sweep: Sweep, name: str, pool: Pool) -> dict[Outcome, float]:
    """Rounds by outcome, once three have ended."""
    stopping = asyncio.Event()
    running = asyncio.ensure_future(sweep_every(0.01, sweep, name=name, pool=pool, stopping=stopping))

    def counted() -> dict[Outcome, float]:
        return {one: metric("payments_sweeps_total", sweep=name, outcome=one) for one in Outcome}

    async def ended() -> bool:
        return sum(counted().values()) >= 3

    await eventually(ended, what="three rounds")
    stopping.set()
    await running
    return {outcome: count for outcome, count in counted().items() if count}


def _name() -> str:
    return f"test:{secrets.token_hex(4)}"


@pytest.mark.servers
async def test_a_round_that_another_instance_is_doing_is_skipped(pool: Pool) -> None:
    name = _name()

    async def sweep() -> Round:
        raise AssertionError("somebody else is at it")

    async with acquire(pool) as other:
        await other.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", name)
        rounds = await _rounds_of(sweep, name, pool)
        await other.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", name)

    assert rounds.keys() == {Outcome.SKIPPED}


@pytest.mark.servers
async def test_a_round_that_met_what_is_away_has_failed_and_heals_no_streak(pool: Pool) -> None:
    name, streak, found = _name(), "payments_sweeps_healing", iter([Round(healed=2), Round(healed=1)])

    async def sweep() -> Round:
        if (done := next(found, None)) is not None:
            return done
        raise Retryable("stripe_unavailable", "No answer.")

    rounds = await _rounds_of(sweep, name, pool)

    assert rounds.keys() == {Outcome.HEALED, Outcome.FAILED}
    assert metric(streak, sweep=name) == 2


@pytest.mark.servers
async def test_every_outcome_is_exposed_from_the_beginning(pool: Pool) -> None:
    """The first failure of all is a rise, which an alert sees."""
    name, stopping, asked = _name(), asyncio.Event(), asyncio.Event()

    async def sweep() -> Round:
        asked.set()
        await stopping.wait()
        return Round()

    running = asyncio.ensure_future(sweep_every(0.01, sweep, name=name, pool=pool, stopping=stopping))
    await asked.wait()
    exposed = [REGISTRY.get_sample_value("payments_sweeps_total", {"sweep": name, "outcome": one}) for one in Outcome]
    stopping.set()
    await running

    assert exposed == [0.0] * 4
