"""`blindai policy` on files: what is data, what is talk, and the exit code."""

from __future__ import annotations

import hashlib
import json

import pytest

from blindai.attestation.policy import MAX_POLICY_BYTES, Policy
from blindai.cli.main import main

DIGEST = "ab" * 48
MINIMAL = f"""\
version = 1
[[accept]]
tee = "tdx"
mrtd = "{DIGEST}"
rtmr1 = "{DIGEST}"
rtmr2 = "{DIGEST}"
"""
CAREFUL = f"""\
expires = 2999-01-01
names = ["inference.example.org"]
{MINIMAL}
[operator]
spki_sha256 = ["{"cd" * 32}"]"""
SIGNER = f"""\
version = 1
[[accept]]
tee = "sgx"
mr_signer = "{"ab" * 32}"
isv_prod_id = 1
min_isv_svn = 2
"""
SNP = f"""\
version = 1
[[accept]]
tee = "sev-snp"
measurement = "{DIGEST}"
boot = "direct"
"""
FLOOR = 'product = "Milan"\nmin_tcb = { bootloader = 4, tee = 0, snp = 24, microcode = 219 }\n'
ZERO_FLOOR = 'product = "Milan"\nmin_tcb = { bootloader = 0, tee = 0, snp = 0, microcode = 0 }\n'
IMAGE_SIGNER = f"""\
version = 1
[[accept]]
tee = "nitro"
pcr8 = "{DIGEST}"
pcr1 = "{DIGEST}"
pcr2 = "{DIGEST}"
"""
ORIGINAL = f"""\
mr_enclave = "{"5f" * 32}"
misc_select_hex = "0x0"
misc_mask_hex= "0xffffffff"
attributes_flags_hex= "0x4"
attributes_xfrm_hex= "0x3"
attributes_mask_flags_hex= "0xfffffffffffffffd"
attributes_mask_xfrm_hex= "0xffffffffffffff1b"
allow_debug = true
"""


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path; a number tells several of them apart."""

    def written(content, number=1):
        path = tmp_path / f"policy{number}.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return written


@pytest.fixture
def run(capsys):
    """Run `blindai policy ...` and return (exit code, stdout, stderr)."""

    def ran(*arguments):
        code = main(["policy", *arguments])
        return (code, *capsys.readouterr())

    return ran


def test_check_says_what_is_accepted_in_a_line_for_each_entry(run, write):
    """A careful policy: one line for each entry, no warning, exit code 0."""
    second = MINIMAL.replace("version = 1\n", "").replace("ab" * 48, "ef" * 48)
    code, out, err = run("check", write(CAREFUL.replace("\n[operator]", second + "\n[operator]")))
    assert (code, err) == (0, "")
    first, last = out.splitlines()
    assert first.startswith("accepts tdx with mrtd abababababababab")
    assert last.startswith("accepts tdx with mrtd efefefefefefefef")


def test_check_warns_of_what_is_legal_but_weak(run, write):
    """What the smallest policy leaves open is said on stderr, and is no failure."""
    code, out, err = run("check", write(MINIMAL))
    assert code == 0
    assert out.count("\n") == 1
    assert all(f"warning: no {missing}" in err for missing in ("`expires`", "[operator]", "`names`"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINIMAL + 'relax = ["hyper-threading"]', "relaxed by hyper-threading: another tenant"),
        (MINIMAL + "allow_smt = true", "relaxed by hyper-threading"),
        (MINIMAL + "allow_cached_keys = true", "allow_cached_keys: yes accepts more than the strict no"),
        (MINIMAL + 'relax = ["out-of-date"]', "relaxed by out-of-date"),
        (MINIMAL + 'tcb_status = ["UpToDate", "SWHardeningNeeded", "OutOfDate"]', "tcb_status: OutOfDate or"),
        (MINIMAL + 'tcb_status = ["OutOfDate"]', "tcb_status: OutOfDate accepts more"),
        (MINIMAL + 'allow_advisories = ["INTEL-SA-1"]', "allow_advisories: INTEL-SA-1"),
        ("expires = 2020-01-01\n" + MINIMAL, "expired 2020-01-01"),
        (SNP + 'relax = ["any-tcb"]', "relaxed by any-tcb"),
        (SNP + FLOOR + "require_crl = false", "relaxed by no-crl"),
        (SNP + FLOOR + "max_vmpl = 1", "max_vmpl: 1 accepts more than the strict 0"),
        (SIGNER, "no mr_enclave: anything that this signer signs is accepted"),
        (MINIMAL + 'td_attributes = "0000000000000000"', "td_attributes: 0000000000000000 is not the strict"),
        (IMAGE_SIGNER, "no pcr0: anything that this signer signs with this pcr1 and pcr2 is accepted"),
        (SNP + ZERO_FLOOR, "min_tcb is zero throughout, which is any-tcb"),
        (MINIMAL + '[require]\nsandbox = "gvisor"', "[require] sandbox: no server of this version states"),
        (MINIMAL + "[require]\nmodel_upload = false", "[require] model_upload: no server"),
        (MINIMAL + 'allow_advisories = ["CVE-2024-1"]', "no advisory the name CVE-2024-1"),
        (
            f'version = 1\n[[accept]]\ntee = "nitro"\npcr0 = "{DIGEST}"\nmax_age_seconds = 999',
            "max_age_seconds",
        ),
    ],
)
def test_each_weakness_is_named(run, write, text, said):
    """A relaxation says what it gives up, by its name or by its keys; other loose keys are compared."""
    code, _, err = run("check", write(text))
    assert code == 0, err
    assert said in err
    assert json.loads(run("check", "--json", write(text))[1])["warnings"]


def test_an_expired_policy_would_accept(run, write):
    """Nothing is accepted by it any more, and its lines do not say so."""
    code, out, _ = run("check", write("expires = 2020-01-01\n" + MINIMAL))
    assert (code, out.startswith("would accept tdx")) == (0, True)


@pytest.mark.parametrize("text", [SIGNER, IMAGE_SIGNER])
def test_a_signer_is_not_its_code(run, write, text):
    """In words: what names who signed does not say which code runs."""
    _, out, _ = run("show", write(text))
    assert "anything that this signer signs" in out
    assert "exactly this code" not in out


def test_what_this_version_states_is_no_warning(run, write):
    """The values of the table in docs/policy.md."""
    stated = 'isolation = "thread"\nsandbox = "none"\nmodel_upload = "off"\nsealing = ["memory"]\n'
    assert "[require]" not in run("check", write(MINIMAL + f'[require]\n{stated}telemetry = "none"'))[2]


def test_a_strict_entry_has_no_warning_of_its_own(run, write):
    """Defaults that are written out are no weakness."""
    for text in (MINIMAL + 'tcb_status = ["UpToDate"]\nallow_smt = false', SNP + FLOOR):
        assert "[[accept]]" not in run("check", write(text))[2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (MINIMAL.replace("mrtd", "mrdt"), "did you mean 'mrtd'"),
        (MINIMAL + 'relax = ["hyperthreading"]', "hyper-threading"),
        ("version = 1", "accept"),
        (b"\xff", "UTF-8"),
        ("#" * (MAX_POLICY_BYTES + 1), "longer"),
        ("= 1", "not TOML"),
    ],
)
@pytest.mark.parametrize("action", ["check", "show"])
def test_what_does_not_load_is_exit_code_1(run, write, action, content, said):
    """A text that is not fully understood is refused, with its line and a suggestion where there is one."""
    code, out, err = run(action, write(content))
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert said in err


def test_a_file_that_is_not_there(run, tmp_path):
    """Each action says which file cannot be read."""
    missing = str(tmp_path / "none.toml")
    for arguments in (
        ("check", missing),
        ("show", missing),
        ("diff", missing, missing),
        ("convert", missing),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (1, "")
        assert missing in err


def test_show_says_what_is_demanded_though_it_is_not_written(run, write):
    """Written demands, defaults, relaxations, and the digest that verdicts name."""
    text = MINIMAL + 'relax = ["multi-socket"]'
    code, out, _ = run("show", write(text))
    assert code == 0
    assert f"policy sha256:{hashlib.sha256(text.encode()).hexdigest()}" in out
    assert "tcb_status: UpToDate" in out
    assert "allow_smt: no" in out
    assert "relaxed by multi-socket: the platform may be" in out
    assert "expires: never" in out
    assert f"rtmr2: {DIGEST}" in out


def test_show_as_json_and_as_text(run, write):
    """JSON holds the same demands; --text is the file itself."""
    shown = json.loads(run("show", "--json", write(CAREFUL))[1])
    assert shown["sha256"] == Policy.from_toml(CAREFUL).sha256
    assert {"claim": "names", "value": ["inference.example.org"], "default": False} in shown["demands"]
    assert {"claim": "allow_smt", "value": False, "default": True} in shown["accept"][0]["demands"]
    assert run("show", "--text", write(CAREFUL))[1] == CAREFUL + "\n"


def test_a_policy_cannot_steer_the_terminal(run, write):
    """Escape sequences in a policy's own words are shown as harmless characters."""
    hostile = 'names = ["\\u001b[2j\\n\\u202eaccepted"]\n' + MINIMAL
    for arguments in (("show", write(hostile)), ("diff", write(MINIMAL, 2), write(hostile))):
        code, out, err = run(*arguments)
        assert code == 0
        assert "\x1b" not in out + err
        assert "\u202e" not in out + err
        assert not any(line.startswith("accepted") for line in out.splitlines())


