"""The administrators' door to ways to ship and tax rates, on the internal port."""

from dataclasses import asdict, dataclass
from typing import Annotated, Final, Self

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from typing_extensions import TypedDict

from checkout.decide.shipping import ADDRESSED
from checkout.handlers.delivering import Delivering
from checkout.model.delivery import ShippingOption, TaxRate
from checkout.routes.admin import READERS, WRITERS, payable
from checkout.routes.ordering import Currency
from checkout.routes.paging import named
from checkout.routes.wishes import OPTION, Region
from payments_shared.auth import Verifier, require
from payments_shared.http import read_json
from payments_shared.http.operations import DATABASE_AWAY, Answer, Body, Operation, Parameter
from payments_shared.postgres import unavailable_as_retryable

NAME_MAX: Final = 100
DAYS_MAX: Final = 365
RATES_MAX: Final = 1000
TAX_CODE: Final = r"^txcd_[0-9]{8}$"


def _served(value: str) -> str:
    if value not in ADDRESSED:
        raise ValueError("no country to which anything can be shipped")
    return value


Amounts = Annotated[dict[Currency, Annotated[StrictInt, Field(ge=0, le=99_999_999)]], AfterValidator(payable)]
Served = Annotated[str, AfterValidator(_served), Field(json_schema_extra={"enum": sorted(ADDRESSED)})]
Days = Annotated[StrictInt, Field(ge=1, le=DAYS_MAX)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_MAX), AfterValidator(named)]


class ShippingOptionRequest(BaseModel):
    """`PUT /admin/shipping-options/{code}`. Amounts in minor units by currency; free above an amount of goods."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    amounts: Annotated[Amounts, Field(min_length=1)]
    free_above: Amounts = Field(default_factory=dict)
    countries: Annotated[list[Served], Field(min_length=1)] | None = None
    days_min: Days | None = None
    days_max: Days | None = None
    tax_code: Annotated[str, Field(pattern=TAX_CODE)] | None = None
    active: StrictBool = True

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
    name: Annotated[str, Field(min_length=1, max_length=40), AfterValidator(named)]
    rate_millionths: Annotated[StrictInt, Field(ge=0, le=1_000_000)]
    inclusive: StrictBool = False


class TaxRatesRequest(BaseModel):
    """`PUT /admin/tax-rates/{country}`: all rates of a country."""

    model_config = ConfigDict(extra="forbid")

    rates: Annotated[list[TaxRateRequest], Field(max_length=RATES_MAX)]

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len({(rate.region, rate.tax_code) for rate in self.rates}) < len(self.rates):
            raise ValueError("two rates are for the same")
        return self


class ShippingOptions(TypedDict):
    """All ways to ship."""

    shipping_options: list[ShippingOption]


class TaxRates(TypedDict):
    """Rows of the table."""

    tax_rates: list[TaxRate]


LIST_OPTIONS: Final = Operation(
    method="GET",
    path="/admin/shipping-options",
    id="listShippingOptions",
    summary="List all ways to ship.",
    callers=READERS,
    answers=(Answer(200, "All of them.", ShippingOptions),),
    refusals=(DATABASE_AWAY,),
)
PUT_OPTION: Final = Operation(
    method="PUT",
    path="/admin/shipping-options/{code:" + OPTION.strip("^$") + "}",
    id="putShippingOption",
    summary="Create or replace a way to ship.",
    callers=WRITERS,
    parameters=(Parameter("code", "path", "The way to ship."),),
    body=Body(
        ShippingOptionRequest,
        {"name": "Parcel", "amounts": {"eur": 490}, "free_above": {"eur": 5000}, "countries": ["AT", "DE"]},
    ),
    answers=(Answer(200, "The way to ship.", ShippingOption),),
    refusals=(DATABASE_AWAY,),
)
LIST_RATES: Final = Operation(
    method="GET",
    path="/admin/tax-rates",
    id="listTaxRates",
    summary="List the table of tax rates.",
    callers=READERS,
    answers=(Answer(200, "All of it.", TaxRates),),
    refusals=(DATABASE_AWAY,),
)
REPLACE_RATES: Final = Operation(
    method="PUT",
    path="/admin/tax-rates/{country:[A-Z]{2}}",
    id="replaceTaxRates",
    summary="Make these the rates of a country, and no others.",
    callers=WRITERS,
    parameters=(Parameter("country", "path", "ISO 3166-1."),),
    body=Body(TaxRatesRequest, {"rates": [{"name": "USt", "rate_millionths": 190_000, "inclusive": True}]}),
    answers=(Answer(200, "The rates of the country.", TaxRates),),
    refusals=(DATABASE_AWAY,),
)
OPERATIONS: Final = (LIST_OPTIONS, PUT_OPTION, LIST_RATES, REPLACE_RATES)


@dataclass(frozen=True, slots=True)
class Door:
    """Writing needs the role admin, reading also operator or support."""

    delivering: Delivering
    people: Verifier

    async def list_options(self, request: web.Request) -> web.Response:
        """All ways to ship."""
        require(request, self.people, *LIST_OPTIONS.roles)
        with unavailable_as_retryable():
            found = await self.delivering.options()
        return web.json_response({"shipping_options": [asdict(option) for option in found]})

    async def put_option(self, request: web.Request) -> web.Response:
        """Create or replace a way to ship."""
        require(request, self.people, *PUT_OPTION.roles)
        body = await read_json(request, ShippingOptionRequest)
        given = body.model_dump() | {"countries": sorted(set(body.countries)) if body.countries else None}
        option = ShippingOption(code=request.match_info["code"], **given)
        with unavailable_as_retryable():
            await self.delivering.put_option(option)
        return web.json_response(asdict(option))

    async def list_rates(self, request: web.Request) -> web.Response:
        """The table of tax rates."""
        require(request, self.people, *LIST_RATES.roles)
        with unavailable_as_retryable():
            found = await self.delivering.rates()
        return web.json_response({"tax_rates": [asdict(rate) for rate in found]})

    async def replace_rates(self, request: web.Request) -> web.Response:
        """Make these the rates of a country, and no others."""
        require(request, self.people, *REPLACE_RATES.roles)
        body = await read_json(request, TaxRatesRequest)
        country = request.match_info["country"]
        rates = [TaxRate(country=country, **rate.model_dump()) for rate in body.rates]
        with unavailable_as_retryable():
            await self.delivering.replace_rates(country, rates)
        return web.json_response({"tax_rates": [asdict(rate) for rate in rates]})


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        LIST_OPTIONS.to(door.list_options),
        PUT_OPTION.to(door.put_option),
        LIST_RATES.to(door.list_rates),
        REPLACE_RATES.to(door.replace_rates),
    ]
