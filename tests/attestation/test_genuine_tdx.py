"""Evidence of real Intel hardware, judged by the production verifier at the time it was captured."""

from __future__ import annotations

import random

import pytest

from blindai.attestation import appraisal, vendors, verifier
from blindai.attestation.policy import Policy
from blindai.attestation.trust import ProductionTrust, SimulationTrust, StapledSimulationTrust
from blindai.attestation.types import TDX_QUOTE, ChannelFacts, Evidence, Floor
from blindai.errors import EvidenceForged, EvidenceMalformed, EvidenceRejected, Reason
from blindai.testing import FakeTdx
from tests import evidence
from tests.attestation.scene import assert_refused, refusal

UP_TO_DATE = ["v4-uptodate-b0c06f", "v5-uptodate-90c06f"]
OUT_OF_DATE = "v4-outofdate-00806f05"
DEBUG = "v4-debug-td-50806f"
GENUINE = [*UP_TO_DATE, OUT_OF_DATE]
DAY_SECONDS = 24 * 3600
ALLOWED = "allow_dynamic_platform = true\nallow_cached_keys = true\nallow_smt = true"


def verify(sample, *, quote=None, collateral=None, trust=None, now=None):
    return vendors.verify(
        Evidence(TDX_QUOTE, sample.quote if quote is None else quote),
        {"intel": sample.collateral if collateral is None else collateral},
        trust=ProductionTrust() if trust is None else trust,
        now=sample.now if now is None else now,
    )


def policy_for(claims, *, entry=ALLOWED, **changed):
    digests = {name: claims.measurements[name].hex() for name in ("mrtd", "rtmr1", "rtmr2")} | changed
    lines = "\n".join(f'{name} = "{value}"' for name, value in digests.items())
    return Policy.from_toml(f'version = 1\n[[accept]]\ntee = "tdx"\n{lines}\n{entry}\n')


def channel(now):
    return ChannelFacts("host.example", ("host.example",), now, now + 3600, simulated=False)


def judged(sample, policy, claims=None):
    claims = verify(sample) if claims is None else claims
    return appraisal.appraise(claims, channel(sample.now), policy=policy, floor=Floor(), now=sample.now)


@pytest.mark.parametrize("name", UP_TO_DATE)
def test_an_up_to_date_platform_is_accepted(name):
    """Its own measurements and its platform features named, a genuine quote satisfies a policy."""
    sample = evidence.read("tdx", name)
    claims = verify(sample)
    verdict = judged(sample, policy_for(claims))
    assert verdict.accepted, str(verdict)
    assert (claims.tcb_status, list(claims.advisories)) == (
        sample.expect["status"],
        sample.expect["advisories"],
    )
    assert claims.simulated is False
    assert sample.now < claims.not_after <= sample.valid_to


@pytest.mark.parametrize("name", UP_TO_DATE)
@pytest.mark.parametrize("flag", ["dynamic_platform", "cached_keys", "smt"])
def test_platform_features_are_accepted_only_by_name(name, flag):
    """Every real server has them: a policy that leaves one out refuses it, and says which."""
    sample = evidence.read("tdx", name)
    entry = ALLOWED.replace(f"allow_{flag} = true", f"allow_{flag} = false")
    verdict = judged(sample, policy_for(verify(sample), entry=entry))
    assert [(check.claim, check.reason) for check in verdict.failures] == [
        (flag, Reason.PLATFORM_CONFIGURATION)
    ]


@pytest.mark.parametrize("name", GENUINE)
@pytest.mark.parametrize("measurement", ["mrtd", "rtmr1", "rtmr2"])
def test_one_other_measurement_is_refused(name, measurement):
    """Genuine hardware that runs other code is refused for exactly that."""
    sample = evidence.read("tdx", name)
    claims = verify(sample)
    digest = bytearray(claims.measurements[measurement])
    digest[-1] ^= 1
    tcb = f'{ALLOWED}\ntcb_status = ["UpToDate", "OutOfDate"]\nallow_advisories = ["INTEL-SA-00960", "INTEL-SA-00982", "INTEL-SA-00986"]'  # noqa: E501
    verdict = judged(sample, policy_for(claims, entry=tcb, **{measurement: digest.hex()}))
    assert [(check.claim, check.reason) for check in verdict.failures] == [
        (measurement, Reason.MEASUREMENT_MISMATCH)
    ]


