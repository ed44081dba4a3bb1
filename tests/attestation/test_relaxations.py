"""Strict is the default; a relaxation is a name for keys that could be written out, and gives up no more."""

from __future__ import annotations

import functools
import json

import pytest

from blindai.attestation import vendors
from blindai.attestation.policy import Policy
from blindai.testing import SnpTcb
from tests.attestation import judging
from tests.attestation.judging import ALIASES_CHECKED, MACHINES, failed, policy_of_entry, with_lines, without
from tests.attestation.policy_texts import refused
from tests.attestation.scene import NOW

# `cryptography` mentions the serial number 0 of every VCEK; the package's own filter is not pytest's.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

INTEL = {
    "multi-socket": [{"dynamic_platform": True}, {"cached_keys": True}],
    "hyper-threading": [{"smt": True}],
    "hardening-needed": [{"tcb_status": "SWHardeningNeeded"}],
    "configuration-needed": [
        {"tcb_status": "ConfigurationNeeded"}, {"tcb_status": "ConfigurationAndSWHardeningNeeded"},
    ],
    "out-of-date": [{"tcb_status": "OutOfDate"}, {"tcb_status": "OutOfDateConfigurationNeeded"}],
}  # fmt: skip
AMD = {
    "hyper-threading": [{"platform_info": ALIASES_CHECKED | 1}],
    "migration": [{"migrate_ma": True}],
    "unchecked-aliases": [{"platform_info": 0}],
    "no-crl": [{"crl": None}],
    "any-tcb": [{"reported_tcb": SnpTcb()}, {"launch_tcb": SnpTcb()}],
}
# TEE -> relaxation -> the machines that it is for.
RELAXED = {"tdx": INTEL, "sgx": INTEL, "sev-snp": AMD, "nitro": {}}
EVERY = [(tee, name) for tee, names in RELAXED.items() for name in names]


def strict(tee, *lines, relaxing=()):
    """Return the strict entry of a healthy machine; a floor and `any-tcb` cannot both be meant."""
    entry = with_lines(judging.strict(tee), *lines)
    return without(entry, "min_tcb", "product") if "any-tcb" in relaxing else entry


@functools.cache
def machine_of(tee, name, number):
    """Return one of the machines that a relaxation is for."""
    return MACHINES[tee](now=NOW, **RELAXED[tee][name][number])


def relaxed(tee, *names):
    return strict(tee, f"relax = {json.dumps(names)}", relaxing=names)


def accept_of(entry):
    return Policy.from_toml(policy_of_entry(entry)).accept[0]


def written(value):
    return json.dumps(value)


def test_these_are_all_relaxations():
    """One that is added is added here, with what it is for; and each says what it costs."""
    for tee, names in RELAXED.items():
        offered = vendors.relaxations(tee)
        assert offered.keys() == names.keys()
        assert all(len(relaxation.gives_up) > 30 for relaxation in offered.values())


@pytest.mark.parametrize("tee", MACHINES)
def test_strict_is_the_default(tee):
    """Saying so changes nothing, and no other preset exists."""
    assert accept_of(strict(tee)) == accept_of(strict(tee, 'preset = "strict"'))
    for value in ('"Strict"', '"lax"', '"default"', '""', "true", "1", '["strict"]'):
        message = refused(policy_of_entry(strict(tee, f"preset = {value}")))
        assert "preset" in message
        assert "line " in message


@pytest.mark.parametrize(("tee", "name"), EVERY)
def test_a_relaxation_is_the_keys_that_it_stands_for(tee, name):
    """Written out they give the same entry, so that nothing is relaxed but what can be read."""
    settings = vendors.relaxations(tee)[name].settings
    lines = [f"{key} = {written(value)}" for key, value in settings.items()]
    assert accept_of(relaxed(tee, name)) == accept_of(strict(tee, *lines, relaxing=[name]))
    assert accept_of(relaxed(tee, name)) != accept_of(strict(tee))


