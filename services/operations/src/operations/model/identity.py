"""The keeper of identities: where it is asked, as whom, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from operations.model.people import Role


@dataclass(frozen=True, slots=True)
class Client:
    """The console, as the keeper of identities knows it, and what it asks for."""

    issuer: str
    client_id: str
    redirect_uri: str
    scope: str = "openid profile email"


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """Where the keeper of identities is asked for what. Source: OpenID Connect Discovery 1.0 section 3."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IdentityClaims:
    """In which claims of an ID token it stands who somebody is, and by which value of `roles` each role is granted.

    `subject` names the claim that the audit keeps; `roles` may be a path such as `realm_access.roles`.
    """

    subject: str
    roles: str
    granted_by: Mapping[Role, str]


@dataclass(frozen=True, slots=True)
class Granted:
    """What the keeper of identities gave for a code: who somebody is, and his token for the services, if any."""

    id_token: str = field(repr=False)
    access_token: str | None = field(repr=False)
