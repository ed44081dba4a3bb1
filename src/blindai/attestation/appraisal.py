"""Judging verified claims and the channel against a policy. Gathers every mismatch; raises nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from blindai.attestation import vendors
from blindai.attestation.policy import Policy
from blindai.attestation.times import shown
from blindai.attestation.toml_table import toml_list
from blindai.attestation.types import MAX_KEYSET_LIFE_SECONDS, ChannelFacts, Claims, Floor
from blindai.attestation.verdict import Check, Outcome, Verdict, established, fewest_failures, judge, unknown
from blindai.errors import Reason

CLOCK_SKEW_SECONDS = 5 * 60
"""How far a keyset may start in this clock's future."""
CRL_DATE_TOLERANCE_SECONDS = 7 * 24 * 3600
"""How much older than seen before a CRL may be: replicas refresh at different times. Intel numbers every CRL
1, so that dates are all there is to see a roll-back by."""


def appraise(claims: Claims, channel: ChannelFacts, *, policy: Policy, floor: Floor, now: int) -> Verdict:
    """Return the verdict on a server whose evidence has been verified and bound to this channel."""
    return Verdict(
        tee=claims.tee,
        simulated=claims.simulated,
        at=now,
        policy_sha256=policy.sha256,
        checks=(
            _anchor(claims, channel),
            *(established(claim, shown, source="evidence") for claim, shown in claims.verified.items()),
            established("report_data", "of this server's keys and this challenge", source="evidence"),
            *_code(claims, policy, now),
            *_rollback(claims, floor),
            *_channel(channel, policy, now),
            _operator(channel, policy),
            *_settings(channel, policy),
            *_validity(policy, now),
        ),
    )


def _anchor(claims: Claims, channel: ChannelFacts) -> Check:
    """The root that ended the chain, not a flag, says what this is; the keyset may not say otherwise."""
    word = "simulation root" if claims.simulated else "vendor's root"
    return judge(
        "trust_anchor",
        channel.simulated == claims.simulated,
        Reason.SIMULATION_MISMATCH,
        source="evidence",
        found=f"{word} {claims.platform.partition('/')[0]}",
        expected="keyset and root to agree on what is simulated",
    )


def _code(claims: Claims, policy: Policy, now: int) -> tuple[Check, ...]:
    if policy.unsafe_any_measurement:
        return _any_code(claims, now)
    entries = [entry for entry in policy.accept if entry.tee == claims.tee]
    if not entries:
        accepted = ", ".join(sorted({entry.tee for entry in policy.accept})) or "nothing"
        return (
            judge(
                "tee",
                False,
                Reason.TEE_NOT_ACCEPTED,
                source="evidence",
                found=claims.tee,
                expected=accepted,
                accepted_by=f'[[accept]] tee = "{claims.tee}", in another entry',
            ),
        )
    return fewest_failures(vendors.appraise(entry, claims, now=now) for entry in entries)


def _any_code(claims: Claims, now: int) -> tuple[Check, ...]:
    """No measurement was demanded: legitimate for a simulation, a failure for anything else."""
    if not claims.simulated:
        return (
            judge(
                "measurement",
                False,
                Reason.MEASUREMENT_MISMATCH,
                source="policy",
                found="real hardware",
                expected="a policy that names the code",
            ),
        )
    judged = vendors.appraise(vendors.defaults(claims.tee), claims, now=now)
    spoken_of = {check.claim for check in judged}
    shown = tuple(
        unknown(name, source="evidence", found=f"{value.hex()[:16]}… (no policy names the code)")
        for name, value in claims.measurements.items()
        if any(value) and name not in spoken_of
    )
    return (*shown, *judged)


