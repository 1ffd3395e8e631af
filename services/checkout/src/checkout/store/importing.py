"""What an import brought, until it takes effect."""

from collections.abc import Sequence
from uuid import UUID

from checkout.model.catalog import Import, ImportCounts, PartFault, Product
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def begin(connection: Connection, import_id: UUID, actor: str, file: str, columns: Sequence[str]) -> None:
    """Remember a new import; forget what was left of those that nobody ended for a day."""
    await connection.execute(QUERIES["forget_imports"])
    await connection.execute(QUERIES["begin_import"], import_id, actor, file, list(columns))


async def lock(connection: Connection, import_id: UUID) -> Import | None:
    """An import with the number of rows it holds, locked until the transaction ends."""
    return await fetch_one_as(connection, Import, QUERIES["lock_import"], import_id)


async def places_of(connection: Connection, import_id: UUID, skus: Sequence[str]) -> dict[str, int]:
    """In which rows of an import these SKUs stand."""
    rows = await connection.fetch(QUERIES["places_of_skus"], import_id, list(skus))
    return {row["sku"]: row["position"] for row in rows}


async def put(
    connection: Connection,
    import_id: UUID,
    positions: Sequence[int],
    products: Sequence[tuple[int, Product]],
    refused: int,
) -> None:
    """Keep what a piece brought in `positions`, of which `refused` are wrong; the same piece again replaces itself."""
    await connection.execute(QUERIES["clear_import_rows"], import_id, list(positions))
    await connection.execute(
        QUERIES["put_import_rows"],
        import_id,
        [position for position, _ in products],
        [product.sku for _, product in products],
        [product.name for _, product in products],
        [product.description for _, product in products],
        [product.image for _, product in products],
        [product.active for _, product in products],
        [product.tax_code for _, product in products],
        [product.digital for _, product in products],
        [dict(product.prices) for _, product in products],
        [dict(product.parts) for _, product in products],
    )
    if refused:
        await connection.execute(QUERIES["count_refused_rows"], import_id, refused)


async def wrong_parts(connection: Connection, import_id: UUID, limit: int) -> list[PartFault]:
    """Parts in an import that its bundles may not have, in the order of its rows."""
    return await fetch_as(connection, PartFault, QUERIES["wrong_parts"], import_id, limit)


async def compare(connection: Connection, import_id: UUID) -> ImportCounts:
    """What an import would do to the catalogue as it is."""
    counts = await fetch_one_as(connection, ImportCounts, QUERIES["compare_import"], import_id)
    assert counts is not None  # noqa: S101 - an aggregate has a row
    return counts


async def apply(connection: Connection, import_id: UUID) -> None:
    """Make the catalogue say what the import says of its products. Those that it does not name stay as they are."""
    await connection.execute(QUERIES["import_products"], import_id)
    await connection.execute(QUERIES["clear_imported_prices"], import_id)
    await connection.execute(QUERIES["import_prices"], import_id)


async def apply_parts(connection: Connection, import_id: UUID) -> None:
    """Make bundles consist of what the import says, which has been looked at under their lock."""
    await connection.execute(QUERIES["clear_imported_parts"], import_id)
    await connection.execute(QUERIES["import_parts"], import_id)


async def end(connection: Connection, import_id: UUID, outcome: str, counts: ImportCounts | None) -> None:
    """Say how an import ended, and let go of its rows."""
    created, changed, unchanged = (counts.created, counts.changed, counts.unchanged) if counts else (None, None, None)
    await connection.execute(QUERIES["end_import"], import_id, outcome, created, changed, unchanged)
