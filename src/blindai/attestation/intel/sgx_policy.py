"""What a policy may demand of SGX, and the judgement of verified claims against it.

Code identity is MRENCLAVE, or a signer's product from some version on: `mr_signer`, `isv_prod_id` and
`min_isv_svn` together, which trusts whatever that signer signs next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from blindai.attestation.intel import tcb_policy
from blindai.attestation.intel.sgx import TEE, SgxClaims
from blindai.attestation.intel.tcb_policy import TcbAccept
from blindai.attestation.toml_table import Table
from blindai.attestation.verdict import Check, judge, judge_at_least, judge_equal
from blindai.errors import PolicyError, Reason

RELAXATIONS = tcb_policy.RELAXATIONS
_SIGNER = ("mr_signer", "isv_prod_id", "min_isv_svn")
# INIT and MODE64BIT, nothing else (not DEBUG, no provisioning or launch key); key separation (KSS), control
# flow enforcement (CET) and notification of exits (AEX-Notify) only protect, and may be on or off.
_FLAGS = bytes.fromhex("0500000000000000")
_FLAGS_MASK = bytes.fromhex("3ffbffffffffffff")
_NOT_COMPARED = bytes(8)
_DEBUG = 2


@dataclass(frozen=True)
class Masked:
    """A field of which the bits in `mask` must be those of `value`; in the byte order of the quote."""

    name: str
    value: bytes
    mask: bytes

    def compared(self, found: bytes) -> bytes:
        return bytes(f & m for f, m in zip(found, self.mask, strict=True))

    def holds(self, found: bytes) -> bool:
        return self.compared(found) == self.compared(self.value)


@dataclass(frozen=True)
class SgxAccept:
    """One `[[accept]] tee = "sgx"`. None: not compared."""

    mr_enclave: bytes | None
    mr_signer: bytes | None
    isv_prod_id: int | None
    min_isv_svn: int | None
    config_id: bytes
    config_svn: int
    masked: tuple[Masked, ...]
    platform: TcbAccept
    tee: str = TEE


_STRICT_ATTRIBUTES = (
    Masked("attributes_flags", _FLAGS, _FLAGS_MASK),
    Masked("attributes_xfrm", _NOT_COMPARED, _NOT_COMPARED),
    Masked("misc_select", bytes(4), b"\xff" * 4),
)
DEFAULTS = SgxAccept(None, None, None, None, bytes(64), 0, _STRICT_ATTRIBUTES, TcbAccept())
"""What is demanded of the platform when nobody named a measurement (simulation without a policy)."""


def load(table: Table) -> SgxAccept:
    """Read an entry, or raise PolicyError. A missing code identity does not load."""
    accept = SgxAccept(
        mr_enclave=table.hexadecimal("mr_enclave", size_bytes=32),
        mr_signer=table.hexadecimal("mr_signer", size_bytes=32),
        isv_prod_id=table.optional_integer("isv_prod_id"),
        min_isv_svn=table.optional_integer("min_isv_svn"),
        config_id=table.hexadecimal("config_id", size_bytes=64) or bytes(64),
        config_svn=table.integer("config_svn", default=0),
        masked=_masked(table),
        platform=tcb_policy.load(table),
    )
    table.finish()  # first: a misspelt key is named as that, not as missing
    missing = [name for name in _SIGNER if getattr(accept, name) is None]
    if accept.mr_enclave is None and missing:
        raise PolicyError(
            f"{table.error('tee', 'says sgx')}, but without mr_enclave, and without {' and '.join(missing)}: "
            "the policy does not say which code it accepts",
            hint="name mr_enclave, or mr_signer with isv_prod_id and min_isv_svn",
        )
    if accept.mr_enclave is not None and accept.mr_signer is None and len(missing) < len(_SIGNER):
        raise table.error("mr_signer", "is missing: isv_prod_id and min_isv_svn mean nothing without it")
    return accept


def _masked(table: Table) -> tuple[Masked, ...]:
    """Read each field with its mask. A value without a mask is compared in all its bits."""
    flags = _pair(table, "attributes_flags", "attributes_mask_flags", _STRICT_ATTRIBUTES[0])
    if not flags.mask[0] & _DEBUG or flags.value[0] & _DEBUG:
        raise table.error("attributes_flags", "must demand that the debug bit (0x02) is off")
    return (
        flags,
        _pair(table, "attributes_xfrm", "attributes_mask_xfrm", _STRICT_ATTRIBUTES[1]),
        _pair(table, "misc_select", "misc_mask", _STRICT_ATTRIBUTES[2]),
    )


def _pair(table: Table, key: str, mask_key: str, default: Masked) -> Masked:
    size = len(default.value)
    value = table.hexadecimal(key, size_bytes=size)
    mask = table.hexadecimal(mask_key, size_bytes=size)
    if value is None and mask is None:
        return default
    if value is None:
        raise table.error(mask_key, f"means nothing without {key}")
    if mask is None:
        mask = b"\xff" * size
    if any(v & ~m for v, m in zip(value, mask, strict=True)):
        raise table.error(mask_key, f"leaves out bits that {key} demands: they would not be compared")
    return Masked(key, value, mask)


def entry_toml(claims: SgxClaims) -> str:
    """Return the keys of an entry that accepts exactly the code of these claims."""
    text = f'mr_enclave = "{claims.mr_enclave.hex()}"\n'
    for name in ("config_id", "misc_select"):  # zero unless named
        value: bytes = getattr(claims, name)
        text += f'{name} = "{value.hex()}"\n' if any(value) else ""
    return text + (f"config_svn = {claims.config_svn}\n" if claims.config_svn else "")


def appraise(accept: SgxAccept, claims: SgxClaims, *, now: int) -> tuple[Check, ...]:
    """Judge every claim that the entry speaks about."""
    del now
    return (
        *_identity(accept, claims),
        *_attributes(accept, claims),
        *tcb_policy.appraise(accept.platform, claims),
    )


def _identity(accept: SgxAccept, claims: SgxClaims) -> Iterator[Check]:
    for name, reason in (
        ("mr_enclave", Reason.MEASUREMENT_MISMATCH),
        ("mr_signer", Reason.SIGNER_MISMATCH),
        ("config_id", Reason.MEASUREMENT_MISMATCH),
    ):
        expected = getattr(accept, name)
        if expected is not None:
            yield judge_equal(name, claims.measurements[name], expected, reason)
    yield judge_equal("config_svn", claims.config_svn, accept.config_svn, Reason.MEASUREMENT_MISMATCH)
    if accept.isv_prod_id is not None:
        yield judge_equal("isv_prod_id", claims.isv_prod_id, accept.isv_prod_id, Reason.SIGNER_MISMATCH)
    if accept.min_isv_svn is not None:
        yield judge_at_least(
            "isv_svn",
            claims.isv_svn,
            accept.min_isv_svn,
            Reason.SECURITY_VERSION_TOO_LOW,
            key="min_isv_svn",
        )


def _attributes(accept: SgxAccept, claims: SgxClaims) -> Iterator[Check]:
    for field in accept.masked:
        found: bytes = getattr(claims, field.name)
        yield judge(
            field.name,
            field.holds(found),
            Reason.GUEST_ATTRIBUTES,
            source="evidence",
            found=found.hex(),
            expected=f"{field.value.hex()} in the bits {field.mask.hex()}",
            accepted_by=f'{field.name} = "{field.compared(found).hex()}"',
        )
