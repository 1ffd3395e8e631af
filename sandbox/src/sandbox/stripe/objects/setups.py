"""Setup intents: a payment method is made ready for later payments, and no money moves."""

from typing import Any

from sandbox.stripe.store import Json, Store, new_id


def setup_intent(store: Store, **given: Any) -> Json:
    """A new setup intent; `given` overrides what depends on the request."""
    intent_id = new_id("seti")
    value: Json = {
        "id": intent_id,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": f"{intent_id}_secret_{new_id('x', 20)[2:]}",
        "created": store.now(),
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
        },
        "payment_method_types": ["card"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": "off_session",
    }
    value.update(given)
    return store.put("setup_intent", value)
