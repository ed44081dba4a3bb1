"""Comparing policies by what they accept: which way each difference loosens, and what is no difference."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindai.attestation import vendors
from blindai.attestation.policy import Policy
from blindai.client.policies import demanded, difference
from blindai.client.policies.demanded import Order, Tendency

DIGESTS = ["ab" * 48, "cd" * 48]
SHA256 = ["ab" * 32, "cd" * 32]
MIRRORED = {Tendency.LOOSER: Tendency.STRICTER, Tendency.STRICTER: Tendency.LOOSER}


def entry(*lines: str, mrtd: str = DIGESTS[0]) -> str:
    return "\n".join(
        [
            "[[accept]]",
            'tee = "tdx"',
            f'mrtd = "{mrtd}"',
            f'rtmr1 = "{DIGESTS[0]}"',
            f'rtmr2 = "{DIGESTS[0]}"',
            *lines,
            "",
        ]
    )


def policy(*entries: str, top: str = "") -> Policy:
    return Policy.from_toml("\n".join(["version = 1", top, *(entries or (entry(),))]))


WORLDS = settings(max_examples=60, deadline=None, derandomize=True)
STATUSES = ("UpToDate", "SWHardeningNeeded", "OutOfDate")


def _some(chance: random.Random, values: list[str]) -> list[str]:
    """Some of the values, in any order."""
    return chance.sample(values, chance.randint(0, len(values)))


def _any_entry(chance: random.Random) -> str:
    lines = []
    if statuses := _some(chance, list(STATUSES)):
        lines.append(f"tcb_status = {statuses}")
    if advisories := _some(chance, ["INTEL-SA-1", "INTEL-SA-2"]):
        lines.append(f"allow_advisories = {advisories}")
    if least := chance.choice([0, 17, 18]):
        lines.append(f"min_tcb_evaluation = {least}")
    for name in _some(chance, ["allow_smt", "allow_cached_keys"]):
        lines.append(f"{name} = {chance.choice(['true', 'false'])}")  # noqa: PERF401  reads like the others
    if chance.random() < 0.3:
        lines.append(f'rtmr0 = "{chance.choice(DIGESTS)}"')
    return entry(*chance.sample(lines, len(lines)), mrtd=chance.choice(DIGESTS))


def _any_policy(chance: random.Random) -> Policy:
    top, tables = [], []
    if chance.random() < 0.5:
        top.append(f"expires = 20{chance.randint(27, 29)}-03-01")
    if names := _some(chance, ["a.example", "b.example"]):
        top.append(f"names = {names}")
    if keys := _some(chance, SHA256):
        tables.append(f"[operator]\nspki_sha256 = {keys}\n")
    if keys := _some(chance, SHA256):
        tables.append(f"[models]\nsha256 = {keys}\n")
    if chance.random() < 0.5:
        tables.append(f'[require]\nmodel_upload = "{chance.choice(["off", "open"])}"\n')
    listed = [_any_entry(chance) for _ in range(chance.randint(1, 4))]
    return policy(*tables, *listed, top="\n".join(top))


# From a seed: drawn piece by piece, the policies take longer than all that is tested with them.
chances = st.integers(0, 2**32).map(random.Random)
policies = chances.map(_any_policy)
entry_lists = chances.map(lambda chance: [_any_entry(chance) for _ in range(chance.randint(1, 4))])


@WORLDS
@given(policies)
def test_a_policy_does_not_differ_from_itself(one):
    """Nothing is found between a policy and itself."""
    assert difference.between(one, one) == ()


@WORLDS
@given(entry_lists, chances)
def test_order_repetitions_and_comments_do_not_count(listed, shuffler):
    """The same entries in another order, some of them twice, with comments, accept the same."""
    shuffled = [*listed, *listed[:2]]
    shuffler.shuffle(shuffled)
    assert difference.between(policy(*listed), policy("# a comment", *shuffled)) == ()


@WORLDS
@given(policies, policies)
def test_the_other_way_round_is_the_mirror_image(a, b):
    """What is looser seen from A is stricter seen from B."""
    there, back = difference.tendency(difference.between(a, b)), difference.tendency(difference.between(b, a))
    assert back is MIRRORED.get(there, there)


@WORLDS
@given(entry_lists, entry_lists)
def test_a_looser_policy_accepts_whatever_the_stricter_one_accepts(first, second):
    """Judged against every platform of a small world, the sum of the differences is true."""
    a, b = policy(*first), policy(*second)
    accepted = [{world for world in WORLD if _accepts(one, world)} for one in (a, b)]
    match difference.tendency(difference.between(a, b)):
        case Tendency.SAME:
            assert accepted[0] == accepted[1]
        case Tendency.LOOSER:
            assert accepted[0] <= accepted[1]
        case Tendency.STRICTER:
            assert accepted[0] >= accepted[1]


# mrtd, rtmr0, status, advisories, evaluation, smt, cached keys
WORLD = [
    (mrtd, rtmr0, status, advisories, evaluation, smt, cached)
    for mrtd in DIGESTS
    for rtmr0 in DIGESTS
    for status in STATUSES
    for advisories in (frozenset(), frozenset({"INTEL-SA-1"}), frozenset({"INTEL-SA-1", "INTEL-SA-2"}))
    for evaluation in (16, 17, 18)
    for smt in (False, True)
    for cached in (False, True)
]


def _accepts(one: Policy, world: tuple) -> bool:
    mrtd, rtmr0, status, advisories, evaluation, smt, cached = world
    return any(
        accept.measurements["mrtd"].hex() == mrtd
        and accept.measurements.get("rtmr0", bytes.fromhex(rtmr0)).hex() == rtmr0
        and status in accept.platform.tcb_status
        and advisories <= accept.platform.allow_advisories
        and evaluation >= accept.platform.min_tcb_evaluation
        and (not smt or accept.platform.allow_smt)
        and (not cached or accept.platform.allow_cached_keys)
        for accept in one.accept
    )


@pytest.mark.parametrize(
    ("a", "b", "where", "found"),
    [
        ("", "expires = 2027-03-01", "expires", Tendency.STRICTER),
        ("expires = 2027-03-01", "expires = 2028-03-01", "expires", Tendency.LOOSER),
        ("", 'names = ["a"]', "names", Tendency.OTHER),
        ('names = ["a"]', 'names = ["b", "a"]', "names", Tendency.LOOSER),
        (f"operator.spki_sha256 = ['{SHA256[0]}']", "", "operator.spki_sha256", Tendency.LOOSER),
        ("", f"models.sha256 = ['{SHA256[0]}']", "models.sha256", Tendency.STRICTER),
        ("require.sandbox = 'none'", "require.sandbox = ['none']", "require.sandbox", Tendency.OTHER),
        ("require.sandbox = 1", "require.sandbox = true", "require.sandbox", Tendency.OTHER),
        ("require.sandbox = 'none'", "", "require.sandbox", Tendency.LOOSER),
    ],
)
def test_a_difference_of_the_whole_policy(a, b, where, found):
    """One demand differs: it is named, with the side that is looser."""
    (one,) = difference.between(policy(top=a), policy(top=b))
    assert (one.where, one.tendency) == (where, found)


@pytest.mark.parametrize(
    ("a", "b", "where", "found"),
    [
        ("", "allow_smt = true", "allow_smt", Tendency.LOOSER),
        ("", "min_tcb_evaluation = 3", "min_tcb_evaluation", Tendency.STRICTER),
        ("", 'allow_advisories = ["INTEL-SA-1"]', "allow_advisories", Tendency.LOOSER),
        ('tcb_status = ["OutOfDate"]', "", "tcb_status", Tendency.OTHER),
        ("", f'rtmr0 = "{DIGESTS[1]}"', "rtmr0", Tendency.STRICTER),
        (f'rtmr0 = "{DIGESTS[0]}"', f'rtmr0 = "{DIGESTS[1]}"', "rtmr0", Tendency.OTHER),
        ("", 'relax = ["hyper-threading"]', "allow_smt", Tendency.LOOSER),
    ],
)
def test_a_difference_of_an_entry(a, b, where, found):
    """Entries of the same code are compared demand by demand, relaxations by what they stand for."""
    (one,) = difference.between(policy(entry(a)), policy(entry(b)))
    assert (one.where.split()[-1], one.tendency) == (where, found)


def test_an_entry_more_is_looser():
    """An entry that only B has accepts what A refuses."""
    (one,) = difference.between(policy(), policy(entry(), entry(mrtd=DIGESTS[1])))
    assert one.tendency is Tendency.LOOSER
    assert "B 2" in one.where


def test_an_entry_that_another_one_covers_is_no_difference():
    """What B accepts anyway need not be listed there."""
    strict, relaxed = entry(), entry("allow_smt = true")
    assert difference.between(policy(strict, relaxed), policy(relaxed)) == ()


def test_a_crowd_of_entries_is_not_compared_each_with_each():
    """A stranger's policy of thousands does not hold up the comparison: each entry then stands alone."""
    crowd = [entry(f"min_tcb_evaluation = {number}", mrtd=f"{number % 7:096x}") for number in range(300)]
    few, many = (difference.between(policy(), policy(*listed)) for listed in (crowd[:20], crowd))
    assert (len(few), len(many)) == (1 + 7, 1 + 300)
    assert difference.tendency(many) is Tendency.OTHER


