"""What a client demands of each TEE, claim by claim: shared by the quick tests and the whole ones."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import blindai
from blindai.attestation import vendors
from blindai.attestation.policy import Policy
from blindai.attestation.trust import SimulationTrust
from blindai.attestation.verdict import Outcome, Verdict
from blindai.errors import EvidenceForged, EvidenceRejected, Reason
from tests import models
from tests.server.hardware.machines import Hardware
from tests.server.hardware.serving import MODEL, connected, first_met, health, serving, vendor

ALWAYS = "trust_anchor chain signature debug report_data"
OF_THE_KEYS = "name keyset_valid keyset_life keyset_started policy_expires"
OF_INTEL = "revocation tcb_status tcb_advisories tcb_evaluation dynamic_platform cached_keys smt"
CLAIMS = {
    "sgx": f"{OF_INTEL} mr_enclave config_id config_svn attributes_flags attributes_xfrm misc_select",
    "tdx": f"{OF_INTEL} mrtd rtmr1 rtmr2 mrconfigid mrowner mrownerconfig td_attributes",
    "sev-snp": "revocation crl measurement host_data guest_svn product reported_tcb current_tcb "
    "committed_tcb launch_tcb mitigations migration guest_policy vmpl smt alias_check_complete platform_info",
    "nitro": "pcr0 pcr1 pcr2 document_age document_time",
}


def check_every_claim(verdict: Verdict) -> None:
    """Every demanded claim passed, each once, and only the operator is unknown."""
    told = {check.claim: check.outcome for check in verdict.checks}
    passed = f"{ALWAYS} {CLAIMS[verdict.tee]} {OF_THE_KEYS}".split()
    assert told == dict.fromkeys(passed, Outcome.PASS) | {"operator": Outcome.UNKNOWN}
    assert len(told) == len(verdict.checks)


def check_served(hardware: Hardware, folder: Path) -> None:
    """From the first use, through the policy that it writes, to an answer of a model."""
    with vendor(hardware), serving(hardware, folder) as server:
        told = [server.ready[name] for name in ("tee", "interface", "simulated")]
        assert told == [hardware.tee.tee, hardware.interface, True]
        found = health(server)
        assert (found["status"], found["collateral"]["status"]) == (200, "valid"), found
        assert found["collateral"]["expires"] == hardware.tee.collateral_expires, found
        assert found["collateral"]["problems"] == 0, found
        met = first_met(server, hardware)
        assert (met.claims.tee, met.verdict.tee) == (hardware.tee.tee, hardware.tee.tee)
        check_every_claim(met.verdict)
        with connected(server, hardware, Policy.from_toml(met.text)) as client:
            client.upload_model(models.identity(), name=MODEL)
            assert client.predict(MODEL, [1.0])["y"].tolist() == [1.0]


def check_not_passed_off(hardware: Hardware, folder: Path) -> None:
    """With the producer's own word, "no simulation", fakes are refused by everybody."""
    with vendor(hardware), serving(hardware, folder, admitted=False) as server:
        assert server.ready["simulated"] is False
        claims = vendors.verify(
            hardware.tee.evidence(bytes(64)),
            hardware.tee.collateral(),
            trust=SimulationTrust([hardware.root_sha256]),
            now=int(time.time()),
        )
        policy = Policy.from_toml(f"version = 1\n{vendors.entry_toml(claims)}")
        with pytest.raises(EvidenceRejected) as caught:
            connected(server, hardware, policy)
        assert caught.value.reason is Reason.SIMULATION_MISMATCH
        with pytest.raises(EvidenceForged) as caught_forged:
            blindai.connect(server.address, policy=policy)
        assert caught_forged.value.reason is Reason.ROOT_UNKNOWN
