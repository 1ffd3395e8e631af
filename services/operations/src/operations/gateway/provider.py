"""The keeper of people's identities: an OpenID Connect provider, asked over HTTP."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
import jwt
import structlog

from operations.model.identity import Client, Granted, ProviderMetadata
from payments_shared import tracing
from payments_shared.clock import monotonic_seconds
from payments_shared.errors import Refused, Retryable

TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=3)
ANSWER_MAX_BYTES: Final = 256 * 1024
METADATA_SECONDS: Final = 3600.0
KEYS_AGAIN_SECONDS: Final = 10.0  # between two looks for a key that is not known
Json = dict[str, Any]  # Any: JSON

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Provider:
    """What it publishes is remembered: metadata and keys for an hour, keys only until one is asked for that
    is not among them.

    `metadata_url` may differ from the issuer's own address, where this service reaches it another way than browsers.
    """

    client: Client
    metadata_url: str
    client_secret: str | None
    _http: aiohttp.ClientSession | None = None
    _metadata: ProviderMetadata | None = None
    _metadata_at: float = 0.0
    _keys: Mapping[str | None, jwt.PyJWK] = field(default_factory=dict)
    _keys_at: float = -METADATA_SECONDS
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def metadata(self) -> ProviderMetadata:
        """Where to ask for what.

        Raises:
            Retryable: `identity_unavailable`.
            Refused: 502 `identity_invalid`: the document is another issuer's, or none.
        """
        async with self._asking:
            if self._metadata is None or monotonic_seconds() - self._metadata_at > METADATA_SECONDS:
                document = await self._get(self.metadata_url)
                self._metadata = _read(document, self.client.issuer)
                self._metadata_at = monotonic_seconds()
            return self._metadata

    async def exchange(self, code: str, verifier: str) -> Granted:
        """The tokens for a code.

        Raises:
            Retryable: `identity_unavailable`.
            Refused: 400 `sign_in_stray`: the code is used, old, or another client's.
        """
        metadata = await self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.client.redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"Accept": "application/json", **self._credentials(metadata, form)}
        status, answer = await self._ask("POST", metadata.token_endpoint, data=form, headers=headers)
        if status != 200:
            log.warning("identity.code_refused", status=status, error=str(answer.get("error"))[:100])
            raise Refused("sign_in_stray", "The keeper of identities does not know this sign-in any more.", status=400)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Refused("identity_invalid", "The keeper of identities gave no ID token.", status=502)
        access = answer.get("access_token")
        return Granted(token, access if isinstance(access, str) else None)

    async def keys(self, key_id: str | None) -> Mapping[str | None, jwt.PyJWK]:
        """The keys of the issuer, by their ids; asked for again when `key_id` is new, and after an hour: one that
        the issuer took back must not be believed for ever.

        Raises:
            Retryable: `identity_unavailable`.
        """
        metadata = await self.metadata()
        async with self._asking:
            known = key_id in self._keys if key_id is not None else bool(self._keys)
            if monotonic_seconds() - self._keys_at > (METADATA_SECONDS if known else KEYS_AGAIN_SECONDS):
                self._keys = _signing_keys(await self._get(metadata.jwks_uri))
                self._keys_at = monotonic_seconds()
            return self._keys

    async def close(self) -> None:
        """Close what is open."""
        if self._http is not None:
            await self._http.close()

    def _credentials(self, metadata: ProviderMetadata, form: dict[str, str]) -> dict[str, str]:
        """Who asks: in a header (RFC 6749 section 2.3.1), or in the form where the provider takes only that."""
        if self.client_secret is None:
            form["client_id"] = self.client.client_id
            return {}
        if "client_secret_basic" in metadata.token_endpoint_auth_methods:
            name, secret = quote(self.client.client_id, safe=""), quote(self.client_secret, safe="")
            return {"Authorization": aiohttp.encode_basic_auth(name, secret)}
        form |= {"client_id": self.client.client_id, "client_secret": self.client_secret}
        return {}

    async def _get(self, url: str) -> Json:
        status, answer = await self._ask("GET", url, headers={"Accept": "application/json"})
        if status != 200:
            raise _away()
        return answer

    async def _ask(self, method: str, url: str, **options: Any) -> tuple[int, Json]:  # Any: aiohttp's own
        if self._http is None:
            self._http = aiohttp.ClientSession(
                timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=tracing.client_traces()
            )
        try:
            async with self._http.request(method, url, allow_redirects=False, **options) as answer:
                raw, status = await _bounded(answer.content), answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _away() from error
        if status >= 500:
            raise _away()
        return status, _object(raw)


def _read(document: Json, issuer: str) -> ProviderMetadata:
    endpoints = [document.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
    schemes = ("https",) if issuer.startswith("https://") else ("https", "http")
    urls = [one for one in endpoints if isinstance(one, str) and _scheme(one) in schemes]
    if document.get("issuer") != issuer or len(urls) != len(endpoints):
        raise Refused("identity_invalid", "The keeper of identities describes itself as somebody else.", status=502)
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    known = tuple(one for one in methods if isinstance(one, str)) if isinstance(methods, list) else ()
    return ProviderMetadata(urls[0], urls[1], urls[2], known)


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _signing_keys(document: Json) -> Mapping[str | None, jwt.PyJWK]:
    found: dict[str | None, jwt.PyJWK] = {}
    entries = document.get("keys")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
            continue
        try:
            key = jwt.PyJWK(entry)
        except jwt.PyJWTError:
            log.warning("identity.key_unusable", kid=str(entry.get("kid"))[:64])
            continue
        found[key.key_id] = key
    return found


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """All of an answer, or nothing of one that is too large."""
    raw = b""
    async for piece in content.iter_any():
        raw += piece
        if len(raw) > ANSWER_MAX_BYTES:
            return b""
    return raw


def _object(raw: bytes) -> Json:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _away() -> Retryable:
    return Retryable("identity_unavailable", "The keeper of identities did not answer in time.", retry_after_seconds=5)
