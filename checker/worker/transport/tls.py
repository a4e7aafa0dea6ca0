"""TLS: one context per distinct setting, causes of failed handshakes, and expiry of certificate chains."""

from __future__ import annotations

import ssl
from time import monotonic, time
from typing import Any, NamedTuple

from msgspec.structs import replace
from urllib3.util.ssl_match_hostname import CertificateError

from checker.model import Reason
from checker.probes.base import OwnFault, ProbeFailure
from checker.probes.http import origin
from checker.probes.options import Endpoint, Tls
from checker.secrets.excerpts import excerpt

_RESUME_WITHIN_S = 300.0
_MOST_SESSIONS = 10_000
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_NOT_YET_VALID = 9  # X509_V_ERR_CERT_NOT_YET_VALID


class Expiry(NamedTuple):
    """The earliest expiry in a certificate chain, and the certificate that has it."""

    at_ms: int
    issuer: str = ""
    """The name of the issuer if the certificate is an issuer's; empty for the server's own."""


def tls_for(url: str, options: Endpoint) -> Tls:
    """The settings for a request to that address: server name and client certificate apply to the configured host."""
    tls = options.tls
    if (tls.server_name or tls.cert_file) and origin(url)[1] != origin(options.url)[1]:
        return replace(tls, server_name=None, cert_file=None, key_file=None)
    return tls


class TlsContexts:
    """Contexts by setting: loading the system's authorities takes longer than a whole check."""

    def __init__(self) -> None:
        self._contexts: dict[Tls, ssl.SSLContext] = {}

    def get(self, tls: Tls) -> ssl.SSLContext:
        """The context for the setting; raises ProbeFailure if one of its files cannot be used."""
        context = self._contexts.get(tls)
        if context is None:
            try:
                context = self._contexts[tls] = _context(tls)
            except (OSError, ssl.SSLError) as error:
                named = ", ".join(file for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)
                said = f"{named}: {excerpt(str(error))}"
                raise ProbeFailure(Reason.INTERNAL_ERROR, f"TLS files cannot be used: {said}", "tls") from None
        return context


