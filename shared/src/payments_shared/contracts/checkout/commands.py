"""What checkout tells itself to do: commands, which nobody else says or hears."""

from typing import ClassVar

from payments_shared.contracts.message import AboutOrder, Message
from payments_shared.contracts.stripe import StripeEvent


class FetchSession(AboutOrder):
    """Command: ask Stripe for a session of the order and fold the answer as a fact.

    The session that `payment_intent` belongs to when that is given, else the order's own.
    """

    TYPE: ClassVar[str] = "checkout.cmd.fetch_session.v1"

    session_id: str | None = None
    payment_intent: str | None = None


class FetchPaymentIntent(AboutOrder):
    """Command: ask Stripe for a payment intent whose meaning is unclear and fold the answer as a fact."""

    TYPE: ClassVar[str] = "checkout.cmd.fetch_payment_intent.v1"

    payment_intent: str


class ResumeOrder(AboutOrder):
    """Command: finish an order whose session creation has an unknown outcome, with the same key."""

    TYPE: ClassVar[str] = "checkout.cmd.resume_order.v1"


class ExpireSession(AboutOrder):
    """Command: close the order's session at Stripe, since the order has ended here."""

    TYPE: ClassVar[str] = "checkout.cmd.expire_session.v1"

    session_id: str


class CancelPaymentIntent(AboutOrder):
    """Command: cancel the intent of a saved method's charge at Stripe, so that nobody can pay it any more, and fold
    what it has become as a fact."""

    TYPE: ClassVar[str] = "checkout.cmd.cancel_payment_intent.v1"

    payment_intent: str


class AbandonOrder(AboutOrder):
    """Command, delayed: if the decline is still the last word, treat the order as abandoned."""

    TYPE: ClassVar[str] = "checkout.cmd.abandon_order.v1"

    decline: str


class CancelSetupIntent(Message):
    """Command: cancel a setup intent at Stripe, since its customer tries too many cards."""

    TYPE: ClassVar[str] = "checkout.cmd.cancel_setup_intent.v1"

    setup_intent: str

    def subject(self) -> str:
        return f"setup_intent/{self.setup_intent}"

    def partition_key(self) -> str:
        return self.setup_intent


class FindOrder(Message):
    """Command: ask Stripe which order `payment` was for, an intent or a charge, and fold what `event` says of it.

    Reviews and warnings name no order, and may be heard of before the order's intent is.
    """

    TYPE: ClassVar[str] = "checkout.cmd.find_order.v1"

    payment: str
    event: StripeEvent

    def subject(self) -> str:
        return f"payment/{self.payment}"

    def partition_key(self) -> str:
        return self.payment


class FetchPaymentMethod(Message):
    """Command: ask Stripe for a payment method of which events say different things, and take its word.

    `number` counts the askings about it: the answer to an earlier one never replaces that to a later one.
    """

    TYPE: ClassVar[str] = "checkout.cmd.fetch_payment_method.v1"

    payment_method: str
    number: int

    def subject(self) -> str:
        return f"payment_method/{self.payment_method}"

    def partition_key(self) -> str:
        return self.payment_method
