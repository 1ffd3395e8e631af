"""Orders, their facts, and what was said about them."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import TypeAdapter

from checkout.model.carts import Exchange, PricedLine, Quote, Redemption
from checkout.model.delivery import TaxSource
from checkout.model.facts import FACT_KINDS, Fact
from checkout.model.orders import Moment, Order, Patience, Saying, State, Step, Waiting
from checkout.model.splits import Leg, Split, Standing
from payments_shared import tracing
from payments_shared.postgres import Connection, fetch_as, fetch_one_as
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class History:
    """All facts of orders by their keys, in the order of their arrival, and the keys of what was said; `now` is the
    business clock's."""

    now: datetime
    facts: dict[UUID, dict[str, Fact]]
    said: dict[UUID, set[str]]


_FACTS: Mapping[type[Fact], TypeAdapter[Fact]] = {kind: TypeAdapter(kind) for kind in FACT_KINDS.values()}
_MEMBERS: Mapping[type, frozenset[str]] = {
    kind: frozenset(member.name for member in fields(kind)) for kind in (PricedLine, *FACT_KINDS.values())
}
_NOT_ON_EVERY_LINE: Final = ("parts", "digital", "digital_parts")
_NOT_ALWAYS: Final = (
    "presentment",
    "advice_code",
    "chosen_way",
    "by",
    "reason",
    "leg",
)  # the release before does not know these members of facts


async def business_now(connection: Connection) -> datetime:
    """The clock of deadlines."""
    now: datetime = await connection.fetchval(QUERIES["business_now"])
    return now


async def load_moment(connection: Connection) -> Moment:
    """The clock of deadlines, and whether new checkouts are stopped."""
    moment = await fetch_one_as(connection, Moment, QUERIES["load_moment"])
    assert moment is not None  # noqa: S101 - a SELECT without FROM always returns a row
    return moment


async def insert_order(
    connection: Connection,
    order_id: UUID,
    quote: Quote,
    *,
    email: str,
    customer_subject: str | None,
    locale: str,
    token_hash: bytes,
    stripe_request: Mapping[str, Any],  # Any: Stripe's parameters, nested
    expires_at: datetime,
    lease_seconds: float,
    recovered_from: UUID | None = None,
    saved_method: str | None = None,
    retry_seconds: Sequence[int] = (),
    split: Split | None = None,
) -> Order:
    """Save a new order, pending, with the exact request that will be sent to Stripe."""
    row = await connection.fetchrow(
        QUERIES["insert_order"],
        order_id,
        quote.currency,
        quote.subtotal_minor,
        quote.discount_minor,
        quote.total_minor,
        quote.coupon,
        [_line(line) for line in quote.lines],
        email,
        customer_subject,
        locale,
        token_hash,
        dict(stripe_request),
        expires_at,
        _exchange(quote.exchange),
        lease_seconds,
        recovered_from,
        quote.tax.added_minor,
        quote.shipping_minor,
        tax_kept(quote),
        shipping_kept(quote),
        saved_method,
        list(retry_seconds),
        quote.store_credit_minor,
        asdict(split) if split is not None else None,
        split is not None,
        tracing.kept(),
    )
    return _made(row)


def _line(line: PricedLine) -> dict[str, object]:
    """A line as it is stored. What not every line has is left out, for the release before that does not know it."""
    stored = asdict(line)
    return {name: value for name, value in stored.items() if value or name not in _NOT_ON_EVERY_LINE}


def tax_kept(quote: Quote) -> dict[str, object]:
    """What an order keeps of its tax, and of where its buyer is. `inclusive`: what Stripe finds is in the prices."""
    tax = quote.tax
    place = quote.wish.destination
    kept: dict[str, object] = {"source": tax.source.value, "inclusive": tax.inclusive}
    kept |= {"country": place.country, "region": place.region}
    if tax.source is not TaxSource.TABLE:
        return kept
    return kept | {
        "added_minor": tax.added_minor,
        "included_minor": tax.included_minor,
        "rates": [asdict(share) for share in tax.shares],
        "lines_minor": list(tax.lines_minor),
        "shipping_minor": tax.shipping_minor,
    }


def shipping_kept(quote: Quote) -> dict[str, object] | None:
    """What an order keeps of its way to the buyer; None where nothing is shipped."""
    if quote.delivery is None:
        return None
    first = quote.delivery.offers[0] if quote.delivery.offers else None
    found = {"option": first.code if first else None, "name": first.name if first else None}
    return {**found, "wanted": quote.wish.option}


