"""The buyers' door."""

import hashlib
import hmac
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from checkout.decide import paging, returning, velocity
from checkout.decide.crediting import without_account
from checkout.decide.currencies import currencies_of
from checkout.decide.declines import advice_for
from checkout.handlers.canceling import Canceling
from checkout.handlers.catalog import Catalog
from checkout.handlers.limiting import Limiting, OwnLimiting
from checkout.handlers.placing import Placing, hash_token
from checkout.model.carts import Wanted
from checkout.model.options import PageWish
from checkout.model.orders import Answer, Client, Order, Placement, State
from checkout.routes import shapes
from checkout.routes.buying import CANCEL, LIST, PLACE, SHOW, PageQuery
from checkout.routes.counting import count, count_here
from checkout.routes.ordering import CheckoutRequest, is_email
from checkout.routes.shapes import Orders
from checkout.routes.wishes import delivery_wish, shown_credit, shown_tax, shown_way
from payments_shared import idempotency
from payments_shared.admission import Admission
from payments_shared.auth import Principal, Verifier, authenticate, require
from payments_shared.errors import FieldError, Refused
from payments_shared.http import Network, address_of, caller_of, problem_response, read_json, read_query
from payments_shared.ids import external_id, parse_external_id
from payments_shared.postgres import unavailable_as_retryable

