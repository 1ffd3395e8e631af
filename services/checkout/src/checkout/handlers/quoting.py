"""What a cart would cost, told before anything is ordered. Nothing is locked, held or written."""

from dataclasses import dataclass, replace

from checkout.decide import delivering, shipping, taxes
from checkout.gateway import Payments
from checkout.handlers import crediting
from checkout.handlers.pricing import Pricing
from checkout.model.carts import Quote
from checkout.model.delivery import TaxSource
from checkout.model.orders import Placement
from checkout.store import orders as store
from payments_shared.errors import Refused
from payments_shared.messaging import Outbox
from payments_shared.money import allocate
from payments_shared.postgres import acquire, unavailable_as_retryable
from payments_shared.stripe_client import StripeRefused


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quote, and why the coupon takes nothing off, if it does not."""

    quote: Quote
    objection: Refused | None = None


@dataclass(frozen=True, slots=True)
class Quoting:
    """Prices carts as `Placing` does, and asks Stripe Tax where that says what tax is due."""

    outbox: Outbox
    payments: Payments
    pricing: Pricing

    async def estimate(self, wanted: Placement) -> Estimate:
        """What an order of this would cost at this moment.

        Raises:
            Refused: as placing it would be, but for its coupon; 422 `tax_location_invalid`.
            Retryable: Stripe or the database did not answer.
        """
        with unavailable_as_retryable():
            found = await self._priced(wanted)
        if found.quote.tax.source is not TaxSource.STRIPE or found.quote.covered:  # of nothing no tax is due
            return found
        return replace(found, quote=await self._taxed(found.quote, wanted))

    async def _priced(self, wanted: Placement) -> Estimate:
        async with acquire(self.outbox.pool) as connection:
            now = await store.business_now(connection)
            try:
                found = Estimate(await self.pricing.estimate(connection, wanted, now))
            except Refused as refusal:
                if not refusal.code.startswith("coupon_"):
                    raise
                plain = replace(wanted, coupon=None)
                found = Estimate(await self.pricing.estimate(connection, plain, now), refusal)
            purse = await crediting.seen_purse_of(connection, wanted)
        return replace(found, quote=crediting.paid_with(found.quote, wanted, purse, now))

    async def _taxed(self, quote: Quote, wanted: Placement) -> Quote:
        """The quote with what Stripe Tax says. A session knows nothing of which products a coupon is for, so the
        discount is spread over all of them, as it will be there."""
        if wanted.delivery.destination.country is None:
            raise taxes.needed("country")
        off = allocate(quote.discount_minor, [line.amount_minor for line in quote.lines])
        place = shipping.address_of(wanted.delivery.destination)
        try:
            added, included = await self.payments.calculate_tax(delivering.calculation(quote, off, place))
        except StripeRefused as refusal:
            raise taxes.unlocated() from refusal
        return replace(quote, tax=replace(quote.tax, added_minor=added, included_minor=included))
