"""What people do at another service, under their own names: each request bears the own token of who asks for it.

The service decides whether it believes that token and what its person may do. Nothing here can ask in anybody's name
who has not signed in.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from operations.model.people import Access
from payments_shared import tracing
from payments_shared.errors import FieldError, PaymentsError, Refused, Retryable
from payments_shared.http import KEPT_SECONDS

TIMEOUT: Final = aiohttp.ClientTimeout(total=12, connect=2)  # a step of a backfill takes five seconds and a page
ANSWER_MAX_BYTES: Final = 4 * 1024 * 1024
DOCUMENT_MAX_BYTES: Final = 8 * 1024 * 1024  # above what Stripe takes
TEXT_MAX: Final = 500
READS: Final = frozenset({"GET"})
NOTHING: Final[Mapping[str, str]] = {}
Json = dict[str, Any]  # Any: JSON


@dataclass(slots=True)
class Staff:
    """The port of `service` for staff."""

    service: str
    url: str
    _http: aiohttp.ClientSession | None = None

    async def ask(
        self,
        access: Access,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = NOTHING,
        body: object | None = None,
    ) -> Json:
        """What the service answers.

        Raises:
            Refused: as the service does; 403 `token_refused`: it does not believe the token; 503 `..._stopped`:
                somebody stopped that; 504 `answer_lost`: what was to be changed may have been.
            Retryable: it is away, and nothing was changed.
        """
        status, raw = await self._answer(access, method, path, ANSWER_MAX_BYTES, params=dict(query), json=body)
        answer = _object(raw)
        if 200 <= status < 300 and answer is not None:
            return answer
        raise self._refusal(status, method, answer or {})

    async def download(self, access: Access, path: str) -> bytes:
        """A document.

        Raises:
            Refused, Retryable: as `ask`.
        """
        status, raw = await self._answer(access, "GET", path, DOCUMENT_MAX_BYTES)
        if status == 200:
            return raw
        raise self._refusal(status, "GET", _object(raw) or {})

    async def close(self) -> None:
        """Close what is open."""
        if self._http is not None:
            await self._http.close()

    async def _answer(
        self,
        access: Access,
        method: str,
        path: str,
        most: int,
        **options: Any,  # Any: aiohttp's own
    ) -> tuple[int, bytes]:
        if self._http is None:
            # Nothing is kept between requests: the next may be somebody else's.
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(keepalive_timeout=KEPT_SECONDS),
                timeout=TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=tracing.client_traces(),
            )
        headers = {"Authorization": f"Bearer {access.token}", "Accept": "application/json"}
        try:
            async with self._http.request(
                method,
                self.url.rstrip("/") + path,
                headers=headers,
                allow_redirects=False,  # the token is for nobody else
                **options,
            ) as answer:
                return answer.status, await _bounded(answer.content, most)
        except aiohttp.ClientConnectorError as error:  # it never heard of it
            raise self._away() from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unanswered(method) from error

    def _refusal(self, status: int, method: str, problem: Json) -> PaymentsError:
        if status == 401:
            detail = f"{self.service} does not believe your sign-in."
            return Refused("token_refused", detail, status=403)
        code, said = problem.get("code"), problem.get("detail")
        if status == 503 and isinstance(code, str) and code.endswith("_stopped"):
            return Refused(_text(code), _text(said), status=503)  # by a switch, before anything was done
        if not 400 <= status < 500:
            return self._unanswered(method)
        return Refused(
            _text(code) or "refused",
            _text(said) or f"{self.service} refused it.",
            status=status,
            errors=_faults(problem.get("errors")),
        )

    def _unanswered(self, method: str) -> PaymentsError:
        if method in READS:
            return self._away()
        detail = f"{self.service} did not answer in time. It may have been done: look before you do it again."
        return Refused("answer_lost", detail, status=504)

    def _away(self) -> Retryable:
        return Retryable("service_unavailable", f"{self.service} did not answer in time.")


async def _bounded(content: aiohttp.StreamReader, most: int) -> bytes:
    raw = bytearray()
    async for piece in content.iter_any():
        raw += piece
        if len(raw) > most:
            raise aiohttp.ClientPayloadError("larger than what is expected")
    return bytes(raw)


def _object(raw: bytes) -> Json | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(value: object) -> str:
    return value[:TEXT_MAX] if isinstance(value, str) else ""


def _faults(errors: object) -> list[FieldError]:
    found = errors if isinstance(errors, list) else []
    return [
        FieldError(_text(one.get("pointer")), _text(one.get("detail"))) for one in found[:20] if isinstance(one, dict)
    ]
