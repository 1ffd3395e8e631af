"""What refunds says: money on its way back, and money that buyers' banks dispute."""

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from payments_shared.contracts.checkout import Customer
from payments_shared.contracts.inventory import StockLine
from payments_shared.contracts.message import AboutOrder, CurrencyCode, EvidenceId, Message, Minor, RefundId, ShipmentId

OWNER: Final = "refunds"


class AboutRefund(AboutOrder):
    """A message about one refund; its order is the partition, so that facts of an order keep together.

    `payment_intent` is empty where what store credit paid goes back; what a card paid may become store credit, as
    `destination` says. One request of a person is paid back by a refund for each tender: they share `request_id`.
    `requester` and approvers are subjects of tokens, `system:<rule>`, `policy:<version>` or `stripe:dashboard`. Of the
    `lines`, those that are also `unsellable` are not sold again, wherever they are: they are broken, or their buyer
    keeps them.
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
    unsellable: tuple[StockLine, ...] = ()
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


class RefundPending(AboutRefund):
    """The money waits at Stripe for somebody. `status` requires_action: the buyer must say where it goes, until
    `action_expires_at`. `status` pending with the reason `insufficient_funds`: the account at Stripe must be topped
    up. What Stripe is merely working on is not told."""

    TYPE: ClassVar[str] = "refund.pending.v1"

    stripe_refund_id: str
    status: Literal["pending", "requires_action"]
    pending_reason: str | None = None
    action_expires_at: datetime | None = None


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
    """The refund was withdrawn before it took effect, or Stripe canceled it. `withdrawn_by`: the person who took it
    back; nobody where it made room for a dispute or for another refund, and where Stripe canceled it."""

    TYPE: ClassVar[str] = "refund.canceled.v1"

    withdrawn_by: str | None = None


class RefundLeftToStaff(AboutOrder):
    """A parcel is not sent, and all money would go back, but other goods of the order have left or were delivered: no
    refund is made, and a person must say how much goes back. `reason` is that of the canceled shipment."""

    TYPE: ClassVar[str] = "refund.left_to_staff.v1"

    shipment_id: ShipmentId
    reason: str


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


class AboutDispute(AboutOrder):
    """A message about one dispute of a payment. `amount_minor` is what the bank disputes, which may be less than was
    paid. `version` grows with every state of the dispute: of two messages about one, the higher is what holds. An
    `inquiry` only asks and withholds nothing; a `dispute` withholds the amount until it is decided. `due_by`: until
    when evidence may be handed in.
    """

    dispute_id: str
    payment_intent: str
    charge: str
    amount_minor: Minor
    currency: CurrencyCode
    reason: str
    kind: Literal["inquiry", "dispute"]
    due_by: datetime | None = None
    version: Annotated[int, Field(ge=1)]


class DisputeOpened(AboutDispute):
    """A buyer's bank asks, or takes money back. An inquiry that is escalated is opened again, as a dispute."""

    TYPE: ClassVar[str] = "dispute.opened.v1"


class DisputeWon(AboutDispute):
    """The money stays, or came back: decided for us, or an inquiry that was closed."""

    TYPE: ClassVar[str] = "dispute.won.v1"


class DisputeLost(AboutDispute):
    """The money is gone, as if it had been refunded."""

    TYPE: ClassVar[str] = "dispute.lost.v1"


class DisputeDue(AboutDispute):
    """Nobody has handed in evidence, and `hours_left` are left at most."""

    TYPE: ClassVar[str] = "dispute.due.v1"

    hours_left: Annotated[int, Field(ge=1)]


class FetchDispute(Message):
    """Command: ask Stripe how a dispute stands and fold the answer. `swept`: no event ordered it."""

    TYPE: ClassVar[str] = "refunds.cmd.fetch_dispute.v1"

    dispute_id: str
    payment_intent: str | None = None
    swept: bool = False

    def subject(self) -> str:
        return f"dispute/{self.dispute_id}"

    def partition_key(self) -> str:
        return self.payment_intent or self.dispute_id


class FindDisputes(AboutOrder):
    """Command: ask Stripe for all disputes of a payment, of which it refused `refund_id`, and fold them."""

    TYPE: ClassVar[str] = "refunds.cmd.find_disputes.v1"

    payment_intent: str
    refund_id: RefundId


class SubmitEvidence(Message):
    """Command: give Stripe the evidence that somebody handed in for a dispute, with its own idempotency key."""

    TYPE: ClassVar[str] = "refunds.cmd.submit_evidence.v1"

    dispute_id: str
    submission_id: EvidenceId

    def subject(self) -> str:
        return f"dispute/{self.dispute_id}"

    def partition_key(self) -> str:
        return self.dispute_id


class StoreCreditIssued(AboutOrder):
    """Whoever has `account` is to be given store credit for a refund; `store_credit.booked` answers it, or
    `store_credit.refused`. As in the refund's other messages, `payment_intent` is empty where store credit had paid."""

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
    RefundPending,
    RefundSucceeded,
    RefundFailed,
    RefundCanceled,
    RefundLeftToStaff,
    DisputeOpened,
    DisputeWon,
    DisputeLost,
    DisputeDue,
    StoreCreditIssued,
)
COMMANDS: Final = (SubmitRefund, CheckRefund, FindRefunds, FetchDispute, FindDisputes, SubmitEvidence)
