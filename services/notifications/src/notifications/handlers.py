"""Use cases of notifications: write a mail with the fact it tells, send it afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from notifications import decide, store
from notifications.decide import House
from notifications.gateway import MailServer, Undeliverable, Writer
from notifications.model import Letter, Mail
from payments_shared import metrics
from payments_shared.contracts import checkout, fulfillment, inventory, refunds
from payments_shared.contracts import notifications as said
from payments_shared.errors import Retryable
from payments_shared.failpoints import failpoint
from payments_shared.lease import LEASE_SECONDS, Leases
from payments_shared.messaging import Call, Outbox, Transaction
from payments_shared.postgres import acquire, is_unavailable
from payments_shared.sweeper import Round

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Handlers:
    """`domain` is the right side of Message-IDs; `patience_seconds` is longer than a command ever waits between two
    attempts."""

    outbox: Outbox
    writer: Writer
    server: MailServer
    house: House
    leases: Leases[Mail]
    domain: str
    patience_seconds: float

    async def order_placed(self, tx: Transaction, message: checkout.OrderPlaced) -> None:
        """Nothing is written yet: an order that is not paid deserves no mail."""

    async def order_paid(self, tx: Transaction, message: checkout.OrderPaid) -> None:
        """Confirm."""
        await store.settle_order(tx.connection, message.order_id)
        await self._write(tx, decide.confirmation(message))

    async def payment_failed(self, tx: Transaction, message: checkout.OrderPaymentFailed) -> None:
        """Tell the buyer, if nothing better was heard."""
        settled = await store.is_settled(tx.connection, message.order_id)
        await self._write(tx, decide.payment_failed(message, settled=settled))

    async def order_held(self, tx: Transaction, message: checkout.OrderHeld) -> None:
        """Tell staff."""
        await store.settle_order(tx.connection, message.order_id)
        await self._write(tx, decide.order_held(message, self.house))

    async def refund_succeeded(self, tx: Transaction, message: refunds.RefundSucceeded) -> None:
        """Tell the buyer."""
        await self._write(tx, decide.refund_succeeded(message))

    async def refund_failed(self, tx: Transaction, message: refunds.RefundFailed) -> None:
        """Tell staff."""
        await self._write(tx, decide.refund_failed(message, self.house))

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
        if await store.insert_mail(tx.connection, mail_id, letter, self.writer.write(letter), message_id):
            tx.announce(said.DeliverMail(mail_id=mail_id, kind=letter.kind, ref=letter.ref, order_id=letter.order_id))

    async def deliver(self, call: Call, message: said.DeliverMail) -> None:
        """Command: claim, send, record. A crash between sending and recording may repeat the mail, with the same
        Message-ID; nothing else may.

        Raises:
            Retryable: it was not sent, or another sends it at this moment and may yet fail.
        """
        async with self.outbox.transaction() as tx:
            mail = await store.claim_mail(tx.connection, message.mail_id, LEASE_SECONDS)
            if mail is None and await store.is_unsettled(tx.connection, message.mail_id):
                raise Retryable("mail_in_hand", "Another is sending the mail.")
        if mail is None:
            return
        failpoint("before_mail")
        try:
            with self.leases.held(mail):
                await self.server.send(mail)
        except Undeliverable as refusal:
            await self._settle(call, mail, refusal)
            return
        except Exception:
            async with self.outbox.transaction() as tx:
                await store.give_back_mail(tx.connection, mail)
            raise
        failpoint("after_mail")
        await self._settle(call, mail, None)

    async def _settle(self, call: Call, mail: Mail, refusal: Undeliverable | None) -> None:
        state, detail = ("undeliverable", str(refusal)) if refusal else ("sent", None)
        about = {"mail_id": mail.id, "kind": mail.kind, "ref": mail.ref, "order_id": mail.order_id}
        async with call.conclude() as tx:
            if not await store.settle_mail(tx.connection, mail.id, state, detail):
                return
            if refusal:
                tx.announce(said.NotificationFailed.model_validate({**about, "detail": detail}))
            else:
                tx.announce(said.NotificationSent.model_validate({**about, "message_id": mail.message_id}))
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
