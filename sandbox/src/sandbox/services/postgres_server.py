"""A private PostgreSQL on the loopback."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.services import debian_packages
from sandbox.services.children import Child, clean_environment, free_ports, spawn

NOBODY = 65534
_STARTUP = b"\x00\x03\x00\x00user\x00payments\x00database\x00postgres\x00\x00"


def installed_bindir() -> Path | None:
    """The newest installed server, or None."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if config := shutil.which("pg_config"):
        named = Path(subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
        found += [named] if (named / "initdb").exists() else []
    found += [path for path in Path("/opt/homebrew/opt").glob("postgresql*/bin") if (path / "initdb").exists()]
    return max(found, key=lambda path: (path.parent.name.zfill(3), str(path)), default=None)


def packaged_bindir() -> Path:
    """The server out of the distribution's package."""
    root = debian_packages.unpacked_to_run(debian_packages.versioned("postgresql"))
    return next(root.glob("usr/lib/postgresql/*/bin"))


def _asks_for_password(port: int) -> bool:
    """Whether the server takes sessions: while it starts it answers a startup message with an error."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall((len(_STARTUP) + 4).to_bytes(4, "big") + _STARTUP)
            connection.settimeout(2)
            return connection.recv(1) == b"R"
    except OSError:
        return False


@dataclass(slots=True)
class PostgresServer:
    """One server with its own data directory, which is removed at the end. As root it runs as `nobody`.

    `settings` are of the server, such as `archive_mode`, and count from the next start on.
    """

    bindir: Path
    durable: bool = False
    max_connections: int = 300
    settings: Mapping[str, str] = field(default_factory=dict)
    home: Path = field(init=False)
    port: int = field(init=False)
    password: str = field(init=False, default="")
    child: Child | None = field(init=False, default=None)

    def start(self) -> None:
        """Initialise the data directory the first time, start, and wait until connections are taken."""
        if not self.password:
            self._initialise()
        command = [
            str(self.bindir / "postgres"), "-D", str(self.home / "data"), "-h", "127.0.0.1", "-p", str(self.port),
            "-k", str(self.home), "-c", f"max_connections={self.max_connections}", "-c", "shared_buffers=128MB",
            "-c", "jit=off", "-c", "wal_level=replica", "-c", "max_wal_size=2GB", "-c", "log_min_messages=warning",
        ]  # fmt: skip
        if self.durable:  # as in production
            command += ["-c", "shared_buffers=512MB", "-c", "min_wal_size=1GB"]
        else:
            # Safe against our own kills, not against a power cut. synchronous_commit stays on in every case.
            command += ["-c", "fsync=off", "-c", "full_page_writes=off"]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        self.child = spawn(
            "postgres",
            command,
            log=self.home / "postgres.log",
            environment=self._environment(),
            user=self.user,
        )
        self.child.wait_until(lambda: _asks_for_password(self.port), timeout_seconds=30)

    def _initialise(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="pay-pg-"))
        (self.port,) = free_ports(1)
        self.password = secrets.token_hex(16)
        password_file = self.home / "pw"
        password_file.write_text(self.password)
        (self.home / "postgres.log").touch()
        if (user := self.user) is not None:
            for path in (self.home, password_file, self.home / "postgres.log"):
                os.chown(path, user, user)
        subprocess.run(
            [
                str(self.bindir / "initdb"), "-D", str(self.home / "data"), "-U", "payments", "-A", "scram-sha-256",
                f"--pwfile={password_file}", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8",
            ],
            env=self._environment(), cwd=self.home, user=user, group=user,
            extra_groups=[] if user is not None else None, check=True, capture_output=True,
        )  # fmt: skip
        password_file.unlink()

    def _environment(self) -> dict[str, str]:
        return clean_environment(**debian_packages.library_environment(self.bindir))

    @property
    def user(self) -> int | None:
        """Who the server is, if not ourselves."""
        return NOBODY if os.geteuid() == 0 else None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "data"

    @property
    def dsn(self) -> str:
        """The superuser's URL of the database `postgres`."""
        return f"postgresql://payments:{self.password}@127.0.0.1:{self.port}/postgres"

    def kill(self) -> None:
        """SIGKILL the postmaster; its backends notice and end."""
        if self.child is not None:
            self.child.kill()

    def stop(self, *, number: signal.Signals = signal.SIGINT) -> None:
        """Stop fast, or with SIGQUIT at once, as after a power cut."""
        if self.child is not None:
            self.child.stop(number=number)

    def remove(self) -> None:
        """Stop and delete the data."""
        self.stop()
        if self.password:
            shutil.rmtree(self.home, ignore_errors=True)
