"""What an entry for SEV-SNP may say, and what it accepts: every field at its edge and one beyond."""

from __future__ import annotations

import dataclasses

import pytest

from blindai.attestation.policy import Policy
from blindai.attestation.verdict import Outcome
from blindai.errors import Reason
from blindai.testing import SnpTcb
from tests.attestation.judging import (
    ALIASES_CHECKED,
    Edge,
    assert_edge,
    claims_of,
    entry_of,
    failed,
    judged,
    policy_of_entry,
    quiet_snp,
    with_lines,
    without,
)
from tests.attestation.policy_texts import DIGEST, SNP_FULL, assert_wrong_values_are_refused, refused
from tests.attestation.scene import NOW

# `cryptography` mentions the serial number 0 of every VCEK; the package's own filter is not pytest's.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

MILAN = SnpTcb(4, 0, 24, 219)
TCBS = ("reported_tcb", "current_tcb", "committed_tcb", "launch_tcb")
LEVELS = "bootloader = 4, tee = 0, snp = 24, microcode = 219"
SMT = 1

WRONG_VALUES = {
    "measurement": ['""', f'"{DIGEST}00"', f'"{DIGEST[:-1]}"', "1", f'["{DIGEST}"]'],
    "boot": ['"Direct"', '"firmware"', '""', "true", '["direct"]'],
    "product": ['"milan"', '"Naples"', '"Milan-B0"', '""', "1"],
    "min_tcb": [
        "219", "{}", '"4"', "[4, 0, 24, 219]", f"{{ {LEVELS.replace('219', '256')} }}",
        f"{{ {LEVELS.replace('= 0', '= -1')} }}", f"{{ {LEVELS.replace('24', 'true')} }}",
        f"{{ {LEVELS}, fmc = 1 }}", f"{{ {LEVELS.replace('snp', 'sev')} }}",
        *(f"{{ {', '.join(LEVELS.split(', ')[:at] + LEVELS.split(', ')[at + 1 :])} }}" for at in range(4)),
    ],
    "host_data": [f'"{DIGEST}"', "0"],
    "id_key_digest": ['"ab"', "true"],
    "author_key_digest": ['"ab"', "true"],
    "min_guest_svn": ["true", '"1"', "-1"],
    "max_vmpl": ["false", "-1", "[0]"],
    "allow_smt": ["1", '"true"'],
    "allow_migration": ["1"],
    "allow_unchecked_aliases": ["1"],
    "require_crl": ["0", '"false"'],
    "require_guest_policy": ["[]", '"smt"', '["SMT"]', '["tsme"]', "[20]"],
    "require_platform_info": ["[]", '"ecc"', '["migrate_ma"]', "true"],
    "require_mitigations": ["[]", "[64]", "[-1]", "[true]", "1", '["0"]'],
}  # fmt: skip


def test_the_largest_entry():
    """Every key that exists loads, and there are no others but `allow_any_tcb`, instead of a floor."""
    (entry,) = Policy.from_toml(policy_of_entry(SNP_FULL)).accept
    assert entry.min_tcb == {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219}
    assert entry.require_mitigations == {0, 5}
    assert set(WRONG_VALUES) | {"tee"} == {
        line.partition(" = ")[0] for line in SNP_FULL.splitlines()[1:] if line
    }


@pytest.mark.parametrize("key", WRONG_VALUES)
def test_a_value_of_the_wrong_kind_is_refused(key):
    """Types are not converted, every field has one length, and every component of a TCB has a number."""
    assert_wrong_values_are_refused(SNP_FULL, key, WRONG_VALUES[key])


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (f'measurment = "{DIGEST}"', "measurement"),
        ("min_guestsvn = 1", "min_guest_svn"),
        ("allow_alias = true", ""),
        ("require_crls = true", "require_crl"),
        ("vmpl = 0", ""),
        ("allow_dynamic_platform = false", ""),
        (f'mrtd = "{DIGEST}"', ""),
    ],
)
def test_an_unknown_key_is_refused_where_it_stands(line, meant):
    """With the key that was probably meant."""
    text = policy_of_entry(SNP_FULL + line + "\n")
    message = refused(text)
    assert f"line {len(text.splitlines())}:" in message
    assert f"{line.partition(' ')[0]} is not a known key" in message
    assert meant in message


@pytest.mark.parametrize(
    ("missing", "named", "line"),
    [
        ("measurement", "measurement is missing", "line 3:"),
        ("boot", 'must be "direct"', "line 2:"),
        ("product", "product are needed", "line 6:"),
        ("min_tcb", "min_tcb and product are needed", "line 2:"),
    ],
)
def test_a_missing_code_identity_or_floor_is_named(missing, named, line):
    """AMD signs no verdict on a TCB version: without a floor any firmware would do."""
    message = refused(policy_of_entry(without(SNP_FULL, missing)))
    assert named in message
    assert line in message


def test_any_tcb_and_a_floor_contradict_each_other():
    """One of the two was meant; and a floor is in the numbers of one product."""
    assert "leave one out" in refused(policy_of_entry(SNP_FULL + "allow_any_tcb = true\n"))
    Policy.from_toml(policy_of_entry(SNP_FULL + "allow_any_tcb = false\n"))
    Policy.from_toml(policy_of_entry(without(SNP_FULL, "min_tcb", "product") + "allow_any_tcb = true\n"))
    assert "min_tcb" in refused(policy_of_entry(with_lines(SNP_FULL, 'product = "Turin"')))
    assert "allow_debug" in refused(policy_of_entry(SNP_FULL + "allow_debug = false\n"))


def below(component):
    """Return a TCB version with one component one lower, or a higher other one to make up for it."""
    other = "snp" if component == "microcode" else "microcode"
    changed = {component: getattr(MILAN, component) - 1, other: getattr(MILAN, other) + 1}
    return dataclasses.replace(MILAN, **changed)


