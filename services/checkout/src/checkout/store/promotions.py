"""Codes that stand for coupons."""

from collections.abc import Collection
from uuid import UUID

from checkout.model.carts import Promotion
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def coupon_of(connection: Connection, code: str) -> str | None:
    """The coupon that a code stands for; it never stands for another."""
    found: str | None = await connection.fetchval(QUERIES["coupon_of_promotion"], code)
    return found


async def used_for(connection: Connection, order_id: UUID) -> str | None:
    """The code that an order's coupon was used by."""
    found: str | None = await connection.fetchval(QUERIES["promotion_of_order"], order_id)
    return found


async def load(connection: Connection, code: str) -> Promotion | None:
    """A code with its uses. They hold for as long as its coupon is locked."""
    return await fetch_one_as(connection, Promotion, QUERIES["load_promotions"], [code])


async def load_many(connection: Connection, codes: Collection[str]) -> dict[str, Promotion]:
    """Codes with their uses, as above."""
    found = await fetch_as(connection, Promotion, QUERIES["load_promotions"], list(codes))
    return {one.code: one for one in found}


async def of_coupon(connection: Connection, coupon: str) -> list[Promotion]:
    """All codes that stand for a coupon."""
    return await fetch_as(connection, Promotion, QUERIES["promotions_of_coupon"], coupon)


async def lock_code(connection: Connection, code: str) -> None:
    """Whoever else makes a coupon or a promotion code of this name waits until the transaction ends."""
    await connection.execute(QUERIES["lock_code"], code)


async def put(connection: Connection, promotion: Promotion) -> None:
    """Create or replace a code; its coupon stays what it was first."""
    await connection.execute(
        QUERIES["put_promotion"],
        promotion.code,
        promotion.coupon,
        promotion.active,
        promotion.max_redemptions,
        promotion.first_order_only,
        dict(promotion.minimums),
        promotion.email,
        promotion.customer_subject,
        promotion.valid_until,
    )
