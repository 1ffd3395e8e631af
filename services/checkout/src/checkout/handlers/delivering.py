"""Administrators' use cases: ways to ship, and tax rates."""

from dataclasses import dataclass

from checkout.model.delivery import ShippingOption, TaxRate
from checkout.store import delivery
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire


@dataclass(frozen=True, slots=True)
class Delivering:
    """Reads and writes of what the catalogue says of delivery and tax; each write is one transaction."""

    outbox: Outbox

    async def options(self) -> list[ShippingOption]:
        """All ways to ship."""
        async with acquire(self.outbox.pool) as connection:
            return await delivery.list_options(connection)

    async def put_option(self, option: ShippingOption) -> None:
        """Create or replace a way to ship."""
        async with self.outbox.transaction() as tx:
            await delivery.put_option(tx.connection, option)

    async def rates(self) -> list[TaxRate]:
        """The whole table of tax rates."""
        async with acquire(self.outbox.pool) as connection:
            return await delivery.list_rates(connection)

    async def replace_rates(self, country: str, rates: list[TaxRate]) -> None:
        """Make these the rates of a country, and no others."""
        async with self.outbox.transaction() as tx:
            await delivery.replace_rates(tx.connection, country, rates)
