"""What the REST probe says of servers that break in every way we know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from checker.model import CheckResult, ProbeResult, Server
from checker.probes.conditions import JsonCondition
from checker.probes.options import Retry, Tls
from checker.probes.rest import Expect, RestOptions
from conftest import check_all
from servers import RestServer, Scripted
from servers_faults import MODES, FaultServer, certificates, closed_port

EXPECTED = {
    "ok": ("HEALTHY", None, None),
    "silent": ("UNHEALTHY", "first_byte_timeout", "wait"),
    "drip_head": ("UNHEALTHY", "deadline", "transfer"),
    "drip_body": ("UNHEALTHY", "deadline", "transfer"),
    "reset_before_head": ("UNHEALTHY", "connection_closed", "wait"),
    "reset_in_body": ("UNHEALTHY", "connection_closed", "transfer"),
    "closed": ("UNHEALTHY", "connection_closed", "wait"),
    "garbage": ("UNHEALTHY", "http_malformed", "transfer"),
    "short_body": ("UNHEALTHY", "connection_closed", "transfer"),
    "broken_chunks": ("UNHEALTHY", "http_malformed", "transfer"),
    "endless": ("UNHEALTHY", "body_too_large", "transfer"),
    "gzip_bomb": ("UNHEALTHY", "body_too_large", "transfer"),
    "bad_gzip": ("UNHEALTHY", "decode", "transfer"),
    "gzip": ("HEALTHY", None, None),
    "deflate": ("HEALTHY", None, None),
    "huge_headers": ("UNHEALTHY", "http_malformed", "transfer"),
    "many_headers": ("UNHEALTHY", "http_malformed", "transfer"),
    "interim": ("HEALTHY", None, None),
    "until_closed": ("HEALTHY", None, None),
    "no_content": ("HEALTHY", None, None),
    "bad_utf8": ("HEALTHY", None, None),
    "tiny_segments": ("HEALTHY", None, None),
    "endless_comments": ("UNHEALTHY", "deadline", "transfer"),
}
DEADLINE_S = 2.0


def rest(name: str, url: str, **options: object) -> Server:
    values: dict[str, object] = {"url": url, "timeout": DEADLINE_S, "connect_timeout": 1.0, **options}
    return Server(name=name, probes={"rest": RestOptions(**values)})  # type: ignore[arg-type] # a test's shorthand


def only(check: CheckResult) -> ProbeResult:
    (probe,) = check.probes
    return probe


@pytest.fixture(scope="module")
def by_mode() -> Iterator[dict[str, CheckResult]]:
    with ExitStack() as stack:
        servers = [rest(mode, stack.enter_context(FaultServer(mode)).url()) for mode in MODES]
        yield check_all([*servers, rest("refused", f"http://127.0.0.1:{closed_port()}/")])


@pytest.mark.parametrize("mode", MODES)
def test_broken_server_has_its_true_reason(by_mode: dict[str, CheckResult], mode: str) -> None:
    probe = only(by_mode[mode])
    assert (probe.status, probe.reason, probe.failed_stage) == EXPECTED[mode], probe.detail


def test_refused_connection_is_told_from_silence(by_mode: dict[str, CheckResult]) -> None:
    assert only(by_mode["refused"]).reason == "connect_refused"
    assert only(by_mode["refused"]).failed_stage == "connect"


@pytest.mark.parametrize("mode", ["silent", "drip_head", "drip_body", "endless_comments"])
def test_no_server_outlasts_the_deadline(by_mode: dict[str, CheckResult], mode: str) -> None:
    assert DEADLINE_S * 1e6 <= only(by_mode[mode]).duration_us < (DEADLINE_S + 0.5) * 1e6


def test_stages_of_a_good_reply_are_timed(by_mode: dict[str, CheckResult]) -> None:
    probe = only(by_mode["ok"])
    stages = probe.stages_us
    assert stages.keys() == {"dns", "connect", "wait", "transfer"}
    spent = sum(stages.values())
    assert 0 < spent <= probe.duration_us
    assert (probe.http_status, probe.received_bytes, probe.connections_opened, probe.reused) == (200, 16, 1, False)


def test_tls_faults_have_their_own_reasons(tmp_path: Path) -> None:
    contexts = certificates(tmp_path)
    trusting = Tls(ca_file=str(tmp_path / "ca.pem"))
    with ExitStack() as stack:
        urls = {name: stack.enter_context(FaultServer("ok", context)).url() for name, context in contexts.items()}
        plain = stack.enter_context(FaultServer("ok")).url().replace("http:", "https:")
        servers = [rest(name, url, tls=trusting, certificate_warning=7 * 86400.0) for name, url in urls.items()]
        servers += [
            rest("not_tls", plain),
            rest("unverified", urls["expired"], tls=Tls(verify=False)),
            rest("named", urls["wrong_host"], tls=replace(trusting, server_name="example.org")),
            rest("system_authorities", urls["good"]),
        ]
        found = {name: only(check) for name, check in check_all(servers).items()}
    assert {name: probe.reason for name, probe in found.items()} == {
        "good": None,
        "expired": "tls_expired",
        "expires_soon": "certificate_expires_soon",
        "wrong_host": "tls_verify",
        "unknown_authority": "tls_verify",
        "not_tls": "tls_handshake",
        "unverified": None,
        "named": None,
        "system_authorities": "tls_verify",
    }
    assert found["expires_soon"].status == "DEGRADED"
    assert "tls" in found["good"].stages_us
    expires = {name: probe.certificate_expires_at_ms or 0 for name, probe in found.items()}
    assert expires["unverified"] < found["unverified"].started_at_ms < expires["expires_soon"] < expires["good"]


def test_conditions_on_the_reply_decide() -> None:
    body = b'{"status": "DOWN", "queue": {"depth": 12}, "parts": [{"ok": true}, {"ok": false}], "n": 1}'
    headers = {"Content-Type": "application/json", "X-Build": "v12"}
    expects = {
        "equal": Expect(json=(JsonCondition(path="$.status", equals="DOWN"),)),
        "not_equal": Expect(json=(JsonCondition(path="$.status", equals="UP"),)),
        "degraded": Expect(json=(JsonCondition(path="$.status", equals="UP", otherwise="degraded"),)),
        "any": Expect(json=(JsonCondition(path="$.parts[*].ok", equals=False),)),
        "true_is_not_one": Expect(json=(JsonCondition(path="$.n", equals=True),)),
        "less": Expect(json=(JsonCondition(path="$.queue.depth", less_than=10),)),
        "more": Expect(json=(JsonCondition(path="$.queue.depth", greater_than=10),)),
        "absent": Expect(json=(JsonCondition(path="$.nothing", exists=False),)),
        "present": Expect(json=(JsonCondition(path="$.status", exists=False),)),
        "missing": Expect(json=(JsonCondition(path="$.nothing"),)),
        "one_of": Expect(json=(JsonCondition(path="$.status", one_of=("UP", "DOWN")),)),
        "matches": Expect(json=(JsonCondition(path="$.status", matches="^DO"),)),
        "body": Expect(body_regex="queue.*depth"),
        "no_body": Expect(body_regex="^nothing$"),
        "header": Expect(headers={"X-Build": r"^v\d+$"}),
        "no_header": Expect(headers={"X-Other": "."}),
        "status_class": Expect(status=("2xx",)),
        "status": Expect(status=(204, "300-399")),
        "slow": Expect(max_latency=0.000001),
    }
    with RestServer({"/health": Scripted(body=body, headers=headers)}) as server:
        found = check_all([rest(name, server.url(), expect=expect) for name, expect in expects.items()])
    fine = ("equal", "any", "more", "absent", "one_of", "matches", "body", "header", "status_class")
    failed = ("not_equal", "true_is_not_one", "less", "present", "missing", "no_body", "no_header")
    assert {name: (check.status.value, check.reason) for name, check in found.items()} == {
        **dict.fromkeys(fine, ("HEALTHY", None)),
        **dict.fromkeys(failed, ("UNHEALTHY", "condition_failed")),
        "degraded": ("DEGRADED", "condition_failed"),
        "status": ("UNHEALTHY", "http_status"),
        "slow": ("UNHEALTHY", "slow"),
    }
    assert found["not_equal"].detail == '$.status is "DOWN", expected "UP"'


def test_refusals_depend_on_whether_credentials_were_sent() -> None:
    paths = {
        "/401": Scripted(401, headers={"WWW-Authenticate": 'Bearer resource_metadata="http://a.example/meta?x=1"'}),
        "/403": Scripted(403),
        "/429": Scripted(429, headers={"Retry-After": "7"}),
        "/503": Scripted(503),
    }
    with RestServer(paths) as server:
        found = check_all(
            [
                rest("open", server.url("/401")),
                rest("fine", server.url("/401"), auth_required="healthy"),
                rest("expected", server.url("/401"), expect=Expect(status=(401,))),
                rest("token", server.url("/401"), bearer="t0ken"),
                rest("key", server.url("/403"), headers={"X-Api-Key": "k"}),
                rest("user", server.url("/403").replace("//", "//me:secret@")),
                rest("forbidden", server.url("/403"), headers={"X-Trace": "1"}),
                rest("limited", server.url("/429")),
                rest("down", server.url("/503")),
            ]
        )
        sent = [headers.get("authorization") for _, _, headers, _ in server.requests]
    assert {name: (check.status.value, check.reason) for name, check in found.items()} == {
        "open": ("DEGRADED", "auth_required"),
        "fine": ("HEALTHY", None),
        "expected": ("HEALTHY", None),
        "token": ("UNHEALTHY", "auth_rejected"),
        "key": ("UNHEALTHY", "auth_rejected"),
        "user": ("UNHEALTHY", "auth_rejected"),
        "forbidden": ("DEGRADED", "auth_required"),
        "limited": ("DEGRADED", "rate_limited"),
        "down": ("UNHEALTHY", "http_status"),
    }
    assert only(found["open"]).auth_metadata_url == "http://a.example/…"
    assert only(found["limited"]).retry_after_s == 7
    assert "Basic bWU6c2VjcmV0" in sent
    assert "secret" not in (only(found["user"]).url or "")


def test_redirects_are_counted_limited_and_lose_credentials_on_another_host() -> None:
    with RestServer() as other, RestServer() as server:
        server.paths |= {
            "/once": Scripted(302, headers={"Location": "/health"}),
            "/loop": Scripted(301, headers={"Location": "/loop"}),
            "/away": Scripted(307, headers={"Location": other.url("/health").replace("127.0.0.1", "localhost")}),
            "/file": Scripted(302, headers={"Location": "file:///etc/passwd"}),
            "/form": Scripted(303, headers={"Location": "/health"}),
        }
        found = check_all(
            [
                rest("once", server.url("/once"), bearer="t0ken"),
                rest("loop", server.url("/loop")),
                rest("away", server.url("/away"), bearer="t0ken", headers={"X-Private": "p"}),
                rest("file", server.url("/file")),
                rest("form", server.url("/form"), method="POST", body="{}"),
                rest("none", server.url("/once"), max_redirects=0, expect=Expect(status=(302,))),
            ]
        )
        away = [headers for _, _, headers, _ in other.requests]
        here = [(method, path, headers) for method, path, headers, _ in server.requests]
    redirects = {name: only(check).redirects for name, check in found.items()}
    assert redirects == {"once": 1, "loop": 5, "away": 1, "file": None, "form": 1, "none": None}
    reasons = {name: check.reason for name, check in found.items() if check.reason}
    assert reasons == {"loop": "redirect_blocked", "file": "redirect_blocked"}
    (headers,) = away
    assert "authorization" not in headers
    assert "x-private" not in headers
    assert any(path == "/health" and headers.get("authorization") == "Bearer t0ken" for _, path, headers in here)
    assert [method for method, path, _ in here if path == "/health"].count("POST") == 0


def test_https_is_never_left_for_http(tmp_path: Path) -> None:
    from checker.probes.base import ProbeFailure, Request
    from checker.probes.redirects import redirected

    request = Request("GET", "https://a.example/x", {"Authorization": "s"})
    with pytest.raises(ProbeFailure, match="https"):
        redirected(request, 302, "http://a.example/x", {})
    upgraded = redirected(replace(request, url="http://a.example/x"), 301, "https://a.example/x", {"Authorization": ""})
    assert upgraded.headers == {"Authorization": "s"}


def test_retries_wait_and_keep_the_reasons_of_failed_attempts() -> None:
    retry = Retry(max_attempts=3, initial_backoff=0.05, jitter=0.0)
    with RestServer(
        {"/twice": Scripted(fail_first=2), "/four": Scripted(fail_first=4), "/404": Scripted(404)}
    ) as server:
        found = check_all([rest(path, server.url(f"/{path}"), retry=retry) for path in ("twice", "four", "404")])
        asked = [path for _, path, _, _ in server.requests]
    assert only(found["twice"]).status == "HEALTHY"
    assert (only(found["twice"]).attempts, only(found["twice"]).earlier_reasons) == (3, "http_status,http_status")
    assert (only(found["four"]).attempts, only(found["four"]).status) == (3, "UNHEALTHY")
    assert asked.count("/404") == 1, "a 404 is an answer, not an accident"


def test_methods_and_bodies_are_sent_as_configured() -> None:
    with RestServer() as server:
        check_all(
            [
                rest("get", server.url()),
                rest("head", server.url(), method="HEAD"),
                rest("post", server.url(), method="POST", body='{"a": 1}'),
            ]
        )
        asked = {method: (headers, body) for method, _, headers, body in server.requests}
    assert set(asked) == {"GET", "HEAD", "POST"}
    assert asked["POST"][1] == b'{"a": 1}'
    assert asked["POST"][0]["content-type"] == "application/json"
    assert asked["GET"][0]["user-agent"].startswith("mcp-status-check/")


def test_checks_of_one_origin_reuse_connections() -> None:
    with RestServer() as server:
        servers = [rest(f"s{number}", server.url()) for number in range(200)]
        found = check_all(servers, concurrency=5)
        assert server.connections <= 5
    assert sum(only(check).connections_opened or 0 for check in found.values()) == server.connections
    assert sum(bool(only(check).reused) for check in found.values()) == 200 - server.connections


def test_secret_echoed_by_a_server_does_not_reach_the_result() -> None:
    paths = {"/echo": Scripted(body=b'{"status": "token c4nary-token is bad"}')}
    wanted = Expect(json=(JsonCondition(path="$.status", equals="UP"),))
    with RestServer(paths) as server:
        found = check_all([rest("echo", server.url("/echo") + "?key=s3cret", bearer="c4nary-token", expect=wanted)])
    assert "c4nary" not in repr(found)
    assert "s3cret" not in repr(found)
    assert "***" in (found["echo"].detail or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "::1", "169.254.169.254"])
def test_redirect_from_a_public_host_does_not_lead_inside(host: str) -> None:
    """The rule itself; a public host to start from is not to be had on loopback."""
    from checker.addresses import Scope, named_by
    from checker.limits import DnsLimits
    from checker.probes.base import ProbeFailure
    from checker.worker.transport.dns import DnsCache
    from checker.worker.transport.sockets import open_socket
    from checker.worker.transport.trace import Trace

    with pytest.raises(ProbeFailure) as refused:
        open_socket(host, 9, 0.5, Trace(), named_by(Scope.PUBLIC), DnsCache(DnsLimits()))
    assert refused.value.reason == "redirect_blocked"


def test_name_that_does_not_exist_and_other_families_have_their_reasons() -> None:
    found = check_all(
        [
            rest("unknown", "http://no-such-host.invalid/"),
            rest("not_a_name", "http://a..b/"),
            rest("unreachable", "http://[::1]:9/"),
            rest("named", f"http://localhost:{closed_port()}/"),
        ]
    )
    assert {name: check.reason for name, check in found.items()} == {
        "unknown": "dns",
        "not_a_name": "dns",
        "unreachable": found["unreachable"].reason,
        "named": "connect_refused",
    }
    assert found["unreachable"].reason in ("connect_refused", "connect_failed"), (
        "where there is no IPv6 it is the latter"
    )
    assert only(found["unknown"]).failed_stage == "dns"


@pytest.mark.parametrize(
    "value", ['Bearer resource_metadata="http://["', "Bearer resource_metadata=\x01", "Bearer", ""]
)
def test_challenge_that_is_nonsense_is_still_a_challenge(value: str) -> None:
    with RestServer({"/401": Scripted(401, headers={"WWW-Authenticate": value, "Retry-After": "soon"})}) as server:
        found = check_all([rest("a", server.url("/401"))])
    assert (found["a"].status, found["a"].reason) == ("DEGRADED", "auth_required")
