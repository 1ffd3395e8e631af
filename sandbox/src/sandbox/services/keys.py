"""Keys and tokens of a sandbox deployment: one key for people, one for checkout's calls to inventory."""

import time
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from payments_shared.service_keys import SERVICE, make_key, public_key, publish

ISSUER = "payments-sandbox"
PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class Keys:
    """Files of one deployment: private keys 0600, and the public JWKS that services read."""

    folder: Path

    @property
    def jwks_file(self) -> Path:
        return self.folder / "jwks.json"

    @property
    def checkout_key_file(self) -> Path:
        return self.folder / f"{SERVICE}.pem"

    @property
    def people_key_file(self) -> Path:
        return self.folder / f"{PEOPLE}.pem"

    @classmethod
    def make(cls, folder: Path) -> "Keys":
        """Make both keys in `folder`."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = cls(folder)
        for file in (made.people_key_file, made.checkout_key_file):
            make_key(file)
        publish([public_key(made.people_key_file, PEOPLE)], made.checkout_key_file, made.jwks_file)
        return made

    def token(self, subject: str, *roles: str, email: str | None = None, seconds: int = 3000) -> str:
        """A token for a person."""
        return mint(self.people_key_file, subject, *roles, email=email, seconds=seconds)


def mint(key_file: Path, subject: str, *roles: str, email: str | None = None, seconds: int = 3000) -> str:
    """A person's token signed with the key in `key_file`."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": "payments",
        "sub": subject,
        "iat": now,
        "exp": now + seconds,
        "roles": list(roles),
    }
    if email:
        claims["email"] = email
    key = load_pem_private_key(key_file.read_bytes(), password=None)
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": PEOPLE, "typ": "at+jwt"})  # type: ignore[arg-type] # any private key class