@pytest.mark.parametrize(("tee", "name"), EVERY)
def test_a_key_both_written_and_relaxed_is_refused(tee, name):
    """Even where both say the same: which of the two was meant?"""
    for key, value in vendors.relaxations(tee)[name].settings.items():
        values = [value, not value] if isinstance(value, bool) else [value, ["UpToDate"]]
        for other in values:
            line = f"{key} = {written(other)}"
            text = policy_of_entry(strict(tee, line, f'relax = ["{name}"]', relaxing=[name]))
            message = refused(text)
            assert f"{key} is also set by relax {name!r}" in message
            assert f"line {text.splitlines().index(line) + 1}:" in message


@pytest.mark.parametrize(("tee", "name"), EVERY)
def test_a_relaxation_accepts_what_it_is_for_and_nothing_else(tee, name):
    """Strictly each of its machines is refused; relaxed, the machines of all other relaxations still are."""
    entry = relaxed(tee, name)
    for other, machines in RELAXED[tee].items():
        for number, knobs in enumerate(machines):
            machine = machine_of(tee, other, number)
            assert failed(strict(tee), machine)
            assert (failed(entry, machine) == []) == (name == other), knobs


@pytest.mark.parametrize("tee", ["tdx", "sgx"])
def test_two_relaxations_of_one_list_accept_what_either_accepts(tee):
    """In either order, and with the healthy machine."""
    names = ["hardening-needed", "out-of-date"]
    accepts = [accept_of(relaxed(tee, *order)) for order in (names, names[::-1], names * 2)]
    assert accepts[0] == accepts[1] == accepts[2]
    assert accepts[0].platform.tcb_status == {
        "UpToDate", "SWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded",
    }  # fmt: skip


@pytest.mark.parametrize("tee", MACHINES)
def test_all_relaxations_together(tee):
    """None contradicts another; the code is still demanded."""
    if names := list(RELAXED[tee]):
        entry = relaxed(tee, *names)
        for name, machines in RELAXED[tee].items():
            for number in range(len(machines)):
                assert failed(entry, machine_of(tee, name, number)) == []
        code = {"mr_enclave": b"x" * 32} if tee == "sgx" else {"measurement": b"x" * 48}
        other = {"mr_owner": b"x" * 48} if tee == "tdx" else code
        assert failed(entry, MACHINES[tee](now=NOW, **other))


@pytest.mark.parametrize("tee", MACHINES)
@pytest.mark.parametrize("name", ["debug", "Hyper-Threading", "hyper_threading", "any", "strict", "*"])
def test_an_unknown_relaxation_is_refused(tee, name):
    """With those that this TEE knows; the others' names are as unknown as a misspelt one."""
    foreign = {other for names in RELAXED.values() for other in names} - RELAXED[tee].keys()
    for unknown in [name, *sorted(foreign)]:
        line = f'relax = ["{unknown}"]'
        text = policy_of_entry(strict(tee, line))
        message = refused(text)
        assert repr(unknown) in message
        assert all(known in message for known in RELAXED[tee])
        assert f"line {text.splitlines().index(line) + 1}:" in message


@pytest.mark.parametrize("value", ["[]", '"no-crl"', "true", "[1]", '[""]', '[["no-crl"]]', "{}"])
def test_relax_is_a_list_of_names(value):
    """An empty one says nothing: leave it out."""
    for tee in MACHINES:
        assert "relax must be a list" in refused(policy_of_entry(strict(tee, f"relax = {value}")))


@pytest.mark.parametrize("tee", MACHINES)
@pytest.mark.parametrize(("typo", "meant"), [("relaxx", "relax"), ("Relax", "relax"), ("presett", "preset")])
def test_a_misspelt_key_is_named(tee, typo, meant):
    """The strictness of an entry does not hang on one letter."""
    value = '"strict"' if meant == "preset" else '["hyper-threading"]'
    assert f"did you mean {meant!r}?" in refused(policy_of_entry(strict(tee, f"{typo} = {value}")))
