"""The compose file run as plain processes, where no container engine is needed.

Each program gets what its image would hold (the locked packages and the sources that the Dockerfile copies), its
compose environment, and its health check. What differs from containers is mapped and nothing else: host names become
the loopback, ports free ones, volumes folders, and PostgreSQL and RabbitMQ are the servers of the tests, with a prefix
before every login so that runs do not meet.
"""

import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sandbox.services.children import Child, clean_environment, free_ports, spawn
from sandbox.services.resolver import Servers
from tests.deploy import caddy
from tests.deploy.composed import DEPLOY, ROOT, Container, dockerfile, front_door, image_environment
from tests.deploy.tools import of_environment, program

HEALTHY_SECONDS: Final = 90.0
_PUBLISHED: Final = re.compile(r"(?<![\d.])127\.0\.0\.1:(\d{2,5})")
_LOGINS: Final = ("postgres", "rabbitmq")


class Image:
    """What `docker build` would make, in a folder: the Dockerfile's own COPY and RUN lines, with its paths below it."""

    def __init__(self, service: str, root: Path, packages: Path) -> None:
        self.service = service
        self.root = root
        self._packages = packages  # the virtual environment of the locked packages

    def build(self) -> None:
        """Copy the context and run what assembles the image."""
        for word, rest in self._build_stage():
            if word == "COPY":
                *sources, target = rest.split()
                for source in sources:
                    self._copy(ROOT / source, Path(self._mapped(target)))
            if word == "RUN" and "pip install" not in rest:
                self._run(rest)

    @staticmethod
    def _build_stage() -> list[tuple[str, str]]:
        start, end = [i for i, (word, _) in enumerate(dockerfile()) if word == "FROM"]
        return dockerfile()[start:end]

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
        else:
            target.mkdir(exist_ok=True)
            shutil.copy(source, target)

    def _run(self, script: str) -> None:
        (self.root / "opt").mkdir(exist_ok=True)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._mapped(script)],
            env={"PATH": os.environ["PATH"], "SERVICE": self.service},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr

    def _mapped(self, text: str) -> str:
        text = text.replace("/opt/venv", str(self._packages))
        return re.sub(r"(?<![\w./}-])/(build|app|opt/service)\b", rf"{self.root}/\1", text)

    @property
    def environment(self) -> dict[str, str]:
        """ENV of the last stage."""
        mapped = {name: self._mapped(value) for name, value in image_environment().items()}
        return {**mapped, "PATH": f"{self._packages}/bin:/usr/bin:/bin"}

    @property
    def entrypoint(self) -> list[str]:
        return [str(self.root / "opt/service")]


def locked_packages(folder: Path) -> Path:
    """A virtual environment with requirements.lock and nothing else, every package checked against its hash."""
    uv, target = of_environment("uv"), folder / "venv"
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    for command in (
        [uv, "venv", "-q", "--python", sys.executable, str(target)],
        [uv, "pip", "sync", "-q", "--python", f"{target}/bin/python", "--require-hashes", "requirements.lock"],
    ):
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180
        )
        assert done.returncode == 0, done.stderr
    return target