@pytest.mark.parametrize("name", GENUINE)
@pytest.mark.parametrize(
    ("edge", "seconds", "reason"),
    [
        ("valid_to", 0, Reason.CRL_EXPIRED),  # Intel's PCK CRL ends first in these samples
        ("valid_to", 400 * DAY_SECONDS, Reason.COLLATERAL_EXPIRED),
        ("valid_from", -1, Reason.COLLATERAL_NOT_YET_VALID),
        ("valid_from", -400 * DAY_SECONDS, Reason.COLLATERAL_NOT_YET_VALID),
    ],
)
def test_genuine_collateral_holds_only_in_its_time(name, edge, seconds, reason):
    """The same evidence is refused a second before its collateral starts and when it ends."""
    sample = evidence.read("tdx", name)
    now = getattr(sample, edge) + seconds
    assert_refused(lambda: verify(sample, now=now), reason, EvidenceRejected)


@pytest.mark.parametrize("name", GENUINE)
def test_genuine_collateral_holds_throughout_its_time(name):
    """The first and the last second of the window are inside it."""
    sample = evidence.read("tdx", name)
    for now in (sample.valid_from, sample.valid_to - 1):
        assert verify(sample, now=now).tee == "tdx"


@pytest.mark.parametrize("name", [*GENUINE, DEBUG])
@pytest.mark.parametrize("trust", [SimulationTrust(["ab" * 32]), StapledSimulationTrust()])
def test_real_hardware_is_refused_where_a_simulation_is_expected(name, trust):
    """A client that opted into a simulation cannot be given real evidence."""
    sample = evidence.read("tdx", name)
    assert_refused(lambda: verify(sample, trust=trust), Reason.ROOT_UNKNOWN, EvidenceForged)


def test_a_simulation_is_refused_where_hardware_is_expected():
    """Byte-exact evidence under a throw-away root does not pass production trust."""
    fake = FakeTdx(now=1_790_000_000)
    assert_refused(
        lambda: vendors.verify(
            fake.evidence(bytes(64)), fake.collateral(), trust=ProductionTrust(), now=1_790_000_000
        ),
        Reason.ROOT_UNKNOWN,
        EvidenceForged,
    )


def test_an_out_of_date_platform_is_refused_by_default():
    """The status and the advisories are two failures, and both are shown."""
    sample = evidence.read("tdx", OUT_OF_DATE)
    claims = verify(sample)
    assert (claims.tcb_status, list(claims.advisories)) == (
        sample.expect["status"],
        sample.expect["advisories"],
    )
    verdict = judged(sample, policy_for(claims))
    assert verdict.reasons == (Reason.TCB_OUT_OF_DATE, Reason.TCB_ADVISORY)


@pytest.mark.parametrize(
    ("statuses", "advisories", "reasons"),
    [
        (["OutOfDate"], ["INTEL-SA-00960", "INTEL-SA-00982", "INTEL-SA-00986"], ()),
        (["UpToDate", "OutOfDate"], ["INTEL-SA-00960", "INTEL-SA-00982", "INTEL-SA-00986"], ()),
        (["OutOfDate"], ["INTEL-SA-00960", "INTEL-SA-00982"], (Reason.TCB_ADVISORY,)),
        (["OutOfDate"], [], (Reason.TCB_ADVISORY,)),
        (
            ["OutOfDateConfigurationNeeded"],
            ["INTEL-SA-00960", "INTEL-SA-00982", "INTEL-SA-00986"],
            (Reason.TCB_OUT_OF_DATE,),
        ),
    ],
)
def test_an_out_of_date_platform_needs_status_and_every_advisory_named(statuses, advisories, reasons):
    """Accepting an old platform is possible, knowingly and advisory by advisory."""
    sample = evidence.read("tdx", OUT_OF_DATE)
    entry = f"{ALLOWED}\ntcb_status = {statuses}"
    if advisories:
        entry += f"\nallow_advisories = {advisories}"
    assert judged(sample, policy_for(verify(sample), entry=entry)).reasons == reasons


