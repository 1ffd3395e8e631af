"""Payment methods at Stripe: adding one, taking one away, and asking what is true of one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from checkout.decide import asking
from checkout.gateway import Payments
from checkout.handlers.customers import Customers
from checkout.handlers.methods import Methods
from checkout.handlers.placing import kept_refusal
from checkout.model.customers import Addition
from checkout.model.orders import Answer
from checkout.store import methods as store
from payments_shared import idempotency
from payments_shared.contracts import checkout as said
from payments_shared.errors import Refused, Retryable
from payments_shared.failpoints import failpoint
from payments_shared.idempotency import Key, Replay
from payments_shared.ids import derived_id
from payments_shared.lease import LEASE_SECONDS, Leases
from payments_shared.messaging import Call, Outbox
from payments_shared.postgres import acquire
from payments_shared.stripe_client import OutcomeUnknown, StripeRefused

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of Stripe's is wanted, with the URLs that lead back to the shop."""

    currency: str
    success_url: str
    cancel_url: str


@dataclass(frozen=True, slots=True)
class Form:
    """The shop shows a form of its own."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whose method it is to be."""

    subject: str
    email: str | None


@dataclass(frozen=True, slots=True)
class Saving:
    """Handlers that call outward and hold no transaction meanwhile. A wish that was interrupted leaves at most a page
    that nobody was sent to, and which closes by itself. `leases.run` must be running."""

    outbox: Outbox
    payments: Payments
    customers: Customers
    methods: Methods
    leases: Leases[Key]

    async def add(self, person: Person, wanted: Page | Form, key: Key) -> Answer:
        """201 with the `url` of the page, or with the `client_secret` for the form; as before under a repeated key.

        Raises:
            Refused: 502 `stripe_refused`; 429 `velocity_exceeded`, of which nothing is kept.
            Retryable: Stripe or the database was away; the same key goes on where this request stopped.
        """
        async with self.outbox.transaction() as tx:
            claim = await idempotency.claim(tx.connection, key, lease_seconds=LEASE_SECONDS)
            if not isinstance(claim, Replay):
                await self.methods.gates.admit_saving(tx.connection, person.subject)
        if isinstance(claim, Replay):
            return Answer(claim.status, claim.body, replayed=True)
        try:
            with self.leases.held(key):
                body = await self._opened(person, wanted, key)
        except Refused as refusal:
            await self._finish(key, kept_refusal(refusal))
            raise
        except Retryable as failure:
            if failure.code != "database_unavailable":  # whose leases end by themselves
                async with acquire(self.outbox.pool) as connection:
                    await idempotency.release(connection, key)
            raise
        answer = Answer(201, json.dumps(body).encode())
        await self._finish(key, answer)
        return answer

    async def _finish(self, key: Key, answer: Answer) -> None:
        async with acquire(self.outbox.pool) as connection:
            await idempotency.finish(connection, key, status=answer.status, body=answer.body)

    async def _opened(self, person: Person, wanted: Page | Form, key: Key) -> dict[str, str]:
        customer = await self.customers.of(person.subject, person.email)
        async with self.outbox.transaction() as tx:
            # Named by the key, so that all who repeat the request go on with one wish.
            addition = await store.keep_addition(
                tx.connection, derived_id("addition", *key.scope), _request(customer, wanted)
            )
        failpoint("before_stripe_call")
        try:
            match wanted:
                case Page():
                    return {"url": await self.payments.open_saving_page(addition)}
                case Form():
                    return {"client_secret": await self.payments.create_setup_intent(addition)}
        except StripeRefused as refusal:
            log.error("method.stripe_refused", addition=str(addition.id), code=refusal.code, param=refusal.param)
            if refusal.says_missing("customer"):
                await self.customers.forget(customer)
            raise Refused("stripe_refused", "The payment provider refused.", status=502) from refusal
        except OutcomeUnknown as unknown:
            if unknown.stored_under_key:
                await self._use_another_key(addition)
            raise

    async def _use_another_key(self, addition: Addition) -> None:
        async with acquire(self.outbox.pool) as connection:
            await connection.execute(store.QUERIES["bump_addition_attempt"], addition.id, addition.stripe_attempt)

    async def detach(self, subject: str, method_id: str) -> None:
        """Take a method away: at Stripe first, so that nothing can be paid with what is not shown. Asking again changes
        nothing.

        Raises:
            Refused: 404: he has no such method. 502 `stripe_refused`.
            Retryable: Stripe does not answer.
        """
        if (await self.methods.owned(subject, method_id)).detached:
            return
        try:
            answer = await self.payments.detach_method(method_id)
        except StripeRefused as refusal:
            log.error("method.not_detached", payment_method=method_id, code=refusal.code)
            raise Refused("stripe_refused", "The payment provider refused.", status=502) from refusal
        failpoint("after_stripe_call")
        if answer is not None and answer.customer is not None:
            log.error("method.not_detached", payment_method=method_id, code="still_attached")
            raise Refused("stripe_refused", "The payment provider refused.", status=502)
        async with self.outbox.transaction() as tx:
            await self.methods.forget(tx, method_id)

    async def cancel_intent(self, _: Call, message: said.CancelSetupIntent) -> None:
        """Command: nothing shall be saved with this intent any more. One that has ended stays as it is; nor can that of
        a page be taken from it, which Stripe guards itself."""
        try:
            await self.payments.cancel_setup_intent(message.setup_intent)
        except StripeRefused as refusal:
            log.warning("method.intent_not_canceled", setup_intent=message.setup_intent, code=refusal.code)

    async def fetch_method(self, call: Call, message: said.FetchPaymentMethod) -> None:
        """Command: ask what is true of a method."""
        answer = await self.payments.retrieve_method(message.payment_method)
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            await self.methods.learn(tx, message.payment_method, answer, message.number)


def key_leases_over(outbox: Outbox) -> Leases[Key]:
    """The leases of all wishes in this process."""

    async def renew(keys: Sequence[Key]) -> None:
        async with acquire(outbox.pool) as connection:
            await idempotency.renew(connection, keys, lease_seconds=LEASE_SECONDS)

    return Leases(renew)


def _request(customer: str, wanted: Page | Form) -> Mapping[str, Any]:  # Any: Stripe's parameters, nested
    match wanted:
        case Page(currency=currency, success_url=success_url, cancel_url=cancel_url):
            return asking.saving_page(customer, currency, success_url=success_url, cancel_url=cancel_url)
        case Form():
            return asking.saving_intent(customer)
