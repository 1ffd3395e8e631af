"""Which servers to use: those named by the environment, Docker's, installed ones, or the distribution's packages."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from sandbox.services import debian_packages, docker_servers, postgres_server, rabbitmq_server
from sandbox.services.postgres_server import PostgresServer
from sandbox.services.rabbitmq_server import Installation, RabbitmqServer

VARIABLES: Final = ("PAYMENTS_DATABASE_URL", "PAYMENTS_AMQP_URL", "PAYMENTS_RABBITMQ_MANAGEMENT_URL")
_EXAMPLES: Final = (
    "postgresql://USER:PASSWORD@HOST:5432/postgres",
    "amqp://USER:PASSWORD@HOST:5672/",
    "http://USER:PASSWORD@HOST:15672",
)

T = TypeVar("T")


class ServersUnavailable(RuntimeError):
    """No way to PostgreSQL and RabbitMQ on this machine; the message says the exact command that makes one."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Administrators' URLs. `postgres` and `rabbitmq` are there when the servers are our own children. `template` is a
    migrated database of theirs: new ones are copies of it."""

    admin_dsn: str
    amqp_url: str
    management_url: str
    backend: str
    postgres: PostgresServer | None = None
    rabbitmq: RabbitmqServer | None = None
    template: str | None = None


def docker_answers() -> bool:
    """Whether a Docker engine is there; the client alone is not enough."""
    if os.environ.get("PAYMENTS_NO_DOCKER") == "1" or not shutil.which("docker"):
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@contextlib.contextmanager
def start_servers(
    *, durable: bool = False, say: Callable[[str], None] = lambda _: None, max_connections: int = 300
) -> Iterator[Servers]:
    """The servers, for as long as the block runs.

    Raises:
        ServersUnavailable: none of the ways works here.
    """
    given = [os.environ.get(name) for name in VARIABLES]
    if all(given):
        say("servers: from the environment")
        yield Servers(str(given[0]), str(given[1]), str(given[2]), "environment")
        return
    if any(given):
        raise ServersUnavailable(_half_named(given))
    if docker_answers():
        say("servers: PostgreSQL and RabbitMQ in Docker")
        with docker_servers.started() as (dsn, amqp, management):
            yield Servers(dsn, amqp, management, "docker")
        return
    with private_servers(durable=durable, say=say, max_connections=max_connections) as servers:
        yield servers


@contextlib.contextmanager
def private_servers(
    *, durable: bool = False, say: Callable[[str], None] = lambda _: None, max_connections: int = 300
) -> Iterator[Servers]:
    """Servers of our own whatever else is there: for faults and measurements, which others must not feel.

    Raises:
        ServersUnavailable: no programs to run are installed or can be fetched.
    """
    bindir, postgres_source = _postgres(say)
    installation, rabbitmq_source = _rabbitmq(say)
    postgres = PostgresServer(bindir, durable=durable, max_connections=max_connections)
    rabbitmq = RabbitmqServer(installation)
    backend = f"PostgreSQL {postgres_source}, RabbitMQ {rabbitmq_source}"
    say(f"servers: starting {backend}")
    try:
        rabbitmq.launch()
        postgres.start()
        rabbitmq.wait_ready()
        yield Servers(postgres.dsn, rabbitmq.amqp_url, rabbitmq.management_url, backend, postgres, rabbitmq)
    finally:
        rabbitmq.remove()
        postgres.remove()


def _postgres(say: Callable[[str], None]) -> tuple[Path, str]:
    if found := postgres_server.installed_bindir():
        return found, f"installed in {found}"
    return _from_packages(postgres_server.packaged_bindir, "postgresql", say), "from the distribution's packages"


def _rabbitmq(say: Callable[[str], None]) -> tuple[Installation, str]:
    if found := rabbitmq_server.installed():
        return found, f"installed in {found.home}"
    return _from_packages(rabbitmq_server.packaged, "rabbitmq-server", say), "from the distribution's packages"


def _from_packages(unpack: Callable[[], T], package: str, say: Callable[[str], None]) -> T:
    if not debian_packages.available():
        raise ServersUnavailable(_without_packages(package))
    say(f"servers: fetching {package} (tens of megabytes the first time, kept in {debian_packages.cache_home()})")
    try:
        return unpack()
    except debian_packages.PackagesUnavailable as error:
        raise ServersUnavailable(f"{error}\nor run: {_install_command()}") from error


def _install_command() -> str:
    install = "apt-get install -y --no-install-recommends postgresql rabbitmq-server"
    return f"{debian_packages.as_root('apt-get update')} && {debian_packages.as_root(install)}"


def _exports(names: Sequence[str]) -> str:
    return "\n".join(f"  export {name}={url}" for name, url in zip(VARIABLES, _EXAMPLES, strict=True) if name in names)


def _half_named(given: Sequence[str | None]) -> str:
    missing = [name for name, value in zip(VARIABLES, given, strict=True) if not value]
    return f"only some of the servers are named; run:\n{_exports(missing)}\nor run: unset {' '.join(VARIABLES)}"


def _without_packages(package: str) -> str:
    if shutil.which("brew"):
        return f"{package} is not installed; run: brew install postgresql@17 rabbitmq"
    return (
        f"{package} is not installed, and there is no apt-get to fetch it with. Faults and benches need PostgreSQL and"
        " RabbitMQ installed here; for all else start Docker:\n"
        f"  {debian_packages.as_root('systemctl start docker')}\n"
        f"or name servers that run elsewhere:\n{_exports(VARIABLES)}"
    )
