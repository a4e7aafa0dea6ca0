"""The servers of the HTTP+SSE transport themselves: an endpoint first, then replies on the open stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urljoin, urlsplit

import pytest

from real_servers import SERVERS

SSE = [name for name, server in SERVERS.items() if server.path == "/sse"]
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


def events(stream: HTTPResponse) -> Iterator[tuple[str, str]]:
    """Name and data of the events on a stream."""
    name, data = "message", ""
    for line in stream:
        field, _, value = line.decode().rstrip("\r\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data += value
        elif not field and data:
            yield name, data
            name, data = "message", ""


def post(url: str, **message: object) -> int:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    path = url.partition(urlsplit(url).netloc)[2]
    connection.request("POST", path, json.dumps({"jsonrpc": "2.0", **message}), {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_there_are_servers_of_every_sdk() -> None:
    assert {"everything-sse", "python-1-sse", "python-2-sse", "mcp-proxy-sse"} <= set(SSE)


@pytest.mark.parametrize("name", SSE)
def test_sse_server_answers_on_the_stream(real_url: Callable[[str], str], name: str) -> None:
    url = real_url(name)
    assert post(url, id=1, method="initialize", params=HELLO) in (404, 405)
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("GET", "/sse", headers={"Accept": "text/event-stream"})
    stream = connection.getresponse()
    assert (stream.status, stream.getheader("Content-Type", "").partition(";")[0]) == (200, "text/event-stream")
    received = events(stream)
    first, where = next(received)
    assert first == "endpoint"
    where = urljoin(url, where)
    assert post(where, id=1, method="initialize", params=HELLO) == 202
    assert _reply(received, 1)["protocolVersion"] == "2025-11-25"
    assert post(where, method="notifications/initialized") == 202
    assert post(where, id=2, method="tools/list", params={}) == 202
    assert _reply(received, 2)["tools"]
    stream.close()
    connection.close()


def _reply(received: Iterator[tuple[str, str]], number: int) -> dict[str, object]:
    """The result with that id; what the server says or asks besides is passed over."""
    for name, data in received:
        message = json.loads(data)
        if name == "message" and message.get("id") == number and "result" in message:
            return dict(message["result"])
    raise AssertionError("the stream was closed without a reply")
