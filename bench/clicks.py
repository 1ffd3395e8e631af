"""Which pages of the console people open who look for a dead letter, and how often which."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import asyncpg

from bench import orders
from bench.browsers import Click
from payments_shared.queries import parse_queries

LETTERS: Final = "/console/dead-letters"
LIST: Final = f"{LETTERS}/list"
SEARCH: Final = "/console/search"
# How many of a hundred clicks are of a kind.
WEIGHTS: Final = {
    "groups": 8,
    "groups of a service": 8,
    "messages of a group": 16,
    "messages of a group, deep": 6,
    "all messages": 6,
    "all messages, deep": 10,
    "of a service and a state": 8,
    "one message": 6,
    "story of an order": 8,
    "search: order": 8,
    "search: message": 6,
    "search: Stripe id": 8,
    "search: anything": 2,
}
TURNS: Final = 60
LEAVES: Final = 1_000  # dead letters between two places that somebody leafs to
_QUERIES: Final = parse_queries(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


async def drawn_from(owner: "orders.Owner[asyncpg.Record]") -> list[Click]:
    """Pages, each kind as often among them as `WEIGHTS` says."""
    ways = await owner.fetch(_QUERIES["ways"])
    places = await owner.fetch(_QUERIES["places"], LEAVES, None)
    largest = ways[0]
    leafed = await owner.fetch(_QUERIES["places"], LEAVES, largest["fingerprint"])
    letters = await owner.fetch(_QUERIES["some_letters"], TURNS * max(WEIGHTS.values()))
    made = {
        "groups": [Click("", LETTERS, "See them one by one")],
        "groups of a service": [
            _to(LETTERS, service, service=service) for service in sorted({w["service"] for w in ways})
        ],
        "messages of a group": [_of_way(way) for way in ways],
        "messages of a group, deep": [_of_way(largest, row) for row in leafed],
        "all messages": [_to(LIST, "Older ones")],
        "all messages, deep": [_to(LIST, "Last failed", before=_place(row)) for row in places],
        "of a service and a state": list(_of_states(ways, places)),
        "one message": [_to(f"{LETTERS}/{row['id']}", row["message_id"]) for row in letters],
        "story of an order": [_to(f"/console/orders/{row['correlation_id']}", "said by") for row in letters],
        "search: order": [
            _search(row["correlation_id"], f"/console/orders/{row['correlation_id']}") for row in letters
        ],
        "search: message": [_search(row["message_id"], f"{LETTERS}/{row['id']}") for row in letters],
        "search: Stripe id": [_search(row["intent"], row["correlation_id"]) for row in letters],
        "search: anything": [
            _search("the mug of last week", "names nothing"),
            _search("ada@example.com", "Nobody is found by an address"),
            _search("pi_3thereisnosuchthing00000", "stands nowhere"),
        ],
    }
    return list(_in_turns(made))


def _in_turns(made: dict[str, list[Click]]) -> Iterator[Click]:
    for kind, weight in WEIGHTS.items():
        for number in range(TURNS * weight):
            click = made[kind][number % len(made[kind])]
            yield Click(kind, click.path, click.shows)


def _to(path: str, shows: str, **query: str) -> Click:
    return Click("", f"{path}?{urlencode(query)}" if query else path, shows)


def _search(text: str, shows: str) -> Click:
    return _to(SEARCH, shows, q=text)


def _of_way(way: asyncpg.Record, place: asyncpg.Record | None = None) -> Click:
    query = {name: way[name] for name in ("service", "type", "fingerprint")}
    if place is None:
        return _to(LIST, way["type"], status="open", **query)
    return _to(LIST, way["type"], before=_place(place), **query)


def _of_states(ways: Sequence[asyncpg.Record], places: Sequence[asyncpg.Record]) -> Iterator[Click]:
    """Also of a state that few have, and at places far from those that have it."""
    states = ("open", "replaying", "resolved", "discarded")
    for number, place in enumerate(places):
        way = ways[number % len(ways)]
        query = {"service": way["service"], "status": states[number % len(states)], "archived": "any"}
        yield _to(LIST, "One by one", before=_place(place), **query) if number % 2 else _to(LIST, "One by one", **query)


def _place(row: asyncpg.Record) -> str:
    at: datetime = row["last_failed_at"]
    return f"{at.isoformat()}~{row['id']}"
