"""Checkout Sessions: paid by a buyer, settled later, or expired."""

from sandbox.stripe import objects
from sandbox.stripe.errors import invalid
from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import intents, methods, setups, totals


def pay(
    machine: Machine,
    session: Json,
    number: str,
    *,
    kind: str,
    name: str | None,
    email: str | None,
    expiry: tuple[int, int] = objects.EXPIRY,
    challenged: bool | None = None,
) -> Json:
    """The buyer submits the page with a card or an account that he typed."""
    check_open(machine, session)
    method = objects.payment_method(
        machine.store, number, kind=kind, name=name, email=email or email_of(machine, session), expiry=expiry
    )
    return pay_with(machine, session, method, challenged=challenged)


def pay_with(machine: Machine, session: Json, method: Json, *, challenged: bool | None = None) -> Json:
    """The buyer submits the page. `challenged` is his answer to a 3-D Secure challenge, None before it. What is
    answered is the payment intent, or the setup intent of a session that only saves a method."""
    check_open(machine, session)
    if method["type"] not in session["payment_method_types"]:
        raise invalid("This payment method is not offered here.", param="payment_method")
    if session["mode"] == "setup":
        return _save(machine, session, method, challenged)
    totals.settle(machine, session)
    intent = _intent_of(machine, session)
    intent["payment_method"] = method["id"]
    number = objects.number_of(machine.store, method["id"])
    intents.attempt(machine, intent, method, number, challenged=challenged)
    if intent["status"] == "succeeded":
        _complete(machine, session, method, "paid")
    elif intent["status"] in ("processing", "requires_capture"):
        _complete(machine, session, method, "unpaid")
    return intent


def _save(machine: Machine, session: Json, method: Json, challenged: bool | None) -> Json:
    intent = machine.get("setup_intent", session["setup_intent"])
    # Source: Stripe support, "Prefilling saved cards in Checkout": setup mode saves for being offered again.
    setups.attempt(machine, intent, method, challenged=challenged, redisplay="always")
    if intent["status"] == "succeeded":
        _complete(machine, session, method, "no_payment_required")
    return intent


def remember_wish(machine: Machine, session: Json, *, save: bool) -> None:
    """Whether the buyer wants what he pays with to be saved for the next time, if the session lets him wish for it."""
    options = session["saved_payment_method_options"] or {}
    hidden = machine.store.objects["req_" + session["id"]]
    wished = save and options.get("payment_method_save") == "enabled"
    machine.store.put("_session_request", {**hidden, "save": wished})


def saved_methods(machine: Machine, session: Json) -> list[Json]:
    """What the page offers to pay with again."""
    if session["customer"] is None or session["mode"] != "payment":
        return []
    found = machine.store.all("payment_method")
    return [m for m in found if m["customer"] == session["customer"] and m["allow_redisplay"] == "always"]


def email_of(machine: Machine, session: Json) -> str | None:
    """The address that the session knows beforehand."""
    customer = session["customer"] and machine.store.find("customer", session["customer"])
    found: str | None = customer["email"] if customer else session["customer_email"]
    return found


def check_open(machine: Machine, session: Json) -> None:
    """Refuse what a session that has ended cannot do."""
    expire_if_due(machine, session)
    if session["status"] != "open":
        raise invalid(f"This Checkout Session is {session['status']}.", code="checkout_session_not_open")


def _intent_of(machine: Machine, session: Json) -> Json:
    if session["payment_intent"]:
        known = machine.get("payment_intent", session["payment_intent"])
        known["amount"] = session["amount_total"]  # the address, or the way to ship, may be another than at first
        return known
    hidden = machine.store.objects["req_" + session["id"]]
    intent = objects.payment_intent(
        machine.store,
        amount=session["amount_total"],
        currency=session["currency"],
        payment_method_types=session["payment_method_types"],
        payment_method_options=objects.card_options(session["payment_method_options"]),
        customer=session["customer"],
        **hidden["intent"],
    )
    session["payment_intent"] = intent["id"]
    machine.store.put("checkout.session", session)
    machine.store.put("_owner", {"id": "own_" + intent["id"], "session": session["id"]})
    machine.emit("payment_intent.created", intent)
    return intent


def owner(machine: Machine, intent: Json) -> Json | None:
    """The session that made an intent."""
    owned = machine.store.find("_owner", "own_" + intent["id"])
    return machine.store.objects[owned["session"]] if owned else None


def _complete(machine: Machine, session: Json, method: Json, payment_status: str) -> None:
    session.update(status="complete", payment_status=payment_status, url=None)
    details = method["billing_details"]
    if machine.store.objects["req_" + session["id"]].get("save") and method["customer"] is None:
        methods.attach(machine, method, session["customer"], redisplay="always")
    session["customer_details"] = {
        "address": {**details["address"], "country": "US"},
        "business_name": None,
        "email": email_of(machine, session) or details["email"],
        "individual_name": None,
        "name": details["name"],
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    if session["shipping_address_collection"]:
        session["collected_information"] = _collected(details["name"], totals.address_of(machine, session))
    machine.store.put("checkout.session", session)
    machine.emit("checkout.session.completed", session)


def _collected(name: str | None, address: Json) -> Json:
    shipping = {"address": address, "name": name}
    return {"business_name": None, "individual_name": None, "shipping_details": shipping}


def expire(machine: Machine, session: Json) -> Json:
    """End an open session, and with it an intent that has no money."""
    session.update(status="expired", url=None)
    machine.store.put("checkout.session", session)
    intent = session["payment_intent"] and machine.store.find("payment_intent", session["payment_intent"])
    if intent and intent["status"] in intents.ATTEMPTABLE:
        intents.cancel(machine, intent, reason="automatic")
    setup = session["setup_intent"] and machine.store.find("setup_intent", session["setup_intent"])
    if setup and setup["status"] in setups.ATTEMPTABLE:
        setups.cancel(machine, setup, reason=None)
    machine.emit("checkout.session.expired", session)
    return session


def expire_if_due(machine: Machine, session: Json) -> None:
    """End a session whose time has come."""
    if session["status"] == "open" and session["expires_at"] <= machine.store.now():
        expire(machine, session)


def settle(machine: Machine, intent: Json, *, success: bool) -> None:
    """A delayed payment arrives, or fails for good; its session, if it has one, learns of it."""
    intents.settle(machine, intent, success=success)
    session = owner(machine, intent)
    if session is None:
        return
    if success:
        session["payment_status"] = "paid"
        machine.store.put("checkout.session", session)
        machine.emit("checkout.session.async_payment_succeeded", session)
    else:
        machine.emit("checkout.session.async_payment_failed", session)
