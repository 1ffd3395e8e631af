"""Applications with what every door needs, in one middleware: each layer would cost a coroutine per request."""

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Counter as Meter
from prometheus_client import Histogram

from payments_shared import metrics, tracing
from payments_shared.clock import monotonic_seconds, utc_now
from payments_shared.errors import PaymentsError, Retryable
from payments_shared.http import openapi, reference
from payments_shared.http.api import (
    DOCUMENT,
    HEALTHZ,
    METRICS,
    PUBLIC_DOCUMENT,
    PUBLIC_REFERENCE,
    READYZ,
    REFERENCE,
    Api,
)
from payments_shared.http.problems import SECURITY_HEADERS, problem_of, problem_of_http, problem_response
from payments_shared.http.serving import LEAVING, Leaving
from payments_shared.ids import random_hex
from payments_shared.logs import current_request, redact
from payments_shared.postgres import is_unavailable

Check = Callable[[], Awaitable[str | None]]
CLIENT_MAX_BYTES: Final = 64 * 1024
ACCESS_LOG_SECONDS: Final = 0.25  # how long lines and their counts may wait to leave together
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_ORDER_ID: Final = re.compile(r"ord_[0-9a-f]{32}", re.ASCII)

log = structlog.get_logger(__name__)


def public_app(*, service: str, client_max_size: int = CLIENT_MAX_BYTES) -> web.Application:
    """An application for callers outside: problems, request ids, access log, metrics, security headers."""
    return _application(service, client_max_size, tracing.public_middlewares())


def _application(service: str, client_max_size: int, before: Sequence[Middleware]) -> web.Application:
    access, leaving = _AccessLog(service), Leaving()

    async def settle(_: web.Application) -> None:
        access.settle()

    app = web.Application(middlewares=[*before, _door(access, leaving)], client_max_size=client_max_size)
    app[LEAVING] = leaving
    app.on_cleanup.append(settle)
    return app


def internal_app(
    *, api: Api, checks: Mapping[str, Check], background: Mapping[str, Check] | None = None
) -> web.Application:
    """An application for the second port: health, metrics, and what `api` says; services add `/internal` and `/admin`.

    `checks` are of what a guest of the service needs: while one fails, `/readyz` answers 503. `background` is of what
    goes on behind it: shown, measured and alerting, and no reason to turn guests away.
    """
    behind = background or {}

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def failures() -> dict[str, str]:
        every = {**checks, **behind}
        failing = {name: reason for name, check in every.items() if (reason := await _asked(name, check))}
        for name in every:
            metrics.READY.labels(name).set(int(name not in failing))
        return failing

    async def readyz(_: web.Request) -> web.Response:
        failing = await failures()
        turned_away = not checks.keys().isdisjoint(failing)
        if app[LEAVING].begun:
            failing, turned_away = {**failing, "leaving": "it was told to stop"}, True
        body = {"status": "fail" if turned_away else "degraded" if failing else "ok", "failing": failing}
        return web.json_response(body, status=503 if turned_away else 200)

    async def exposition(_: web.Request) -> web.Response:
        await failures()
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})

    app = _application(api.service, CLIENT_MAX_BYTES, tracing.middlewares())
    app.add_routes([HEALTHZ.to(healthz), READYZ.to(readyz), METRICS.to(exposition)])
    app.add_routes(reference.routes(DOCUMENT, REFERENCE, partial(openapi.document, api), path=DOCUMENT.path))
    return app


def public_reference(api: Api) -> list[web.RouteDef]:
    """Routes of the public port that say what it answers."""
    make = partial(openapi.public_document, api)
    return reference.routes(PUBLIC_DOCUMENT, PUBLIC_REFERENCE, make, path=PUBLIC_DOCUMENT.path)


async def _asked(name: str, check: Check) -> str | None:
    try:
        return await check()
    except Exception as error:
        log.warning("readiness.check_failed", check=name, error=type(error).__name__)
        return "unavailable"


