"""The API: `/v1/...`, with keys, errors, lists and expansion as Stripe has them."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from payments_shared.stripe_client import STRIPE_VERSION
from sandbox.stripe import delivery as deliveries
from sandbox.stripe import params, resources
from sandbox.stripe.delivery import Deliverer
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.faults import Faults
from sandbox.stripe.forms import parse_form
from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json, Store, new_id

Handler = Callable[[web.Request, dict[str, Any]], Json]  # Any: nested parameters
JOURNAL_MAX = 20_000


@dataclass(slots=True)
class Api:
    """One door for all routes: authenticate, parse, replay by key, run, commit, answer, deliver."""

    store: Store
    machine: Machine
    deliverer: Deliverer
    faults: Faults
    journal: list[Json] = field(default_factory=list)
    _in_flight: set[str] = field(default_factory=set)

    def route(self, method: str, path: str, handler: Handler) -> web.RouteDef:
        """A route whose handler returns the object to answer with."""

        async def serve(request: web.Request) -> web.StreamResponse:
            fault = self.faults.take(request)
            if fault is None:
                return await self._serve(request, handler)
            if fault.kind == "error_500":
                return await self._serve(request, _explode)
            return await self.faults.apply(fault, request, lambda: self._serve(request, handler))

        return web.route(method, path, serve)

    async def _serve(self, request: web.Request, handler: Handler) -> web.Response:
        request_id = new_id("req", 14)
        headers = {"Request-Id": request_id, "Stripe-Version": STRIPE_VERSION}
        text = await request.text() if request.method == "POST" else request.query_string
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        self._note(request, text, key)
        try:
            self._authenticate(request)
            given = parse_form(text)
            if key is None:
                status, body = self._run(request, handler, given, request_id, key)
            else:
                headers |= {"Idempotency-Key": key, "Original-Request": request_id}
                status, body, replayed = await self._keyed(request, handler, given, request_id, key, text)
                if replayed:
                    headers["Idempotent-Replayed"] = "true"
        except StripeError as error:
            status, body = error.status, json.dumps({"error": error.body})
        return web.Response(status=status, text=body, content_type="application/json", headers=headers)

    async def _keyed(
        self,
        request: web.Request,
        handler: Handler,
        given: dict[str, Any],
        request_id: str,
        key: str,
        text: str,
    ) -> tuple[int, str, bool]:
        if len(key) > 255:
            raise invalid("Idempotency keys may be at most 255 characters.")
        fingerprint = hashlib.sha256(f"{request.path}\n{text}".encode()).hexdigest()
        if key in self._in_flight:
            raise StripeError(
                409,
                "idempotency_error",
                "There is currently another in-progress request using this idempotency key.",
                code="idempotency_key_in_use",
            )
        saved = self.store.saved_answer(key)
        if saved is not None:
            if saved[0] != fingerprint:
                raise StripeError(
                    400,
                    "idempotency_error",
                    f"Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '{key}' if you meant to execute a different request.",
                )
            return saved[1], saved[2], True
        self._in_flight.add(key)
        try:
            await asyncio.sleep(0)  # a twin that arrives with us finds the key in flight
            status, body = self._run(request, handler, given, request_id, key)
            if status < 400 or status >= 500 or status == 402:
                self.store.save_answer(key, fingerprint, status, body)
        finally:
            self._in_flight.discard(key)
        return status, body, False

    def _run(
        self, request: web.Request, handler: Handler, given: dict[str, Any], request_id: str, key: str | None
    ) -> tuple[int, str]:
        machine = self.machine
        machine.request_id, machine.request_key = request_id, key
        machine.emitted.clear()
        try:
            expand = given.pop("expand", [])
            value = resources.expanded(self.store, handler(request, given), expand)
            status, body = 200, json.dumps(value)
        except StripeError as error:
            status, body = error.status, json.dumps({"error": error.body})
        finally:
            machine.request_id = machine.request_key = None
        self.flush()
        return status, body

    def flush(self) -> None:
        """Make the changes durable, then deliver their events."""
        emitted, self.machine.emitted = self.machine.emitted, []
        self.store.commit()
        for event in emitted:
            self.deliverer.sent(event)

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic" or not key.startswith(("sk_test_", "rk_test_", "pk_test_")):
            raise StripeError(401, "invalid_request_error", "Invalid API Key provided.")
        version = request.headers.get("Stripe-Version")
        if version is not None and not (version[:4].isdigit() and len(version) >= 10):
            raise invalid(f"Invalid Stripe API version: {version}")

    def _note(self, request: web.Request, text: str, key: str | None) -> None:
        if len(self.journal) < JOURNAL_MAX:
            self.journal.append({"method": request.method, "path": request.path, "form": text, "key": key})


def _explode(_: web.Request, __: dict[str, Any]) -> Json:
    raise StripeError(500, "api_error", "An unexpected error occurred.")


def endpoint_routes(api: Api) -> list[web.RouteDef]:
    """Webhook endpoints."""

    def create(_: web.Request, given: dict[str, Any]) -> Json:
        params.only(given, ("url", "enabled_events", "description", "metadata", "api_version"))
        secret = new_id("whsec", 32)
        made = deliveries.endpoint(api.store, given.get("url", ""), secret, list(given.get("enabled_events", ["*"])))
        return {**made, "secret": secret}

    def listed(_: web.Request, given: dict[str, Any]) -> Json:
        return resources.page(api.store.all("webhook_endpoint"), given, "/v1/webhook_endpoints")

    def one(request: web.Request, _: dict[str, Any]) -> Json:
        return api.machine.get("webhook_endpoint", request.match_info["id"])

    def change(request: web.Request, given: dict[str, Any]) -> Json:
        value = one(request, given)
        if "url" in given:
            value["url"] = given["url"]
        if "disabled" in given:
            value["status"] = "disabled" if params.flag(given["disabled"]) else "enabled"
        return api.store.put("webhook_endpoint", value)

    def delete(request: web.Request, given: dict[str, Any]) -> Json:
        value = one(request, given)
        value["status"] = "disabled"
        api.store.put("webhook_endpoint", value)
        return {"id": value["id"], "object": "webhook_endpoint", "deleted": True}

    base = "/v1/webhook_endpoints"
    return [
        api.route("POST", base, create),
        api.route("GET", base, listed),
        api.route("GET", base + "/{id}", one),
        api.route("POST", base + "/{id}", change),
        api.route("DELETE", base + "/{id}", delete),
    ]


async def not_found(request: web.Request) -> web.StreamResponse:
    """Stripe's answer for a path that does not exist."""
    message = f"Unrecognized request URL ({request.method}: {request.path})."
    return web.json_response({"error": {"type": "invalid_request_error", "message": message}}, status=404)
