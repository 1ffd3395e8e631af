"""The outward door of refunds: Stripe."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from payments_shared.ids import external_id
from payments_shared.stripe_client import Stripe, refused_as_unknown
from refunds.model.disputes import Told
from refunds.model.exhibits import Charge
from refunds.model.heard import Heard
from refunds.model.refunds import Answer, Refund
from refunds.model.submissions import Submission

PAGE: Final = 100  # Stripe's most


@dataclass(frozen=True, slots=True)
class Payments:
    """Stripe, in our words."""

    stripe: Stripe

    async def create(self, refund: Refund) -> Answer:
        """Ask for the refund, under its own key: however often this is sent, Stripe pays once.

        Raises:
            StripeRefused: a definite no.
            OutcomeUnknown: it may have been paid.
        """
        name = external_id("ref", refund.id)
        params = {
            "payment_intent": refund.payment_intent,
            "amount": refund.amount_minor,
            "metadata": {"refund_id": name, "order_id": external_id("ord", refund.order_id)},
        }
        suffix = f"_{refund.stripe_attempt}" if refund.stripe_attempt else ""
        options = {"idempotency_key": f"rf_{name}{suffix}"}
        made = await self.stripe.call("refunds.create", lambda: self.stripe.v1.refunds.create_async(params, options))
        return _answer(made)

    async def list_refunds(self, payment_intent: str) -> list[Heard]:
        """All refunds of a payment, whoever asked for them."""
        return [_heard(one) for one in await self._list("refunds", payment_intent)]

    async def list_disputes(self, payment_intent: str) -> list[Told]:
        """All disputes of a payment, as they are now."""
        return [_told(one) for one in await self._list("disputes", payment_intent)]

    async def _list(self, name: str, payment_intent: str) -> list[Any]:  # Any: as `_heard`
        found: list[Any] = []
        params: dict[str, Any] = {"payment_intent": payment_intent, "limit": PAGE}
        listed = getattr(self.stripe.v1, name).list_async
        while True:
            page = await self.stripe.call(f"{name}.list", partial(listed, dict(params)))
            found += page.data
            if not page.has_more:
                return found
            params["starting_after"] = page.data[-1].id

    async def find(self, refund: Refund) -> Answer | None:
        """Our refund among those of its payment, by the id that we wrote into it, and by its amount."""
        wanted = external_id("ref", refund.id)
        assert refund.payment_intent is not None  # noqa: S101 - Stripe is asked for nothing else
        for heard in await self.list_refunds(refund.payment_intent):
            if heard.refund_id == wanted and heard.amount_minor == refund.amount_minor:
                return Answer(
                    heard.stripe_refund_id,
                    heard.status,
                    heard.failure_reason,
                    heard.pending_reason,
                    heard.action_expires_at,
                )
        return None

    async def retrieve(self, stripe_refund_id: str) -> Answer:
        """The refund as it is now."""
        found = await self.stripe.call(
            "refunds.retrieve", lambda: self.stripe.v1.refunds.retrieve_async(stripe_refund_id)
        )
        return _answer(found)

    async def retrieve_dispute(self, dispute_id: str) -> Told:
        """The dispute as it is now."""
        return _told(
            await self.stripe.call("disputes.retrieve", lambda: self.stripe.v1.disputes.retrieve_async(dispute_id))
        )


def _answer(one: Any) -> Answer:  # Any: the client's objects have untyped members
    return Answer(
        one.id,
        one.status,
        getattr(one, "failure_reason", None),
        getattr(one, "pending_reason", None),
        _action_expires_at(one),
    )


def _action_expires_at(one: Any) -> datetime | None:  # Any: as above
    """Until when the buyer can say where the money goes."""
    shown = getattr(getattr(one, "next_action", None), "display_details", None)
    return datetime.fromtimestamp(shown.expires_at, UTC) if shown is not None else None


def _heard(one: Any) -> Heard:  # Any: the client's objects have untyped members
    metadata = one.metadata
    return Heard(
        stripe_refund_id=one.id,
        payment_intent=one.payment_intent,
        amount_minor=one.amount,
        currency=one.currency,
        status=one.status,
        failure_reason=getattr(one, "failure_reason", None),
        refund_id=metadata["refund_id"] if metadata is not None and "refund_id" in metadata else None,
        pending_reason=getattr(one, "pending_reason", None),
        action_expires_at=_action_expires_at(one),
    )


def _told(one: Any) -> Told:  # Any: as above
    details = one.evidence_details
    card = getattr(getattr(one, "payment_method_details", None), "card", None)
    return Told(
        id=one.id,
        charge=one.charge,
        payment_intent=one.payment_intent,
        amount_minor=one.amount,
        currency=one.currency,
        status=one.status,
        reason=one.reason,
        opened_at=datetime.fromtimestamp(one.created, UTC),
        network_reason_code=getattr(card, "network_reason_code", None),
        due_by=datetime.fromtimestamp(details.due_by, UTC) if details.due_by else None,
        has_evidence=details.has_evidence,
        submission_count=details.submission_count,
        past_due=details.past_due,
        charge_refundable=one.is_charge_refundable,
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """Stripe, about evidence. A refusal is a definite no; `OutcomeUnknown`: it may have been taken."""

    stripe: Stripe

    async def charges(self, payment_intent: str) -> list[Charge]:
        """How the money of a payment was taken; attempts that failed are left out.

        Raises:
            StripeRefused: there is no such payment.
            OutcomeUnknown: no answer.
        """
        params = {"payment_intent": payment_intent, "limit": PAGE}
        page = await self.stripe.call("charges.list", lambda: self.stripe.v1.charges.list_async(params))
        return [_charge(one, payment_intent) for one in page.data if one.status == "succeeded"]

    async def upload(self, one: Submission, printed: bytes) -> str:
        """The id of Stripe's file of a printed pack, under its own key.

        Raises:
            StripeRefused, OutcomeUnknown: as the class says.
        """
        options = {"idempotency_key": _key(one, "file")}
        made = await self.stripe.call(
            "files.create",
            lambda: self.stripe.v1.files.create_async(
                {"purpose": "dispute_evidence", "file": _Printed(printed)}, dict(options)
            ),
        )
        return str(made.id)

    async def hand_in(self, one: Submission) -> None:
        """Put the evidence to its dispute, under its own key; where it is final, Stripe sends it to the bank.

        Raises:
            StripeRefused, OutcomeUnknown: as the class says.
        """
        params = {
            "evidence": {**one.evidence, "uncategorized_file": one.file_id},
            "submit": one.final,
            "metadata": {"submission_id": external_id("evd", one.id)},
        }
        options = {"idempotency_key": _key(one, "update")}
        await self.stripe.call(
            "disputes.update", lambda: self.stripe.v1.disputes.update_async(one.dispute_id, params, options)
        )

    async def has(self, one: Submission) -> bool:
        """Whether the dispute has this evidence, and, where it is final, whether that was sent to the bank.

        Raises:
            OutcomeUnknown: no answer.
        """
        with refused_as_unknown():
            found = await self.stripe.call(
                "disputes.retrieve", lambda: self.stripe.v1.disputes.retrieve_async(one.dispute_id)
            )
        there = one.file_id is not None and found.evidence.uncategorized_file == one.file_id
        return there and (not one.final or found.status not in ("needs_response", "warning_needs_response"))


class _Printed(io.BytesIO):
    """A file with a name, as Stripe's client sends it."""

    name = "evidence.pdf"


