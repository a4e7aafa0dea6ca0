"""A plain address is taken apart quickly, to the same parts as any other."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.cache_keys import endpoint_key
from checker.probes.base import Address
from checker.probes.http import _PLAIN, http_address, origin, shown_endpoint
from checker.probes.rest import RestOptions

_PARTS = "http https :// h Shop 1.2.3.4 [::1] . - _ : 80 0443 70000 / health /v1 // ?key=a #x u:p@ hooks. 4f9a8c7d é"
PIECES = st.lists(st.sampled_from(_PARTS.split()), max_size=9).map("".join)
PLAIN = st.from_regex(re.compile(_PLAIN.pattern, _PLAIN.flags), fullmatch=True)


@given(PLAIN | PIECES.map("http://h".__add__) | PIECES)
def test_parts_of_an_address_are_those_of_the_usual_way(url: str) -> None:
    try:
        expected = Address(endpoint_key(url), shown_endpoint(url), origin(url))
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 # whatever it says
            http_address(RestOptions(url=url))
        return
    assert http_address(RestOptions(url=url)) == expected


def test_usual_addresses_are_plain() -> None:
    for url in ("http://127.0.0.1:8080/health", "https://shop.example/api/v1/health", "http://h"):
        assert _PLAIN.fullmatch(url)
    for url in ("http://u:p@h/", "http://h/?key=1", "http://H/", "http://h/4f9a8c7d2b", "http://h/#x", "http://[::1]/"):
        assert not _PLAIN.fullmatch(url)
