"""A machine without servers gets them out of the distribution's packages, or is told the command that helps."""

import os
from pathlib import Path

import asyncpg
import pytest

from sandbox.services import debian_packages, postgres_server, rabbitmq_server
from sandbox.services.postgres_server import PostgresServer, packaged_bindir
from sandbox.services.rabbitmq_server import RabbitmqServer, packaged
from sandbox.services.resolver import VARIABLES, ServersUnavailable, private_servers, start_servers
from tests.support.left_out import left_out


@pytest.fixture
def packages() -> None:
    """Ends the test where the system has no packages to unpack."""
    if not debian_packages.available():
        left_out("apt-get, apt-cache and dpkg-deb")


@pytest.mark.usefixtures("packages")
async def test_postgresql_out_of_its_package_serves_without_being_installed() -> None:
    bindir = packaged_bindir()
    server = PostgresServer(bindir)

    server.start()

    try:
        connection = await asyncpg.connect(server.dsn)
        assert "PostgreSQL" in await connection.fetchval("SELECT version()")
        await connection.close()
    finally:
        server.remove()
    assert bindir.is_relative_to(debian_packages.cache_home())
    assert not server.home.exists()


@pytest.mark.usefixtures("packages")
def test_rabbitmq_out_of_its_package_serves_with_the_erlang_that_came_along() -> None:
    installation = packaged()
    server = RabbitmqServer(installation)

    try:
        server.start()
        overview = server.management("GET", "/api/overview")
    finally:
        server.remove()

    assert isinstance(overview, dict)
    assert installation.home.name == f"rabbitmq_server-{overview['rabbitmq_version']}"
    assert installation.erlang_bin is not None
    assert installation.erlang_bin.is_relative_to(debian_packages.cache_home())


@pytest.fixture
def no_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without servers, Docker and apt."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres_server, "installed_bindir", lambda: None)
    monkeypatch.setattr(rabbitmq_server, "installed", lambda: None)


@pytest.mark.usefixtures("no_servers")
def test_without_apt_the_lines_that_help_are_said() -> None:
    with pytest.raises(ServersUnavailable) as refused, private_servers():
        pass

    said = str(refused.value).splitlines()
    assert any(line.endswith("systemctl start docker") for line in said)
    for name in VARIABLES:
        assert any(line.strip().startswith(f"export {name}=") for line in said)


@pytest.mark.usefixtures("no_servers")
def test_servers_named_by_halves_are_refused_with_the_lines_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES[0], "postgresql://127.0.0.1/postgres")

    with pytest.raises(ServersUnavailable) as refused, start_servers():
        pass

    assert f"export {VARIABLES[0]}=" not in str(refused.value)
    assert f"export {VARIABLES[1]}=" in str(refused.value)
    assert f"export {VARIABLES[2]}=" in str(refused.value)


@pytest.mark.usefixtures("no_servers")
def test_without_package_lists_the_install_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lists() -> Path:
        raise debian_packages.PackagesUnavailable("no package lists for postgresql")

    monkeypatch.setattr(debian_packages, "available", lambda: True)
    monkeypatch.setattr(postgres_server, "packaged_bindir", no_lists)

    with pytest.raises(ServersUnavailable) as refused, private_servers():
        pass

    sudo = "" if os.geteuid() == 0 else "sudo "
    assert f"run: {sudo}apt-get update && {sudo}apt-get install" in str(refused.value)
