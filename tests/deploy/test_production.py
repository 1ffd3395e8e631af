"""One machine in production: the demo's file with the other one behind it is whole, real, and closed but for its door."""

import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from checkout.settings import Settings
from payments_shared.contracts.catalog import SERVICES
from tests.deploy.composed import (
    COMPOSE,
    DEPLOY,
    OWNERS,
    PRODUCTION,
    Container,
    Unset,
    addresses,
    containers,
    document,
    front_door,
    image_environment,
    listening,
    made_variables,
    owners_variables,
    variables_of,
)
from tests.deploy.test_compose import images_are_built_once_and_fetched_never, settings_faults
from tests.deploy.tools import of_environment

FILES = (COMPOSE, PRODUCTION)
SANDBOX = ("stripe", "mailbox", "identity", "shop", "seed")


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an owner's `deploy/.env` says."""
    return owners_variables(tmp_path_factory.mktemp("env"))


@pytest.fixture(scope="module")
def made(variables: dict[str, str]) -> dict[str, Container]:
    """All containers of the one machine."""
    return containers(variables, FILES)


def test_the_merged_file_is_valid_by_the_compose_specification(variables: dict[str, str], tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    merged = tmp_path / "compose.yaml"
    merged.write_text(yaml.safe_dump(document(variables, FILES)))
    command = [str(program), "--builtin-schema", "vendor.compose-spec", str(merged)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout


def test_it_is_a_composition_of_its_own_so_that_no_volume_of_a_demo_is_taken_over(variables: dict[str, str]) -> None:
    assert document(variables, FILES)["name"] != document(variables)["name"]


# -- what runs -------------------------------------------------------------------------------------------------------


def test_nothing_of_the_sandbox_runs(made: dict[str, Container]) -> None:
    demo = set(yaml.safe_load(COMPOSE.read_text())["services"])

    assert made.keys() == demo - set(SANDBOX)
    for name, container in made.items():
        assert "sandbox" not in json.dumps(container.given).lower(), name
        assert "people-key" not in json.dumps(container.given), name


def test_no_address_is_that_of_the_demo(made: dict[str, Container]) -> None:
    for name, container in made.items():
        named = container.named_environment
        assert "PAYMENTS_STRIPE_API_BASE" not in named, name
        hosts = {host for host, _ in addresses("\n".join(named.values()))}
        assert hosts <= made.keys(), name
        assert not [value for value in named.values() if re.search(r"https?://(127\.0\.0\.1|localhost)", value)], name


def test_every_address_leads_to_a_container_that_listens_there(made: dict[str, Container]) -> None:
    texts = [value for one in made.values() for value in one.named_environment.values()]
    texts += [(DEPLOY / file).read_text() for file in ("frontdoor/Caddyfile", "frontdoor/console.caddy")]
    ours = {name: listening(container) for name, container in made.items() if not container.once}
    found = set(addresses("\n".join(texts)))

    assert [f"{host}:{port}" for host, port in sorted(found) if port not in ours.get(host, ())] == []
    assert {("operations", 8070), ("checkout", 8000)} <= found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_given_what_it_demands_and_nothing_unknown(
    made: dict[str, Container], service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = made[service]

    assert settings_faults(container, container.environment, monkeypatch) == []


def test_every_image_is_of_the_release_and_our_own_are_built_for_what_they_run(made: dict[str, Container]) -> None:
    ours = {name: container for name, container in made.items() if container.own_image}

    for name, container in ours.items():
        assert container.given["image"] == f"payments/{container.built_for}:0.1.0", name
    images_are_built_once_and_fetched_never(made)
    assert {name: ours[name].built_for for name in ("keys", "payctl")} == {"keys": "provision", "payctl": "operations"}


def test_every_dependency_is_there_and_can_come_true(made: dict[str, Container]) -> None:
    for name, container in made.items():
        for needed, condition in container.depends_on().items():
            expected = "service_completed_successfully" if made[needed].once else "service_healthy"
            assert condition == expected, f"{name} waits for {needed}"


# -- what it is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(OWNERS))
def test_what_the_owner_has_to_say_is_demanded_by_its_name(variables: dict[str, str], name: str) -> None:
    with pytest.raises(Unset, match=f"^{name}: "):
        containers({**variables, name: ""}, FILES)


def test_the_owners_file_names_exactly_what_is_demanded_of_him(variables: dict[str, str]) -> None:
    text = (DEPLOY / "production.env").read_text()
    asked = set(re.findall(r"^([A-Z_]+)=$", text, re.MULTILINE))
    offered = re.findall(r"^# ([A-Z_]+)=", text, re.MULTILINE)

    assert asked == OWNERS.keys()
    assert variables_of(PRODUCTION.read_text()) <= asked
    assert [name for name in offered if f"${{{name}" not in PRODUCTION.read_text() + COMPOSE.read_text()] == []
    assert variables["PAYMENTS_STRIPE_WEBHOOK_SECRET"] == OWNERS["PAYMENTS_STRIPE_WEBHOOK_SECRET"]


def test_without_a_word_of_the_owner_administrators_give_what_checkout_lets_them(made: dict[str, Container]) -> None:
    offered = (DEPLOY / "production.env").read_text()
    for name in ("credit_per_grant", "credit_per_admin_day"):
        variable = f"PAYMENTS_{name.upper()}"
        limits = ",".join(f"{currency}={minor}" for currency, minor in Settings.model_fields[name].default.items())
        assert made["checkout"].environment[variable] == limits
        assert f"# {variable}={limits}\n" in offered


def test_a_demos_variables_alone_start_nothing(tmp_path: Path) -> None:
    with pytest.raises(Unset):
        containers(made_variables(tmp_path), FILES)


def test_what_stands_in_the_owners_file_survives_the_making_of_passwords(tmp_path: Path) -> None:
    first = owners_variables(tmp_path)
    subprocess.run([DEPLOY / "make-env", tmp_path / ".env"], check=True, capture_output=True, timeout=20)

    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0, "others may read the passwords"
    assert first.items() >= OWNERS.items()
    assert {name for name in first if name.startswith("PAYMENTS_PASSWORD_")} > set()
    assert f"PAYMENTS_DOMAIN={OWNERS['PAYMENTS_DOMAIN']}\n" in (tmp_path / ".env").read_text()


def test_each_service_has_a_key_of_stripe_of_its_own_in_the_mode_that_is_said(made: dict[str, Container]) -> None:
    keys = {name: made[name].environment.get("PAYMENTS_STRIPE_API_KEY") for name in SERVICES}

    assert len({key for key in keys.values() if key}) == 3
    assert {made[name].environment["PAYMENTS_LIVEMODE"] for name in SERVICES} == {"true"}


def test_what_a_mail_server_is_told_stays_the_text_that_it_is(variables: dict[str, str]) -> None:
    given = {"PAYMENTS_SMTP_TLS": "off", "PAYMENTS_SMTP_PORT": "25", "PAYMENTS_SHOP_NAME": "Mugs & more: a shop"}

    told = containers({**variables, **given}, FILES)["notifications"].named_environment

    assert told.items() >= given.items()
    assert told["PAYMENTS_SMTP_HOST"] == OWNERS["PAYMENTS_SMTP_HOST"]


def test_public_origins_follow_from_the_names(made: dict[str, Container]) -> None:
    checkout, mails = made["checkout"].environment, made["notifications"].environment
    shop, door = f"https://{OWNERS['PAYMENTS_SHOP_DOMAIN']}", f"https://{OWNERS['PAYMENTS_DOMAIN']}"

    assert (checkout["PAYMENTS_SHOP_ORIGIN"], checkout["PAYMENTS_ALLOWED_ORIGINS"]) == (shop, shop)
    assert (mails["PAYMENTS_SHOP_URL"], mails["PAYMENTS_PUBLIC_URL"]) == (shop, door)
    assert made["operations"].environment["PAYMENTS_CONSOLE_URL"] == f"https://{OWNERS['PAYMENTS_CONSOLE_DOMAIN']}"


# -- the way in ------------------------------------------------------------------------------------------------------


def test_one_door_is_open_to_others_and_speaks_tls_alone(made: dict[str, Container]) -> None:
    open_to_others = {(name, *port) for name, c in made.items() for port in c.published if port[0] != "127.0.0.1"}
    on_the_loopback = {name for name, c in made.items() for port in c.published if port[0] == "127.0.0.1"}

    assert open_to_others == {("front-door", "0.0.0.0", 443, 8443)}
    assert on_the_loopback == {"rabbitmq", "prometheus", "alertmanager", "grafana", "jaeger"}


def _led(config: Any, names: Mapping[str, str], folder: Path) -> dict[str, set[str]]:
    """Where each name at the door leads, as Caddy itself reads its files."""
    command = [of_environment("caddy"), "adapt", "--config", str(config)]
    environment = {**os.environ, **names, "HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    servers = json.loads(done.stdout)["apps"]["http"]["servers"].values()
    found: dict[str, set[str]] = {}
    for route in (route for server in servers for route in server["routes"]):
        hosts = [host for match in route.get("match", [{}]) for host in match.get("host", ["any"])]
        dialed = set(re.findall(r'"dial": "([^"]+)"', json.dumps(route)))
        for host in hosts:
            found.setdefault(host, set()).update(dialed)
    return found


def test_the_door_leads_to_what_is_public_and_under_its_own_name_to_the_console(
    made: dict[str, Container], tmp_path: Path
) -> None:
    door = made["front-door"]
    names = {name: value for name, value in door.named_environment.items() if name.startswith("PAYMENTS_")}

    led = _led(front_door(door, tmp_path), names, tmp_path)

    assert led[OWNERS["PAYMENTS_DOMAIN"]] == {
        "webhook-ingest:8000", "notifications:8000", "refunds:8000", "checkout:8000",
    }  # fmt: skip
    assert led[OWNERS["PAYMENTS_CONSOLE_DOMAIN"]] == {"operations:8070"}
    assert not [target for targets in led.values() for target in targets if target.startswith("shop:")]
    assert "/shop" not in "".join(file.read_text() for file in tmp_path.rglob("*") if file.suffix == ".caddy")


def test_the_demos_door_alone_leads_to_its_shop(tmp_path: Path) -> None:
    demo = containers(made_variables(tmp_path))["front-door"]

    led = _led(front_door(demo, tmp_path), {}, tmp_path)

    assert {"shop:8090", "checkout:8000"} <= led["localhost"]
    assert not [target for targets in led.values() for target in targets if target.startswith("operations:")]


def test_both_doors_are_watched_under_the_names_of_their_certificates(made: dict[str, Container]) -> None:
    watched = made["operations"].environment["PAYMENTS_WATCHED_DOORS"].replace(" ", "").split(",")

    assert watched == [
        f"front-door={OWNERS['PAYMENTS_DOMAIN']}@front-door:8443",
        f"console={OWNERS['PAYMENTS_CONSOLE_DOMAIN']}@front-door:8443",
    ]


def test_people_are_believed_by_the_owners_keys_alone(made: dict[str, Container]) -> None:
    keys, environment = made["keys"], made["keys"].named_environment
    given = {target: (source, read_only) for source, target, read_only in keys.mounts}

    assert given[environment["PAYMENTS_PEOPLE_JWKS_FILE"]] == (OWNERS["PAYMENTS_PEOPLE_JWKS"], True)
    for service in SERVICES:
        read = made[service].environment["PAYMENTS_JWKS_FILE"]
        assert read == environment["PAYMENTS_JWKS_FILE"]
        assert made[service].environment["PAYMENTS_JWT_ISSUER"] == OWNERS["PAYMENTS_JWT_ISSUER"]
    assert made["checkout"].environment["PAYMENTS_SERVICE_KEY_FILE"] == environment["PAYMENTS_SERVICE_KEY_FILE"]
    writers = {
        name
        for name, c in made.items()
        for _, target, read_only in c.mounts
        if "jwks/" in target + "/" and not read_only
    }
    assert writers == {"keys"}


# -- operators -------------------------------------------------------------------------------------------------------


def _payctl(folder: Path, *arguments: str, **environment: str) -> list[str]:
    """What `deploy/payctl` asks of Docker."""
    docker = folder / "docker"
    docker.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    docker.chmod(0o700)
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), **environment}
    done = subprocess.run(
        [DEPLOY / "payctl", *arguments], env=given, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.splitlines()


def test_an_operator_brings_his_own_token_which_he_alone_may_read(made: dict[str, Container], tmp_path: Path) -> None:
    token = tmp_path / "mine"
    token.touch(mode=0o600)

    words = _payctl(tmp_path, "dlq", "summary", PAYMENTS_TOKEN_FILE=str(token))

    assert words[:5] == ["compose", "-f", str(COMPOSE), "-f", str(PRODUCTION)]
    assert words[words.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
    inside = made["payctl"].environment["PAYMENTS_TOKEN_FILE"]
    volumes = [word for before, word in pairwise(words) if before == "--volume"]
    assert volumes == [f"{Path.cwd()}:/here", f"{token.resolve()}:{inside}:ro"]
    assert words[-3:] == ["payctl", "dlq", "summary"]


def test_what_needs_no_token_runs_without_one(tmp_path: Path) -> None:
    words = _payctl(tmp_path, "audit")

    assert words.count("--volume") == 1
    assert "--no-deps" in words, "a restore begins while all services are stopped"


def test_the_audit_takes_the_events_for_ours_that_the_services_take(variables: dict[str, str]) -> None:
    made = containers({**variables, "PAYMENTS_STRIPE_ACCOUNTS": "acct_1,acct_2"}, FILES)

    for name in ("PAYMENTS_LIVEMODE", "PAYMENTS_STRIPE_ACCOUNTS"):
        told = made["payctl"].environment[name]
        assert told == made["webhook-ingest"].environment[name]
        assert told in ("true", "acct_1,acct_2")


def test_what_needs_no_token_is_told_who_types_whose_number_has_no_name_in_the_container(tmp_path: Path) -> None:
    words = _payctl(tmp_path, "restore", "begin")

    assert words[words.index("--env") + 1] == f"LOGNAME={pwd.getpwuid(os.getuid()).pw_name}"
    assert words.index("--env") < words.index("payctl"), "it is the container's, and no word of the command"


def test_payctl_is_told_where_everybody_is(made: dict[str, Container]) -> None:
    told = {name: value for name, value in made["payctl"].named_environment.items() if name.endswith("_URL")}

    assert all(urlsplit(url).hostname in made for url in told.values())
    assert made["payctl"].image_environment == image_environment()
