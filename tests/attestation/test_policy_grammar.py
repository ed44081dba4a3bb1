"""Which policy texts load. What is not fully understood does not, and the message says where and why."""

from __future__ import annotations

import pytest

from blindai.attestation.intel.tcb_policy import TcbAccept
from blindai.attestation.policy import MAX_POLICY_BYTES, Policy
from tests.attestation.policy_texts import DIGEST, FULL, MINIMAL, SHA256, refused


def added(text, line, after):
    """Return `text` with `line` below the last line that starts with `after`, and its number."""
    lines = text.splitlines()
    position = max(number for number, old in enumerate(lines, 1) if old.startswith(after))
    return "\n".join([*lines[:position], line, *lines[position:]]), position + 1


def test_the_smallest_policy():
    """Three digests and a version; everything else is the strict default."""
    policy = Policy.from_toml(MINIMAL)
    (entry,) = policy.accept
    named = dict.fromkeys(("mrtd", "rtmr1", "rtmr2"), bytes.fromhex(DIGEST))
    chosen_by_the_host = dict.fromkeys(("mrconfigid", "mrowner", "mrownerconfig"), bytes(48))
    assert entry.measurements == named | chosen_by_the_host
    assert entry.platform.tcb_status == {"UpToDate"}
    assert not entry.platform.allow_advisories
    assert entry.platform == TcbAccept()
    assert not entry.events
    assert policy.expires is None
    assert (policy.names, policy.operator_spki_sha256, policy.models_sha256) == ((), frozenset(), ())
    assert policy.unsafe_any_measurement is False


def test_the_largest_policy():
    """Every key that exists, and what becomes of it."""
    policy = Policy.from_toml(FULL)
    first, second = policy.accept
    assert len(first.measurements) == 9
    assert second.platform == TcbAccept(
        tcb_status=frozenset({"UpToDate", "SWHardeningNeeded"}),
        allow_advisories=frozenset({"INTEL-SA-00001"}),
        min_tcb_evaluation=17,
        allow_dynamic_platform=True,
        allow_cached_keys=True,
        allow_smt=True,
    )
    assert policy.operator_spki_sha256 == {SHA256}
    assert policy.models_sha256 == (SHA256,)
    assert policy.names == ("inference.example.org",)
    assert policy.require["model_upload"] is True


@pytest.mark.parametrize(
    ("line", "after", "suggestion"),
    [
        ("name = ['a']", "version", "names"),
        ("expire = 2027-01-01", "version", "expires"),
        ("unsafe_any_measurement = true", "version", ""),
        ("spki_sha265 = ['x']", "[operator]", "spki_sha256"),
        ("sha265 = ['x']", "[models]", "sha256"),
        ("tcb_statuses = ['OutOfDate']", "allow_smt", "tcb_status"),
        ("min_tcb_evalution = 20", "allow_smt", "min_tcb_evaluation"),
        ("rtmr4 = 'x'", "allow_smt", "rtmr"),
        ("mr_enclave = 'x'", "allow_smt", ""),
        ("rtmr_3 = 'x'", "mrownerconfig", "rtmr3"),
    ],
)
def test_an_unknown_key_is_refused_where_it_stands(line, after, suggestion):
    """At every level, with the line and the key that was probably meant."""
    text, number = added(FULL, line, after)
    message = refused(text)
    key = line.partition(" ")[0]
    assert f"line {number}:" in message
    assert key in message
    assert suggestion in message


@pytest.mark.parametrize("header", ["opertor", "accepts", "gpu", "model"])
@pytest.mark.parametrize("brackets", ["[{}]", "[[{}]]"])
def test_an_unknown_table_is_refused_where_it_stands(header, brackets):
    """A misspelt table is a key like any other."""
    text = MINIMAL + f"\n{brackets.format(header)}\nx = 1\n"
    number = text.splitlines().index(brackets.format(header)) + 1
    message = refused(text)
    assert header in message
    assert f"line {number}:" in message


@pytest.mark.parametrize(
    "edit",
    [
        ("names = [", "names = [] # ["),
        ("spki_sha256 = [", "spki_sha256 = [] # ["),
        ("sha256 = [", "sha256 = [] # ["),
        ("sealing = [", "sealing = [] # ["),
        ("tcb_status = [", "tcb_status = [] # ["),
        ("allow_advisories = [", "allow_advisories = [] # ["),
    ],
)
def test_an_empty_list_is_refused(edit):
    """It could mean all or none: say nothing, or say what."""
    text = "\n".join(
        edit[1] + line.removeprefix(edit[0]) if line.startswith(edit[0]) else line
        for line in FULL.splitlines()
    )
    assert text != FULL.rstrip("\n")
    number = next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(edit[1][:6]))
    message = refused(text)
    assert edit[0].partition(" ")[0] in message
    assert f"line {number}:" in message


