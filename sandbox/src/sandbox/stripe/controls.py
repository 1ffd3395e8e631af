"""`/_sim/*`: what a test may do that no caller of Stripe may."""

import base64
from dataclasses import asdict, dataclass, fields
from typing import Any

from aiohttp import web

from sandbox.stripe import objects
from sandbox.stripe.api import Api
from sandbox.stripe.delivery import Chaos
from sandbox.stripe.errors import StripeError
from sandbox.stripe.faults import KINDS, Fault
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import disputes, methods, refunds, sessions, suspicions


@dataclass(slots=True)
class Controls:
    """Clock, deliveries, faults, and the truth."""

    api: Api

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "now": self.api.store.now()})

    async def clock(self, request: web.Request) -> web.Response:
        """Move the clock forward by `advance_seconds`; what falls due happens."""
        self.api.store.advance(float((await request.json())["advance_seconds"]))
        self.api.let_time_pass()
        return web.json_response({"now": self.api.store.now()})

    async def chaos(self, request: web.Request) -> web.Response:
        """Set how deliveries misbehave; what is not named is put back to normal."""
        given = await request.json()
        known = {field.name for field in fields(Chaos)}
        if unknown := given.keys() - known:
            return web.json_response({"error": f"unknown {sorted(unknown)}"}, status=400)
        self.api.deliverer.chaos = Chaos(**given)
        return web.json_response(asdict(self.api.deliverer.chaos))

    async def faults(self, request: web.Request) -> web.Response:
        """Arm a fault (POST), see how often each struck (GET), or disarm all (DELETE)."""
        armed = self.api.faults.armed
        if request.method == "DELETE":
            armed.clear()
        elif request.method == "POST":
            fault = Fault(**await request.json())
            if fault.kind not in KINDS:
                return web.json_response({"error": f"unknown kind {fault.kind}"}, status=400)
            armed.append(fault)
        return web.json_response({"faults": [asdict(fault) for fault in armed]})

    async def guard(self, request: web.Request) -> web.Response:
        """Whether refunds above the charge are refused; off, our own guard is what is tested."""
        self.api.machine.over_refund_guard = bool((await request.json())["over_refund"])
        return web.json_response({"over_refund": self.api.machine.over_refund_guard})

    async def resend(self, request: web.Request) -> web.Response:
        """Deliver an event `copies` times at once, under another id when `alias`."""
        given = await request.json()
        event = self.api.machine.get("event", request.match_info["id"])
        statuses = await self.api.deliverer.burst(event, int(given.get("copies", 1)), alias=bool(given.get("alias")))
        return web.json_response({"statuses": statuses})

    async def settle(self, request: web.Request) -> web.Response:
        """A delayed payment arrives or fails."""
        session = self.api.machine.get("checkout.session", request.match_info["id"])
        intent = self.api.machine.get("payment_intent", str(session["payment_intent"]))
        sessions.settle(self.api.machine, intent, success=bool((await request.json())["succeed"]))
        self.api.flush()
        return web.json_response(session)

    async def reprice(self, request: web.Request) -> web.Response:
        """The session asks for another amount than it was made with, as if somebody had edited it at Stripe."""
        session = self.api.machine.get("checkout.session", request.match_info["id"])
        session["amount_subtotal"] = session["amount_total"] = int((await request.json())["amount"])
        self.api.store.put("checkout.session", session)
        self.api.flush()
        return web.json_response(session)

    async def refund(self, request: web.Request) -> web.Response:
        """A refund moves to `status`."""
        made = self.api.machine.get("refund", request.match_info["id"])
        refunds.change(self.api.machine, made, str((await request.json())["status"]))
        self.api.flush()
        return web.json_response(made)

    async def dispute(self, request: web.Request) -> web.Response:
        """The bank disputes a charge, or an `amount` of it, with an optional `reason`; an `inquiry` only asks."""
        given = await request.json()
        taken = self.api.machine.get("charge", request.match_info["id"])
        reason, inquiry = str(given.get("reason", "fraudulent")), bool(given.get("inquiry"))
        amount = int(given["amount"]) if "amount" in given else None
        made = disputes.create(self.api.machine, taken, reason, amount=amount, inquiry=inquiry)
        self.api.flush()
        return web.json_response(made)

    async def decide(self, request: web.Request) -> web.Response:
        """A dispute is won or lost."""
        found = self.api.machine.get("dispute", request.match_info["id"])
        disputes.close(self.api.machine, found, won=bool((await request.json())["won"]))
        self.api.flush()
        return web.json_response(found)

    async def escalate(self, request: web.Request) -> web.Response:
        """An inquiry becomes a dispute."""
        found = self.api.machine.get("dispute", request.match_info["id"])
        disputes.escalate(self.api.machine, found)
        self.api.flush()
        return web.json_response(found)

    async def file(self, request: web.Request) -> web.Response:
        """What was uploaded, as it came."""
        made = self.api.machine.get("file", request.match_info["id"])
        content = self.api.store.objects["cnt_" + made["id"]]["content"]
        return web.Response(body=base64.b64decode(content), content_type="application/octet-stream")

    async def review(self, request: web.Request) -> web.Response:
        """A review of a charge is opened, by a rule or by hand as `reason` says."""
        taken = self.api.machine.get("charge", request.match_info["id"])
        reason = str((await request.json()).get("reason", "rule"))
        made = suspicions.open_review(self.api.machine, taken, reason)
        self.api.flush()
        return web.json_response(made)

    async def close_review(self, request: web.Request) -> web.Response:
        """A review is closed for `closed_reason`."""
        found = self.api.machine.get("review", request.match_info["id"])
        suspicions.close_review(self.api.machine, found, str((await request.json())["closed_reason"]))
        self.api.flush()
        return web.json_response(found)

    async def warn(self, request: web.Request) -> web.Response:
        """The bank warns that a charge was fraud, of `fraud_type`."""
        taken = self.api.machine.get("charge", request.match_info["id"])
        fraud_type = str((await request.json()).get("fraud_type", "misc"))
        made = suspicions.warn(self.api.machine, taken, fraud_type)
        self.api.flush()
        return web.json_response(made)

    async def renew_card(self, request: web.Request) -> web.Response:
        """The bank issues a card anew, with another `exp_month`, `exp_year` or `last4`."""
        method = self.api.machine.get("payment_method", request.match_info["id"])
        given = await request.json()
        methods.change_card(self.api.machine, method, given, "payment_method.automatically_updated")
        self.api.flush()
        return web.json_response(method)

    async def pay_again(self, request: web.Request) -> web.Response:
        """Another session and intent for the same order, paid: the twin that a recovery or a second tab makes."""
        first = self.api.machine.get("checkout.session", request.match_info["id"])
        hidden = self.api.store.objects["req_" + first["id"]]
        copied = (
            "amount_subtotal", "amount_total", "cancel_url", "client_reference_id", "currency", "customer", "customer_email",
            "metadata", "success_url", "total_details",
        )  # fmt: skip
        twin = objects.session(
            self.api.store,
            self.api.machine.public_url,
            recovered_from=first["id"],
            **{name: first[name] for name in copied},
        )
        self.api.store.put("_session_request", {**hidden, "id": "req_" + twin["id"]})
        sessions.pay(self.api.machine, twin, "4242424242424242", kind="card", name="Ada Lovelace", email=None)
        self.api.flush()
        return web.json_response(twin)

    async def truth(self, _: web.Request) -> web.Response:
        """What Stripe really holds, for the audit."""
        store = self.api.store
        return web.json_response(
            {
                "sessions": [
                    _picked(s, "id", "status", "payment_status", "payment_intent", "amount_total", "currency")
                    | {"order_ref": s["client_reference_id"]}
                    for s in store.all("checkout.session")
                    if s["mode"] == "payment"
                ],
                "payment_intents": [
                    _picked(i, "id", "status", "amount_received", "currency")
                    | {"order_ref": i["metadata"].get("order_id")}
                    for i in store.all("payment_intent")
                ],
                "refunds": [
                    _picked(r, "id", "payment_intent", "amount", "currency", "status")
                    | {"refund_request_id": r["metadata"].get("refund_id")}
                    for r in store.all("refund")
                ],
                "disputes": [
                    _picked(d, "id", "charge", "payment_intent", "amount", "currency", "status")
                    for d in store.all("dispute")
                ],
                "events": [
                    {
                        "id": e["id"],
                        "type": e["type"],
                        "object_id": e["data"]["object"]["id"],
                        "delivered": store.objects["dlv_" + e["id"]]["state"] == "delivered",
                    }
                    for e in store.all("event")
                ],
            }
        )

    async def deliveries(self, _: web.Request) -> web.Response:
        """Counters of delivery attempts and of what `chaos` did to them, and how many events still wait."""
        waiting = sum(d["state"] == "waiting" for d in self.api.store.all("_delivery"))
        statuses = {str(status): count for status, count in self.api.deliverer.statuses.items()}
        counts = {"attempts": self.api.deliverer.attempts, "misbehaved": self.api.deliverer.misbehaved}
        return web.json_response({**counts, "waiting": waiting, "statuses": statuses})

    async def requests(self, _: web.Request) -> web.Response:
        """The requests received, the latest 20,000 of them, and how many there were in all."""
        return web.json_response({"requests": list(self.api.journal), "received": self.api.received})


