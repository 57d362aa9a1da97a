"""Which network addresses are public, which are private, and which are never for a task.

`ipaddress.is_global` is not enough: Python 3.11 calls public what is NAT64 or 6to4 of a loopback address.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final


class Reach(Enum):
    """Who may be spoken to."""

    PUBLIC = "public"
    PRIVATE = "private"
    """Loopback and local networks: only where settings allow them."""
    FORBIDDEN = "forbidden"
    """Link-local (cloud metadata), multicast, reserved, and tunnels whose end nobody can check."""


_PRIVATE_4: Final = tuple(
    IPv4Network(network)
    for network in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
_FORBIDDEN_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this host": Linux connects to loopback
        "169.254.0.0/16",  # link-local, with the clouds' metadata
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_PRIVATE_6: Final = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))
_GLOBAL_6: Final = IPv6Network("2000::/3")
"""All that is assigned for unicast; whatever is outside of it is not public."""
_FORBIDDEN_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, with Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


def reach(address: str) -> Reach:
    """Returns who is behind an address as the resolver gives it. Raises `ValueError` if it is none."""
    parsed = ip_address(address)
    return _reach_4(parsed) if isinstance(parsed, IPv4Address) else _reach_6(parsed)


def _reach_4(address: IPv4Address) -> Reach:
    """Returns who is behind an IPv4 address."""
    if any(address in network for network in _FORBIDDEN_4):
        return Reach.FORBIDDEN
    return Reach.PRIVATE if any(address in network for network in _PRIVATE_4) else Reach.PUBLIC


def _reach_6(address: IPv6Address) -> Reach:
    """Returns who is behind an IPv6 address; where an IPv4 address is inside, that one counts."""
    if address.scope_id is not None:
        return Reach.FORBIDDEN
    if address.ipv4_mapped is not None:
        return _reach_4(address.ipv4_mapped)
    if address in _NAT64:
        return _reach_4(IPv4Address(int(address) & 0xFFFFFFFF))
    if any(address in network for network in _PRIVATE_6):
        return Reach.PRIVATE
    if address not in _GLOBAL_6 or any(address in network for network in _FORBIDDEN_6):
        return Reach.FORBIDDEN
    return Reach.PUBLIC
