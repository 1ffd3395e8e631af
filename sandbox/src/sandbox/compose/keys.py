"""`python -m sandbox.compose.keys`: make the deployment's keys unless they are there, each into its reader's folder."""

import os
import shutil
import tempfile
from pathlib import Path

from sandbox.compose.settings import Folders
from sandbox.services.keys import Keys


def make(folders: Folders) -> bool:
    """Whether keys were made. The public part comes last: while it is missing, everything is made again."""
    if (folders.jwks_dir / "jwks.json").exists():
        return False
    with tempfile.TemporaryDirectory() as scratch:
        keys = Keys.make(Path(scratch) / "keys")
        parts = (
            (keys.checkout_key_file, folders.checkout_key_dir),
            (keys.people_key_file, folders.people_key_dir),
            (keys.jwks_file, folders.jwks_dir),
        )
        for source, folder in parts:
            arriving = folder / f".{source.name}"
            shutil.copy(source, arriving)
            os.replace(arriving, folder / source.name)  # noqa: PTH105 - one step: readers see all of it or nothing
    return True


if __name__ == "__main__":
    print("keys made" if make(Folders()) else "keys are there already")
