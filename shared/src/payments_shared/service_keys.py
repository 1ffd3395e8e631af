"""`python -m payments_shared.service_keys`: give checkout a key of its own unless it has one, and publish it.

Its public part goes beside the keys of people into the file that all services read. It may be repeated, and must be
once the keeper of people's identities has other keys.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from payments_shared.auth import KEY_OF_SERVICE
from payments_shared.settings import EXIT_CONFIG

SERVICE: Final = "checkout"  # the only one that calls another
PRIVATE_MEMBERS: Final = frozenset({"d", "k", "p", "q", "dp", "dq", "qi", "oth"})
"""Members of a JWK that are secret (RFC 7518, section 6)."""
_VARIABLES: Final = ("PAYMENTS_PEOPLE_JWKS_FILE", "PAYMENTS_JWKS_FILE", "PAYMENTS_SERVICE_KEY_FILE")

Json = dict[str, Any]  # Any: JSON


def make_key(file: Path) -> None:
    """Write a new private key that its owner alone may read."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(file, pem, mode=0o600)


def public_key(file: Path, key_id: str) -> Json:
    """The public part of the key in `file`, as a JWK."""
    key = load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)  # noqa: S101 - `make_key` wrote it
    exported = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
    return {**exported, "kid": key_id, "alg": "EdDSA", "use": "sig"}


def keys_of_people(document: object) -> list[Json]:
    """The keys with which the keeper of people's identities signs.

    Raises:
        ValueError: this is no set of public keys of people.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError('must be a JWKS: {"keys": [...]}')
    for key in keys:
        if PRIVATE_MEMBERS & key.keys():
            raise ValueError("holds a private key, which nobody here may see")
        if key.get("kid") == SERVICE or KEY_OF_SERVICE in key:
            raise ValueError("holds a key that would count as a service's")
    return [key for key in keys if key.get("use", "sig") == "sig"]


def publish(people: Iterable[Json], key_file: Path, jwks_file: Path) -> None:
    """Write what services read: keys of people, and that of checkout, which counts for nobody else."""
    own = {**public_key(key_file, SERVICE), KEY_OF_SERVICE: SERVICE}
    _write(jwks_file, json.dumps({"keys": [*people, own]}).encode(), mode=0o644)


def _write(file: Path, content: bytes, *, mode: int) -> None:
    """In one step: readers see all of it or what was there before."""
    arriving, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(arriving, "wb") as opened:
        opened.write(content)
        os.fchmod(opened.fileno(), mode)
        opened.flush()
        os.fsync(opened.fileno())
    Path(name).replace(file)


def main() -> None:
    """What is absent or no set of public keys ends it with status 78, and a line that names the variable."""
    if absent := [name for name in _VARIABLES if not os.environ.get(name)]:
        sys.stderr.write("set " + ", ".join(absent) + "\n")
        raise SystemExit(EXIT_CONFIG)
    people_file, jwks_file, key_file = (Path(os.environ[name]) for name in _VARIABLES)
    try:
        people = keys_of_people(json.loads(people_file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        sys.stderr.write(f"{_VARIABLES[0]}: {said}\n")
        raise SystemExit(EXIT_CONFIG) from None
    made = not key_file.exists()
    if made:
        make_key(key_file)
    publish(people, key_file, jwks_file)
    sys.stdout.write(f"checkout's key {'made' if made else 'is there already'}; {len(people)} keys of people\n")


if __name__ == "__main__":
    main()
