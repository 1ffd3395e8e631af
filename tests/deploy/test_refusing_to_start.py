"""A service whose settings are missing, short, empty or contradict each other ends at once: status 78, a line that
names the variable, and never its value."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from payments_shared import provision
from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.settings import EXIT_CONFIG, ServiceSettings, load_settings
from sandbox.services.children import clean_environment
from tests.deploy.composed import COMPOSE, PRODUCTION, containers, made_variables, owners_variables

CANARY: Final = "canary-7f3a9"
TEST_KEY: Final = "sk_test_" + "0" * 24
LIVE_KEY: Final = "rk_live_" + "0" * 24


def settings_of(service: str) -> type[ServiceSettings]:
    settings: type[ServiceSettings] = import_module(f"{schema_name(service)}.settings").Settings
    return settings


def variable(name: str) -> str:
    return f"PAYMENTS_{name.upper()}"


def _types(annotation: Any) -> Iterator[Any]:  # Any: whatever stands in an annotation
    """`annotation`, and the members of a union."""
    if get_origin(annotation) in (Union, UnionType):
        yield from get_args(annotation)
    else:
        yield annotation


def is_secret(field: FieldInfo) -> bool:
    return SecretStr in _types(field.annotation)


def least(field: FieldInfo) -> int:
    """How long a secret must be."""
    return int(next(rule.min_length for rule in field.metadata if hasattr(rule, "min_length")))


CASES: Final = [(service, name) for service in SERVICES for name in settings_of(service).model_fields]
REQUIRED: Final = [(service, name) for service, name in CASES if settings_of(service).model_fields[name].is_required()]
SECRETS: Final = [(service, name) for service, name in CASES if is_secret(settings_of(service).model_fields[name])]
OF_STRIPE: Final = [service for service, name in CASES if name == "stripe_api_key"]


@pytest.fixture(scope="module", params=["demo", "production"])
def complete(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Mapping[str, str]]:
    """For each service the environment that the compose files give it: the one of the demo, or both."""
    folder = tmp_path_factory.mktemp("env")
    if request.param == "demo":
        made = containers(made_variables(folder))
    else:
        made = containers(owners_variables(folder), [COMPOSE, PRODUCTION])
    return {service: made[service].environment for service in SERVICES}


class Start:
    """Starts of services in environments that differ from a complete one."""

    def __init__(
        self,
        complete: Mapping[str, Mapping[str, str]],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self._complete, self._monkeypatch, self._capsys = complete, monkeypatch, capsys

    def refused(self, service: str, /, **changed: str | None) -> str:
        """What it says at its end; empty when it starts. None takes a variable away."""
        settings = settings_of(service)
        environment = {**self._complete[service], **changed}
        with self._monkeypatch.context() as patch:
            for name in settings.model_fields:
                patch.delenv(variable(name), raising=False)
            for name, value in environment.items():
                if value is not None:
                    patch.setenv(name, value)
            status: object = None
            try:
                load_settings(settings)
            except SystemExit as end:
                status = end.code
        said = self._capsys.readouterr().err
        assert status == (EXIT_CONFIG if said else None)
        return said


@pytest.fixture
def start(
    complete: Mapping[str, Mapping[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Start:
    return Start(complete, monkeypatch, capsys)


@pytest.mark.parametrize("service", SERVICES)
def test_a_complete_environment_is_taken(start: Start, service: str) -> None:
    assert start.refused(service) == ""


@pytest.mark.parametrize(("service", "name"), REQUIRED)
def test_what_is_missing_or_empty_is_named(start: Start, service: str, name: str) -> None:
    missing, empty = (start.refused(service, **{variable(name): value}) for value in (None, ""))

    assert [line.partition(":")[0] for line in missing.splitlines()] == [variable(name)]
    assert [line.partition(":")[0] for line in empty.splitlines()] == [variable(name)]


@pytest.mark.parametrize(("service", "name"), SECRETS)
def test_a_secret_that_is_short_or_empty_is_named_and_not_shown(start: Start, service: str, name: str) -> None:
    shortest = least(settings_of(service).model_fields[name])
    short = "Zq9x" * shortest

    for value in ("", short[: shortest - 1]):
        said = start.refused(service, **{variable(name): value})
        assert said.startswith(f"{variable(name)}: ")
        assert "Zq9" not in said


@pytest.mark.parametrize(
    "text", ["", " , ", "whsec_short", "[", "{}", "[]", '[{"secret": "Zq9x"}]', '["Zq9x"]', "null"]
)
def test_signing_secrets_that_are_none_are_named_and_not_shown(start: Start, text: str) -> None:
    said = start.refused("webhook-ingest", PAYMENTS_STRIPE_WEBHOOK_SECRETS=text)

    assert said.startswith("PAYMENTS_STRIPE_WEBHOOK_SECRETS")
    assert "whsec_short" not in said
    assert "Zq9" not in said


def test_one_short_secret_among_good_ones_is_refused(start: Start) -> None:
    said = start.refused("webhook-ingest", PAYMENTS_STRIPE_WEBHOOK_SECRETS="whsec_" + "a" * 32 + ",whsec_Zq9")

    assert said.startswith("PAYMENTS_STRIPE_WEBHOOK_SECRETS_1_SECRET: ")
    assert "Zq9" not in said


@pytest.mark.parametrize(("service", "name"), CASES)
def test_no_setting_shows_what_it_was_given(start: Start, service: str, name: str) -> None:
    for value in (CANARY, f"{CANARY},{CANARY}", f"[{CANARY}", f'{{"{CANARY}": -1}}', f'["{CANARY}"]'):
        said = start.refused(service, **{variable(name): value})
        assert CANARY not in said
        assert all(line.startswith(variable(name)) for line in said.splitlines())


# -- modes of Stripe -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", OF_STRIPE)
def test_a_key_of_the_other_mode_is_refused_in_both_directions(start: Start, service: str) -> None:
    said = [
        start.refused(service, PAYMENTS_STRIPE_API_KEY=key, PAYMENTS_LIVEMODE=live, PAYMENTS_STRIPE_API_BASE=None)
        for key, live in ((LIVE_KEY, "false"), (LIVE_KEY, None), (TEST_KEY, "true"))
    ]

    assert [text.partition(":")[0] for text in said] == ["PAYMENTS_STRIPE_API_KEY"] * 3
    assert all("PAYMENTS_LIVEMODE" in text for text in said)
    assert not any(key in text for text in said for key in (LIVE_KEY, TEST_KEY))


@pytest.mark.parametrize("service", OF_STRIPE)
def test_a_key_of_the_right_mode_is_taken(start: Start, service: str) -> None:
    live = start.refused(
        service, PAYMENTS_STRIPE_API_KEY=LIVE_KEY, PAYMENTS_LIVEMODE="true", PAYMENTS_STRIPE_API_BASE=None
    )

    assert live == ""
    assert start.refused(service, PAYMENTS_STRIPE_API_KEY=TEST_KEY, PAYMENTS_LIVEMODE="false") == ""


@pytest.mark.parametrize("service", OF_STRIPE)
@pytest.mark.parametrize("key", ["pk_test_", "whsec_", "sk_", "xsk_test_", "SK_TEST_"])
def test_what_is_no_secret_key_is_refused(start: Start, service: str, key: str) -> None:
    said = start.refused(service, PAYMENTS_STRIPE_API_KEY=key + "0" * 24)

    assert said.startswith("PAYMENTS_STRIPE_API_KEY: ")
    assert "0000" not in said


@pytest.mark.parametrize("service", OF_STRIPE)
def test_a_live_key_is_shown_to_nobody_but_stripe(start: Start, service: str) -> None:
    said = start.refused(
        service,
        PAYMENTS_STRIPE_API_KEY=LIVE_KEY,
        PAYMENTS_LIVEMODE="true",
        PAYMENTS_STRIPE_API_BASE="http://stripe:12111",
    )

    assert [line.partition(":")[0] for line in said.splitlines()] == ["PAYMENTS_STRIPE_API_BASE"]


@pytest.mark.parametrize("service", SERVICES)
def test_urls_of_another_server_are_refused_and_not_shown(start: Start, service: str) -> None:
    swapped = start.refused(
        service, PAYMENTS_DATABASE_URL="amqp://a:Zq9x@b:5672/c", PAYMENTS_AMQP_URL="postgresql://a:Zq9x@b:5432/c"
    )

    assert [line.partition(":")[0] for line in swapped.splitlines()] == ["PAYMENTS_DATABASE_URL", "PAYMENTS_AMQP_URL"]
    assert "Zq9" not in swapped


# -- mails -----------------------------------------------------------------------------------------------------------


def test_a_password_goes_to_no_mail_server_in_clear(start: Start) -> None:
    refused = start.refused("notifications", PAYMENTS_SMTP_TLS="off", PAYMENTS_SMTP_PASSWORD="Zq9x")

    assert refused.startswith("PAYMENTS_SMTP_PASSWORD: ")
    assert "Zq9" not in refused
    for tls in (None, "starttls", "implicit"):
        assert start.refused("notifications", PAYMENTS_SMTP_TLS=tls, PAYMENTS_SMTP_PASSWORD="Zq9x") == ""


@pytest.mark.parametrize("name", ["PAYMENTS_MAIL_FROM", "PAYMENTS_MAIL_STAFF"])
def test_in_live_mode_mails_have_somebody_to_come_from_and_to_go_to(start: Start, name: str) -> None:
    ours = {"PAYMENTS_MAIL_FROM": "orders@books.test", "PAYMENTS_MAIL_STAFF": "staff@books.test"}

    assert start.refused("notifications", PAYMENTS_LIVEMODE="true", **ours) == ""
    for value in (None, "staff@shop.example"):
        said = start.refused("notifications", PAYMENTS_LIVEMODE="true", **{**ours, name: value})
        assert said.startswith(f"{name}: ")
    for value in ("", "staff", "@books.test", "staff@"):
        assert start.refused("notifications", **{name: value}).startswith(f"{name}: ")


def test_who_signed_the_mail_server_s_certificate_stands_in_a_file_that_is_there(start: Start) -> None:
    for value in ("", "/nowhere/ca.pem"):
        assert start.refused("notifications", PAYMENTS_SMTP_CA_FILE=value).startswith("PAYMENTS_SMTP_CA_FILE: ")


# -- whole programs --------------------------------------------------------------------------------------------------


def test_the_program_itself_ends_with_the_line_and_nothing_else(complete: Mapping[str, Mapping[str, str]]) -> None:
    environment = clean_environment(**{**complete["inventory"], "PAYMENTS_DATABASE_URL": ""})

    done = subprocess.run(
        [sys.executable, "-m", "inventory"], env=environment, capture_output=True, text=True, check=False, timeout=30
    )

    assert (done.returncode, done.stdout) == (EXIT_CONFIG, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("PAYMENTS_DATABASE_URL: ")


@pytest.mark.parametrize("name", [*SERVICES, provision.AUDITOR])
@pytest.mark.parametrize("password", ["", "Zq9x" * 3])
def test_provisioning_makes_no_login_without_a_password_or_with_a_short_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, password: str
) -> None:
    for each in (*SERVICES, provision.AUDITOR):
        monkeypatch.setenv(f"PAYMENTS_PASSWORD_{schema_name(each).upper()}", "a" * provision.PASSWORD_MIN)
    for url in ("DATABASE_URL", "AMQP_URL", "RABBITMQ_MANAGEMENT_URL"):
        monkeypatch.setenv(f"PAYMENTS_ADMIN_{url}", "x://127.0.0.1:1")
    monkeypatch.setenv(f"PAYMENTS_PASSWORD_{schema_name(name).upper()}", password)

    with pytest.raises(SystemExit) as end:
        provision.main()

    said = capsys.readouterr().err
    assert end.value.code == EXIT_CONFIG
    assert f"PAYMENTS_PASSWORD_{schema_name(name).upper()}" in said
    assert "Zq9" not in said


@pytest.mark.parametrize(
    "place", [f"http://user:{CANARY}@collector:4318", f"http://{CANARY}@collector", "collector:4318"]
)
def test_a_collector_of_spans_is_an_address_without_a_login_or_none(start: Start, place: str) -> None:
    said = start.refused("checkout", PAYMENTS_OTLP_ENDPOINT=place)

    assert said.startswith("PAYMENTS_OTLP_ENDPOINT: ")
    assert CANARY not in said
    for taken in ("", "http://collector:4318", "https://collector.example"):
        assert start.refused("checkout", PAYMENTS_OTLP_ENDPOINT=taken) == ""
    for share in ("-0.1", "1.1", "most"):
        assert start.refused("checkout", PAYMENTS_OTLP_SAMPLE_RATIO=share).startswith("PAYMENTS_OTLP_SAMPLE_RATIO: ")
