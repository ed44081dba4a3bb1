"""Who the server is for the life of one keyset: its keys, its certificate, its own TLS context.

Private keys are made here, in memory, and never touch a disk. A connection belongs to the identity of its
handshake: the listening context hands each new connection to the current identity's context.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import math
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from blindai.attestation.appraisal import CLOCK_SKEW_SECONDS
from blindai.attestation.times import shown
from blindai.attestation.trust import SIMULATION_MARK
from blindai.channel import keyset
from blindai.channel.keyset import SettingValue, Software
from blindai.errors import UsageError
from blindai.server.keys.alpn import ALPN, ClientHellos
from blindai.server.keys.operator import Operator


@dataclass(frozen=True)
class Identity:
    """One keyset with all that belongs to it. `not_after` is in Unix seconds.

    `operator_pem` is the certificate of whoever issued `certificate_pem`, None if that is self-signed.
    """

    keyset_raw: bytes
    not_after: int
    certificate_pem: str
    context: ssl.SSLContext = field(repr=False)
    receipt_key: Ed25519PrivateKey = field(repr=False)
    operator_pem: str | None = None

    @property
    def keyset_sha256(self) -> bytes:
        return hashlib.sha256(self.keyset_raw).digest()


# A handshake that an identity began may end a little after it.
_LAST_HANDSHAKE_SECONDS = 60


class Identities:
    """The current identity, and those whose connections still live."""

    def __init__(self, first: Identity) -> None:
        self.current = first
        self.closing = False
        self._by_context = {first.context: first}

    def of(self, context: ssl.SSLContext) -> Identity:
        """Return the identity whose keys made the handshake of a connection with this context."""
        return self._by_context[context]

    def retired(self, identity: Identity) -> bool:
        """Return whether connections of this identity end after their next answer."""
        return self.closing or identity is not self.current

    def renew(self, identity: Identity) -> None:
        """Give new connections to `identity`."""
        self.current = identity
        self._by_context[identity.context] = identity

    def next_end(self, now: float) -> float:
        """Return in how many seconds the next keyset ends; infinite if all have."""
        left = (identity.not_after - now for identity in self._by_context.values())
        return min((seconds for seconds in left if seconds > 0), default=math.inf)

    def forget(self, *, now: int) -> None:
        """Drop the keys of identities that have ended; the current one stays, whatever its age."""
        for old in list(self._by_context.values()):
            if old is not self.current and old.not_after + _LAST_HANDSHAKE_SECONDS < now:
                del self._by_context[old.context]

    def listening_context(self) -> ssl.SSLContext:
        """Return the context to listen with. It has no key: every handshake moves on to an identity's."""
        context = _bare_context()
        hellos = ClientHellos(context)

        def choose(
            ssl_object: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext
        ) -> int | None:
            # Called for every ClientHello, also without SNI. The name does not matter here.
            alert = hellos.refusal(ssl_object)
            if alert is None:
                ssl_object.context = self.current.context
            return alert

        context.sni_callback = choose
        return context


def new_identity(
    names: Sequence[str],
    *,
    now: int,
    life_seconds: int,
    software: Software,
    settings: Mapping[str, SettingValue],
    simulated: bool,
    operator: Operator | None = None,
) -> Identity:
    """Make fresh keys for the names that clients dial, promised from `now` for `life_seconds`.

    An operator issues the certificate, and the keys end with theirs at the latest. Raises UsageError if that
    has ended.
    """
    not_after = now + life_seconds if operator is None else min(now + life_seconds, operator.not_after)
    if not_after <= now:
        raise UsageError(
            f"the operator's certificate ended at {shown(not_after)}",
            hint="put a new one in its place and send SIGHUP",
        )
    tls_key = ec.generate_private_key(ec.SECP256R1())
    receipt_key = Ed25519PrivateKey.generate()
    spki = tls_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raw = keyset.encode(
        names=names,
        tls_spki_sha256=hashlib.sha256(spki).digest(),
        receipt_key=receipt_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
        not_before=now,
        not_after=not_after,
        software=software,
        settings=settings,
        simulated=simulated,
    )
    certificate = _certificate(tls_key, names, now, not_after, simulated=simulated, operator=operator)
    pem = certificate.public_bytes(Encoding.PEM)
    return Identity(
        keyset_raw=raw,
        not_after=not_after,
        certificate_pem=pem.decode("ascii"),
        context=_context(tls_key, pem),
        receipt_key=receipt_key,
        operator_pem=None if operator is None else operator.certificate_pem,
    )


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    now: int,
    not_after: int,
    *,
    simulated: bool,
    operator: Operator | None,
) -> x509.Certificate:
    """Return a certificate, self-signed without an operator: what runs here is proven by evidence alone."""
    organization = SIMULATION_MARK if simulated else "BlindAI enclave"
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, "BlindAI"),
        ]
    )
    public = key.public_key()
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # The tolerance that our own client has for the keyset: clocks differ.
        .not_valid_before(_utc(now - CLOCK_SKEW_SECONDS))
        .not_valid_after(_utc(not_after))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if operator is not None:
        return operator.issue(builder)
    own = x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
    return builder.issuer_name(subject).add_extension(own, critical=False).sign(key, SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _utc(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)


def _context(key: ec.EllipticCurvePrivateKey, certificate: bytes) -> ssl.SSLContext:
    context = _bare_context()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate
    # load_cert_chain takes only paths. This file has no name, lives in memory and is gone when closed.
    descriptor = os.memfd_create("blindai")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


def _bare_context() -> ssl.SSLContext:
    """TLS 1.3 alone, http/1.1 by ALPN, no tickets: a resumed session would outlive its keyset.

    Not `create_default_context`, which honours SSLKEYLOGFILE.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.set_alpn_protocols([ALPN])
    return context
