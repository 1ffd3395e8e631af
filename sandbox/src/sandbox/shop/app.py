"""The shop's pages. They work without JavaScript; with it, the order's page follows the order as it changes."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from payments_shared.money import Money, format_money
from sandbox.shop.cart import CURRENCIES, QUANTITY_MAX, Cart, opened
from sandbox.shop.gateway import Platform, Problem, Ware
from sandbox.shop.settings import Settings

HERE: Final = Path(__file__).parent
CART: Final = "cart"
ORDER_ID: Final = re.compile(r"ord_[0-9a-f]{32}", re.ASCII)
# Forms are answered with a redirect to the hosted page, which form-action covers too.
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self' http://127.0.0.1:* http://localhost:* https://checkout.stripe.com; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
STATIC: Final = {"style.css": "text/css", "order.js": "text/javascript", "icon.svg": "image/svg+xml"}
MILESTONES: Final = ("placed", "paid", "packed", "shipped")
UNHAPPY: Final[Mapping[str, str]] = {
    "failed": "The payment was declined. You can try another card.",
    "expired": "The time to pay ran out. Nothing was charged, and your cart is still there.",
    "canceled": "This order was canceled. Nothing was charged.",
    "refunded": "This order was refunded.",
    "partially_refunded": "A part of this order was refunded.",
}


@dataclass(slots=True)
class Shop:
    """Handlers of all pages."""

    platform: Platform
    secret: bytes
    templates: Environment

    # -- pages -------------------------------------------------------------------------------------------------------

    async def home(self, request: web.Request) -> web.Response:
        """The shelf."""
        shelf = await self.platform.shelf()
        return self._page("shelf.html", self._cart(request), wares=_in_order(shelf.values()))

    async def cart(self, request: web.Request) -> web.Response:
        """The cart, with what it comes to at the shelf's prices. The platform's own total is what counts."""
        return await self._cart_page(self._cart(request), Problem())

    async def order(self, request: web.Request) -> web.Response:
        """An order's state, for the browser that placed it."""
        order_id = request.query.get("order_id", "")
        seen = await self._seen(request, order_id)
        if seen is None:
            return self._page("missing.html", self._cart(request), status=404)
        cart = self._cart(request)
        paid = seen["status"] in ("paid", "fulfilled", "processing")
        # Paid for: the cart has done its work. Otherwise it is kept.
        response = self._page("order.html", Cart(currency=cart.currency) if paid else cart, **_progress(seen))
        return self._with_cart(response, Cart(currency=cart.currency)) if paid else response

    async def order_json(self, request: web.Request) -> web.Response:
        """What the order's page asks for again and again."""
        seen = await self._seen(request, request.match_info["order_id"])
        if seen is None:
            raise web.HTTPNotFound
        state = _progress(seen)
        return web.json_response(
            {name: state[name] for name in ("state", "reached", "note", "final")},
            headers={"Cache-Control": "no-store"},
        )

    # -- forms -------------------------------------------------------------------------------------------------------

    async def change(self, request: web.Request) -> web.Response:
        """Add a piece, take what the cart's page says, or change the currency; then back to where the buyer was."""
        form = await self._own_form(request)
        shelf = await self.platform.shelf()
        cart = _filled(self._cart(request), form)
        if (sku := form.get("add", "")) in shelf:
            cart = cart.with_quantity(sku, cart.lines.get(sku, 0) + 1)
        if (sku := form.get("remove", "")) in cart.lines:
            cart = cart.with_quantity(sku, 0)
        if (currency := form.get("currency", cart.currency)) in CURRENCIES and currency != cart.currency:
            cart = cart.changed(currency=currency)
        back = "/shop/cart" if form.get("back") == "cart" else "/shop"
        return self._with_cart(web.Response(status=303, headers={"Location": back}), cart)

    async def checkout(self, request: web.Request) -> web.Response:
        """Place the order and go to the hosted page; what is wrong is said beside its field."""
        cart = _filled(self._cart(request), await self._own_form(request))
        if not cart.lines:
            return self._with_cart(web.Response(status=303, headers={"Location": "/shop/cart"}), cart)
        answer = await self.platform.place(cart)
        if isinstance(answer, Problem):
            # An answer stays under its key: the next try is another order.
            cart = cart.changed()
            return self._with_cart(await self._cart_page(cart, answer, status=422), cart)
        response = web.Response(status=303, headers={"Location": answer["checkout_url"]})
        response.set_cookie(
            answer["order_id"], answer["order_token"], path="/shop", httponly=True, samesite="Lax", max_age=86_400
        )
        return self._with_cart(response, cart)

    # -- the rest ----------------------------------------------------------------------------------------------------

    async def static(self, request: web.Request) -> web.Response:
        """The style sheet and the script."""
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        text = (HERE / "static" / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=STATIC[name], headers={"Cache-Control": "max-age=60"})

    async def health(self, _: web.Request) -> web.Response:
        """Alive."""
        return web.json_response({"status": "ok"})

    async def _own_form(self, request: web.Request) -> dict[str, str]:
        """The form, when one of our own pages sent it: a browser names the origin of each POST."""
        origin = request.headers.get("Origin", "null")
        host = request.headers.get("X-Forwarded-Host", request.host)
        if origin != "null" and urlsplit(origin).netloc != host:
            raise web.HTTPForbidden(text="Please use the shop's own pages.")
        return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}

    async def _cart_page(self, cart: Cart, problem: Problem, *, status: int = 200) -> web.Response:
        shelf = await self.platform.shelf()
        lines = [(shelf[sku], quantity) for sku, quantity in cart.lines.items() if sku in shelf]
        sum_minor = sum(ware.prices.get(cart.currency, 0) * quantity for ware, quantity in lines)
        return self._page("cart.html", cart, status=status, lines=lines, sum_minor=sum_minor, problem=problem)

    async def _seen(self, request: web.Request, order_id: str) -> dict[str, Any] | None:
        token = request.cookies.get(order_id, "") if ORDER_ID.fullmatch(order_id) else ""
        return await self.platform.order(order_id, token) if token else None

    def _cart(self, request: web.Request) -> Cart:
        return opened(request.cookies.get(CART, ""), self.secret)

    def _with_cart(self, response: web.Response, cart: Cart) -> web.Response:
        response.set_cookie(
            CART, cart.sealed(self.secret), path="/shop", httponly=True, samesite="Lax", max_age=30 * 86_400
        )
        return response

    def _page(self, template: str, cart: Cart, *, status: int = 200, **values: object) -> web.Response:
        text = self.templates.get_template(template).render(
            cart=cart, currencies=CURRENCIES, quantity_max=QUANTITY_MAX, **values
        )
        return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)


def _in_order(wares: Any) -> list[Ware]:  # Any: a view of a mapping's values
    return sorted(wares, key=lambda ware: (ware.available == 0, ware.name))


def _filled(cart: Cart, form: Mapping[str, str]) -> Cart:
    """The cart with what the buyer typed on its page. The same content keeps its key."""
    for sku, quantity in cart.lines.items():
        if (wanted := _number(form.get(f"quantity-{sku}", ""), quantity)) != quantity:
            cart = cart.with_quantity(sku, wanted)
    email = form.get("email", cart.email).strip()[:254]
    coupon = form.get("coupon", cart.coupon).strip()[:40]
    return cart if (email, coupon) == (cart.email, cart.coupon) else cart.changed(email=email, coupon=coupon)


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else otherwise


def _progress(seen: Mapping[str, Any]) -> dict[str, Any]:
    """What the order's page shows of `GET /api/payments/orders/{id}`."""
    status, shipment = seen["status"], seen.get("shipment") or {}
    reached = 1
    if seen.get("paid_at"):
        reached = {None: 2, "created": 3, "shipped": 4, "delivered": 4}.get(shipment.get("status"), 2)
    note = UNHAPPY.get(status, "")
    if seen.get("held"):
        note = "We have your payment and are checking the order. You need not do anything."
    elif status == "processing":
        note = "Your bank is sending the money. This can take some days; we write when it is here."
    final = status in ("expired", "canceled", "refunded") or (reached == len(MILESTONES))
    return {"order": seen, "state": status, "reached": reached, "milestones": MILESTONES, "note": note, "final": final}


def _guard(templates: Environment) -> Any:  # Any: aiohttp's middleware type
    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except (aiohttp.ClientError, TimeoutError, OSError):
            text = templates.get_template("away.html").render(cart=Cart(), currencies=CURRENCIES)
            return web.Response(
                text=text, status=503, content_type="text/html", headers={**HEADERS, "Retry-After": "5"}
            )

    return guard


async def application(settings: Settings) -> web.Application:
    """The shop."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["money"] = lambda minor, currency: format_money(Money(minor, currency))
    app = web.Application(middlewares=[_guard(templates)], client_max_size=64 * 1024)
    http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=25), trust_env=False)

    async def close(_: web.Application) -> None:
        await http.close()

    platform = Platform(
        http,
        settings.api_url.rstrip("/"),
        settings.checkout_admin_url.rstrip("/"),
        settings.inventory_admin_url.rstrip("/"),
        settings.key_file,
    )
    shop = Shop(platform, settings.secret.get_secret_value().encode(), templates)
    app.on_cleanup.append(close)
    app.add_routes(
        [
            web.get("/shop", shop.home),
            web.get("/shop/cart", shop.cart),
            web.post("/shop/cart", shop.change),
            web.post("/shop/checkout", shop.checkout),
            web.get("/shop/success", shop.order),
            web.get("/shop/orders/{order_id}", shop.order_json),
            web.get("/shop/static/{name}", shop.static),
            web.get("/healthz", shop.health),
        ]
    )
    return app
