"""What a cart costs, from the catalogue, the coupon as it stands for the customer, and the day's exchange rates."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from checkout.decide import coupons, pricing, shipping
from checkout.decide import promotions as codes
from checkout.decide.exchange import exchange_of
from checkout.model.carts import Cart, Coupon, Exchange, Price, Promotion, Quote, Standing
from checkout.model.delivery import NO_TERMS, DeliveryTerms, TaxSource
from checkout.model.orders import Placement
from checkout.store import catalog, delivery, exchange, promotions
from payments_shared.errors import Refused
from payments_shared.postgres import Connection

NOT_OFFERED: Final = ("currency_not_offered", "rate_too_old", "coupon_not_in_currency", "shipping_not_offered")


@dataclass(frozen=True, slots=True)
class Offered:
    """The coupon as it is for one customer under the code that he typed, and how he stands to it."""

    coupon: Coupon | None
    promotion: Promotion | None
    standing: Standing


NOTHING_OFF: Final = Offered(None, None, Standing())


@dataclass(frozen=True, slots=True)
class Pricing:
    """Prices are converted from those in `currency`, the shop's own; no order is larger than `maximum_minor`. `terms`
    are the shop's, without what its catalogue says."""

    currency: str
    maximum_minor: int
    terms: DeliveryTerms = NO_TERMS

    async def quote(
        self, connection: Connection, wanted: Placement, now: datetime, *, beside: Collection[UUID] = ()
    ) -> Quote:
        """The cost in the first of the wanted currencies in which everything is offered, and the coupon too.

        The coupon stays locked, and the customer's standing as it is, until the transaction ends. The uses that the
        orders `beside` hold count as free: they end before this one is placed.

        Raises:
            Refused: 422 or 409, as `decide.pricing` says.
        """
        return await self._quote(connection, wanted, await _lock_coupon(connection, wanted, beside), now)

    async def estimate(self, connection: Connection, wanted: Placement, now: datetime) -> Quote:
        """What `quote` would say now. Nothing is locked, so it may say something else in a moment."""
        return await self._quote(connection, wanted, await _see_coupon(connection, wanted), now)

    async def _quote(self, connection: Connection, wanted: Placement, off: Offered, now: datetime) -> Quote:
        lines = pricing.merged(wanted.lines)
        cart = Cart(lines, off.coupon, off.standing, now, delivery=wanted.delivery, promotion=off.promotion)
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
        terms = await self._terms(connection, cart, shipped=self._is_shipped(cart, prices))
        return pricing.quote(
            cart,
            prices,
            currency=currency,
            exchange=await self._exchange(connection, currency, cart, prices, terms),
            maximum_minor=self.maximum_minor,
            terms=terms,
        )

    def _is_shipped(self, cart: Cart, prices: Mapping[str, Price]) -> bool:
        return shipping.is_shipped(cart.delivery, self.terms, goods=pricing.has_goods(cart, prices))

    async def _terms(self, connection: Connection, cart: Cart, *, shipped: bool) -> DeliveryTerms:
        """The shop's terms with what its catalogue has for the cart."""
        terms, country = self.terms, cart.delivery.destination.country
        if shipped:
            terms = replace(terms, options=await delivery.active_options(connection))
        if terms.source is TaxSource.TABLE and country is not None:
            terms = replace(terms, rates=await delivery.rates_in(connection, country))
        return terms

    async def _exchange(
        self, connection: Connection, currency: str, cart: Cart, prices: Mapping[str, Price], terms: DeliveryTerms
    ) -> Exchange | None:
        """The day's rate, where an amount that may count is named in the shop's own currency alone."""
        goods = any(pricing.is_converted(price) for price in prices.values())
        carried = any(shipping.is_converted(one, base=self.currency, currency=currency) for one in terms.options)
        if not (goods or carried):
            return None
        rates = await exchange.latest_rates(connection, {self.currency, currency})
        try:
            return exchange_of(rates, base=self.currency, currency=currency, today=cart.now.date())
        except Refused:
            if goods:
                raise
            return None  # a way to ship that has no price in this currency is not offered in it


async def _lock_coupon(connection: Connection, wanted: Placement, beside: Collection[UUID]) -> Offered:
    """What the wanted code takes off for this customer; it stays so until the transaction ends. What the orders
    `beside` hold counts as free.

    Raises:
        Refused: 422 `coupon_invalid`: there is no such code, or it is not for him; 409 `coupon_exhausted`.
    """
    if wanted.coupon is None:
        return NOTHING_OFF
    coupon, promotion = await catalog.lock_coupon(connection, wanted.coupon), None
    if coupon is None and (stands_for := await promotions.coupon_of(connection, wanted.coupon)) is not None:
        coupon = await catalog.lock_coupon(connection, stands_for)
        # Read again under the coupon's lock: of two for the last use of the code one sees the other's.
        promotion = await promotions.load(connection, wanted.coupon)
    if coupon is not None and codes.narrowed(coupon, promotion).first_order_only:
        await catalog.lock_first_order(connection, wanted.email, wanted.customer_subject)
    freed = await catalog.uses_of(connection, beside)
    if coupon is not None:
        coupon = replace(coupon, held=coupon.held - [code for code, _ in freed].count(coupon.code))
    if promotion is not None:
        promotion = replace(promotion, uses=promotion.uses - [code for _, code in freed].count(promotion.code))
    return await _offered(connection, coupon, promotion, wanted, email=wanted.email, beside=beside)


async def _see_coupon(connection: Connection, wanted: Placement) -> Offered:
    """As above, without a lock. Nobody learns from it what somebody else has bought: who is signed in is judged by his
    subject and the address of his token, a guest by nothing that he types."""
    if wanted.coupon is None:
        return NOTHING_OFF
    coupon, promotion = await catalog.load_coupon(connection, wanted.coupon), None
    if coupon is None and (promotion := await promotions.load(connection, wanted.coupon)) is not None:
        coupon = await catalog.load_coupon(connection, promotion.coupon)
    email = None if wanted.customer_subject is None else wanted.account_email or ""
    return await _offered(connection, coupon, promotion, wanted, email=email)


async def _offered(
    connection: Connection,
    coupon: Coupon | None,
    promotion: Promotion | None,
    wanted: Placement,
    *,
    email: str | None,
    beside: Collection[UUID] = (),
) -> Offered:
    """`email`: by which, beside his subject, the customer's earlier orders are his; None: they are not looked at."""
    if coupon is None:
        raise coupons.unknown()
    address = codes.address_of(account_email=wanted.account_email, email=wanted.email)
    codes.check(promotion, email=address, customer_subject=wanted.customer_subject)
    under = codes.narrowed(coupon, promotion)
    if email is None or (not under.first_order_only and under.per_customer is None):
        return Offered(under, promotion, Standing())
    standing = await catalog.standing(connection, under.code, email, wanted.customer_subject, beside=beside)
    return Offered(under, promotion, standing)
