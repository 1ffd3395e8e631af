"""When cards are tried too often. Pure."""

import hashlib
import hmac
import ipaddress
import math
from collections.abc import Iterable

from checkout.model.limits import Limit
from checkout.model.velocity import Block, Exceeded, Limits, Openings, Tally


def mark(secret: bytes, kind: str, value: str) -> str:
    """What only we can make of `value`: the same for the same one."""
    return hmac.new(secret, f"velocity\x1f{kind}\x1f{value}".encode(), hashlib.sha256).hexdigest()


def is_buyers(address: str) -> bool:
    """Whether an address, or an IPv6 network, can be a buyer's own. One that is not public is that of a proxy which
    nobody named, or of a house of ours: all buyers would be one."""
    try:
        return ipaddress.ip_network(address).is_global
    except ValueError:
        return False


def buyer_of(email: str | None, subject: str | None, address: str | None) -> str | None:
    """The mark of a buyer, made of marks: who is signed in is himself, whatever he and others type; a guest is an
    e-mail address at one address, so that nobody else can have him held back. None: nothing tells him from others."""
    if subject is not None:
        return subject
    return f"{email}+{address}" if email is not None and address is not None else None


def exceeded(limits: Limits, tally: Tally) -> tuple[Exceeded, ...]:
    """The limits that a decline has reached. Who tries many cards, or one too often, is held back as a buyer, and his
    page is closed. Limits by address hold back the address, for what guests do there: many people may share one, and
    none of them loses his page for it."""
    one = buyer_of(tally.email, tally.subject, tally.address)
    buyer = (one,) if one is not None else ()
    place = (tally.address,) if tally.address is not None and tally.subject is None else ()
    found = (
        _reached(limits.declines_per_order, tally.order_declines, buyer),
        _reached(limits.declines_per_buyer, tally.buyer_declines, buyer),
        _reached(limits.cards_per_buyer, tally.buyer_cards, buyer),
        _reached(limits.declines_per_card, tally.card_declines if tally.card else 0, buyer),
        _reached(limits.declines_per_address, tally.address_declines if place else 0, place, own=False),
        _reached(limits.cards_per_address, tally.address_cards if place else 0, place, own=False),
    )
    return tuple(one for one in found if one is not None)


def _reached(limit: Limit | None, counted: int, marks: tuple[str, ...], *, own: bool = True) -> Exceeded | None:
    return Exceeded(limit, counted, marks, own) if limit is not None and counted >= limit.most else None


def has_room(limits: Openings, *, of_buyer: int, of_address: int = 0) -> bool:
    """Whether one more order may be opened beside those that are open."""
    return not (
        (limits.per_customer and of_buyer >= limits.per_customer)
        or (limits.per_address and of_address >= limits.per_address)
    )


def longest(blocks: Iterable[Block]) -> Block | None:
    """The block that lasts longest."""
    return max(blocks, key=lambda block: block.seconds_left, default=None)


def wait_seconds(block: Block) -> int:
    """How long to wait for the end of a block."""
    return max(math.ceil(block.seconds_left), 1)
