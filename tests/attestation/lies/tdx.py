"""Lies about a TDX machine."""

from __future__ import annotations

import dataclasses

from blindai.attestation.policy import Policy
from blindai.attestation.types import SGX_QUOTE, TDX_QUOTE, Evidence, Floor
from blindai.errors import Reason
from blindai.testing import EventLog, FakeTdx
from tests.attestation.lies import intel
from tests.attestation.lies.lie import forged, malformed, of_policy, rejected
from tests.attestation.scene import NOW, Client, attest, healthy, policy_of

LOG = EventLog().add(1, b"kernel").add(1, b"command line").add(2, b"initrd")
BOOTED = {"measurements": LOG.measured(FakeTdx(now=NOW).measurements), "event_log": LOG.encode()}
WITH_EVENTS = [digest.hex() for event in LOG.events if event.register == 2 for _, digest in event.digests]


def naming_events(*digests: str):
    """Return a client that names what was measured into RTMR1 instead of its value."""

    def client(tdx):
        seen = tdx.measurements
        listed = ", ".join(f'"{digest}"' for digest in digests)
        return Client(
            policy=Policy.from_toml(
                f'version = 1\n[[accept]]\ntee = "tdx"\nmrtd = "{seen.mrtd.hex()}"\n'
                f'rtmr1_events = [{listed}]\nrtmr2 = "{seen.rtmr2.hex()}"\n'
            )
        )

    return client


MALFORMED = [
    malformed("no quote", Reason.QUOTE_MALFORMED, answer={"evidence": (Evidence(TDX_QUOTE, b"quote"),)}),
    malformed("empty quote", Reason.QUOTE_MALFORMED, answer={"evidence": (Evidence(TDX_QUOTE, b""),)}),
    malformed("called a quote of SGX", Reason.QUOTE_MALFORMED, answer={"media_type": SGX_QUOTE}),
    malformed("event log is none", Reason.EVENT_LOG_MALFORMED, machine={"event_log": b"log"}),
    malformed(
        "event log cut", Reason.EVENT_LOG_MALFORMED, machine={**BOOTED, "event_log": LOG.encode()[:-3]}
    ),
]

FORGED = [
    forged(
        "event log of another boot",
        Reason.EVENT_LOG_MISMATCH,
        machine={**BOOTED, "event_log": EventLog().add(1, b"another kernel").encode()},
    ),
    forged(
        "event log of a machine without one", Reason.EVENT_LOG_MISMATCH, machine={"event_log": LOG.encode()}
    ),
]

REJECTED = [
    rejected("no SEPT_VE_DISABLE", Reason.PLATFORM_UNSUPPORTED, machine={"td_attributes": bytes(8)}),
    rejected(
        "service domain",
        Reason.SERVICE_TD_BOUND,
        machine={"quote_version": 5, "body_type": 3, "mr_service_td": b"s" * 48},
    ),
    rejected(
        "migratable",
        Reason.PLATFORM_UNSUPPORTED,
        machine={"td_attributes": bytes.fromhex("0000003000000000")},
    ),
    *(
        rejected(
            f"below every level, v5, body {body}",
            Reason.TCB_UNKNOWN,
            machine={"quote_version": 5, "body_type": body, "tcb_status": None},
        )
        for body in (2, 3)
    ),
    *(
        rejected(
            f"debug, v5, body {body}",
            Reason.DEBUG_ENABLED,
            machine={"quote_version": 5, "body_type": body, "debug": True},
        )
        for body in (2, 3)
    ),
    rejected("module revoked", Reason.TCB_REVOKED, machine={"module_status": "Revoked"}),
    rejected("module out of date", Reason.TCB_OUT_OF_DATE, machine={"module_status": "OutOfDate"}),
    rejected(
        "rolled back",
        Reason.TCB_ROLLED_BACK,
        client=lambda tdx: Client(floors={attest(tdx).platform: Floor(tcb_evaluation=19)}),
    ),
    rejected(
        "older root CRL",
        Reason.TCB_ROLLED_BACK,
        client=lambda tdx: Client(floors={attest(tdx).platform: Floor(root_crl_date=NOW + 7 * 24 * 3600)}),
    ),
    *(
        rejected(
            f"other {register}",
            Reason.MEASUREMENT_MISMATCH,
            machine={
                "measurements": dataclasses.replace(healthy("tdx").measurements, **{register: b"x" * 48})
            },
            client=lambda _: Client(policy=policy_of(healthy("tdx"))),
        )
        for register in ("mrtd", "rtmr1", "rtmr2")
    ),
    rejected(
        "other code in a register that the policy adds",
        Reason.MEASUREMENT_MISMATCH,
        client=of_policy(entry=f'rtmr3 = "{"ab" * 48}"'),
    ),
    *(
        rejected(f"{field} of the host", Reason.MEASUREMENT_MISMATCH, machine={field: b"h" * 48})
        for field in ("mr_config_id", "mr_owner", "mr_owner_config")
    ),
    rejected("no event log", Reason.EVENT_LOG_MISSING, client=naming_events("ab" * 48)),
    rejected(
        "an event too many", Reason.EVENT_MISMATCH, machine=BOOTED, client=naming_events(WITH_EVENTS[0])
    ),
    rejected(
        "an event too few",
        Reason.EVENT_MISMATCH,
        machine=BOOTED,
        client=naming_events(*WITH_EVENTS, "ab" * 48),
    ),
]

TRUTHS = {"an event log": (BOOTED, naming_events(*WITH_EVENTS))}
LIES = [*intel.shared_lies("tdx"), *MALFORMED, *FORGED, *REJECTED]
