"""The compose file as an engine would read it: interpolated, merged, with the image's own settings underneath."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
COMPOSE: Final = DEPLOY / "compose.yaml"
Json = dict[str, Any]  # Any: YAML
_VARIABLE: Final = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::\?(?P<complaint>[^}]*)|:-(?P<instead>[^}]*))?\}")


class Unset(Exception):
    """A variable that the compose file demands is not given."""


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """`text` with `${NAME}`, `${NAME:?complaint}` and `${NAME:-instead}` replaced; no other form is used here."""

    def value(match: re.Match[str]) -> str:
        if match["instead"] is not None and not variables.get(match["name"]):
            return match["instead"]
        if not variables.get(match["name"]):
            raise Unset(f"{match['name']}: {match['complaint']}")
        return variables[match["name"]]

    replaced = _VARIABLE.sub(value, text)
    assert "${" not in replaced, "a form of interpolation that this reader does not know"
    return replaced


def variables_of(text: str) -> set[str]:
    """The names of the variables that a compose file demands of its environment."""
    return {match["name"] for match in _VARIABLE.finditer(text) if match["instead"] is None}


def made_variables(folder: Path) -> dict[str, str]:
    """What `deploy/make-env` makes."""
    file = folder / ".env"
    subprocess.run([DEPLOY / "make-env", file], check=True, capture_output=True, timeout=20)
    assert file.stat().st_mode & 0o077 == 0, "others may read the passwords"
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


@dataclass(frozen=True, slots=True)
class Container:
    """One entry of `services`. `image_environment` is what its image sets and compose may override."""

    name: str
    given: Json
    image_environment: Mapping[str, str]

    @property
    def own_image(self) -> bool:
        """Built from our Dockerfile."""
        return "build" in self.given

    @property
    def built_for(self) -> str:
        """The build argument SERVICE."""
        return str(self.given["build"]["args"]["SERVICE"])

    @property
    def named_environment(self) -> dict[str, str]:
        """What the compose file itself sets."""
        return {name: str(value) for name, value in self.given.get("environment", {}).items()}

    @property
    def environment(self) -> dict[str, str]:
        """What the process sees."""
        return {**self.image_environment, **self.named_environment}

    @property
    def once(self) -> bool:
        """Runs to its end."""
        return bool(self.given["restart"] == "no")

    @property
    def published(self) -> list[tuple[str, int, int]]:
        """(host address, host port, port in the container)."""
        triples = [str(port).split(":") for port in self.given.get("ports", [])]
        return [(host, int(outside), int(inside)) for host, outside, inside in triples]

    @property
    def mounts(self) -> list[tuple[str, str, bool]]:
        """(volume or path, target, read only)."""
        parts = [str(volume).split(":") for volume in self.given.get("volumes", [])]
        return [(part[0], part[1], part[2:] == ["ro"]) for part in parts]

    def depends_on(self) -> dict[str, str]:
        """Condition by container."""
        return {name: str(entry["condition"]) for name, entry in self.given.get("depends_on", {}).items()}


@cache
def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


def image_environment() -> dict[str, str]:
    """What the image's last stage sets with ENV, `PATH` apart."""
    pairs = (pair.split("=", 1) for word, rest in dockerfile() if word == "ENV" for pair in rest.split())
    return {name: value for name, value in pairs if name != "PATH"}


def containers(variables: Mapping[str, str]) -> dict[str, Container]:
    """Every container, with `variables` in place of an environment file."""
    document = yaml.safe_load(interpolated(COMPOSE.read_text(encoding="utf-8"), variables))
    return {
        name: Container(name, given, image_environment() if "build" in given else {})
        for name, given in document["services"].items()
    }


# -- addresses -------------------------------------------------------------------------------------------------------

OFFICIAL: Final[Mapping[str, frozenset[int]]] = {
    "postgres": frozenset({5432}),
    "rabbitmq": frozenset({5672, 15672, 15692}),
    "prometheus": frozenset({9090}),
    "alertmanager": frozenset({9093}),
    "grafana": frozenset({3000}),
    "jaeger": frozenset({4318, 16686}),
}
"""What images that are not ours listen on, by their documentation."""

_ADDRESS: Final = re.compile(r"(?:(?<=[/@\s\"'])|^)(?P<host>[a-z][a-z-]*):(?P<port>[0-9]{2,5})(?![0-9])")


def addresses(text: str) -> Iterator[tuple[str, int]]:
    """Every `host:port` in `text` whose host is a name."""
    for match in _ADDRESS.finditer(re.sub(r"://[^@/\s]+@", "://", text)):  # a login is no address
        yield match["host"], int(match["port"])


def listening(container: Container) -> frozenset[int]:
    """The ports on which a container listens, by its settings."""
    if container.name in OFFICIAL:
        return OFFICIAL[container.name]
    if container.name == "front-door":
        caddyfile = (DEPLOY / "frontdoor" / "Caddyfile").read_text(encoding="utf-8")
        return frozenset(int(port) for port in re.findall(r"^\S*:(\d+) \{", caddyfile, re.MULTILINE))
    ports = {name: int(value) for name, value in container.environment.items() if name.endswith("_PORT")}
    ports = {name: port for name, port in ports.items() if name != "PAYMENTS_SMTP_PORT"}
    if container.built_for == "sandbox":
        ports = {name: port for name, port in ports.items() if name.startswith("SANDBOX_")}
    elif container.built_for not in ("checkout", "webhook-ingest", "refunds", "notifications", "operations"):
        ports.pop("PAYMENTS_PUBLIC_PORT")
    return frozenset(ports.values())