SNP = f"""\
[[accept]]
tee = "sev-snp"
measurement = "{DIGESTS[0]}"
boot = "direct"
"""
FLOOR = 'product = "Milan"\nmin_tcb = { bootloader = 4, tee = 0, snp = 24, microcode = 219 }\n'
SGX = f'[[accept]]\ntee = "sgx"\nmr_enclave = "{SHA256[0]}"\n'
TDX_EVENTS = entry().replace(f'rtmr1 = "{DIGESTS[0]}"', "rtmr1_events = {0}")


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        (SNP + FLOOR, SNP + "allow_any_tcb = true", Tendency.LOOSER),
        (SNP + FLOOR, SNP + FLOOR.replace("219", "220"), Tendency.STRICTER),
        (SNP + FLOOR, SNP + FLOOR + 'require_platform_info = ["ecc"]', Tendency.STRICTER),
        (SNP + FLOOR, SNP + FLOOR + "require_crl = false", Tendency.LOOSER),
        (SNP + FLOOR, SNP + FLOOR + "max_vmpl = 1", Tendency.LOOSER),
        (SNP + FLOOR, SNP + FLOOR + f'host_data = "{"00" * 32}"', Tendency.SAME),
        (SNP + FLOOR, SNP + FLOOR + f'host_data = "{"01" * 32}"', Tendency.OTHER),
        (SGX, SGX + f'config_id = "{"00" * 64}"', Tendency.SAME),
        (SGX, SGX + f'config_id = "{"01" * 64}"', Tendency.OTHER),
        (SGX, SGX + 'attributes_xfrm = "0300000000000000"', Tendency.STRICTER),
        (
            SGX + 'attributes_xfrm = "0300000000000000"',
            SGX + 'attributes_xfrm = "0300000000000000"\nattributes_mask_xfrm = "0300000000000000"',
            Tendency.LOOSER,
        ),
        (
            SGX + 'attributes_xfrm = "0300000000000000"',
            SGX + 'attributes_xfrm = "e700000000000000"',
            Tendency.OTHER,
        ),
        (SGX, SGX + f'mr_signer = "{SHA256[0]}"\nisv_prod_id = 1\nmin_isv_svn = 1', Tendency.STRICTER),
        (TDX_EVENTS.format([DIGESTS[0]]), TDX_EVENTS.format([DIGESTS[0], DIGESTS[1]]), Tendency.OTHER),
        (TDX_EVENTS.format(DIGESTS), TDX_EVENTS.format(DIGESTS[::-1]), Tendency.SAME),
        (TDX_EVENTS.format(DIGESTS), entry(), Tendency.OTHER),
    ],
)
def test_a_difference_that_only_one_tee_has(a, b, found):
    """What a slice means by a key, or by its absence, decides which side is looser."""
    assert difference.tendency(difference.between(policy(a), policy(b))) is found


