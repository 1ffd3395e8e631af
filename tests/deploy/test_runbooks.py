"""Runbooks: every alert has a page that helps, and what a page prints can be typed as it stands where it says."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from operations.audit import predicates
from operations.payctl import app as payctl
from operations.payctl.app import completed
from operations.payctl.switches import URLS as KEPT_BY
from payments_shared.contracts.catalog import SERVICES
from payments_shared.metrics import DESCRIBED
from tests.deploy.composed import (
    COMPOSE,
    PRODUCTION,
    ROOT,
    Container,
    addresses,
    containers,
    made_variables,
    owners_variables,
)
from tests.deploy.monitored import ALERTS, DASHBOARDS
from tests.faults.staged import STAGED

RUNBOOKS: Final = ROOT / "docs/runbooks"
EVIDENCE: Final = ROOT / "docs/evidence/faults-outages.md"
AT_THE_CONSOLE: Final[Mapping[str, frozenset[str]]] = {
    "alerting": frozenset({"Home"}),
    "approvals": frozenset({"Refunds", "Home"}),
    "broker": frozenset({"Home"}),
    "certificates": frozenset({"Home"}),
    "checkouts": frozenset({"Services"}),
    "consumers": frozenset({"Services", "Dead letters"}),
    "database": frozenset({"Home"}),
    "dead-letters": frozenset({"Dead letters", "Bulks"}),
    "disputes": frozenset({"Disputes"}),
    "evidence": frozenset({"Disputes"}),
    "fraud": frozenset({"Home", "An order"}),
    "healing": frozenset({"An order"}),
    "http-errors": frozenset({"Home", "Search"}),
    "objectives": frozenset({"Home"}),
    "outbox": frozenset({"Home"}),
    "readiness": frozenset({"Home"}),
    "refunds": frozenset({"Refunds", "Dead letters"}),
    "restore": frozenset({"Home"}),
    "stripe": frozenset({"Home"}),
    "switches": frozenset({"Services", "Home", "Refunds"}),
    "upgrade": frozenset({"Services", "Home"}),
    "webhooks": frozenset({"Stripe"}),
}
"""Where the trouble of each page is shown, or ended."""
TYPED: Final = frozenset({"payctl", "docker", "kubectl"})
ON_THE_MACHINE: Final[Mapping[str, frozenset[str]]] = {
    "README": frozenset({"payctl()", "docker()", "mkdir", "cat", "}"}),  # how payctl is called
    "certificates": frozenset({"openssl"}),
    "objectives": frozenset({"for", "done"}),
    "restore": frozenset({"sh", "compose()", "compose", "-c"}),  # where the database runs
    "upgrade": frozenset({"python", "kill", "compose()", "compose", "git", "sed", "for", "done"}),
    "webhooks": frozenset({"sed"}),
}
"""Beside those: programs that every machine has on which the page is followed."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Container]:
    """All containers."""
    return containers(made_variables(tmp_path_factory.mktemp("env")))


def scripts(page: Path) -> list[str]:
    """What a page prints for a shell, without the files that are written there."""
    found = re.findall(r"^ *```sh\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [re.sub(r"<<'END'\n.*?\nEND$", "", script, flags=re.DOTALL | re.MULTILINE) for script in found]


# -- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_an_alert_leads_to_a_page_that_speaks_of_it(rule: dict[str, Any]) -> None:
    base, _, path = rule["annotations"]["runbook_url"].partition("docs/")
    page = (ROOT / "docs" / path).read_text(encoding="utf-8")
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")

    assert base == "{{ $externalLabels.runbooks }}"
    assert (rule["labels"]["severity"] == "none") == (rule["alert"] == "Watchdog")
    assert rule["labels"]["severity"] in ("none", "warning", "critical")
    assert f"`{rule['alert']}`" in page or rule["alert"] in index
    assert rule["alert"] in index
    assert "**Means.**" in page
    assert "**Money.**" in page
    assert "**Do.**" in page


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("[!R]*.md")), ids=lambda page: page.stem)
def test_a_page_says_at_once_where_to_look_at_the_console_and_with_what_command(page: Path) -> None:
    known = set(re.findall(r"^\| ([A-Z][a-z ]+) \|", (ROOT / "docs/console.md").read_text(), re.MULTILINE))

    _, where, *_ = page.read_text(encoding="utf-8").split("\n\n")

    assert where.startswith("**Where.** Console: ")
    named = set(re.findall(r"\*([A-Z][a-z ]+)\*", where.removeprefix("**Where.**")))
    assert named == AT_THE_CONSOLE[page.stem]
    assert named <= known
    assert "`payctl " in where


