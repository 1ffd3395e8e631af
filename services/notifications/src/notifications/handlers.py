"""Use cases of notifications: write a mail with the fact it tells, send it afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from notifications import decide, store
from notifications.decide import House, Unsubscribing
from notifications.gateway import MailServer, Undeliverable, Writer
from notifications.model import Kind, Letter, Mail
from payments_shared import metrics
from payments_shared.contracts import checkout, fulfillment, inventory, refunds
from payments_shared.contracts import notifications as said
from payments_shared.errors import Retryable
from payments_shared.failpoints import failpoint
from payments_shared.lease import LEASE_SECONDS, Leases
from payments_shared.messaging import Call, Outbox, Transaction
from payments_shared.postgres import acquire, is_unavailable
from payments_shared.sweeper import Round
from payments_shared.switches import Switch, refuse_while_stopped

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Handlers:
    """`domain` is the right side of Message-IDs; `patience_seconds` is longer than a command ever waits between two
    attempts. One address gets one invitation in `invited_seconds`, however many carts were left in its name: anybody
    may type it."""

    outbox: Outbox
    writer: Writer
    server: MailServer
    house: House
    leases: Leases[Mail]
    domain: str
    patience_seconds: float
    unsubscribing: Unsubscribing
    invited_seconds: float

    async def order_placed(self, tx: Transaction, message: checkout.OrderPlaced) -> None:
        """Nothing is written yet: an order that is not paid deserves no mail."""
        family = message.recovered_from or message.order_id
        await store.note_order(tx.connection, message.order_id, family, message.customer.email)

    async def order_paid(self, tx: Transaction, message: checkout.OrderPaid) -> None:
        """Confirm."""
        await store.lock_order(tx.connection, message.order_id)
        await store.settle_order(tx.connection, message.order_id, message.customer.email)
        await self._write(tx, decide.confirmation(message))

    async def payment_failed(self, tx: Transaction, message: checkout.OrderPaymentFailed) -> None:
        """Tell the buyer, if nothing better was heard."""
        await store.lock_order(tx.connection, message.order_id)
        settled = await store.is_settled(tx.connection, message.order_id)
        letter = decide.payment_failed(message, self.house, settled=settled)
        if letter is not None and letter.kind in decide.INVITATIONS and await self._is_told(tx, letter):
            return
        await self._write(tx, letter)

    async def payment_retrying(self, tx: Transaction, message: checkout.OrderPaymentRetrying) -> None:
        """Tell the buyer of the first decline when he is charged again, unless he has paid by now."""
        await store.lock_order(tx.connection, message.order_id)
        settled = await store.is_settled(tx.connection, message.order_id)
        await self._write(tx, decide.payment_retrying(message, settled=settled))

    async def order_expired(self, tx: Transaction, message: checkout.OrderExpired) -> None:
        """Show the buyer the way back, unless he was shown it or has bought."""
        letter = decide.order_expired(message, self.house)
        if letter is None:
            return
        family = message.recovered_from or message.order_id
        await store.lock_order(tx.connection, message.order_id)
        await store.note_order(tx.connection, message.order_id, family, letter.recipient)
        if not await self._is_told(tx, letter):
            await self._write(tx, letter)

    async def _is_told(self, tx: Transaction, letter: Letter) -> bool:
        """Whether the buyer was invited already, to this order or one of its family, or lately to any; or there is no
        reason to."""
        assert letter.order_id is not None  # noqa: S101 - invitations are about orders
        await store.lock_address(tx.connection, letter.recipient)
        if await store.is_invited(tx.connection, letter.order_id):
            return True
        if await store.is_invited_lately(tx.connection, letter.recipient, self.invited_seconds):
            return True
        return await store.why_not_invite(tx.connection, letter.order_id, letter.recipient) is not None

    async def order_held(self, tx: Transaction, message: checkout.OrderHeld) -> None:
        """Tell staff."""
        await store.lock_order(tx.connection, message.order_id)
        await store.settle_order(tx.connection, message.order_id)
        await self._write(tx, decide.order_held(message, self.house))

    async def refund_succeeded(self, tx: Transaction, message: refunds.RefundSucceeded) -> None:
        """Tell the buyer, unless it is known that the money came back."""
        await store.lock_order(tx.connection, message.order_id)
        came_back = decide.ends_of_refund(message.refund_id)
        if not any([await store.has_mail(tx.connection, mail_id) for mail_id in came_back]):
            await self._write(tx, decide.refund_succeeded(message))

    async def credit_returned(self, tx: Transaction, message: checkout.OrderCreditReturned) -> None:
        """Tell the buyer, with an apology."""
        await self._write(tx, decide.credit_returned(message))

    async def order_sold_out(self, tx: Transaction, message: checkout.OrderSoldOut) -> None:
        """Tell the buyer, with an apology."""
        await self._write(tx, decide.order_sold_out(message))

    async def refund_pending(self, tx: Transaction, message: refunds.RefundPending) -> None:
        """Tell staff, once for each reason."""
        await self._write(tx, decide.refund_pending(message, self.house))

    async def refund_failed(self, tx: Transaction, message: refunds.RefundFailed) -> None:
        """Tell staff, and the buyer who was told that his money is on its way."""
        await store.lock_order(tx.connection, message.order_id)
        await self._write(tx, decide.refund_failed(message, self.house))
        await self._take_back(tx, message)

    async def refund_canceled(self, tx: Transaction, message: refunds.RefundCanceled) -> None:
        """Tell staff, unless one of them took it back, and the buyer who was told that his money is on its way."""
        await store.lock_order(tx.connection, message.order_id)
        await self._write(tx, decide.refund_canceled(message, self.house))
        await self._take_back(tx, message)

    async def refund_left_to_staff(self, tx: Transaction, message: refunds.RefundLeftToStaff) -> None:
        """Tell staff, once for each parcel."""
        await self._write(tx, decide.refund_left_to_staff(message, self.house))

    async def _take_back(self, tx: Transaction, message: refunds.RefundFailed | refunds.RefundCanceled) -> None:
        told = await store.has_mail(tx.connection, decide.mail_id(Kind.REFUND_SUCCEEDED, str(message.refund_id)))
        await self._write(tx, decide.refund_returned(message, told=told))

    async def dispute(self, tx: Transaction, message: refunds.AboutDispute) -> None:
        """Tell staff, at each of its turns and before its deadline."""
        await self._write(tx, decide.dispute(message, self.house))

    async def shipment(
        self, tx: Transaction, message: fulfillment.ShipmentShipped | fulfillment.ShipmentDelivered
    ) -> None:
        """Tell the buyer."""
        await self._write(tx, decide.shipment(message))

    async def stock_low(self, tx: Transaction, message: inventory.StockLow) -> None:
        """Tell staff."""
        cause = str(tx.cause.id) if tx.cause else message.sku
        await self._write(tx, decide.stock_low(message, self.house, cause))

    async def card_expiring(self, tx: Transaction, message: checkout.PaymentMethodExpiring) -> None:
        """Tell the customer, once for each expiry."""
        await self._write(tx, decide.card_expiring(message))

    async def _write(self, tx: Transaction, letter: Letter | None) -> None:
        if letter is None:
            return
        mail_id = decide.mail_id(letter.kind, letter.ref)
        message_id = decide.message_id(letter.kind, letter.ref, self.domain)
        rendered = self.writer.write(letter, self._unsubscribe_url(mail_id, letter.kind))
        if await store.insert_mail(tx.connection, mail_id, letter, rendered, message_id):
            tx.announce(said.DeliverMail(mail_id=mail_id, kind=letter.kind, ref=letter.ref, order_id=letter.order_id))

    def _unsubscribe_url(self, mail_id: UUID, kind: str) -> str | None:
        return self.unsubscribing.url_for(mail_id) if kind in decide.INVITATIONS else None

    async def knows(self, token: str) -> bool:
        """Whether `token` is that of a mail of ours."""
        mail_id = self.unsubscribing.mail_of(token)
        async with acquire(self.outbox.pool) as connection:
            return mail_id is not None and await store.has_mail(connection, mail_id)

    async def unsubscribe(self, token: str) -> bool:
        """Invite whoever got the mail of `token` no more; False when it is none of ours. Again changes nothing."""
        mail_id = self.unsubscribing.mail_of(token)
        if mail_id is None:
            return False
        async with self.outbox.transaction() as tx:
            if not await store.has_mail(tx.connection, mail_id):
                return False
            await store.suppress(tx.connection, mail_id)
        log.info("address.unsubscribed", mail_id=str(mail_id))
        return True

    async def deliver(self, call: Call, message: said.DeliverMail) -> None:
        """Command: claim, send, record. A crash between sending and recording may repeat the mail, with the same
        Message-ID; nothing else may.

        Raises:
            Retryable: it was not sent, or another sends it at this moment and may yet fail; `mails_stopped`: none is.
        """
        async with self.outbox.transaction() as tx:
            await refuse_while_stopped(tx.connection, Switch.MAILS, "No mails are sent at the moment.")
            mail = await store.claim_mail(tx.connection, message.mail_id, LEASE_SECONDS)
            if mail is None and await store.is_unsettled(tx.connection, message.mail_id):
                raise Retryable("mail_in_hand", "Another is sending the mail.")
            if mail is None:
                return
            taken = await store.is_taken(tx.connection, mail.message_id)
            if not taken and await self._suppressed(tx, mail):
                return
        if taken:  # before the restore of a backup, by which the database forgot it
            await self._settle(call, mail, None)
            return
        failpoint("before_mail")
        try:
            with self.leases.held(mail):
                await self.server.send(mail, self._unsubscribe_url(mail.id, mail.kind))
        except Undeliverable as refusal:
            await self._settle(call, mail, refusal)
            return
        except Exception:
            async with self.outbox.transaction() as tx:
                await store.give_back_mail(tx.connection, mail)
            raise
        failpoint("after_mail")
        await self._settle(call, mail, None)

    async def _suppressed(self, tx: Transaction, mail: Mail) -> bool:
        """Keep an invitation back when it is not true any more: mails wait while the mail server is away, or mails are
        stopped."""
        if mail.kind not in decide.INVITATIONS or mail.order_id is None:
            return False
        reason = await store.why_not_invite(tx.connection, mail.order_id, mail.recipient)
        if reason is None:
            return False
        await store.settle_mail(tx.connection, mail.id, "suppressed", reason)
        metrics.MAILS.labels("suppressed").inc()
        return True

    async def _settle(self, call: Call, mail: Mail, refusal: Undeliverable | None) -> None:
        state, detail = ("undeliverable", str(refusal)) if refusal else ("sent", None)
        about = {"mail_id": mail.id, "kind": mail.kind, "ref": mail.ref, "order_id": mail.order_id}
        async with call.conclude() as tx:
            if not await store.settle_mail(tx.connection, mail.id, state, detail):
                return
            if refusal:
                tx.announce(said.NotificationFailed.model_validate({**about, "detail": detail}))
            else:
                sent = {**about, "message_id": mail.message_id, "recipient": mail.recipient}
                tx.announce(said.NotificationSent.model_validate(sent))
        metrics.MAILS.labels(state).inc()

    async def resend(self) -> Round:
        """Sweep: mails whose delivery command was lost to a dead letter or a crash."""
        done = Round()
        async with self.outbox.transaction() as tx:
            for mail_id, kind, ref, order_id in await store.lock_unsent(tx.connection, self.patience_seconds):
                try:
                    async with tx.connection.transaction():  # a savepoint: an odd mail holds up no other
                        await store.mark_asked(tx.connection, mail_id)
                except Exception as error:
                    if is_unavailable(error):
                        raise
                    log.exception("mail.not_resent", mail_id=str(mail_id))
                    done += Round(failed=1)
                    continue
                tx.announce(said.DeliverMail(mail_id=mail_id, kind=kind, ref=ref, order_id=order_id))
                metrics.SWEEPER_HEALED.labels("mail").inc()
        return done


def leases_over(outbox: Outbox) -> Leases[Mail]:
    """The leases of all mails that this process is sending."""

    async def renew(mails: Sequence[Mail]) -> None:
        async with acquire(outbox.pool) as connection:
            await store.renew_leases(connection, mails, LEASE_SECONDS)

    return Leases(renew)
