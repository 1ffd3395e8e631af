"""What a cart costs. Every sum is exact; a discount is never larger than what it is taken from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from checkout.decide import coupons, shipping, taxes
from checkout.decide.exchange import converted
from checkout.model.carts import Cart, Exchange, Price, PricedLine, Quote, Wanted
from checkout.model.catalog import Product
from checkout.model.delivery import NO_TERMS, Delivery, DeliveryTerms, Recipient, TaxSource
from payments_shared.errors import FieldError, Refused
from payments_shared.money import Money, NotChargeable, check_chargeable

SKUS_MAX: Final = 100
PIECES_MAX: Final = 10_000  # of one SKU; both are what inventory holds for one order


def merged(lines: Sequence[Wanted]) -> tuple[Wanted, ...]:
    """One line per SKU, in the order of their first mention."""
    totals: dict[str, int] = {}
    for line in lines:
        totals[line.sku] = totals.get(line.sku, 0) + line.quantity
    return tuple(Wanted(sku, quantity) for sku, quantity in totals.items())


def quote(
    cart: Cart,
    prices: Mapping[str, Price],
    *,
    currency: str,
    exchange: Exchange | None,
    maximum_minor: int,
    terms: DeliveryTerms = NO_TERMS,
) -> Quote:
    """The price of `cart` in `currency`, its coupon taken off, with its shipping and the tax of the shop's own table.
    `exchange` is given where a price has to be converted.

    Raises:
        Refused: 422 naming the field: an unknown SKU, a currency in which a product is not offered, a coupon that does
            not apply, a place where nothing is shipped to, `cart_too_large`, or a total that cannot be charged.
            409 `coupon_exhausted` or `coupon_used`.
    """
    found = ((line, prices.get(line.sku)) for line in cart.lines)
    priced = tuple(_priced(index, line, price, currency, exchange) for index, (line, price) in enumerate(found))
    subtotal = sum(line.amount_minor for line in priced)
    coupon = cart.coupon
    if cart.promotion is not None:
        coupons.check_minimum(cart.promotion.minimums, subtotal, currency)
    discount = coupons.discount_of(coupon, cart.standing, priced, currency=currency, now=cart.now) if coupon else 0
    if coupon is not None and terms.source is TaxSource.STRIPE:
        coupons.check_taxed_alike(coupon, priced)
    if len(stock := pieces(priced)) > SKUS_MAX or max(stock.values()) > PIECES_MAX:
        raise _refused("cart_too_large", "The cart is too large to be packed as one order.", "/lines")
    off = coupons.spread(coupon, priced, discount)
    delivery, destination = None, cart.delivery.destination
    if shipping.is_shipped(cart.delivery, terms, goods=has_goods(cart, prices)):
        delivery = shipping.delivery_of(
            cart.delivery, terms, goods_minor=subtotal - discount, currency=currency, exchange=exchange
        )
    if delivery and terms.source is TaxSource.TABLE:
        delivery = replace(delivery, offers=delivery.offers[:1])  # another way would be taxed otherwise
    tax = taxes.tax_of(priced, off, delivery, terms, destination=destination, currency=currency)
    if delivery:
        ways = taxes.ways_of(delivery, terms, destination=destination, currency=currency)
        delivery = replace(delivery, ways=ways)
    code = coupon.code if coupon else None
    promotion = cart.promotion.code if cart.promotion else None
    used = exchange
    if exchange is not None and not _is_exchanged(prices, delivery, terms, base=exchange.base, currency=currency):
        used = None
    result = Quote(currency, priced, subtotal, discount, code, used, off, delivery, tax, promotion, cart.delivery)
    if result.total_minor or not discount:  # what a coupon takes off altogether is not charged
        _check_chargeable(Money(result.total_minor, currency), maximum_minor)
    return result


def _check_chargeable(total: Money, maximum_minor: int) -> None:
    try:
        check_chargeable(total, maximum_minor=maximum_minor)
    except NotChargeable as error:
        raise _refused(error.code, str(error), "/lines") from None


def check_address(quote: Quote, recipient: Recipient | None) -> None:
    """Whether the goods of an order of which nothing is left to pay have an address: no page opens to type one.

    Raises:
        Refused: 422 `address_needed`.
    """
    if quote.covered and quote.delivery is not None and recipient is None:
        detail = "Nothing is left to pay, so no page opens that asks where to send it; say it with one click."
        raise _refused("address_needed", detail, "/shipping")


def has_goods(cart: Cart, prices: Mapping[str, Price]) -> bool:
    """Whether anything in the cart has to be carried to the buyer."""
    found = (prices.get(line.sku) for line in cart.lines)
    return any(price is not None and price.is_sent for price in found)


def is_converted(price: Price) -> bool:
    """Whether the product is sold at a price that the catalogue names in the shop's own currency alone."""
    return price.active and price.unit_amount_minor is None and price.base_amount_minor is not None


def _is_exchanged(
    prices: Mapping[str, Price], delivery: Delivery | None, terms: DeliveryTerms, *, base: str, currency: str
) -> bool:
    """Whether a price in the cart, or one of the ways to ship it, was converted."""
    offered = {offer.code for offer in delivery.offers} if delivery else set()
    ways = (option for option in terms.options if option.code in offered)
    return any(is_converted(price) for price in prices.values()) or any(
        shipping.is_converted(way, base=base, currency=currency) for way in ways
    )


def _priced(index: int, line: Wanted, price: Price | None, currency: str, exchange: Exchange | None) -> PricedLine:
    if price is None or not price.active:
        raise _refused("unknown_sku", "There is no such product.", f"/lines/{index}/sku")
    if price.unit_amount_minor is not None:
        amount = price.unit_amount_minor
    elif price.base_amount_minor is not None and exchange is not None:
        amount = converted(price.base_amount_minor, currency, exchange)
    else:
        raise _refused("currency_not_offered", f"This product has no price in {currency.upper()}.", "/currency")
    return PricedLine(
        price.sku,
        price.name,
        line.quantity,
        amount,
        price.tax_code,
        price.parts,
        digital=not price.is_sent,
        digital_parts=tuple(price.digital_parts),
    )


def check_parts(bundle: Product, *, unknown: Collection[str], nested: Collection[str]) -> None:
    """Whether a bundle may consist of its parts, of which `unknown` are no products and `nested` are bundles, or this
    one where it is part of another.

    Raises:
        Refused: 422 that points at the part.
    """
    for part in bundle.parts:
        pointer = "/parts/" + part
        if part in unknown:
            raise _refused("unknown_sku", "There is no such product.", pointer)
        if part in nested or part == bundle.sku:
            raise _refused("nested_bundle", "A bundle cannot be part of a bundle.", pointer)
    if bundle.sku in nested:
        raise _refused("nested_bundle", "This product is part of a bundle already.", "/parts")


def pieces(lines: Sequence[PricedLine]) -> dict[str, int]:
    """How many of each SKU leave the shelves for `lines`: a bundle leaves in its parts, a SKU on several lines once."""
    totals: dict[str, int] = {}
    for line in lines:
        for sku, quantity in (line.parts or {line.sku: 1}).items():
            totals[sku] = totals.get(sku, 0) + quantity * line.quantity
    return totals


def _refused(code: str, detail: str, pointer: str) -> Refused:
    return Refused(code, detail, status=422, errors=[FieldError(pointer, detail, code)])