def _picked(value: Json, *names: str) -> dict[str, Any]:  # Any: Stripe's own values
    return {name: value[name] for name in names}


@web.middleware
async def errors(request: web.Request, handler: Any) -> web.StreamResponse:  # Any: aiohttp's handler type
    """Controls answer Stripe's errors too."""
    try:
        response: web.StreamResponse = await handler(request)
    except StripeError as error:
        return web.json_response({"error": error.body}, status=error.status)
    return response


def routes(api: Api) -> list[web.RouteDef]:
    """Routes of the controls."""
    controls = Controls(api)
    return [
        web.get("/_sim/healthz", controls.health),
        web.post("/_sim/clock", controls.clock),
        web.post("/_sim/chaos", controls.chaos),
        web.route("*", "/_sim/faults", controls.faults),
        web.post("/_sim/guard", controls.guard),
        web.post("/_sim/events/{id}/resend", controls.resend),
        web.post("/_sim/sessions/{id}/settle", controls.settle),
        web.post("/_sim/sessions/{id}/pay_again", controls.pay_again),
        web.post("/_sim/sessions/{id}/reprice", controls.reprice),
        web.post("/_sim/payment_methods/{id}/renew", controls.renew_card),
        web.post("/_sim/refunds/{id}", controls.refund),
        web.post("/_sim/charges/{id}/dispute", controls.dispute),
        web.post("/_sim/disputes/{id}", controls.decide),
        web.post("/_sim/disputes/{id}/escalate", controls.escalate),
        web.get("/_sim/files/{id}", controls.file),
        web.post("/_sim/charges/{id}/review", controls.review),
        web.post("/_sim/reviews/{id}/close", controls.close_review),
        web.post("/_sim/charges/{id}/warn", controls.warn),
        web.get("/_sim/truth", controls.truth),
        web.get("/_sim/deliveries", controls.deliveries),
        web.get("/_sim/requests", controls.requests),
    ]
