"""What a running service counts, read where Prometheus reads it."""

from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Exposition:
    """The metrics at the internal port `url` of one service."""

    http: aiohttp.ClientSession
    url: str

    async def of(self, name: str, **labels: str) -> float:
        """The sum of the samples `name` with these labels, 0 when there is none."""
        async with self.http.get(f"{self.url}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