def _pages() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in RUNBOOKS.glob("*.md"))


def _options() -> dict[str, set[str]]:
    """The options of each command of payctl."""
    found: dict[str, set[str]] = {}

    def walk(command: Any, path: str) -> None:
        if inner := getattr(command, "commands", None):
            for name, child in inner.items():
                walk(child, f"{path} {name}".strip())
        else:
            found[path] = {option for parameter in command.params for option in parameter.opts}

    walk(get_command(payctl), "")
    return found


def test_runbooks_name_only_commands_and_options_that_exist() -> None:
    commands = _options()
    groups = {name.partition(" ")[0] for name in commands if " " in name}
    named = {" ".join(found).strip() for found in re.findall(r"\bpayctl ([a-z-]+)(?: ([a-z-]+))?\b", _pages())}
    said = re.findall(r"^payctl (.*)", _pages(), re.MULTILINE)

    assert {name if name.partition(" ")[0] in groups else name.partition(" ")[0] for name in named} <= {
        *commands,
        *groups,
    }
    assert len(said) > 6
    for line in said:
        words = line.split()
        command = " ".join(words[:2] if words[0] in groups else words[:1])
        assert set(re.findall(r"(?<= )--[a-z-]+", line)) <= commands[command], line


def _container_of(verb: str, words: list[str]) -> set[str]:
    """The containers that a short command names; of `run` and `exec` the first, before what is run there."""
    takes_one = {"--entrypoint", "-e"}
    plain = [w for before, w in zip(["", *words], words, strict=False) if w[:1] != "-" and before not in takes_one]
    return set(plain[:1] if verb in ("run", "exec") else [w for w in plain if w not in ("||", "break")])


def test_what_runbooks_print_for_a_shell_is_a_script_of_containers_that_exist(tmp_path: Path) -> None:
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", _pages(), re.MULTILINE | re.DOTALL)
    known = containers(made_variables(tmp_path)).keys()
    verbs = r"(?:up -d(?: --[a-z-]+)*|restart|stop|exec|logs --since \w+|run(?: -e \w+| -\S+| \S*files\S*)+)"
    named = re.findall(rf"docker compose -f deploy/compose.yaml {verbs} ([a-z-]+|<service>)", _pages())

    of_production = f"docker compose -f deploy/{COMPOSE.name} -f deploy/{PRODUCTION.name} "
    short = re.findall(r"^ *compose (up|run|exec|stop|rm|build)((?: +[^ #\n\\]+)*)", _pages(), re.MULTILINE)
    owned = containers(owners_variables(tmp_path), [COMPOSE, PRODUCTION]).keys()

    assert len(blocks) > 25
    for block in blocks:
        script = re.sub(r"<[a-z_… ]+>", "blank", block)
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (block, done.stderr)
    assert len(named) + _pages().count(of_production) == _pages().count("docker compose -f deploy/compose.yaml ")
    assert set(named) - {"<service>"} <= known
    assert len(short) > 10
    for verb, words in short:
        assert _container_of(verb, words.split()) <= {*owned, '"$service"', "<service>"}, (verb, words)


