"""Every target by its name, with words that its inputs are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

CORPUS = Path(__file__).resolve().parent.parent / "data" / "corpus"
"""A folder for each target: seeds made from real replies, and what was found before."""
LONGEST_S = 1.0
"""CPU time that an input may take; inputs have at most `LARGEST` bytes."""
LARGEST = 65_536


class TooSlow(AssertionError):
    """An input takes longer than it may."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed."""

    where: str
    """Module and function, which takes bytes and raises what must not be raised; imported when it is called first."""
    modules: tuple[str, ...]
    """Where coverage is looked at."""
    words: tuple[bytes, ...] = ()
    """What inputs are made of, besides pieces of the corpus."""

    def __call__(self, data: bytes) -> None:
        """Run it; raises `TooSlow` past its time, and whatever must not be raised."""
        module, _, name = self.where.partition(":")
        run = getattr(import_module(module), name)
        if _took_s(run, data) > LONGEST_S and (again_s := _took_s(run, data)) > LONGEST_S:
            raise TooSlow(f"{len(data)} bytes took {again_s:.1f} s")  # twice: what is made once is not its fault


def _took_s(run: Callable[[bytes], None], data: bytes) -> float:
    start = time.process_time()
    run(data)
    return time.process_time() - start


_JSON = (b'{"', b'":', b"[", b"]", b"}", b"null", b"true", b"1e999", b"-0", b'"\\ud800"', b"18446744073709551616")

TARGETS: dict[str, Target] = {
    "http": Target(
        "fuzzing.servers:http_response",
        ("checker.worker.transport",),
        (b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: ", b"\r\n\r\n", b"\n", b"\r"),
    ),
    "event_stream": Target(
        "fuzzing.servers:event_stream",
        ("checker.probes.mcp",),
        (b"data:", b"event:", b"id:", b"retry:", b"\r", b"\n\n", b"\0"),
    ),
    "json_rpc": Target(
        "fuzzing.servers:json_rpc",
        ("checker.probes.mcp",),
        (*_JSON, b'"jsonrpc":"2.0"', b'"id":1', b'"result":{}', b'"error":{"code":1,"message":"x"}', b'"method":"a"'),
    ),
    "reply": Target("fuzzing.servers:reply", ("checker.worker.transport", "checker.probes.mcp")),
    "challenges": Target(
        "fuzzing.servers:challenges",
        ("checker.probes.http",),
        (b"Bearer ", b'="', b'\\"', b"scope=", b",", b"expired"),
    ),
    "metadata": Target(
        "fuzzing.authorization:metadata",
        ("checker.probes.oauth",),
        (
            *_JSON,
            b'"issuer"',
            b'"token_endpoint"',
            b'"resource"',
            b'"authorization_servers"',
            b"https://",
            b"http://[::1",
        ),
    ),
    "configuration": Target(
        "fuzzing.documents:configuration",
        ("checker.settings",),
        (b"servers:\n", b"- name: a\n", b"  rest: ", b"&a ", b"*a", b"<<: ", b"${", b"}", b"!!", b"? ", b"|\n", b"\t"),
    ),
    "imported": Target(
        "fuzzing.documents:imported",
        ("checker.importers",),
        (
            *_JSON,
            b'"mcpServers"',
            b'"command"',
            b'"url"',
            b'"env"',
            b'"headers"',
            b"${",
            b"//",
            b"/*",
            b"[mcp_servers.a]\n",
        ),
    ),
    "foreign": Target(
        "documents_read:foreign",
        ("checker.importers",),
        (*_JSON, b'"mcpServers"', b'"command"', b'"url"', b'"headers"', b"${TOKEN}", b"${A:-b}", b"://", b"@"),
    ),
    "question": Target(
        "fuzzing.documents:question",
        ("storage.sql", "storage.sql", "storage.sql"),
        (
            b"select ",
            b" from ",
            b"with ",
            b";",
            b"pragma ",
            b"attach ",
            b"insert into ",
            b"--",
            b"/*",
            b"'",
            b"zeroblob(",
        ),
    ),
    "contract": Target(
        "fuzzing.documents:contract", ("checker.contract",), (*_JSON, b'"tools"', b'"$ref"', b'"allOf"', b"\n")
    ),
    "shown_text": Target(
        "fuzzing.sinks:shown_text",
        ("checker.untrusted_text",),
        (
            b"\x1b[",
            b"\xc2\x9b",
            b"\xe2\x80\xae",
            b"=cmd|",
            b"<b>",
            b"](",
            b"`",
            b"[red]",
            b"\r\n",
            b"\xe2\x80\x8d",
            b"\xf0\x9f\x91\xa9",
        ),
    ),
}
"""Name -> target."""


def corpus(name: str) -> list[bytes]:
    """The inputs that are kept of a target, in the order of their names."""
    return [file.read_bytes() for file in sorted((CORPUS / name).glob("*"))]
