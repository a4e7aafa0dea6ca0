"""What an address leads to, and who may name it: over the whole of both families, and in every way of writing."""

from __future__ import annotations

import csv
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.addresses import CONFIGURED, Scope, carried_addresses, in_numbers, is_metadata_name, named_by, scope

V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
CLOUDS = {
    *("169.254.169.254", "169.254.170.2", "169.254.42.42", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "fe80::a9fe:a9fe"),
}


def registry() -> list[tuple[Any, str, str]]:
    file = Path(__file__).parent / "data" / "special_addresses.csv"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return [(ip_network(block), reachable, found) for block, reachable, found in csv.reader(lines)]


def in_blocks() -> st.SearchStrategy[tuple[Any, str, str]]:
    """An address of a block of the registry, of which no smaller block has another entry."""

    def address_of(row: tuple[Any, str, str]) -> st.SearchStrategy[tuple[Any, str, str]]:
        block, reachable, found = row
        offsets = st.integers(0, block.num_addresses - 1) | st.sampled_from([0, block.num_addresses - 1])
        return offsets.map(lambda offset: (block[offset], reachable, found)).filter(
            lambda one: smallest(one[0]) == block
        )

    return st.sampled_from(registry()).flatmap(address_of)


def smallest(address: Any) -> Any:
    held = [block for block, *_ in registry() if block.version == address.version and address in block]
    return max(held, key=lambda block: block.prefixlen)


@given(in_blocks())
def test_every_special_block_counts_as_the_registry_has_it(row: tuple[Any, str, str]) -> None:
    address, reachable, found = row
    if found == "carried":
        return  # below
    wanted = Scope[found]
    carried = carried_addresses(address) if address.version == 6 else ()
    assert scope(str(address)) == (Scope.GUARDED if str(address) in CLOUDS else max([wanted, *map(own, carried)]))
    if reachable == "no":
        assert wanted is not Scope.PUBLIC


def own(address: IPv4Address) -> Scope:
    return scope(str(address))


@given(V4 | V6)
def test_nothing_that_the_standard_library_knows_as_inside_is_public(address: Any) -> None:
    """Its tables are older or younger than ours, by the version of Python; ours may only be the stricter one."""
    anycast = any(
        address in block
        for block, reachable, _ in registry()
        if reachable == "yes" and block.version == address.version
    )
    gateway = address.version == 6 and carried_addresses(address)
    if not address.is_global and not anycast and not gateway:
        assert scope(str(address)) is not Scope.PUBLIC
    if address.is_link_local or address.is_multicast:
        assert scope(str(address)) is Scope.GUARDED
    if address.is_loopback:
        assert scope(str(address)) is Scope.LOOPBACK


@given(V4)
def test_usual_address_is_as_public_as_the_standard_library_has_it(address: IPv4Address) -> None:
    special = any(address in block for block, *_ in registry() if block.version == 4)
    if not special and not address.is_multicast and str(address) not in CLOUDS:
        assert scope(str(address)) is Scope.PUBLIC


CARRIERS = {
    "mapped": lambda v4: f"::ffff:{v4}",
    "mapped in hex": lambda v4: f"::ffff:{int(v4) >> 16:x}:{int(v4) & 0xFFFF:x}",
    "translated": lambda v4: f"::ffff:0:{v4}",
    "NAT64": lambda v4: f"64:ff9b::{v4}",
    "6to4": lambda v4: str(IPv6Address(0x2002 << 112 | int(v4) << 80 | 1)),
    "Teredo client": lambda v4: str(IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | int(v4) ^ 0xFFFFFFFF)),
    "Teredo server": lambda v4: str(IPv6Address(0x20010000 << 96 | int(v4) << 64 | 0x08080808 ^ 0xFFFFFFFF)),
    "ISATAP": lambda v4: str(IPv6Address(0x2A00_1450 << 96 | 0x5EFE << 32 | int(v4))),
    "ISATAP, global": lambda v4: str(IPv6Address(0x2A00_1450 << 96 | 0x0200_5EFE << 32 | int(v4))),
}


