"""Events, and the endpoints that they are delivered to."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.stripe import delivery, params
from sandbox.stripe.errors import invalid, missing_param
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.store import Json, new_id

TYPES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Events:
    """Events and webhook endpoints."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("GET", "events", self.listed),
            ("GET", "events/{id}", self.one),
            ("POST", "webhook_endpoints", self.create_endpoint),
            ("GET", "webhook_endpoints", self.endpoints),
            ("GET", "webhook_endpoints/{id}", self.endpoint),
            ("POST", "webhook_endpoints/{id}", self.update_endpoint),
            ("DELETE", "webhook_endpoints/{id}", self.delete_endpoint),
        ]

    def one(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("event", request.match_info["id"])

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "type", "types", "delivery_success"))
        rows = every = self.machine.store.all("event")
        kinds = given.get("types") or ([given["type"]] if "type" in given else None)
        if kinds:
            if len(kinds) > TYPES_MAX:
                raise invalid(f"Array must have at most {TYPES_MAX} elements.", param="types")
            rows = [row for row in rows if row["type"] in kinds]
        if "delivery_success" in given:
            wanted = params.flag(given["delivery_success"])
            rows = [r for r in rows if self._delivered(r) == wanted]
        return page(rows, given, "/v1/events", among=every)

    def _delivered(self, event: Json) -> bool:
        return bool(self.machine.store.objects["dlv_" + event["id"]]["state"] == "delivered")

    # -- endpoints ---------------------------------------------------------------------------------------------------

    def create_endpoint(self, _: web.Request, given: Given) -> Json:
        params.only(given, ("url", "enabled_events", "description", "metadata", "api_version"))
        for name in ("url", "enabled_events"):
            if name not in given:
                raise missing_param(name)
        secret = new_id("whsec", 32)
        made = delivery.endpoint(
            self.machine.store,
            given["url"],
            secret,
            list(given["enabled_events"]),
            description=given.get("description"),
            metadata=params.texts(given, "metadata"),
            api_version=given.get("api_version"),
        )
        return {**made, "secret": secret}  # said once

    def endpoints(self, _: web.Request, given: Given) -> Json:
        params.only(given, params.LISTING)
        return page(self.machine.store.all("webhook_endpoint"), given, "/v1/webhook_endpoints")

    def endpoint(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("webhook_endpoint", request.match_info["id"])

    def update_endpoint(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("url", "enabled_events", "description", "metadata", "disabled"))
        value = self.endpoint(request, given)
        if "url" in given:
            value["url"] = given["url"]
        if "enabled_events" in given:
            value["enabled_events"] = list(given["enabled_events"])
        if "disabled" in given:
            value["status"] = "disabled" if params.flag(given["disabled"]) else "enabled"
        params.change_texts(value, given)
        return self.machine.store.put("webhook_endpoint", value)

    def delete_endpoint(self, request: web.Request, given: Given) -> Json:
        value = self.endpoint(request, given)
        self.machine.store.remove("webhook_endpoint", value["id"])
        return {"id": value["id"], "object": "webhook_endpoint", "deleted": True}
