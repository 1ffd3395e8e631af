"""Requests are counted before they are worked on, and what is left is said with whatever is answered."""

from collections.abc import Mapping, Sequence

from aiohttp import web

from checkout.decide.limiting import wait_seconds
from checkout.handlers.limiting import Limiting, OwnLimiting
from checkout.model.limits import Allowance
from payments_shared.errors import Refused
from payments_shared.postgres import unavailable_as_retryable


async def count(request: web.Request, limiting: Limiting, subjects: Mapping[str, str]) -> None:
    """Count the request for `subjects`, by the names of limits.

    Raises:
        Refused: 429 `rate_limited`.
    """
    with unavailable_as_retryable():
        found = await limiting.take(subjects)
    _tell(request, found)


def count_here(request: web.Request, limiting: OwnLimiting, subject: str) -> None:
    """Count the request for `subject` in this process.

    Raises:
        Refused: 429 `rate_limited`.
    """
    _tell(request, limiting.take(subject))


def _tell(request: web.Request, found: Sequence[Allowance]) -> None:
    headers = request["answer_headers"] = _headers(found)
    if (seconds := wait_seconds(found)) is not None:
        headers["Retry-After"] = str(seconds)
        raise Refused("rate_limited", "Too much was asked for; wait a moment.", status=429)


def _headers(found: Sequence[Allowance]) -> dict[str, str]:
    """`q` requests in `w` seconds, `r` left for `t` seconds. Source: the IETF draft "RateLimit header fields"."""
    if not found:
        return {}
    policies = [f'"{one.limit.name}";q={one.limit.most};w={one.limit.seconds}' for one in found]
    states = [f'"{one.limit.name}";r={one.remaining};t={one.reset_seconds}' for one in found]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}
