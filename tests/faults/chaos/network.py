"""The network between services and servers: some links go through a proxy that spoils what they carry."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psutil

from sandbox.services.deployment import Deployment
from tests.faults.chaos.plan import BROKER, POSTGRES, STRIPE, Fault, Kind, Link
from tests.faults.proxy import Blackhole, Delay, FaultProxy, SwallowAnswer, SwallowCommit, SwallowConfirm
from tests.faults.proxy.faults import Fault as Spoiling

VARIABLES: Final = {
    POSTGRES: "PAYMENTS_DATABASE_URL",
    BROKER: "PAYMENTS_AMQP_URL",
    STRIPE: "PAYMENTS_STRIPE_API_BASE",
}


@dataclass(frozen=True, slots=True)
class Network:
    """The links that go through a proxy."""

    proxies: Mapping[Link, FaultProxy]

    @classmethod
    @contextlib.contextmanager
    def of(cls, deployment: Deployment, links: tuple[Link, ...]) -> Iterator["Network"]:
        """A proxy for each of `links`, for as long as the block runs."""
        with contextlib.ExitStack() as opened:
            yield cls({link: opened.enter_context(FaultProxy(*_server(deployment, link))) for link in links})

    @property
    def cpu_seconds(self) -> float:
        """What the proxies have used so far."""
        used = [psutil.Process(proxy._child.pid).cpu_times() for proxy in self.proxies.values() if proxy._child]
        return sum(times.user + times.system for times in used)

    def environment(self, deployment: Deployment, service: str) -> dict[str, str]:
        """What makes a service go through its proxies."""
        return {
            VARIABLES[link.server]: _through(proxy, _url(deployment, link))
            for link, proxy in self.proxies.items()
            if link.service == service
        }


def _url(deployment: Deployment, link: Link) -> str:
    match link.server:
        case "postgres":
            return deployment.provisioned.database_urls[link.service]
        case "broker":
            return deployment.provisioned.amqp_urls[link.service]
        case _:
            return deployment.stripe_url


def _server(deployment: Deployment, link: Link) -> tuple[str, int]:
    parts = urlsplit(_url(deployment, link))
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def _through(proxy: FaultProxy, url: str) -> str:
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}{at}{proxy.address}"))


SPOILING: Final[Mapping[Kind, Callable[[int], Spoiling]]] = {
    Kind.NETWORK_SLOW: lambda seed: Delay(up_seconds=0.02, down_seconds=0.02, jitter_seconds=0.1, seed=seed),
    Kind.NETWORK_HOLE: lambda _: Blackhole(up=False, down=True),
    Kind.COMMIT_SWALLOWED: lambda seed: SwallowCommit(probability=0.1, seed=seed),
    Kind.CONFIRM_SWALLOWED: lambda seed: SwallowConfirm(probability=0.2, seed=seed),
    Kind.ANSWER_SWALLOWED: lambda seed: SwallowAnswer(probability=0.3, seed=seed),
}


def take_effect(proxy: FaultProxy, fault: Fault) -> Callable[[], int]:
    """Put the fault of a link in force; the result counts how often it struck since."""
    before = proxy.look()
    if fault.kind is Kind.NETWORK_CUT:
        return lambda: proxy.cut().cut - before.cut
    spoiling = SPOILING[fault.kind](fault.number)
    name = type(spoiling).__name__
    proxy.set(spoiling)
    return lambda: proxy.look().struck[name] - before.struck[name]
