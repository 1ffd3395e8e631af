"""Settings of operations."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from operations.model.doors import Door
from payments_shared.contracts.catalog import SERVICES
from payments_shared.http import parse_origin
from payments_shared.settings import ServiceSettings


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("must be a URL such as https://login.example/realms/shop, without a login and a query")
    return value


def _scope(value: str) -> str:
    if "openid" not in value.split(" "):
        raise ValueError("must contain openid")
    return value


Url = Annotated[str, AfterValidator(_url)]
_DOOR: Final = re.compile(
    r"(?P<name>[a-z][a-z0-9-]*)=(?:(?P<tls>[A-Za-z0-9.-]+)@)?(?P<host>[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})"
)
Name = Annotated[str, Field(min_length=1, max_length=255)]


class Settings(ServiceSettings):
    """Times in seconds.

    `replay_lease_seconds`: how long a replay may take before its dead letter is open again; longer than all retry
    tiers together, in which a replay may wait.

    The console is served on `public_port` once `console_url` names the origin at which browsers find it. People sign in
    at `oidc_issuer`, an OpenID Connect provider, which knows the console as `oidc_client_id` and gives it
    `oidc_client_secret`, or none to a public client. Its metadata are asked for at `oidc_metadata_url` where that is
    not where its issuer says. `oidc_roles_claim` is the claim, or the path to it, in which it stands what a person may
    do; `oidc_operator`, `oidc_approver` and `oidc_viewer` are its values that grant these roles. `oidc_subject_claim`
    is what the audit keeps of a person, and must never be given to another one.

    A session ends `session_seconds` after it began, and before that once nobody came for `session_idle_seconds`.

    `oidc_scope` is what is asked for: with what the provider needs to give an access token that the services take.

    `watched_doors` are ways in whose certificates are looked at, `shop=pay.example.com:443,...`; where a door is
    reached under another name than that of its certificate, `shop=pay.example.com@front-door:8443`.

    `service_urls` are the second ports of the services, whose state the console shows: `checkout=http://...,...`.
    `staff_url` is where what staff do about refunds and disputes is found: the first port of refunds.
    `prometheus_url` is the Prometheus whose alerts Home lists.
    """

    measure_seconds: float = Field(default=5.0, gt=0)
    replay_lease_seconds: float = Field(default=900.0, gt=0)

    public_port: int = Field(default=0, ge=0, le=65535)
    console_url: Annotated[str, AfterValidator(parse_origin)] | None = None
    oidc_issuer: Url | None = Field(default=None, validate_default=True)
    oidc_metadata_url: Url | None = None
    oidc_client_id: Name = "payments-console"
    oidc_client_secret: SecretStr | None = Field(default=None, min_length=16)
    oidc_scope: Annotated[str, AfterValidator(_scope)] = "openid profile email"
    oidc_subject_claim: Name = "sub"
    oidc_roles_claim: Name = "roles"
    oidc_operator: Name = "operator"
    oidc_approver: Name = "approver"
    oidc_viewer: Name = "viewer"
    session_seconds: float = Field(default=8 * 3600.0, gt=0, le=24 * 3600)
    session_idle_seconds: float = Field(default=1800.0, gt=0, le=24 * 3600)
    staff_url: Url | None = None
    prometheus_url: Url | None = None
    service_urls: Annotated[dict[str, Url], NoDecode] = Field(default_factory=dict)
    watched_doors: Annotated[tuple[Door, ...], NoDecode] = ()

    @field_validator("watched_doors", mode="before")
    @classmethod
    def _doors(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found = [_DOOR.fullmatch(part.strip()) for part in value.split(",") if part.strip()]
        if not all(found):
            raise ValueError("must be a list of doors such as shop=pay.example.com:443")
        return tuple(
            Door(door["name"], door["host"], int(door["port"]), door["tls"] or door["host"]) for door in found if door
        )

    @field_validator("service_urls", mode="before")
    @classmethod
    def _by_service(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part]
        if {name for name, _, _ in pairs} - set(SERVICES):
            raise ValueError("names something that is no service")
        return {name: url for name, _, url in pairs}

    @field_validator("console_url", "oidc_issuer", "oidc_metadata_url")
    @classmethod
    def _closed_in_live_mode(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("livemode") and not value.startswith("https://"):
            raise ValueError("must be https in live mode")
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _where_people_sign_in(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("console_url") is not None:
            raise ValueError("must say where people sign in, as PAYMENTS_CONSOLE_URL is set")
        return value
