"""Masking: whatever a secret is written as, it is not shown; and what is no secret stays as it is."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from canaries import ECHOES, EXAMPLES, echoed, leaks
from hypothesis import given, settings
from hypothesis import strategies as st

from checker.cache_keys import endpoint_key
from checker.probe_kinds import KINDS
from checker.probes import probe_of
from checker.probes.http import shown_endpoint
from checker.probes.mcp.options import Call, McpOptions, shown_command
from checker.probes.oauth.options import OAuth
from checker.probes.options import ApiKey, Basic, Endpoint
from checker.probes.rest import RestOptions
from checker.secrets.excerpts import excerpt
from checker.secrets.known_secrets import begin, current, declared_secrets, undeclared
from checker.secrets.plain_values import is_plain
from checker.secrets.redactor import Redactor
from checker.units import Secret

ODD = st.sampled_from(list(" \"'\\%+/=&<>;:,@#?éß€😀\t-_.!$(){}[]"))
LETTERS = st.sampled_from("ABCDEFGHKLMNPQRSTUVWXYZabcdefghkmnpqrstuvwxyz23456789")
SECRETS = st.builds(
    lambda first, middle, last: first + middle + last,
    st.lists(LETTERS, min_size=8, max_size=40, unique=True).map("".join),  # or what is masked is no single place
    st.text(st.one_of(ODD, LETTERS), max_size=80),
    st.lists(LETTERS, min_size=8, max_size=40, unique=True).map("".join),
)
AROUND = st.text(st.sampled_from("abc xyz.,:;-\n"), max_size=40)


@settings(max_examples=max(EXAMPLES, 200), deadline=None)
@given(SECRETS, st.sampled_from(sorted(ECHOES)), AROUND, AROUND)
def test_secret_is_masked_in_every_encoding(secret: str, echo: str, before: str, after: str) -> None:
    said = f"{before} {echoed(secret, echo)} {after}" if echo != "cut" else f"{before} {echoed(secret, echo)}"
    assert leaks(secret, echo, Redactor([secret])(said)) == []


@pytest.mark.parametrize("echo", sorted(ECHOES))
def test_what_stands_around_a_secret_stays(echo: str) -> None:
    secret = 'Zq9 "/%41é+Kp7-long-enough'
    masked = Redactor([secret])(f"before: {echoed(secret, echo)}")
    assert masked.startswith("before: ")
    assert "***" in masked


@settings(max_examples=100, deadline=None)
@given(SECRETS, st.sampled_from(sorted(ECHOES)), st.integers(20, 200), st.integers(0, 150))
def test_secret_is_masked_before_a_text_is_cut(secret: str, echo: str, limit: int, before: int) -> None:
    masking = begin(RestOptions(url="http://h/", body=Secret(secret)))
    shown = excerpt("x" * before + " " + echoed(secret, echo), limit)
    assert current() is masking
    assert leaks(secret, echo, shown) == []


@settings(max_examples=100, deadline=None)
@given(
    SECRETS,
    st.recursive(
        st.one_of(st.text("ijlo01 ", max_size=20), st.integers(), st.none()),
        lambda x: st.lists(x) | st.dictionaries(st.text(max_size=5), x),
        max_leaves=8,
    ),
)
def test_masking_a_json_document_keeps_its_structure(secret: str, other: Any) -> None:
    document = {"type": "object", "said": f"~ {secret}", "more": [other, secret], "properties": {"type": other}}
    masked = json.loads(Redactor([secret]).json(json.dumps(document)))
    assert masked == {**document, "said": "~ ***", "more": [other, "***"]}


@pytest.mark.parametrize("value", ["object", "type", "true", "tools", "8080", "string"])
def test_short_word_that_is_a_secret_changes_no_member_of_a_document(value: str) -> None:
    document = {"type": {"tools": True, "n": 8080, "object": "the object type, with tools"}}
    masked = json.loads(Redactor([value]).json(json.dumps(document)))
    assert masked["type"].keys() == document["type"].keys()
    assert (masked["type"]["tools"], masked["type"]["n"]) == (True, 8080)


def test_words_of_a_healthy_server_are_left_alone() -> None:
    options = McpOptions(
        command="/usr/bin/server",
        args=("--mode", "readonly", "--region=eu-west-1", "/srv/data", "-v", "stdio", "@acme/server-files@1.2.3"),
        env={name: Secret(value) for name, value in {"DEBUG": "true", "MODE": "production", "PORT": "8080"}.items()},
        calls=(Call(tool="search", arguments={"query": "status", "limit": 10}),),
    )
    assert list(declared_secrets(options)) == []
    rest = RestOptions(url="http://h/?format=json&verbose=true", headers={"Accept": Secret("application/json")})
    assert list(declared_secrets(rest)) == []


def test_every_text_option_says_whether_it_is_secret() -> None:
    assert {kind: undeclared(probe_of(kind).options) for kind in KINDS} == dict.fromkeys(KINDS, ())


def test_text_option_that_says_nothing_is_found_and_counts_as_a_secret() -> None:
    options = Undeclared(url="http://h/", note="q7Z-notes")
    assert undeclared(Undeclared) == ("note",)
    assert list(declared_secrets(options)) == ["q7Z-notes"]


class Undeclared(Endpoint, frozen=True, kw_only=True):
    """A kind whose author forgot something."""

    note: str = ""


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (McpOptions(url="http://h/", bearer=Secret("t0ken-1234")), ["t0ken-1234"]),
        (McpOptions(url="http://h/", headers={"Cookie": Secret("a=b; session=V4lue-99")}), ["V4lue-99"]),
        (McpOptions(url="http://h/", headers={"Authorization": Secret("Bearer abc9Z-x")}), ["abc9Z-x"]),
        (
            McpOptions(url="http://h/", headers={"Authorization": Secret("Basic dTpwYXNzLTk5")}),
            ["u:pass-99", "pass-99"],
        ),
        (
            McpOptions(url="http://h/", basic=Basic(username="me", password=Secret("pa ss-9"))),
            ["me:pa ss-9", "pa ss-9"],
        ),
        (McpOptions(url="http://h/", api_key=ApiKey(value=Secret("k-1234"))), ["k-1234"]),
        (McpOptions(url="http://Tok9en4:x@h/"), ["Tok9en4"]),
        (
            McpOptions(url="http://u:p%40ss9@h/?key=a%2Bb9%3D#frag-9Z"),
            ["p%40ss9", "p@ss9", "a%2Bb9%3D", "a+b9=", "frag-9Z"],
        ),
        (McpOptions(url="http://h/", proxy=Secret("http://u:px-99@p:1")), ["u:px-99", "px-99"]),
        (
            McpOptions(url="http://h/", oauth=OAuth(client_id="c", client_secret=Secret("c s-99"))),
            ["c s-99", "c:c+s-99"],
        ),
        (McpOptions(url="http://h/", calls=(Call(tool="t", arguments={"a": [{"apiKey": "word"}]}),)), ["word"]),
        (McpOptions(url="http://h/", calls=(Call(resource="db://u:pw-99@h/x?token=word"),)), ["pw-99", "word"]),
        (McpOptions(command="c", args=("--header", "Authorization: Bearer word")), ["Bearer word", "word"]),
        (McpOptions(command="c", args=("--config", '{"token": "word"}', "--api-key=q1w2-e3")), ["word", "q1w2-e3"]),
        (McpOptions(command="c", env={"A_TOKEN": Secret("word"), "X": Secret("q1w2-e3")}), ["word", "q1w2-e3"]),
        (McpOptions(command="c", env={"DATABASE": Secret("postgres://me:pw-99@h/db")}), ["pw-99"]),
        (RestOptions(url="http://h/", body=Secret('{"a": {"pin": "word"}}')), ['{"a": {"pin": "word"}}', "word"]),
        (RestOptions(url="http://h/", body=Secret("a=1&key=w%26rd-9")), ["w%26rd-9", "w&rd-9"]),
    ],
)
def test_what_is_secret_in_options_is_found_with_its_parts(options: Any, parts: list[str]) -> None:
    found = set(declared_secrets(options))
    assert found >= set(parts)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/hooks/x/Zq9xK2mPw1bb/mcp?k=1", "https://h/hooks/x/***/mcp?k=***"),
        (
            "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXX",
            "https://hooks.slack.com/services/***/***/***",
        ),
        ("https://h/hooks/x/${TOKEN}", "https://h/hooks/x/${TOKEN}"),
        ("https://h/v1beta1/actuator/health-check/readiness", "https://h/v1beta1/actuator/health-check/readiness"),
    ],
)
def test_address_is_shown_and_remembered_without_what_is_random_in_its_path(url: str, shown: str) -> None:
    assert shown_endpoint(url) == shown
    assert "***" not in shown or endpoint_key(url).startswith("sha256:")
    hidden = {one for one in url.partition("?")[0].split("/")[3:] if f"/{one}" not in shown}
    assert set(declared_secrets(RestOptions(url=url))) >= hidden


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (("-v", "/srv/server.py", "stdio"), "stdio: python -v /srv/server.py stdio"),
        (("--key", "argkey-99"), "stdio: python --key '***'"),
        (("--api-key=argkey-99", "--port=8080"), "stdio: python '--api-key=***' --port=8080"),
        (("--header", "Authorization: Bearer x9-y"), "stdio: python --header 'Authorization: ***'"),
        (("--config", '{"token": "x"}'), "stdio: python --config '***'"),
        (("q7Zw-91xX",), "stdio: python '***'"),
        (("--api-key", "SEavLekdgTsK=[92"), "stdio: python --api-key '***'"),
        (("https://me:pw@h/mcp?key=1",), "stdio: python 'https://h/mcp?key=***'"),
    ],
)
def test_command_is_shown_without_what_may_be_secret(args: tuple[str, ...], shown: str) -> None:
    assert shown_command("/usr/bin/python", args) == shown


@pytest.mark.parametrize(
    "value",
    ["q7Zw-91xX", "hunter2x9", "550e8400-e29b-41d4-a716-446655440000", "AKIAIOSFODNN7EXAMPLE", "sk-proj-a1B2c3D4e5"],
)
def test_what_is_not_plainly_public_is_a_secret(value: str) -> None:
    assert not is_plain(value)


def test_large_document_is_looked_through_in_linear_time() -> None:
    def cpu_s(count: int) -> float:
        document = json.dumps(
            [{"name": f"tool{one}", "description": "a line\nof 100% text " * 10} for one in range(count)]
        )
        redactor = Redactor([f"secret-{one}-Zq9" for one in range(10)])
        start = time.process_time()
        assert redactor.json(document) == document
        return time.process_time() - start

    assert cpu_s(4000) < 8 * max(cpu_s(1000), 0.01)


@pytest.mark.parametrize("text", ["a" * 200_000, "ab" * 100_000, "%61" * 60_000, "\\" * 200_000, "&amp;" * 40_000])
def test_text_made_to_be_slow_is_not(text: str) -> None:
    start = time.process_time()
    Redactor(["a" * 64, "ab" * 40, "a" * 15 + "c"])(text)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "secret", ["V2VLN{:;T(>MCHLg", "9rSF{CZBh7", "uVwb9TxBKF8,(v[/[F-)wnGQ%}-v&:-pv-Y#,K}%_:('7_?+T!+6]{=}x"]
)
def test_secret_with_many_marks_is_found_when_it_is_set_apart(secret: str) -> None:
    for between in ("-", ".", "\u200b", "', '"):
        assert Redactor([secret])(f"it is {between.join(secret)} now") == "it is *** now"


def test_secret_in_another_case_is_found_where_its_letters_were_misread() -> None:
    secret = "HXmNvQ3rSu-]C😀TgQéxBLhuHHNx3E"
    for said in (secret.upper(), secret.lower()):
        assert Redactor([secret])(said.encode().decode("latin-1")) == "***"
