"""Who may come in. Pure.

Sources: OpenID Connect Core 1.0 section 3.1 (the code flow and the checks of an ID token), RFC 7636 (PKCE), RFC 9207
(the issuer in the answer).

A browser that begins to sign in is given one secret, the verifier. Everything else of the attempt follows from it, so
that nothing has to be kept here for somebody who may never come back.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import jwt

from operations.model.identity import Client, IdentityClaims, ProviderMetadata
from operations.model.people import Access, Person
from payments_shared.errors import Refused

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
LEEWAY: Final = timedelta(seconds=30)
AGE_MAX: Final = timedelta(minutes=10)  # of an ID token that was just asked for
TOKEN_MAX_CHARACTERS: Final = 16_384
NAME_MAX: Final = 200
SERVICES: Final = ("service:", "system:", "policy:")  # who acts by itself is called so in audits
HOME: Final = "/console"
ACCESS_MIN: Final = timedelta(minutes=1)  # a token for the services that ends before is none: nobody could use it
PATH_MAX: Final = 2000  # characters, which a cookie and an address have room for
_VERIFIER: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OWN_PATH: Final = re.compile(r"/console(/[A-Za-z0-9_./~-]*)?(\?[A-Za-z0-9_.~%&=+:@-]*)?", re.ASCII)
Claims = Mapping[str, Any]  # Any: JSON


def is_verifier(text: str) -> bool:
    """Whether `text` can be a secret that we gave a browser."""
    return _VERIFIER.fullmatch(text) is not None


def state_of(verifier: str) -> str:
    """What comes back with the browser, and shows that it is the one that went."""
    return _derived("state", verifier)


def nonce_of(verifier: str) -> str:
    """What stands in the ID token, and shows that it was made for this attempt."""
    return _derived("nonce", verifier)


def challenge_of(verifier: str) -> str:
    """The S256 challenge (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def token_hash(token: str) -> bytes:
    """What is kept of a session's token. It has 256 random bits: nothing is gained by a slow hash."""
    return hashlib.sha256(token.encode()).digest()


def csrf_token(token: str) -> str:
    """What each form of a session bears. It says nothing about the token that it is made of."""
    return _derived("csrf", token)


def own_path(text: str) -> str:
    """Where a person wanted to go, if that is a page of ours; else the first page."""
    return (
        text if len(text) <= PATH_MAX and _OWN_PATH.fullmatch(text) and "//" not in text and ".." not in text else HOME
    )


def authorization_url(metadata: ProviderMetadata, client: Client, verifier: str) -> str:
    """Where the browser goes to say who it is."""
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "scope": client.scope,
        "state": state_of(verifier),
        "nonce": nonce_of(verifier),
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
    }
    separator = "&" if "?" in metadata.authorization_endpoint else "?"
    return f"{metadata.authorization_endpoint}{separator}{urlencode(asked)}"


def refuse_stray(client: Client, verifier: str, *, state: str, issuer: str | None) -> None:
    """Check that an answer belongs to the attempt of this browser, and comes from the issuer that was asked.

    Raises:
        Refused: 400 `sign_in_stray`.
    """
    ours = is_verifier(verifier) and hmac.compare_digest(state_of(verifier).encode(), state.encode())
    if not ours or (issuer is not None and issuer != client.issuer):
        raise Refused("sign_in_stray", "This sign-in was not begun in this browser, or took too long.", status=400)


def key_id_of(token: str) -> str | None:
    """The key with which an ID token says it is signed.

    Raises:
        Refused: 502 `identity_invalid`.
    """
    if len(token) > TOKEN_MAX_CHARACTERS:
        raise _invalid("size")
    try:
        found = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError:
        raise _invalid("header") from None
    return found if isinstance(found, str) else None


def verified(token: str, keys: Mapping[str | None, jwt.PyJWK], client: Client, *, nonce: str, now: datetime) -> Claims:
    """The claims of an ID token that was made for this client and this attempt. `keys` by their ids.

    Raises:
        Refused: 502 `identity_invalid`.
    """
    key_id = key_id_of(token)
    key = keys.get(key_id) if key_id is not None else _only(keys)
    algorithm = jwt.get_unverified_header(token).get("alg")
    if key is None or algorithm not in ALGORITHMS:
        raise _invalid("key")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            audience=client.client_id,
            issuer=client.issuer,
            options={
                "require": ["exp", "iat", "iss", "aud", "sub", "nonce"],
                # By the clock that was given, below.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError):
        raise _invalid("signature, issuer or audience") from None
    _check_party(claims, client)
    _check_times(claims, now)
    if not isinstance(claims["nonce"], str) or not hmac.compare_digest(claims["nonce"].encode(), nonce.encode()):
        raise _invalid("nonce")
    return claims


def person_of(claims: Claims, read: IdentityClaims) -> Person:
    """Who signed in.

    Raises:
        Refused: 502 `identity_invalid` without a subject; 403 `no_role` for somebody who has none here.
    """
    subject, name = claims.get(read.subject), claims.get("name")
    if not isinstance(subject, str) or not 0 < len(subject) <= NAME_MAX or subject.startswith(SERVICES):
        raise _invalid(read.subject)
    if read.subject == "email" and claims.get("email_verified") is not True:
        raise _invalid("email_verified")
    granted = _values(_at(claims, read.roles))
    roles = frozenset(role for role, value in read.granted_by.items() if value in granted)
    if not roles:
        raise Refused("no_role", "You are known, but have no role at this console.", status=403)
    return Person(subject, name[:NAME_MAX] if isinstance(name, str) and name else subject, roles)


def access_of(token: str) -> Access:
    """What a token for the services says of itself. It was verified before it was kept."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return Access(token, claims["sub"], datetime.fromtimestamp(claims["exp"], UTC), frozenset(claims.get("roles", ())))


def _check_party(claims: Claims, client: Client) -> None:
    party = claims.get("azp")
    if party is None and isinstance(claims["aud"], list) and len(claims["aud"]) > 1:
        raise _invalid("azp")
    if party is not None and party != client.client_id:
        raise _invalid("azp")


def _check_times(claims: Claims, now: datetime) -> None:
    issued, expires = claims["iat"], claims["exp"]
    for time in (issued, expires, claims.get("nbf", issued)):
        if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < 1e11:
            raise _invalid("times")
    if datetime.fromtimestamp(expires, UTC) < now - LEEWAY:
        raise _invalid("exp")
    if not now - AGE_MAX <= datetime.fromtimestamp(issued, UTC) <= now + LEEWAY:
        raise _invalid("iat")
    if datetime.fromtimestamp(claims.get("nbf", issued), UTC) > now + LEEWAY:
        raise _invalid("nbf")


def _only(keys: Mapping[str | None, jwt.PyJWK]) -> jwt.PyJWK | None:
    """A token may leave its key unnamed where there is but one."""
    return next(iter(keys.values())) if len(keys) == 1 else None


def _at(claims: Claims, path: str) -> object:
    """A claim by its name, which may contain dots, or else by its path."""
    if path in claims:
        return claims[path]
    value: object = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _values(claim: object) -> frozenset[str]:
    match claim:
        case str():
            return frozenset(claim.split())
        case list():
            return frozenset(one for one in claim if isinstance(one, str))
        case _:
            return frozenset()


def _derived(purpose: str, secret: str) -> str:
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _invalid(what: str) -> Refused:
    return Refused("identity_invalid", f"What the keeper of identities says does not hold: {what}.", status=502)
