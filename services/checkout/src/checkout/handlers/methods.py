"""Saved payment methods, as their owner and Stripe's events change them."""

from dataclasses import dataclass, field

from checkout.decide import methods as rules
from checkout.decide.methods import Shown
from checkout.decide.recommending import recommended
from checkout.gateway import method_in
from checkout.handlers.gating import Gates
from checkout.handlers.suspecting import attempt_that_saved, attempt_to_save
from checkout.model.customers import Method, Saved
from checkout.store import methods as store
from checkout.store.orders import business_now
from payments_shared.contracts import checkout as said
from payments_shared.contracts import stripe as wire
from payments_shared.errors import Refused
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import Connection, acquire


@dataclass(frozen=True, slots=True)
class Methods:
    """One method per input; each is one transaction, and none calls outward. A person is the subject of his token."""

    outbox: Outbox
    gates: Gates = field(default_factory=Gates)

    # -- their owner -------------------------------------------------------------------------------------------------

    async def of(self, subject: str, currency: str | None = None) -> tuple[Shown, ...]:
        """What a person saved, the newest first, and which of it is recommended, to pay in `currency`."""
        async with acquire(self.outbox.pool) as connection:
            return await self._listed(connection, subject, currency)

    async def choose(self, subject: str, method_id: str) -> Shown:
        """Make a method the default, and return it.

        Raises:
            Refused: 404: he has no such method.
        """
        async with self.outbox.transaction() as tx:
            if not await store.choose_method(tx.connection, subject, method_id, livemode=self.outbox.livemode):
                raise unknown()
            return await self._one(tx.connection, subject, method_id)

    async def label(self, subject: str, method_id: str, label: str) -> Shown:
        """Name a method, and return it.

        Raises:
            Refused: 404: he has no such method.
        """
        async with self.outbox.transaction() as tx:
            livemode = self.outbox.livemode
            if not await store.label_method(tx.connection, subject, method_id, label, livemode=livemode):
                raise unknown()
            return await self._one(tx.connection, subject, method_id)

    async def owned(self, subject: str, method_id: str) -> Saved:
        """A method of his, also one that was detached.

        Raises:
            Refused: 404: he has no such method.
        """
        async with acquire(self.outbox.pool) as connection:
            customer = await store.load_customer(connection, subject, livemode=self.outbox.livemode)
            saved = await store.load_method(connection, method_id)
        ours = customer.stripe_customer_id if customer else None
        if saved is None or ours is None or saved.method.customer != ours:
            raise unknown()
        return saved

    async def _one(self, connection: Connection, subject: str, method_id: str) -> Shown:
        for shown in await self._listed(connection, subject):
            if shown.saved.method.id == method_id:
                return shown
        raise unknown()

    async def _listed(self, connection: Connection, subject: str, currency: str | None = None) -> tuple[Shown, ...]:
        customer = await store.load_customer(connection, subject, livemode=self.outbox.livemode)
        if customer is None or customer.stripe_customer_id is None:
            return ()
        found = await store.list_methods(connection, customer.stripe_customer_id)
        shown = rules.listed(found, customer.default_method, await business_now(connection))
        return recommended(shown, await store.last_charges(connection, subject), currency)

    # -- events ------------------------------------------------------------------------------------------------------

    async def hear_method(self, tx: Transaction, event: wire.StripeEvent) -> None:
        """A method was attached or changed. Where that contradicts what is known, Stripe is asked.

        Raises:
            Refused: it belongs to no customer of ours.
        """
        shown = method_in(wire.PaymentMethod.model_validate(event.data.object))
        known = await store.lock_method(tx.connection, shown.id)
        if known is None and not await _is_ours(tx, shown):
            raise Refused("not_ours", "The payment method belongs to no customer of ours.")
        saved = rules.heard(known, shown)
        if saved is None:
            return
        await store.save_method(tx.connection, saved)
        if known is not None:
            tx.announce(said.FetchPaymentMethod(payment_method=shown.id, number=saved.asked))

    async def hear_attached(self, tx: Transaction, event: wire.StripeEvent) -> None:
        """A method was attached: so its card is good, and is one of those that its owner tried.

        Raises:
            Refused: it belongs to no customer of ours.
        """
        shown = wire.PaymentMethod.model_validate(event.data.object)
        owner = await _owner(tx, shown.customer)
        if owner is not None:
            await self.gates.watch_saving(tx.connection, owner, attempt_that_saved(event))
        await self.hear_method(tx, event)

    async def hear_detached(self, tx: Transaction, event: wire.StripeEvent) -> None:
        """A method was detached, for good. It is remembered even when it was never heard of: its attachment may come
        later."""
        shown = wire.PaymentMethod.model_validate(event.data.object)
        await self.forget(tx, shown.id)

    async def hear_setup(self, tx: Transaction, event: wire.StripeEvent) -> None:
        """A method was made ready. The event does not show it, so one that is not known is asked for.

        Raises:
            Refused: it was for no customer of ours.
        """
        intent = wire.SetupIntent.model_validate(event.data.object)
        if intent.payment_method is None or not await _is_ours(tx, Method(intent.payment_method, intent.customer)):
            raise Refused("not_ours", "The setup intent belongs to no customer of ours.")
        if await store.load_method(tx.connection, intent.payment_method) is None:
            tx.announce(said.FetchPaymentMethod(payment_method=intent.payment_method, number=0))

    async def hear_setup_failed(self, tx: Transaction, event: wire.StripeEvent) -> None:
        """A method could not be made ready. Whether a card is good can be tried so, and no charge tells of it: it
        counts as a declined one does. Who is held back has this intent taken from him.

        Raises:
            Refused: it was for no customer of ours.
        """
        intent = wire.SetupIntent.model_validate(event.data.object)
        owner = await _owner(tx, intent.customer)
        if owner is None:
            raise Refused("not_ours", "The setup intent belongs to no customer of ours.")
        if await self.gates.watch_saving(tx.connection, owner, attempt_to_save(event)):
            tx.announce(said.CancelSetupIntent(setup_intent=intent.id))

    async def hear_customer_deleted(self, tx: Transaction, event: wire.StripeEvent) -> None:
        """A customer was deleted at Stripe, with all that he had saved."""
        customer = wire.Customer.model_validate(event.data.object)
        await tx.connection.execute(store.QUERIES["forget_stripe_customer"], customer.id)

    # -- answers -----------------------------------------------------------------------------------------------------

    async def forget(self, tx: Transaction, method_id: str) -> None:
        """Keep of a method only that it is gone."""
        known = await store.lock_method(tx.connection, method_id)
        if known is None or not known.detached:
            await store.save_method(tx.connection, rules.gone(known, method_id))

    async def learn(self, tx: Transaction, method_id: str, answer: Method | None, number: int) -> None:
        """Stripe answered question `number` about a method."""
        known = await store.lock_method(tx.connection, method_id)
        if known is None and (answer is None or not await _is_ours(tx, answer)):
            return
        saved = rules.answered(known, method_id, answer, number)
        if saved is not None:
            await store.save_method(tx.connection, saved)


async def _is_ours(tx: Transaction, method: Method) -> bool:
    return await _owner(tx, method.customer) is not None


async def _owner(tx: Transaction, customer: str | None) -> str | None:
    return None if customer is None else await store.subject_of(tx.connection, customer)


def unknown() -> Refused:
    """The answer about a method that is not there, or not his."""
    return Refused("not_found", "There is no such payment method.", status=404)
