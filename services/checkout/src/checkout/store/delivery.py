"""Ways to ship, and the table of tax rates."""

from checkout.model.delivery import ShippingOption, TaxRate
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def active_options(connection: Connection) -> list[ShippingOption]:
    """The ways to ship that may be chosen."""
    return await fetch_as(connection, ShippingOption, QUERIES["active_shipping_options"])


async def list_options(connection: Connection) -> list[ShippingOption]:
    """All ways to ship."""
    return await fetch_as(connection, ShippingOption, QUERIES["list_shipping_options"])


async def put_option(connection: Connection, option: ShippingOption) -> None:
    """Create or replace a way to ship."""
    await connection.execute(
        QUERIES["put_shipping_option"],
        option.code,
        option.name,
        dict(option.amounts),
        dict(option.free_above),
        option.countries,
        option.days_min,
        option.days_max,
        option.tax_code,
        option.active,
    )


async def rates_in(connection: Connection, country: str) -> list[TaxRate]:
    """The rates of a country, for all its regions."""
    return await fetch_as(connection, TaxRate, QUERIES["tax_rates_in"], country)


async def list_rates(connection: Connection) -> list[TaxRate]:
    """The whole table."""
    return await fetch_as(connection, TaxRate, QUERIES["list_tax_rates"])


async def replace_rates(connection: Connection, country: str, rates: list[TaxRate]) -> None:
    """Make these the rates of a country, and no others. Whoever else does so waits until the transaction ends."""
    await connection.execute(QUERIES["lock_tax_rates"], country)
    await connection.execute(QUERIES["clear_tax_rates"], country)
    await connection.execute(
        QUERIES["insert_tax_rates"],
        country,
        [rate.region for rate in rates],
        [rate.tax_code for rate in rates],
        [rate.name for rate in rates],
        [rate.rate_millionths for rate in rates],
        [rate.inclusive for rate in rates],
    )
