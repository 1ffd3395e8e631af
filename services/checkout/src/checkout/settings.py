"""Settings of checkout."""

from datetime import date
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, HttpUrl, IPvAnyNetwork, SecretStr, field_validator
from pydantic_settings import NoDecode

from checkout.decide.returning import is_safe
from checkout.decide.shipping import ADDRESSED
from checkout.model.delivery import TaxSource
from checkout.model.securing import SecureRule
from payments_shared.http import parse_origin
from payments_shared.money import SUPPORTED
from payments_shared.settings import ServiceSettings

Country = Annotated[str, Field(pattern="^[A-Z]{2}$")]


def _safe(value: str) -> str:
    if not is_safe(parse_origin(value)):
        raise ValueError("must be an origin with https, or of this machine")
    return value


def _served(value: str) -> str:
    if value not in ADDRESSED:
        raise ValueError("must be a country to which something can be shipped, such as DE")
    return value


def _supported(value: str) -> str:
    if value not in SUPPORTED:
        raise ValueError("must be a supported currency in lower case, such as usd")
    return value


SupportedCurrency = Annotated[str, AfterValidator(_supported)]
MinorByCurrency = Annotated[dict[SupportedCurrency, Annotated[int, Field(ge=0)]], NoDecode]


MostInSeconds = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,5}/[1-9][0-9]{0,5})$")]


RETRIED_SECONDS = 30 * 86_400  # the window in which networks count
CREDIT_PER_GRANT: Final = {"usd": 50_000, "eur": 50_000, "gbp": 40_000, "chf": 50_000, "jpy": 75_000}
CREDIT_PER_ADMIN_DAY: Final = {"usd": 200_000, "eur": 200_000, "gbp": 160_000, "chf": 200_000, "jpy": 300_000}


