"""Who asks, by his address, also behind proxies."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
IPV6_PREFIX = 64  # what one subscriber has at least; within it he may take any address


def caller_of(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address of who asks, or for IPv6 the network that is surely his; `unknown` where `address_of` knows none."""
    address = address_of(peer, forwarded_for, trusted)
    if address is None:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address) >> 64 << 64, IPV6_PREFIX)))
    return str(address)


def address_of(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """The whole address of who asks; None where the peer has none.

    `forwarded_for` are the X-Forwarded-For headers. Each proxy writes the address of its own peer at their end, and
    what stands before that anybody may have written: from the end on they are believed as long as those who wrote them
    are in `trusted`.
    """
    address = _parsed(peer or "")
    if address is None:
        return None
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    while hops and any(address in network for network in trusted):
        before = _parsed(hops.pop())
        if before is None:
            break
        address = before
    return address


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
