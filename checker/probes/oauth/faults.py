"""Contradictions in the options of OAuth."""

from __future__ import annotations

from collections.abc import Iterator

from checker.probes.http import origin
from checker.probes.oauth.issuers import issuer_fault
from checker.probes.oauth.options import OAuth
from checker.probes.oauth.token import signing_key

Fault = tuple[tuple[str, ...], str]


def oauth_faults(options: OAuth) -> Iterator[Fault]:
    """What is contradictory in the options, below the ``oauth`` block."""
    if not options.client_id:
        yield ("client_id",), "write the identifier that the authorization server gave"
    if (options.client_secret is None) == (options.private_key is None):
        yield ("client_secret",), "give one of client_secret and private_key (or their _file)"
    if options.method == "private_key_jwt" and options.private_key is None:
        yield ("method",), "private_key_jwt needs private_key or private_key_file"
    elif options.method not in (None, "private_key_jwt") and options.client_secret is None:
        yield ("method",), f"{options.method} needs client_secret or client_secret_file"
    if options.private_key is not None:
        try:
            signing_key(options)
        except ValueError as error:
            yield ("private_key",), f"the key (not shown) is {error}; check it, and algorithm"
    if options.issuer is not None and (fault := issuer_fault(options.issuer)):
        yield ("issuer",), f"{fault}; write it like https://host/path, as its metadata names itself"
    if options.token_url is not None and not _is_address(options.token_url):
        yield ("token_url",), "not a valid address; write it like https://host/path"
    if options.trust_on_first_use and (options.issuer or options.token_url):
        yield ("trust_on_first_use",), "issuer or token_url names whom to trust already; remove it"


def withheld(options: OAuth) -> str:
    """What to warn of where the options do not say whom to trust with credentials; empty where they do."""
    if options.issuer or options.token_url or options.trust_on_first_use:
        return ""
    return (
        "credentials will be sent to an authorization server at the server's own origin alone: for any other, add "
        "issuer: (or token_url:), or trust_on_first_use: true (docs/mcp.md)"
    )


def _is_address(url: str) -> bool:
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        return False
    return scheme in ("http", "https") and bool(host)