@dataclass(slots=True)
class Composition:
    """All containers as processes. `mark` names the database and the vhost, and goes before each login."""

    containers: Mapping[str, Container]
    servers: Servers
    folder: Path
    mark: str
    images: Mapping[str, Image]
    children: dict[str, Child] = field(default_factory=dict)
    _ports: dict[tuple[str, int], int] = field(default_factory=dict)

    # -- mapping -----------------------------------------------------------------------------------------------------

    def port(self, name: str, inside: int) -> int:
        """The port on the loopback that stands for `inside` of a container."""
        if (name, inside) not in self._ports:
            (self._ports[name, inside],) = free_ports(1)
        return self._ports[name, inside]

    def url(self, name: str, inside: int) -> str:
        return f"http://127.0.0.1:{self.port(name, inside)}"

    def mapped(self, name: str, text: str) -> str:
        """`text` of container `name` with hosts, ports, mounts and logins replaced."""
        parts = urlsplit(text)
        if parts.hostname in _LOGINS and parts.username:
            return self._login(text)
        for source, target, _ in self.containers[name].mounts:
            text = text.replace(target, str(self._mount(source)))
        names = "|".join(self.containers.keys() - set(_LOGINS))
        return re.sub(rf"(?<![\w.-])({names}):(\d+)", lambda m: f"127.0.0.1:{self.port(m[1], int(m[2]))}", text)

    def _login(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.username == "payments":
            admin = {"amqp": self.servers.amqp_url, "http": self.servers.management_url}
            return admin.get(parts.scheme, self.servers.admin_dsn)
        real = {"amqp": self.servers.amqp_url, "http": self.servers.management_url}
        where = urlsplit(real.get(parts.scheme, self.servers.admin_dsn))
        netloc = f"{self.mark}_{parts.username}:{parts.password}@{where.hostname}:{where.port}"
        return parts._replace(netloc=netloc, path=f"/{self.mark}" if parts.path else "").geturl()

    def _mount(self, source: str) -> Path:
        if source.startswith("./"):
            return DEPLOY / source
        path = self.folder / "volumes" / source
        path.mkdir(parents=True, exist_ok=True)
        return path

    def environment(self, name: str) -> dict[str, str]:
        """What the process of `name` sees."""
        container = self.containers[name]
        # A URL that a browser is given names the published port.
        published = {
            outside: (other, inside) for other, c in self.containers.items() for _, outside, inside in c.published
        }
        found = dict(self.images[container.built_for].environment)
        for key, value in container.environment.items():
            if key in found and key not in container.named_environment and not key.endswith(("_PORT", "_HOST")):
                continue
            outside = _PUBLISHED.sub(lambda m: f"127.0.0.1:{self.port(*published[int(m[1])])}", value)
            mapped = self.mapped(name, outside)
            if key.endswith("_PORT"):
                owner = container.environment.get(key.replace("_PORT", "_HOST")) if "SMTP" in key else None
                owner = owner if owner in self.containers else name
                mapped = str(self.port(str(owner), int(value)))
            elif value == "0.0.0.0" or (key.endswith("_HOST") and value in self.containers):
                mapped = "127.0.0.1"
            found[key] = mapped
        if name == "provision":
            found |= {"PAYMENTS_DATABASE_NAME": self.mark, "PAYMENTS_VHOST": self.mark}
            found["PAYMENTS_LOGIN_PREFIX"] = f"{self.mark}_"
        return clean_environment(**found)

    # -- running -----------------------------------------------------------------------------------------------------

    def command(self, name: str) -> list[str]:
        """What the container runs."""
        container = self.containers[name]
        return list(container.given.get("entrypoint") or self.images[container.built_for].entrypoint)

    def run_once(self, name: str, *arguments: str) -> str:
        """Run a container to its end and return what it printed."""
        environment = self.environment(name)
        command = [*_found(self.command(name), environment), *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=90, cwd=self.folder
        )
        assert done.returncode == 0, f"{name} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self) -> None:
        """Start all containers of ours and the front door, each once what it waits for has come true."""
        ours = [name for name, c in self.containers.items() if (c.own_image and not c.given.get("profiles"))]
        waiting = [*ours, "front-door"]
        done = set(_LOGINS)  # they run already
        while waiting:
            ready = [name for name in waiting if self.containers[name].depends_on().keys() <= done]
            assert ready, f"{waiting} wait for what nobody starts"
            for name in ready:
                if self.containers[name].once:
                    self.run_once(name)
                else:
                    self.start(name)
            for name in ready:
                if not self.containers[name].once:
                    self.children[name].wait_until(partial(self.healthy, name), timeout_seconds=HEALTHY_SECONDS)
            done |= set(ready)
            waiting = [name for name in waiting if name not in done]

    def start(self, name: str) -> None:
        """Start one container."""
        if name == "front-door":
            self._start_caddy()
            return
        environment = self.environment(name)
        log = self.folder / f"{name}.log"
        self.children[name] = spawn(
            name, _found(self.command(name), environment), log=log, environment=environment, cwd=self.folder
        )

    def _start_caddy(self) -> None:
        file = front_door(self.containers["front-door"], self.folder / "door")
        caddy.rewrite(file, self._of_caddy)
        self.children["front-door"] = caddy.start(file, self.folder)

    def _of_caddy(self, text: str) -> str:
        return caddy.on_the_loopback(self.mapped("front-door", text), partial(self.port, "front-door"))

    @property
    def door_authority(self) -> Path:
        """The certificate of the authority that the front door makes for itself."""
        return self.folder / "caddy/caddy/pki/authorities/local/root.crt"

    def start_prometheus(self, *, broker_port: int | None) -> str:
        """Start Prometheus with our rules and scrape configuration, faster; its URL."""
        text = (DEPLOY / "prometheus/prometheus.yaml").read_text(encoding="utf-8")
        text = text.replace("interval: 15s", "interval: 1s").replace("timeout: 10s", "timeout: 1s")
        own = self.port("prometheus", 9090)
        text = text.replace("localhost:9090", f"127.0.0.1:{own}")
        if broker_port:
            text = text.replace("rabbitmq:15692", f"127.0.0.1:{broker_port}")
        (self.folder / "prometheus.yaml").write_text(self.mapped("prometheus", text))
        shutil.copy(DEPLOY / "prometheus/rules.yaml", self.folder)
        flags = [
            flag.replace("/etc/prometheus", str(self.folder)).replace("=/prometheus", f"={self.folder}/tsdb")
            for flag in self.containers["prometheus"].given["command"]
        ]
        command = [program("prometheus", package="prometheus"), *flags, f"--web.listen-address=127.0.0.1:{own}"]
        child = spawn("prometheus", command, log=self.folder / "prometheus.log", environment=clean_environment())
        self.children["prometheus"] = child
        child.wait_until(lambda: _answers(f"http://127.0.0.1:{own}/-/ready"), timeout_seconds=30)
        return f"http://127.0.0.1:{own}"

    def healthy(self, name: str) -> bool:
        """The container's own health check, run as its engine would."""
        container = self.containers[name]
        if "healthcheck" in container.given:
            check = container.given["healthcheck"]["test"][1:]
        else:
            check = re.findall(r'"([^"]+)"', next(rest for word, rest in dockerfile() if word == "HEALTHCHECK"))
        check = [
            _PUBLISHED.sub(lambda m: f"127.0.0.1:{self.port(name, int(m[1]))}", part)  # its own loopback
            for part in check
        ]
        if check[0] == "wget":
            return _answers(check[-1])
        environment = self.environment(name)
        done = subprocess.run(
            _found(check, environment), env=environment, capture_output=True, check=False, timeout=20, cwd=self.folder
        )
        return done.returncode == 0

    def down(self) -> dict[str, int]:
        """Stop everything in the reverse order of its start; exit statuses."""
        return {name: self.children[name].stop(timeout_seconds=30) for name in reversed(list(self.children))}


def _found(command: list[str], environment: Mapping[str, str]) -> list[str]:
    program_path = shutil.which(command[0], path=environment["PATH"])
    assert program_path, f"{command[0]} is not in the image"
    return [program_path, *command[1:]]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
