"""The hosted payment page: plain forms, no script, works in a browser and with curl."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from babel import Locale
from jinja2 import Environment, FileSystemLoader
from yarl import URL

from payments_shared.money import Money, format_money
from sandbox.stripe import objects
from sandbox.stripe.api import Api
from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import intents, sessions, setups, totals

EXAMPLE: Final = {
    "number": "4242 4242 4242 4242",
    "name": "Ada Lovelace",
    "method": "card",
    "expiry": "12 / 34",
}
HERE = Path(__file__).parent / "templates"
_CSP = "default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:* http://localhost:*; frame-ancestors 'none'; base-uri 'none'"


@dataclass(slots=True)
class Pages:
    """`/c/pay/{session}` and `/c/challenge/{intent}`."""

    api: Api
    templates: Environment

    async def show(self, request: web.Request) -> web.StreamResponse:
        """The page of an open session."""
        session = self._session(request)
        if session is None:
            return self._ended(404, "Nothing here", "There is no such payment page.", None)
        if session["status"] != "open":
            return self._ended(
                200, "This page has ended", f"The session is {session['status']}.", session["success_url"]
            )
        return self._page(session, None, {})

    async def pay(self, request: web.Request) -> web.StreamResponse:
        """Try to pay; back to the shop when it worked, the page with an error beside it when not."""
        session = self._session(request)
        if session is None:
            return self._ended(404, "Nothing here", "There is no such payment page.", None)
        form = await request.post()
        if form.get("saved"):
            return self._pay_with_saved(session, form)
        number = re.sub(r"[^0-9A-Za-z]", "", str(form.get("number", "")))
        kind = "sepa_debit" if form.get("method") == "sepa_debit" else "card"
        if kind == "card" and not (number.isdigit() and 12 <= len(number) <= 19):
            return self._page(session, "The card number is incomplete.", form)
        try:
            sessions.check_open(self.api.machine, session)
            self._choose(session, form)
            sessions.remember_wish(self.api.machine, session, save="save" in form)
            intent = sessions.pay(
                self.api.machine,
                session,
                number,
                kind=kind,
                name=str(form.get("name") or "") or None,
                email=str(form.get("email") or "") or None,
                expiry=_expiry(str(form.get("expiry", ""))),
            )
        except StripeError as error:
            return self._ended(409, "This page has ended", str(error), session["success_url"])
        finally:
            self.api.flush()
        return self._after(session, intent, form)

    def _pay_with_saved(self, session: Json, form: Mapping[str, object]) -> web.StreamResponse:
        offered = {method["id"]: method for method in sessions.saved_methods(self.api.machine, session)}
        method = offered.get(str(form["saved"]))
        if method is None:
            return self._page(session, "This payment method is gone. Try another.", {})
        try:
            self._choose(session, form)
            intent = sessions.pay_with(self.api.machine, session, method)
        except StripeError as error:
            return self._ended(409, "This page has ended", str(error), session["success_url"])
        finally:
            self.api.flush()
        return self._after(session, intent, form)

    def _choose(self, session: Json, form: Mapping[str, object]) -> None:
        """Where to and how, as far as the page asked for it."""
        typed = {name: str(form[name]) for name in ("country", "state", "postal_code") if form.get(name)}
        allowed = (session["shipping_address_collection"] or {}).get("allowed_countries")
        if allowed and "country" in typed and typed["country"] not in allowed:
            raise invalid("The shop does not ship there.", param="country")
        rate = form.get("shipping_rate")
        totals.choose(self.api.machine, session, address=typed, rate=str(rate) if rate else None)

    def _after(self, session: Json, intent: Json, form: Mapping[str, object]) -> web.StreamResponse:
        if intent["status"] == "requires_action":
            raise web.HTTPSeeOther(f"/c/challenge/{intent['id']}")
        if intent["status"] in ("succeeded", "processing", "requires_capture"):
            raise web.HTTPSeeOther(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))
        error = intent["last_setup_error" if intent["object"] == "setup_intent" else "last_payment_error"] or {}
        texts = {
            "insufficient_funds": "Your card has insufficient funds. Try another card.",
            "expired_card": "Your card has expired.",
            "incorrect_cvc": "Your card's security code is incorrect.",
        }
        failed = "The confirmation failed. Try again or use another card."
        texts |= dict.fromkeys(("authentication_required", "payment_intent_authentication_failure"), failed)
        why = error.get("decline_code") or error.get("code", "")
        text = texts.get(why, "Your card was declined. Try another card.")
        return self._page(session, text, form)

    async def challenge(self, request: web.Request) -> web.StreamResponse:
        """The bank's question, and its answer."""
        intent = self._intent(request.match_info["id"])
        if intent is None or intent["status"] != "requires_action":
            return self._ended(404, "Nothing to confirm", "There is nothing to confirm here.", None)
        if request.method == "GET":
            total = _money(intent["amount"], intent["currency"]) if "amount" in intent else None
            return self._html("challenge.html", 200, total=total)
        session = sessions.owner(self.api.machine, intent)
        answer = (await request.post()).get("answer") == "complete"
        if intent["status"] != "requires_action":
            return self._ended(404, "Nothing to confirm", "There is nothing to confirm here.", None)
        if session is None:
            return self._answer_alone(intent, challenged=answer)
        method = self.api.store.objects[intent["payment_method"]]
        try:
            sessions.pay_with(self.api.machine, session, method, challenged=answer)
        except StripeError as error:
            return self._ended(409, "This page has ended", str(error), session["success_url"])
        finally:
            self.api.flush()
        return self._after(session, intent, {})

    def _answer_alone(self, intent: Json, *, challenged: bool) -> web.StreamResponse:
        """The answer for an intent without a session; then to where its confirmation asked to return.

        Source: Stripe API, "Payment Intents", the parameters added to `return_url`.
        """
        return_url = intent["next_action"]["redirect_to_url"]["return_url"]
        method = self.api.store.objects[intent["payment_method"]]
        if intent["object"] == "setup_intent":
            setups.attempt(self.api.machine, intent, method, challenged=challenged)
        else:
            number = objects.number_of(self.api.store, method["id"])
            intents.attempt(self.api.machine, intent, method, number, challenged=challenged)
        self.api.flush()
        if return_url is None:
            return self._ended(200, "Thank you", "You may close this page.", None)
        outcome = "failed" if intent["status"] == "requires_payment_method" else "succeeded"
        told = {
            intent["object"]: intent["id"],
            f"{intent['object']}_client_secret": intent["client_secret"],
            "redirect_status": outcome,
        }
        raise web.HTTPSeeOther(str(URL(return_url).update_query(told)))

    async def style(self, _: web.Request) -> web.StreamResponse:
        """The style sheet."""
        return web.Response(text=(HERE / "page.css").read_text(), content_type="text/css")

    def _intent(self, intent_id: str) -> Json | None:
        return self.api.store.find("payment_intent", intent_id) or self.api.store.find("setup_intent", intent_id)

    def _session(self, request: web.Request) -> Json | None:
        session = self.api.store.find("checkout.session", request.match_info["id"])
        if session is not None:
            sessions.expire_if_due(self.api.machine, session)
            self.api.flush()
        return session

    def _page(self, session: Json, error: str | None, form: Mapping[str, object]) -> web.Response:
        """The page, with what was typed; an `error` makes it a 402."""
        if session["mode"] == "setup":
            return self._setup_page(session, error, form)
        currency = session["currency"]
        hidden = self.api.store.objects["req_" + session["id"]]
        lines = [
            {
                "name": item["description"],
                "quantity": item["quantity"],
                "unit": _money(item["price"]["unit_amount"], currency),
                "amount": _money(item["amount_subtotal"], currency),
            }
            for item in hidden["line_items"]
        ]
        rates = [
            {"id": rate["id"], "name": rate["display_name"], "amount": _money(rate["amount"], currency)}
            for rate in hidden.get("shipping", ())
        ]
        discount = session["total_details"]["amount_discount"]
        return self._html(
            "pay.html",
            402 if error else 200,
            action=f"/c/pay/{session['id']}",
            lines=lines,
            discount=_money(discount, currency) if discount else None,
            total=_money(session["amount_total"], currency),
            tax=_money(tax, currency) if (tax := session["total_details"]["amount_tax"]) else None,
            countries=_countries(session),
            home=totals.address_of(self.api.machine, session)["country"],
            rates=rates,
            chosen=next((rate for rate in rates if rate["id"] == hidden.get("rate")), rates[0] if rates else None),
            typed=self._typed(session, form),
            saved=[_named(method) for method in sessions.saved_methods(self.api.machine, session)],
            debits="sepa_debit" in session["payment_method_types"],
            may_save=(session["saved_payment_method_options"] or {}).get("payment_method_save") == "enabled",
            cancel_url=session["cancel_url"] or "#",
            error=error,
        )

    def _setup_page(self, session: Json, error: str | None, form: Mapping[str, object]) -> web.Response:
        return self._html(
            "setup.html",
            402 if error else 200,
            action=f"/c/pay/{session['id']}",
            typed=self._typed(session, form),
            cancel_url=session["cancel_url"] or "#",
            error=error,
        )

    def _typed(self, session: Json, form: Mapping[str, object]) -> dict[str, object]:
        return {**EXAMPLE, "email": sessions.email_of(self.api.machine, session) or "", **form}

    def _ended(self, status: int, title: str, text: str, url: str | None) -> web.Response:
        return self._html("ended.html", status, title=title, text=text, url=url)

    def _html(self, template: str, status: int, **values: Any) -> web.Response:  # Any: template values
        text = self.templates.get_template(template).render(**values)
        headers = {
            "Content-Security-Policy": _CSP,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        }
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def _expiry(text: str) -> tuple[int, int]:
    """Month and year as typed, such as `12 / 34`; those of a test card when it is nothing of the kind."""
    found = re.fullmatch(r"\s*(0?[1-9]|1[0-2])\s*/\s*(?:20)?([0-9]{2})\s*", text)
    return (int(found[1]), 2000 + int(found[2])) if found else objects.EXPIRY


def _named(method: Json) -> dict[str, str]:
    shown = method[method["type"]]
    return {"id": method["id"], "text": f"{shown.get('brand', 'account').capitalize()} •••• {shown['last4']}"}


def _countries(session: Json) -> list[dict[str, str]]:
    """Where the page ships to, in the order of their names."""
    codes = (session["shipping_address_collection"] or {}).get("allowed_countries", [])
    names = Locale("en").territories
    found = [{"code": code, "name": names.get(code, code)} for code in codes]
    return sorted(found, key=lambda country: country["name"])


def _money(amount: int, currency: str) -> str:
    return format_money(Money(amount, currency), "en-US")


def routes(api: Api) -> list[web.RouteDef]:
    """Routes of the hosted page."""
    pages = Pages(api, Environment(loader=FileSystemLoader(HERE), autoescape=True))
    return [
        web.get("/c/page.css", pages.style),
        web.get("/c/pay/{id}", pages.show),
        web.post("/c/pay/{id}", pages.pay),
        web.get("/c/challenge/{id}", pages.challenge),
        web.post("/c/challenge/{id}", pages.challenge),
    ]
