"""A feed of exchange rates."""

import asyncio
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import aiohttp
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from checkout.model.carts import Rates
from payments_shared.errors import Retryable
from payments_shared.money import SUPPORTED

FEED_TIMEOUT_SECONDS: Final = 20.0
FEED_BYTES_MAX: Final = 100_000
RATE_MIN: Final = Decimal("1e-9")

_CUBE: Final = "{http://www.ecb.int/vocabulary/2002-08-01/eurofxref}Cube"


@dataclass(frozen=True, slots=True)
class RateFeed:
    """The euro's reference rates, as the European Central Bank publishes them each working day.

    Source: ECB, "Euro foreign exchange reference rates", the daily XML.
    """

    http: aiohttp.ClientSession
    url: str

    async def fetch(self) -> Rates:
        """The newest rates.

        Raises:
            Retryable: no answer, or none that is rates.
        """
        try:
            async with asyncio.timeout(FEED_TIMEOUT_SECONDS), self.http.get(self.url) as answer:
                answer.raise_for_status()
                raw = b""
                async for chunk in answer.content.iter_any():
                    raw += chunk
                    if len(raw) > FEED_BYTES_MAX:
                        break
            return _rates(raw, urlsplit(self.url).hostname or "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retryable("rates_unavailable", "Exchange rates could not be fetched.") from error
        except (ValueError, LookupError, ArithmeticError, ET.ParseError, DefusedXmlException) as error:
            raise Retryable("rates_unavailable", "What was fetched is no exchange rates.") from error


def _rates(raw: bytes, source: str) -> Rates:
    """Rates from the daily XML: `<Cube time="2026-05-01"><Cube currency="USD" rate="1.0832"/>…`."""
    if len(raw) > FEED_BYTES_MAX:
        raise ValueError("too long")
    root = fromstring(raw)
    days = [cube for cube in root.iter(_CUBE) if "time" in cube.attrib]
    if len(days) != 1:
        raise ValueError("not the rates of one day")
    per_euro = {cube.attrib["currency"].lower(): Decimal(cube.attrib["rate"]) for cube in days[0] if cube.tag == _CUBE}
    if not per_euro or not all(rate.is_finite() and RATE_MIN < rate < 1 / RATE_MIN for rate in per_euro.values()):
        raise ValueError("a rate is no rate")
    day = date.fromisoformat(days[0].attrib["time"])
    return Rates(day, source, {currency: rate for currency, rate in per_euro.items() if currency in SUPPORTED})
