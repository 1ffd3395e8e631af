"""Exchange rates as the European Central Bank publishes them: the newest that this machine has, dated today.

They come with a package and are as old as it; a shop that is being built sells by the day of its clock all the same.
"""

from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import quoteattr

from aiohttp import web
from currency_converter import CurrencyConverter

from sandbox.stripe.store import Store

_ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01"
    xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
<gesmes:subject>Reference rates</gesmes:subject>
<Cube><Cube time={day}>{rates}</Cube></Cube>
</gesmes:Envelope>
"""


class Rates:
    """The feed, and how many days ago it stopped."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._days_old = 0
        converter = CurrencyConverter(decimal=True)
        self._per_euro = {
            currency: converter.convert(1, "EUR", currency)
            for currency in sorted(converter.currencies)
            if currency != "EUR" and converter.bounds[currency].last_date == converter.bounds["USD"].last_date
        }

    async def daily(self, _: web.Request) -> web.Response:
        """The daily XML."""
        day = (datetime.fromtimestamp(self._store.now(), UTC) - timedelta(days=self._days_old)).date().isoformat()
        rates = "".join(
            f"<Cube currency={quoteattr(currency)} rate={quoteattr(str(rate))}/>"
            for currency, rate in self._per_euro.items()
        )
        body = _ENVELOPE.format(day=quoteattr(day), rates=rates)
        return web.Response(text=body, content_type="text/xml")

    async def age(self, request: web.Request) -> web.Response:
        """Publish nothing newer than `days_old` days from now on."""
        self._days_old = int((await request.json())["days_old"])
        return web.json_response({"days_old": self._days_old})


def routes(store: Store) -> list[web.RouteDef]:
    """The feed and its control."""
    rates = Rates(store)
    return [
        web.get("/_sim/rates/eurofxref-daily.xml", rates.daily),
        web.post("/_sim/rates", rates.age),
    ]
