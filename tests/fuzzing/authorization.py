"""The target that reads what a server and its authorization server say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checker.probes.base import ProbeFailure, Request
from checker.probes.http import origin
from checker.probes.oauth.discovery import token_source
from checker.probes.oauth.options import OAuth

_ISSUER = "https://issuer.example.net"
_SERVER = "https://server.example.net/mcp"


class _Says:
    """A transport and the reply to everything that is asked over it: the same document."""

    def __init__(self, body: bytes) -> None:
        self._body, self.status, self.headers = body, 200, dict[str, str]()
        self.asked: list[str] = []

    def send(self, request: Request) -> _Says:
        self.asked.append(request.url)
        return self

    def read(self) -> bytes:
        return self._body

    def release(self) -> None:
        """Nothing is left."""


def metadata(data: bytes) -> None:
    """Whatever the metadata is: no endpoint but one of a trusted issuer, and nothing asked of anybody else."""
    ways: list[tuple[Mapping[str, Any], str | None]] = [({"issuer": _ISSUER}, None), ({}, None), ({}, _ISSUER)]
    for options, pinned in ways:
        says: Any = _Says(data)
        try:
            source = token_source(
                says, OAuth(client_id="checker", client_secret="s3cr3t", **options), _SERVER, {}, pinned
            )
        except ProbeFailure as failure:
            assert failure.detail
            assert failure.detail.isprintable()
            assert len(failure.detail) < 1000
        else:
            assert options or pinned, "nobody is trusted because a server names it"
            assert source.issuer is not None
            assert source.issuer.rstrip("/") == _ISSUER
            assert origin(source.token_url)[0] == "https"
            assert source.resource.startswith("https://server.example.net/")
        assert {origin(url) for url in says.asked} <= {origin(_ISSUER), origin(_SERVER)}
