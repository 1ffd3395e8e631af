"""What the identity provider publishes: how long it is believed, and what of it is refused."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from pydantic import ValidationError

from operations.gateway import provider
from operations.gateway.provider import Provider
from operations.model.identity import Client
from operations.settings import Settings
from payments_shared.errors import Refused, Retryable
from sandbox.identity.grants import Grants

ISSUER = "https://login.example"
CLIENT = Client(ISSUER, "console", "https://console.example/console/signed-in")
PUBLIC = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(generate_private_key(65537, 2048).public_key()))
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
}


@dataclass(slots=True)
class Published(Provider):
    """A provider whose answers stand here. `asked` counts how often its keys were fetched."""

    document: dict[str, Any] = field(default_factory=lambda: dict(DOCUMENT))
    key_ids: tuple[str, ...] = ("k1",)
    away: bool = False
    asked: int = 0

    async def _get(self, url: str) -> dict[str, Any]:
        if self.away:
            raise Retryable("identity_unavailable", "away", retry_after_seconds=1)
        if url != DOCUMENT["jwks_uri"]:
            return self.document
        self.asked += 1
        return {"keys": [{**PUBLIC, "kid": key_id, "use": "sig"} for key_id in self.key_ids]}


@dataclass(slots=True)
class Clock:
    seconds: float = 5.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that somebody moves; the machine has just been started."""
    made = Clock()
    monkeypatch.setattr(provider, "monotonic_seconds", lambda: made.seconds)
    return made


def published(**given: Any) -> Published:
    return Published(CLIENT, f"{ISSUER}/.well-known/openid-configuration", None, **given)


async def test_a_key_that_the_issuer_took_back_is_believed_for_an_hour_at_most(clock: Clock) -> None:
    one = published()
    assert "k1" in await one.keys("k1")
    one.key_ids = ("k2",)
    clock.seconds += provider.METADATA_SECONDS - 1
    assert "k1" in await one.keys("k1")
    assert one.asked == 1

    clock.seconds += 2

    assert "k1" not in await one.keys("k1")


async def test_a_key_that_is_not_known_is_asked_for_now_and_then(clock: Clock) -> None:
    one = published()
    await one.keys("k2")
    await one.keys("k2")
    assert one.asked == 1
    one.key_ids = ("k1", "k2")
    clock.seconds += provider.KEYS_AGAIN_SECONDS + 1

    assert "k2" in await one.keys("k2")


async def test_keys_that_did_not_come_are_asked_for_again_at_once(clock: Clock) -> None:
    one = published()
    await one.metadata()
    one.away = True
    with pytest.raises(Retryable):
        await one.keys("k1")
    one.away = False

    assert "k1" in await one.keys("k1")


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("url", ["http://login.example/x", "ftp://login.example", "https://[", None, ""])
async def test_an_issuer_on_https_has_no_endpoint_without(name: str, url: str | None) -> None:
    with pytest.raises(Refused, match="identity_invalid"):
        await published(document={**DOCUMENT, name: url}).metadata()


def test_the_sandbox_gives_each_of_its_keys_a_name_of_its_own() -> None:
    (one,), (other,) = (Grants(ISSUER, Path("none.pem")).jwks()["keys"] for _ in range(2))

    assert one["kid"] != other["kid"]


@pytest.mark.parametrize("name", ["console_url", "oidc_issuer", "oidc_metadata_url"])
def test_in_live_mode_nobody_signs_in_without_tls(name: str) -> None:
    given: dict[str, Any] = {
        "livemode": True,
        "console_url": "https://c.example",
        "oidc_issuer": ISSUER,
        name: "http://other.example",
    }

    with pytest.raises(ValidationError) as wrong:
        Settings(**given)

    said = {str(error["loc"][0]): error["msg"] for error in wrong.value.errors()}
    assert "must be https in live mode" in said[name]
