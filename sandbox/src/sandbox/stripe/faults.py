"""Failures on demand, per route: what a network and a busy provider do."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

KINDS: Final = (
    "rate_limit", "error_500", "error_500_after", "in_use", "cut_before", "cut_after", "cut_mid_body", "stall",
    "html_502", "delay", "hold", "slow", "refuse", "empty_list",
)  # fmt: skip
SLOW_BYTES: Final = 40  # this many of the body one by one, then the rest


@dataclass(slots=True)
class Fault:
    """`kind` happens to requests of `method` whose path starts with `path`, `count` times, each with `probability`.

    An `error_500` is kept under the request's key; that of `error_500_after` comes of a request that was executed, and
    an `empty_list` does not show yet what there is. `hold` waits `seconds` before the request is executed, its key in flight; `delay` waits after it; `slow` spreads
    the first bytes of the answer over `seconds`. `should_retry` is the header of a `rate_limit`, None to leave it out.
    """

    kind: str
    method: str = "POST"
    path: str = "/v1/"
    count: int = 1
    probability: float = 1.0
    seconds: float = 0.0
    should_retry: bool | None = None
    struck: int = 0


@dataclass(slots=True)
class Faults:
    """The faults that are armed."""

    armed: list[Fault] = field(default_factory=list)
    chance: random.Random = field(default_factory=random.Random)

    def take(self, request: web.Request) -> Fault | None:
        """The fault that strikes this request, counted."""
        for fault in self.armed:
            matches = request.method == fault.method and request.path.startswith(fault.path)
            if matches and fault.struck < fault.count and self.chance.random() < fault.probability:
                fault.struck += 1
                return fault
        return None

    async def apply(
        self, fault: Fault, request: web.Request, serve: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Serve the request as the fault wants it."""
        match fault.kind:
            case "rate_limit":
                headers = {"Stripe-Rate-Limited-Reason": "global-rate"}
                if fault.should_retry is not None:
                    headers["Stripe-Should-Retry"] = str(fault.should_retry).lower()
                return _error(429, "invalid_request_error", "Too many requests.", headers, "rate_limit")
            case "in_use":
                return _error(
                    409,
                    "idempotency_error",
                    "There is another request in progress with this key.",
                    {},
                    "idempotency_key_in_use",
                )
            case "refuse":
                return _error(400, "invalid_request_error", "Invalid parameter.", {}, "parameter_invalid_empty")
            case "html_502":
                return web.Response(status=502, text="<html>Bad gateway</html>", content_type="text/html")
            case "cut_before":
                _cut(request)
                return web.Response()
            case "cut_after":
                await serve()
                _cut(request)
                return web.Response()
            case "cut_mid_body":
                answer = await serve()
                return await _half(request, answer, stall_seconds=0.0)
            case "stall":
                answer = await serve()
                return await _half(request, answer, stall_seconds=fault.seconds or 30.0)
            case "delay":
                answer = await serve()
                await asyncio.sleep(fault.seconds)
                return answer
            case "slow":
                answer = await serve()
                return await _slow(request, answer, seconds=fault.seconds)
            case _:
                return _error(500, "api_error", "An unexpected error occurred.", {})


def _error(status: int, type_: str, message: str, headers: dict[str, str], code: str | None = None) -> web.Response:
    body: dict[str, Any] = {"type": type_, "message": message} | ({"code": code} if code else {})
    return web.json_response({"error": body}, status=status, headers=headers)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _begin(request: web.Request, answer: web.StreamResponse) -> tuple[web.StreamResponse, bytes]:
    """An answer of the right length, of which nothing but the head is sent so far; and its body."""
    if not (isinstance(answer, web.Response) and isinstance(answer.body, bytes)):
        raise TypeError(f"no body to hold back: {answer!r}")
    headers = {"Content-Type": "application/json", "Content-Length": str(len(answer.body))}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    return response, answer.body


async def _half(request: web.Request, answer: web.StreamResponse, *, stall_seconds: float) -> web.StreamResponse:
    response, body = await _begin(request, answer)
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(stall_seconds)
    _cut(request)
    return response


async def _slow(request: web.Request, answer: web.StreamResponse, *, seconds: float) -> web.StreamResponse:
    response, body = await _begin(request, answer)
    for place in range(SLOW_BYTES):
        await response.write(body[place : place + 1])
        await asyncio.sleep(seconds / SLOW_BYTES)
    await response.write(body[SLOW_BYTES:])
    return response
