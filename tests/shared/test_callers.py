"""Who asks is known by his address, and by what proxies say only where they are ours."""

from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from payments_shared.http import address_of, caller_of

OURS = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "caller"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # a stranger says anything
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.1, 198.51.100.1"], "198.51.100.1"),  # what stood there before our proxy wrote
        ("10.0.0.1", ["192.0.2.1", "198.51.100.1"], "198.51.100.1"),  # two headers are one list
        ("10.0.0.1", ["192.0.2.1, 198.51.100.1, 10.0.0.9"], "198.51.100.1"),  # two proxies of ours
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),  # everybody is ours: the farthest
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["", " , "], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1, 198.51.100.1:8080"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),  # IPv4 over a socket of IPv6
        ("fd00::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),  # whoever has one of these has all
        ("2001:db8:1:2:ffff::1", ["10.0.0.1"], "2001:db8:1:2::/64"),
        (None, ["198.51.100.1"], "unknown"),
        ("", [], "unknown"),
    ],
)
def test_the_farthest_address_that_one_of_ours_has_seen(
    peer: str | None, forwarded_for: Sequence[str], caller: str
) -> None:
    assert caller_of(peer, forwarded_for, OURS) == caller


def test_nobody_is_ours_by_default() -> None:
    assert caller_of("10.0.0.1", ["198.51.100.1"], []) == "10.0.0.1"


def test_the_whole_address_is_told_where_it_has_to_prove_something() -> None:
    assert str(address_of("fd00::1", ["2001:db8:1:2:3:4:5:6"], OURS)) == "2001:db8:1:2:3:4:5:6"
    assert str(address_of("203.0.113.7", ["198.51.100.1"], OURS)) == "203.0.113.7"
    assert address_of(None, ["198.51.100.1"], OURS) is None
