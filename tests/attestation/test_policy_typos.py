"""A typo never loosens: a strict policy, and machines that it refuses one by one."""

from __future__ import annotations

import dataclasses
import functools

from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.attestation.policy import Policy
from blindai.errors import PolicyError
from tests.attestation.judging import GOOD_CHANNEL, OPERATOR, claims_of, judged
from tests.attestation.scene import NOW, policy_text


def strict(tdx):
    return policy_text(
        tdx.measurements,
        top='expires = 2027-03-01\nnames = ["inference.example"]',
        entry=(
            f'rtmr3 = "{tdx.measurements.rtmr3.hex()}"\ntcb_status = ["UpToDate"]\n'
            "min_tcb_evaluation = 18\nallow_dynamic_platform = false\nallow_cached_keys = false\n"
            'allow_smt = false\nallow_advisories = ["INTEL-SA-1"]'
        ),
        tables=(
            f'[operator]\nspki_sha256 = ["{OPERATOR}"]\n'
            f'[models]\nsha256 = ["{OPERATOR}"]\n'
            '[require]\nisolation = "process"\nsandbox = true'
        ),
    )


BAD_CLAIMS = [
    {"mrtd": bytes(48)},
    {"rtmr1": bytes(48)},
    {"rtmr2": bytes(48)},
    {"rtmr3": b"r" * 48},
    {"tcb_status": "OutOfDate"},
    {"advisories": ("INTEL-SA-2",)},
    {"tcb_evaluation": 17},
    {"dynamic_platform": True},
    {"cached_keys": True},
    {"smt": True},
]
BAD_CHANNELS = [
    {"names": ("other.example",)},
    {"names": ("dialled.example",)},
    {"settings": {}},
    {"settings": {"isolation": "process", "sandbox": False}},
    {"settings": {"isolation": "none", "sandbox": True}},
    {"operator_spki_sha256": None},
    {"operator_spki_sha256": "ef" * 32},
]


@functools.cache
def refused_cases(tdx):
    """Everything that the strict policy refuses, one thing wrong at a time: (claims, channel, now)."""
    good = claims_of(tdx)
    expired = 1_900_000_000
    return [
        *((dataclasses.replace(good, **bad), GOOD_CHANNEL, NOW) for bad in BAD_CLAIMS),
        *((good, dataclasses.replace(GOOD_CHANNEL, **bad), NOW) for bad in BAD_CHANNELS),
        (good, dataclasses.replace(GOOD_CHANNEL, not_after=expired + 60, not_before=expired), expired),
    ]


def test_the_strict_policy_refuses_each_of_the_cases(tdx):
    """It accepts the good machine and refuses every other one: the ground of the property below."""
    policy = Policy.from_toml(strict(tdx))
    assert judged(policy, claims_of(tdx)).accepted
    for claims, channel, now in refused_cases(tdx):
        assert not judged(policy, claims, channel, now=now).accepted


TYPOS = st.sampled_from("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_-.\"'[] #")


@settings(max_examples=400, deadline=None, derandomize=True)
@given(line=st.integers(0, 40), at=st.integers(0, 30), kind=st.sampled_from("idrs"), character=TYPOS)
def test_a_typo_never_loosens_a_policy(tdx, line, at, kind, character):
    """One slip in any key or table header: the text does not load, or refuses whatever it refused before."""
    lines = strict(tdx).splitlines()
    line %= len(lines)
    key, equals, value = lines[line].partition(" = ")
    at %= len(key) + 1
    if kind == "i":
        key = key[:at] + character + key[at:]
    elif kind == "d":
        key = key[:at] + key[at + 1 :]
    elif kind == "r":
        key = key[:at] + character + key[at + 1 :]
    else:
        key = key[:at] + key[at : at + 2][::-1] + key[at + 2 :]
    lines[line] = key + equals + value
    if key.lstrip().startswith("#") or (not equals and not key.strip()):
        return  # a line that somebody took out is not a typo
    try:
        policy = Policy.from_toml("\n".join(lines))
    except PolicyError:
        return
    for claims, channel, now in refused_cases(tdx):
        assert not judged(policy, claims, channel, now=now).accepted
