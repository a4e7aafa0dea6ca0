"""A contract that came in an earlier run: where the bytes are the same, it is neither read nor judged again.

Kept of a contract are SHA-256 digests of the results that it came in and what a row says of it. So the same bytes get
the same row, and no two texts that a server can find are taken for each other. Only what is usual is kept: a contract
with a fault or an oddity, and one in which a secret of the probe may be, is read and judged in every run. Like every
remembered fact it expires after a day; then it is judged anew.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from msgspec.structs import replace

from checker.contract.canonical_form import Contract, tokens_of
from checker.model import McpFacts
from checker.probes.mcp.known_replies import may_hold_secret
from checker.secrets.known_secrets import current
from checker.version import VERSION

CONTRACT_DIGEST = "mcp_contract_digest"
"""Cache category: the digest of the contract that an endpoint had last."""
CONTRACT_SOURCE = "mcp_contract_source"
"""Cache category: digests of the bytes that this contract came in, and what a row says of it."""
JUDGEMENT = 1
"""Raised with every change of what is judged or stored of a contract between two versions of the program."""
_MOST_PAGES = 32
"""Pages of all lists together; a contract of more is not kept."""
_GOES_ON = "+"
"""Ends the digest of a page that another one follows: it has to be read for its cursor."""
_FIXED = 3
"""What stands before the pages: seal, figures, digest of the tool list."""


class KnownFacts(NamedTuple):
    """What a row says of a contract."""

    digest: str
    counts: tuple[int | None, ...]
    """Of tools, resources, templates and prompts."""
    tools_bytes: int | None
    tools_digest: str | None
    source: str
    """The value under `CONTRACT_SOURCE`."""

    def added_to(self, facts: McpFacts) -> McpFacts:
        """The facts of the server with those of its contract."""
        tools, resources, templates, prompts = self.counts
        return replace(
            facts,
            tool_count=tools,
            resource_count=resources,
            template_count=templates,
            prompt_count=prompts,
            tools_bytes=self.tools_bytes,
            tools_tokens=None if self.tools_bytes is None else tokens_of(self.tools_bytes),
            tools_digest=self.tools_digest,
            contract_digest=self.digest,
        )


class EarlierContract:
    """What is known of an endpoint's contract, and how much of it has come again in this attempt."""

    __slots__ = ("_at", "_came", "_digest", "_figures", "_is_awaited", "_pages", "_seal", "_tools", "_value")

    def __init__(self, digest: str, value: str) -> None:
        """``digest`` is that of the contract, ``value`` what is kept under `CONTRACT_SOURCE`."""
        self._seal, self._figures, self._tools, *self._pages = value.split(" ")
        self._digest, self._value = digest, value
        self.begin()

    @classmethod
    def of(cls, memory: Mapping[str, str]) -> EarlierContract | None:
        """The contract in the remembered facts about an endpoint; None if there is none, or not all that it takes."""
        digest, value = memory.get(CONTRACT_DIGEST), memory.get(CONTRACT_SOURCE)
        if digest is None or value is None or value.count(" ") < _FIXED:
            return None
        return cls(digest, value)

    def begin(self) -> None:
        """Nothing of it has come yet."""
        self._at, self._came, self._is_awaited = 0, b"", False

    def expect(self) -> None:
        """The next page is asked for."""
        self._is_awaited = self._at < len(self._pages)

    def needs_no_reading(self, result: bytes) -> bool:
        """True if the text of a result is the page that is awaited, and no page follows it."""
        if not self._is_awaited:
            return False
        page = self._pages[self._at]
        if _digest_of(result) != page.removesuffix(_GOES_ON):
            return False
        self._is_awaited, self._came = False, result
        return page[-1] != _GOES_ON

    def take(self, result: bytes) -> None:
        """A page has come, from this text: the very one that `needs_no_reading` was asked about, or another."""
        self._is_awaited = False
        if self._came and self._came is result:
            self._at, self._came = self._at + 1, b""
        else:
            self._at = len(self._pages) + 1  # what comes now is another contract

    def recognised(
        self, sources: Sequence[bytes] | None, expected: tuple[str, ...], facts: McpFacts
    ) -> KnownFacts | None:
        """What a row says, if the contract is the same in each byte, and judged by the same measure; else None.

        No more pages are awaited: what comes now is something else.
        """
        self._is_awaited = False
        if sources is None or self._at != len(self._pages) or _may_hold_secret(sources):
            return None
        if self._seal != _seal(self._digest, self._value, sources, expected, facts):
            return None
        *counts, tools_bytes = [int(figure) if figure else None for figure in self._figures.split(",")]
        return KnownFacts(self._digest, tuple(counts), tools_bytes, self._tools or None, self._value)


def source_value(
    contract: Contract, sources: Sequence[bytes], expected: tuple[str, ...], facts: McpFacts
) -> str | None:
    """What to keep of a contract without a fault that came in these texts; None if they are too many.

    ``sources`` are the result of the first request, then each list: its name, and its pages.
    """
    after = [*sources[2:], b""]
    pages = [
        _digest_of(text) + (_GOES_ON if _is_page(after[place]) else "")
        for place, text in enumerate(sources[1:])
        if _is_page(text)
    ]
    if not 0 < len(pages) <= _MOST_PAGES:
        return None
    figures = (
        *(contract.tool_count, contract.resource_count, contract.template_count, contract.prompt_count),
        contract.tools_bytes,
    )
    said = ",".join(["" if one is None else str(one) for one in figures])
    value = " ".join(["", said, contract.tools_digest or "", *pages])
    return _seal(contract.digest, value, sources, expected, facts) + value


def _may_hold_secret(sources: Sequence[bytes]) -> bool:
    return current().masks_anything and any(map(may_hold_secret, sources))


def _is_page(text: bytes) -> bool:
    """True if it is a page, and no name of a list."""
    return text[:1] == b"{"


def _digest_of(text: bytes) -> str:
    return b2a_base64(sha256(text).digest(), newline=False)[:-1].decode()


def _seal(digest: str, value: str, sources: Sequence[bytes], expected: tuple[str, ...], facts: McpFacts) -> str:
    """Digest of all that the row follows from besides the bytes of the pages, whose digests are in the value.

    It holds together what is kept, and is another one for another version of the program.
    """
    lists = tuple([b"{" if _is_page(text) else text for text in sources[1:]])
    measure = _measure(expected, facts.era, facts.transport, lists)
    return _digest_of(b"\n".join((measure, digest.encode(), value[value.index(" ") :].encode(), sources[0])))


@lru_cache(maxsize=64)  # a fleet has few
def _measure(expected: tuple[str, ...], era: str | None, transport: str | None, lists: tuple[bytes, ...]) -> bytes:
    """What a contract is judged by, and which lists it has, in one line."""
    return repr((VERSION, JUDGEMENT, expected, era, transport, lists)).encode(errors="surrogatepass")
