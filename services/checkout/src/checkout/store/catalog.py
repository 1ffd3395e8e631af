"""Products, prices and coupons."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from checkout.model.carts import Coupon, Price, Standing
from checkout.model.catalog import Product
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def load_prices(connection: Connection, skus: Sequence[str], currency: str, base: str) -> Mapping[str, Price]:
    """The products among `skus` with their prices in `currency`, and in `base`, the shop's own."""
    rows = await fetch_as(connection, Price, QUERIES["load_prices"], list(skus), currency, base)
    return {row.sku: row for row in rows}


async def lock_coupon(connection: Connection, code: str) -> Coupon | None:
    """A coupon, locked until the transaction ends: its uses are counted under this lock."""
    return await fetch_one_as(connection, Coupon, QUERIES["lock_coupon"], code)


async def lock_coupons(connection: Connection, codes: Collection[str]) -> dict[str, Coupon]:
    """Coupons, locked in the order of their codes until the transaction ends."""
    rows = await fetch_as(connection, Coupon, QUERIES["lock_coupons"], list(codes))
    return {row.code: row for row in rows}


async def save_uses(connection: Connection, coupons: Sequence[Coupon]) -> None:
    """Save the counters of coupons that are locked."""
    await connection.execute(
        QUERIES["save_coupon_uses"],
        [coupon.code for coupon in coupons],
        [coupon.held for coupon in coupons],
        [coupon.redeemed for coupon in coupons],
    )


async def load_coupon(connection: Connection, code: str) -> Coupon | None:
    """A coupon, not locked."""
    return await fetch_one_as(connection, Coupon, QUERIES["load_coupon"], code)


async def lock_first_order(connection: Connection, email: str, customer_subject: str | None) -> None:
    """Whoever else wants something off this customer's first order waits until the transaction ends."""
    await connection.execute(QUERIES["lock_first_order"], f"email {email.lower()}")
    if customer_subject is not None:
        await connection.execute(QUERIES["lock_first_order"], f"subject {customer_subject}")


async def standing(
    connection: Connection, code: str, email: str, customer_subject: str | None, *, beside: Collection[UUID] = ()
) -> Standing:
    """How a customer stands to a coupon, which is locked; what the orders `beside` hold is not counted."""
    found = await fetch_one_as(
        connection, Standing, QUERIES["count_uses"], code, email.lower(), customer_subject, list(beside)
    )
    assert found is not None  # noqa: S101 - counts are always one row
    return found


async def uses_of(connection: Connection, order_ids: Collection[UUID]) -> list[tuple[str, str | None]]:
    """The coupons that orders hold a use of, each with the code that stood for it."""
    rows = await connection.fetch(QUERIES["codes_held_by"], list(order_ids)) if order_ids else []
    return [(row["code"], row["promotion"]) for row in rows]


async def count_other_uses(
    connection: Connection, order_ids: Collection[UUID], *, beside: Collection[UUID]
) -> dict[UUID, int]:
    """How many uses of the same coupon the customers of these orders have for orders other than `beside`."""
    rows = await connection.fetch(QUERIES["count_other_uses"], list(order_ids), list(beside))
    return {row["order_id"]: row["uses"] for row in rows}


async def hold_coupon(
    connection: Connection,
    code: str,
    order_id: UUID,
    email: str,
    customer_subject: str | None,
    *,
    promotion: str | None = None,
) -> None:
    """Take one use for a customer's order, and of the code that stands for the coupon."""
    await connection.execute(QUERIES["change_coupon_uses"], code, 1, 0)
    await connection.execute(QUERIES["insert_redemption"], order_id, code, email.lower(), customer_subject, promotion)


async def list_products(connection: Connection) -> list[Product]:
    """All products with their prices."""
    return await fetch_as(connection, Product, QUERIES["list_products"])


async def lock_bundles(connection: Connection) -> None:
    """Whoever else changes what bundles consist of waits until the transaction ends."""
    await connection.execute(QUERIES["lock_bundles"])


async def bundles_among(connection: Connection, skus: Collection[str], part: str) -> set[str]:
    """Those of `skus` that are bundles, and `part` if it is in one."""
    return {row["sku"] for row in await connection.fetch(QUERIES["bundles_among"], list(skus), part)}


async def unknown_products(connection: Connection, skus: Collection[str]) -> list[str]:
    """Those of `skus` that are no products, sorted."""
    return sorted(row["sku"] for row in await connection.fetch(QUERIES["unknown_products"], list(skus)))


async def put_product(connection: Connection, product: Product) -> None:
    """Save a product, exactly the prices given and exactly the parts."""
    await connection.execute(
        QUERIES["put_product"],
        product.sku,
        product.name,
        product.description,
        product.image,
        product.active,
        product.tax_code,
        product.digital,
    )
    await connection.execute(QUERIES["clear_prices"], product.sku)
    currencies = sorted(product.prices)
    await connection.execute(
        QUERIES["put_prices"], product.sku, currencies, [product.prices[currency] for currency in currencies]
    )
    await connection.execute(QUERIES["clear_parts"], product.sku)
    if product.parts:
        parts = sorted(product.parts)
        await connection.execute(QUERIES["put_parts"], product.sku, parts, [product.parts[part] for part in parts])


async def put_coupon(connection: Connection, coupon: Coupon) -> None:
    """Save what a coupon is; its uses stay."""
    await connection.execute(
        QUERIES["put_coupon"],
        coupon.code,
        coupon.percent_basis_points,
        None if coupon.amounts_off is None else dict(coupon.amounts_off),
        dict(coupon.minimums),
        coupon.max_redemptions,
        coupon.per_customer,
        coupon.first_order_only,
        coupon.skus,
        coupon.active,
        coupon.valid_from,
        coupon.valid_until,
    )