def _dumped(fact: Fact) -> str:
    left_out = {name for name in _NOT_ALWAYS if getattr(fact, name, fact) is None}
    return _FACTS[type(fact)].dump_json(fact, exclude=left_out).decode()


def _exchange(exchange: Exchange | None) -> dict[str, str] | None:
    if exchange is None:
        return None
    day = exchange.day.isoformat()
    return {"base": exchange.base, "rate": str(exchange.rate), "day": day, "source": exchange.source}


async def load_order(connection: Connection, order_id: UUID) -> Order | None:
    """One order, not locked."""
    return _order(await connection.fetchrow(QUERIES["load_order"], order_id))


async def list_orders_of_customer(connection: Connection, customer: str, after: UUID | None, limit: int) -> list[Order]:
    """A customer's orders, the newest first, from the one after `after` on."""
    rows = await connection.fetch(QUERIES["list_orders_of_customer"], customer, after, limit)
    return [_made(row) for row in rows]


async def lock_order(connection: Connection, order_id: UUID) -> Order | None:
    """One order, locked until the transaction ends."""
    return _order(await connection.fetchrow(QUERIES["lock_order"], order_id))


async def lock_orders(connection: Connection, order_ids: Collection[UUID]) -> dict[UUID, Order]:
    """Those of `order_ids` that exist, locked in their order until the transaction ends."""
    rows = await connection.fetch(QUERIES["lock_orders"], list(order_ids))
    return {row["id"]: _made(row) for row in rows}


def read_as(kind: type[T], data: Mapping[str, Any]) -> T:  # Any: jsonb
    """What was stored, as far as this release knows it: the next one, which runs beside it for a while, keeps more."""
    known = _MEMBERS[kind]
    return kind(**(data if data.keys() <= known else {name: data[name] for name in data.keys() & known}))


def _order(row: Any) -> Order | None:  # Any: asyncpg.Record has untyped columns
    return None if row is None else _made(row)


def _made(row: Any) -> Order:  # Any: asyncpg.Record has untyped columns
    columns = dict(row.items())
    columns["state"] = State(columns["state"])
    columns["split"] = _split(columns["split"])
    columns["lines"] = tuple(read_as(PricedLine, line) for line in columns["lines"])
    return Order(**columns)


def _split(kept: Any) -> Split | None:  # Any: jsonb
    if kept is None:
        return None
    legs = (Leg(**{**leg, "standing": Standing(leg["standing"])}) for leg in kept["legs"])
    return Split(tuple(legs), kept["releasing"])


async def list_recoveries(connection: Connection, order_id: UUID) -> list[UUID]:
    """The orders that take up this one again, the oldest first."""
    return [row["id"] for row in await connection.fetch(QUERIES["list_recoveries"], order_id)]


async def find_orders(connection: Connection, session_ids: Collection[str], intents: Collection[str]) -> set[UUID]:
    """The orders that these sessions or intents are stored with."""
    rows = await connection.fetch(QUERIES["find_orders_by_stripe"], list(session_ids), list(intents))
    return {row["id"] for row in rows}


async def mark_session_asked(connection: Connection, order_id: UUID) -> datetime:
    """Remember that Stripe is asked for the order's session; since when, whoever asked first."""
    asked_at: datetime = await connection.fetchval(QUERIES["mark_session_asked"], order_id)
    return asked_at


async def store_session(connection: Connection, order_id: UUID, session_id: str, url: str | None) -> Order | None:
    """Fill the order's slot: the order, locked until the transaction ends; None when another session has its slot."""
    return _order(await connection.fetchrow(QUERIES["store_session"], order_id, session_id, url))


async def load_history(connection: Connection, order_ids: Collection[UUID]) -> History:
    """What is known of orders and what was said of them, at this moment of the business clock."""
    clock, *rows = await connection.fetch(QUERIES["load_history"], list(order_ids))
    history = History(clock["now"], {}, {})
    for row in rows:
        if row["kind"] is None:
            history.said.setdefault(row["order_id"], set()).add(row["key"])
        else:
            history.facts.setdefault(row["order_id"], {})[row["key"]] = read_as(FACT_KINDS[row["kind"]], row["data"])
    return history


