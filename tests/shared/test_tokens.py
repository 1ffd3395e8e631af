"""A token is good in one shape only, and every other gets the same answer."""

import base64
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from payments_shared import auth
from payments_shared.auth import LEEWAY_SECONDS, Verifier
from payments_shared.errors import Refused
from sandbox.services.keys import ISSUER, Keys

Json = dict[str, Any]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.make(tmp_path / "keys")


@pytest.fixture
def verifier(keys: Keys) -> Verifier:
    return Verifier(keys.jwks_file, ISSUER, "payments")


def claims(**given: Any) -> Json:
    now = int(time.time())
    value = {"iss": ISSUER, "aud": "payments", "sub": "ada", "iat": now, "exp": now + 600, "roles": ["admin"], **given}
    return {name: claim for name, claim in value.items() if claim is not None}


def signed(keys: Keys, body: Json, *, key: Any = None, algorithm: str = "EdDSA", **header: Any) -> str:
    private: Any = key or load_pem_private_key(keys.people_key_file.read_bytes(), password=None)
    headers = {"kid": "people", "typ": "at+jwt", **header}
    return jwt.encode(body, private, algorithm=algorithm, headers=headers)


def unsigned(header: Json, body: Json) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, body)]
    return ".".join([*parts, ""])


def test_a_good_token_names_who_calls(keys: Keys, verifier: Verifier) -> None:
    principal = verifier.verify("Bearer " + signed(keys, claims(email="ada@example.com")))

    assert (principal.subject, principal.roles, principal.email) == ("ada", frozenset({"admin"}), "ada@example.com")


@pytest.mark.parametrize(
    "given",
    [
        {"exp": 1}, {"exp": None}, {"iat": None}, {"sub": None}, {"sub": ""}, {"sub": 7}, {"iss": "somebody"},
        {"iss": None}, {"aud": "inventory"}, {"aud": None}, {"aud": ["payments"]}, {"roles": "admin"}, {"roles": [1]},
        {"iat": 4_000_000_000, "exp": 4_000_000_100}, {"exp": 4_000_000_000}, {"nbf": 4_000_000_000},
        {"exp": "soon"}, {"iat": 1.5}, {"sub": "system:shortfall"}, {"sub": "policy:rules-1"}, {"sub": "stripe:dashboard"},
        {"sub": " System:shortfall"}, {"sub": "\uff53ystem:shortfall"},
    ],
    ids=str,
)  # fmt: skip
def test_claims_out_of_shape_are_refused(keys: Keys, verifier: Verifier, given: Json) -> None:
    with pytest.raises(Refused) as refusal:
        verifier.verify("Bearer " + signed(keys, claims(**given)))

    assert (refusal.value.status, refusal.value.code) == (401, "unauthorized")


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "nobody"}, {"kid": "../people"}, {"kid": "checkout"}, {"typ": "JWT"}, {"jku": "https://evil.example"},
        {"jwk": {}}, {"x5u": "https://evil.example"}, {"crit": ["exp"]},
    ],
    ids=str,
)  # fmt: skip
def test_headers_that_name_other_keys_or_rules_are_refused(keys: Keys, verifier: Verifier, header: Json) -> None:
    with pytest.raises(Refused):
        verifier.verify("Bearer " + signed(keys, claims(), **header))


def test_no_algorithm_and_borrowed_algorithms_are_refused(keys: Keys, verifier: Verifier) -> None:
    private = load_pem_private_key(keys.people_key_file.read_bytes(), password=None)
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    stranger = ed25519.Ed25519PrivateKey.generate()
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    header = {"typ": "at+jwt", "kid": "people"}

    for token in (
        unsigned({**header, "alg": "none"}, claims()),
        unsigned({**header, "alg": "EdDSA"}, claims()),
        signed(keys, claims(), key=public, algorithm="HS256"),
        signed(keys, claims(), key=stranger),
        signed(keys, claims(), key=pem, algorithm="RS256"),
    ):
        with pytest.raises(Refused):
            verifier.verify("Bearer " + token)


def test_a_changed_byte_anywhere_is_refused(keys: Keys, verifier: Verifier) -> None:
    token = signed(keys, claims())

    for position in range(0, len(token), 7):
        spoiled = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        if spoiled.rsplit(".", 1)[1] and position == len(token) - 1:
            continue  # the last character carries bits that base64 drops
        with pytest.raises(Refused):
            verifier.verify("Bearer " + spoiled)


@pytest.mark.parametrize(
    "text", ["", "Bearer", "Bearer ", "Basic x.y.z", "Bearer x", "Bearer a.b.c", "Bearer " + "x" * 9000]
)
def test_what_is_no_bearer_token_is_refused(verifier: Verifier, text: str) -> None:
    with pytest.raises(Refused):
        verifier.verify(text)


def services(keys: Keys, **given: Any) -> str:
    private = load_pem_private_key(keys.checkout_key_file.read_bytes(), password=None)
    return signed(keys, claims(**{"sub": "checkout", "roles": ["service"], **given}), key=private, kid="checkout")


def test_a_services_key_signs_for_that_service_alone(keys: Keys, verifier: Verifier) -> None:
    assert verifier.verify("Bearer " + services(keys)).roles == {"service"}

    wrong: list[Json] = [{"roles": ["admin"]}, {"roles": ["service", "admin"]}, {"roles": []}, {"sub": "ada"}]
    for given in wrong:
        with pytest.raises(Refused):
            verifier.verify("Bearer " + services(keys, **given))


def test_the_peoples_key_makes_nobody_a_service(keys: Keys, verifier: Verifier) -> None:
    claimed: list[Json] = [
        {"roles": ["service"]},
        {"roles": ["admin", "service"]},
        {"roles": ["service"], "sub": "checkout"},
    ]
    for given in claimed:
        with pytest.raises(Refused):
            verifier.verify("Bearer " + signed(keys, claims(**given)))


def test_keys_are_read_again_when_they_change(keys: Keys, verifier: Verifier, tmp_path: Path) -> None:
    old = signed(keys, claims())
    verifier.verify("Bearer " + old)

    renewed = Keys.make(tmp_path / "renewed")
    keys.jwks_file.write_bytes(renewed.jwks_file.read_bytes())
    os.utime(keys.jwks_file, (1, 1))

    assert verifier.verify("Bearer " + signed(renewed, claims())).subject == "ada"
    with pytest.raises(Refused):
        verifier.verify("Bearer " + old)


def test_without_keys_nobody_is_let_in(keys: Keys) -> None:
    with pytest.raises(Refused):
        Verifier(None, ISSUER, "payments").verify("Bearer " + signed(keys, claims()))


def test_a_token_is_verified_once_until_it_ends(
    keys: Keys, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, verified, decode = claims(), [], jwt.decode

    def counted(*given: Any, **how: Any) -> Any:
        verified.append(given)
        return decode(*given, **how)

    monkeypatch.setattr(jwt, "decode", counted)
    token = signed(keys, body)
    at_its_end = body["exp"] + LEEWAY_SECONDS

    first, again = verifier.verify("Bearer " + token), verifier.verify("Bearer " + token)
    before = len(verified)
    monkeypatch.setattr(auth, "time", SimpleNamespace(time=lambda: at_its_end - 0.01))
    verifier.verify("Bearer " + token)
    late = len(verified)
    monkeypatch.setattr(auth, "time", SimpleNamespace(time=lambda: at_its_end))
    verifier.verify("Bearer " + token)

    assert (first, before, late, len(verified)) == (again, 1, 1, 2)
