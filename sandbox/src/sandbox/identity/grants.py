"""What was granted: codes, each for one use, and the tokens that they are changed for.

Sources: OpenID Connect Core 1.0 section 3.1, RFC 6749 section 4.1, RFC 7636.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from sandbox.identity.people import Person
from sandbox.services.keys import mint

CODE_SECONDS: Final = 60
TOKEN_SECONDS: Final = 300
ACCESS_SECONDS: Final = 3000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asked for when it sent somebody here."""

    client_id: str
    redirect_uri: str
    state: str
    nonce: str
    challenge: str


@dataclass(frozen=True, slots=True)
class _Grant:
    asked: Asked
    person: Person
    ends_at: float
    authenticated_at: int


class Denied(Exception):
    """A request that gets no token; the code is one of RFC 6749 section 5.2."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Grants:
    """Codes that nobody has used yet, and the key that signs. Both are gone with the process. Access tokens are for the
    services, and signed with the key that they believe about people, in `people_key_file`."""

    issuer: str
    people_key_file: Path
    key: RSAPrivateKey = field(default_factory=lambda: generate_private_key(public_exponent=65537, key_size=2048))
    key_id: str = field(default_factory=lambda: secrets.token_hex(8))  # another key is never taken for this one
    _codes: dict[str, _Grant] = field(default_factory=dict)

    def grant(self, asked: Asked, person: Person) -> str:
        """A code for somebody who said who he is."""
        self._codes = {code: one for code, one in self._codes.items() if one.ends_at > time.monotonic()}
        code = secrets.token_urlsafe(32)
        self._codes[code] = _Grant(asked, person, time.monotonic() + CODE_SECONDS, int(time.time()))
        return code

    def redeem(self, code: str, *, client_id: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        """The answer of the token endpoint.

        Raises:
            Denied: `invalid_grant`: the code is used, old, or was given for something else.
        """
        grant = self._codes.pop(code, None)
        if grant is None or grant.ends_at <= time.monotonic():
            raise Denied("invalid_grant")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        same = (grant.asked.client_id, grant.asked.redirect_uri) == (client_id, redirect_uri)
        if not same or not hmac.compare_digest(challenge.encode(), grant.asked.challenge.encode()):
            raise Denied("invalid_grant")
        return {
            "access_token": self._for_services(grant.person),
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS,
            "scope": "openid profile email",
            "id_token": self._signed(self._claims(grant)),
        }

    def jwks(self) -> dict[str, Any]:
        """The public key."""
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**public, "kid": self.key_id, "alg": "RS256", "use": "sig"}]}

    def _claims(self, grant: _Grant) -> dict[str, Any]:
        now, person = int(time.time()), grant.person
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": person.subject,
            "aud": grant.asked.client_id,
            "azp": grant.asked.client_id,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "auth_time": grant.authenticated_at,
            "name": person.name,
            "preferred_username": person.subject,
            "email": person.email,
            "email_verified": True,
            "roles": list(person.roles),
        }
        return {**claims, "nonce": grant.asked.nonce} if grant.asked.nonce else claims

    def _for_services(self, person: Person) -> str:
        return mint(self.people_key_file, person.subject, *person.roles, email=person.email, seconds=ACCESS_SECONDS)

    def _signed(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self.key, algorithm="RS256", headers={"kid": self.key_id})
