"""Forty tokens that are none, and one answer. Source of the cases: RFC 8725 and RFC 6750."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from sandbox.services.keys import ISSUER, Keys
from tests.support.shopping import Shopper

pytestmark = pytest.mark.servers

Json = dict[str, Any]
HEADER: Final = {"alg": "EdDSA", "typ": "at+jwt", "kid": "people"}
LEEWAY: Final = 30


def claims(**given: Any) -> Json:
    now = int(time.time())
    made = {
        "iss": ISSUER,
        "aud": "payments",
        "sub": "ada",
        "iat": now,
        "exp": now + 600,
        "roles": ["customer"],
        **given,
    }
    return {name: value for name, value in made.items() if value is not ...}


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(keys: Keys, header: object, body: object) -> str:
    """Any header and any claims under the right key."""
    key: Any = load_pem_private_key(keys.people_key_file.read_bytes(), password=None)
    head = f"{part(header)}.{part(body)}"
    return f"{head}.{part(key.sign(head.encode()))}"


def with_claims(keys: Keys, **given: Any) -> str:
    return signed(keys, HEADER, claims(**given))


def with_header(keys: Keys, **given: Any) -> str:
    header = {name: value for name, value in {**HEADER, **given}.items() if value is not ...}
    return signed(keys, header, claims())


def mac(keys: Keys, secret: bytes) -> str:
    head = f"{part({**HEADER, 'alg': 'HS256'})}.{part(claims())}"
    return (
        f"{head}.{part(jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head.encode(), secret))}"
    )


def tokens(keys: Keys) -> Mapping[str, str]:
    """What is wrong with each, and the token."""
    now = int(time.time())
    own: Any = load_pem_private_key(keys.people_key_file.read_bytes(), password=None)
    raw = own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = own.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stranger = ed25519.Ed25519PrivateKey.generate()
    curve = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(stranger.public_key()))
    head, body, mark = with_claims(keys).split(".")
    strangers = stranger.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    twice = b'{"iss":"%s","aud":"payments","sub":"eve","sub":"ada","iat":%d,"exp":%d,"roles":["customer"]}' % (
        ISSUER.encode(), now, now + 600,
    )  # fmt: skip
    endless = b'{"iss":"%s","aud":"payments","sub":"ada","iat":%d,"exp":1e400,"roles":["customer"]}' % (
        ISSUER.encode(),
        now,
    )
    return {
        # algorithms
        "alg none": f"{part({**HEADER, 'alg': 'none'})}.{body}.",
        "alg None": f"{part({**HEADER, 'alg': 'None'})}.{body}.",
        "alg nOnE": f"{part({**HEADER, 'alg': 'nOnE'})}.{body}.",
        "HS256 with the public key": mac(keys, raw),
        "HS256 with the public key as PEM": mac(keys, pem),
        "ES256 under the name of another key": jwt.encode(claims(), curve, "ES256", headers={**HEADER, "alg": "ES256"}),
        "crit b64": with_header(keys, crit=["b64"], b64=False),
        "no algorithm": with_header(keys, alg=...),
        "another's key": jwt.encode(claims(), strangers, "EdDSA", headers=HEADER),
        # structure
        "empty signature": f"{head}.{body}.",
        "no signature": f"{head}.{body}",
        "four parts": f"{head}.{body}.{mark}.{mark}",
        "five parts": f"{head}.{body}.{mark}.{mark}.{mark}",
        "a claim twice": signed(keys, HEADER, twice),
        "a header twice": signed(keys, b'{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"people"}', claims()),
        "claims are a list": signed(keys, HEADER, [claims()]),
        "no JSON": signed(keys, HEADER, b"\xff\xfe"),
        "a changed claim": f"{head}.{part(claims(roles=['admin']))}.{mark}",
        # time
        "expired": with_claims(keys, iat=now - 600, exp=now - LEEWAY),
        "never expires": with_claims(keys, exp=...),
        "expires as text": with_claims(keys, exp=str(now + 600)),
        "expires at infinity": signed(keys, HEADER, endless),
        "lives for a day": with_claims(keys, exp=now + 86_400),
        "not yet": with_claims(keys, nbf=now + 300),
        "from the future": with_claims(keys, iat=now + 300, exp=now + 600),
        "from no time": with_claims(keys, iat=...),
        # audience, issuer, type
        "another audience": with_claims(keys, aud="inventory"),
        "several audiences": with_claims(keys, aud=["payments", "inventory"]),
        "no audience": with_claims(keys, aud=...),
        "another issuer": with_claims(keys, iss="https://evil.example"),
        "an id token": with_header(keys, typ="JWT"),
        "no type": with_header(keys, typ=...),
        # key ids and keys from elsewhere
        "kid is a path": with_header(keys, kid="../../dev/null"),
        "kid is SQL": with_header(keys, kid="' OR 1=1"),
        "kid of 5 KB": with_header(keys, kid="x" * 5000),
        "kid of nobody": with_header(keys, kid="nobody"),
        "no kid": with_header(keys, kid=...),
        "jwk": with_header(keys, jwk=public),
        "jku": with_header(keys, jku="https://evil.example/jwks.json"),
        "x5u": with_header(keys, x5u="https://evil.example/chain.pem"),
        # subject and roles
        "no subject": with_claims(keys, sub=...),
        "empty subject": with_claims(keys, sub=""),
        "a number as subject": with_claims(keys, sub=7),
        "roles as text": with_claims(keys, roles="customer"),
    }


async def test_every_odd_token_gets_the_same_401(shopper: Shopper) -> None:
    url, keys = shopper.deployment.front_door_url + "/api/payments/orders", shopper.deployment.keys
    odd = {name: [("Authorization", f"Bearer {token}")] for name, token in tokens(keys).items()}
    good = with_claims(keys)
    odd |= {
        "nothing": [],
        "Bearer twice": [("Authorization", f"Bearer Bearer {good}")],
        "two headers": [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")],
        "another scheme": [("Authorization", f"Token {good}")],
    }
    told: dict[str, set[str]] = {}

    for name, headers in odd.items():
        async with shopper.http.get(url, headers=headers) as answer:
            body = await answer.json(content_type="application/problem+json")
            assert answer.status == 401, name
            assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"', name
        body.pop("request_id")
        told.setdefault(json.dumps(body, sort_keys=True), set()).add(name)

    assert len(odd) >= 40
    assert len(told) == 1, told


async def test_a_good_token_is_let_in_whatever_the_case_of_its_scheme_and_not_by_the_query(shopper: Shopper) -> None:
    url, token = shopper.deployment.front_door_url + "/api/payments/orders", with_claims(shopper.deployment.keys)

    answers = [await shopper.call("GET", url, Authorization=f"{scheme} {token}") for scheme in ("Bearer", "bearer")]
    queried = await shopper.call("GET", f"{url}?access_token={token}")

    assert [answer.status for answer in answers] == [200, 200]
    assert queried.status == 401
