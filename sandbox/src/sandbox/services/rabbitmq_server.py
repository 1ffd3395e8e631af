"""A private RabbitMQ on the loopback, with an epmd of its own."""

import json
import os
import re
import secrets
import shutil
import signal
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sandbox.services import debian_packages
from sandbox.services.children import Child, clean_environment, free_ports, listening, spawn

DEAD_LETTERED_AGAIN_MS: Final = 10_000
"""When a queue tries again to move a message that found no way, or got no confirm; RabbitMQ's own is three minutes."""

_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


@dataclass(frozen=True, slots=True)
class Installation:
    """A RabbitMQ and the Erlang that runs it."""

    home: Path
    erlang_bin: Path | None = None


def installed() -> Installation | None:
    """The newest installed server, or None."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
    found += sorted(Path("/opt/homebrew/opt/rabbitmq").glob("sbin/.."))
    return Installation(found[-1]) if found and shutil.which("erl") else None


def packaged() -> Installation:
    """The server and its Erlang out of the distribution's packages."""
    root = debian_packages.unpacked_to_run("rabbitmq-server", parts=("erlang-",))
    erlang = root / "usr/lib/erlang"
    scripts = [erlang / "bin/erl", *erlang.glob("erts-*/bin/erl")]
    for script in scripts:
        # The distribution writes the path of its Erlang into the script; left alone, a system Erlang would answer.
        text = script.read_text()
        fixed = with_erlang_at(erlang, text)
        if fixed != text:
            script.write_text(fixed)
    home = next((root / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
    return Installation(home, erlang / "bin")


def with_erlang_at(root: Path, script: str) -> str:
    """The distribution's start script of Erlang with another root than its own, which is quoted or not."""
    return re.sub(r'\bROOTDIR=("?)/usr/lib/erlang\1(?!\S)', lambda _: f'ROOTDIR="{root}"', script)


@dataclass(slots=True)
class RabbitmqServer:
    """One node with its own data directory, which is removed at the end."""

    installation: Installation
    base: Path = field(init=False)
    amqp_port: int = field(init=False)
    management_port: int = field(init=False)
    metrics_port: int = field(init=False)
    password: str = field(init=False, default="")
    child: Child | None = field(init=False, default=None)
    _epmd: Child | None = field(init=False, default=None)
    _ports: tuple[int, int] = field(init=False, default=(0, 0))

    def start(self) -> None:
        """Start, or start again on the same data, and wait until clients are served."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start, or start again on the same data. It takes seconds until clients are served."""
        if not self.password:
            self._initialise()
        environment = self._environment()
        if self._epmd is None or not self._epmd.running:
            self._epmd = spawn(
                "epmd", [self._epmd_program(), "-port", str(self._ports[0]), "-address", "127.0.0.1"],
                log=self.base / "epmd.log", environment=environment,
            )  # fmt: skip
            self._epmd.wait_until(lambda: listening(self._ports[0]), timeout_seconds=10)
        server = self.installation.home / "sbin/rabbitmq-server"
        self.child = spawn("rabbitmq", [str(server)], log=self.base / "server.log", environment=environment)

    def wait_ready(self) -> None:
        """Wait until what was launched serves clients."""
        assert self.child is not None  # noqa: S101 - it was launched
        self.child.wait_until(self._ready, timeout_seconds=180)  # a busy machine starts an Erlang slowly

    def _ready(self) -> bool:
        if not listening(self.amqp_port, greeting=_PROTOCOL_HEADER):
            return False
        try:
            return self.management("GET", "/api/health/checks/local-alarms") is not None
        except (urllib.error.URLError, OSError):
            return False

    def _initialise(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="pay-mq-"))
        self.amqp_port, self.management_port, self.metrics_port, epmd, distribution = free_ports(5)
        self._ports = (epmd, distribution)
        self.password = secrets.token_hex(16)
        (self.base / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
        config = {
            "listeners.tcp.1": f"127.0.0.1:{self.amqp_port}",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": self.management_port,
            "prometheus.tcp.ip": "127.0.0.1",
            "prometheus.tcp.port": self.metrics_port,
            "default_user": "payments",
            "default_pass": self.password,
            "vm_memory_high_watermark.absolute": "1GB",
            "disk_free_limit.absolute": "200MB",
            "collect_statistics_interval": 2000,
        }
        path = self.base / "rabbitmq.conf"
        path.write_text("".join(f"{name} = {value}\n" for name, value in config.items()))
        path.chmod(0o600)

    def _epmd_program(self) -> str:
        if self.installation.erlang_bin is not None:
            return str(self.installation.erlang_bin / "epmd")
        return shutil.which("epmd") or "epmd"

    def _environment(self) -> dict[str, str]:
        base, (epmd, distribution) = str(self.base), self._ports
        environment = clean_environment(
            RUNNING_UNDER_SYSTEMD="true",  # the start script then exec()s, so that our child is the broker itself
            RABBITMQ_NODENAME="payments@localhost",
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
            RABBITMQ_NODE_PORT=str(self.amqp_port),
            RABBITMQ_DIST_PORT=str(distribution),
            RABBITMQ_MNESIA_BASE=f"{base}/mnesia",
            RABBITMQ_LOG_BASE=f"{base}/log",
            RABBITMQ_LOGS=f"{base}/log/rabbit.log",
            RABBITMQ_GENERATED_CONFIG_DIR=f"{base}/schema",
            RABBITMQ_ENABLED_PLUGINS_FILE=f"{base}/enabled_plugins",
            RABBITMQ_CONFIG_FILE=f"{base}/rabbitmq.conf",
            RABBITMQ_CONF_ENV_FILE="/dev/null",
            HOME=base,
            ERL_EPMD_PORT=str(epmd),
            ERL_EPMD_ADDRESS="127.0.0.1",
            ERL_MAX_PORTS="4096",
            # Schedulers that spin while they wait would take the cores from everything else on this machine.
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=(
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none "
                f"-rabbit dead_letter_worker_publisher_confirm_timeout {DEAD_LETTERED_AGAIN_MS}"
            ),
        )
        if self.installation.erlang_bin is not None:
            environment |= debian_packages.library_environment(self.installation.erlang_bin)
            environment["PATH"] = f"{self.installation.erlang_bin}:{environment.get('PATH', os.defpath)}"
        return environment

    @property
    def amqp_url(self) -> str:
        return f"amqp://payments:{self.password}@127.0.0.1:{self.amqp_port}/"

    @property
    def management_url(self) -> str:
        return f"http://payments:{self.password}@127.0.0.1:{self.management_port}"

    def management(self, method: str, path: str, body: object | None = None) -> object:
        """One call of the management API as the administrator."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        token = b64encode(f"payments:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            raw = answer.read()
        return json.loads(raw) if raw else {}

    def kill(self) -> None:
        """SIGKILL the node."""
        if self.child is not None:
            self.child.kill()

    def lose(self) -> None:
        """SIGKILL the node and lose its disk; the next start is that of an empty broker."""
        self.kill()
        _remove_tree(self.base / "mnesia")

    def stop(self) -> None:
        """Stop cleanly."""
        if self.child is not None:
            self.child.stop(timeout_seconds=20)

    def remove(self) -> None:
        """End everything at once and delete the data, which nobody needs any more."""
        for child in (self.child, self._epmd):
            if child is not None and child.running:
                child.stop(number=signal.SIGKILL, timeout_seconds=5)
        if self.password:
            _remove_tree(self.base)


def _remove_tree(path: Path) -> None:
    # Helpers of the node may still write for a moment after its death.
    deadline = time.monotonic() + 5
    while path.exists() and time.monotonic() < deadline:
        shutil.rmtree(path, ignore_errors=True)
