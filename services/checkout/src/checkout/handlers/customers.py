"""A signed-in person's customer at Stripe: at most one, made when he is first needed."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from checkout.gateway import Payments
from checkout.model.customers import Customer
from checkout.store import methods as store
from payments_shared.errors import Refused
from payments_shared.failpoints import failpoint
from payments_shared.ids import derived_id
from payments_shared.messaging import Outbox
from payments_shared.postgres import Connection, acquire
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused

KEY_SECONDS: Final = 82_800.0  # Stripe keeps its keys for a day at least; an hour less, for what is on its way
SKEW_SECONDS: Final = 600.0  # between Stripe's clock and ours, with what a call may take
MEANWHILE_SECONDS: Final = 2.0  # a buyer who wants to pay waits no longer for the comfort of saved cards

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Customers:
    """The row of a person is committed before Stripe is asked, and names the key: whoever asks at the same time, or
    after a crash, asks for the same customer."""

    outbox: Outbox
    payments: Payments

    async def of(self, subject: str, email: str | None) -> str:
        """The person's customer. Stripe learns the `email` when he is made; our mails go to the newest one.

        Raises:
            Refused: 502 `stripe_refused`.
            Retryable: Stripe does not answer; the next request asks again under the same key.
        """
        customer = await self._remembered(subject, email)
        if customer.stripe_customer_id is not None:
            return customer.stripe_customer_id
        try:
            made = await self._made(customer)
        except StripeRefused as refusal:
            log.error("customer.stripe_refused", customer=str(customer.id), code=refusal.code, param=refusal.param)
            if refusal.param == "email":
                # His token says so, and will again: the next request makes him without an address.
                async with acquire(self.outbox.pool) as connection:
                    await connection.execute(store.QUERIES["drop_customer_email"], customer.id, customer.stripe_attempt)
            raise Refused("stripe_refused", "The payment provider refused.", status=502) from refusal
        except OutcomeUnknown:
            # Stripe lets one of several requests under a key through: perhaps the answer is here already.
            customer = await self._remembered(subject, email)
            if customer.stripe_customer_id is not None:
                return customer.stripe_customer_id
            raise
        failpoint("after_stripe_call")
        async with self.outbox.transaction() as tx:
            kept = await store.keep_stripe_customer(tx.connection, customer, made)
        if kept is None:
            raise OutcomeUnknown("The customer was deleted at this moment.")
        return kept

    async def meanwhile(self, subject: str | None, email: str | None) -> str | None:
        """The customer of somebody who is about to pay; None for a guest, and when he cannot be had soon."""
        if subject is None:
            return None
        try:
            async with asyncio.timeout(MEANWHILE_SECONDS):
                return await self.of(subject, email)
        except (TimeoutError, OutcomeUnknown, Refused) as error:
            log.warning("customer.not_at_hand", error=type(error).__name__)
            return None

    async def renew(self, connection: Connection, subject: str | None, email: str | None) -> None:
        """Write to a person at the address that his token names from now on; one that names none changes nothing."""
        if subject is not None and email is not None:
            await store.renew_customer_email(connection, subject, email, livemode=self.outbox.livemode)

    async def forget(self, stripe_customer_id: str) -> None:
        """Stripe knows this customer no more."""
        async with self.outbox.transaction() as tx:
            await tx.connection.execute(store.QUERIES["forget_stripe_customer"], stripe_customer_id)

    async def _remembered(self, subject: str, email: str | None) -> Customer:
        livemode = self.outbox.livemode
        async with acquire(self.outbox.pool) as connection:
            known = await store.load_customer(connection, subject, livemode=livemode, key_seconds=KEY_SECONDS)
            if known is None:
                customer_id = derived_id("customer", subject, str(livemode))
                await store.insert_customer(connection, customer_id, subject, email, livemode=livemode)
                known = await store.load_customer(connection, subject, livemode=livemode, key_seconds=KEY_SECONDS)
            elif known.email != email:
                await self.renew(connection, subject, email)
        assert known is not None  # noqa: S101 - customers are never deleted here
        return known

    async def _made(self, customer: Customer) -> str:
        if customer.asked_long_ago and (found := await self._found(customer)) is not None:
            return found
        if customer.asked_at is None or customer.asked_long_ago:
            # From here on he may exist at Stripe: a later search begins at this moment.
            async with acquire(self.outbox.pool) as connection:
                asked_at = await store.mark_customer_asked(connection, customer)
            if asked_at is None:
                raise OutcomeUnknown("Somebody else asked for the customer at this moment.")
            customer = replace(customer, asked_at=asked_at)
        try:
            return await self.payments.create_customer(customer)
        except OutcomeUnknown as unknown:
            if not unknown.stored_under_key:
                raise
            return await self._after_stored_failure(customer, unknown)

    async def _found(self, customer: Customer) -> str | None:
        if customer.asked_at is None:
            return None
        # Once the key may be forgotten nobody asks without a search, which renews the time.
        until = customer.asked_at + timedelta(seconds=KEY_SECONDS + SKEW_SECONDS)
        return await self.payments.find_customer(customer, customer.asked_at - timedelta(seconds=SKEW_SECONDS), until)

    async def _after_stored_failure(self, customer: Customer, unknown: OutcomeUnknown) -> str:
        """Stripe keeps a 500 under the key: look whether the customer was made, and only then use another key."""
        if (found := await self._found(customer)) is not None:
            return found
        async with acquire(self.outbox.pool) as connection:
            await connection.execute(store.QUERIES["bump_customer_attempt"], customer.id, customer.stripe_attempt)
        raise unknown
