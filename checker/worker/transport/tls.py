"""TLS: one context per distinct setting, why a handshake failed, and when a certificate expires."""

from __future__ import annotations

import ssl
from time import monotonic, time
from typing import Any

from checker.model import Reason
from checker.probes.base import ProbeFailure
from checker.probes.options import Tls
from checker.probes.text import excerpt

_RESUME_WITHIN_S = 300.0
_MOST_SESSIONS = 10_000
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


class TlsContexts:
    """Contexts by setting: loading the system's authorities takes longer than a whole check."""

    def __init__(self) -> None:
        self._contexts: dict[Tls, ssl.SSLContext] = {}

    def get(self, tls: Tls) -> ssl.SSLContext:
        """The context for the setting; raises ProbeFailure where a file of it cannot be used."""
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
    """A context that takes up the last TLS session of a server where it is fresh (RFC 8446 section 2.2).

    A server does not send its certificate again when a session is resumed: after a few minutes it is asked for anew,
    so that one that was replaced is seen.
    """

    sessions: dict[tuple[str | None, str, int], tuple[ssl.SSLSession, float]]

    def wrap_socket(self, sock: Any, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As the standard one does; raises the same errors."""
        server: Any = (kwargs.get("server_hostname"), *sock.getpeername()[:2])
        session, until_s = self.sessions.get(server, (None, 0.0))
        if session is not None and monotonic() < until_s:
            kwargs["session"] = session
        wrapped = super().wrap_socket(sock, *args, **kwargs)
        if not wrapped.session_reused:  # a resumed one is not kept again: its age counts from the certificate
            wrapped.resumable = server, monotonic() + _good_for_s(wrapped)  # type: ignore[attr-defined] # for keep_session
        return wrapped


def keep_session(sock: object) -> None:
    """Keep the TLS session of a socket that is about to be closed, for the next connection to the same server.

    In TLS 1.3 a session comes with the first data, so that it is not there before.
    """
    if not isinstance(sock, ssl.SSLSocket) or not isinstance(context := sock.context, ResumingContext):
        return
    server, until_s = getattr(sock, "resumable", (None, 0.0))
    if server is None:
        return
    session = sock.session
    if session is not None and (session.has_ticket or session.id):
        if len(context.sessions) >= _MOST_SESSIONS:
            context.sessions.clear()
        context.sessions[server] = session, until_s


def _good_for_s(sock: ssl.SSLSocket) -> float:
    """How long the session may be taken up: not past the end of the certificate, which nobody would see."""
    expires_at_ms = certificate_expiry_ms(sock)
    return _RESUME_WITHIN_S if expires_at_ms is None else min(_RESUME_WITHIN_S, expires_at_ms / 1000 - time())


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
    """The failure that an exception of the handshake stands for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _EXPIRED:
            return ProbeFailure(Reason.TLS_EXPIRED, "the certificate has expired", "tls")
        return ProbeFailure(Reason.TLS_VERIFY, f"certificate not accepted: {excerpt(error.verify_message)}", "tls")
    if isinstance(error, TimeoutError):
        return ProbeFailure(Reason.TLS_HANDSHAKE, f"no TLS handshake within {timeout_s:g} s", "tls")
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return ProbeFailure(Reason.TLS_HANDSHAKE, "the server does not speak TLS on this port", "tls")
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return ProbeFailure(Reason.TLS_HANDSHAKE, "the server closed the connection in the TLS handshake", "tls")
    said = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
    return ProbeFailure(Reason.TLS_HANDSHAKE, f"TLS handshake failed: {excerpt(said)}", "tls")


def certificate_expiry_ms(sock: object) -> int | None:
    """Unix milliseconds at which the peer's certificate expires; None where it cannot be read."""
    if not isinstance(sock, ssl.SSLSocket):
        return None
    try:
        if (certificate := sock.getpeercert()) and "notAfter" in certificate:
            return round(ssl.cert_time_to_seconds(str(certificate["notAfter"])) * 1000)
        if der := sock.getpeercert(binary_form=True):  # an unverified certificate is given in this form only
            from cryptography.x509 import load_der_x509_certificate

            return round(load_der_x509_certificate(der).not_valid_after_utc.timestamp() * 1000)
    except ValueError:  # a certificate too broken to read does not hide what the server answered
        return None
    return None
