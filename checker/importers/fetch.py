"""The text of a source, from a file or over HTTP from checked addresses, with limits on size and time."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from checker.addresses import CONFIGURED, AddressPolicy, Scope, in_numbers, is_metadata_name, named_by, scope
from checker.errors import ConfigError
from checker.probes.http import bare_url, origin, shown_endpoint

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session


class AddressRefused(Exception):
    """A server referred to an address that it must not lead to; the text names it."""


class Guard:
    """Policy for the next request: any address the user named, but redirects never lead to a more private network."""

    def __init__(self) -> None:
        self._policy: AddressPolicy = CONFIGURED
        self._reached: Scope | None = None

    def follow(self) -> None:
        """Treat the following addresses as named by servers, not by the user."""
        self._policy = named_by(self._reached)

    def judge_behind_proxy(self, host: str) -> None:
        """Check a host that only a proxy connects to, by its addresses as resolved here; raises AddressRefused."""
        known = [number] if (number := in_numbers(host)) is not None else _looked_up(host)
        for address in known:
            self._judge(address)
        if self._policy is not CONFIGURED and is_metadata_name(host):
            raise AddressRefused(f"a server named {host}, a metadata service")
        self._note(min(map(scope, known), default=Scope.PUBLIC))

    def open(self, connection: Any, connect: Any) -> socket.socket:
        """Connect to the first address that answers; each is checked first. Raises AddressRefused, else as urllib3."""
        host = connection._dns_host  # what urllib3 looks up, under this name only; the certificate is for another
        addresses = _looked_up(host.strip("[]"))
        try:
            for place, address in enumerate(addresses):
                self._judge(address)
                connection._dns_host = address
                try:
                    sock: socket.socket = connect()
                except Exception:
                    if place + 1 == len(addresses):
                        raise
                else:
                    self._note(scope(sock.getpeername()[0]))
                    return sock
        finally:
            connection._dns_host = host
        unknown: socket.socket = connect()  # which says that there is no such host
        return unknown

    def _judge(self, address: str) -> None:
        if not self._policy.allows(address):
            raise AddressRefused(self._policy.refusal(address))

    def _note(self, found: Scope) -> None:
        self._reached = found if self._reached is None else min(self._reached, found)


class JudgingAdapter(HTTPAdapter):
    """The connection adapter of a requests session; one for each chain of redirects."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pools, with connections opened by the guard."""
        super().init_poolmanager(*args, **kwargs)
        guard = self._guard

        class GuardedConnection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return guard.open(self, super()._new_conn)

        class GuardedSecureConnection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return guard.open(self, super()._new_conn)

        class GuardedPool(HTTPConnectionPool):
            ConnectionCls = GuardedConnection

        class GuardedSecurePool(HTTPSConnectionPool):
            ConnectionCls = GuardedSecureConnection

        self.poolmanager.pool_classes_by_scheme = {"http": GuardedPool, "https": GuardedSecurePool}


def _looked_up(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


MOST_BYTES = 20 * 1024 * 1024
"""Largest file, and largest page of a listing after decompression."""
PAGE_TIMEOUT_S = 30.0
"""Longest time for one page, from name lookup to the last byte."""

_MOST_REDIRECTS = 5
_SILENCE_S = 10.0
_CHUNK_BYTES = 64 * 1024
_STANDARD_INPUT = "-"


def is_address(source: str) -> bool:
    """True if the source is read over HTTP."""
    return source.lower().startswith(("http://", "https://"))


def shown(source: str) -> str:
    """The source in printable form: an address without credentials and query values."""
    if not is_address(source):
        return source
    try:
        return shown_endpoint(source)
    except ValueError:
        return "the address"


def file_text(path: Path) -> str:
    """The text of a file; raises ConfigError."""
    try:
        with path.open("rb") if str(path) != _STANDARD_INPUT else nullcontext(sys.stdin.buffer) as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise ConfigError(f"{path}: {said}; name a readable file, or an http or https address") from None
    return _text(content, str(path))


def address_text(url: str) -> str:
    """The text at an address; raises ConfigError."""
    import requests

    pass  # REGROUP

    name = shown(url)
    ends_at = time.monotonic() + PAGE_TIMEOUT_S
    try:
        with requests.Session() as session, _followed(session, url, name) as reply:
            if reply.status_code != 200:
                raise ConfigError(f"{name}: HTTP {reply.status_code}; give an address that can be read")
            content = _body(reply, name, ends_at)
    except AddressRefused as refused:
        raise ConfigError(f"{name}: {refused}; give the address that it leads to") from None
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


def _followed(session: Session, url: str, name: str) -> Response:
    """The response at the end of the redirects, each checked before it is followed; raises what requests raises."""
    from requests.utils import get_auth_from_url, select_proxy

    pass  # REGROUP

    guard = Guard()
    session.mount("http://", JudgingAdapter(guard))
    session.mount("https://", JudgingAdapter(guard))
    wanted, own, auth = url, True, get_auth_from_url(url)
    for _ in range(_MOST_REDIRECTS + 1):
        if select_proxy(wanted, session.merge_environment_settings(wanted, {}, True, None, None)["proxies"]):
            guard.judge_behind_proxy(urlsplit(wanted).hostname or "")
        reply = session.get(
            wanted,
            stream=True,
            timeout=_SILENCE_S,
            headers={"Accept": "application/json"},
            allow_redirects=False,
            auth=_nobody if not own else auth if any(auth) else None,
        )
        location = reply.headers.get("location")
        if not reply.is_redirect or location is None:
            return reply
        reply.close()
        target = bare_url(urljoin(reply.url, location))
        if not is_address(target):
            raise ConfigError(f"{name}: redirects to what is no http or https address")
        if wanted.lower().startswith("https:") and not target.lower().startswith("https:"):
            raise ConfigError(f"{name}: leads from https to http, where anybody could change the list")
        own = own and origin(target) == origin(url)
        wanted = target
        guard.follow()
    raise ConfigError(f"{name}: more than {_MOST_REDIRECTS} redirects; give the address they lead to")


def _nobody(request: PreparedRequest) -> PreparedRequest:
    """No credentials: neither from the address nor from ~/.netrc."""
    return request


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
