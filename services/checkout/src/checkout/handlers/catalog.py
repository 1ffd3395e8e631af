"""Administrators' use cases: products, prices and coupons; and what people may see of an order."""

from dataclasses import dataclass
from uuid import UUID

from checkout.decide import coupons, pricing
from checkout.decide.promotions import clash
from checkout.model.carts import Coupon
from checkout.model.catalog import Product
from checkout.model.facts import Fact
from checkout.model.orders import Order
from checkout.model.risks import Decided
from checkout.store import catalog, promotions
from checkout.store import orders as store
from checkout.store.risks import list_risks
from payments_shared.errors import Refused
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire


@dataclass(frozen=True, slots=True)
class Catalog:
    """Reads and writes of the catalogue; each write is one transaction."""

    outbox: Outbox

    async def products(self) -> list[Product]:
        """All products."""
        async with acquire(self.outbox.pool) as connection:
            return await catalog.list_products(connection)

    async def put_product(self, product: Product) -> None:
        """Save a product, exactly the prices given and exactly the parts.

        Raises:
            Refused: 422: a part is no product, or a bundle would be part of another.
        """
        async with self.outbox.transaction() as tx:
            if product.parts:
                await catalog.lock_bundles(tx.connection)
                unknown = await catalog.unknown_products(tx.connection, product.parts)
                nested = await catalog.bundles_among(tx.connection, product.parts, product.sku)
                pricing.check_parts(product, unknown=unknown, nested=nested)
            await catalog.put_product(tx.connection, product)

    async def put_coupon(self, coupon: Coupon) -> None:
        """Save what a coupon is; its uses stay.

        Raises:
            Refused: 409: its code stands for another coupon; or, as `decide.coupons.check_limit` says, it has more uses
                than are wanted.
        """
        async with self.outbox.transaction() as tx:
            await promotions.lock_code(tx.connection, coupon.code)
            if await promotions.coupon_of(tx.connection, coupon.code) is not None:
                raise clash(coupon.code)
            coupons.check_limit(coupon, await catalog.lock_coupon(tx.connection, coupon.code))
            await catalog.put_coupon(tx.connection, coupon)

    async def coupon(self, code: str) -> Coupon:
        """A coupon with its uses.

        Raises:
            Refused: 404.
        """
        async with acquire(self.outbox.pool) as connection:
            found = await catalog.load_coupon(connection, code)
        if found is None:
            raise Refused("coupon_not_found", "There is no such coupon.", status=404)
        return found

    async def order(self, order_id: UUID) -> Order | None:
        """One order."""
        async with acquire(self.outbox.pool) as connection:
            return await store.load_order(connection, order_id)

    async def orders_of(self, customer: str, *, after: UUID | None, limit: int) -> tuple[list[Order], bool]:
        """A page of a customer's orders, the newest first, and whether there are more."""
        async with acquire(self.outbox.pool) as connection:
            found = await store.list_orders_of_customer(connection, customer, after, limit + 1)
        return found[:limit], len(found) > limit

    async def risks(self, order_id: UUID) -> list[Decided]:
        """What gates against fraud decided about an order, the first decision first."""
        async with acquire(self.outbox.pool) as connection:
            return await list_risks(connection, order_id)

    async def facts(self, order_id: UUID) -> list[Fact]:
        """Everything learned about an order."""
        async with acquire(self.outbox.pool) as connection:
            history = await store.load_history(connection, [order_id])
        return list(history.facts.get(order_id, {}).values())
