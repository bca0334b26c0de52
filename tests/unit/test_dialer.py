"""No address inside is reached by any spelling, and the address that is checked is the one that is connected to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from pegasus.adapters.guarded_dialer import GuardedDialer, is_public
from pegasus.errors import Invalid, Unavailable

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.255.0.9",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1",
    "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:db8::1", "2001:10::1",
    "2002:7f00:1::", "2002:a9fe:a9fe::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%lo", "fec0::1",
    "ff02::1", "ff0e::1", "5f00::1", "4000::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "192.169.0.1", "2606:4700:4700::1111",
          "2a00:1450:4001:80e::200e", "2001:4860:4860::8888"]  # fmt: skip
# Spellings of loopback, of the metadata service and of a home network that resolvers take for addresses.
SPELLINGS = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "0x7f.0.0.0x1",
    "0", "0x0", "169.254.43518", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "10.1", "192.168.257",
    "::1", "::ffff:127.0.0.1", "0:0:0:0:0:ffff:7f00:1", "::ffff:7f00:0001", "0:0:0:0:0:0:0:1", "fe80::1%lo",
    "localhost", "LOCALHOST", "localhost.",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_everybodys_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been connected to."""
    dialled: list[Any] = []

    def refuse(address: Any, **_: Any) -> socket.socket:
        dialled.append(address)
        raise ConnectionRefusedError("not in a test")

    monkeypatch.setattr(socket, "create_connection", refuse)
    return dialled


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_a_private_address_is_dialled(no_connections: list[Any], host: str) -> None:
    with pytest.raises((Invalid, Unavailable)):  # Unavailable: this resolver does not take it for an address.
        GuardedDialer([]).connect(host, 80, (80,), 1)
    assert no_connections == []


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Has each look-up give the next of the answers; the names that were looked up."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_that_resolves_otherwise_the_second_time_gains_nothing(
    monkeypatch: pytest.MonkeyPatch, no_connections: list[Any]
) -> None:
    asked = resolve_to(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    with pytest.raises(Unavailable):
        GuardedDialer([]).connect("rebinding.example", 80, (80,), 1)
    assert asked == ["rebinding.example"]
    assert no_connections == [("93.184.216.34", 80)]


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch, no_connections: list[Any]
) -> None:
    resolve_to(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(Invalid, match=r"10\.0\.0\.1"):
        GuardedDialer([]).connect("mixed.example", 80, (80,), 1)
    assert no_connections == []


@pytest.mark.parametrize("port", [22, 25, 6379, 8080, 9200])
def test_an_unusual_port_is_not_dialled(no_connections: list[Any], port: int) -> None:
    with pytest.raises(Invalid, match=str(port)):
        GuardedDialer([]).connect("93.184.216.34", port, (80, 443), 1)
    assert no_connections == []


def test_an_allowed_host_is_reached_at_its_port_only(no_connections: list[Any]) -> None:
    dialer = GuardedDialer(["127.0.0.1:8080", "[::1]:9000", "nas.home"])
    dialer.check("127.0.0.1", 8080, (80,))
    dialer.check("::1", 9000, (80,))
    for host, port in (("127.0.0.1", 80), ("127.0.0.1", 8081), ("::1", 80)):
        with pytest.raises(Invalid):
            dialer.check(host, port, (80,))


def test_an_allowed_name_without_a_port_is_reached_at_any(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["192.168.1.5"])
    GuardedDialer(["nas.home"]).check("NAS.home", 8080, (80,))
    with pytest.raises(Invalid):
        GuardedDialer(["nas.home"]).check("other.home", 80, (80,))


def test_a_name_without_an_address_may_have_one_later() -> None:
    with pytest.raises(Unavailable):
        GuardedDialer([]).check("no-such-host.invalid", 80, (80,))
