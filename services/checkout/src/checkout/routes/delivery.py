"""The administrators' door to ways to ship and tax rates, on the internal port."""

from dataclasses import asdict, dataclass
from typing import Annotated, Final, Self

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, model_validator

from checkout.decide.shipping import ADDRESSED
from checkout.handlers.delivering import Delivering
from checkout.model.delivery import ShippingOption, TaxRate
from checkout.routes.wishes import OPTION, Country, Region
from payments_shared.auth import Verifier, require
from payments_shared.http import read_json
from payments_shared.money import SUPPORTED, WHOLE_UNITS_ONLY
from payments_shared.postgres import unavailable_as_retryable

NAME_MAX: Final = 100
DAYS_MAX: Final = 365
RATES_MAX: Final = 1000
TAX_CODE: Final = r"^txcd_[0-9]{8}$"


def _amounts(value: dict[str, int]) -> dict[str, int]:
    for currency, amount in value.items():
        if currency not in SUPPORTED:
            raise ValueError(f"unsupported currency {currency}")
        if currency in WHOLE_UNITS_ONLY and amount % 100:
            raise ValueError(f"{currency} has no decimals")
    return value


def _served(value: str) -> str:
    if value not in ADDRESSED:
        raise ValueError("no country to which anything can be shipped")
    return value


Amounts = Annotated[dict[str, Annotated[StrictInt, Field(ge=0, le=99_999_999)]], AfterValidator(_amounts)]
Days = Annotated[StrictInt, Field(ge=1, le=DAYS_MAX)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_MAX)]


class ShippingOptionRequest(BaseModel):
    """`PUT /admin/shipping-options/{code}`. Amounts in minor units by currency; free above an amount of goods."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    amounts: Annotated[Amounts, Field(min_length=1)]
    free_above: Amounts = Field(default_factory=dict)
    countries: Annotated[list[Annotated[Country, AfterValidator(_served)]], Field(min_length=1)] | None = None
    days_min: Days | None = None
    days_max: Days | None = None
    tax_code: Annotated[str, Field(pattern=TAX_CODE)] | None = None
    active: bool = True

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.days_min is not None and self.days_max is not None and self.days_min > self.days_max:
            raise ValueError("days_min is above days_max")
        return self


class TaxRateRequest(BaseModel):
    """One row: `rate_millionths` 88750 is 8.875 %. `inclusive`: catalogue prices contain it."""

    model_config = ConfigDict(extra="forbid")

    region: Region | None = None
    tax_code: Annotated[str, Field(pattern=TAX_CODE)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=40)]
    rate_millionths: Annotated[StrictInt, Field(ge=0, le=1_000_000)]
    inclusive: bool = False


class TaxRatesRequest(BaseModel):
    """`PUT /admin/tax-rates/{country}`: all rates of a country."""

    model_config = ConfigDict(extra="forbid")

    rates: Annotated[list[TaxRateRequest], Field(max_length=RATES_MAX)]

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len({(rate.region, rate.tax_code) for rate in self.rates}) < len(self.rates):
            raise ValueError("two rates are for the same")
        return self


@dataclass(frozen=True, slots=True)
class Door:
    """Writing needs the role admin, reading also operator or support."""

    delivering: Delivering
    people: Verifier

    async def list_options(self, request: web.Request) -> web.Response:
        """All ways to ship."""
        require(request, self.people, "admin", "operator", "support")
        with unavailable_as_retryable():
            found = await self.delivering.options()
        return web.json_response({"shipping_options": [asdict(option) for option in found]})

    async def put_option(self, request: web.Request) -> web.Response:
        """Create or replace a way to ship."""
        require(request, self.people, "admin")
        body = await read_json(request, ShippingOptionRequest)
        given = body.model_dump() | {"countries": sorted(set(body.countries)) if body.countries else None}
        option = ShippingOption(code=request.match_info["code"], **given)
        with unavailable_as_retryable():
            await self.delivering.put_option(option)
        return web.json_response(asdict(option))

    async def list_rates(self, request: web.Request) -> web.Response:
        """The table of tax rates."""
        require(request, self.people, "admin", "operator", "support")
        with unavailable_as_retryable():
            found = await self.delivering.rates()
        return web.json_response({"tax_rates": [asdict(rate) for rate in found]})

    async def replace_rates(self, request: web.Request) -> web.Response:
        """Make these the rates of a country, and no others."""
        require(request, self.people, "admin")
        body = await read_json(request, TaxRatesRequest)
        country = request.match_info["country"]
        rates = [TaxRate(country=country, **rate.model_dump()) for rate in body.rates]
        with unavailable_as_retryable():
            await self.delivering.replace_rates(country, rates)
        return web.json_response({"tax_rates": [asdict(rate) for rate in rates]})


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        web.get("/admin/shipping-options", door.list_options),
        web.put("/admin/shipping-options/{code:" + OPTION.strip("^$") + "}", door.put_option),
        web.get("/admin/tax-rates", door.list_rates),
        web.put("/admin/tax-rates/{country:[A-Z]{2}}", door.replace_rates),
    ]
