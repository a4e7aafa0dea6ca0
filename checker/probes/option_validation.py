"""Contradictions between an endpoint's options that no single value shows; each with the key and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from checker.probes.http import DEFAULT_PORTS, shown_endpoint
from checker.probes.options import Endpoint, Retry, Tls

Fault = tuple[tuple[str, ...], str]
"""Keys below the probe's block, and the message about them."""

_USUAL_TLS = Tls()
_USUAL_URL = re.compile(r"https?://[a-zA-Z0-9.-]+(:[1-9]\d{0,3}|:[1-5]\d{4})?(/[!-~]*)?", re.ASCII)
"""Addresses that have no fault of their own; there are others."""
_WRITTEN_PORT = re.compile(r"://(?:[^/?#]*@)?(?:\[[^\]]*\]|[^/?#:@]*):([^/?#@]+)(?:[/?#]|\Z)")
_LARGEST_PORT = 65_535
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_usual_address(url: str) -> bool:
    """True for an http or https address of the usual form, which by itself has no fault."""
    return _USUAL_URL.fullmatch(url) is not None


def endpoint_faults(options: Endpoint, has_url: bool = True) -> Iterator[Fault]:
    """Faults of the options that every kind of endpoint has."""
    if has_url and options.url:
        yield from _url_faults(options)
        yield from _credential_faults(options)
    if options.proxy is not None:
        yield from _proxy_faults(options.proxy)
    yield from _header_faults(options)
    yield from _retry_faults(options.retry)
    if options.breaker is not None and options.breaker.cooldown <= 0:
        yield ("breaker", "cooldown"), "after 0 every run makes a trial; write a duration like 60s"
    for name in ("timeout", "connect_timeout"):
        if getattr(options, name) <= 0:
            yield (name,), "0 is not a time limit; write a duration like 5s"
    if options.max_body <= 0:
        yield ("max_body",), "0 accepts nothing; write a size like 1MiB"
    if options.max_total is not None and options.max_total < options.max_body:
        yield ("max_total",), "less than max_body; write a larger size, or remove it"
    if options.tls.key_file and not options.tls.cert_file:
        yield ("tls", "key_file"), "a key without a certificate; add cert_file"


def _url_faults(options: Endpoint) -> Iterator[Fault]:
    url = options.url
    if _USUAL_URL.fullmatch(url) and (url.startswith("https:") or options.tls == _USUAL_TLS):
        return  # to take the address apart takes ten times as long, and a fleet has many
    try:
        parts = urlsplit(options.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        said = _port_fault(options.url)
        yield ("url",), said or "not a valid address; write it like https://host:port/path"
        return
    if parts.scheme not in ("http", "https"):
        yield (
            ("url",),
            f'"{shown_endpoint(options.url)}" is not an http or https address; write it like https://host/path',
        )
    elif not host or re.search(r"[\s\x00-\x1f\x7f]", options.url):
        yield ("url",), f'"{shown_endpoint(options.url)}" has no valid host; write it like https://host/path'
    elif port == 0:
        yield (
            ("url",),
            f'"{shown_endpoint(options.url)}" has port 0, which no server can have; write the port that it listens on, '
            f"or none for {DEFAULT_PORTS[parts.scheme]}",
        )
    if parts.username is not None and (options.bearer or "authorization" in map(str.lower, options.headers)):
        yield ("url",), "has user and password although a bearer or Authorization header is set; keep one of them"
    if parts.scheme == "http" and options.tls != _USUAL_TLS:
        yield ("tls",), "TLS options for an http address; write https, or remove them"


def _port_fault(url: str) -> str | None:
    """The fault of a port that is none; None if something else is wrong with the address."""
    found = _WRITTEN_PORT.search(url)
    if found is None or "@" in url[found.end(1) :]:  # or it is part of a password that has a slash in it
        return None
    if not (found[1].isascii() and found[1].isdigit()):
        return "what follows the host's colon is no port; write a number, as in https://host:8000/path"
    return f"port {found[1][:20]} does not exist; ports are 1 to {_LARGEST_PORT}"


def _proxy_faults(proxy: str) -> Iterator[Fault]:
    try:
        parts = urlsplit(proxy)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.path.strip("/")
    except ValueError:
        valid = False
    if not valid or re.search(r"[\s\x00-\x1f\x7f]", proxy):
        yield ("proxy",), "not the address (not shown) of an http or https proxy; write it like http://host:3128"


def _credential_faults(options: Endpoint) -> Iterator[Fault]:
    if options.basic is not None:
        if options.bearer or "authorization" in map(str.lower, options.headers):
            yield ("basic",), "another Authorization is set as well; keep one of them"
        if options.basic.password is None:
            yield ("basic", "password"), "missing; add it, or password_file"
        if ":" in options.basic.username:
            yield ("basic", "username"), "a user name cannot have a colon in it"
    if options.api_key is not None:
        name, value = options.api_key.header, options.api_key.value
        if not _HEADER_NAME.fullmatch(name):
            yield ("api_key", "header"), "not a valid header name; use letters, digits and -"
        elif name.lower() in map(str.lower, options.headers):
            yield ("api_key", "header"), "the header is set as well; keep one of them"
        if not value or not re.fullmatch(r"[\x20-\x7e]+", value):
            yield ("api_key", "value"), "missing, or with a character that no header can carry; add it, or value_file"


def _header_faults(options: Endpoint) -> Iterator[Fault]:
    for name, value in options.headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield ("headers", name), "not a valid header name; use letters, digits and -"
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value) or not _latin(value):
            yield ("headers", name), "the value (not shown) has a line break or a character that no header can carry"
    if options.bearer and "authorization" in map(str.lower, options.headers):
        yield ("bearer",), "an Authorization header is set as well; keep one of them"
    if options.bearer is not None and not re.fullmatch(r"[\x21-\x7e]+", options.bearer):
        yield ("bearer",), "the token (not shown) is empty, or has a space or a line break in it"


def _retry_faults(retry: Retry) -> Iterator[Fault]:
    if retry.max_attempts < 1:
        yield ("retry", "max_attempts"), f"{retry.max_attempts} attempts check nothing; write 1 or more"
    if retry.backoff_factor < 1:
        yield ("retry", "backoff_factor"), f"{retry.backoff_factor:g} makes waits shorter; write 1 or more"
    if not 0 <= retry.jitter <= 1:
        yield ("retry", "jitter"), f"{retry.jitter:g} is not a share; write 0 to 1"
    if retry.initial_backoff > retry.max_backoff:
        yield ("retry", "initial_backoff"), "longer than max_backoff; make it shorter, or max_backoff longer"


def _latin(value: str) -> bool:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def regex_fault(pattern: str | None) -> str | None:
    """The error in a regular expression; None if it is valid."""
    if not pattern:
        return None
    from checker.probes.patterns import pattern_fault

    return pattern_fault(pattern)


def jsonpath_fault(path: str) -> str | None:
    """The error in a JSONPath; None if it is valid."""
    from checker.probes import jsonpaths

    return jsonpaths.jsonpath_fault(path)


def value_fault(check: Any, value: Any) -> str | None:
    """The text of the ValueError that ``check`` raises for the value; None if it raises nothing."""
    try:
        check(value)
    except ValueError as error:
        return f'"{value}" is not valid: {error}'
    return None