def test_a_genuine_debug_domain_is_refused():
    """The host of a debug domain reads everything, whatever its signature is worth."""
    sample = evidence.read("tdx", DEBUG)
    assert_refused(lambda: verify(sample), Reason.DEBUG_ENABLED, EvidenceRejected)


def test_genuine_evidence_about_other_keys_is_refused():
    """A quote of real hardware, replayed for this channel, carries other report data."""
    sample = evidence.read("tdx", UP_TO_DATE[0])
    error = refusal(
        lambda: verifier.attest(
            [Evidence(TDX_QUOTE, sample.quote)],
            {"intel": sample.collateral},
            keyset_sha256=bytes(32),
            tls_spki_sha256=bytes(32),
            challenge_root=bytes(32),
            channel=channel(sample.now),
            policy=policy_for(verify(sample)),
            trust=ProductionTrust(),
            floors={},
            now=sample.now,
        )
    )
    assert error.reason == Reason.REPORT_DATA_MISMATCH


def test_collateral_of_another_tee_is_refused():
    """An SGX platform's, genuine and of the same root; and an SGX quote for a TDX one."""
    sample = evidence.read("tdx", UP_TO_DATE[0])
    other = evidence.read("sgx", "v3-config-and-swhardening-00a067")
    assert_refused(
        lambda: verify(sample, collateral=other.collateral), Reason.COLLATERAL_OTHER_TEE, EvidenceForged
    )
    assert_refused(lambda: verify(sample, quote=other.quote), Reason.QUOTE_MALFORMED, EvidenceMalformed)


def test_collateral_of_another_platform_is_refused():
    """Of the same authority and valid at the same time: TCB levels of one family are not another's."""
    sample, other = evidence.read("tdx", UP_TO_DATE[1]), evidence.read("tdx", DEBUG)
    now = other.valid_from + DAY_SECONDS
    assert verify(sample, now=now).tcb_status == "UpToDate"
    assert_refused(
        lambda: verify(sample, collateral=other.collateral, now=now),
        Reason.COLLATERAL_MISMATCH,
        EvidenceForged,
    )


def test_zero_padding_is_ignored_and_nothing_else_is():
    """Some clouds pad quotes to 8000 bytes; a byte other than zero there is somebody's message."""
    sample = evidence.read("tdx", OUT_OF_DATE)
    end = len(sample.quote.rstrip(b"\0")) + 1  # the PEM chain ends in one NUL that is signed for
    assert len(sample.quote) == 8000
    assert end < 8000
    assert verify(sample, quote=sample.quote[:end]) == verify(sample)
    for position in (end, end + 1, (end + 8000) // 2, 7999):
        junk = bytearray(sample.quote)
        junk[position] = 1
        assert_refused(
            lambda quote=bytes(junk): verify(sample, quote=quote),
            Reason.QUOTE_TRAILING_BYTES,
            EvidenceMalformed,
        )


@pytest.mark.parametrize("name", GENUINE)
def test_a_truncated_quote_is_refused(name):
    """Every cut, whichever field it falls in, is malformed evidence."""
    sample = evidence.read("tdx", name)
    signed = sample.quote.rstrip(b"\0")
    lengths = {0, 1, 47, 48, 631, 632, 635, 636, len(signed) - 1, len(signed) - 64}
    lengths |= set(random.Random(name).sample(range(len(signed)), 100))  # noqa: S311  a fixed choice
    for length in sorted(lengths):
        assert_refused(
            lambda quote=sample.quote[:length]: verify(sample, quote=quote),
            Reason.QUOTE_MALFORMED,
            EvidenceMalformed,
        )
