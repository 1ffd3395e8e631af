"""What a cart costs, from the catalogue, the coupon as it stands for the customer, and the day's exchange rates."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from checkout.decide import coupons, pricing
from checkout.decide.exchange import exchange_of
from checkout.model.carts import Cart, Coupon, Quote, Standing
from checkout.model.orders import Placement
from checkout.store import catalog, exchange
from payments_shared.errors import Refused
from payments_shared.postgres import Connection

NOT_OFFERED: Final = ("currency_not_offered", "rate_too_old", "coupon_not_in_currency")


@dataclass(frozen=True, slots=True)
class Pricing:
    """Prices are converted from those in `currency`, the shop's own; no order is larger than `maximum_minor`."""

    currency: str
    maximum_minor: int

    async def quote(self, connection: Connection, wanted: Placement, now: datetime) -> Quote:
        """The cost in the first of the wanted currencies in which everything is offered, and the coupon too.

        The coupon stays locked, and the customer's standing as it is, until the transaction ends.

        Raises:
            Refused: 422 or 409, as `decide.pricing` says.
        """
        coupon, standing = await _lock_coupon(connection, wanted)
        cart = Cart(pricing.merged(wanted.lines), coupon, standing, now)
        *others, last = wanted.currencies
        for currency in others:
            try:
                return await self._quote_in(connection, currency, cart)
            except Refused as refusal:
                if refusal.code not in NOT_OFFERED:
                    raise
        return await self._quote_in(connection, last, cart)

    async def _quote_in(self, connection: Connection, currency: str, cart: Cart) -> Quote:
        prices = await catalog.load_prices(connection, [line.sku for line in cart.lines], currency, self.currency)
        rate = None
        if any(pricing.is_converted(price) for price in prices.values()):
            rates = await exchange.latest_rates(connection, {self.currency, currency})
            rate = exchange_of(rates, base=self.currency, currency=currency, today=cart.now.date())
        return pricing.quote(cart, prices, currency=currency, exchange=rate, maximum_minor=self.maximum_minor)


async def _lock_coupon(connection: Connection, wanted: Placement) -> tuple[Coupon | None, Standing]:
    """The coupon, and how the customer stands to it; both stay so until the transaction ends.

    Raises:
        Refused: 422 `coupon_invalid`: there is none of this code.
    """
    if wanted.coupon is None:
        return None, Standing()
    coupon = await catalog.lock_coupon(connection, wanted.coupon)
    if coupon is None:
        raise coupons.unknown()
    if coupon.first_order_only:
        await catalog.lock_first_order(connection, wanted.email, wanted.customer_subject)
    elif coupon.per_customer is None:
        return coupon, Standing()
    return coupon, await catalog.standing(connection, coupon.code, wanted.email, wanted.customer_subject)
