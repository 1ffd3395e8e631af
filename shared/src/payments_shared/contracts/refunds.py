"""What refunds says: money on its way back."""

from datetime import datetime
from typing import ClassVar, Final, Literal

from payments_shared.contracts.checkout import Customer
from payments_shared.contracts.inventory import StockLine
from payments_shared.contracts.message import AboutOrder, CurrencyCode, Minor, RefundId

OWNER: Final = "refunds"


class AboutRefund(AboutOrder):
    """A message about one refund; its order is the partition, so that facts of an order keep together.

    `payment_intent` is empty where what store credit paid goes back, or what a card paid becomes store credit. One
    request of a person is paid back by a refund for each tender: they share `request_id`. `requester` and approvers are
    subjects of tokens, `system:<rule>`, `policy:<version>` or `stripe:dashboard`.
    """

    refund_id: RefundId
    request_id: RefundId | None = None
    payment_intent: str
    destination: Literal["original", "store_credit"] = "original"
    amount_minor: Minor
    currency: CurrencyCode
    reason: str
    requester: str
    lines: tuple[StockLine, ...] = ()
    customer: Customer | None = None


class RefundRequested(AboutRefund):
    """A refund exists; no money has moved."""

    TYPE: ClassVar[str] = "refund.requested.v1"


class RefundApproved(AboutRefund):
    """`approver` is a person other than the requester, or `policy:<version>`."""

    TYPE: ClassVar[str] = "refund.approved.v1"

    approver: str


class RefundRejected(AboutRefund):
    """A person said no."""

    TYPE: ClassVar[str] = "refund.rejected.v1"

    approver: str


class RefundSucceeded(AboutRefund):
    """Stripe sent the money back. A later `refund.failed` may still follow."""

    TYPE: ClassVar[str] = "refund.succeeded.v1"

    stripe_refund_id: str


class RefundFailed(AboutRefund):
    """Stripe could not send the money back, possibly weeks after it said it had."""

    TYPE: ClassVar[str] = "refund.failed.v1"

    stripe_refund_id: str | None = None
    failure_reason: str | None = None


class RefundCanceled(AboutRefund):
    """The refund was withdrawn before it took effect."""

    TYPE: ClassVar[str] = "refund.canceled.v1"


class SubmitRefund(AboutOrder):
    """Command: ask Stripe for the refund, with its own idempotency key."""

    TYPE: ClassVar[str] = "refunds.cmd.submit.v1"

    refund_id: RefundId


class CheckRefund(AboutOrder):
    """Command: ask Stripe what became of a refund and fold the answer."""

    TYPE: ClassVar[str] = "refunds.cmd.check.v1"

    refund_id: RefundId


class FindRefunds(AboutOrder):
    """Command: ask Stripe for all refunds of a payment and fold them."""

    TYPE: ClassVar[str] = "refunds.cmd.find.v1"

    payment_intent: str


class StoreCreditIssued(AboutOrder):
    """Whoever has `account` is to be given store credit for a refund; `store_credit.booked` answers it. As in the
    refund's other messages, `payment_intent` is empty where store credit had paid."""

    TYPE: ClassVar[str] = "store_credit.issued.v1"

    refund_id: RefundId
    payment_intent: str
    account: str
    amount_minor: Minor
    currency: CurrencyCode
    expires_at: datetime | None = None


EVENTS: Final = (
    RefundRequested,
    RefundApproved,
    RefundRejected,
    RefundSucceeded,
    RefundFailed,
    RefundCanceled,
    StoreCreditIssued,
)
COMMANDS: Final = (SubmitRefund, CheckRefund, FindRefunds)
