"""The compose files as an engine would read them: interpolated, merged, with the image's own settings underneath."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
COMPOSE: Final = DEPLOY / "compose.yaml"
PRODUCTION: Final = DEPLOY / "compose.production.yaml"
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


def named_variables(text: str) -> set[str]:
    """The names of all variables of a compose file."""
    return {match["name"] for match in _VARIABLE.finditer(text)}


# -- one file over another ---------------------------------------------------------------------------------------------


class _Reset:
    """What stands there is taken away."""


@dataclass(frozen=True, slots=True)
class _Override:
    """What stands there is replaced, and not merged."""

    value: Any  # Any: YAML


class _Reader(yaml.SafeLoader):
    """YAML with Compose's two tags."""


def _override(reader: _Reader, node: yaml.Node) -> _Override:
    if isinstance(node, yaml.MappingNode):
        return _Override(reader.construct_mapping(node, deep=True))
    assert isinstance(node, yaml.SequenceNode), "!override of a scalar says nothing"
    return _Override(reader.construct_sequence(node, deep=True))


_Reader.add_constructor("!reset", lambda _reader, _node: _Reset())
_Reader.add_constructor("!override", _override)
_REPLACED: Final = frozenset({"command", "entrypoint", "test"})
"""Lists that a later file replaces without being asked. All others Compose would append to."""


def _merged(below: Any, above: Any, name: str) -> Any:  # Any: YAML
    if isinstance(above, _Override):
        return above.value
    if isinstance(above, dict):
        known = below if isinstance(below, dict) else {}
        whole = {**known, **{key: _merged(known.get(key), value, key) for key, value in above.items()}}
        return {key: value for key, value in whole.items() if not isinstance(value, _Reset)}
    lists = isinstance(below, list) and isinstance(above, list)
    assert not lists or name in _REPLACED, f"{name} would be appended to: say !override"
    return above


def _filled(part: Any, variables: Mapping[str, str]) -> Any:  # Any: YAML
    """What was read, with its variables: text stays text, whatever stands in them."""
    if isinstance(part, _Override):
        return _Override(_filled(part.value, variables))
    if isinstance(part, dict):
        return {key: _filled(value, variables) for key, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, variables) for value in part]
    return interpolated(part, variables) if isinstance(part, str) else part


def document(variables: Mapping[str, str], files: Sequence[Path] = (COMPOSE,)) -> Json:
    """`files` as one, each over those before it.

    Raises:
        Unset: a variable that one of them demands is not given.
    """
    whole: Json = {}
    for file in files:
        read = yaml.load(file.read_text(encoding="utf-8"), _Reader)  # noqa: S506 - a safe one
        whole = _merged(whole, _filled(read, variables), "")
    return whole


# -- variables ---------------------------------------------------------------------------------------------------------


def made_variables(folder: Path) -> dict[str, str]:
    """What `deploy/make-env` makes."""
    file = folder / ".env"
    subprocess.run([DEPLOY / "make-env", file], check=True, capture_output=True, timeout=20)
    assert file.stat().st_mode & 0o077 == 0, "others may read the passwords"
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


OWNERS: Final[Mapping[str, str]] = {
    "PAYMENTS_VERSION": "0.1.0",
    "PAYMENTS_DOMAIN": "pay.shop.example",
    "PAYMENTS_CONSOLE_DOMAIN": "console.shop.example",
    "PAYMENTS_SHOP_DOMAIN": "shop.example",
    "PAYMENTS_LIVEMODE": "true",
    "PAYMENTS_STRIPE_API_KEY_CHECKOUT": "rk_live_" + "1" * 24,
    "PAYMENTS_STRIPE_API_KEY_REFUNDS": "rk_live_" + "2" * 24,
    "PAYMENTS_STRIPE_API_KEY_WEBHOOK_INGEST": "rk_live_" + "3" * 24,
    "PAYMENTS_STRIPE_WEBHOOK_SECRET": "whsec_" + "4" * 24,
    "PAYMENTS_OIDC_ISSUER": "https://login.example/realms/shop",
    "PAYMENTS_OIDC_CLIENT_SECRET": "5" * 32,
    "PAYMENTS_JWT_ISSUER": "https://login.example/realms/shop",
    "PAYMENTS_PEOPLE_JWKS": "/srv/payments/people.jwks.json",
    "PAYMENTS_SMTP_HOST": "smtp.example",
    "PAYMENTS_SMTP_USERNAME": "shop",
    "PAYMENTS_SMTP_PASSWORD": "6" * 16,
    "PAYMENTS_MAIL_FROM": "orders@books.test",
    "PAYMENTS_MAIL_STAFF": "staff@books.test",
    "PAYMENTS_SHOP_NAME": "The Shop",
    "PAYMENTS_ALERTMANAGER_DIR": "/srv/payments/alertmanager",
    "PAYMENTS_BACKUP_DIR": "/srv/payments/backup",
}
"""What an owner writes into `deploy/production.env`."""


def owners_variables(folder: Path) -> dict[str, str]:
    """`deploy/.env` as deploy/README.md has an owner make it, filled in."""
    file = folder / ".env"
    text = (DEPLOY / "production.env").read_text(encoding="utf-8")
    file.write_text(re.sub(r"^([A-Z_]+)=$", lambda m: f"{m[1]}={OWNERS[m[1]]}", text, flags=re.MULTILINE))
    subprocess.run([DEPLOY / "make-env", file], check=True, capture_output=True, timeout=20)
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


OWN_IMAGES: Final = "payments/"


def _is_own(given: Json) -> bool:
    return str(given["image"]).startswith(OWN_IMAGES)


@dataclass(frozen=True, slots=True)
class Container:
    """One entry of `services`. `image_environment` is what its image sets and compose may override."""

    name: str
    given: Json
    image_environment: Mapping[str, str]

    @property
    def own_image(self) -> bool:
        """Built from our Dockerfile."""
        return _is_own(self.given)

    @property
    def built_for(self) -> str:
        """The build argument SERVICE of its image, which another container may build."""
        return str(self.given["image"]).removeprefix(OWN_IMAGES).partition(":")[0]

    @property
    def builds(self) -> str | None:
        """For which SERVICE it builds its image; None where it takes what another container builds."""
        return str(self.given["build"]["args"]["SERVICE"]) if "build" in self.given else None

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
        parts = [str(port).split(":") for port in self.given.get("ports", [])]
        return [(":".join(host) or "0.0.0.0", int(outside), int(inside)) for *host, outside, inside in parts]

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


def containers(variables: Mapping[str, str], files: Sequence[Path] = (COMPOSE,)) -> dict[str, Container]:
    """Every container, with `variables` in place of an environment file."""
    return {
        name: Container(name, given, image_environment() if _is_own(given) else {})
        for name, given in document(variables, files)["services"].items()
    }


def front_door(container: Container, folder: Path) -> Path:
    """The Caddyfile of a front door in `folder`, with the files around it that are mounted beside it."""
    for source, target, _ in container.mounts:
        if target.startswith("/etc/caddy/"):
            place = folder / Path(target).relative_to("/etc/caddy")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(DEPLOY / source, place)
    return folder / "Caddyfile"


# -- addresses -------------------------------------------------------------------------------------------------------

OFFICIAL: Final[Mapping[str, frozenset[int]]] = {
    "postgres": frozenset({5432}),
    "backup": frozenset(),
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
