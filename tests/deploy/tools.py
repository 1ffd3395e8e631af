"""Programs that judge or run what is deployed: those installed, else out of the distribution's packages."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from sandbox.services import debian_packages
from tests.support.left_out import left_out


@cache  # the distribution takes half a second to say which version it has
def program(name: str, *, package: str) -> str:
    """The path of a program. Without it nothing can be said, so its absence is an error with the command that helps."""
    if found := shutil.which(name):
        return found
    if not debian_packages.available():
        pytest.fail(f"{name} is needed; install {package}")
    try:
        return str(debian_packages.unpacked(package) / "usr/bin" / name)
    except debian_packages.PackagesUnavailable as error:
        pytest.fail(f"{name} is needed; run: sudo apt-get install -y {package} ({error})")


def with_its_share(name: str, *, package: str) -> list[str]:
    """How to start a program that finds what it shares only below /usr/share: as it is installed, else unpacked and with
    its own folder there, which nobody else sees."""
    found = program(name, package=package)
    if not Path(found).is_relative_to(debian_packages.cache_home()):
        return [found]
    unpacked = Path(found).parents[2]
    apart = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False, timeout=20).returncode != 0:
        left_out(f"a mount that only {name} sees; it helps to install {package}")
    return [*apart, "sh", "-c", f'mount --bind {unpacked}/usr/share /usr/share && exec "$0" "$@"', found]


def promtool(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run promtool."""
    command = [program("promtool", package="prometheus"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=cwd)


def of_environment(name: str) -> str:
    """A program of this Python's own environment."""
    return str(Path(sys.executable).with_name(name))
