"""Attacks that others fell to, and weaknesses of the first BlindAI, told to the public `blindai.verify`.

Rows are those of the review behind the design (attacks.md, sections 1 and 2) that concern a verifier.
"""

from __future__ import annotations

import dataclasses
import json

import pytest

import blindai
from blindai.attestation.policy import Policy
from blindai.attestation.verdict import Outcome, Verdict
from blindai.channel.bundle import Bundle
from blindai.cli.main import main
from blindai.errors import EvidenceRejected, Reason
from blindai.testing import TlsIdentity
from tests.attestation.lies import HOUR, LIES, OPERATOR, named, told
from tests.attestation.scene import (
    FAKES,
    NONCE,
    NOW,
    PEER,
    TLS,
    Client,
    answer_of,
    attest,
    claims_of,
    healthy,
    machine_of,
    peer_of,
    policy_of,
    policy_toml,
    refusal,
    verify,
)

DAY = 24 * HOUR
ATTACKER = TlsIdentity.make("localhost", now=NOW)
OTHER_CODE = {
    "tdx": {"measurements": dataclasses.replace(healthy("tdx").measurements, rtmr2=b"x" * 48)},
    "sgx": {"mr_enclave": b"x" * 32},
    "sev-snp": {"measurement": b"x" * 48},
    "nitro": {"pcrs": {0: b"x" * 48}},
}


def attackers(tee, **knobs):
    """Return another genuine machine: the same vendor vouches for it."""
    return machine_of(tee, root=healthy(tee).root, **knobs)


@pytest.mark.parametrize("tee", FAKES)
def test_diversion_to_other_code(tee):
    """A genuine enclave of the attacker, evidence and keys of its own, runs other code."""
    diverted = attackers(tee, **OTHER_CODE[tee])
    client = Client(policy=policy_of(healthy(tee)), peer=peer_of(ATTACKER))
    error = refusal(lambda: verify(diverted, client, tls_spki_sha256=ATTACKER.spki_sha256))
    assert error.reason is Reason.MEASUREMENT_MISMATCH


@pytest.mark.parametrize("tee", FAKES)
def test_diversion_to_the_same_code(tee):
    """The attacker runs the very same code: only a pinned operator tells; else the verdict says unknown."""
    diverted = attackers(tee)
    issued = TlsIdentity.make("localhost", issuer=OPERATOR, now=NOW, key=TLS.key)
    pinned = policy_of(healthy(tee), tables=f'[operator]\nspki_sha256 = ["{"ab" * 32}"]')
    stapled = {"more_collateral": {"operator": {"certificate": OPERATOR.pem}}}
    nobody = refusal(lambda: verify(diverted, Client(policy=pinned)))
    another = refusal(lambda: verify(diverted, Client(policy=pinned, peer=peer_of(issued)), **stapled))
    assert (nobody.reason, another.reason) == (Reason.OPERATOR_UNKNOWN, Reason.OPERATOR_MISMATCH)
    (shown,) = [check for check in verify(diverted).checks if check.claim == "operator"]
    assert shown.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("tee", FAKES)
def test_replay_with_a_key_of_ones_own(tee):
    """A true answer, shown on another connection; with the key swapped in the keyset; to another nonce."""
    recorded = answer_of(healthy(tee))
    demanded = {"policy": policy_of(healthy(tee)), "simulation": healthy(tee).root_sha256, "at": NOW}
    own_key = refusal(lambda: blindai.verify(Bundle(peer_of(ATTACKER), NONCE, recorded), **demanded))
    assert own_key.reason is Reason.TLS_KEY_MISMATCH
    machine, client, lies = told(named(tee, "key swapped in the keyset"))
    assert refusal(lambda: verify(machine, client, **lies)).reason is Reason.REPORT_DATA_MISMATCH
    later = refusal(lambda: blindai.verify(Bundle(PEER, b"l" * 32, recorded), **demanded))
    assert later.reason is Reason.REPORT_DATA_MISMATCH
    assert blindai.verify(Bundle(PEER, NONCE, recorded), **demanded).accepted


@pytest.mark.parametrize("tee", ["tdx", "sgx"])
def test_stale_evidence_after_a_recall(tee):
    """What the vendor recalled is refused at once; the collateral from before it, once the new was seen."""
    recalled = attackers(tee, tcb_status="OutOfDate", tcb_evaluation=19)
    assert refusal(lambda: verify(recalled)).reason is Reason.TCB_OUT_OF_DATE
    seen = attest(attackers(tee, tcb_evaluation=19))
    client = Client(floors={seen.platform: seen.freshness})
    assert refusal(lambda: attest(healthy(tee), client)).reason is Reason.TCB_ROLLED_BACK


def test_stale_crl_of_amd():
    """AMD numbers its CRLs: an older one than seen is refused."""
    seen = attest(attackers("sev-snp", crl_number=5))
    client = Client(floors={seen.platform: seen.freshness})
    assert refusal(lambda: attest(healthy("sev-snp"), client)).reason is Reason.TCB_ROLLED_BACK


@pytest.mark.parametrize("tee", FAKES)
def test_evidence_has_a_greatest_age(tee):
    """A proof ends within the hour, and with the first thing that it rests on."""
    assert attest(healthy(tee)).not_after == NOW + HOUR
    assert attest(healthy(tee), not_after=NOW + 60).not_after == NOW + 60
    ends = claims_of(healthy(tee)).not_after
    just_before = Client(now=ends - 10)
    if tee != "nitro":  # whose document is too old long before its certificate ends
        lasting = attest(healthy(tee), just_before, not_before=ends - HOUR, not_after=ends + HOUR)
        assert lasting.not_after == ends