# What pages of other origins may send, and may read beside the body.
TAKES: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Order-Token",
    "Recovery-Token",
    "X-Request-Id",
    "traceparent",
)
SHOWS: Final = ("ETag", "Idempotency-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id")
AGENT_MAX: Final = 500  # characters of what a browser calls itself
PRIVATE: Final = {"Cache-Control": "private, no-cache", "Referrer-Policy": "no-referrer"}
_TOKEN: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
SHOWN: Final[Mapping[State, shapes.Status]] = {
    State.PENDING: "pending",
    State.DECLINED: "failed",
    State.EXPIRED: "expired",
    State.CANCELED: "canceled",
    State.PROCESSING: "processing",
    State.SETTLEMENT_FAILED: "failed",
    State.PAID: "paid",
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request may leave out, and the origins that buyers may be sent back to."""

    currency: str
    success_path: str
    cancel_path: str
    return_origins: Collection[str]


@dataclass(frozen=True, slots=True)
class Door:
    """Public routes. `secret` keys what is derived for guests: their scope of keys, and their orders' tokens.

    `admission` and `limiting` guard the placing of orders, `cancellations` and `reads` what is done with one. `trusted`
    are the networks of our own proxies.
    """

    placing: Placing
    canceling: Canceling
    catalog: Catalog
    people: Verifier
    defaults: Defaults
    secret: bytes
    admission: Admission
    limiting: Limiting
    cancellations: Limiting
    reads: OwnLimiting
    trusted: Sequence[Network]

    async def checkout(self, request: web.Request) -> web.Response:
        """201 with the URL to pay at; the same answer again under the same key."""
        key_text = idempotency.parse_key(request)
        principal = authenticate(request, self.people)
        body = await read_json(request, CheckoutRequest)
        wanted = self._placement(body, principal, request)
        owner = self.owner_of(principal.subject if principal else None, wanted.email)
        key = idempotency.Key(owner, PLACE.path, key_text, idempotency.fingerprint(body.asked()))
        # Derived from the key's scope, so that a repeat after a crash can still be told the same token.
        token = self.derived("token", owner, key_text)[:32]
        async with self.admission.turn():
            await self.count(request, owner, wanted.email)
            answer = await self.placing.place(wanted, key, token)
        return as_response(answer, request["request_id"])

    def owner_of(self, subject: str | None, email: str) -> str:
        """Whose keys and whose requests: a signed-in person's, or those of a guest by his address."""
        return f"sub:{subject}" if subject else "guest:" + self.derived("guest", email.lower())

    async def count(self, request: web.Request, owner: str, email: str) -> None:
        """Count the request for its address, its customer and his e-mail address.

        Raises:
            Refused: 429 `rate_limited`.
        """
        subjects = {
            "address": self.address_of(request),
            "customer": owner,
            # Who is signed in is counted as himself: anybody may type his address.
            "email": owner if owner.startswith("sub:") else self.derived("email", email.lower()),
        }
        await count(request, self.limiting, subjects)

    def count_read(self, request: web.Request, principal: Principal | None) -> None:
        """Count the request for whoever is signed in, else for its address. One that is not public is not counted:
        behind a proxy that nobody named all buyers have it.

        Raises:
            Refused: 429 `rate_limited`.
        """
        if principal is not None or velocity.is_buyers(self.caller_address(request)):
            count_here(request, self.reads, self._caller(request, principal))

    def _caller(self, request: web.Request, principal: Principal | None) -> str:
        return f"sub:{principal.subject}" if principal else self.address_of(request)

    def address_of(self, request: web.Request) -> str:
        """Whose address the request comes from, as a name that tells nobody the address."""
        return self.derived("address", self.caller_address(request))

    def _placement(self, body: CheckoutRequest, principal: Principal | None, request: web.Request) -> Placement:
        languages = request.headers.get("Accept-Language", "")
        email = body.email or (principal.email if principal else None)
        if email is None:
            raise _missing("/email", "A guest must give an e-mail address.")
        if body.use_store_credit and principal is None:
            raise without_account()
        country, given = body.country or (body.shipping.country if body.shipping else None), self.defaults
        return Placement(
            lines=tuple(Wanted(line.sku, line.quantity) for line in body.lines),
            currencies=currencies_of(body.currency, country, languages, given.currency),
            coupon=body.coupon,
            email=email,
            customer_subject=principal.subject if principal else None,
            account_email=account_email_of(principal),
            locale=body.locale,
            success_path=self._back(body.success_url, "/success_url") or body.success_path or given.success_path,
            cancel_path=self._back(body.cancel_url, "/cancel_url") or body.cancel_path or given.cancel_path,
            address=self.caller_address(request),
            client=self.client_of(request),
            delivery=delivery_wish(body.country, body.region, None, body.shipping),
            page=PageWish(
                payment_methods=body.payment_methods,
                expires_in_minutes=body.expires_in_minutes,
                expires_at=body.expires_at,
                device=body.origin,
                metadata=body.metadata or {},
            ),
            use_store_credit=body.use_store_credit,
        )

    def _back(self, url: str | None, pointer: str) -> str | None:
        return None if url is None else returning.check(url, self.defaults.return_origins, pointer=pointer)

    def caller_address(self, request: web.Request) -> str:
        return caller_of(request.remote, request.headers.getall("X-Forwarded-For", []), self.trusted)

    def client_of(self, request: web.Request) -> Client:
        """From where is asked, whole, for an order that may be disputed one day."""
        address = address_of(request.remote, request.headers.getall("X-Forwarded-For", []), self.trusted)
        agent = "".join(one for one in request.headers.get("User-Agent", "") if one.isprintable())
        return Client(
            str(address) if address is not None and velocity.is_buyers(str(address)) else None,
            agent[:AGENT_MAX] or None,
        )

    def derived(self, *parts: str) -> str:
        """What only we can make of `parts`."""
        return hmac.new(self.secret, "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()

    async def orders(self, request: web.Request) -> web.Response:
        """A page of the signed-in customer's orders, the newest first."""
        person = require(request, self.people, *LIST.roles)
        page = read_query(request, PageQuery)
        self.count_read(request, person)
        after = parse_external_id("ord", page.cursor) if page.cursor else None
        with unavailable_as_retryable():
            orders, more = await self.catalog.orders_of(person.subject, after=after, limit=page.limit)
        next_cursor = external_id("ord", orders[-1].id) if more else None
        body: Orders = {"orders": [shown(order) for order in orders], "next_cursor": next_cursor}
        return web.json_response(body, headers=PRIVATE)

    async def cancel(self, request: web.Request) -> web.Response:
        """The order as it is once it was canceled, for whoever may see it. Asking again changes nothing."""
        principal = authenticate(request, self.people)
        await count(request, self.cancellations, {"cancellations": self._caller(request, principal)})
        order = await self.visible(request, principal)
        with unavailable_as_retryable():
            canceled = await self.canceling.cancel(order)
        return web.json_response(shown(canceled), headers=PRIVATE)

    async def order(self, request: web.Request) -> web.Response:
        """The order, for whoever holds its token or is its customer; 404 to everybody else."""
        principal = authenticate(request, self.people)
        self.count_read(request, principal)
        order = await self.visible(request, principal)
        body = json.dumps(shown(order)).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, **PRIVATE}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def visible(self, request: web.Request, principal: Principal | None) -> Order:
        """The order that the path names, for `principal`, if anybody is signed in, or for the token of the order.

        Raises:
            Refused: 404 also to whoever may not see it.
        """
        order = await self.named(request)
        if not _may_see(order, request, principal):
            raise not_found()
        return order

    async def named(self, request: web.Request) -> Order:
        """The order that the path names, whoever asks; 404 when there is none."""
        try:
            order_id = parse_external_id("ord", request.match_info["order_id"])
        except ValueError:
            raise not_found() from None
        with unavailable_as_retryable():
            order = await self.catalog.order(order_id)
        if order is None:
            raise not_found()
        return order


def account_email_of(principal: Principal | None) -> str | None:
    """The address in a person's token, if it is one."""
    return principal.email if principal and principal.email and is_email(principal.email) else None


def odd(pointer: str, detail: str) -> Refused:
    """422 for a parameter of the query."""
    return Refused("validation_failed", detail, status=422, errors=[FieldError(pointer, detail, "query")])


def _may_see(order: Order, request: web.Request, principal: Principal | None) -> bool:
    if principal is not None and principal.subject == order.customer_subject:
        return True
    tokens = request.headers.getall("Order-Token", [])
    if len(tokens) != 1 or not _TOKEN.fullmatch(tokens[0]):
        return False
    return hmac.compare_digest(hash_token(tokens[0]), order.token_hash)


def not_found() -> Refused:
    """404, the same whether there is no such order or it is somebody else's."""
    return Refused("not_found", "There is no such order.", status=404)


def _missing(pointer: str, detail: str) -> Refused:
    return Refused("validation_failed", detail, status=422, errors=[FieldError(pointer, detail, "missing")])


def as_response(answer: Answer, request_id: str) -> web.Response:
    """An answer as it was kept under an idempotency key."""
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
    if answer.status < 400:
        return web.Response(status=answer.status, body=answer.body, content_type="application/json", headers=headers)
    kept = json.loads(answer.body)
    extra = dict(kept["extra"])
    if kept["errors"]:
        extra["errors"] = [{"pointer": p, "detail": d, "code": c} for p, d, c in kept["errors"]]
    return problem_response(
        answer.status, kept["code"], kept["detail"], request_id=request_id, extra=extra, headers=headers
    )


def shown(order: Order) -> shapes.Order:
    """What a buyer sees. An allow-list: nothing is shown because it happens to be stored."""
    refunded = sum(int(r["amount_minor"]) for r in order.refunds.values() if r["status"] == "succeeded")
    open_session = order.state in (State.PENDING, State.DECLINED)
    return {
        "order_id": external_id("ord", order.id),
        "status": "pending" if order.retry_at else SHOWN[order.state],
        "held": order.held_reason is not None,
        "currency": order.currency,
        "subtotal_minor": order.subtotal_minor,
        "discount_minor": order.discount_minor,
        "tax_minor": order.tax_minor,
        "shipping_minor": order.shipping_minor,
        "total_minor": order.total_minor,
        "store_credit": shown_credit(order),
        "amount_due_minor": order.due_minor,
        "tax": shown_tax(order.tax),
        "shipping": shown_way(order.shipping),
        "metadata": paging.shops_own(order.stripe_request.get("metadata", {})),
        "lines": [
            {
                "sku": line.sku,
                "name": line.name,
                "quantity": line.quantity,
                "unit_amount_minor": line.unit_amount_minor,
                "digital": line.digital,
            }
            for line in order.lines
        ],
        "email_masked": f"{order.email[:1]}•••@{order.email.rpartition('@')[2]}",
        "shipment": _shipment(order),
        "digital_delivered_at": _time(order.digital_delivered_at) if order.digital_delivered_at else None,
        "refunded_minor": refunded,
        "payment_problem": _problem(order),
        "recovered_from": external_id("ord", order.recovered_from) if order.recovered_from else None,
        "exchange": _exchange(order),
        "presentment": _presentment(order),
        "created_at": _time(order.created_at),
        "paid_at": _time(order.paid_at) if order.paid_at else None,
        "expires_at": _time(order.expires_at),
        "next_attempt_at": _time(order.retry_at) if order.retry_at else None,
        "checkout_url": order.stripe_session_url if open_session else None,
    }


def _problem(order: Order) -> shapes.PaymentProblem | None:
    found = advice_for(order)
    if found is None:
        return None
    return {
        "code": found.code,
        "advice": found.advice,
        "retryable": found.retryable,
        "alternatives": list(found.alternatives),
    }


def _shipment(order: Order) -> shapes.Shipment | None:
    if order.shipment_id is None or order.shipment_status is None:
        return None
    return {"id": external_id("shp", order.shipment_id), "status": order.shipment_status}


def _exchange(order: Order) -> shapes.Exchange | None:
    kept = order.exchange
    if not kept:
        return None
    return {"base": kept["base"], "rate": kept["rate"], "day": kept["day"], "source": kept["source"]}


def _presentment(order: Order) -> shapes.Presentment | None:
    kept = order.presentment
    return {"amount_minor": kept["amount_minor"], "currency": kept["currency"]} if kept else None


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [PLACE.to(door.checkout), LIST.to(door.orders), SHOW.to(door.order), CANCEL.to(door.cancel)]
