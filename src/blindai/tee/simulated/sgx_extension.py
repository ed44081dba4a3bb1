"""The SGX extension of a PCK certificate (Intel SGX PCK Certificate and CRL Profile, 1.3.5), in DER."""

from __future__ import annotations

from cryptography import x509

from blindai.tee.simulated import tcb
from blindai.tee.simulated.platform import IntelPlatform

_ARC = (1, 2, 840, 113741, 1, 13, 1)
OID = x509.ObjectIdentifier(".".join(map(str, _ARC)))
_PPID = b"SIMULATION-PPID\0"
_PLATFORM_INSTANCE_ID = b"SIMULATION-HOST\0"
_SCALABLE = 1

_BOOLEAN, _INTEGER, _OCTET_STRING, _OBJECT_IDENTIFIER, _ENUMERATED, _SEQUENCE = (
    0x01,
    0x02,
    0x04,
    0x06,
    0x0A,
    0x30,
)


def encode(platform: IntelPlatform) -> bytes:
    """Return the extension's value for this machine."""
    svns = [*platform.cpu_svn, tcb.PCE_SVN]
    levels = [_entry((2, i), _integer(svn)) for i, svn in enumerate(svns, start=1)]
    levels.append(_entry((2, 18), _der(_OCTET_STRING, platform.cpu_svn)))
    flags = (platform.dynamic_platform, platform.cached_keys, platform.smt)
    return _sequence(
        _entry((1,), _der(_OCTET_STRING, _PPID)),
        _entry((2,), _sequence(*levels)),
        _entry((3,), _der(_OCTET_STRING, bytes(2))),
        _entry((4,), _der(_OCTET_STRING, platform.fmspc)),
        _entry((5,), _der(_ENUMERATED, bytes([_SCALABLE]))),
        _entry((6,), _der(_OCTET_STRING, _PLATFORM_INSTANCE_ID)),
        _entry((7,), _sequence(*(_entry((7, i), _boolean(flag)) for i, flag in enumerate(flags, start=1)))),
    )


def _entry(below: tuple[int, ...], value: bytes) -> bytes:
    return _sequence(_oid((*_ARC, *below)), value)


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))


def _boolean(value: bool) -> bytes:  # noqa: FBT001 - one argument, no doubt which
    return _der(_BOOLEAN, b"\xff" if value else b"\0")


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(arcs: tuple[int, ...]) -> bytes:
    return _der(_OBJECT_IDENTIFIER, bytes([arcs[0] * 40 + arcs[1]]) + b"".join(map(_base128, arcs[2:])))


def _base128(value: int) -> bytes:
    """Write seven bits a byte, most significant first; all but the last byte have the top bit set."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content
