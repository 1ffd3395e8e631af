"""A catalogue file taken in: piece by piece, every row looked at, and then all of it or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from checkout.decide.importing import Fault, fault_of_part, faults_of_head, product_of
from checkout.model.catalog import Import, ImportCounts, Product
from checkout.store import catalog
from checkout.store import importing as store
from payments_shared.errors import FieldError, Refused
from payments_shared.ids import new_id
from payments_shared.messaging import Outbox
from payments_shared.postgres import Connection

FAULTS_MAX: Final = 10_000
ERRORS_MAX: Final = 20  # told with a refusal

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Imports:
    """Each step is one transaction; only the last one changes what buyers see."""

    outbox: Outbox

    async def begin(self, actor: str, file: str, columns: Sequence[str]) -> UUID:
        """Begin an import of a file whose first row is `columns`.

        Raises:
            Refused: 422 naming the columns that are unknown, missing or there twice.
        """
        if faults := faults_of_head(columns):
            errors = [FieldError(f"/columns/{fault.column}", fault.detail, "column") for fault in faults]
            raise Refused(
                "columns_refused", "The first row of the file names other columns.", status=422, errors=errors
            )
        import_id = new_id()
        async with self.outbox.transaction() as tx:
            await store.begin(tx.connection, import_id, actor, file, columns)
        return import_id

    async def add(self, import_id: UUID, rows: Mapping[int, Mapping[str, str]]) -> list[Fault]:
        """Take in a piece, by the rows' numbers in the file; return what is wrong with it, cell by cell. The same piece
        again replaces itself.

        Raises:
            Refused: 404, or 409 when the import has ended.
        """
        async with self.outbox.transaction() as tx:
            known = await _open(tx.connection, import_id)
            faults: list[Fault] = []
            products: dict[int, Product] = {}
            for position, cells in rows.items():
                if unknown := sorted(cells.keys() - set(known.columns)):
                    faults.append(Fault(position, unknown[0], "The first row of the file does not name this column."))
                    continue
                read = product_of(position, cells)
                if isinstance(read, Product):
                    products[position] = read
                else:
                    faults += read
            faults += await self._twice(tx.connection, import_id, products, set(rows))
            wrong = {fault.position for fault in faults}
            good = [(position, product) for position, product in products.items() if position not in wrong]
            await store.put(tx.connection, import_id, list(rows), good, len(wrong))
        return sorted(faults, key=lambda fault: fault.position)

    async def _twice(
        self, connection: Connection, import_id: UUID, products: Mapping[int, Product], replaced: set[int]
    ) -> list[Fault]:
        stored = await store.places_of(connection, import_id, [product.sku for product in products.values()])
        first = {sku: position for sku, position in stored.items() if position not in replaced}
        faults = []
        for position, product in products.items():
            other = first.setdefault(product.sku, position)
            if other != position:
                faults.append(Fault(position, "sku", f"{product.sku} stands in row {other} as well."))
        return faults

    async def faults(self, import_id: UUID) -> list[Fault]:
        """What is wrong with what bundles would consist of, once all rows are here; row by row.

        Raises:
            Refused: 404, or 409 when the import has ended.
        """
        async with self.outbox.transaction() as tx:
            await _open(tx.connection, import_id)
            return [fault_of_part(one) for one in await store.wrong_parts(tx.connection, import_id, FAULTS_MAX)]

    async def apply(self, import_id: UUID, actor: str, *, rows: int, keep: bool) -> ImportCounts:
        """Make the catalogue say what the file says, if all `rows` of it are here and right; what changed. Without
        `keep` nothing does, and the import stays open.

        Raises:
            Refused: 404; 409 when the import has ended, a row was refused, rows are missing, or a bundle may not have
                its parts, as the catalogue is now.
        """
        async with self.outbox.transaction() as tx:
            known = await _open(tx.connection, import_id)
            if known.refused:
                raise Refused("import_has_faults", "Rows of this import were refused; begin another.")
            if known.rows != rows:
                raise Refused("import_incomplete", f"{known.rows} of {rows} rows are here.")
            has_parts = "parts" in known.columns
            if has_parts:
                await catalog.lock_bundles(tx.connection)
                await _check_parts(tx.connection, import_id)
            counts = await store.compare(tx.connection, import_id)
            if keep:
                await store.apply(tx.connection, import_id)
                if has_parts:
                    await store.apply_parts(tx.connection, import_id)
                await store.end(tx.connection, import_id, "imported", counts)
        if keep:
            log.info("catalog.imported", actor=actor, created=counts.created, changed=counts.changed)
        return counts

    async def discard(self, import_id: UUID) -> None:
        """End an import without effect.

        Raises:
            Refused: 404, or 409 when it has ended.
        """
        async with self.outbox.transaction() as tx:
            await _open(tx.connection, import_id)
            await store.end(tx.connection, import_id, "discarded", None)


async def _check_parts(connection: Connection, import_id: UUID) -> None:
    if wrong := await store.wrong_parts(connection, import_id, ERRORS_MAX):
        found = [fault_of_part(one) for one in wrong]
        errors = [FieldError(f"/rows/{fault.position}/cells/parts", fault.detail, "parts") for fault in found]
        raise Refused("import_has_faults", "Bundles of this import may not have their parts.", errors=errors)


async def _open(connection: Connection, import_id: UUID) -> Import:
    known = await store.lock(connection, import_id)
    if known is None:
        raise Refused("not_found", "There is no such import.", status=404)
    if known.outcome is not None:
        raise Refused("import_ended", f"This import was {known.outcome}.")
    return known
