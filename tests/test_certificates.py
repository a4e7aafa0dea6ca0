"""Certificates of every hop and of the whole chain; names and client certificates for the configured host alone."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from test_healthy_rest import Site, page

from checker.model import Server
from checker.probes.options import Tls
from checker.probes.rest import RestOptions
from conftest import check_all

DAY_S = 86400.0


def rest(name: str, url: str, tls: Tls, **options: Any) -> Server:
    return Server(name=name, probes={"rest": RestOptions(url=url, timeout=5.0, tls=tls, **options)})


def chained(folder: Path, middle_days: int) -> tuple[str, ssl.SSLContext]:
    """The file of an authority, and a server context whose chain has one between that is good for so many days."""
    now = datetime.now(UTC)
    signed: list[tuple[x509.Certificate, ec.EllipticCurvePrivateKey]] = []
    for name, days in (("Root", 900), ("Middle", middle_days), ("leaf", 90)):
        key = ec.generate_private_key(ec.SECP256R1())
        by, by_key = signed[-1] if signed else (None, key)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder(
                by.subject if by else subject, subject, key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=name != "leaf", path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by_key.public_key()), critical=False)
        )
        if name == "leaf":
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        signed.append((builder.sign(by_key, hashes.SHA256()), key))
    (root, _), (middle, _), (leaf, key) = signed
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    authority, own = folder / "root.pem", folder / "chain.pem"
    authority.write_bytes(root.public_bytes(encoding))
    own.write_bytes(
        key.private_bytes(encoding, form, serialization.NoEncryption())
        + leaf.public_bytes(encoding)
        + middle.public_bytes(encoding)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return str(authority), context


def issued(authority: trustme.CA, *names: str, days: int = 90) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, not_after=datetime.now(UTC) + timedelta(days=days)).configure_cert(context)
    return context


@pytest.mark.parametrize("http", ["fast", "urllib3"])
def test_every_hop_and_every_certificate_counts_and_names_belong_to_their_host(tmp_path: Path, http: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("checker").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    root, chain = chained(tmp_path, 3)
    trusting = Tls(ca_file=str(tmp_path / "ca.pem"))
    asked: list[str | None] = []
    shown: list[bool] = []
    soon, there = issued(authority, "localhost", days=2), issued(authority, "localhost")
    there.sni_callback = lambda sock, name, context: asked.append(name)
    there.verify_mode = ssl.CERT_OPTIONAL
    authority.configure_trust(there)

    class Asking:
        """Notes whether a client certificate came."""

        def wrap_socket(self, sock: Any, server_side: bool) -> ssl.SSLSocket:
            secure = there.wrap_socket(sock, server_side=server_side)
            shown.append(bool(secure.getpeercert()))
            return secure

    with ExitStack() as stack:
        target: Any = stack.enter_context(Site(lambda path, headers: page(), Asking()))  # type: ignore[arg-type] # wraps like one
        ending = stack.enter_context(Site(lambda path, headers: page(), soon))

        def leads(to: Site, *names: str) -> str:
            away = page(f"Location: https://localhost:{to.port}/", status="302 Found")
            return stack.enter_context(Site(lambda path, headers: away, issued(authority, *names))).url

        own = Tls(ca_file=trusting.ca_file, server_name="shop.example", cert_file=str(tmp_path / "own.pem"))
        wrong = Tls(ca_file=trusting.ca_file, server_name="other.example")
        middle = stack.enter_context(Site(lambda path, headers: page(), chain)).url
        found = check_all([
            rest("hop", leads(ending, "127.0.0.1"), trusting, certificate_warning=14 * DAY_S, http=http),
            rest("chain", middle, Tls(ca_file=root), certificate_warning=14 * DAY_S, http=http),
            rest("unverified chain", middle, Tls(verify=False), certificate_warning=14 * DAY_S, http=http),
            rest("far enough", middle, Tls(ca_file=root), certificate_warning=2 * DAY_S, http=http),
            rest("own name", leads(target, "shop.example"), own, http=http),
            rest("wrong name", leads(target, "shop.example"), wrong, http=http),
        ])  # fmt: skip
    assert {name: check.reason for name, check in found.items()} == {
        "hop": "certificate_expires_soon",
        "chain": "certificate_expires_soon",
        "unverified chain": "certificate_expires_soon",
        "far enough": None,
        "own name": None,
        "wrong name": "tls_verify",
    }, {name: check.detail for name, check in found.items()}
    assert (found["hop"].detail or "").startswith("certificate of localhost expires in ")
    assert (found["chain"].detail or "").startswith("certificate of the issuer Middle expires in ")
    assert found["wrong name"].status == "UNHEALTHY"
    assert (asked, shown) == (["localhost"], [False])