@given(V4 | st.sampled_from([IPv4Address(one) for one in CLOUDS if ":" not in one]), st.sampled_from(sorted(CARRIERS)))
def test_carrier_counts_as_what_it_carries(v4: IPv4Address, carrier: str) -> None:
    assert scope(CARRIERS[carrier](v4)) is scope(str(v4))


@given(V4.filter(lambda one: int(one) > 1))
def test_compatible_address_counts_as_what_it_carries(v4: IPv4Address) -> None:
    assert scope(f"::{v4}") is scope(str(v4))


@given(V4, st.sampled_from([48, 56, 64, 96]))
def test_gateway_of_a_network_of_its_own_is_never_public_and_leads_to_what_it_carries(
    v4: IPv4Address, length: int
) -> None:
    """RFC 6052 section 2.2: byte 8 stays empty."""
    raw = bytearray(IPv6Network("64:ff9b:1::/48").network_address.packed)
    place = length // 8
    for byte in v4.packed:
        place += place == 8
        raw[place] = byte
        place += 1
    found = scope(str(IPv6Address(bytes(raw))))
    assert found >= Scope.PRIVATE
    if 0 < v4.packed[0] < 224:
        assert found >= scope(str(v4))


@pytest.mark.parametrize("address", sorted(CLOUDS))
def test_metadata_services_are_guarded_from_what_any_server_names(address: str) -> None:
    assert scope(address) is Scope.GUARDED
    for server in (None, *Scope):
        for private_allowed in (False, True):
            assert not named_by(server, private_allowed).allows(address)
    assert CONFIGURED.allows(address)


@given(V4 | V6, V4 | V6)
def test_server_leads_no_farther_inside_than_it_is(server: Any, target: Any) -> None:
    policy = named_by(scope(str(server)))
    assert policy.allows(str(target)) == (scope(str(target)) <= min(scope(str(server)), policy.inmost))


def test_unknown_server_counts_as_a_public_one() -> None:
    assert named_by(None) == named_by(Scope.PUBLIC)
    assert not named_by(None).allows("10.0.0.1")


@given(V6.filter(lambda one: one in IPv6Network("fe80::/10")) | V6, st.sampled_from(["eth0", "1", "25eth0"]))
def test_zone_changes_nothing(address: IPv6Address, zone: str) -> None:
    assert scope(f"{address}%{zone}") is scope(str(address))


@given(V4, st.sampled_from(["decimal", "hex", "octal", "mixed", "two", "dot", "wide", "ideographic", "capital"]))
def test_every_spelling_of_an_address_is_found(v4: IPv4Address, way: str) -> None:
    number, parts = int(v4), list(v4.packed)
    spelled = {
        "decimal": str(number),
        "hex": f"0x{number:x}",
        "octal": ".".join(f"0{part:o}" for part in parts),
        "mixed": f"0x{parts[0]:X}.{parts[1]}.0{parts[2]:o}.{parts[3]}",
        "two": f"{parts[0]}.{number & 0xFFFFFF}",
        "dot": f"{v4}.",
        "wide": str(v4).translate({ord(str(digit)): 0xFF10 + digit for digit in range(10)}),
        "ideographic": str(v4).replace(".", "\u3002"),
        "capital": f"0X{number:X}",
    }[way]
    assert in_numbers(spelled) == str(v4)


@given(V6)
def test_brackets_case_and_zone_are_no_other_address(v6: IPv6Address) -> None:
    for spelled in (f"[{v6}]", str(v6).upper(), v6.exploded, f"[{v6}%25eth0]"):
        assert ip_address(in_numbers(spelled) or "") == v6


@pytest.mark.parametrize(
    "name", ["localhost", "10.example.com", "1.2.3.4.5", "deadbeef", "", ".", "a.1", "0x", "256.0.0.1.nip.io"]
)
def test_name_is_no_address(name: str) -> None:
    assert in_numbers(name) is None


def test_metadata_services_are_known_by_name_too() -> None:
    assert is_metadata_name("METADATA.google.internal.")
    assert not is_metadata_name("metadata.example.com")