class Settings(ServiceSettings):
    """Times in seconds of business time; amounts in minor units. `secret` keys what is derived for guests.

    Prices in other currencies than `default_currency` are converted where the catalogue names none and `rates_url`
    publishes rates, in the European Central Bank's format.

    `stripe_api_key_created_on`: when the key was made, which Stripe does not tell; its age is watched then.

    The link of a mail takes an order up again for `recovery_seconds`.

    `resume_seconds`, `heal_seconds`, `sweep_seconds`, `rates_seconds` and `remind_seconds` are how often sweeps look:
    for work that a crash interrupted, for orders of which nothing was heard, for deadlines, for new rates, and for
    cards that expire.
    `streams_max` is for one process, as `streams_per_address` is, which counts public addresses alone and with 0 none;
    the seconds of streams and tickets are those of the wall clock.

    So many placements in `placements_seconds` are taken of one address and of one customer, and so many quotes of one
    address, by all processes together; 0 is no limit. Lists are separated by commas: the networks of `trusted_proxies`,
    whose X-Forwarded-For is believed, and `allowed_origins`, whose pages may call; `shipping_countries`, where none
    named is all to which Stripe ships.

    So many orders that wait for their payment may be open of one customer, who is the subject of his token or a guest's
    e-mail address at one address, and of guests at one public address together; 0 is no limit.

    `tax` says who tells what tax is due: nobody, the `table` of our own, or `stripe`, which takes catalogue prices to
    be without tax or, with `tax_inclusive`, to contain it. With `shipping_required` the page asks for an address
    whenever goods are in the cart, else only where the request does.

    Buyers may be sent back to URLs at `return_origins`, beside the shop's own. Cards must confirm with 3-D Secure from
    `three_d_secure_above` on, amounts by currency as JSON, and in `three_d_secure_countries`.

    Reads are counted by each process for itself: of a customer who is signed in, or of guests at one public address.

    What is `most/seconds` counts in a window of so many seconds, for all processes together; `0` is no limit. Where
    declined cards reach one of these limits, the order's page is closed and its buyer places nothing for the length of
    that window; of limits by address the address places nothing, and no page is closed.

    `three_d_secure_rules`, a JSON list, demand it by what is known of the buyer as well: first order, declines within
    the hour, beside amount and country.

    `retry_seconds`: so long after each decline a saved card is charged again by itself, in turn, where its buyer wants
    that and its bank allows it; an empty list is never. Networks allow fifteen tries in thirty days.

    `warning_refunds`, such as `usd=5000,eur=4500`: up to this amount a payment goes back as soon as its bank warns of
    fraud, if nothing was sent; without its currency, or with 0, a person decides.

    `credit_per_grant` and `credit_per_admin_day`, written alike: what an administrator may give as store credit
    with one grant, and with all within twenty-four hours; nothing without its currency. What is set takes the place of
    the whole default.
    """

    public_port: int = Field(default=0, ge=0, le=65535)
    stripe_api_key: SecretStr = Field(min_length=20)
    stripe_api_key_created_on: date | None = None
    stripe_api_base: HttpUrl | None = None
    inventory_url: HttpUrl
    service_key_file: Path
    service_key_id: str = "checkout"
    secret: SecretStr = Field(min_length=32)
    shop_origin: HttpUrl
    success_path: str = "/success"
    cancel_path: str = "/cart"
    methods_path: str = "/account/payment-methods"
    default_currency: str = "usd"
    rates_url: HttpUrl | None = None
    session_seconds: float = Field(default=3600.0, ge=2700, le=86_000)
    maximum_minor: int = Field(default=99_999_999, gt=0)
    abandon_seconds: float = Field(default=600.0, gt=0)
    recovery_seconds: int = Field(default=604_800, gt=0)
    mismatch_seconds: float = Field(default=259_200.0, gt=0)
    wait_seconds: float = Field(default=600.0, gt=0)
    processing_wait_seconds: float = Field(default=3600.0, gt=0)
    resume_seconds: float = Field(default=2.0, gt=0)
    heal_seconds: float = Field(default=60.0, gt=0)
    sweep_seconds: float = Field(default=5.0, gt=0)
    rates_seconds: float = Field(default=3600.0, gt=0)
    remind_seconds: float = Field(default=86_400.0, gt=0)
    streams_max: int = Field(default=1000, ge=0)
    streams_per_address: int = Field(default=100, ge=0)
    stream_seconds: float = Field(default=900.0, gt=0)
    heartbeat_seconds: float = Field(default=15.0, gt=0)
    placements_per_address: int = Field(default=6000, ge=0)
    placements_per_customer: int = Field(default=3000, ge=0)
    quotes_per_address: int = Field(default=6000, ge=0)
    placements_seconds: int = Field(default=60, ge=1, le=86_400)
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    allowed_origins: Annotated[tuple[Annotated[str, AfterValidator(parse_origin)], ...], NoDecode] = ()
    shipping_required: bool = False
    shipping_countries: Annotated[tuple[Annotated[str, AfterValidator(_served)], ...], NoDecode] = ()
    tax: TaxSource = TaxSource.NONE
    tax_inclusive: bool = False
    return_origins: Annotated[tuple[Annotated[str, AfterValidator(_safe)], ...], NoDecode] = ()
    three_d_secure_above: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    three_d_secure_countries: Annotated[tuple[Country, ...], NoDecode] = ()
    ticket_seconds: int = Field(default=300, gt=0, le=3600)
    open_orders_per_customer: int = Field(default=20, ge=0)
    open_orders_per_address: int = Field(default=40, ge=0)
    placements_per_email: MostInSeconds = "3000/60"
    additions_per_customer: MostInSeconds = "60/3600"
    cancellations_per_caller: MostInSeconds = "6000/60"
    changes_per_customer: MostInSeconds = "600/3600"
    reads_per_caller: MostInSeconds = "6000/60"
    declines_per_order: MostInSeconds = "5/3600"
    declines_per_address: MostInSeconds = "50/3600"
    cards_per_address: MostInSeconds = "10/3600"
    declines_per_buyer: MostInSeconds = "10/3600"
    cards_per_buyer: MostInSeconds = "6/3600"
    declines_per_card: MostInSeconds = "10/3600"
    retry_seconds: Annotated[tuple[Annotated[int, Field(ge=60)], ...], NoDecode, Field(max_length=14)] = (
        3600,
        86_400,
        259_200,
    )
    three_d_secure_rules: tuple[SecureRule, ...] = ()
    warning_refunds: MinorByCurrency = Field(default_factory=dict)
    credit_per_grant: MinorByCurrency = CREDIT_PER_GRANT
    credit_per_admin_day: MinorByCurrency = CREDIT_PER_ADMIN_DAY

    @field_validator("warning_refunds", "credit_per_grant", "credit_per_admin_day", mode="before")
    @classmethod
    def _by_currency(cls, value: object) -> object:
        parts = filter(None, (part.strip() for part in value.split(","))) if isinstance(value, str) else ()
        return dict(part.split("=", 1) for part in parts) if isinstance(value, str) else value

    @field_validator("retry_seconds")
    @classmethod
    def _within_thirty_days(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if sum(value) > RETRIED_SECONDS:
            raise ValueError("must be thirty days at most in all")
        return value

    @field_validator(
        "trusted_proxies",
        "allowed_origins",
        "shipping_countries",
        "return_origins",
        "three_d_secure_countries",
        "retry_seconds",
        mode="before",
    )
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value
