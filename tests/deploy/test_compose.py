"""The compose file is valid, complete and closed, and agrees with the code's settings and with its neighbours."""

import importlib
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.messaging.topology import Topology
from sandbox.compose.settings import Folders, Operator, Shelf
from sandbox.services.rabbitmq_server import DEAD_LETTERED_AGAIN_MS
from tests.deploy.composed import (
    COMPOSE,
    DEPLOY,
    Container,
    Unset,
    addresses,
    containers,
    interpolated,
    listening,
    made_variables,
    named_variables,
    variables_of,
)

SANDBOX_SETTINGS: Mapping[str, type[BaseSettings]] = {"keys": Folders, "seed": Shelf, "payctl": Operator}
NOT_SETTINGS = {  # options of payctl, or what they are made of
    "PAYMENTS_SERVICE_URLS",
    "PAYMENTS_PUBLIC_URL",
    "PAYMENTS_AUDITOR_DATABASE_URL",
    "PAYMENTS_OWNER_DATABASE_URL",
    "PAYMENTS_AMQP_URL",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Container]:
    """All containers, with passwords made as `make demo-compose` makes them."""
    return containers(made_variables(tmp_path_factory.mktemp("env")))


def _validate(path: Path) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [str(program), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_file_is_valid_by_the_compose_specification(tmp_path: Path) -> None:
    damaged = tmp_path / "compose.yaml"
    damaged.write_text(COMPOSE.read_text().replace("mem_limit:", "memory_limit:", 1))

    assert _validate(COMPOSE).returncode == 0, _validate(COMPOSE).stdout
    assert "memory_limit" in _validate(damaged).stdout


def test_every_service_of_the_catalogue_and_all_around_it_is_there(made: dict[str, Container]) -> None:
    servers = {"postgres", "backup-place", "backup", "rabbitmq", "provision", "keys"}
    around = servers | {"front-door", "prometheus", "alertmanager", "grafana", "jaeger"}
    outside = {"stripe", "mailbox", "identity", "shop", "seed", "payctl"}

    assert made.keys() == {*SERVICES, *around, *outside}
    assert {name: made[name].built_for for name in SERVICES} == {name: name for name in SERVICES}


def images_are_built_once_and_fetched_never(containers: Mapping[str, Container]) -> None:
    """Two builds of one name at once can end in "already exists", and at a registry our names are anybody's."""
    ours = {name: container for name, container in containers.items() if container.own_image}
    builds = sorted(container.given["image"] for container in ours.values() if container.builds)

    assert builds == sorted({container.given["image"] for container in ours.values()})
    assert [name for name, container in containers.items() if container.builds not in (None, container.built_for)] == []
    assert {container.given.get("pull_policy") for container in ours.values()} == {"never"}


def test_every_image_of_ours_is_built_by_one_container_alone_and_fetched_by_none(made: dict[str, Container]) -> None:
    images_are_built_once_and_fetched_never(made)
    assert {name: made[name].built_for for name in ("keys", "seed", "payctl", "stripe")} == dict.fromkeys(
        ("keys", "seed", "payctl", "stripe"), "sandbox"
    )


def test_the_passwords_made_are_exactly_those_demanded_and_new_each_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = made_variables(tmp_path / "a"), made_variables(tmp_path / "b")

    assert first.keys() == variables_of(COMPOSE.read_text())
    assert date.fromisoformat(first.pop("PAYMENTS_STRIPE_CREATED_ON")) <= datetime.now(UTC).date() + timedelta(days=1)
    assert set(first.values()).isdisjoint(second.values())
    assert all(len(value) >= 24 for value in first.values())
    with pytest.raises(Unset, match="make-env"):
        containers({})


def test_what_an_older_release_made_stays_and_what_is_new_is_added(tmp_path: Path) -> None:
    made = made_variables(tmp_path)
    file = tmp_path / ".env"
    file.write_text("".join(f"{name}={value}\n" for name, value in made.items() if name != "PAYMENTS_MAIL_SECRET"))

    again = made_variables(tmp_path)

    assert again.keys() == made.keys()
    assert {name for name in made if again[name] != made[name]} == {"PAYMENTS_MAIL_SECRET"}


def test_no_password_stands_in_the_files() -> None:
    text = COMPOSE.read_text(encoding="utf-8")

    assert re.findall(r"://[^@\s/]+:(?!\$\{)[^@\s/]+@", text) == []
    assert re.findall(r"(?:PASS|PASSWORD|SECRET|API_KEY)[A-Z_]*: (?!\$\{)\S+", text) == []


# -- settings --------------------------------------------------------------------------------------------------------


def _settings_type(container: Container) -> type[BaseSettings]:
    if container.name in SANDBOX_SETTINGS:
        return SANDBOX_SETTINGS[container.name]
    name = f"sandbox.{container.name}" if container.built_for == "sandbox" else schema_name(container.built_for)
    settings: type[BaseSettings] = importlib.import_module(f"{name}.settings").Settings
    return settings


def settings_faults(container: Container, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Variables that the settings do not know, and what the settings say about those they do."""
    settings = _settings_type(container)
    prefix = settings.model_config["env_prefix"]
    known = {prefix + name.upper() for name in settings.model_fields}
    named = {*container.named_environment, *environment} - set(container.image_environment)
    named -= NOT_SETTINGS if container.name == "payctl" else set()
    unknown = [f"{name} is no setting of {container.name}" for name in sorted(named - known)]
    for name in known:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        settings()
    except ValidationError as error:
        return unknown + [f"{'_'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)]
    return unknown


WITH_SETTINGS = (*SERVICES, "stripe", "mailbox", "identity", "shop", "keys", "seed", "payctl")


@pytest.mark.parametrize("name", WITH_SETTINGS)
def test_a_container_sets_what_its_program_demands_and_nothing_unknown(
    made: dict[str, Container], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = made[name]

    assert settings_faults(container, container.environment, monkeypatch) == []


def test_a_forgotten_or_misspelt_variable_would_be_noticed(
    made: dict[str, Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(made["checkout"].environment)
    del environment["PAYMENTS_INVENTORY_URL"]
    environment["PAYMENTS_INVENTORY_URI"] = "http://inventory:9000"

    found = settings_faults(made["checkout"], environment, monkeypatch)

    assert found == ["PAYMENTS_INVENTORY_URI is no setting of checkout", "inventory_url: Field required"]


def test_provisioning_is_given_a_password_for_each_service_and_the_same_that_the_service_uses(
    made: dict[str, Container],
) -> None:
    given = made["provision"].environment

    for service in SERVICES:
        password = given[f"PAYMENTS_PASSWORD_{schema_name(service).upper()}"]
        login, user = f"://{schema_name(service)}:{password}@postgres:", f"://{service}:{password}@rabbitmq:"
        environment = made[service].environment
        assert login in environment["PAYMENTS_DATABASE_URL"]
        assert user in environment["PAYMENTS_AMQP_URL"]
        assert user in environment["PAYMENTS_MANAGEMENT_URL"]


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        "compose.yaml",
        "prometheus/prometheus.yaml",
        "alertmanager/alertmanager.yaml",
        "frontdoor/Caddyfile",
        "frontdoor/demo.caddy",
        "grafana/provisioning/datasources/prometheus.yaml",
    ],
)
def test_every_address_leads_to_a_container_that_listens_there(
    made: dict[str, Container], file: str, tmp_path: Path
) -> None:
    text = (DEPLOY / file).read_text(encoding="utf-8")
    if file == "compose.yaml":
        text = "\n".join(value for one in made.values() for value in one.named_environment.values())
    ours = {name: listening(container) for name, container in made.items() if not container.once}
    found = set(addresses(text)) - {("localhost", 9090)}

    assert found, "no address was found, so none was checked"
    assert [f"{host}:{port}" for host, port in sorted(found) if port not in ours.get(host, ())] == []


def test_prometheus_scrapes_every_service_under_its_own_name() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "payments")

    scraped = {entry["labels"]["service"]: entry["targets"] for entry in job["static_configs"]}

    assert scraped == {name: [f"{name}:9000"] for name in SERVICES}


def test_prometheus_reaches_the_front_door_where_no_guest_does(made: dict[str, Container]) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "front-door")
    door, prometheus = made["front-door"], made["prometheus"]

    assert job["static_configs"] == [{"targets": ["front-door:9000"]}]
    assert 9000 in listening(door)
    assert set(door.given["networks"]) & set(prometheus.given["networks"])


def test_spans_go_to_jaeger_where_somebody_says_so_and_nowhere_by_default(
    made: dict[str, Container], tmp_path: Path
) -> None:
    url = "http://jaeger:4318"
    asked = containers({**made_variables(tmp_path), "PAYMENTS_OTLP_ENDPOINT": url})
    names = dict.fromkeys(SERVICES, "PAYMENTS_OTLP_ENDPOINT") | {"shop": "SANDBOX_SHOP_OTLP_ENDPOINT"}

    assert {made[name].environment[variable] for name, variable in names.items()} == {""}
    assert {asked[name].environment[variable] for name, variable in names.items()} == {url}
    assert ("jaeger", "4318") in [(host, str(port)) for host, port in addresses(url)]
    assert 4318 in listening(asked["jaeger"])
    assert all(set(asked[name].given["networks"]) & set(asked["jaeger"].given["networks"]) for name in names)
    assert made["jaeger"].given["profiles"] == ["tracing"]
    assert f"PAYMENTS_OTLP_ENDPOINT={url} " in (DEPLOY / "README.md").read_text(encoding="utf-8")


def test_mail_goes_to_the_mailboxs_smtp_port(made: dict[str, Container]) -> None:
    sender, sink = made["notifications"].environment, made["mailbox"].environment

    assert (sender["PAYMENTS_SMTP_HOST"], sender["PAYMENTS_SMTP_PORT"]) == (
        "mailbox",
        sink["SANDBOX_MAILBOX_SMTP_PORT"],
    )


def test_only_the_front_door_and_pages_for_people_are_published_and_only_on_the_loopback(
    made: dict[str, Container],
) -> None:
    published = {(name, *port) for name, container in made.items() for port in container.published}

    assert {address for _, address, _, _ in published} == {"127.0.0.1"}
    assert {(name, inside) for name, _, _, inside in published} == {
        ("front-door", 8080),
        ("front-door", 8443),
        ("stripe", 12111),
        ("mailbox", 8025),
        ("identity", 8060),
        ("operations", 8070),
        ("rabbitmq", 15672),
        ("prometheus", 9090),
        ("alertmanager", 9093),
        ("grafana", 3000),
        ("jaeger", 16686),
    }
    for name, _, outside, inside in published:
        assert inside in listening(made[name])
        assert outside == inside, "URLs that browsers are given name the port in the container"


def test_whatever_is_set_the_demo_is_open_to_nobody_else(tmp_path: Path) -> None:
    variables = made_variables(tmp_path)
    named = dict.fromkeys(named_variables(COMPOSE.read_text()) - variables.keys(), "0.0.0.0")
    given = {**named, "PAYMENTS_DOMAIN": "pay.example.com", "PAYMENTS_DOOR_ADDRESS": "0.0.0.0"}
    made = containers({**variables, **given})

    assert {port[0] for container in made.values() for port in container.published} == {"127.0.0.1"}
    assert made["front-door"].environment["PAYMENTS_DOMAIN"] == "localhost"
    caddyfile = (DEPLOY / "frontdoor/Caddyfile").read_text(encoding="utf-8")
    sites = re.findall(r"^(\S*):(\d+) \{", caddyfile, re.MULTILINE)
    assert sites == [("", "8080"), ("{$PAYMENTS_DOMAIN:localhost}", "8443"), ("", "9000")]
    assert 9000 not in {inside for _, _, inside in made["front-door"].published}
    assert "\thttp_port 8080\n" in caddyfile, "so that no TLS is spoken there"


def test_containers_that_speak_share_a_network(made: dict[str, Container]) -> None:
    for name, container in made.items():
        mine = set(container.given.get("networks", []))
        for host, _ in addresses("\n".join(container.named_environment.values())):
            assert mine & set(made[host].given["networks"]), f"{name} cannot reach {host}"


# -- how containers run ----------------------------------------------------------------------------------------------


def test_every_dependency_has_a_condition_that_can_come_true(made: dict[str, Container]) -> None:
    for name, container in made.items():
        for needed, condition in container.depends_on().items():
            target = made[needed]
            healthy = target.own_image or "healthcheck" in target.given
            expected = "service_completed_successfully" if target.once else "service_healthy"
            assert condition == expected, f"{name} waits for {needed}"
            assert target.once or healthy


def test_nothing_waits_for_itself(made: dict[str, Container]) -> None:
    waits = {name: set(container.depends_on()) for name, container in made.items()}

    while free := {name for name, needed in waits.items() if not needed}:
        waits = {name: needed - free for name, needed in waits.items() if name not in free}

    assert waits == {}


def test_the_broker_is_given_as_many_files_as_it_needs_and_no_billion(made: dict[str, Container]) -> None:
    assert made["rabbitmq"].given["ulimits"] == {"nofile": 65536}


@pytest.mark.parametrize("rule", ["limits", "read only", "not root", "pinned", "health"])
def test_every_container_is_limited_closed_pinned_and_watched(made: dict[str, Container], rule: str) -> None:
    judged: dict[str, Any] = {
        "limits": lambda c: all(c.given.get(limit) for limit in ("mem_limit", "cpus", "pids_limit", "restart")),
        # RabbitMQ writes its own configuration beside its data when it starts.
        "read only": lambda c: (
            "no-new-privileges:true" in c.given["security_opt"]
            and (c.given.get("read_only") or c.name == "rabbitmq")
            and c.given.get("cap_drop") == ["ALL"]
        ),
        "not root": lambda c: c.own_image or c.given.get("user", "root").partition(":")[0] not in ("root", "0"),
        "pinned": lambda c: c.own_image or re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", c.given["image"]),
        "health": lambda c: c.once or c.own_image or c.given["healthcheck"]["test"][0] == "CMD",
    }

    assert [name for name, container in made.items() if not judged[rule](container)] == []


def test_what_is_mounted_exists_and_only_the_maker_of_keys_may_write_them(made: dict[str, Container]) -> None:
    declared = set(yaml.safe_load(COMPOSE.read_text())["volumes"])
    used = set()
    for name, container in made.items():
        for source, target, read_only in container.mounts:
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), source
                assert read_only
                continue
            used.add(source)
            assert read_only or not target.endswith(("-key", "/jwks")) or name == "keys"
    assert used == declared


def test_private_keys_reach_only_those_who_sign(made: dict[str, Container]) -> None:
    readers = {
        volume: {name for name, container in made.items() if volume in [mount[0] for mount in container.mounts]}
        for volume in ("checkout-key", "people-key")
    }

    assert readers == {
        "checkout-key": {"keys", "checkout"},
        "people-key": {"keys", "identity", "shop", "seed", "payctl"},
    }


def test_the_broker_has_the_plugins_that_provisioning_and_prometheus_ask() -> None:
    plugins = (DEPLOY / "rabbitmq/enabled_plugins").read_text()

    assert set(re.findall(r"\w+", plugins)) == {"rabbitmq_management", "rabbitmq_prometheus"}
    assert Topology.of("checkout").retry_tiers_ms == (5000, 30000, 120000, 600000), "provisioning and services agree"


def test_every_broker_soon_tries_again_to_move_what_found_no_way() -> None:
    """RabbitMQ's own three minutes are longer than a sweep takes to heal what it believes lost."""
    advanced = (DEPLOY / "rabbitmq/advanced.config").read_text()

    assert re.findall(r"\{(\w+), (\d+)\}", advanced) == [
        ("dead_letter_worker_publisher_confirm_timeout", str(DEAD_LETTERED_AGAIN_MS)),
    ]  # fmt: skip
    mounted = yaml.safe_load(COMPOSE.read_text())["services"]["rabbitmq"]["volumes"]
    assert "./rabbitmq/advanced.config:/etc/rabbitmq/advanced.config:ro" in mounted


def test_interpolation_leaves_nothing_behind() -> None:
    assert interpolated("a ${B:?no} ${B}", {"B": "x"}) == "a x x"
    assert interpolated("${B:-y} ${C:-y}", {"B": "x"}) == "x y"
    with pytest.raises(AssertionError):
        interpolated("${B-default}", {"B": "x"})
