"""Administrators' use cases: codes that stand for coupons."""

from dataclasses import dataclass

from checkout.decide import promotions as rules
from checkout.model.carts import Promotion
from checkout.store import catalog, promotions
from payments_shared.errors import FieldError, Refused
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire


@dataclass(frozen=True, slots=True)
class Promoting:
    """Reads and writes of promotion codes; each write is one transaction."""

    outbox: Outbox

    async def put(self, promotion: Promotion) -> Promotion:
        """Save what a code is; its uses stay, and so does its coupon.

        Raises:
            Refused: 422: there is no such coupon; 409: the code is a coupon's own, or stands for another.
        """
        async with self.outbox.transaction() as tx:
            await promotions.lock_code(tx.connection, promotion.code)
            if await catalog.load_coupon(tx.connection, promotion.code) is not None:
                raise rules.clash(promotion.code)
            known = await promotions.coupon_of(tx.connection, promotion.code)
            if known not in (None, promotion.coupon):
                raise rules.clash(promotion.code)
            # Locked: a use that an older limit lets pass is older than the new one, as the audit takes it to be.
            if await catalog.lock_coupon(tx.connection, promotion.coupon) is None:
                detail = "There is no such coupon."
                raise Refused(
                    "coupon_not_found", detail, status=422, errors=[FieldError("/coupon", detail, "coupon_not_found")]
                )
            await promotions.put(tx.connection, promotion)
        return await self.one(promotion.code)

    async def one(self, code: str) -> Promotion:
        """A code with its uses.

        Raises:
            Refused: 404.
        """
        async with acquire(self.outbox.pool) as connection:
            found = await promotions.load(connection, code)
        if found is None:
            raise Refused("not_found", "There is no such promotion code.", status=404)
        return found

    async def of(self, coupon: str) -> list[Promotion]:
        """All codes that stand for a coupon."""
        async with acquire(self.outbox.pool) as connection:
            return await promotions.of_coupon(connection, coupon)