def test_runbooks_ask_the_audit_only_for_predicates_that_it_has() -> None:
    asked = [line for line in re.findall(r"\bpayctl audit[^`\n]*", _pages()) if "--only" in line]

    assert len(asked) > 3
    for line in asked:
        when = [p for p in predicates() if p.when == "always" or "--always" not in line]
        assert set(re.findall(r"--only (\w+)", line)) <= {predicate.number for predicate in when}, line


def test_what_a_deleted_queue_lost_is_said_again_by_commands_that_stop_and_start_every_service() -> None:
    readiness, consumers = (
        (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8") for name in ("readiness", "consumers")
    )
    ask, again = scripts(RUNBOOKS / "readiness.md")[-2:]
    stop, begin, start, mails, check = again.splitlines()
    compose = "docker compose -f deploy/compose.yaml"

    assert re.findall(r"^\*\*Money\.\*\* Safe", readiness + consumers, re.MULTILINE) == [], "what it held is lost"
    assert ask.strip() == check == "payctl audit --only I22 --only I23"
    assert ask.strip() in consumers
    assert stop.startswith(f"{compose} stop ")
    assert start.startswith(f"{compose} up -d --no-deps --wait ")
    for line in (stop, start):
        assert {*SERVICES, "front-door"} <= set(line.split())
    assert begin.startswith("payctl restore begin --to ")
    assert mails.startswith("payctl restore mails --taken ")


def test_runbooks_name_only_metrics_that_exist() -> None:
    names = {described.name for described in DESCRIBED.values()}
    named = set(re.findall(r"\bpayments_[a-z_]+[a-z]", _pages())) - {"payments_shared"}

    assert len(named) > 8
    assert [name for name in named if not any(known.startswith(name) for known in names)] == []


def test_runbooks_name_only_dashboards_that_exist() -> None:
    titles = {board["title"] for board in DASHBOARDS.values()}
    named = set(re.findall(r"dashboards? \*([A-Z][a-z]+)\*", _pages()))

    assert named
    assert named <= titles
    assert all(f"*{title}*" in (RUNBOOKS / "README.md").read_text() for title in titles)


# -- what is typed ---------------------------------------------------------------------------------------------------


def unreachable(script: str, made: Mapping[str, Container]) -> list[str]:
    """The addresses in a script that whoever stands at the machine with the containers cannot reach: of containers, whose
    names mean nothing there, and ports of the loopback that nobody publishes."""
    published = {port for container in made.values() for _, port, _ in container.published}
    local = [("127.0.0.1", int(port)) for port in re.findall(r"\b(?:127\.0\.0\.1|localhost):(\d+)", script)]
    wrong = [f"{host}:{port}" for host, port in addresses(script)]
    wrong += [f"{host}:{port}" for host, port in local if port not in published]
    hosts = re.findall(r"://(?:[^@/\s]+@)?([a-z][a-z.-]*)(?=[/\s\"']|$)", script)
    return wrong + [host for host in hosts if host in made]


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_a_command_names_no_host_that_is_not_published_where_it_is_typed(
    page: Path, made: dict[str, Container]
) -> None:
    assert [wrong for script in scripts(page) for wrong in unreachable(script, made)] == []


@pytest.mark.parametrize(
    ("script", "wrong"),
    [
        ("curl -s http://checkout:9000/metrics", ["checkout:9000"]),
        ("export PAYMENTS_AMQP_URL=amqp://operations:…@rabbitmq:5672/payments", ["rabbitmq:5672"]),
        ("curl http://127.0.0.1:9000/readyz", ["127.0.0.1:9000"]),
        ("wget http://grafana/", ["grafana"]),
        ("curl -s http://127.0.0.1:9090/targets", []),
        ("openssl s_client -connect pay.example.com:443 -servername pay.example.com", []),
    ],
)
def test_a_host_that_nobody_reaches_would_be_noticed(script: str, wrong: list[str], made: dict[str, Container]) -> None:
    assert unreachable(script, made) == wrong


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_a_command_begins_with_what_is_there_where_it_is_typed(page: Path) -> None:
    lines = (line for script in scripts(page) for line in script.replace("|\n", "| ").splitlines())
    words = (re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line.strip()).split(" ")[0] for line in lines)

    assert {word for word in words if word} - TYPED - ON_THE_MACHINE.get(page.stem, frozenset()) == set()


