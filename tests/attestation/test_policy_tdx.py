"""What an entry for TDX accepts: every field at its edge and one beyond."""

from __future__ import annotations

import dataclasses

import pytest

from blindai.errors import Reason
from blindai.tee.measurement import simulated_measurements
from blindai.testing import FakeTdx
from tests.attestation.judging import Edge, assert_edge, entry_of, failed
from tests.attestation.scene import NOW

OWN = FakeTdx(now=NOW).measurements
SET, OTHER = b"c" * 48, b"x" * 48
MISMATCH = Reason.MEASUREMENT_MISMATCH
# The knob of the fake, the key of the policy.
CHOSEN = {"mr_config_id": "mrconfigid", "mr_owner": "mrowner", "mr_owner_config": "mrownerconfig"}


def measured(**registers):
    return {"measurements": dataclasses.replace(OWN, **registers)}


EDGES = [
    *(Edge(name, MISMATCH, measured(**{name: OTHER})) for name in ("mrtd", "rtmr1", "rtmr2")),
    *(
        Edge(name, MISMATCH, measured(**{name: OTHER}), lines=(f'{name} = "{getattr(OWN, name).hex()}"',))
        for name in ("rtmr0", "rtmr3")
    ),
    Edge("mrseam", MISMATCH, {"mr_seam": OTHER}, {"mr_seam": SET}, lines=(f'mrseam = "{SET.hex()}"',)),
    # Whoever launches the guest chooses these: zero, or what the policy names.
    *(Edge(key, MISMATCH, {knob: bytes(47) + b"\1"}) for knob, key in CHOSEN.items()),
    *(
        Edge(key, MISMATCH, {}, {knob: SET}, lines=(f'{key} = "{SET.hex()}"',))
        for knob, key in CHOSEN.items()
    ),
    Edge("tcb_status", Reason.TCB_OUT_OF_DATE, {"tcb_status": "OutOfDate"}),
    Edge("tcb_status", Reason.TCB_OUT_OF_DATE, {"module_status": "OutOfDate"}),
    Edge("tcb_status", Reason.TCB_OUT_OF_DATE, {"qe_status": "OutOfDate"}),
    Edge("tcb_status", Reason.TCB_HARDENING_NEEDED, {"tcb_status": "SWHardeningNeeded"}),
    Edge("tcb_status", Reason.TCB_CONFIGURATION_NEEDED, {"tcb_status": "ConfigurationNeeded"}),
    Edge("tcb_advisories", Reason.TCB_ADVISORY, {"advisories": ("INTEL-SA-1",)}),
    Edge(
        "tcb_evaluation",
        Reason.TCB_EVALUATION,
        {"tcb_evaluation": 17},
        {"tcb_evaluation": 18},
        lines=("min_tcb_evaluation = 18",),
    ),
    *(
        Edge(name, Reason.PLATFORM_CONFIGURATION, {name: True})
        for name in ("dynamic_platform", "cached_keys", "smt")
    ),
]


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_the_edge_of_each_demand(edge):
    """What just meets it, what just does not, and that the line which would accept it is true."""
    assert_edge("tdx", edge)


def test_the_entry_that_a_client_is_offered_names_what_the_host_chose():
    """Code may depend on it: it is part of what was seen to run."""
    configured = FakeTdx(now=NOW, **dict.fromkeys(CHOSEN, SET))
    assert all(f'{key} = "{SET.hex()}"' in entry_of(configured) for key in CHOSEN.values())
    assert failed(entry_of(configured), configured) == []
    assert len(failed(entry_of(configured), FakeTdx(now=NOW))) == len(CHOSEN)


def test_other_code_is_refused_in_every_register_that_names_it():
    """One upgrade changes several; each is a line of its own."""
    other = FakeTdx(now=NOW, measurements=simulated_measurements("ff" * 32))
    assert {check.claim for check in failed(entry_of(FakeTdx(now=NOW)), other)} <= {"mrtd", "rtmr1", "rtmr2"}
    assert failed(entry_of(FakeTdx(now=NOW)), other)
