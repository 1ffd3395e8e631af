"""The API: `/v1/...`, with keys, errors, lists and expansion as Stripe has them."""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from aiohttp import web

from payments_shared.stripe_client import STRIPE_VERSION
from sandbox.stripe.delivery import Deliverer
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.faults import Faults
from sandbox.stripe.forms import parse_form
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources.lists import expanded
from sandbox.stripe.store import Json, Store, new_id
from sandbox.stripe.transitions import due
from sandbox.stripe.uploads import text_of

Handler = Callable[[web.Request, dict[str, Any]], Json]  # Any: nested parameters
JOURNAL_MAX: Final = 20_000
KEY_MAX: Final = 255
LOG_URL: Final = "https://dashboard.stripe.com/test/logs/"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Api:
    """One door for all routes: authenticate, parse, replay by key, run, commit, answer, deliver."""

    store: Store
    machine: Machine
    deliverer: Deliverer
    faults: Faults
    journal: deque[Json] = field(default_factory=lambda: deque(maxlen=JOURNAL_MAX))
    received: int = 0
    _in_flight: set[str] = field(default_factory=set)

    def route(self, method: str, path: str, handler: Handler) -> web.RouteDef:
        """A route whose handler returns the object to answer with."""

        async def serve(request: web.Request) -> web.StreamResponse:
            text = await text_of(request) if method == "POST" else request.query_string
            self._note(request, text)
            fault = self.faults.take(request)
            if fault is None:
                return await self._serve(request, text, handler)
            if fault.kind == "error_500":
                return await self._serve(request, text, _explode)
            if fault.kind == "error_500_after":
                return await self._serve(request, text, lambda asked, given: _explode(asked, handler(asked, given)))
            if fault.kind == "empty_list":
                return await self._serve(request, text, _show_nothing)
            if fault.kind == "hold":
                return await self._serve(request, text, handler, hold_seconds=fault.seconds)
            return await self.faults.apply(fault, request, lambda: self._serve(request, text, handler))

        return web.route(method, path, serve)

    async def _serve(
        self, request: web.Request, text: str, handler: Handler, *, hold_seconds: float = 0.0
    ) -> web.Response:
        request_id = new_id("req", 14)
        headers = {"Request-Id": request_id, "Stripe-Version": STRIPE_VERSION}
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        try:
            self._authenticate(request)
            given = parse_form(text)
            if key is None:
                status, body = self._run(request, handler, given, request_id, key)
                self.flush()
            else:
                headers |= {"Idempotency-Key": key, "Original-Request": request_id}
                fingerprint = hashlib.sha256(f"{request.path}\n{text}".encode()).hexdigest()
                saved = self._saved(key, fingerprint)
                if saved is None:
                    status, body = await self._first(
                        request, handler, given, request_id, key, fingerprint, hold_seconds
                    )
                else:
                    status, body = saved
                    headers["Idempotent-Replayed"] = "true"
        except StripeError as error:
            status, body = _refusal(error, request_id)
        if status >= 500 or status == 409:
            headers["Stripe-Should-Retry"] = "true" if status == 409 else "false"
        return web.Response(status=status, text=body, content_type="application/json", headers=headers)

    def _saved(self, key: str, fingerprint: str) -> tuple[int, str] | None:
        """The answer saved under the key."""
        if len(key) > KEY_MAX:
            raise invalid(f"Idempotency keys may be at most {KEY_MAX} characters.")
        if key in self._in_flight:
            raise StripeError(
                409,
                "idempotency_error",
                "There is currently another in-progress request using this idempotency key.",
                code="idempotency_key_in_use",
            )
        saved = self.store.saved_answer(key)
        if saved is None:
            return None
        if saved[0] != fingerprint:
            raise StripeError(
                400,
                "idempotency_error",
                f"Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '{key}' if you meant to execute a different request.",
            )
        return saved[1], saved[2]

    async def _first(
        self,
        request: web.Request,
        handler: Handler,
        given: dict[str, Any],
        request_id: str,
        key: str,
        fingerprint: str,
        hold_seconds: float,
    ) -> tuple[int, str]:
        """Run what nobody ran before under this key. Its effects and its answer become durable together."""
        self._in_flight.add(key)
        try:
            await asyncio.sleep(hold_seconds)  # a twin that arrives with us finds the key in flight
            status, body = self._run(request, handler, given, request_id, key)
            if status < 400 or status >= 500 or status == 402:
                self.store.save_answer(key, fingerprint, status, body)
            self.flush()
        finally:
            self._in_flight.discard(key)
        return status, body

    def _run(
        self, request: web.Request, handler: Handler, given: dict[str, Any], request_id: str, key: str | None
    ) -> tuple[int, str]:
        machine = self.machine
        machine.request_id, machine.request_key = request_id, key
        try:
            expand = given.pop("expand", [])
            return 200, json.dumps(expanded(self.store, handler(request, given), expand))
        except StripeError as error:
            return _refusal(error, request_id)
        except Exception:
            log.exception("stripe.request_failed", method=request.method, path=request.path)
            return _refusal(StripeError(500, "api_error", "An unexpected error occurred."), request_id)
        finally:
            machine.request_id = machine.request_key = None

    def flush(self) -> None:
        """Make the changes durable, then deliver their events."""
        emitted, self.machine.emitted = self.machine.emitted, []
        self.store.commit()
        for event in emitted:
            self.deliverer.sent(event)

    def let_time_pass(self) -> None:
        """Let everything happen whose time has come, and write down what deliveries reported."""
        due.run(self.machine)
        self.flush()

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key.startswith(("sk_test_", "rk_test_", "pk_test_")):
            raise StripeError(401, "invalid_request_error", "Invalid API Key provided.")
        version = request.headers.get("Stripe-Version")
        if version is not None and not (version[:4].isdigit() and len(version) >= 10):
            raise invalid(f"Invalid Stripe API version: {version}")

    def _note(self, request: web.Request, text: str) -> None:
        self.received += 1
        key = request.headers.get("Idempotency-Key")
        version = request.headers.get("Stripe-Version")
        self.journal.append(
            {"method": request.method, "path": request.path, "form": text, "key": key, "version": version}
        )


def _refusal(error: StripeError, request_id: str) -> tuple[int, str]:
    return error.status, json.dumps({"error": {**error.body, "request_log_url": LOG_URL + request_id}})


def _explode(_: web.Request, __: dict[str, Any]) -> Json:
    raise StripeError(500, "api_error", "An unexpected error occurred.")


def _show_nothing(request: web.Request, _: dict[str, Any]) -> Json:
    return {"object": "list", "url": request.path, "data": [], "has_more": False}


async def not_found(request: web.Request) -> web.StreamResponse:
    """Stripe's answer for a path that does not exist."""
    message = f"Unrecognized request URL ({request.method}: {request.path})."
    return web.json_response({"error": {"type": "invalid_request_error", "message": message}}, status=404)
