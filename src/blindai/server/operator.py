"""The operator's certificate and key, which issue the certificates of this server's identities (design 4.6).

They come from a folder of the operator's, as one openssl command makes them. What a client would refuse, or a
plain TLS client could not use, is refused here, at the start, with the command that makes good ones.
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
from blindai.channel.operator import MAX_CERTIFICATE_BYTES, flaw_of
from blindai.errors import UsageError

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
        paths = folder / CERTIFICATE_FILE, folder / KEY_FILE
        hint = f"make both anew: {command(folder)}"
        certificate = _certificate(paths[0], hint)
        _check_certificate(paths[0], certificate, hint)
        _check_dates(paths[0], certificate, now, hint)
        key = _key(paths[1], hint)
        if key.public_key() != certificate.public_key():
            raise UsageError(f"{paths[1]} is not the key of {paths[0]}", hint=hint)
        return cls(certificate, key, _warnings(paths[0], certificate, now))

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
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 "
        '-subj "/O=Example Ltd/CN=BlindAI operator" '
        "-addext keyUsage=critical,keyCertSign,cRLSign "
        f"-keyout {quote(str(folder / KEY_FILE))} -out {quote(str(folder / CERTIFICATE_FILE))}"
    )


def _certificate(path: Path, hint: str) -> x509.Certificate:
    data = _read(path, hint)
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
    except (x509.InvalidVersion, ValueError) as exc:
        if isinstance(exc, UsageError):
            raise
        raise UsageError(f"{path} is not a PEM certificate", hint=hint) from exc
    return certificate


def _check_certificate(path: Path, certificate: x509.Certificate, hint: str) -> None:
    if certificate.version is x509.Version.v1:
        raise UsageError(
            f"{path} is an X.509 v1 certificate, without extensions: no authority's (CA:TRUE)", hint=hint
        )
    flaw = flaw_of(certificate)
    if flaw:
        raise UsageError(f"{path} {flaw}", hint=hint)
    if not list(certificate.subject):
        raise UsageError(f"{path} has an empty subject, and strict clients refuse such an issuer", hint=hint)
    if len(certificate.public_bytes(Encoding.PEM)) > MAX_CERTIFICATE_BYTES:
        raise UsageError(f"{path} is larger than the {MAX_CERTIFICATE_BYTES} bytes that clients read")


def _check_dates(path: Path, certificate: x509.Certificate, now: int, hint: str) -> None:
    begins, ends = _seconds(certificate.not_valid_before_utc), _seconds(certificate.not_valid_after_utc)
    if now < begins:
        raise UsageError(
            f"{path} is valid from {shown(begins)}, the clock says {shown(now)}",
            hint="check this computer's clock",
        )
    if now >= ends:
        raise UsageError(f"{path} ended at {shown(ends)}, the clock says {shown(now)}", hint=hint)
    if ends - now < MIN_LEFT_SECONDS:
        raise UsageError(
            f"{path} ends at {shown(ends)}, too soon: the server's keys end with it and need "
            f"{MIN_LEFT_SECONDS // 60} minutes at least",
            hint=hint,
        )


def _key(path: Path, hint: str) -> OperatorKey:
    data = _read(path, hint, secret=True)
    if b"ENCRYPTED" in data:
        raise UsageError(
            f"{path} is encrypted, and nobody types its passphrase when the server starts",
            hint=f"openssl pkey -in {path} -out {path}.plain, then put that in its place; or {hint}",
        )
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise UsageError(f"{path} is not a PEM private key", hint=hint) from exc
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise UsageError(f"{path} is neither RSA, P-256, P-384 nor Ed25519", hint=hint)
    return key


def _read(path: Path, hint: str, *, secret: bool = False) -> bytes:
    """Return a plain file's bytes. Links are followed: whoever renews certificates swaps them by one."""
    try:
        # A pipe in its place does not keep the server waiting.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{path} is not a plain file", hint=hint)
            if secret:
                _check_secret(path, status)
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}", hint=hint) from exc
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes", hint=hint)
    return data


def _check_secret(path: Path, status: os.stat_result) -> None:
    """Refuse a key that other users can read or replace; root's may be shared with a group of this user."""
    by_root = status.st_uid == 0 and os.geteuid() != 0
    if status.st_uid != os.geteuid() and not by_root:
        raise UsageError(f"{path} belongs to another user", hint=f"chown {os.geteuid()} {path}")
    if status.st_mode & (0o037 if by_root else 0o077):
        raise UsageError(f"{path} is open to other users", hint=f"chmod {'640' if by_root else '600'} {path}")


def _warnings(path: Path, certificate: x509.Certificate, now: int) -> tuple[str, ...]:
    found = []
    ends = _seconds(certificate.not_valid_after_utc)
    if ends - now < WARNED_SECONDS:
        found.append(f"{path} ends at {shown(ends)}: put a new one in its place and send SIGHUP")
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
