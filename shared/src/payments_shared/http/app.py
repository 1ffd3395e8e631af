"""Applications with what every door needs, in one middleware: each layer would cost a coroutine per request."""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Counter, Histogram

from payments_shared import metrics, tracing
from payments_shared.clock import monotonic_seconds, utc_now
from payments_shared.errors import PaymentsError
from payments_shared.http.problems import SECURITY_HEADERS, problem_of, problem_of_http, problem_response
from payments_shared.ids import random_hex

Check = Callable[[], Awaitable[str | None]]
CLIENT_MAX_BYTES: Final = 64 * 1024
ACCESS_LOG_SECONDS: Final = 0.25  # how long lines may wait to leave together: a system call for each would cost more
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)

log = structlog.get_logger(__name__)


def public_app(*, service: str, client_max_size: int = CLIENT_MAX_BYTES) -> web.Application:
    """An application for callers outside: problems, request ids, access log, metrics, security headers."""
    return web.Application(middlewares=[_door(service)], client_max_size=client_max_size)


def internal_app(*, service: str, checks: Mapping[str, Check]) -> web.Application:
    """An application for the second port: `/healthz`, `/readyz`, `/metrics`; services add `/internal` and `/admin`."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def failures() -> dict[str, str]:
        failing = {name: reason for name, check in checks.items() if (reason := await _asked(name, check))}
        for name in checks:
            metrics.READY.labels(name).set(int(name not in failing))
        return failing

    async def readyz(_: web.Request) -> web.Response:
        failing = await failures()
        body = {"status": "fail" if failing else "ok", "failing": failing}
        return web.json_response(body, status=503 if failing else 200)

    async def exposition(_: web.Request) -> web.Response:
        await failures()
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})

    app = web.Application(middlewares=[_door(service)], client_max_size=CLIENT_MAX_BYTES)
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposition)])
    return app


def add_routes(app: web.Application, routes: Iterable[web.RouteDef]) -> None:
    """Add `routes` to `app`."""
    app.add_routes(list(routes))


async def _asked(name: str, check: Check) -> str | None:
    try:
        return await check()
    except Exception as error:
        log.warning("readiness.check_failed", check=name, error=type(error).__name__)
        return "unavailable"


def _door(service: str) -> Middleware:
    access = _AccessLog(service)

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = monotonic_seconds()
        given = request.headers.get("X-Request-Id")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else random_hex(128)
        request["request_id"] = request_id
        try:
            with tracing.continued(request.headers.get("traceparent")):
                response = await handler(request)
        except PaymentsError as error:
            if error.__cause__ is not None:
                log.warning("http.dependency", code=error.code, error=repr(error.__cause__)[:300])
            response = problem_of(error, request_id)
            if getattr(error, "status", 0) == 408:
                response.force_close()
        except web.HTTPException as error:
            response = problem_of_http(error, request_id)
        except Exception:
            log.exception("http.unhandled", request_id=request_id)
            response = problem_response(500, "internal_error", "The request failed.", request_id=request_id)
        headers = response.headers
        headers["X-Request-Id"] = request_id
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        access.write(request, response.status, request_id, monotonic_seconds() - started)
        return response

    return door


class _AccessLog:
    """One JSON line a request: the route's template, never the path or the query, which carry ids and secrets.

    What repeats is looked up once: meters with these labels, and the line without what changes.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._known: dict[tuple[str, str, int], _Line] = {}
        self._leaving: asyncio.TimerHandle | None = None

    def write(self, request: web.Request, status: int, request_id: str, seconds: float) -> None:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unmatched"
        method = request.method if request.method in _METHODS else "OTHER"
        line = self._known.get((route, method, status))
        if line is None:
            line = self._known[route, method, status] = _Line.of(self._service, route, method, status)
        line.requests.inc()
        line.seconds.observe(seconds)
        if line.head is not None:
            # A request id is ours or matches _REQUEST_ID: nothing in it needs escaping.
            sys.stdout.write(
                f'{line.head}"timestamp": "{utc_now().isoformat()}", "ms": {seconds * 1000:.2f}, '
                f'"request_id": "{request_id}"}}\n'
            )
            if self._leaving is None:
                self._leaving = asyncio.get_running_loop().call_later(ACCESS_LOG_SECONDS, self._leave)

    def _leave(self) -> None:
        self._leaving = None
        sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class _Line:
    requests: Counter
    seconds: Histogram
    head: str | None

    @classmethod
    def of(cls, service: str, route: str, method: str, status: int) -> "_Line":
        fixed = {"event": "http.request", "service": service, "method": method, "route": route, "status": status}
        return cls(
            metrics.HTTP_REQUESTS.labels(route, method, str(status)),
            metrics.HTTP_REQUEST_SECONDS.labels(route, method),
            None if route in _QUIET else json.dumps(fixed)[:-1] + ", ",
        )


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
