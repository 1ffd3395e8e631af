"""One pair of servers for the whole run, one deployment for each worker."""

import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from xdist.remote import Producer

from sandbox.services import warm
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import VARIABLES, Servers, ServersUnavailable, start_servers
from tests.support import migrated
from tests.support.judged import judge_requests
from tests.support.left_out import judges, struck, what_was_left_out
from tests.support.shopping import Shopper
from tests.support.turns import Turns, turn_of

_stack = contextlib.ExitStack()
_said: list[str] = []


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers take up files in the order in which these come."""
    if _is_worker(config):
        items.sort(key=turn_of)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Turns:
    """Which files go to one worker together."""
    config.option.loadscopereorder = False
    return Turns(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    """The controller starts the servers; workers find them in their environment. None is an error, never a skip."""
    if session.config.option.collectonly:
        return
    if not session.config.option.numprocesses:  # who has workers starts no services
        _stack.enter_context(warm.kept())
    if _is_worker(session.config):
        return
    try:
        servers = _stack.enter_context(start_servers(say=_said.append))
    except ServersUnavailable as error:
        pytest.exit(f"no servers to test against: {error}", returncode=3)
    urls = (servers.admin_dsn, servers.amqp_url, servers.management_url)
    os.environ.update(zip(VARIABLES, urls, strict=True))
    if session.config.option.numprocesses:  # who runs a few files alone deploys once or twice
        migrated.migrate_once(servers)
        _stack.callback(migrated.remove, servers)


def pytest_sessionfinish() -> None:
    """What was started is stopped."""
    _stack.close()


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Say which servers were used, who judged, and what was left out."""
    for line in _said:
        terminalreporter.write_line(line)
    for judge in judges(terminalreporter.stats.get("passed", [])):
        terminalreporter.write_line(f"judged by {judge}")
    for line in struck(terminalreporter.stats.get("passed", [])):
        terminalreporter.write_line(line)
    missing = list(what_was_left_out(terminalreporter.stats.get("skipped", [])))
    if missing:
        terminalreporter.write_sep("!", f"LEFT OUT: {len(missing)} tests did not run", red=True, bold=True)
        for line in missing:
            terminalreporter.write_line(line, red=True)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The run's servers."""
    with start_servers() as found:
        yield migrated.with_migrated(found)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deployment(servers: Servers) -> AsyncIterator[Deployment]:
    """All services and the sandbox as processes, with logins of their own; one for each worker."""
    namespace = f"t{secrets.token_hex(4)}"
    names = ("stripe", "mailbox", "frontdoor", "webhook-ingest", "checkout", "inventory", "fulfillment", "refunds")
    all_names = (*names, "notifications", "operations", "shop")
    crowds = {"PAYMENTS_OPEN_ORDERS_PER_CUSTOMER": "100"}  # of one customer at one moment
    async with deploy(servers, namespace=namespace, names=all_names, extra=crowds) as running:
        yield running
        await judge_requests(running)


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(deployment: Deployment) -> AsyncIterator[Shopper]:
    """A buyer and an administrator of the deployment, with goods of their own."""
    async with Shopper.of(deployment) as made:
        yield made
