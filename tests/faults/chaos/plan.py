"""Which faults strike, when and for how long: all of it follows from the seed.

Kinds are drawn like cards from a shuffled deck that is shuffled again when it is empty. So each is met as often as its
number of cards says, and a run that is long enough meets them all. The same goes for the targets of each kind.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from payments_shared.contracts.catalog import SERVICES

T = TypeVar("T")

POSTGRES: Final = "postgres"
BROKER: Final = "broker"
STRIPE: Final = "stripe"
EVERYTHING: Final = "servers and services"
WARM_UP_SECONDS: Final = 5.0
GAP_SECONDS: Final = (1.5, 4.0)
ANSWERS: Final = ("checkout/sessions", "coupons", "refunds")


class Kind(StrEnum):
    """A kind of fault; the value is what a report says."""

    KILL = "SIGKILL, start again"
    STOP = "SIGSTOP, SIGCONT"
    DEPLOY = "SIGTERM, start again"
    POWER_CUT = "SIGKILL of all at once, start again"
    BROKER_KILL = "broker SIGKILL, start again"
    BROKER_STOP = "broker SIGSTOP, SIGCONT"
    BROKER_CUT = "connections closed by the broker"
    BROKER_ALARM = "disk alarm at the broker"
    POSTGRES_RESTART = "PostgreSQL immediate restart"
    POSTGRES_STOP = "PostgreSQL SIGSTOP, SIGCONT"
    POSTGRES_CUT = "connections ended by PostgreSQL"
    STRIPE_429 = "Stripe answers 429"
    STRIPE_500 = "Stripe answers 500"
    STRIPE_CUT_BEFORE = "Stripe cut before the commit"
    STRIPE_CUT_AFTER = "Stripe cut after the commit"
    STRIPE_SLOW = "Stripe answers late"
    WEBHOOKS_DOUBLED = "webhooks duplicated"
    WEBHOOKS_SHUFFLED = "webhooks reordered"
    WEBHOOKS_LATE = "webhooks delayed"
    WEBHOOKS_DROPPED = "webhooks dropped"
    MAIL_REFUSED = "mails refused"
    MAIL_SWALLOWED = "mail server's replies swallowed"
    NETWORK_CUT = "network cut once"
    NETWORK_SLOW = "network slow"
    NETWORK_HOLE = "answers lost in the network"
    COMMIT_SWALLOWED = "replies to COMMIT swallowed"
    CONFIRM_SWALLOWED = "broker's confirms swallowed"
    ANSWER_SWALLOWED = "Stripe's answers swallowed"


@dataclass(frozen=True, slots=True)
class Link:
    """The network between a service and one of its servers."""

    service: str
    server: str

    def __str__(self) -> str:
        return f"{self.service} to {self.server}"


@dataclass(frozen=True, slots=True)
class Card:
    """How often a kind is in the deck, whom it may strike, and for how many seconds."""

    count: int
    targets: Sequence[str | Link]
    seconds: tuple[float, float] = (0.0, 0.0)


AT_STRIPE: Final = (Link("checkout", STRIPE), Link("refunds", STRIPE))


def links(seed: int) -> tuple[Link, ...]:
    """The links that can be spoiled in a run: those to Stripe, and two to each server, since a proxy costs time."""
    chance = random.Random(f"links {seed}")
    drawn = [Link(name, server) for server in (POSTGRES, BROKER) for name in chance.sample(SERVICES, 2)]
    return (*drawn, *AT_STRIPE)


def deck(seed: int) -> dict[Kind, Card]:
    """All cards of a run."""
    weak = links(seed)
    databases = [link for link in weak if link.server == POSTGRES]
    # Operations says next to nothing, and nothing is confirmed to it.
    brokers = [link for link in weak if link.server == BROKER and link.service != "operations"]
    return {
        Kind.KILL: Card(7, SERVICES, (0.0, 2.0)),
        Kind.STOP: Card(4, SERVICES, (2.0, 12.0)),
        Kind.DEPLOY: Card(2, SERVICES),
        Kind.POWER_CUT: Card(1, (EVERYTHING,), (0.0, 1.0)),
        Kind.BROKER_KILL: Card(1, (BROKER,), (0.0, 3.0)),
        Kind.BROKER_STOP: Card(1, (BROKER,), (3.0, 10.0)),
        Kind.BROKER_CUT: Card(2, SERVICES),
        Kind.BROKER_ALARM: Card(1, (BROKER,), (5.0, 12.0)),
        Kind.POSTGRES_RESTART: Card(1, (POSTGRES,), (0.0, 1.0)),
        Kind.POSTGRES_STOP: Card(1, (POSTGRES,), (2.0, 6.0)),
        Kind.POSTGRES_CUT: Card(2, SERVICES),
        Kind.STRIPE_429: Card(2, ANSWERS, (3.0, 8.0)),
        Kind.STRIPE_500: Card(2, ANSWERS, (3.0, 8.0)),
        Kind.STRIPE_CUT_BEFORE: Card(1, ANSWERS, (3.0, 8.0)),
        Kind.STRIPE_CUT_AFTER: Card(2, ANSWERS, (3.0, 8.0)),
        Kind.STRIPE_SLOW: Card(1, ANSWERS, (3.0, 8.0)),
        Kind.WEBHOOKS_DOUBLED: Card(1, ("webhooks",), (4.0, 10.0)),
        Kind.WEBHOOKS_SHUFFLED: Card(1, ("webhooks",), (4.0, 10.0)),
        Kind.WEBHOOKS_LATE: Card(1, ("webhooks",), (4.0, 10.0)),
        Kind.WEBHOOKS_DROPPED: Card(1, ("webhooks",), (2.0, 5.0)),
        Kind.MAIL_REFUSED: Card(1, ("mail server",), (3.0, 8.0)),
        Kind.MAIL_SWALLOWED: Card(1, ("mail server",), (3.0, 8.0)),
        Kind.NETWORK_CUT: Card(1, weak),
        Kind.NETWORK_SLOW: Card(1, weak, (3.0, 8.0)),
        Kind.NETWORK_HOLE: Card(1, weak, (3.0, 10.0)),
        Kind.COMMIT_SWALLOWED: Card(2, databases, (4.0, 10.0)),
        Kind.CONFIRM_SWALLOWED: Card(1, brokers, (4.0, 10.0)),
        Kind.ANSWER_SWALLOWED: Card(1, AT_STRIPE, (4.0, 10.0)),
    }


AFTERWARDS_SECONDS: Final = {BROKER: 12.0, POSTGRES: 5.0}  # until it can be struck again; a service takes six


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a run. `at` counts seconds from the first buyer; what it `takes` is struck by nothing else
    meanwhile."""

    number: int
    at: float
    kind: Kind
    target: str | Link
    seconds: float

    @property
    def whom(self) -> str:
        return str(self.target)

    @property
    def takes(self) -> tuple[str, ...]:
        """In the order in which to take them, the same for all."""
        match self.kind:
            case Kind.POWER_CUT:
                return (BROKER, POSTGRES, *SERVICES)
            case Kind.POSTGRES_CUT:
                return (POSTGRES, self.whom)
            case Kind.BROKER_CUT:
                return (BROKER, self.whom)
            case _ if self.target in ANSWERS:
                return ("answers",)  # the simulator disarms all or none
            case _:
                return (self.whom,)

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.kind}, {self.target}{lasting}"


def plan(seed: int, duration: float) -> tuple[Fault, ...]:
    """The faults of a run that lasts `duration` seconds, in the order in which they begin."""
    chance = random.Random(f"faults {seed}")
    cards = deck(seed)
    kinds = _dealt(chance, [kind for kind, card in cards.items() for _ in range(card.count)])
    targets = {kind: _dealt(chance, card.targets) for kind, card in cards.items()}
    free: dict[str, float] = {}
    drawn: list[Fault] = []
    at = WARM_UP_SECONDS
    for number, kind in enumerate(kinds, start=1):
        fault = Fault(number, at, kind, next(targets[kind]), round(chance.uniform(*cards[kind].seconds), 1))
        at = max([at, *(free.get(taken, 0.0) for taken in fault.takes)])
        if at + fault.seconds > duration:
            break
        drawn.append(Fault(number, round(at, 1), kind, fault.target, fault.seconds))
        for taken in fault.takes:
            free[taken] = at + fault.seconds + AFTERWARDS_SECONDS.get(taken, 6.0)
        at += chance.uniform(*GAP_SECONDS)
    return tuple(drawn)


def _dealt(chance: random.Random, cards: Sequence[T]) -> Iterator[T]:
    while True:
        yield from chance.sample(cards, len(cards))
