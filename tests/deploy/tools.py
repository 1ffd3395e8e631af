"""Programs that judge or run what is deployed: those installed, else out of the distribution's packages."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.services import debian_packages


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


def promtool(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run promtool."""
    command = [program("promtool", package="prometheus"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=cwd)


def of_environment(name: str) -> str:
    """A program of this Python's own environment."""
    return str(Path(sys.executable).with_name(name))