def _rollback(claims: Claims, floor: Floor) -> Iterator[Check]:
    """Judge the collateral against what was seen before; the first time there is nothing to compare with."""
    if floor == Floor():
        return
    seen = claims.freshness
    if not seen.root_crl_date:
        # No CRL was stapled: whether one is needed is for the policy to say, not for what others stapled.
        floor = replace(floor, leaf_crl=0, root_crl=0, leaf_crl_date=0, root_crl_date=0)
    for name, found, least in (
        ("tcb_evaluation_floor", seen.tcb_evaluation, floor.tcb_evaluation),
        ("leaf_crl_floor", seen.leaf_crl, floor.leaf_crl),
        ("root_crl_floor", seen.root_crl, floor.root_crl),
        ("leaf_crl_date_floor", seen.leaf_crl_date, max(0, floor.leaf_crl_date - CRL_DATE_TOLERANCE_SECONDS)),
        ("root_crl_date_floor", seen.root_crl_date, max(0, floor.root_crl_date - CRL_DATE_TOLERANCE_SECONDS)),
    ):
        yield judge(
            name,
            found >= least,
            Reason.TCB_ROLLED_BACK,
            source="collateral",
            found=str(found),
            expected=f"{least} or newer, as seen before",
        )


def _channel(channel: ChannelFacts, policy: Policy, now: int) -> Iterator[Check]:
    expected = policy.names or (channel.dialled,)
    yield judge(
        "name",
        bool(set(expected) & set(channel.names)),
        Reason.NAME_MISMATCH,
        source="keyset",
        found=", ".join(channel.names),
        expected=" or ".join(expected),
        accepted_by=f"names = {toml_list(channel.names)}",
    )
    yield judge(
        "keyset_valid",
        now < channel.not_after,
        Reason.KEYSET_EXPIRED,
        source="keyset",
        found=f"until {shown(channel.not_after)}",
        expected=f"an end after {shown(now)}",
    )
    yield judge(
        "keyset_life",
        0 < channel.not_after - channel.not_before <= MAX_KEYSET_LIFE_SECONDS,
        Reason.KEYSET_TOO_LONG,
        source="keyset",
        found=f"{(channel.not_after - channel.not_before) / 3600:.1f} h",
        expected=f"at most {MAX_KEYSET_LIFE_SECONDS // 3600} h",
    )
    yield judge(
        "keyset_started",
        now >= channel.not_before - CLOCK_SKEW_SECONDS,
        Reason.KEYSET_NOT_YET_VALID,
        source="keyset",
        found=f"from {shown(channel.not_before)}",
        expected=f"a start before {shown(now + CLOCK_SKEW_SECONDS)}",
    )


def _operator(channel: ChannelFacts, policy: Policy) -> Check:
    shown = channel.operator_spki_sha256
    if not policy.operator_spki_sha256:
        return unknown(
            "operator", source="channel", found=shown or "unknown (no certificate of theirs is pinned)"
        )
    wanted = " or ".join(sorted(policy.operator_spki_sha256))
    if shown is None:
        return Check(
            "operator",
            Outcome.FAIL,
            "channel",
            "unknown",
            wanted,
            Reason.OPERATOR_UNKNOWN,
            "no [operator] table: then any operator will do",
        )
    return judge(
        "operator",
        shown in policy.operator_spki_sha256,
        Reason.OPERATOR_MISMATCH,
        source="channel",
        found=shown,
        expected=wanted,
        accepted_by=f"under [operator]: spki_sha256 = {toml_list([shown])}, "
        "only if you know that this key is your operator's",
    )


def _settings(channel: ChannelFacts, policy: Policy) -> Iterator[Check]:
    for key, wanted in (policy.require or {}).items():
        found = channel.settings.get(key)
        yield judge(
            f"settings.{key}",
            _plain(found) == _plain(wanted),
            Reason.SETTING_MISMATCH,
            source="keyset",
            found="not stated" if found is None else _show(found),
            expected=_show(wanted),
            accepted_by="" if found is None else f"under [require]: {key} = {_toml(found)}",
        )


def _validity(policy: Policy, now: int) -> Iterator[Check]:
    if policy.expires is not None:
        yield judge(
            "policy_expires",
            now < policy.expires,
            Reason.POLICY_EXPIRED,
            source="policy",
            found=f"until {shown(policy.expires)}",
            expected=f"an end after {shown(now)}",
            accepted_by="expires = a later date, once somebody has looked at the policy again",
        )


def _plain(value: Any) -> Any:
    """Compare lists by content and keep true apart from 1, which Python calls equal."""
    return (type(value).__name__, value) if not isinstance(value, (list, tuple)) else ("list", list(value))


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(item) for item in value)}]"  # in its order: the judgement compares that
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else _show(value)


def _show(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
