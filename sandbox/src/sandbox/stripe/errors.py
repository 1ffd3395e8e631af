"""Errors in Stripe's shape."""

from collections.abc import Mapping
from typing import Any


class StripeError(Exception):
    """One error answer. `fields` are further members, such as the intent of a declined payment."""

    def __init__(
        self,
        status: int,
        type_: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        **fields: Any,  # Any: members of Stripe's error object
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"type": type_, "message": message}
        if code:
            self.body["code"] = code
            self.body["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param:
            self.body["param"] = param
        self.body.update(fields)


def invalid(
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    status: int = 400,
    **fields: Any,  # Any: members of Stripe's error object
) -> StripeError:
    """A request that cannot be served as it is."""
    return StripeError(status, "invalid_request_error", message, code=code, param=param, **fields)


def missing_param(name: str) -> StripeError:
    return invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")


def unknown_param(name: str) -> StripeError:
    return invalid(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")


def no_such(kind: str, object_id: str, *, param: str = "id", status: int = 404) -> StripeError:
    return invalid(f"No such {kind}: '{object_id}'", param=param, code="resource_missing", status=status)


def unexpected_state(intent: Mapping[str, Any], verb: str) -> StripeError:  # Any: Stripe's own shape
    """The refusal of a step that the state of a payment or setup intent forbids; the error carries the intent."""
    kind = str(intent["object"])
    message = f"You cannot {verb} this {name_of(intent)} because it has a status of {intent['status']}."
    refusal = invalid(message, code=f"{kind}_unexpected_state")
    refusal.body[kind] = intent
    return refusal


def name_of(intent: Mapping[str, Any]) -> str:  # Any: Stripe's own shape
    """What messages call an intent: PaymentIntent or SetupIntent."""
    return str(intent["object"]).title().replace("_", "")
