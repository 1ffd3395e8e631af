"""PostgreSQL and RabbitMQ out of the distribution's packages, unpacked under the user's cache, nothing installed."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_SIMULATE: Final = [
    "--recurse",
    "--no-recommends",
    "--no-suggests",
    "--no-conflicts",
    "--no-breaks",
    "--no-replaces",
    "--no-enhances",
]


class PackagesUnavailable(RuntimeError):
    """The packages cannot be had; the message says the command that would help."""


def cache_home() -> Path:
    """Where unpacked packages are kept between runs. What root unpacks, servers run as somebody else, who could not
    enter root's home."""
    if os.geteuid() == 0 and "XDG_CACHE_HOME" not in os.environ:
        return Path("/var/cache/payments")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "payments"


def available() -> bool:
    """Whether this is a system with apt and dpkg."""
    return bool(shutil.which("apt-get") and shutil.which("dpkg-deb") and shutil.which("apt-cache"))


def unpacked(package: str, *, also: str | None = None) -> Path:
    """The folder with `package` unpacked, fetched now if need be. `also` is a pattern for dependencies to take along.

    Raises:
        PackagesUnavailable: no package lists, or the download failed.
    """
    version = _candidate(package)
    target = cache_home() / f"{package}-{re.sub(r'[^A-Za-z0-9.+~-]', '_', version)}"
    if (target / ".complete").exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    names = [package, *(_dependencies(package, also) if also else [])]
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        root = Path(scratch) / "root"
        debs = Path(scratch) / "debs"
        debs.mkdir(mode=0o755)
        _download(names, debs)
        for deb in sorted(debs.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(deb), str(root)], cwd=debs)
        (root / ".complete").touch()
        if not target.exists():  # another run may have finished first; both made the same
            root.rename(target)
    return target


def _download(names: Sequence[str], folder: Path) -> None:
    command = ["apt-get", "download", "-q", *names]
    try:
        _run(command, cwd=folder)
    except PackagesUnavailable:
        if os.geteuid() != 0:
            raise
        # Old lists name versions that the archive has replaced.
        _run(["apt-get", "update", "-q"], cwd=Path("/"))
        _run(command, cwd=folder)


def _candidate(package: str) -> str:
    version = _policy(package)
    if version is None and os.geteuid() == 0:
        _run(["apt-get", "update", "-q"], cwd=Path("/"))
        version = _policy(package)
    if version is None:
        raise PackagesUnavailable(f"no package lists for {package}; run: sudo apt-get update")
    return version


def _policy(package: str) -> str | None:
    output = _run(["apt-cache", "policy", package], cwd=Path("/"))
    match = re.search(r"Candidate: (\S+)", output)
    return match[1] if match and match[1] != "(none)" else None


def _dependencies(package: str, pattern: str) -> list[str]:
    output = _run(["apt-cache", "depends", *_SIMULATE, package], cwd=Path("/"))
    return sorted({name for name in output.split() if re.fullmatch(pattern, name)})


def _run(command: Sequence[str], *, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    if done.returncode != 0:
        raise PackagesUnavailable(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
