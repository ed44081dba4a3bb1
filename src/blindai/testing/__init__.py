"""Signing fakes of TEEs and a hostile server: for your tests of what you build on BlindAI, and for ours.

- `FakeTdx`: an Intel TDX machine with its own vendor; every keyword of `Platform` turns one thing wrong.
- `FakeSgx`: an Intel SGX machine likewise, with the keywords of `SgxPlatform`.
- `FakeSnp`: an AMD SEV-SNP machine likewise, with the keywords of `SnpMachine`.
- `FakeNitro`: an AWS Nitro enclave likewise, with the keywords of `NitroEnclave`.
- `FakeTsm`, `FakeSevGuest`, `FakeGramine`, `FakeNsm`: the interfaces through which a server asks such a
  machine for evidence, with their errors.
- `EventLog`: the boot log (CCEL) that a `FakeTdx` staples, and the RTMRs that it replays to.
- `make_answer`, `make_keyset`: a valid attestation answer, and one keyword for each lie.
- `CapturingPeer`, `TlsIdentity`: a real TLS server that records every byte it could decrypt.

Nothing here weakens a verifier: what is fake is signed under roots that only a simulation trusts.
"""

from __future__ import annotations

from blindai.tee.simulated import EXPIRED, NOT_YET_VALID, Platform, Window
from blindai.tee.simulated.snp_machine import SnpMachine, SnpTcb
from blindai.testing.answers import Lies, make_answer, make_keyset
from blindai.testing.event_log import Event, EventLog
from blindai.testing.gramine import FakeGramine
from blindai.testing.identity import TlsIdentity
from blindai.testing.nitro import FakeNitro
from blindai.testing.nitro_enclave import NitroEnclave
from blindai.testing.nsm import FakeNsm
from blindai.testing.peer import CapturingPeer, Connection, HangUp, Pause, http_response
from blindai.testing.sev_guest import FakeSevGuest
from blindai.testing.sgx import FakeSgx, SgxPlatform
from blindai.testing.snp import FakeSnp
from blindai.testing.tdx import FakeTdx
from blindai.testing.tsm import FakeTsm

__all__ = [
    "EXPIRED",
    "NOT_YET_VALID",
    "CapturingPeer",
    "Connection",
    "Event",
    "EventLog",
    "FakeGramine",
    "FakeNitro",
    "FakeNsm",
    "FakeSevGuest",
    "FakeSgx",
    "FakeSnp",
    "FakeTdx",
    "FakeTsm",
    "HangUp",
    "Lies",
    "NitroEnclave",
    "Pause",
    "Platform",
    "SgxPlatform",
    "SnpMachine",
    "SnpTcb",
    "TlsIdentity",
    "Window",
    "http_response",
    "make_answer",
    "make_keyset",
]
