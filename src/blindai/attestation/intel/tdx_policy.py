"""What a policy may demand of TDX, and the judgement of verified claims against it.

Code identity is MRTD (the firmware) with RTMR1 and RTMR2 (kernel, command line, initrd, application):
MRTD alone names a cloud's firmware, not our code, so all three are required. Instead of the value of an
RTMR an entry may list the digests that were measured into it (`rtmr1_events`): order and repetitions then
do not matter, and the server must staple its event log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from blindai.attestation.intel import tcb_policy
from blindai.attestation.intel.event_log import REGISTERS
from blindai.attestation.intel.quote import TD_DEBUG_BIT
from blindai.attestation.intel.tcb_policy import TcbAccept
from blindai.attestation.intel.tdx import MEASUREMENTS, TEE, TdxClaims
from blindai.attestation.toml_table import Table, parse_hexadecimal
from blindai.attestation.verdict import Check, judge, judge_equal
from blindai.errors import PolicyError, Reason

CODE_IDENTITY = ("mrtd", "rtmr1", "rtmr2")
DIGEST_BYTES = 48
# Whoever launches the guest chooses these, and code may depend on them: unless named, they are zero.
CHOSEN_BY_THE_HOST = ("mrconfigid", "mrowner", "mrownerconfig")
# The only attribute of an ordinary trust domain. Others let performance counters or key lockers look in, or
# say that the host may migrate it.
SEPT_VE_DISABLE = bytes.fromhex("0000001000000000")
RELAXATIONS = tcb_policy.RELAXATIONS

_UNNAMED = dict.fromkeys(CHOSEN_BY_THE_HOST, bytes(DIGEST_BYTES))


@dataclass(frozen=True)
class TdxAccept:
    """One `[[accept]] tee = "tdx"`. `measurements` are compared, `events` by register as sets of digests."""

    measurements: Mapping[str, bytes]
    events: Mapping[str, frozenset[bytes]]
    platform: TcbAccept
    td_attributes: bytes = SEPT_VE_DISABLE
    tee: str = TEE


DEFAULTS = TdxAccept(_UNNAMED, {}, TcbAccept())
"""What is demanded of the platform when nobody named a measurement (simulation without a policy)."""


def load(table: Table) -> TdxAccept:
    """Read an entry, or raise PolicyError. A missing code identity does not load."""
    measurements = {
        name: value
        for name in MEASUREMENTS
        if (value := table.hexadecimal(name, size_bytes=DIGEST_BYTES) or _UNNAMED.get(name)) is not None
    }
    events = {
        register: digests for register in REGISTERS if (digests := _digests(table, f"{register}_events"))
    }
    attributes = table.hexadecimal("td_attributes", size_bytes=8)
    if attributes is not None and attributes[0] & TD_DEBUG_BIT:
        raise table.error("td_attributes", "has the debug bit (0x01): a debug guest is always refused")
    accept = TdxAccept(measurements, events, tcb_policy.load(table), attributes or SEPT_VE_DISABLE)
    table.finish()  # first: a misspelt digest is named as that, not as missing
    missing = [name for name in CODE_IDENTITY if name not in measurements and name not in events]
    if missing:
        raise PolicyError(
            f"{table.error('tee', 'says tdx')}, but without {' and '.join(missing)}: "
            "without mrtd, rtmr1 and rtmr2 the policy does not say which code it accepts",
            hint="the image's publisher names them; `blindai measure` prints those of a simulation",
        )
    return accept


def _digests(table: Table, key: str) -> frozenset[bytes]:
    digests = [parse_hexadecimal(text, DIGEST_BYTES) for text in table.strings(key)]
    if None in digests:
        raise table.error(key, f"must hold digests of {DIGEST_BYTES * 2} hexadecimal digits")
    return frozenset(digest for digest in digests if digest is not None)


def entry_toml(claims: TdxClaims) -> str:
    """Return the keys of an entry that accepts exactly the code of these claims."""
    chosen = [name for name in CHOSEN_BY_THE_HOST if any(claims.measurements[name])]
    text = "".join(f'{name} = "{claims.measurements[name].hex()}"\n' for name in (*CODE_IDENTITY, *chosen))
    usual = claims.td_attributes == SEPT_VE_DISABLE
    return text + ("" if usual else f'td_attributes = "{claims.td_attributes.hex()}"\n')


def appraise(accept: TdxAccept, claims: TdxClaims, *, now: int) -> tuple[Check, ...]:
    """Judge every claim that the entry speaks about."""
    del now
    measured = tuple(
        judge_equal(name, claims.measurements[name], expected, Reason.MEASUREMENT_MISMATCH)
        for name, expected in accept.measurements.items()
    )
    events = tuple(_events(register, accept.events[register], claims) for register in accept.events)
    attributes = judge_equal(
        "td_attributes", claims.td_attributes, accept.td_attributes, Reason.GUEST_ATTRIBUTES
    )
    return (*measured, *events, attributes, *tcb_policy.appraise(accept.platform, claims))


def _events(register: str, expected: frozenset[bytes], claims: TdxClaims) -> Check:
    name = f"{register}_events"
    if claims.events is None:
        return judge(
            name,
            False,
            Reason.EVENT_LOG_MISSING,
            source="collateral",
            found="no event log",
            expected="a stapled event log that replays to the signed RTMRs",
        )
    found = claims.events[register]
    strange, absent = found - expected, expected - found
    return judge(
        name,
        not strange and not absent,
        Reason.EVENT_MISMATCH,
        source="collateral",
        found=f"{len(found)} digests; {_some(strange)} not in the policy, {_some(absent)} not measured",
        expected=f"exactly the {len(expected)} digests of the policy",
    )


def _some(digests: frozenset[bytes]) -> str:
    """Name the first of them in full: that is the one to look for."""
    return f"{len(digests)} ({min(digests).hex()})" if digests else "0"
