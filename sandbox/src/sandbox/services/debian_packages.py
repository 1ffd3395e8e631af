"""PostgreSQL and RabbitMQ out of the distribution's packages, unpacked under the user's cache, nothing installed."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

_LIBRARY: Final = re.compile(r"lib[a-z0-9+.-]+|zlib1g")
_RECURSE: Final = [
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


def as_root(command: str) -> str:
    """The line to type for a command that only root may run."""
    return command if os.geteuid() == 0 else f"sudo {command}"


def unpacked(package: str) -> Path:
    """The folder with `package` alone unpacked, fetched now if need be.

    Raises:
        PackagesUnavailable: no package lists, or the download failed.
    """
    return _unpacked(_folder_name(package), [package])


def unpacked_to_run(package: str, *, parts: tuple[str, ...] = ()) -> Path:
    """The folder with `package`, its dependencies whose names start with one of `parts`, and those libraries of them
    all that the system has not.

    Raises:
        PackagesUnavailable: no package lists, or the download failed.
    """
    name = _folder_name(package)
    chosen = companions(_depends(package, recurse=True), package, parts=parts, installed=_installed())
    if libraries := [library for library in chosen if not library.startswith(parts)]:
        name += "-" + hashlib.sha256(" ".join(libraries).encode()).hexdigest()[:8]
    return _unpacked(name, [package, *chosen])


def versioned(metapackage: str) -> str:
    """The package that a metapackage stands for in this distribution, such as postgresql-15.

    Raises:
        PackagesUnavailable: no package lists, or the metapackage names none.
    """
    _candidate(metapackage)
    return stands_for(_depends(metapackage, recurse=False), metapackage)


def library_environment(program: Path) -> dict[str, str]:
    """What a program must be given to find the libraries that were unpacked with it."""
    if not program.is_relative_to(cache_home()):
        return {}
    root = cache_home() / program.relative_to(cache_home()).parts[0]
    folders = [str(path) for pattern in ("usr/lib/*-linux-*", "lib/*-linux-*") for path in sorted(root.glob(pattern))]
    return {"LD_LIBRARY_PATH": ":".join(folders)} if folders else {}


def needs(depends: str) -> dict[str, list[list[str]]]:
    """What each package in the output of `apt-cache depends` needs: the real packages, any one of which will do."""
    found: dict[str, list[list[str]]] = {}
    package: list[list[str]] = []
    alternatives: list[str] = []
    continued = False
    for line in depends.splitlines():
        name = line.rpartition(" ")[2]
        if not line.startswith(" "):
            package = found.setdefault(name, [])
        elif match := re.match(r" ([ |])(?:Pre)?Depends: ", line):
            if not continued:
                alternatives = []
                package.append(alternatives)
            continued = match[1] == "|"
        elif not line.startswith("    "):  # another relation; its providers are not ours
            alternatives = []
        if line.startswith(" ") and re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
            alternatives.append(name)
    return found


def companions(depends: str, package: str, *, parts: tuple[str, ...], installed: Collection[str]) -> list[str]:
    """The packages to unpack beside `package`: its parts, installed or not, and the libraries that are not installed.

    `depends` is the output of `apt-cache depends --recurse`. Dependencies of other kinds are not followed.
    """
    graph = needs(depends)
    chosen: set[str] = set()
    waiting = [package]
    while waiting:
        for alternatives in graph.get(waiting.pop(), []):
            name = _choice(alternatives, parts, installed)
            if name is not None and name not in chosen:
                chosen.add(name)
                waiting.append(name)
    return sorted(chosen)


def _choice(alternatives: Sequence[str], parts: tuple[str, ...], installed: Collection[str]) -> str | None:
    if part := next((name for name in alternatives if name.startswith(parts)), None):
        return part
    if any(name in installed for name in alternatives):
        return None
    return next((name for name in alternatives if _LIBRARY.fullmatch(name)), None)


def stands_for(depends: str, metapackage: str) -> str:
    """The first dependency of the metapackage that has its name and a version.

    Raises:
        PackagesUnavailable: there is none.
    """
    pattern = re.compile(re.escape(metapackage) + r"-\d[\d.]*")
    for alternatives in needs(depends).get(metapackage, []):
        for name in alternatives:
            if pattern.fullmatch(name):
                return name
    raise PackagesUnavailable(f"{metapackage} names no version; run: {as_root('apt-get update')}")


def _folder_name(package: str) -> str:
    return f"{package}-{re.sub(r'[^A-Za-z0-9.+~-]', '_', _candidate(package))}"


def _unpacked(folder: str, names: Sequence[str]) -> Path:
    target = cache_home() / folder
    if (target / ".complete").exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
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
        raise PackagesUnavailable(f"no package lists for {package}; run: {as_root('apt-get update')}")
    return version


def _policy(package: str) -> str | None:
    output = _run(["apt-cache", "policy", package], cwd=Path("/"))
    match = re.search(r"Candidate: (\S+)", output)
    return match[1] if match and match[1] != "(none)" else None


def _depends(package: str, *, recurse: bool) -> str:
    return _run(["apt-cache", "depends", *(_RECURSE if recurse else []), package], cwd=Path("/"))


def _installed() -> set[str]:
    output = _run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\\n"], cwd=Path("/"))
    return {line.partition(" ")[2] for line in output.splitlines() if line.startswith("installed ")}


def _run(command: Sequence[str], *, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    if done.returncode != 0:
        raise PackagesUnavailable(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