WRONG_VALUES = {
    "version": ["true", '"1"', "1.0", "2", "0", "-1", "[1]"],
    "expires": ["true", "1800000000", '"2027-03-01"', "2027-03-01T00:00:00", "12:00:00", "[2027-03-01]"],
    "names": ['"inference.example.org"', "[1]", "true", '[""]', '[["a"]]', "{}"],
    "spki_sha256": [f'"{SHA256}"', '["ab"]', f'["{SHA256}0"]', f'["{SHA256[:-1]}x"]', "[1]", "true"],
    "sha256": [f'"{SHA256}"', '["ab"]', "true"],
    "isolation": ["1.5", "2027-03-01", "[1]", "[[]]", "{ a = 1 }", "nan"],
    "tee": ['"tpm"', '"TDX"', '""', "1", '["tdx"]', "true"],
    "mrtd": ['""', '"ab"', f'"{DIGEST}00"', f'"{DIGEST[:-1]}"', f'"{DIGEST[:-2]}zz"', "1", f'["{DIGEST}"]'],
    "mrconfigid": [f'"0x{DIGEST[2:]}"', f'" {DIGEST[1:]}"', '"٣"'],
    "tcb_status": ['"UpToDate"', '["uptodate"]', '["Revoked"]', '["any"]', "[1]", "true"],
    "allow_advisories": ['"INTEL-SA-00001"', "true", "[1]", '[""]'],
    "min_tcb_evaluation": ["true", '"17"', "-1", "17.0", "[17]"],
    "allow_smt": ["1", "0", '"true"', "[true]"],
    "allow_cached_keys": ["1"],
    "allow_dynamic_platform": ['"yes"'],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key in WRONG_VALUES for value in WRONG_VALUES[key]]
)
def test_a_value_of_the_wrong_kind_is_refused(key, value):
    """Types are not converted and digests have one length; the line is named."""
    lines = FULL.splitlines()
    position = max(number for number, line in enumerate(lines) if line.startswith(f"{key} = "))
    lines[position] = f"{key} = {value}"
    message = refused("\n".join(lines))
    assert key in message
    assert f"line {position + 1}:" in message


@pytest.mark.parametrize(
    "missing", [["mrtd"], ["rtmr1"], ["rtmr2"], ["mrtd", "rtmr2"], ["mrtd", "rtmr1", "rtmr2"]]
)
def test_a_missing_code_identity_is_refused(missing):
    """MRTD alone names a cloud's firmware: all three digests, or the message says which are missing."""
    text = "\n".join(line for line in MINIMAL.splitlines() if line.partition(" ")[0] not in missing)
    message = refused(text)
    for name in missing:
        assert name in message


def test_a_missing_code_identity_in_the_second_entry_is_refused():
    """One good entry does not excuse another: accepting is any-of."""
    message = refused(MINIMAL + '\n[[accept]]\ntee = "tdx"\nmrtd = "' + DIGEST + '"\n')
    assert "rtmr1" in message
    assert "line 9:" in message


@pytest.mark.parametrize(
    "text", ["", "version = 1\n", "version = 1\naccept = []\n", "version = 1\n[accept]\n"]
)
def test_a_policy_that_accepts_nothing_is_refused(text):
    """An empty policy is a mistake, not a wish."""
    refused(text)


@pytest.mark.parametrize("line", ["", "version = 2", "Version = 1"])
def test_another_version_is_refused(line):
    """A text for another version would be read with the wrong meaning."""
    assert "version" in refused(MINIMAL.replace("version = 1", line)).lower()


@pytest.mark.parametrize("value", ["true", "false"])
def test_allow_debug_is_refused(value):
    """A debug domain is never acceptable, so the key is not offered, not even to say no."""
    assert "debug" in refused(MINIMAL + f"allow_debug = {value}\n")


@pytest.mark.parametrize("table", ["operator", "models"])
@pytest.mark.parametrize("form", ["\n[{}]\n", "\n[{}]\n# nothing\n"])
def test_an_empty_table_is_refused(table, form):
    """Somebody meant to demand something there."""
    assert table in refused(MINIMAL + form.format(table))


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL + f'mrtd = "{DIGEST}"\n',
        MINIMAL.replace("version = 1", "version = 1\nversion = 1"),
        FULL + "\n[require]\nx = 1\n",
        FULL + '\n[operator]\nspki_sha256 = ["' + SHA256 + '"]\n',
        "version = 1\n[[accept]\n",
        "\x00",
        "version = 1 # \x07\n",
    ],
)
def test_what_is_not_toml_is_refused(text):
    """Duplicate keys above all: the first and the last value both have a claim."""
    assert "TOML" in refused(text)


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL + "min_tcb_evaluation = " + "9" * 5000 + "\n",
        "version = 1\nx = " + "[" * 5000 + "]" * 5000 + "\n",
        MINIMAL + "# \ud800\n",
        "#" * (MAX_POLICY_BYTES + 1),
    ],
    ids=["long number", "deep nesting", "lone surrogate", "long text"],
)
def test_a_hostile_text_ends_in_our_own_error(text):
    """Whoever is sent a policy to look at is not crashed by it."""
    refused(text)
