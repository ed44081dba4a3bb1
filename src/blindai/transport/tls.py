"""TLS for a peer that is authenticated by evidence, not by a certificate authority."""

from __future__ import annotations

import functools
import ssl
from typing import Any

from blindai.channel.bundle import Peer
from blindai.errors import EvidenceMalformed, Reason

ALPN = "http/1.1"


@functools.cache
def client_context() -> ssl.SSLContext:
    """Return a bare TLS 1.3 context, the same for all transports: there is nothing in it to choose.

    `ssl.create_default_context` would honour SSLKEYLOGFILE and load the system's roots. No certificate
    is checked here: the peer's key is checked against evidence before anything is sent, and a
    certificate authority's word could only weaken that.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    return context


def peer_of(ssl_object: Any, dialled: str) -> Peer:
    """Return who ended the TLS connection, or raise AttestationError if it is not TLS 1.3 with our ALPN."""
    if ssl_object is None or ssl_object.version() != "TLSv1.3":
        raise EvidenceMalformed(Reason.ANSWER_FRAMING, "the connection is not TLS 1.3")
    if ssl_object.selected_alpn_protocol() != ALPN:
        raise EvidenceMalformed(
            Reason.ANSWER_FRAMING,
            "the peer did not agree on http/1.1 by ALPN",
            hint="is this a BlindAI server, without a balancer that ends TLS before it?",
        )
    # Positional: in sync mode this is CPython's raw _SSLSocket, which refuses the keyword.
    certificate = ssl_object.getpeercert(True)
    if not certificate:
        raise EvidenceMalformed(Reason.CERTIFICATE_MALFORMED, "the peer showed no certificate")
    return Peer.from_certificate(dialled, certificate)
