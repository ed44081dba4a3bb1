"""What a client received and knew of one attested connection: all that a verification needs beside demands.

A bundle is received by a live connection or read from a file, and judged by the same code
(`handshake.conclude`). It proves nothing by itself: whoever made the file chose every byte of it, so that
its verdict says what this evidence is, and never that a server answers now.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindai.channel import answer, challenge
from blindai.errors import EvidenceMalformed, Reason
from blindai.wire import base64url, strict_json

VERSION = 1
MAX_CERTIFICATE_BYTES = 128 * 1024  # above what OpenSSL takes in a handshake
MAX_BUNDLE_BYTES = (answer.MAX_ANSWER_BYTES + MAX_CERTIFICATE_BYTES) * 4 // 3 + 4096

# A name as `transport.origin` writes it; a file from anywhere may not steer the terminal with another.
_DIALLED = re.compile(r"[a-z0-9._:-]{1,255}")


@dataclass(frozen=True)
class Peer:
    """Who ended the TLS connection: the name that was dialled and the certificate that was shown."""

    dialled: str
    certificate: x509.Certificate
    tls_spki_sha256: bytes

    @property
    def certificate_pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    @classmethod
    def from_certificate(cls, dialled: str, der: bytes) -> Peer:
        """Read the peer's certificate; only its key is used, its signature and names prove nothing."""
        return cls(dialled, *_certificate_and_key(der))


@dataclass(frozen=True)
class Bundle:
    """Who was asked (`peer`), what was asked (`nonce`), and the exact bytes of the `answer`. Not verified."""

    peer: Peer
    nonce: bytes
    answer: bytes = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the bundle as a JSON object; binary members are base64url without padding."""
        return {
            "version": VERSION,
            "dialled": self.peer.dialled,
            "certificate": base64url.encode(self.peer.certificate.public_bytes(Encoding.DER)),
            "nonce": base64url.encode(self.nonce),
            "answer": base64url.encode(self.answer),
        }

    def encode(self) -> bytes:
        """Return the text of a bundle file."""
        return json.dumps(self.to_json(), indent=1).encode("ascii") + b"\n"

    @classmethod
    def parse(cls, raw: bytes) -> Bundle:
        """Read the text of a bundle file, or raise EvidenceMalformed. Nothing is verified."""
        try:
            value = strict_json.members(
                strict_json.decode_object(raw, max_bytes=MAX_BUNDLE_BYTES),
                "bundle",
                {"version", "dialled", "certificate", "nonce", "answer"},
            )
            if value["version"] != VERSION or isinstance(value["version"], bool):
                raise ValueError("unknown version")
            dialled = value["dialled"]
            if not isinstance(dialled, str) or not _DIALLED.fullmatch(dialled):
                raise ValueError("dialled is not a host")
            certificate = _binary(value, "certificate", least=1, most=MAX_CERTIFICATE_BYTES)
            nonce = _binary(value, "nonce", least=challenge.NONCE_BYTES, most=challenge.NONCE_BYTES)
            body = _binary(value, "answer", least=0, most=answer.MAX_ANSWER_BYTES)
        except ValueError as exc:
            raise EvidenceMalformed(
                Reason.BUNDLE_MALFORMED,
                f"the bundle is malformed: {exc}",
                hint="`blindai verify HOST --save bundle.json` writes one",
            ) from exc
        return cls(Peer.from_certificate(dialled, certificate), nonce, body)


# Every new connection to a server shows the same bytes, and they say the same each time.
@functools.lru_cache(maxsize=32)
def _certificate_and_key(der: bytes) -> tuple[x509.Certificate, bytes]:
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as exc:
        raise EvidenceMalformed(
            Reason.CERTIFICATE_MALFORMED, "the peer's TLS certificate cannot be read"
        ) from exc
    digest = Hash(SHA256())
    digest.update(spki)
    return certificate, digest.finalize()


def _binary(value: dict[str, Any], name: str, *, least: int, most: int) -> bytes:
    text = value[name]
    if not isinstance(text, str):
        raise ValueError(f"{name} is not a string")
    try:
        data = base64url.decode(text)
    except ValueError as exc:
        raise ValueError(f"{name} is {exc}") from exc
    if not least <= len(data) <= most:
        raise ValueError(f"{name} has not between {least} and {most} bytes")
    return data
