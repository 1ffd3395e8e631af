"""No secret stands in any version of any file, in any message of a commit, or in what is about to be committed."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.composed import ROOT
from tests.support.left_out import left_out

KINDS: Final = {
    "key of Stripe, live": rb"(?:sk|rk)_(?:org_)?live_[0-9A-Za-z]{10,}",
    "key of Stripe, test": rb"(?:sk|rk)_test_[0-9A-Za-z]{24,}",
    "signing secret of Stripe": rb"whsec_[0-9A-Za-z+/=]{24,}",
    "private key": rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "private JWK": rb'"d"\s*:\s*"[0-9A-Za-z_-]{40,}"',
    "JWT": rb"eyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}",
    "key of AWS": rb"(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])",
    "key of Google": rb"AIza[0-9A-Za-z_-]{35}",
    "token of GitHub": rb"gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{40,}",
    "token of GitLab": rb"glpat-[0-9A-Za-z_-]{20,}",
    "token of Slack": rb"xox[abprs]-[0-9A-Za-z-]{10,}",
    "token of PyPI": rb"pypi-AgE[0-9A-Za-z_-]{40,}",
    "token of npm": rb"npm_[0-9A-Za-z]{36}",
    "password in a URL": (
        rb"(?:postgres(?:ql)?|amqps?|https?|smtps?|redis)://[^\s:/@\"'<>{}$()|]+:[^\s/@\"'<>{}$()|\\]{8,}@"
    ),
}
EXAMPLE: Final = b":PASSWORD@"  # of a login that a reader fills in


def secrets_in(content: bytes) -> Iterator[str]:
    """What looks like a secret, by its kind and its beginning; never all of it, which would spread it."""
    for kind, pattern in KINDS.items():
        for found in set(re.findall(pattern, content)):
            if not found.endswith(EXAMPLE):
                yield f"{kind}: {found[:12].decode()}..."


def _git(*arguments: str, given: bytes = b"", root: Path = ROOT) -> bytes:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True, timeout=120).stdout


def history() -> tuple[bytes, int]:
    """Every version of every file and every message that can be reached, one after another, and how many."""
    reachable = [line.split(b" ", 1)[0] for line in _git("rev-list", "--objects", "--all").splitlines()]
    kinds = _git("cat-file", "--batch-check=%(objectname) %(objecttype)", given=b"\n".join(reachable)).splitlines()
    wanted = [line.split()[0] for line in kinds if not line.endswith(b" tree")]
    return _git("cat-file", "--batch", given=b"\n".join(wanted)), len(wanted)


def is_whole(root: Path) -> bool:
    """Whether all commits and all they hold are there: neither a shallow clone nor one that fetches later."""
    shallow = _git("rev-parse", "--is-shallow-repository", root=root).strip() == b"true"
    promised = _git("rev-list", "--objects", "--all", "--missing=print", root=root)
    return not shallow and not re.search(rb"^\?", promised, re.MULTILINE)


def test_no_version_of_anything_holds_a_secret() -> None:
    if not (ROOT / ".git").exists():
        left_out("the history: this is no clone")
    if not is_whole(ROOT):
        left_out("the whole history: this clone holds a part of it; run: git fetch --unshallow")

    content, count = history()

    assert count > 100, "next to nothing was looked at"
    assert sorted(secrets_in(content)) == []


def test_a_clone_of_the_newest_commits_alone_is_not_taken_for_the_history(tmp_path: Path) -> None:
    def made(name: str, *command: str) -> Path:
        subprocess.run([*command, str(tmp_path / name)], check=True, capture_output=True, timeout=60)
        return tmp_path / name

    origin = made("origin", "git", "init", "-q")
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for message in ("first", "second"):
        _git(*author, "commit", "-q", "--allow-empty", "-m", message, root=origin)
    clone = ("git", "clone", "-q", f"file://{origin}")

    assert is_whole(made("whole", *clone))
    assert not is_whole(made("shallow", *clone, "--depth", "1"))


def test_nothing_that_could_be_committed_holds_a_secret() -> None:
    if not (ROOT / ".git").exists():
        left_out("the history: this is no clone")
    names = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0")
    files = [ROOT / name for name in names if name and (ROOT / name).is_file()]

    assert len(files) > 100
    assert sorted(secrets_in(b"\n".join(file.read_bytes() for file in files))) == []


PLANTED: Final = {
    "key of Stripe, live": "rk_" + "live_" + "a1B2" * 6,
    "key of Stripe, test": "sk_" + "test_" + "a1B2" * 6,
    "signing secret of Stripe": "whsec" + "_" + "a1B2" * 8,
    "private key": "-----BEGIN EC " + "PRIVATE KEY-----",
    "private JWK": '"d": ' + '"' + "a1B2" * 10 + '"',
    "JWT": "eyJ" + "a1B2" * 4 + ".eyJ" + "a1B2" * 4 + "." + "a1B2" * 4,
    "key of AWS": "AKI" + "A" + "A1B2" * 4,
    "key of Google": "AIz" + "a" + "a1B2x" * 7,
    "token of GitHub": "ghp" + "_" + "a1B2" * 9,
    "token of GitLab": "glpat" + "-" + "a1B2" * 5,
    "token of Slack": "xoxb" + "-" + "1234" * 4,
    "token of PyPI": "pypi-" + "AgE" + "a1B2" * 12,
    "token of npm": "npm" + "_" + "a1B2" * 9,
    "password in a URL": "postgresql://checkout" + ":" + "a1B2c3D4" + "@db:5432/payments",
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_would_be_found_and_not_be_shown(kind: str) -> None:
    planted = PLANTED[kind]

    (found,) = secrets_in(f"before = '{planted}'; after".encode())

    assert found.startswith(f"{kind}: ")
    assert planted not in found
