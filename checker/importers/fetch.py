"""The text of a source, from a file or over HTTP, within limits of size and time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from checker.errors import ConfigError
from checker.probes.http import bare_url, origin, shown_endpoint

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

MOST_BYTES = 20 * 1024 * 1024
"""Largest file, and largest page of a listing after decompression."""
PAGE_TIMEOUT_S = 30.0
"""Longest time for one page, from name lookup to the last byte."""

_MOST_REDIRECTS = 5
_SILENCE_S = 10.0
_CHUNK_BYTES = 64 * 1024


def is_address(source: str) -> bool:
    """Whether the source is read over HTTP."""
    return source.lower().startswith(("http://", "https://"))


def shown(source: str) -> str:
    """The source as it may be printed: an address without credentials and query values."""
    if not is_address(source):
        return source
    try:
        return shown_endpoint(source)
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

    from checker.importers.judged import AddressRefused

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
    """The reply at the end of the redirects, each judged before it is followed; raises what requests raises."""
    from requests.utils import get_auth_from_url, select_proxy

    from checker.importers.judged import Guard, JudgingAdapter

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
    """No credentials: neither of the address nor of ~/.netrc."""
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