def test_logins_and_tokens_are_typed_nowhere() -> None:
    printed = [script for page in RUNBOOKS.glob("*.md") for script in scripts(page)]

    assert [
        script for script in printed if re.search(r"^ *export |://[^/\s]+:[^@\s]+@|Bearer", script, re.MULTILINE)
    ] == []


# -- payctl where the containers are ---------------------------------------------------------------------------------


def _demanded() -> Iterator[tuple[str, str]]:
    """(Command, variable) of every option of payctl that a variable may say."""

    def walk(command: Any, path: str) -> Iterator[tuple[str, str]]:
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, f"{path} {name}".strip())
        for parameter in command.params:
            if isinstance(parameter.envvar, str):
                yield path, parameter.envvar

    yield from walk(get_command(payctl), "")


AS_WEBHOOK_INGEST_HAS_IT: Final = {"PAYMENTS_LIVEMODE", "PAYMENTS_STRIPE_ACCOUNTS"}


def test_the_container_of_payctl_knows_everything_that_its_commands_ask_for(made: dict[str, Container]) -> None:
    known = completed(made["payctl"].environment)
    demanded = set(_demanded()) - {(command, "PAYMENTS_TOKEN_FILE") for command, _ in _demanded()}  # it makes one

    assert len(demanded) >= 40
    assert {variable for _, variable in demanded if not known.get(variable)} == AS_WEBHOOK_INGEST_HAS_IT
    assert not AS_WEBHOOK_INGEST_HAS_IT & made["webhook-ingest"].environment.keys(), "the demo leaves both to the code"


def test_the_container_of_payctl_says_where_every_service_is(made: dict[str, Container]) -> None:
    known = completed(made["payctl"].environment)

    assert known["PAYMENTS_SERVICE_URLS"].replace(" ", "") == ",".join(
        f"{name}=http://{name}:9000" for name in SERVICES
    )
    assert known["PAYMENTS_REFUNDS_URL"] == "http://refunds:9000"
    assert {known[variable] for variable in KEPT_BY.values()} == {
        "http://checkout:9000", "http://refunds:9000", "http://notifications:9000",
    }  # fmt: skip


def test_what_is_said_of_one_service_goes_before_what_is_said_of_all() -> None:
    given = {"PAYMENTS_SERVICE_URLS": "checkout=http://a:1/, refunds=http://b:2", "PAYMENTS_REFUNDS_URL": "http://c:3"}

    known = completed({**given, "PAYMENTS_STAFF_URL": "http://d:4"})

    assert (known["PAYMENTS_CHECKOUT_URL"], known["PAYMENTS_REFUNDS_URL"]) == ("http://a:1", "http://c:3")
    assert known["PAYMENTS_PUBLIC_URL"] == "http://d:4"
    assert "PAYMENTS_OPERATIONS_URL" not in known


# -- what was tried --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [staged.outage.name for staged in STAGED])
def test_an_outage_that_is_tried_has_its_evidence(name: str) -> None:
    sections = re.findall(r"^## (.+)$", EVIDENCE.read_text(encoding="utf-8"), re.MULTILINE)

    assert name[0].upper() + name[1:] in sections, "run: make faults"


def test_the_page_says_how_many_outages_are_tried() -> None:
    number = {8: "eight", 9: "nine", 10: "ten"}[len(STAGED)]

    assert f"The alerts of {number} outages" in (RUNBOOKS / "README.md").read_text(encoding="utf-8")
