"""Who comes in, and every way not to: forged, foreign, old and borrowed tokens."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key

from operations.decide import signing_in as decide
from operations.model.identity import Client, IdentityClaims, ProviderMetadata
from operations.model.people import Role
from payments_shared.errors import Refused

NOW = datetime(2026, 8, 26, 12, tzinfo=UTC)
CLIENT = Client("https://login.example", "console", "https://console.example/console/signed-in")
METADATA = ProviderMetadata(
    "https://login.example/go?tenant=1", "https://login.example/token", "https://l.example/k", ()
)
READ = IdentityClaims("sub", "roles", {Role.OPERATOR: "operator", Role.APPROVER: "approver", Role.VIEWER: "viewer"})
VERIFIER = "ab" * 32
KEY, OTHER = new_rsa_key(65537, 2048), new_rsa_key(65537, 2048)


def keys_of(key: RSAPrivateKey, key_id: str = "k1") -> dict[str | None, jwt.PyJWK]:
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return {key_id: jwt.PyJWK({**public, "kid": key_id, "use": "sig"})}


KEYS = keys_of(KEY)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(NOW.timestamp())
    given = {
        "iss": CLIENT.issuer, "aud": CLIENT.client_id, "sub": "olga", "name": "Olga", "iat": now, "exp": now + 300,
        "nonce": decide.nonce_of(VERIFIER), "roles": ["operator"], **changes,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def token(given: Mapping[str, Any] | None = None, *, key: Any = KEY, alg: str = "RS256", kid: str | None = "k1") -> str:
    return jwt.encode(dict(given or claims()), key, algorithm=alg, headers={"kid": kid} if kid else {})


def verified(text: str, keys: Mapping[str | None, jwt.PyJWK] = KEYS, *, now: datetime = NOW) -> decide.Claims:
    return decide.verified(text, keys, CLIENT, nonce=decide.nonce_of(VERIFIER), now=now)


def test_a_token_of_the_issuer_for_this_attempt_is_believed() -> None:
    person = decide.person_of(verified(token()), READ)

    assert (person.subject, person.name, person.roles) == ("olga", "Olga", frozenset({Role.OPERATOR}))
    assert person.acts


def test_where_there_is_one_key_a_token_need_not_name_it() -> None:
    assert verified(token(kid=None))["sub"] == "olga"
    with pytest.raises(Refused, match="key"):
        verified(token(kid=None), {**KEYS, **keys_of(OTHER, "k2")})


@pytest.mark.parametrize(
    "given",
    [
        {"iss": "https://evil.example"},
        {"iss": CLIENT.issuer + "/"},
        {"aud": "shop"},
        {"aud": ["shop", "other"]},
        {"aud": [CLIENT.client_id, "other"]},
        {"aud": [CLIENT.client_id, "other"], "azp": "other"},
        {"azp": "shop"},
        {"nonce": "0" * 64},
        {"nonce": None},
        {"nonce": 7},
        {"nonce": "ä"},
        {"sub": None},
        {"exp": None},
        {"iat": None},
        {"exp": int((NOW - timedelta(seconds=31)).timestamp())},
        {"iat": int((NOW + timedelta(seconds=31)).timestamp())},
        {"iat": int((NOW - timedelta(minutes=11)).timestamp())},
        {"nbf": int((NOW + timedelta(seconds=31)).timestamp())},
        {"iat": "now"},
        {"exp": 1e300},
        {"exp": True},
    ],
    ids=str,
)
def test_a_token_of_another_issuer_client_attempt_or_time_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        verified(token(claims(**given)))

    assert (refused.value.code, refused.value.status) == ("identity_invalid", 502)


def test_a_token_for_us_among_others_says_that_it_is_for_us() -> None:
    given = claims(aud=[CLIENT.client_id, "other"], azp=CLIENT.client_id)

    assert verified(token(given))["sub"] == "olga"


@pytest.mark.parametrize(
    "forged",
    [
        token(key=OTHER),
        token(kid="unknown"),
        token(key=new_ec_key(SECP256R1()), alg="ES256"),
        token(key="x" * 64, alg="HS256"),
        jwt.encode(claims(), None, algorithm="none", headers={"kid": "k1"}),  # type: ignore[arg-type] # no key at all
        token()[:-6] + "AAAAAA",
        token() + "." + token(),
        "",
        "a.b.c",
        "x" * 20_000,
    ],
    ids=[
        "another key",
        "unknown key",
        "another kind of key",
        "shared secret",
        "unsigned",
        "cut",
        "two",
        "",
        "abc",
        "long",
    ],
)
def test_what_the_issuer_did_not_sign_is_refused(forged: str) -> None:
    with pytest.raises(Refused) as refused:
        verified(forged)

    assert refused.value.code == "identity_invalid"


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    """The old trick: HS256 with the public key as its secret."""
    head, body, _ = token().split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**header, "alg": "HS256"}).encode()).rstrip(b"=").decode()

    with pytest.raises(Refused):
        verified(f"{forged}.{body}.AAAA")


@pytest.mark.parametrize(
    ("path", "given", "roles"),
    [
        ("roles", {"roles": "viewer approver"}, {Role.VIEWER, Role.APPROVER}),
        ("realm_access.roles", {"realm_access": {"roles": ["viewer"]}}, {Role.VIEWER}),
        ("https://shop.example/roles", {"https://shop.example/roles": ["operator", 7]}, {Role.OPERATOR}),
    ],
)
def test_roles_stand_where_the_deployment_says(path: str, given: dict[str, Any], roles: set[Role]) -> None:
    read = IdentityClaims("sub", path, READ.granted_by)

    assert decide.person_of({**claims(roles=None), **given}, read).roles == roles


@pytest.mark.parametrize("roles", [None, [], ["Operator"], ["operators"], "", {"operator": True}, [["operator"]]])
def test_who_has_no_role_is_not_let_in(roles: object) -> None:
    with pytest.raises(Refused) as refused:
        decide.person_of(claims(roles=roles), READ)

    assert (refused.value.code, refused.value.status) == ("no_role", 403)


@pytest.mark.parametrize("subject", ["", None, 7, "x" * 201, "service:checkout", "policy:2"])
def test_who_has_no_subject_is_nobody(subject: object) -> None:
    with pytest.raises(Refused, match="identity_invalid"):
        decide.person_of({**claims(), "sub": subject}, READ)


def test_an_address_names_somebody_only_once_it_is_verified() -> None:
    read = IdentityClaims("email", "roles", READ.granted_by)
    given = {**claims(), "email": "olga@shop.example"}

    assert decide.person_of({**given, "email_verified": True}, read).subject == "olga@shop.example"
    for said in ({}, {"email_verified": False}, {"email_verified": "true"}):
        with pytest.raises(Refused, match="email_verified"):
            decide.person_of({**given, **said}, read)


def test_the_way_out_carries_everything_that_is_checked_on_the_way_back() -> None:
    address = urlsplit(decide.authorization_url(METADATA, CLIENT, VERIFIER))
    asked = {name: value for name, [value] in parse_qs(address.query).items()}

    assert asked["tenant"] == "1"
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["redirect_uri"] == CLIENT.redirect_uri
    assert "openid" in asked["scope"].split()
    derived = [asked[name] for name in ("state", "nonce", "code_challenge")]
    assert len({*derived, VERIFIER, decide.csrf_token(VERIFIER)}) == 5
    decide.refuse_stray(CLIENT, VERIFIER, state=asked["state"], issuer=CLIENT.issuer)


def test_the_challenge_is_that_of_the_standard() -> None:
    """RFC 7636, appendix B."""
    assert decide.challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


@pytest.mark.parametrize(
    ("verifier", "state", "issuer"),
    [
        (VERIFIER, decide.state_of("cd" * 32), None),
        (VERIFIER, "", None),
        (VERIFIER, "ä", None),
        ("", decide.state_of(""), None),
        ("short", decide.state_of("short"), None),
        (VERIFIER, decide.state_of(VERIFIER), "https://evil.example"),
    ],
)
def test_an_answer_to_another_attempt_or_of_another_issuer_is_refused(
    verifier: str, state: str, issuer: str | None
) -> None:
    with pytest.raises(Refused) as refused:
        decide.refuse_stray(CLIENT, verifier, state=state, issuer=issuer)

    assert (refused.value.code, refused.value.status) == ("sign_in_stray", 400)


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example", "//evil.example", "/console//evil.example", "/\\evil.example", "javascript:alert(1)",
        "/consolation", "/console/../x", "/console\r\nSet-Cookie: a=b", "/shop", "", "/console?x=<script>",
    ],
)  # fmt: skip
def test_nobody_is_sent_anywhere_else(path: str) -> None:
    assert decide.own_path(path) == "/console"


@pytest.mark.parametrize(
    "path", ["/console", "/console/dead-letters/list?service=checkout&status=open", "/console/orders/ord_1"]
)
def test_people_come_back_to_the_page_that_they_wanted(path: str) -> None:
    assert decide.own_path(path) == path