# Reviewed by hand: a field that is new, or whose name says something else, makes this table wrong.
ORDERS = {
    "tdx": {
        "td_attributes": Order.EXACT,
        "mrconfigid": Order.EXACT,
        "mrowner": Order.EXACT,
        "mrownerconfig": Order.EXACT,
        "tcb_status": Order.ANY_OF,
        "allow_advisories": Order.ANY_OF,
        "min_tcb_evaluation": Order.LEAST,
        "allow_dynamic_platform": Order.PERMITS,
        "allow_cached_keys": Order.PERMITS,
        "allow_smt": Order.PERMITS,
    },
    "sgx": {
        "mr_enclave": Order.EXACT,
        "mr_signer": Order.EXACT,
        "isv_prod_id": Order.EXACT,
        "min_isv_svn": Order.LEAST,
        "config_id": Order.EXACT,
        "config_svn": Order.EXACT,
        "attributes_flags": Order.BITS,
        "attributes_xfrm": Order.BITS,
        "misc_select": Order.BITS,
        "tcb_status": Order.ANY_OF,
        "allow_advisories": Order.ANY_OF,
        "min_tcb_evaluation": Order.LEAST,
        "allow_dynamic_platform": Order.PERMITS,
        "allow_cached_keys": Order.PERMITS,
        "allow_smt": Order.PERMITS,
    },
    "sev-snp": {
        "host_data": Order.EXACT,
        "product": Order.EXACT,
        "allow_any_tcb": Order.PERMITS,
        "min_guest_svn": Order.LEAST,
        "max_vmpl": Order.MOST,
        "allow_smt": Order.PERMITS,
        "allow_migration": Order.PERMITS,
        "allow_unchecked_aliases": Order.PERMITS,
        "require_crl": Order.DEMANDS,
        "require_guest_policy": Order.ALL_OF,
        "require_platform_info": Order.ALL_OF,
        "require_mitigations": Order.ALL_OF,
    },
    "nitro": {"max_age_seconds": Order.MOST},
}


@pytest.mark.parametrize("tee", ORDERS)
def test_every_field_has_the_order_that_was_reviewed(tee):
    """A field whose order is guessed wrongly would call a looser policy a stricter one."""
    assert vendors.defaults(tee)
    assert {key: found.order for key, found in demanded.strict(tee).items()} == ORDERS[tee]
