"""Connects to hosts that people name, and keeps what they name from leading into the private network.

The name is resolved once and the connection goes to the address that was checked: a name that resolves differently the
next time (DNS rebinding) gains nothing. Spellings of addresses (0x7f.1, 2130706433) are what they resolve to.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Sequence

from pegasus.errors import Invalid, Unavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Of IPv6 only what is assigned to hosts. All that wraps an IPv4 address is outside of it or cut out of it: mapped
# (::ffff:0:0/96), NAT64 (64:ff9b::/96), Teredo and its neighbours (2001::/23), 6to4 (2002::/16).
_UNICAST = ipaddress.IPv6Network("2000::/3")
_CUT_OUT = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# 6to4's relays, which is_global counts in, and AS112, which answers for private names.
_CUT_OUT_4 = tuple(map(ipaddress.IPv4Network, ("192.88.99.0/24", "192.31.196.0/24", "192.175.48.0/24")))


class GuardedDialer:
    def __init__(self, allowed_hosts: Sequence[str]) -> None:
        """``allowed_hosts``: "name" or "name:port", reached whatever their addresses are."""
        self._allowed = {host.lower() for host in allowed_hosts}

    def check(self, host: str, port: int, usual_ports: Collection[int]) -> None:
        self._addresses(host, port, usual_ports)

    def connect(self, host: str, port: int, usual_ports: Collection[int], timeout_seconds: float) -> socket.socket:
        failure: OSError | None = None
        for address in self._addresses(host, port, usual_ports):
            try:
                return socket.create_connection((address, port), timeout=timeout_seconds)
            except OSError as error:
                failure = error
        raise Unavailable(f"{host}:{port} cannot be reached: {failure}.", hint="Try again later.") from failure

    def _addresses(self, host: str, port: int, usual_ports: Collection[int]) -> list[str]:
        allowed = self._is_allowed(host, port)
        if not allowed and port not in usual_ports:
            raise Invalid(
                f"{host}:{port} is not fetched from: the port is not one of {', '.join(map(str, usual_ports))}.",
                hint="The operator may allow it with PEGASUS_FETCH_ALLOWED_HOSTS.",
            )
        addresses = _resolved(host, port)
        refused = [address for address in addresses if not is_public(address)]
        if refused and not allowed:
            raise Invalid(
                f"{host} is not fetched from: its address {refused[0]} is not a public one.",
                hint="The operator may allow it with PEGASUS_FETCH_ALLOWED_HOSTS.",
            )
        return addresses

    def _is_allowed(self, host: str, port: int) -> bool:
        name = host.lower()
        return name in self._allowed or f"{name}:{port}" in self._allowed or f"[{name}]:{port}" in self._allowed


def _resolved(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"{host} has no address: {error}.", hint="Check the name.") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(value: str) -> bool:
    """Whether an address is one that anybody on the internet can reach, and of a single host."""
    try:
        address: Address = ipaddress.ip_address(value)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return address.is_global and address in _UNICAST and not any(address in network for network in _CUT_OUT)
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved)
        and not any(address in network for network in _CUT_OUT_4)
    )
