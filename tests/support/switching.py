"""Turning a switch of a service, as operators do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.one_service import OneService

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch at the internal port of a service."""

    service: OneService
    http: aiohttp.ClientSession
    name: str

    @property
    def url(self) -> str:
        return f"{self.service.url}/admin/switches/{self.name}"

    async def call(self, method: str, body: Json | None = None, headers: Mapping[str, str] | None = None) -> Json:
        """The answer with its status."""
        async with self.http.request(method, self.url, json=body, headers=headers or self._olga()) as answer:
            return {**await answer.json(), "status": answer.status}

    async def stop(self, reason: str = "a rule is wrong") -> Json:
        """It is stopped by an operator."""
        return await self.call("PUT", {"state": "stopped", "reason": reason})

    async def open(self) -> Json:
        """It is opened by an operator."""
        return await self.call("PUT", {"state": "open"})

    def _olga(self) -> Mapping[str, str]:
        return self.service.person("operator", subject="olga")


async def obeys_its_battery(switch: Switch) -> None:
    """Who may turn it, what a turn must say, and that its history only grows."""
    assert (await switch.call("GET"))["state"] == "open", "one that nobody turned, or that was opened"
    for body, pointer in (
        ({"state": "stopped"}, ""),
        ({"state": "stopped", "reason": "  "}, "/reason"),
        ({"state": "closed", "reason": "because"}, "/state"),
        ({"state": "open", "until": "tomorrow"}, "/until"),
    ):
        refused = await switch.call("PUT", body)
        assert (refused["status"], [one["pointer"] for one in refused["errors"]]) == (422, [pointer]), body
    wanted = {"state": "stopped", "reason": "may I"}
    for role, looking, turning in (
        ("viewer", 200, 403), ("support", 200, 403), ("approver", 200, 403), ("customer", 403, 403),
    ):  # fmt: skip
        person = switch.service.person(role)
        assert (await switch.call("GET", headers=person))["status"] == looking
        assert (await switch.call("PUT", wanted, person))["status"] == turning
    before = (await switch.call("GET"))["turns"]

    stopped, again = await switch.stop("  it is wrong "), await switch.stop("another reason")

    assert [len(one["turns"]) for one in (stopped, again)] == [min(len(before) + 1, 20)] * 2
    last = again["turns"][0]
    assert (again["state"], last["actor"], last["reason"]) == ("stopped", "olga", "it is wrong")
    assert (await switch.open())["state"] == "open"
    url = switch.service.deployment.provisioned.database_urls[switch.service.name]
    service = await asyncpg.connect(url)
    try:
        for change in ("UPDATE", "DELETE FROM"):
            to = " SET actor = 'me'" if change == "UPDATE" else ""
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(f"{change} {switch.service.schema}.switch_turns{to}")
    finally:
        await service.close()