HIGHER = SnpTcb(5, 1, 25, 220)
LOW, CONFIGURED, POLICY = Reason.TCB_TOO_LOW, Reason.PLATFORM_CONFIGURATION, Reason.GUEST_POLICY
EDGES = [
    Edge("measurement", Reason.MEASUREMENT_MISMATCH, {"measurement": b"x" * 48}),
    Edge("host_data", Reason.HOST_DATA_MISMATCH, {"host_data": bytes(31) + b"\1"}),
    Edge(
        "host_data",
        Reason.HOST_DATA_MISMATCH,
        {},
        {"host_data": b"c" * 32},
        lines=(f'host_data = "{"63" * 32}"',),
    ),
    *(
        Edge(name, Reason.SIGNER_MISMATCH, bad, {name: b"c" * 48}, lines=(f'{name} = "{"63" * 48}"',))
        for name in ("id_key_digest", "author_key_digest")
        for bad in ({}, {name: b"d" * 48})
    ),
    Edge(
        "guest_svn",
        Reason.SECURITY_VERSION_TOO_LOW,
        {"guest_svn": 4},
        {"guest_svn": 5},
        lines=("min_guest_svn = 5",),
    ),
    *(
        Edge(name, LOW, {name: below(component)}, {name: MILAN})
        for name in TCBS[1:]
        for component in ("bootloader", "snp", "microcode")
    ),
    Edge("product", CONFIGURED, {"product": "Genoa"}, final=True),
    Edge(
        "mitigations",
        LOW,
        {"version": 5, "launch_mitigations": 0b101, "current_mitigations": 0b110},
        {"version": 5, "launch_mitigations": 0b111, "current_mitigations": 0b110},
        lines=("require_mitigations = [1]",),
        final=True,
    ),
    Edge("mitigations", LOW, {}, {"version": 5, "launch_mitigations": 1, "current_mitigations": 1},
         lines=("require_mitigations = [0]",), final=True),
    Edge("migration", POLICY, {"migrate_ma": True}),
    Edge("guest_policy", POLICY, {}, {"single_socket": True},
         lines=('require_guest_policy = ["single_socket"]',), final=True),
    Edge("guest_policy", POLICY, {"more_policy": 1 << 22}, {"more_policy": 1 << 22 | 1 << 25},
         lines=('require_guest_policy = ["mem_aes_256_xts", "page_swap_disable"]',), final=True),
    Edge("vmpl", Reason.VMPL_TOO_HIGH, {"vmpl": 1}),
    Edge("vmpl", Reason.VMPL_TOO_HIGH, {"vmpl": 3}, {"vmpl": 2}, lines=("max_vmpl = 2",)),
    Edge("smt", CONFIGURED, {"platform_info": ALIASES_CHECKED | SMT}, {"platform_info": ALIASES_CHECKED}),
    Edge("alias_check_complete", CONFIGURED, {"platform_info": 0}, {"platform_info": ALIASES_CHECKED}),
    Edge("platform_info", CONFIGURED, {}, {"platform_info": ALIASES_CHECKED | 2},
         lines=('require_platform_info = ["tsme"]',), final=True),
    Edge("crl", Reason.CRL_MISSING, {"crl": None}),
]  # fmt: skip


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_the_edge_of_each_demand(edge):
    """What just meets it, what just does not, and that the line which would accept it is true."""
    assert_edge("sev-snp", edge)


def test_a_firmware_below_the_floor_shows_wherever_it_is_reported():
    """What the leaf is for, what runs, what can be rolled back to, what was there at launch."""
    machine = quiet_snp(now=NOW, reported_tcb=below("snp"))
    entry = entry_of(quiet_snp(now=NOW))
    checks = failed(entry, machine)
    assert [check.claim for check in checks] == list(TCBS)
    assert failed(with_lines(entry, checks[0].accepted_by), machine) == []
    assert failed(entry, quiet_snp(now=NOW, reported_tcb=HIGHER)) == []


def test_lines_that_accept_are_pasted_one_after_the_other():
    """Two versions, each low in another component: each line keeps what the one before has given up."""
    machine = quiet_snp(now=NOW, current_tcb=below("snp"), launch_tcb=below("microcode"))
    entry = entry_of(quiet_snp(now=NOW))
    for remaining in (2, 1, 0):
        checks = failed(entry, machine)
        assert len(checks) == remaining
        entry = with_lines(entry, *(check.accepted_by for check in checks[:1]))


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
def test_each_product_has_its_own_components(product):
    """The offered entry names all of them."""
    machine = quiet_snp(now=NOW, product=product)
    assert failed(entry_of(machine), machine) == []
    names = claims_of(machine).tcbs["reported_tcb"].keys()
    assert ("fmc" in names) == (product == "Turin")
    assert f'product = "{product}"' in entry_of(machine)
    assert all(f"{name} = " in entry_of(machine) for name in names)


def test_what_is_not_demanded_is_unknown_and_not_passed():
    """Without a CRL nothing says what is revoked, without a floor nothing how old is too old."""
    machine = quiet_snp(now=NOW, crl=None)
    entry = with_lines(
        without(entry_of(quiet_snp(now=NOW)), "min_tcb", "product"),
        "allow_any_tcb = true",
        "require_crl = false",
    )
    verdict = judged(policy_of_entry(entry), claims_of(machine))
    assert verdict.accepted
    unknown = {check.claim for check in verdict.checks if check.outcome is Outcome.UNKNOWN}
    assert unknown == {*TCBS, "crl", "operator"}
    assert "revocation" not in {check.claim for check in verdict.checks}
