"""Stripe's own command line tool, fetched from npm when first needed and kept in the user's cache."""

import base64
import hashlib
import platform
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from sandbox.services.debian_packages import cache_home
from tests.support.npm import Unavailable, packed

VERSION: Final = "1.52.0"
BUILDS: Final = {  # npm's integrity of the package that holds the program for this kind of machine
    ("Linux", "x86_64"): (
        "@stripe/cli-linux-x64",
        "q5x2AIP0ZSujN7iJNIdSPerRfQ/08OTWw9ukhCyxvlo2JAfu6xf8cIGhyDv6vZsQuoh4cn3c2tNJ0J+oY+Z37Q==",
    ),
}
TRIGGER_SECONDS: Final = 30


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
            _unpack(packed(f"{package}@{VERSION}", Path(folder)), integrity, kept)
    return kept


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