@pytest.mark.parametrize("tee", FAKES)
def test_w7_what_was_collected_once_ends(tee):
    """Evidence, collateral and a keyset kept for ever are refused a month later; the keyset after its end."""
    month = refusal(
        lambda: verify(healthy(tee), Client(now=NOW + 31 * DAY), not_after=NOW + 40 * DAY, not_before=NOW)
    )
    assert isinstance(month, EvidenceRejected)
    assert month.reason in {Reason.COLLATERAL_EXPIRED, Reason.CRL_EXPIRED, Reason.CERTIFICATE_EXPIRED}
    ended = refusal(lambda: verify(healthy(tee), Client(now=NOW + 120), not_after=NOW + 60))
    assert ended.reason is Reason.KEYSET_EXPIRED


@pytest.mark.parametrize("tee", ["tdx", "sgx"])
def test_w8_hardening_needed_is_not_accepted_in_silence(tee):
    """It is refused; relaxed, the advisories still have to be named, and the verdict lists them."""
    weak = machine_of(tee, tcb_status="SWHardeningNeeded", advisories=("INTEL-SA-00615",))
    strict = refusal(lambda: verify(weak))
    assert set(strict.verdict.reasons) == {Reason.TCB_HARDENING_NEEDED, Reason.TCB_ADVISORY}
    relaxed = 'relax = ["hardening-needed"]'
    unnamed = refusal(lambda: verify(weak, Client(policy=policy_of(weak, entry=relaxed))))
    assert unnamed.reason is Reason.TCB_ADVISORY
    assert "INTEL-SA-00615" in str(unnamed.verdict)
    both = f'{relaxed}\nallow_advisories = ["INTEL-SA-00615"]'
    assert "INTEL-SA-00615" in str(verify(weak, Client(policy=policy_of(weak, entry=both))))


@pytest.mark.parametrize("tee", FAKES)
def test_w9_a_policy_names_several_versions(tee):
    """Either of two is accepted, a third is not: a server can be upgraded without a new client."""
    text = policy_toml(healthy(tee))
    entry = text[text.index("[[accept]]") :]
    impossible = {"tdx": "mrtd", "sgx": "mr_enclave", "sev-snp": "measurement", "nitro": "pcr0"}[tee]
    line = next(line for line in entry.splitlines() if line.startswith(impossible))
    other = entry.replace(line, f'{impossible} = "{"cd" * (len(line.split(chr(34))[1]) // 2)}"')
    for policy, accepted in ((text + other, True), (f"version = 1\n{other}{entry}", True)):
        assert verify(healthy(tee), Client(policy=Policy.from_toml(policy))).accepted is accepted
    neither = Client(policy=Policy.from_toml(f"version = 1\n{other}{other}"))
    assert refusal(lambda: verify(healthy(tee), neither)).reason is Reason.MEASUREMENT_MISMATCH


def test_w9_old_versions_and_old_policies_end():
    """A least security version refuses a downgrade, and a policy has an end."""
    for tee, name in (("sgx", "old enclave"), ("sev-snp", "old guest")):
        machine, client, _ = told(named(tee, name))
        assert refusal(lambda m=machine, c=client: verify(m, c)).reason is Reason.SECURITY_VERSION_TOO_LOW
    machine, client, _ = told(named("tdx", "policy expired"))
    assert refusal(lambda: verify(machine, client)).reason is Reason.POLICY_EXPIRED


@pytest.mark.parametrize("tee", FAKES)
def test_nothing_is_skipped(tee):
    """An accepted verdict lists every step as passed; a verdict of no step accepts nothing."""
    verdict = verify(healthy(tee))
    passed = {check.claim for check in verdict.checks if check.outcome is Outcome.PASS}
    steps = {"trust_anchor", "chain", "signature", "debug", "report_data", "name", "keyset_valid"}
    assert steps | ({"revocation"} if tee != "nitro" else set()) <= passed
    assert not Verdict(tee, simulated=True, at=NOW, policy_sha256="", checks=()).accepted


ONE_OF_EACH = {(lie.tee, lie.reason): lie for lie in reversed(LIES) if lie.client is None}


@pytest.mark.parametrize("tee", FAKES)
def test_no_refusal_exits_with_zero(tee, tmp_path, capsys):
    """The command line ends with 3 or 4 for each reason, and its document names it."""
    policy, bundle = tmp_path / "policy.toml", tmp_path / "bundle.json"
    policy.write_text(policy_toml(healthy(tee)))
    for lie in (None, *(lie for (of, _), lie in ONE_OF_EACH.items() if of == tee)):
        machine, _, lies = (healthy(tee), None, {}) if lie is None else told(lie)
        bundle.write_bytes(Bundle(PEER, NONCE, answer_of(machine, **lies)).encode())
        demanded = ["--policy", str(policy), "--simulation-root", machine.root_sha256, "--at", str(NOW)]
        code = main(["verify", str(bundle), *demanded, "--json"])
        said = json.loads(capsys.readouterr().out)
        if lie is None:
            assert (code, said["ear.status"]) == (0, "affirming")
            continue
        assert (str(lie), code) == (str(lie), 3 if lie.kind is EvidenceRejected else 4)
        assert said["ear.status"] == "contraindicated"
        assert str(lie.reason) in {claim.get("reason") for claim in said["claims"]}
