"""The operator's certificate and key, which issue the certificates of this server's identities (design 4.6).

They come from a folder of the operator's, as one openssl command makes them. What a client would refuse, or a
plain TLS client could not use, is refused here, at the start, with the command that mends it.
"""

from __future__ import annotations

import datetime
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from blindai.attestation.times import shown
from blindai.channel.operator import MAX_CERTIFICATE_BYTES, flaw_of, sound_key
from blindai.errors import UsageError
from blindai.server.keys import secret_file

CERTIFICATE_FILE = "host_server.pem"
KEY_FILE = "host_server.key"
MAX_FILE_BYTES = 64 * 1024
MIN_LEFT_SECONDS = 3600
"""How long the certificate must last when it is read: no keyset outlives it."""
WARNED_SECONDS = 14 * 24 * 3600

OperatorKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Operator:
    """Who runs the server. `warnings` are for the log: nothing that keeps it from starting."""

    certificate: x509.Certificate
    key: OperatorKey = field(repr=False)
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path, *, now: int) -> Operator:
        """Read the two files of `folder`, or raise UsageError for what clients could not accept at `now`."""
        try:
            return cls._checked(folder / CERTIFICATE_FILE, folder / KEY_FILE, now)
        except UsageError as exc:
            if exc.hint:
                raise
            raise UsageError(str(exc), hint=_mending(folder)) from exc.__cause__

    @classmethod
    def _checked(cls, certificate_file: Path, key_file: Path, now: int) -> Operator:
        certificate = _certificate(certificate_file)
        _check_certificate(certificate_file, certificate)
        _check_dates(certificate_file, certificate, now)
        key = _key(key_file)
        if key.public_key() != certificate.public_key():
            raise UsageError(
                f"{key_file} is not the key of {certificate_file}",
                hint="clients pin the key: if it is the right one, make it a certificate: "
                + renewal(key_file.parent),
            )
        return cls(certificate, key, _warnings(certificate_file, certificate, now))

    @property
    def certificate_pem(self) -> str:
        """The certificate alone, whatever else was in its file."""
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    @property
    def not_after(self) -> int:
        return _seconds(self.certificate.not_valid_after_utc)

    def issue(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Name the issuer and sign."""
        builder = builder.issuer_name(self.certificate.subject).add_extension(
            _authority_key(self.certificate), critical=False
        )
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return builder.sign(self.key, None)
        large = isinstance(self.key, ec.EllipticCurvePrivateKey) and self.key.key_size > 256
        return builder.sign(self.key, SHA384() if large else SHA256())


def command(folder: Path) -> str:
    """Return the openssl command that makes both files in `folder`, good for a year."""
    return (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
        f"-keyout {quote(str(folder / KEY_FILE))} {_certificate_options(folder)}"
    )


def renewal(folder: Path) -> str:
    """Return the openssl command that makes a new certificate for the key in `folder`, good for a year."""
    return f"openssl req -x509 -new -key {quote(str(folder / KEY_FILE))} {_certificate_options(folder)}"


def _certificate_options(folder: Path) -> str:
    return (
        '-days 365 -subj "/O=Example Ltd/CN=BlindAI operator" '
        f"-addext keyUsage=critical,keyCertSign,cRLSign -out {quote(str(folder / CERTIFICATE_FILE))}"
    )


def _mending(folder: Path) -> str:
    """Return what mends the two files. A key is never written over: clients pin it, and refuse any other."""
    path = folder / KEY_FILE
    if _is_usable(path):
        return f"a new certificate for the same key, which clients pin: {renewal(folder)}"
    if not os.path.lexists(folder):
        return f"make both: mkdir -p {quote(str(folder))} && {command(folder)}"
    anew = "or make both anew, and clients have to pin that: "
    if os.path.lexists(path):
        aside = f"mv --backup=numbered {quote(str(path))} {quote(f'{path}.old')}"
        return f"put the right key there; {anew}{aside} && {command(folder)}"
    if os.path.lexists(folder / CERTIFICATE_FILE):
        return f"put the key back; {anew}{command(folder)}"
    return f"make both: {command(folder)}"


def _is_usable(path: Path) -> bool:
    """Whether openssl makes a certificate with this key that is taken; of an encrypted one it is assumed."""
    try:
        data = _read(path)
        if b"ENCRYPTED" in data:
            return True
        return sound_key(load_pem_private_key(data, password=None).public_key())
    except (UsageError, ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _certificate(path: Path) -> x509.Certificate:
    data = _read(path)
    if b"PRIVATE KEY" in data:
        # Clients are given this file.
        raise UsageError(f"{path} holds a private key", hint=f"it belongs into {KEY_FILE} alone")
    try:
        certificates = x509.load_pem_x509_certificates(data)
        if len(certificates) != 1:
            raise UsageError(
                f"{path} holds {len(certificates)} certificates",
                hint="leave the operator's own, and no other",
            )
        certificate = certificates[0]
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        _ = certificate.issuer, certificate.subject
    except (x509.InvalidVersion, ValueError, TypeError) as exc:
        if isinstance(exc, UsageError):
            raise
        raise UsageError(f"{path} is not a PEM certificate") from exc
    return certificate


def _check_certificate(path: Path, certificate: x509.Certificate) -> None:
    if certificate.version is x509.Version.v1:
        raise UsageError(f"{path} is an X.509 v1 certificate, without extensions: no authority's (CA:TRUE)")
    flaw = flaw_of(certificate)
    if flaw:
        raise UsageError(f"{path} {flaw}")
    if not list(certificate.subject):
        raise UsageError(f"{path} has an empty subject, and strict clients refuse such an issuer")
    if len(certificate.public_bytes(Encoding.PEM)) > MAX_CERTIFICATE_BYTES:
        raise UsageError(f"{path} is larger than the {MAX_CERTIFICATE_BYTES} bytes that clients read")


def _check_dates(path: Path, certificate: x509.Certificate, now: int) -> None:
    begins, ends = _seconds(certificate.not_valid_before_utc), _seconds(certificate.not_valid_after_utc)
    if now < begins:
        raise UsageError(
            f"{path} is valid from {shown(begins)}, the clock says {shown(now)}",
            hint="check this computer's clock",
        )
    if now >= ends:
        raise UsageError(f"{path} ended at {shown(ends)}, the clock says {shown(now)}")
    if ends - now < MIN_LEFT_SECONDS:
        raise UsageError(
            f"{path} ends at {shown(ends)}, too soon: the server's keys end with it and need "
            f"{MIN_LEFT_SECONDS // 60} minutes at least"
        )


def _key(path: Path) -> OperatorKey:
    data = _read(path, secret=True)
    if b"ENCRYPTED" in data:
        raise UsageError(
            f"{path} is encrypted, and nobody types its passphrase when the server starts",
            hint=f"openssl pkey -in {quote(str(path))} -out {quote(f'{path}.plain')}, "
            "then put that in its place",
        )
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise UsageError(f"{path} is not a PEM private key") from exc
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise UsageError(f"{path} is neither RSA, P-256, P-384 nor Ed25519")
    return key


def _read(path: Path, *, secret: bool = False) -> bytes:
    """Return a plain file's bytes. Links are followed: whoever renews certificates swaps them by one."""
    try:
        # A pipe in its place does not keep the server waiting.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{path} is not a plain file")
            if secret:
                secret_file.check(path, status)
            data = file.read(MAX_FILE_BYTES + 1)
    except PermissionError as exc:
        raise UsageError(
            f"{path} cannot be read: {exc.strerror}",
            hint=f"let the server's user read it (uid {os.geteuid()})",
        ) from exc
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    return data


def _warnings(path: Path, certificate: x509.Certificate, now: int) -> tuple[str, ...]:
    found = []
    ends = _seconds(certificate.not_valid_after_utc)
    if ends - now < WARNED_SECONDS:
        found.append(f"{path} ends at {shown(ends)}: make a new one for the same key, and send SIGHUP")
    try:
        certificate.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        found.append(
            f"{path} has no keyUsage: TLS clients that check strictly, Python's from 3.13 on among them, "
            "refuse what it issues (-addext keyUsage=critical,keyCertSign,cRLSign)"
        )
    if certificate.issuer != certificate.subject:
        found.append(f"{path} was issued by another: TLS clients without BlindAI may want its issuer too")
    return tuple(found)


def _authority_key(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        identifier = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _seconds(moment: datetime.datetime) -> int:
    return int(moment.timestamp())
