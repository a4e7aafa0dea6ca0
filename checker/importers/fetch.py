"""The text of a source, from a file or over HTTP, within limits of size and time."""

from __future__ import annotations

import socket
import time
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from checker.errors import ConfigError
from checker.probes.http import shown_url

if TYPE_CHECKING:
    from requests import Response, Session

MOST_BYTES = 20 * 1024 * 1024
"""Largest file, and largest page of a listing after decompression."""
PAGE_TIMEOUT_S = 30.0
"""Longest time for one page, from name lookup to the last byte."""

_MOST_REDIRECTS = 5
_SILENCE_S = 10.0
_CHUNK_BYTES = 64 * 1024
_METADATA = ("100.100.100.200", "168.63.129.16", "fd00:ec2::254")
_INSIDE = "leads from outside to an address of this machine or network; give the address that it leads to"


def is_address(source: str) -> bool:
    """Whether the source is read over HTTP."""
    return source.lower().startswith(("http://", "https://"))


def shown(source: str) -> str:
    """The source as it may be printed: an address without credentials and query values."""
    if not is_address(source):
        return source
    try:
        return shown_url(source)
    except ValueError:
        return "the address"


def file_text(path: Path) -> str:
    """The text of a file; raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise ConfigError(f"{path}: {said}; name a readable file, or an http or https address") from None
    return _text(content, str(path))


def address_text(url: str) -> str:
    """The text at an address; raises ConfigError."""
    import requests

    name = shown(url)
    ends_at = time.monotonic() + PAGE_TIMEOUT_S
    try:
        with requests.Session() as session:
            content = _content(session, url, name, ends_at)
    except requests.exceptions.Timeout:
        raise ConfigError(f"{name}: no answer within {_SILENCE_S:g} s; try again later") from None
    except requests.exceptions.SSLError:
        raise ConfigError(f"{name}: the certificate cannot be verified") from None
    except requests.exceptions.ConnectionError:
        raise ConfigError(f"{name}: no connection, or a broken one; is the address right?") from None
    except requests.exceptions.BaseHTTPError:  # type: ignore[attr-defined] # urllib3's own, which read1 raises
        raise ConfigError(f"{name}: the reply broke off; try again later") from None
    except (requests.exceptions.RequestException, ValueError):  # its message may hold the whole address
        raise ConfigError(f"{name}: not read; is it a valid address?") from None
    return _text(content, name)


def _content(session: Session, url: str, name: str, ends_at: float) -> bytes:
    """The body at the address, or at the one that it redirects to, which may lie no farther inside."""
    scope = _scope(url)
    for _ in range(_MOST_REDIRECTS + 1):
        headers = {"Accept": "application/json"}
        with session.get(url, stream=True, timeout=_SILENCE_S, headers=headers, allow_redirects=False) as reply:
            if (peer := _peer(reply)) is not None and _address_scope(peer) > scope:  # the name leads elsewhere by now
                raise ConfigError(f"{name}: {_INSIDE}")
            if not reply.is_redirect:
                if reply.status_code != 200:
                    raise ConfigError(f"{name}: HTTP {reply.status_code}; give an address that can be read")
                return _body(reply, name, ends_at)
            before, url = url, urljoin(url, reply.headers["location"])
        if not is_address(url):
            raise ConfigError(f"{name}: redirects to what is no http or https address")
        if before.lower().startswith("https:") and not url.lower().startswith("https:"):
            raise ConfigError(f"{name}: leads from https to http, where anybody could change the list")
        if _scope(url) > scope:
            raise ConfigError(f"{name}: {_INSIDE}")
    raise ConfigError(f"{name}: more than {_MOST_REDIRECTS} redirects; give the address they lead to")


def _scope(url: str) -> int:
    """How far inside the host of an address is, of all that its name leads to; a name that leads nowhere is public."""
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname or "", parts.port or 80, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return 0
    return max(_address_scope(str(one[4][0])) for one in found)


def _address_scope(address: str) -> int:
    ip = ip_address(address.partition("%")[0])
    ip = (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip
    if ip.is_link_local or str(ip) in _METADATA:
        return 3
    return 2 if ip.is_loopback or ip.is_unspecified else int(not ip.is_global)


def _peer(reply: Response) -> str | None:
    """The address that answered; None behind a proxy, which looks names up itself."""
    connection = getattr(reply.raw, "_connection", None)
    if connection is None or getattr(connection, "proxy", None) is not None:
        return None
    try:
        return str(connection.sock.getpeername()[0])
    except (AttributeError, OSError):
        return None


def _body(reply: Response, name: str, ends_at: float) -> bytes:
    body = bytearray()
    # iter_content waits for a whole chunk, which a slow sender may take hours for
    while chunk := reply.raw.read1(_CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > MOST_BYTES:
            break
        if time.monotonic() > ends_at:
            raise ConfigError(f"{name}: still sending after {PAGE_TIMEOUT_S:g} s; save it to a file, and import that")
    return bytes(body)


def _text(content: bytes, name: str) -> str:
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{name}: larger than {MOST_BYTES // 1024**2} MiB, which no list of servers is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
