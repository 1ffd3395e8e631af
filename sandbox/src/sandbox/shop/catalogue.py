"""What the shop sells, and how it is put on sale through the services' administrators' ports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiohttp


@dataclass(frozen=True, slots=True)
class Article:
    """`prices` in minor units by currency; `image` names a drawing of the shop; `stock` in pieces. A `digital` one is
    not sent; `tax_code` is Stripe's, where tax on it may be another than on everything else."""

    sku: str
    name: str
    description: str
    image: str
    prices: Mapping[str, int]
    stock: int
    digital: bool = False
    tax_code: str | None = None


def _prices(usd: int, eur: int, gbp: int, jpy: int) -> Mapping[str, int]:
    return {"usd": usd, "eur": eur, "gbp": gbp, "jpy": jpy}


# Source: Stripe Tax, "Product tax codes", books that are downloaded, with permanent rights.
DOWNLOADED_BOOK: Final = "txcd_10302000"

ARTICLES: Final = (
    Article("MUG-CLAY", "Clay mug", "Thrown by hand, 300 ml.", "mug", _prices(1800, 1700, 1500, 2600), 40),
    Article("TEE-INK", "Ink tee", "Heavy cotton, dyed twice.", "tee", _prices(2900, 2700, 2400, 4200), 25),
    Article("NOTE-GRID", "Grid notebook", "160 pages that lie flat.", "notebook", _prices(1250, 1150, 990, 1800), 60),
    Article("LAMP-ARC", "Arc lamp", "Warm light, brass joint.", "lamp", _prices(8900, 8400, 7300, 12800), 8),
    Article("TOTE-CANVAS", "Canvas tote", "Carries a week of bread.", "tote", _prices(2200, 2100, 1800, 3200), 30),
    Article("POT-FERN", "Fern pot", "Terracotta, with a saucer.", "pot", _prices(3400, 3200, 2800, 4900), 12),
    Article("PEN-BRASS", "Brass pen", "Ages with the hand.", "pen", _prices(4600, 4300, 3700, 6600), 3),
    Article(
        "GUIDE-GLAZE", "Glaze guide", "64 pages to download.", "guide", _prices(900, 850, 750, 1300), 500,
        digital=True, tax_code=DOWNLOADED_BOOK,
    ),
    Article("CLOCK-OAK", "Oak clock", "Silent sweep, one hand.", "clock", _prices(6400, 6000, 5200, 9200), 0),
)  # fmt: skip

COUPONS: Final[Mapping[str, Mapping[str, object]]] = {
    "WELCOME10": {"percent_off": 10},
    "FIVEOFF": {
        "amounts_off": {"usd": 500, "eur": 500, "gbp": 400, "jpy": 700},
        "minimum_minor": {"usd": 2000, "eur": 2000, "gbp": 1600, "jpy": 2800},
        "max_redemptions": 100,
    },
    "SUMMER24": {"percent_off": 20, "valid_until": datetime(2024, 9, 1, tzinfo=UTC).isoformat()},
}

HOME: Final = "US"
COUNTRIES: Final[Mapping[str, str]] = {
    "AT": "Austria",
    "CA": "Canada",
    "FR": "France",
    "DE": "Germany",
    "JP": "Japan",
    "GB": "United Kingdom",
    "US": "United States",
}

SHIPPING: Final[Mapping[str, Mapping[str, object]]] = {
    "post": {
        "name": "Post",
        "amounts": _prices(500, 490, 390, 700),
        "free_above": _prices(5000, 4900, 3900, 7000),
        "days_min": 3,
        "days_max": 5,
    },
    "express": {
        "name": "Express",
        "amounts": _prices(1500, 1400, 1200, 2200),
        "days_min": 1,
        "days_max": 2,
        "countries": ["AT", "DE", "FR", "GB", "US"],
    },
}


def _contained(usual: int, on_books: int) -> Sequence[Mapping[str, object]]:
    """Value added tax, which prices contain; rates in millionths."""
    vat: Mapping[str, object] = {"name": "VAT", "inclusive": True}
    books = {"rate_millionths": on_books, "tax_code": DOWNLOADED_BOOK}
    return ({**vat, "rate_millionths": usual}, {**vat, **books})


# Contained in the prices, or as in Canada on top of them. At home there is none.
TAX_RATES: Final[Mapping[str, Sequence[Mapping[str, object]]]] = {
    "AT": _contained(200_000, 100_000),
    "CA": ({"name": "GST", "rate_millionths": 50_000},),
    "DE": _contained(190_000, 70_000),
    "FR": _contained(200_000, 55_000),
    "GB": _contained(200_000, 0),
    "JP": ({"name": "Consumption tax", "rate_millionths": 100_000, "inclusive": True},),
}


async def seed(*, checkout_url: str, inventory_url: str, token: Callable[[], str]) -> None:
    """Put everything on sale. `token` gives an administrator's; repeating it restores names, prices and totals.

    Raises:
        RuntimeError: a service refused.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        for article in ARTICLES:
            product = {
                "name": article.name,
                "description": article.description,
                "image": article.image,
                "prices": dict(article.prices),
                "digital": article.digital,
                "tax_code": article.tax_code,
            }
            await _put(http, f"{checkout_url}/admin/products/{article.sku}", product, token())
            await _put(http, f"{inventory_url}/admin/stock/{article.sku}", {"total": article.stock}, token())
        for code, coupon in COUPONS.items():
            await _put(http, f"{checkout_url}/admin/coupons/{code}", coupon, token())
        for code, option in SHIPPING.items():
            await _put(http, f"{checkout_url}/admin/shipping-options/{code}", option, token())
        for country, rates in TAX_RATES.items():
            await _put(http, f"{checkout_url}/admin/tax-rates/{country}", {"rates": list(rates)}, token())


async def _put(http: aiohttp.ClientSession, url: str, body: Mapping[str, object], token: str) -> None:
    async with http.put(url, json=body, headers={"Authorization": f"Bearer {token}"}) as answer:
        if answer.status >= 300:
            raise RuntimeError(f"{url} answered {answer.status}: {await answer.text()}")