def _door(access: "_AccessLog", leaving: Leaving) -> Middleware:
    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = monotonic_seconds()
        given = request.headers.get("X-Request-Id")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else random_hex(128)
        request["request_id"] = request_id
        named = request.match_info.get("order_id")
        if named is not None and _ORDER_ID.fullmatch(named):
            request["order_id"] = named
        answered = current_request.set(request)
        begun = request.headers.get("traceparent") if tracing.recorder is None else tracing.current_traceparent()
        with tracing.continued(begun) as traceparent:
            try:
                response = await handler(request)
            except PaymentsError as error:
                if error.__cause__ is not None:
                    log.warning("http.dependency", code=error.code, error=redact(repr(error.__cause__))[:300])
                response = problem_of(error, request_id)
                if getattr(error, "status", 0) == 408:
                    response.force_close()
            except web.HTTPException as error:
                response = problem_of_http(error, request_id)
            except Exception as error:
                response = _unhandled(error, request_id)
            finally:
                current_request.reset(answered)
        if leaving.begun:
            response.force_close()
        headers = response.headers
        headers.update(request.get("answer_headers", {}))  # what a handler wants said whatever it answers or raises
        headers["X-Request-Id"] = request_id
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        access.keep(request, response.status, request_id, tracing.trace_id_of(traceparent), started)
        return response

    return door


def _unhandled(error: Exception, request_id: str) -> web.Response:
    """503 for a database that is away, busy or contended, whoever noticed it; else the fault is ours."""
    if is_unavailable(error):
        log.warning("http.dependency", code="database_unavailable", error=redact(repr(error))[:300])
        return problem_of(Retryable("database_unavailable", "The database did not answer in time."), request_id)
    log.error("http.unhandled", request_id=request_id, exc_info=error)
    return problem_response(500, "internal_error", "The request failed.", request_id=request_id)


class _AccessLog:
    """One JSON line a request: the route's template, never the path or the query, which carry ids and secrets.

    Lines are written and counted together, a moment later: many in a row cost half of what each costs between other
    work. What repeats is looked up once: meters with these labels, and the line without what changes.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._known: dict[tuple[str, str, int], _Line] = {}
        self._waiting: list[tuple[_Line, str, str, str | None, float, float]] = []

    def keep(self, request: web.Request, status: int, request_id: str, trace_id: str, started: float) -> None:
        """Note what was answered now, and when it was asked by the monotonic clock. A stream was answered when it
        began: `answered_at` of the request."""
        ended = request.get("answered_at") or monotonic_seconds()
        resource = request.match_info.route.resource
        key = (resource.canonical if resource is not None else "unmatched", request.method, status)
        line = self._known.get(key) or self._of(*key)
        if not self._waiting:
            asyncio.get_running_loop().call_later(ACCESS_LOG_SECONDS, self.settle)
        self._waiting.append((line, request_id, trace_id, request.get("order_id"), ended, ended - started))

    def _of(self, route: str, method: str, status: int) -> "_Line":
        if method not in _METHODS:  # a caller could fill the memory with methods of his own
            return self._known.get((route, "OTHER", status)) or self._of(route, "OTHER", status)
        line = self._known[route, method, status] = _Line.of(self._service, route, method, status)
        return line

    def settle(self) -> None:
        """Count and write what waits."""
        waiting, self._waiting = self._waiting, []
        zero = utc_now() - timedelta(seconds=monotonic_seconds())  # what the monotonic clock counts from
        text = []
        for line, request_id, trace_id, order_id, ended, seconds in waiting:
            line.seconds.observe(seconds)
            if line.head is not None:
                # The ids are ours or match a pattern: nothing in them needs escaping.
                at = zero + timedelta(seconds=ended)
                about = f', "order_id": "{order_id}"' if order_id else ""
                text.append(
                    f'{line.head}"timestamp": "{at.isoformat()}", "ms": {seconds * 1000:.2f}, '
                    f'"request_id": "{request_id}", "trace_id": "{trace_id}"{about}}}\n'
                )
        for line, count in Counter(line for line, *_ in waiting).items():
            line.requests.inc(count)
        sys.stdout.write("".join(text))
        sys.stdout.flush()


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    requests: Meter
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


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"})
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
