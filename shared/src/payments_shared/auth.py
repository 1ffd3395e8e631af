"""Bearer tokens: JWTs of a fixed shape, verified against keys that we were given beforehand."""

import json
import re
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.utils import base64url_decode

from payments_shared.errors import Refused
from payments_shared.strict_json import strict_json_loads

ALGORITHMS: Final = ("EdDSA", "ES256", "RS256")
TOKEN_MAX_BYTES: Final = 8192
LIFETIME_MAX_SECONDS: Final = 3600
LEEWAY_SECONDS: Final = 15
TYPE: Final = "at+jwt"
VERIFIED_MAX: Final = 1000  # tokens that need not be verified again; then all are forgotten
SERVICE_ROLE: Final = "service"
RESERVED_SUBJECTS: Final = ("system:", "policy:", "stripe:")
"""What begins with these stands for what no person did, where it is kept who did something."""
KEY_OF_SERVICE: Final = "payments_service"
"""The member of a JWK that names the service whose key it is (RFC 7517 section 4 allows members of one's own)."""
SEE_BUYERS: Final = ("admin", "operator", "support")
"""Roles that work with what buyers entrusted to the shop; who only looks or approves does without."""
_FORBIDDEN_HEADERS: Final = frozenset({"jku", "x5u", "jwk", "x5c", "crit", "b64"})
_KEY_ID: Final = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `roles` are among customer, support, admin, approver, operator, viewer, service."""

    subject: str
    roles: frozenset[str]
    email: str | None = None

    def has(self, *roles: str) -> bool:
        """Whether any of `roles` was granted."""
        return not self.roles.isdisjoint(roles)

    @property
    def sees_buyers(self) -> bool:
        """Whether payloads are shown with what tells who a buyer is."""
        return self.has(*SEE_BUYERS)


def _is_reserved(subject: str) -> bool:
    return unicodedata.normalize("NFKC", subject).casefold().lstrip().startswith(RESERVED_SUBJECTS)


def _unauthorized() -> Refused:
    # One body for every cause: which check failed is nobody's business outside.
    return Refused("unauthorized", "A valid bearer token is required.", status=401)


@dataclass(frozen=True, slots=True)
class _Key:
    """A key, and the service that signs with it; None: the keeper of the people's identities does."""

    public: jwt.PyJWK
    service: str | None

    def signs_for(self, principal: Principal) -> bool:
        if self.service is None:
            return SERVICE_ROLE not in principal.roles
        return principal.subject == self.service and principal.roles == {SERVICE_ROLE}


@dataclass(frozen=True, slots=True)
class _Verified:
    """Who a token is of, and when it ends, in seconds of the epoch."""

    principal: Principal
    ends: float


@dataclass(slots=True)
class Verifier:
    """Verifies tokens of one issuer for one audience with the keys of a JWKS file, read again when it changes.

    A key of a service signs for that service alone, and every other key for people alone: whoever steals the one cannot
    make himself the other. A token that was verified is believed until it ends or the keys change: people send the same
    one for up to an hour.
    """

    jwks_file: Path | None
    issuer: str
    audience: str
    _keys: Mapping[str, "_Key"] = field(default_factory=dict)
    _read_at: float = -1.0
    _verified: dict[bytes, "_Verified"] = field(default_factory=dict)

    def verify(self, authorization: str) -> Principal:
        """The principal of an `Authorization` header.

        Raises:
            Refused: 401, for every fault alike.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > TOKEN_MAX_BYTES or token.count(".") != 2:
            raise _unauthorized()
        try:
            return self._principal(token)
        except (jwt.PyJWTError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise _unauthorized() from error

    def _principal(self, token: str) -> Principal:
        self._refresh_keys()
        digest = sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is None or known.ends <= time.time():
            known = self._verify(token)
            if len(self._verified) >= VERIFIED_MAX:
                self._verified.clear()
            self._verified[digest] = known
        return known.principal

    def _verify(self, token: str) -> "_Verified":
        key = self._key_of(token)
        claims = self._claims(token, key.public)
        roles, email = claims.get("roles", []), claims.get("email")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise ValueError("roles")
        principal = Principal(claims["sub"], frozenset(roles), email if isinstance(email, str) else None)
        if not key.signs_for(principal):
            raise ValueError("kid")
        return _Verified(principal, claims["exp"] + LEEWAY_SECONDS)

    def _key_of(self, token: str) -> "_Key":
        # Of a name that stands twice another reader may take the other value: neither is believed.
        head, body, _ = token.split(".")
        strict_json_loads(base64url_decode(head))
        strict_json_loads(base64url_decode(body))
        header = jwt.get_unverified_header(token)
        key_id = header.get("kid")
        if header.get("typ") != TYPE or _FORBIDDEN_HEADERS & header.keys():
            raise ValueError("header")
        if not isinstance(key_id, str) or not _KEY_ID.match(key_id):
            raise ValueError("kid")
        key = self._keys[key_id]
        if header.get("alg") != key.public.algorithm_name or header.get("alg") not in ALGORITHMS:
            raise ValueError("alg")
        return key

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:  # Any: JSON claims
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm_name],
            audience=self.audience,
            issuer=self.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iat", "iss", "aud", "sub"], "strict_aud": True},
        )
        issued, expires, subject = claims["iat"], claims["exp"], claims["sub"]
        if type(issued) is not int or type(expires) is not int or expires - issued > LIFETIME_MAX_SECONDS:
            raise ValueError("times")
        if not isinstance(subject, str) or not subject or _is_reserved(subject):
            raise ValueError("sub")
        return claims

    def _refresh_keys(self) -> None:
        if self.jwks_file is None:
            raise KeyError("no keys")
        changed = self.jwks_file.stat().st_mtime
        if changed != self._read_at:
            document = json.loads(self.jwks_file.read_text(encoding="utf-8"))
            keys = [_Key(jwt.PyJWK(entry), entry.get(KEY_OF_SERVICE)) for entry in document["keys"]]
            self._keys = {key.public.key_id: key for key in keys if key.public.key_id}
            self._verified.clear()
            self._read_at = changed


def authenticate(request: web.Request, verifier: Verifier) -> Principal | None:
    """The caller, or None when no `Authorization` header was sent.

    Raises:
        Refused: 401 for a header that does not verify, or more than one.
    """
    given = request.headers.getall("Authorization", [])
    if not given:
        return None
    if len(given) > 1:
        raise _unauthorized()
    return verifier.verify(given[0])


def require(request: web.Request, verifier: Verifier, *roles: str) -> Principal:
    """The caller, who must hold one of `roles`.

    Raises:
        Refused: 401 without a valid token, 403 without the role.
    """
    principal = authenticate(request, verifier)
    if principal is None:
        raise _unauthorized()
    if not principal.has(*roles):
        raise Refused("forbidden", "This needs another role.", status=403)
    return principal


@dataclass(slots=True)
class ServiceTokens:
    """Mints our own short tokens for the one internal call between services."""

    key_file: Path
    key_id: str
    issuer: str
    subject: str
    audience: str
    _token: str = ""
    _renew_at: float = 0.0

    def token(self) -> str:
        """A token with at least a minute left."""
        now = int(time.time())
        if now >= self._renew_at:
            key = load_pem_private_key(self.key_file.read_bytes(), password=None)
            claims = {
                "iss": self.issuer,
                "aud": self.audience,
                "sub": self.subject,
                "iat": now,
                "exp": now + 600,
                "roles": [SERVICE_ROLE],
            }
            self._token = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": self.key_id, "typ": TYPE})  # type: ignore[arg-type] # any private key class
            self._renew_at = now + 540
        return self._token
