"""Checkout has a key of its own, made where it is needed; keys of people come from whoever keeps their identities."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from payments_shared.auth import KEY_OF_SERVICE, ServiceTokens, Verifier
from payments_shared.errors import Refused
from payments_shared.service_keys import SERVICE, keys_of_people, make_key, public_key
from payments_shared.settings import EXIT_CONFIG
from sandbox.services.keys import ISSUER, PEOPLE, mint

Json = dict[str, Any]  # Any: JSON


class Place:
    """The folders of one deployment, and the keeper of its people's identities."""

    def __init__(self, folder: Path) -> None:
        self.people_file, self.jwks_file = folder / "people.jwks.json", folder / "jwks.json"
        self.key_file, self.people_key = folder / "checkout.pem", folder / "people.pem"
        make_key(self.people_key)
        self.keep(public_key(self.people_key, PEOPLE))

    def keep(self, *keys: Json) -> None:
        self.people_file.write_text(json.dumps({"keys": keys}))

    def run(self, **changed: str) -> "subprocess.CompletedProcess[str]":
        """Run it as its container does."""
        given = {
            "PAYMENTS_PEOPLE_JWKS_FILE": str(self.people_file),
            "PAYMENTS_JWKS_FILE": str(self.jwks_file),
            "PAYMENTS_SERVICE_KEY_FILE": str(self.key_file),
        }
        environment = {"PATH": os.environ["PATH"], **given, **changed}
        command = [sys.executable, "-m", "payments_shared.service_keys"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def verifier(self, audience: str) -> Verifier:
        return Verifier(self.jwks_file, ISSUER, audience)

    @property
    def of_checkout(self) -> str:
        return "Bearer " + ServiceTokens(self.key_file, SERVICE, ISSUER, SERVICE, "inventory").token()

    @property
    def of_olga(self) -> str:
        return "Bearer " + mint(self.people_key, "olga", "operator")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_checkout_and_people_are_believed_each_by_their_own_keys(place: Place) -> None:
    assert place.run().returncode == 0

    assert place.verifier("inventory").verify(place.of_checkout).roles == {"service"}
    assert place.verifier("payments").verify(place.of_olga).subject == "olga"
    assert place.key_file.stat().st_mode & 0o077 == 0
    (own,) = [key for key in json.loads(place.jwks_file.read_text())["keys"] if key.get(KEY_OF_SERVICE)]
    assert (own["kid"], "d" in own) == (SERVICE, False)


def test_repeated_it_keeps_checkouts_key_and_takes_the_peoples_new_ones(place: Place) -> None:
    assert "made" in place.run().stdout
    before, old = place.key_file.read_bytes(), place.of_olga
    make_key(place.people_key)
    place.keep(public_key(place.people_key, PEOPLE))

    assert "is there already" in place.run().stdout

    assert place.key_file.read_bytes() == before
    assert place.verifier("payments").verify(place.of_olga).subject == "olga"
    with pytest.raises(Refused):
        place.verifier("payments").verify(old)


def test_keys_that_sign_nothing_are_left_out(place: Place) -> None:
    """Providers publish those for encryption in the same place, and of algorithms that no reader of tokens knows."""
    sealing = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key()))
    place.keep({**sealing, "kid": "sealing", "use": "enc", "alg": "RSA-OAEP"}, public_key(place.people_key, PEOPLE))

    assert place.run().returncode == 0

    assert place.verifier("payments").verify(place.of_olga).subject == "olga"
    assert "sealing" not in place.jwks_file.read_text()


def test_before_there_is_a_provider_nobody_comes_in_but_checkout(place: Place) -> None:
    place.keep()

    assert place.run().returncode == 0

    assert place.verifier("inventory").verify(place.of_checkout).subject == SERVICE
    with pytest.raises(Refused):
        place.verifier("payments").verify(place.of_olga)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"keys": {}},
        {"keys": ["x"]},
        {"keys": [{"kty": "OKP", "d": "secret"}]},
        {"keys": [{"kty": "oct", "k": "secret"}]},
        {"keys": [{"kty": "OKP", "kid": SERVICE}]},
        {"keys": [{"kty": "OKP", "kid": "x", KEY_OF_SERVICE: "checkout"}]},
    ],
)
def test_what_is_no_set_of_public_keys_of_people_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match=r"JWKS|private|service"):
        keys_of_people(document)


def test_a_file_that_is_missing_or_wrong_ends_it_with_the_variable_and_changes_nothing(place: Place) -> None:
    assert place.run().returncode == 0
    before = place.jwks_file.read_bytes()
    place.people_file.write_text('{"keys": [{"d": "Zq9x"}]}')

    for done in (place.run(), place.run(PAYMENTS_PEOPLE_JWKS_FILE="/nowhere"), place.run(PAYMENTS_JWKS_FILE="")):
        assert done.returncode == EXIT_CONFIG
        assert "PAYMENTS_" in done.stderr
        assert "Zq9" not in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert place.jwks_file.read_bytes() == before
