"""`docker compose` for a deployment of processes: the words that the runbooks use, of the containers of `compose.yaml`.

Whoever types `docker` in the operator's shell reaches this. A container becomes the process of its name, `exec` runs its
program here, `run` that of `payctl` with its container's variables (the addresses in them become those of processes), and
what was changed in `deploy/.env` since reaches the process as it would reach its container.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from payments_shared.contracts.catalog import SERVICES
from sandbox.services.children import Child, clean_environment
from sandbox.services.deployment import Deployment
from tests.deploy.composed import COMPOSE, Container, containers, made_variables

FILE: Final = "deploy/compose.yaml"
POSTGRES, BROKER = "postgres", "rabbitmq"
TAIL: Final = 200
_SHIM: Final = """#!{python}
import json, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({socket!r})
    line.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    status, output = json.loads(line.makefile().readline())
sys.stdout.write(output)
sys.exit(status)
"""


@dataclass(slots=True)
class Compose:
    """The composition in `folder`, where an operator stands. `given`: what each process was started with beside its own
    settings."""

    deployment: Deployment
    folder: Path
    first: Mapping[str, Container] = field(init=False)
    given: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "deploy").mkdir()
        (self.folder / FILE).symlink_to(COMPOSE)
        made_variables(self.folder / "deploy")
        self.first = containers(self.variables())

    @property
    def path(self) -> Path:
        """Where `docker` lies."""
        return self.folder / "bin"

    def variables(self) -> dict[str, str]:
        """What `deploy/.env` says."""
        lines = (self.folder / "deploy/.env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def write(self, **variables: str) -> None:
        """Change what `deploy/.env` says."""
        kept = {**self.variables(), **variables}
        (self.folder / "deploy/.env").write_text("".join(f"{name}={value}\n" for name, value in kept.items()))

    @contextlib.asynccontextmanager
    async def obeyed(self) -> AsyncIterator[None]:
        """For as long as the block runs, `docker` in `path` is obeyed."""
        socket = str(self.folder / "docker.sock")
        self.path.mkdir()
        shim = self.path / "docker"
        shim.write_text(_SHIM.format(python=sys.executable, socket=socket))
        shim.chmod(0o700)
        async with await asyncio.start_unix_server(self._answer, socket):
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = json.loads(await reader.readline())
        answer = await asyncio.to_thread(self.obey, words)
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    def obey(self, words: list[str]) -> tuple[int, str]:
        """Status and output of one command."""
        if words[:3] != ["compose", "-f", FILE]:
            return 64, f"no such composition here: {words}\n"
        return self._obey(words[3:])

    def _obey(self, words: list[str]) -> tuple[int, str]:
        match words:
            case ["up", "-d", *options, name] if name in self.first:
                self.up(name, ready="--wait" in options)
                return 0, ""
            case ["restart", name] if name in self.first:
                self._stop(name)
                self.up(name, ready=False)
                return 0, ""
            case ["exec", "rabbitmq", program, *arguments] if self._child(BROKER).running:
                return self._of_broker(program, *arguments)
            case ["run", "--rm", "--no-deps", "-e", "LOGNAME", "-v", mount, "-w", inside, "payctl", *arguments]:
                return self._payctl(Path(mount.removesuffix(f":{inside}")), arguments)
            case ["logs", "--since", _, name] if name in self.first:
                return 0, self._child(name).tail(TAIL) + "\n"
            case _:
                return 1, f"this is not to be done here: {words}\n"

    def up(self, name: str, *, ready: bool) -> None:
        """Start a container that does not run, or whose settings have changed."""
        changed = self._changed(name)
        if self._child(name).running:
            if changed == self.given.get(name, {}):
                return
            self._stop(name)
        self.given[name] = changed
        servers = self.deployment.servers
        if name == POSTGRES:
            assert servers.postgres is not None
            servers.postgres.start()
        elif name == BROKER:
            assert servers.rabbitmq is not None
            servers.rabbitmq.start()
        else:
            self.deployment.start(name, **changed)
            if ready:
                self.deployment.wait_ready(name)

    def _changed(self, name: str) -> dict[str, str]:
        now, first = containers(self.variables())[name].environment, self.first[name].environment
        return {key: value for key, value in now.items() if value != first.get(key)} if name in SERVICES else {}

    def _stop(self, name: str) -> None:
        self._child(name).stop(timeout_seconds=30)

    def _child(self, name: str) -> Child:
        servers = self.deployment.servers
        of_servers = {POSTGRES: servers.postgres, BROKER: servers.rabbitmq}
        server = of_servers.get(name)
        child = server.child if server is not None else self.deployment.children[name]
        assert child is not None
        return child

    def _payctl(self, folder: Path, arguments: list[str]) -> tuple[int, str]:
        container, mapped = self.first["payctl"], self._addresses()
        variables = {name: mapped.get(value, value) for name, value in container.named_environment.items()}
        variables |= {
            "SANDBOX_COMPOSE_KEY_FILE": str(self.deployment.keys.people_key_file),
            "PAYMENTS_SERVICE_URLS": ",".join(f"{one}={self.deployment.internal_url(one)}" for one in SERVICES),
        }
        assert variables.keys() == container.named_environment.keys()
        done = subprocess.run(
            [sys.executable, *container.given["entrypoint"][1:], *arguments], env=clean_environment(**variables),
            cwd=folder, capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def _addresses(self) -> dict[str, str]:
        """Where processes are that the variables of `payctl` name, by what stands there of containers."""
        named, provisioned = self.first["payctl"].named_environment, self.deployment.provisioned
        return {
            named["PAYMENTS_PUBLIC_URL"]: self.deployment.front_door_url,
            named["PAYMENTS_AUDITOR_DATABASE_URL"]: provisioned.database_urls["auditor"],
            named["PAYMENTS_OWNER_DATABASE_URL"]: provisioned.owner_database_url,
            named["PAYMENTS_AMQP_URL"]: provisioned.amqp_urls["operations"],
        }

    def _of_broker(self, program: str, *arguments: str) -> tuple[int, str]:
        broker = self.deployment.servers.rabbitmq
        assert broker is not None
        done = subprocess.run(
            [str(broker.installation.home / "sbin" / program), *arguments],
            env={**os.environ, **broker._environment()}, capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr
