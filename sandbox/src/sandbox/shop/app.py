"""The shop's pages. They work without JavaScript; with it, the order's page follows the order as it changes."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from payments_shared.money import Money, format_money
from sandbox.shop.cart import CURRENCIES, QUANTITY_MAX, Cart, opened
from sandbox.shop.gateway import LEFT, WORDS, Left, Platform, Problem, Ware
from sandbox.shop.person import Person, named, signed_in
from sandbox.shop.progress import MILESTONES, news, progress
from sandbox.shop.settings import Settings

HERE: Final = Path(__file__).parent
CART: Final = "cart"
PERSON: Final = "person"
EMAIL: Final = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", re.ASCII)
ORDER_ID: Final = re.compile(r"ord_[0-9a-f]{32}", re.ASCII)
LINK: Final = re.compile(r"[0-9]{10}\.[0-9a-f]{64}", re.ASCII)
NONCE: Final = re.compile(r"[0-9a-f]{24}", re.ASCII)
LOCALE: Final = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?", re.ASCII)
# Forms are answered with a redirect to the hosted page, which form-action covers too.
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self' http://127.0.0.1:* http://localhost:* https://checkout.stripe.com; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
ORDER_SECONDS: Final = 86_400  # how long a browser can look at its order
MISSING_ORDER: Final = ("We cannot show this order here", "An order is shown in the browser that placed it.")
SHORT: Final = "There is not enough left of what you wanted. You can change it in the cart."
MISSING_PAGE: Final = ("There is no such page", "It may have been moved, or never was.")
STATIC: Final = {"style.css": "text/css", "order.js": "text/javascript", "icon.svg": "image/svg+xml"}


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
        wares, person = _in_order(shelf.values()), self._person(request)
        return self._page("shelf.html", self._cart(request), wares=wares, person=person)

    async def cart(self, request: web.Request) -> web.Response:
        """The cart, with what it comes to at the shelf's prices. The platform's own total is what counts."""
        return await self._cart_page(self._cart(request), person=self._person(request))

    async def order(self, request: web.Request) -> web.Response:
        """An order's state, for the browser that placed it."""
        order_id, cart = request.query.get("order_id", ""), self._cart(request)
        token, key = _kept(request, order_id)
        seen = await self.platform.order(order_id, token) if token else None
        if seen is None:
            return self._missing(MISSING_ORDER, cart)
        at = progress(seen)
        paid_for = seen["paid_at"] or seen["status"] == "processing"
        if key == cart.key and paid_for:  # this cart has done its work; a newer one has not
            cart = Cart(currency=cart.currency)
        elif key == cart.key and at.final:
            cart = cart.renewed()
        person = self._person(request)
        page = self._page("order.html", cart, order=seen, at=at, milestones=MILESTONES, person=person)
        return self._with_cart(page, cart)

    async def order_json(self, request: web.Request) -> web.Response:
        """What the order's page asks for again and again."""
        order_id = request.match_info["order_id"]
        token, _ = _kept(request, order_id)
        seen = await self.platform.order(order_id, token) if token else None
        if seen is None:
            return web.json_response({"status": 404, "code": "not_found"}, status=404)
        shown = {**asdict(progress(seen)), "refunded_minor": seen["refunded_minor"]}
        return web.json_response(shown, headers={"Cache-Control": "no-store"})

    async def ticket(self, request: web.Request) -> web.Response:
        """Where the order's page hears of changes."""
        order_id = request.match_info["order_id"]
        token, _ = _kept(request, order_id)
        ticket = await self.platform.ticket(order_id, token) if token else None
        if ticket is None:
            return web.json_response({"status": 404, "code": "not_found"}, status=404)
        return web.json_response(ticket, headers={"Cache-Control": "no-store"})

    async def left(self, request: web.Request) -> web.Response:
        """What the link in a mail opens: the cart of an order that ended, as it would be today."""
        return await self._left_page(request, request.query.get("order_id", ""), request.query.get("token", ""))

    # -- forms -------------------------------------------------------------------------------------------------------

    async def change(self, request: web.Request) -> web.Response:
        """Add a piece, take what the cart's page says, or change the currency; then back to where the buyer was."""
        form = await self._own_form(request)
        shelf = await self.platform.shelf()
        cart = _filled(self._cart(request), form)
        back = "/shop/cart" if form.get("back") == "cart" else "/shop"
        if (sku := form.get("add", "")) in shelf:
            cart = cart.with_quantity(sku, cart.lines.get(sku, 0) + 1)
            back += "#" + sku
        if (sku := form.get("remove", "")) in cart.lines:
            cart = cart.with_quantity(sku, 0)
        if (currency := form.get("currency", cart.currency)) in CURRENCIES:
            cart = replace(cart, currency=currency)
        return self._with_cart(_see(back), cart)

    async def checkout(self, request: web.Request) -> web.Response:
        """Place the order and go to the hosted page; what is wrong is said beside its field."""
        cart = _filled(self._cart(request), await self._own_form(request))
        shelf = await self.platform.shelf()
        if gone := [sku for sku in cart.lines if sku not in shelf]:
            for sku in gone:
                cart = cart.with_quantity(sku, 0)
            gone_by = Problem("Something is no longer sold. We took it out of your cart.")
            return await self._cart_page(cart, gone_by, self._person(request))
        if not cart.lines:
            return self._with_cart(_see("/shop/cart"), cart)
        answer = await self.platform.place(cart, _locale(request))
        if isinstance(answer, Problem):
            # A refusal stays under its key: the next try is another order. Otherwise the next try goes on with this.
            return await self._cart_page(cart.renewed() if answer.settled else cart, answer, self._person(request))
        return self._with_cart(_keeping(_see(await self._where_to_pay(answer)), answer, cart.key), cart)

    async def recover(self, request: web.Request) -> web.Response:
        """Take up again what was left, and go to the hosted page; or take it to the cart, to change it there."""
        form = await self._own_form(request)
        order_id, token, nonce = (form.get(name, "") for name in ("order_id", "token", "nonce"))
        left = _left(request, order_id, token)
        offer = await self.platform.offer(left) if left else None
        if left is None or offer is None or isinstance(offer, Problem) or not NONCE.fullmatch(nonce):
            return await self._left_page(request, order_id, token)
        cart = Cart(
            {line["sku"]: line["quantity"] for line in offer["lines"]},
            offer["currency"] if offer["currency"] in CURRENCIES else CURRENCIES[0],
            offer["coupon"] or "",
        )
        if "to_cart" in form:
            return self._with_cart(_see("/shop/cart"), cart)
        answer = await self.platform.recover(left, nonce, cart)
        if isinstance(answer, Problem):
            told = replace(answer, general=SHORT) if answer.lines else answer
            return await self._left_page(request, order_id, token, told)
        return _keeping(_see(await self._where_to_pay(answer)), answer, "")

    async def _left_page(
        self, request: web.Request, order_id: str, token: str, problem: Problem | None = None
    ) -> web.Response:
        cart, left = self._cart(request), _left(request, order_id, token)
        offer = await self.platform.offer(left) if left else Problem(LEFT["not_found"])
        if isinstance(offer, Problem):
            return self._missing(("We cannot take it up again", offer.general), cart)
        shelf = await self.platform.shelf()
        values = {
            "offer": offer,
            "news": [news(change, offer["currency"]) for change in offer["changes"]],
            "before": {c["sku"]: c["before_minor"] for c in offer["changes"] if c["code"] == "price_changed"},
            "images": {sku: ware.image for sku, ware in shelf.items()},
            "token": token,
            "nonce": secrets.token_hex(12),
            "problem": problem or Problem(),
        }
        status = 200 if problem is None else 422 if problem.settled else 503
        return self._page("recover.html", cart, status=status, **values)

    async def buy(self, request: web.Request) -> web.Response:
        """Place the order and pay with what the customer saved; to his bank's page when that asks for him."""
        cart, person = _filled(self._cart(request), await self._own_form(request)), self._person(request)
        if person is None or not cart.lines:
            return self._with_cart(_see("/shop/cart"), cart)
        answer = await self.platform.buy(cart, person, _locale(request))
        if isinstance(answer, Problem):
            return await self._cart_page(cart.renewed() if answer.settled else cart, answer, person)
        response = _see(str(answer["action_url"] or f"/shop/success?order_id={answer['order_id']}"))
        return self._with_cart(_keeping(response, answer, cart.key), cart)

    # -- the customer's account --------------------------------------------------------------------------------------

    async def account(self, request: web.Request) -> web.Response:
        """What the customer saved to pay with, or a form to sign in."""
        person = self._person(request)
        methods = await self.platform.methods(person) if person else []
        waiting = "saved" in request.query and not methods
        return self._account_page(request, person, methods, waiting=waiting)

    async def sign_in(self, request: web.Request) -> web.Response:
        """Take the visitor's word for who he is."""
        email = (await self._own_form(request)).get("email", "").strip()
        if not EMAIL.fullmatch(email):
            return self._account_page(request, None, [], Problem(fields={"email": WORDS["email"]}))
        cart, person = self._cart(request), Person(email)
        response = self._with_cart(_see("/shop/account"), replace(cart, email=cart.email or email))
        sealed = person.sealed(self.secret)
        response.set_cookie(PERSON, sealed, path="/shop", httponly=True, samesite="Lax", max_age=ORDER_SECONDS)
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        """Forget who the visitor is."""
        await self._own_form(request)
        response = _see("/shop")
        response.del_cookie(PERSON, path="/shop")
        return response

    async def save_method(self, request: web.Request) -> web.Response:
        """Go to the page on which a payment method is saved."""
        await self._own_form(request)
        if (person := self._person(request)) is None:
            return _see("/shop/account")
        url = await self.platform.save_method(person, "/shop/account?saved=yes")
        if isinstance(url, str):
            return _see(url)
        return self._account_page(request, person, await self.platform.methods(person), url)

    def _account_page(
        self,
        request: web.Request,
        person: Person | None,
        methods: Sequence[Mapping[str, Any]],
        problem: Problem | None = None,
        *,
        waiting: bool = False,
    ) -> web.Response:
        return self._page(
            "account.html",
            self._cart(request),
            status=200 if problem is None else 422,
            person=person,
            methods=methods,
            problem=problem or Problem(),
            waiting=waiting,
        )

    def _person(self, request: web.Request) -> Person | None:
        return signed_in(request.cookies.get(PERSON, ""), self.secret)

    async def _quick(self, person: Person | None) -> Mapping[str, Any] | None:
        """The saved method that pays with one click, if there is one that can."""
        methods = await self.platform.methods(person) if person else []
        return next((method for method in methods if method["default"] and not method["expired"]), None)

    async def _where_to_pay(self, answer: Mapping[str, Any]) -> str:
        """The hosted page; the order's own page when this very cart was ordered before and its page has ended."""
        order_id = str(answer["order_id"])
        seen = await self.platform.order(order_id, str(answer["order_token"]))
        url = answer["checkout_url"] if seen is None else seen["checkout_url"]
        return str(url or f"/shop/success?order_id={order_id}")

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
        host = request.headers.get("X-Forwarded-Host", request.host)
        if (origin := request.headers.get("Origin")) is not None and urlsplit(origin).netloc != host:
            raise web.HTTPForbidden(text="Please use the shop's own pages.")
        return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}

    async def _cart_page(
        self, cart: Cart, problem: Problem | None = None, person: Person | None = None
    ) -> web.Response:
        shelf = await self.platform.shelf()
        lines = [(shelf[sku], quantity) for sku, quantity in cart.lines.items() if sku in shelf]
        sum_minor = sum(ware.prices.get(cart.currency, 0) * quantity for ware, quantity in lines)
        status = 200 if problem is None else 422 if problem.settled else 503
        values = {"lines": lines, "sum_minor": sum_minor, "problem": problem or Problem(), "person": person}
        quick = await self._quick(person)
        return self._with_cart(self._page("cart.html", cart, status=status, quick=quick, **values), cart)

    def _cart(self, request: web.Request) -> Cart:
        return opened(request.cookies.get(CART, ""), self.secret)

    def _with_cart(self, response: web.Response, cart: Cart) -> web.Response:
        response.set_cookie(
            CART, cart.sealed(self.secret), path="/shop", httponly=True, samesite="Lax", max_age=30 * 86_400
        )
        return response

    def _missing(self, about: tuple[str, str], cart: Cart) -> web.Response:
        return self._page("missing.html", cart, status=404, about=about)

    def _page(self, template: str, cart: Cart, *, status: int = 200, **values: object) -> web.Response:
        text = self.templates.get_template(template).render(
            **{"cart": cart, "currencies": CURRENCIES, "quantity_max": QUANTITY_MAX, "person": None, **values}
        )
        return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)


def _in_order(wares: Any) -> list[Ware]:  # Any: a view of a mapping's values
    return sorted(wares, key=lambda ware: (ware.available == 0, ware.name))


def _see(url: str) -> web.Response:
    return web.Response(status=303, headers={"Location": url, "Cache-Control": "no-store"})


def _keeping(response: web.Response, answer: Mapping[str, Any], key: str) -> web.Response:
    """Let this browser look at the order that was placed, of the cart with `key`."""
    kept = f"{answer['order_token']}.{key}"
    response.set_cookie(answer["order_id"], kept, path="/shop", httponly=True, samesite="Lax", max_age=ORDER_SECONDS)
    return response


def _left(request: web.Request, order_id: str, token: str) -> Left | None:
    """The order that was left, for whoever came by the link in its mail, or placed it in this browser."""
    if not ORDER_ID.fullmatch(order_id):
        return None
    if token:
        return Left(order_id, {"Recovery-Token": token}) if LINK.fullmatch(token) else None
    kept, _ = _kept(request, order_id)
    return Left(order_id, {"Order-Token": kept}) if kept else None


def _locale(request: web.Request) -> str:
    """The language that the browser asks for first."""
    first = request.headers.get("Accept-Language", "").partition(",")[0].partition(";")[0].strip()
    return first if LOCALE.fullmatch(first) else "en-US"


def _kept(request: web.Request, order_id: str) -> tuple[str, str]:
    """The token of an order that this browser placed, and the key of the cart it was; empty for all others."""
    kept = request.cookies.get(order_id, "") if ORDER_ID.fullmatch(order_id) else ""
    token, _, key = kept.partition(".")
    return token, key


def _filled(cart: Cart, form: Mapping[str, str]) -> Cart:
    """The cart with what the buyer typed on its page."""
    for sku, quantity in cart.lines.items():
        if (wanted := _number(form.get(f"quantity-{sku}", ""), quantity)) != quantity:
            cart = cart.with_quantity(sku, wanted)
    email = form.get("email", cart.email).strip()[:254]
    coupon = form.get("coupon", cart.coupon).strip()[:40]
    return replace(cart, email=email, coupon=coupon)


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else otherwise


def _guard(templates: Environment) -> Any:  # Any: aiohttp's middleware type
    def page(template: str, status: int, **values: object) -> web.Response:
        text = templates.get_template(template).render(cart=Cart(), currencies=CURRENCIES, person=None, **values)
        return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
            return page("missing.html", error.status, about=MISSING_PAGE)
        except (aiohttp.ClientError, TimeoutError, OSError):
            # A form cannot be sent again by itself: what it would change is seen in the cart.
            answer = page("away.html", 503, again=request.path_qs if request.method == "GET" else "/shop/cart")
            answer.headers["Retry-After"] = "5"
            return answer

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
    templates.filters["named"] = named
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
            web.post("/shop/buy", shop.buy),
            web.get("/shop/account", shop.account),
            web.post("/shop/account", shop.sign_in),
            web.post("/shop/account/save", shop.save_method),
            web.post("/shop/account/leave", shop.sign_out),
            web.get("/shop/success", shop.order),
            web.get("/shop/orders/{order_id}", shop.order_json),
            web.post("/shop/orders/{order_id}/ticket", shop.ticket),
            web.get("/shop/recover", shop.left),
            web.post("/shop/recover", shop.recover),
            web.get("/shop/static/{name}", shop.static),
            web.get("/healthz", shop.health),
        ]
    )
    return app
