"""Cookies within one attempt: a cookie set by a redirect goes to its target, by the rules of RFC 6265.

They live as long as the attempt. There is no public suffix list: a cookie for a domain without a dot is accepted only
from that host itself.
"""

from __future__ import annotations

from ipaddress import ip_address
from time import time
from urllib.parse import urlsplit

from msgspec import Struct

_MOST = 50
"""Maximum cookies of one attempt; RFC 6265 section 6.1 requires as many for a domain."""
_MOST_BYTES = 8192
"""Bytes of one cookie, and of one Cookie header: servers take no more in a header."""

_LIKE_A_SECRET = 16
"""Characters from which the value of a cookie is taken for an identifier of a user."""


class _Cookie(Struct, frozen=True):
    name: str
    value: str
    domain: str
    path: str
    host_only: bool
    secure: bool

    def goes_to(self, secure: bool, host: str, path: str) -> bool:
        """True if the cookie is sent to that address (RFC 6265 section 5.4)."""
        domain_fits = host == self.domain or (not self.host_only and host.endswith(f".{self.domain}"))
        return domain_fits and _path_matches(path, self.path) and (secure or not self.secure)


class Cookies:
    """The cookies set by the servers of one attempt."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], _Cookie] = {}

    def take(self, url: str, fields: list[str]) -> set[str]:
        """Store the cookies from the reply's Set-Cookie fields for that address, and delete the expired ones.

        Returns the values that may be secrets, judged by their length.
        """
        secrets = set[str]()
        _, host, path = _place(url)
        for field in fields:
            if len(field) > _MOST_BYTES:
                continue
            pair, *attributes = field.split(";")
            name, equals, value = pair.partition("=")
            name, value = name.strip(), value.strip()
            if not equals or not name:
                continue
            said = {key.strip().lower(): one.strip() for key, _, one in (text.partition("=") for text in attributes)}
            domain = said.get("domain", "").lower().removeprefix(".")
            if domain and domain != host and not _is_within(host, domain):
                continue
            own_path = said.get("path", "")
            kept_path = own_path if own_path.startswith("/") else _default_path(path)
            cookie = _Cookie(name, value, domain or host, kept_path, not domain, "secure" in said)
            key = (cookie.domain, cookie.path, cookie.name)
            self._kept.pop(key, None)
            if not _has_ended(said) and len(self._kept) < _MOST:
                self._kept[key] = cookie
                if len(value) >= _LIKE_A_SECRET:
                    secrets.add(value)
        return secrets

    def header(self, url: str, configured: str | None = None) -> str | None:
        """The Cookie header for a request to that address; None if there are no cookies.

        In the ``configured`` header, pairs with a name that a server has set meanwhile are replaced.
        """
        secure, host, path = _place(url)
        going = [one for one in self._kept.values() if one.goes_to(secure, host, path)]
        going.sort(key=lambda one: -len(one.path))
        names = {one.name for one in going}
        pairs = [
            pair.strip() for pair in (configured or "").split(";") if pair.partition("=")[0].strip() not in {"", *names}
        ]
        length = sum(len(pair) + 2 for pair in pairs)
        for one in going:
            pair = f"{one.name}={one.value}"
            length += len(pair) + 2
            if length > _MOST_BYTES:
                break
            pairs.append(pair)
        return "; ".join(pairs) or None


def _place(url: str) -> tuple[bool, str, str]:
    parts = urlsplit(url)
    return parts.scheme == "https", (parts.hostname or "").lower(), parts.path or "/"


def _is_within(host: str, domain: str) -> bool:
    """True if the host is below the domain, which is not numeric and has a dot in it."""
    if "." not in domain or not host.endswith(f".{domain}"):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def _default_path(path: str) -> str:
    """The default path of a cookie (RFC 6265 section 5.1.4): all but the last segment."""
    return path[: path.rfind("/")] or "/"


def _path_matches(path: str, wanted: str) -> bool:
    return path == wanted or (path.startswith(wanted) and (wanted.endswith("/") or path[len(wanted)] == "/"))


def _has_ended(said: dict[str, str]) -> bool:
    """True if Max-Age, or Expires if there is none, lies in the past."""
    age = said.get("max-age", "")
    if age.removeprefix("-").isascii() and age.removeprefix("-").isdigit():
        return age.startswith("-") or not age.strip("0")
    from email.utils import parsedate_to_datetime  # takes a while to load, and few cookies have a time

    try:
        return parsedate_to_datetime(said.get("expires", "").replace("-", " ")).timestamp() <= time()
    except (ValueError, TypeError, OverflowError):
        return False
