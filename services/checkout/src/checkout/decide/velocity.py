"""When cards are tried too often. Pure."""

import hashlib
import hmac
import ipaddress
import math

from checkout.model.limits import Limit
from checkout.model.velocity import Block, Exceeded, Limits, Tally


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


def exceeded(limits: Limits, tally: Tally) -> tuple[Exceeded, ...]:
    """The limits that a decline has reached. Who tries many cards, or one too often, is held back as a buyer. An
    address is only where many cards or many declines came from it, since many people may share one."""
    buyer = tuple(one for one in (tally.email, tally.subject) if one is not None)
    place = (*buyer, tally.address) if tally.address is not None else ()
    found = (
        _reached(limits.declines_per_order, tally.order_declines, buyer),
        _reached(limits.declines_per_buyer, tally.buyer_declines, buyer),
        _reached(limits.cards_per_buyer, tally.buyer_cards, buyer),
        _reached(limits.declines_per_card, tally.card_declines if tally.card else 0, buyer),
        _reached(limits.declines_per_address, tally.address_declines if tally.address else 0, place),
        _reached(limits.cards_per_address, tally.address_cards if tally.address else 0, place),
    )
    return tuple(one for one in found if one is not None)


def _reached(limit: Limit | None, counted: int, marks: tuple[str, ...]) -> Exceeded | None:
    return Exceeded(limit, counted, marks) if limit is not None and counted >= limit.most else None


def wait_seconds(block: Block) -> int:
    """How long to wait for the end of a block."""
    return max(math.ceil(block.seconds_left), 1)