async def save_ledger(
    connection: Connection,
    orders: Sequence[Order],
    *,
    facts: Sequence[tuple[UUID, Fact]],
    said: Sequence[Saying],
    steps: Sequence[Step],
    opened: Mapping[str, UUID],
    closed: Collection[UUID],
) -> None:
    """Save what facts and news changed of orders that are locked, all in the order given.

    `opened` are sessions by the orders that they are to be paid with; nothing is open any more to pay `closed` with.
    """
    await connection.execute(
        QUERIES["save_ledger"],
        [order.id for order in orders],
        [order.state for order in orders],
        [order.held_reason for order in orders],
        [order.held_until for order in orders],
        [order.dishonoured for order in orders],
        [order.tax_minor for order in orders],
        [order.shipping_minor for order in orders],
        [order.total_minor for order in orders],
        [order.stripe_session_id for order in orders],
        [order.stripe_payment_intent for order in orders],
        [order.paid_at for order in orders],
        [order.shipment_id for order in orders],
        [order.shipment_status for order in orders],
        [json.dumps(dict(order.refunds)) if order.refunds else "{}" for order in orders],
        [json.dumps(dict(order.presentment)) if order.presentment else None for order in orders],
        [order.version for order in orders],
        [order_id for order_id, _ in facts],
        [fact.key for _, fact in facts],
        [type(fact).__name__ for _, fact in facts],
        [_dumped(fact) for _, fact in facts],
        [saying.order_id for saying in said],
        [saying.key for saying in said],
        [saying.message_id for saying in said],
        [step.order_id for step in steps],
        [step.before for step in steps],
        [step.after for step in steps],
        list(opened),
        list(opened.values()),
        list(closed),
        [order.payment_problem for order in orders],
        [json.dumps(dict(order.shipping)) if order.shipping else None for order in orders],
        [json.dumps(dict(order.tax)) if order.tax else None for order in orders],
        [order.retry_attempt for order in orders],
        [order.retry_at for order in orders],
        [order.store_credit_state for order in orders],
        [json.dumps(asdict(order.split)) if order.split else None for order in orders],
        [order.split_open for order in orders],
        [order.digital_delivered_at for order in orders],
    )


async def lock_redemptions(connection: Connection, order_ids: Collection[UUID]) -> dict[UUID, Redemption]:
    """The orders' uses of their coupons, locked in the order of the orders until the transaction ends."""
    rows = await fetch_as(connection, Redemption, QUERIES["lock_redemptions"], list(order_ids))
    return {row.order_id: row for row in rows}


async def save_redemptions(connection: Connection, redemptions: Sequence[Redemption]) -> None:
    """Save uses that are locked."""
    await connection.execute(
        QUERIES["save_redemptions"],
        [redemption.order_id for redemption in redemptions],
        [redemption.state for redemption in redemptions],
    )


async def list_waiting(connection: Connection, patience: Patience, after: Waiting | None, limit: int) -> list[Waiting]:
    """Orders with a session or an intent of which nothing was heard for too long, from the one after `after` on."""
    place = (after.updated_at, after.id) if after else (None, None)
    seconds = (patience.wait_seconds, patience.processing_wait_seconds)
    return await fetch_as(connection, Waiting, QUERIES["list_waiting"], *seconds, *place, limit)


async def list_unfinished(connection: Connection) -> list[UUID]:
    """Orders that nobody works on and whose session or intent is not known, those that wait longest first."""
    return [row["id"] for row in await connection.fetch(QUERIES["list_unfinished"])]


async def list_open_splits(connection: Connection) -> list[UUID]:
    """Split payments that nobody works on and that are not at their end, those that wait longest first."""
    return [row["id"] for row in await connection.fetch(QUERIES["list_open_splits"])]


async def mark_leg(connection: Connection, order_id: UUID, leg: int, *, asked: bool) -> None:
    """Remember that Stripe is asked for the intent of a part, or that it was looked for and is not there."""
    await connection.execute(QUERIES["mark_leg"], order_id, str(leg), asked)


async def list_retries(connection: Connection) -> list[UUID]:
    """Orders whose saved method is to be charged again by now, those that nobody tried for longest first."""
    return [row["id"] for row in await connection.fetch(QUERIES["list_retries"])]


async def renew_leases(connection: Connection, order_ids: Sequence[UUID], lease_seconds: float) -> None:
    """The work on these orders goes on."""
    await connection.execute(QUERIES["renew_leases"], order_ids, lease_seconds)


async def lease_order(connection: Connection, order_id: UUID, lease_seconds: float) -> bool:
    """Take over one order; False while somebody else is at work on it."""
    return await connection.fetchrow(QUERIES["lease_order"], order_id, lease_seconds) is not None