def test_diff_names_each_difference_and_who_is_looser(run, write):
    """One line for each demand that differs, and the sum; exit code 0 unless asked otherwise."""
    a, b = write(MINIMAL), write(MINIMAL + 'relax = ["hyper-threading"]\ntcb_status = ["OutOfDate"]', 2)
    code, out, err = run("diff", a, b)
    assert (code, err) == (0, "")
    assert "B is looser: [[accept]] tdx (A 1, B 1) allow_smt: A: no; B: yes" in out
    assert "neither contains the other: [[accept]] tdx (A 1, B 1) tcb_status" in out
    assert out.splitlines()[-1] == "each accepts something that the other refuses"
    assert run("diff", "--exit-code", a, b)[0] == 6
    found = json.loads(run("diff", "--json", a, b)[1])
    assert found["b_is"] == "other"
    assert {difference["b_is"] for difference in found["differences"]} == {"looser", "other"}


def test_diff_of_the_same_policy_written_otherwise(run, write):
    """Comments, order and defaults written out are no difference: nothing on stdout, exit code 0."""
    other = f'# mine\n{MINIMAL}allow_smt = false\ntcb_status = ["UpToDate"]\n'
    code, out, err = run("diff", "--exit-code", write(MINIMAL), write(other, 2))
    assert (code, out) == (0, "")
    assert "no difference" in err


def test_convert_prints_a_policy_and_says_what_it_drops(run, write):
    """stdout is a policy that loads; stderr says that debug enclaves are not carried over."""
    code, out, err = run("convert", write(ORIGINAL))
    assert code == 0
    assert Policy.from_toml(out).accept[0].tee == "sgx"
    assert "allow_debug = true is NOT carried over" in err
    assert json.loads(run("convert", "--json", write(ORIGINAL))[1])["policy"] == out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ORIGINAL.replace("misc_mask_hex", "misc_mask"), "unknown field: misc_mask"),
        (ORIGINAL.replace("allow_debug = true", ""), "missing field: allow_debug"),
        (MINIMAL, "policy of this version already"),
    ],
)
def test_convert_refuses_what_it_does_not_know(run, write, text, said):
    """Unknown and missing fields are named; a policy of today needs no conversion."""
    code, out, err = run("convert", write(text))
    assert (code, out) == (1, "")
    assert said in err
    assert "hint: " in err