def _key(one: Submission, what: str) -> str:
    suffix = f"_{one.stripe_attempt}" if one.stripe_attempt else ""
    return f"ev_{external_id('evd', one.id)}_{what}{suffix}"


def _charge(one: Any, payment_intent: str) -> Charge:  # Any: the client's objects have untyped members
    details = one.payment_method_details
    card = getattr(details, "card", None)
    secure, checks, outcome = (_member(owner, name) for owner, name in (
        (card, "three_d_secure"), (card, "checks"), (one, "outcome")))  # fmt: skip
    address = _member(one.billing_details, "address")
    town = " ".join(filter(None, (_member(address, name) for name in ("postal_code", "city", "state"))))
    lines = (*(_member(address, name) for name in ("line1", "line2")), town, _member(address, "country"))
    return Charge(
        id=one.id,
        payment_intent=payment_intent,
        at=datetime.fromtimestamp(one.created, UTC),
        amount_minor=one.amount_captured,
        currency=one.currency,
        method=details.type,
        brand=_member(card, "brand"),
        last4=_member(card or _member(details, details.type), "last4"),
        country=_member(card, "country"),
        wallet=_member(_member(card, "wallet"), "type"),
        three_d_secure=_member(secure, "result"),
        three_d_secure_flow=_member(secure, "authentication_flow"),
        three_d_secure_version=_member(secure, "version"),
        cvc_check=_member(checks, "cvc_check"),
        line1_check=_member(checks, "address_line1_check"),
        postal_code_check=_member(checks, "address_postal_code_check"),
        network_status=_member(outcome, "network_status"),
        risk_level=_member(outcome, "risk_level"),
        risk_score=_member(outcome, "risk_score"),
        billing_name=_member(one.billing_details, "name"),
        billing_address=tuple(line for line in lines if line),
    )


def _member(owner: Any, name: str) -> Any:  # Any: as above; what a method of payment does not have is absent
    return getattr(owner, name, None) if owner is not None else None