class ResumingContext(ssl.SSLContext):
    """A context that resumes the last TLS session of a server if it is recent (RFC 8446 section 2.2).

    A server does not send its certificate again when a session is resumed: after a few minutes a full handshake is
    made, so that a replaced certificate is noticed.
    """

    sessions: dict[tuple[str | None, str, int], tuple[ssl.SSLSession, float, Expiry | None]]

    def wrap_socket(self, sock: Any, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Like the standard one; raises the same errors."""
        server: Any = (kwargs.get("server_hostname"), *sock.getpeername()[:2])
        session, until_s, expiry = self.sessions.get(server, (None, 0.0, None))
        if session is not None and monotonic() < until_s:
            kwargs["session"] = session
        wrapped: Any = super().wrap_socket(sock, *args, **kwargs)
        if wrapped.session_reused:  # it is not kept again: its age counts from the certificate
            wrapped.chain_expiry = expiry  # of which only the server's own would be known
        else:
            wrapped.resumable = server, monotonic() + _good_for_s(wrapped), certificate_expiry(wrapped)
        return wrapped  # type: ignore[no-any-return] # as the standard one gives it


def keep_session(sock: object) -> None:
    """Keep the TLS session of a socket that is about to be closed, for the next connection to the same server.

    In TLS 1.3 a session arrives with the first data, so it does not exist before.
    """
    if not isinstance(sock, ssl.SSLSocket) or not isinstance(context := sock.context, ResumingContext):
        return
    server, until_s, expiry = getattr(sock, "resumable", (None, 0.0, None))
    if server is None:
        return
    session = sock.session
    if session is not None and (session.has_ticket or session.id):
        if len(context.sessions) >= _MOST_SESSIONS:
            context.sessions.clear()
        context.sessions[server] = session, until_s, expiry


def _good_for_s(sock: ssl.SSLSocket) -> float:
    """Seconds that the session may be resumed: not past the certificate's expiry, which would go unnoticed."""
    expiry = certificate_expiry(sock)
    return _RESUME_WITHIN_S if expiry is None else min(_RESUME_WITHIN_S, expiry.at_ms / 1000 - time())


def _context(tls: Tls) -> ssl.SSLContext:
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sessions = {}
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION
    context.hostname_checks_common_name = False
    context.check_hostname = tls.verify
    context.verify_mode = ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE
    if tls.verify and tls.ca_file:
        context.load_verify_locations(tls.ca_file)
    elif tls.verify:
        context.load_default_certs()
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def handshake_failure(error: Exception, timeout_s: float) -> ProbeFailure:
    """The failure for an exception raised by the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _EXPIRED:
            return ProbeFailure(Reason.TLS_EXPIRED, "the certificate has expired", "tls")
        own = OwnFault.CLOCK if error.verify_code == _NOT_YET_VALID else None
        said = excerpt(error.verify_message)
        return ProbeFailure(Reason.TLS_VERIFY, f"certificate not accepted: {said}", "tls", own)
    if isinstance(error, CertificateError):  # of urllib3, where it compares names by itself
        return ProbeFailure(Reason.TLS_VERIFY, f"certificate not accepted: {excerpt(str(error))}", "tls")
    if isinstance(error, TimeoutError):
        return ProbeFailure(Reason.TLS_HANDSHAKE, f"no TLS handshake within {timeout_s:g} s", "tls")
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return ProbeFailure(Reason.TLS_HANDSHAKE, "the server does not speak TLS on this port", "tls")
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return ProbeFailure(Reason.TLS_HANDSHAKE, "the server closed the connection in the TLS handshake", "tls")
    said = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
    return ProbeFailure(Reason.TLS_HANDSHAKE, f"TLS handshake failed: {excerpt(said)}", "tls")


def certificate_expiry(sock: object) -> Expiry | None:
    """The earliest expiry of the peer's certificates; None if none can be read.

    They are those of the verified chain, up to the authority's, or those that the server sent if nothing is verified.
    """
    if not isinstance(sock, ssl.SSLSocket):
        return None
    if (known := getattr(sock, "chain_expiry", None)) is not None:
        return known  # type: ignore[no-any-return] # set above
    own = _own_expiry_ms(sock)
    found = [] if own is None else [Expiry(own)]
    for certificate in _chain(sock)[1:]:
        try:
            info = certificate.get_info()
            names = dict(pair for part in info.get("subject", ()) for pair in part)
            name = names.get("commonName") or names.get("organizationName") or "no name"
            found.append(Expiry(round(ssl.cert_time_to_seconds(info["notAfter"]) * 1000), excerpt(name, 60)))
        except (ValueError, LookupError, ssl.SSLError):  # as for the server's own
            continue
    return min(found, key=lambda one: one.at_ms, default=None)


def _chain(sock: ssl.SSLSocket) -> list[Any]:
    """The certificates of a connection, the server's own first; the standard library offers them only privately."""
    inner: Any = getattr(sock, "_sslobj", None)
    named = "get_verified_chain" if sock.context.verify_mode == ssl.CERT_REQUIRED else "get_unverified_chain"
    try:
        return list(getattr(inner, named, lambda: None)() or ())
    except (ValueError, ssl.SSLError):
        return []


def _own_expiry_ms(sock: ssl.SSLSocket) -> int | None:
    try:
        if (certificate := sock.getpeercert()) and "notAfter" in certificate:
            return round(ssl.cert_time_to_seconds(str(certificate["notAfter"])) * 1000)
        if der := sock.getpeercert(binary_form=True):  # an unverified certificate is given in this form only
            from cryptography.x509 import load_der_x509_certificate

            return round(load_der_x509_certificate(der).not_valid_after_utc.timestamp() * 1000)
    except ValueError:  # a certificate too broken to read does not hide what the server answered
        return None
    return None
