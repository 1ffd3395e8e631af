"""The Dockerfile is clean, installs nothing unpinned, and ends in an image without root, shell forms or secrets."""

import fnmatch
import json
import re
import subprocess

from tests.deploy.composed import DEPLOY, ROOT, dockerfile, image_environment
from tests.deploy.tools import of_environment

TEXT = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def _hadolint(text: str) -> "subprocess.CompletedProcess[str]":
    command = [of_environment("hadolint"), "--no-color", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


def _last_stage() -> list[tuple[str, str]]:
    start = max(i for i, (word, _) in enumerate(dockerfile()) if word == "FROM")
    return dockerfile()[start:]


def _the(word: str) -> str:
    (rest,) = (rest for found, rest in _last_stage() if found == word)
    return rest


def test_hadolint_finds_nothing_and_would_find_something() -> None:
    damaged = TEXT.replace('ENTRYPOINT ["/usr/local/bin/service"]', "ENTRYPOINT /usr/local/bin/service")

    assert _hadolint(TEXT).stdout == ""
    assert "DL3025" in _hadolint(damaged).stdout


def test_the_image_is_built_in_one_stage_and_shipped_in_another() -> None:
    stages = [rest for word, rest in dockerfile() if word == "FROM"]

    assert stages == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    assert re.search(r"^ARG PYTHON_IMAGE=python:\d+\.\d+\.\d+-slim-[a-z]+$", TEXT, re.MULTILINE), "a pinned base"


def test_everything_installed_is_pinned_by_hash_and_never_built() -> None:
    (install,) = (rest for word, rest in dockerfile() if word == "RUN" and "pip install" in rest)
    pins = (ROOT / "requirements.lock").read_text(encoding="utf-8")

    assert {"--require-hashes", "--no-deps", "--only-binary", "--no-cache-dir"} <= set(install.split())
    assert len(re.findall(r"^[a-z0-9-]+==", pins, re.MULTILINE)) <= pins.count("--hash=sha256:")
    assert "payments-" not in re.sub(r"#.*", "", pins)
    assert not any("apt-get" in rest or "curl" in rest for word, rest in dockerfile() if word == "RUN")


def test_what_does_not_depend_on_the_service_comes_first() -> None:
    words = dockerfile()

    assert words.index(("ARG", "SERVICE")) > next(i for i, (w, r) in enumerate(words) if "pip install" in r)


def test_it_runs_as_nobody_special_and_in_exec_form() -> None:
    user, _, group = _the("USER").partition(":")

    assert int(user) >= 1000
    assert int(group) >= 1000
    assert json.loads(_the("ENTRYPOINT")) == ["/usr/local/bin/service"]
    assert json.loads(_the("HEALTHCHECK").partition("CMD ")[2]) == ["python", "-m", "payments_shared.probe"]
    assert "SHELL" not in dict(_last_stage())


def test_no_secret_is_baked_in() -> None:
    names = {*image_environment(), *(rest.partition("=")[0] for word, rest in dockerfile() if word == "ARG")}

    assert not [name for name in names if re.search(r"SECRET|PASSWORD|TOKEN|API_KEY|URL", name)]


def test_what_is_copied_exists_and_is_let_through_by_dockerignore() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let_through = [line.removeprefix("!") for line in lines if line.startswith("!")]
    sources = [
        source
        for word, rest in dockerfile()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]

    assert lines[0] == "*", "nothing goes into the context by accident"
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == line or fnmatch.fnmatch(source, f"{line}/*") for line in let_through), source
    assert set(let_through) == set(sources), "and nothing more"
