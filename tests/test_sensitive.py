"""What counts as a secret: generated tokens in every place where one can stand, and what has to stay readable."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable, Sequence
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker.secrets.randomness import MARK, is_plain, looks_random
from checker.secrets.sensitive_names import (
    SecretPart,
    in_arguments,
    in_environment,
    in_header,
    in_url,
    is_secret_name,
    texts_of_program,
)

_SYMBOLS = string.ascii_letters + string.digits + "-_"


def _shape(symbols: str, least: int = 16, most: int = 64) -> st.SearchStrategy[str]:
    # at random, as tokens are: hypothesis by itself prefers "aaaa…"
    return st.builds(
        lambda seed, length: "".join(random.Random(seed).choices(symbols, k=length)),
        st.integers(0, 2**64),
        st.integers(least, most),
    )


TOKENS = st.one_of(
    _shape(_SYMBOLS),
    _shape(string.ascii_lowercase, 24),
    _shape(string.ascii_uppercase, 24),
    _shape(string.ascii_lowercase + string.digits),
    _shape("0123456789abcdef"),
    _shape(string.digits),
    _shape(string.ascii_uppercase + "234567", 20),
    _shape(string.ascii_letters + string.digits + "+/").map(lambda text: text + "=="),
    st.integers(0, 2**64).map(lambda seed: str(uuid.UUID(int=random.Random(seed).getrandbits(128)))),
    st.sampled_from(
        ["sk-", "sk_live_", "ghp_", "github_pat_", "xoxb-", "AKIA", "glpat-", "AIza", "npm_", "hf_"]
    ).flatmap(lambda prefix: _shape(string.ascii_letters + string.digits).map(lambda rest: prefix + rest)),
    st.tuples(_shape(_SYMBOLS), _shape(_SYMBOLS)).map(lambda two: f"eyJ{two[0]}.eyJ{two[1]}.sig"),
)


def _in_args(*args: str) -> Callable[[str], str]:
    """What is left to see of the arguments once their secrets are gone."""

    def left(token: str) -> str:
        given = [one.replace("TOKEN", token) for one in args]
        return "\n".join(_without(one, parts) for one, parts in zip(given, in_arguments(given), strict=True))

    return left


def _without(text: str, parts: Sequence[SecretPart]) -> str:
    for part in sorted(parts, key=lambda one: one.start, reverse=True):
        text = text[: part.start] + text[part.end :]
    return text


def _in_user(token: str) -> str:
    url = f"https://{quote(token, safe='')}@h.example/mcp"
    return _without(url, in_url(url))


PLACES: dict[str, Callable[[str], str]] = {
    "user": _in_user,  # a slash in it would make it the host
    "password": lambda token: _without(f"https://u:{token}@h.example/", in_url(f"https://u:{token}@h.example/")),
    "query": lambda token: _without(f"https://h.example/?q={token}&a=1", in_url(f"https://h.example/?q={token}&a=1")),
    "query alone": lambda token: _without(f"https://h.example/?{token}", in_url(f"https://h.example/?{token}")),
    "path": lambda token: _without(f"https://h.example/a/{token}/mcp", in_url(f"https://h.example/a/{token}/mcp")),
    "fragment": lambda token: _without(f"https://h.example/#{token}", in_url(f"https://h.example/#{token}")),
    "parameter": lambda token: _without(f"https://h.example/m;x={token}", in_url(f"https://h.example/m;x={token}")),
    "header": lambda token: _without(token, in_header("X-Anything", token)),
    "authorization": lambda token: _without(f"Bearer {token}", in_header("Authorization", f"Bearer {token}")),
    "user agent": lambda token: _without(f"tool/1 {token}", in_header("User-Agent", f"tool/1 {token}")),
    "environment": lambda token: _without(token, in_environment("ANYTHING", token)),
    "environment, plain name": lambda token: _without(token, in_environment("LOG_LEVEL", token)),
    "environment, address": lambda token: _without(
        f"https://h/?a={token}", in_environment("X_URL", f"https://h/?a={token}")
    ),
    "argument": _in_args("serve", "TOKEN", "--verbose"),
    "option": _in_args("--anything", "TOKEN"),
    "option with =": _in_args("--anything=TOKEN"),
    "option of a letter": _in_args("-k", "TOKEN"),
    "header option": _in_args("mcp-remote", "https://h/", "--header", "X-Anything: TOKEN"),
    "header option, no space": _in_args("--header", "Authorization:Bearer TOKEN"),
    "header option with =": _in_args("--header=Authorization: Bearer TOKEN"),
    "docker": _in_args("run", "-e", "ANYTHING=TOKEN", "--env=OTHER=TOKEN", "image"),
    "json": _in_args("--config", '{"anything": "TOKEN", "list": ["TOKEN"], "inner": {"apiKey": "TOKEN"}}'),
    "connection string": _in_args("Server=h;User=sa;Pwd=TOKEN;"),
    "words": _in_args("host=h user=u password=TOKEN"),
    "dsn": _in_args("postgresql://u:TOKEN@h/db"),
    "address": _in_args("https://h.example/mcp?x=TOKEN"),
    "sentence": _in_args("-c", "curl -H 'X: TOKEN' https://h/"),
}


@pytest.mark.parametrize("place", PLACES)
@given(token=TOKENS)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_token_is_found_wherever_it_stands(place: str, token: str) -> None:
    left = PLACES[place](token)
    assert token not in left
    # not one of its pieces either, where a separator within it cuts it up
    assert not any(piece in left for piece in token.replace("/", "+").split("+") if len(piece) >= 16)


@pytest.mark.parametrize(
    "args",
    [
        ["npx", "-y", "@scope/package@1.2.3", "--port", "8080"],
        ["-y", "@modelcontextprotocol/server-filesystem", "/home/me/projects", "/tmp/tmpab12cd_x", "."],
        ["mcp-remote", "https://mcp.example.com/sse", "3334", "--allow-http", "--transport", "http-only"],
        ["run", "-i", "--rm", "--network", "none", "-v", "/a/b:/c", "ghcr.io/github/github-mcp-server:0.3.1"],
        ["--mount", "type=bind,src=/Users/me/x,dst=/projects/x", "mcp/filesystem"],
        ["--directory", "/srv/app", "run", "server.py", "--log-level=debug", "--host", "127.0.0.1", "--tools", "all"],
        ["-m", "mcp_server_time", "--local-timezone=Europe/Berlin", "--verbose"],
        ["--from", "git+https://github.com/example/server@v1.2", "server", "--model", "gpt-4o-mini"],
        ["C:\\Users\\me\\server.exe", "https://localhost:8443/v1/mcp/?version=2&limit=10"],
    ],
)
def test_what_is_plainly_harmless_stays_readable(args: list[str]) -> None:
    assert [one for one, parts in zip(args, in_arguments(args), strict=True) if parts] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("DEBUG", "1"), ("NODE_ENV", "production"), ("LOG_LEVEL", "info"), ("REGION", "eu-west-1"), ("PORT", "8080")),
        *(("DATA", "/var/lib/data"), ("X", "https://h.example/mcp"), ("DB", "db.example.com:5432"), ("TZ", "Etc/UTC")),
        *(("MAX_TOKENS", "4096"), ("TIMEOUT", "30s"), ("ALLOWED", "/a,/b/c"), ("MODEL", "gpt-4o-mini"), ("A", "")),
    ],
)
def test_harmless_environment_stays_readable(name: str, value: str) -> None:
    assert in_environment(name, value) == ()


@pytest.mark.parametrize(
    "name",
    [
        "GITHUB_PAT",
        "apiKey",
        "X-Session",
        "DB_PASS",
        "pwd",
        "auth",
        "AUTHORIZATION",
        "X-Auth",
        "cookie",
        "sig",
        "signature",
        "dsn",
        "WEBHOOK",
        "hook",
        "key",
        "SSH_KEY",
        "private_key",
        "connection-string",
        "ConnectionString",
        "credentials",
        "bearer",
        "MYPASS",
        "GHTOKEN",
        "access_token",
        "jwt",
        "client-secret",
        "PGPASSWORD",
        "passphrase",
        "session_id",
        "otp",
        "PIN",
    ],
)
def test_name_tells_a_secret(name: str) -> None:
    assert is_secret_name(name)
    assert in_environment(name, "swordfish")


@pytest.mark.parametrize(
    "name", ["path", "author", "port", "monitor", "keyboard", "host", "MAX_TOKENS", "compatible", "company"]
)
def test_name_tells_none(name: str) -> None:
    assert not is_secret_name(name)


def test_variable_stands_where_it_stands_and_what_is_next_to_it_does_not() -> None:
    assert in_url(f"https://{MARK}:{MARK}@h/{MARK}?k={MARK}") == ()
    assert in_header("Authorization", f"Bearer {MARK}") == ()
    (part,) = in_header("X-Key", f"hush-hush-hush{MARK}")
    assert (part.start, part.end) == (0, 14)


def test_smaller_secrets_within_a_larger_one_are_known_too() -> None:
    texts = texts_of_program(
        ["--db", "postgres://u:swordfish@h/d"], {"A": "Bearer rosebud-1", "J": '{"x": "open sesame"}'}
    )
    assert {"u:swordfish", "swordfish", "Bearer rosebud-1", "rosebud-1", "open sesame"} <= texts


@pytest.mark.parametrize(
    "piece", ["a:", "a=", "-a=", "A=A:", "a;", "a=b;", '{"a":', "[", '"', "\\", "http://", "/?&#@", "%20"]
)
def test_what_nests_without_end_is_judged(piece: str) -> None:
    for many in (40, 2000, 40_000):
        text = piece * many
        in_url(text), in_header("X", text), in_environment("X", text), in_arguments([text, "--x", text])
        texts_of_program([text], {"X": text})


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_judged(text: str) -> None:
    looks_random(text)
    for parts in (in_url(text), in_header(text, text), in_environment(text, text), *in_arguments([text, "--x", text])):
        assert all(0 <= part.start < part.end <= len(text) for part in parts)
        assert [part.start for part in parts] == sorted(part.start for part in parts)
    assert is_plain(text, words=True) or not is_plain(text, words=False)
