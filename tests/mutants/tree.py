"""A copy of the tree that may be damaged, and an interpreter whose programs, services included, run the copy."""

import contextlib
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.catalogue import ROOT, Mutant


@dataclass(frozen=True, slots=True)
class Tree:
    """The copy."""

    folder: Path
    python: Path

    @contextlib.contextmanager
    def damaged(self, mutant: Mutant) -> Iterator[None]:
        """The mistake is in the copy while the block runs."""
        file = self.folder / mutant.file
        whole = file.read_text(encoding="utf-8")
        file.write_text(mutant.applied_to(whole), encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(whole, encoding="utf-8")


@contextlib.contextmanager
def copied() -> Iterator[Tree]:
    """All files that git knows, as they are now, in a folder that vanishes with the block."""
    with tempfile.TemporaryDirectory(prefix="pay-mutants-") as name:
        folder = Path(name) / "tree"
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for path in filter(None, listed.split("\0")):
            if (ROOT / path).is_file():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, folder / path)
        yield Tree(folder, _interpreter(Path(name) / "venv", folder))


def _interpreter(venv: Path, folder: Path) -> Path:
    """A virtual environment that finds the copy's packages first and all others where we find them.

    Services are started with a small environment, so that a path in a variable would not reach them.
    """
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    packages = venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to(base)
    (venv / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    sources = sorted(str(found) for found in folder.glob("**/src") if (found.parent / "pyproject.toml").exists())
    ours = [sysconfig.get_path("purelib"), *(path for path in site.getsitepackages() if Path(path).is_dir())]
    others = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(ours)]
    (packages / "first.pth").write_text("\n".join([*sources, *others]) + "\n")
    return venv / "bin/python"
