"""A refusal of the Host header is told as that, and no other refusal is."""

from __future__ import annotations

import pytest

from checker.probes.http import host_refusal

HERE = "http://127.0.0.1:8931/mcp"
REFUSALS = {
    # what servers say: of the Python and TypeScript SDKs, Playwright, Starlette, Django, Vite, Cloudflare
    "Invalid Host header": 421,
    "": 421,
    "Forbidden: invalid Host header": 403,
    '{"jsonrpc":"2.0","error":{"code":-32000,"message":"Invalid Host: 127.0.0.1"},"id":null}': 403,
    '{"jsonrpc":"2.0","error":{"code":-32000,"message":"Invalid Host header: 127.0.0.1:8931"},"id":null}': 403,
    "Access is only allowed at localhost:8931": 403,
    "Invalid host header": 400,
    "Invalid HTTP_HOST header: '127.0.0.1:8931'. You may need to add '127.0.0.1' to ALLOWED_HOSTS.": 400,
    'Blocked request. This host ("127.0.0.1") is not allowed.': 403,
    "Host not allowed": 403,
    "possible DNS rebinding attack": 403,
}
OTHERS = {
    "": 403,
    "Forbidden": 403,
    "Invalid Origin header": 403,
    "Invalid Origin": 421,
    "Invalid token": 403,
    "Your IP is not allowed": 403,
    "Host key verification failed": 400,
    "invalid request": 400,
    "Invalid Host header": 401,
    "unknown hostname in params": 500,
}


@pytest.mark.parametrize("said", REFUSALS)
def test_refusal_of_the_host_names_the_address_that_would_do(said: str) -> None:
    failure = host_refusal(HERE, REFUSALS[said], said, challenged=False)
    assert failure is not None
    assert failure.reason == "http_status"
    assert "refuses the Host header 127.0.0.1:8931" in failure.detail
    assert said[:120] in failure.detail
    assert "http://localhost:8931/mcp may do" in failure.detail
    assert host_refusal(HERE, REFUSALS[said], said, challenged=True) is None


@pytest.mark.parametrize("said", OTHERS)
def test_other_refusals_are_not_told_so(said: str) -> None:
    assert host_refusal(HERE, OTHERS[said], said, challenged=False) is None


@pytest.mark.parametrize(
    ("url", "said", "remedy"),
    [
        ("http://localhost:9/mcp", "Invalid Host header", "http://127.0.0.1:9/mcp may do"),
        ("http://[::1]:9/mcp", "Invalid Host header", "http://localhost:9/mcp may do"),
        ("http://box:9/mcp?key=c4nary", "only allowed at mcp.test:9", "http://mcp.test:9/mcp may do"),
        (
            "https://box/mcp",
            "Invalid Host header",
            "call it by the name that it expects, or add box to its allowed hosts",
        ),
        ("http://box/mcp", "only allowed at home", "call it by the name that it expects"),
    ],
)
def test_the_address_that_would_do_fits_the_one_that_was_called(url: str, said: str, remedy: str) -> None:
    failure = host_refusal(url, 403, said, challenged=False)
    assert failure is not None
    assert remedy in failure.detail
    assert "c4nary" not in failure.detail


def test_a_configured_host_is_the_one_that_is_refused() -> None:
    failure = host_refusal("http://box:9/mcp", 403, "Invalid Host header", challenged=False, own_host="app.test")
    assert failure is not None
    assert "refuses the Host header app.test" in failure.detail
