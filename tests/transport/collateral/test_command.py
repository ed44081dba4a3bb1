"""`blindai collateral fetch`: what goes to stdout, to stderr, to files, and the exit code."""

from __future__ import annotations

import json
import time

import pytest

from blindai.cli.main import main
from blindai.transport.collateral import amd
from tests.transport.collateral import services, test_amd
from tests.transport.collateral.services import Reply
from tests.transport.collateral.test_amd import CHIP_ID, PATH, VCEK, report

kds = test_amd.kds


@pytest.fixture
def run(capsys, tmp_path):
    """Run the command with a cache of its own; return exit code, stdout and stderr."""

    def command(*arguments):
        try:
            code = main(["collateral", "fetch", *map(str, arguments), "--cache", str(tmp_path / "cache")])
        except SystemExit as leaving:
            code = leaving.code
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def at(pcs):
    return ("--url", pcs.url, "--root-crl-url", f"{pcs.url}/IntelSGXRootCA.der")


def test_the_collateral_of_a_quote(tdx, at, run, tmp_path):
    """JSON for a server to staple on stdout, everything else on stderr."""
    quote = tmp_path / "quote.bin"
    quote.write_bytes(tdx.evidence(bytes(64)).value)
    code, out, err = run("intel", "--quote", quote, *at)
    assert (code, json.loads(out)) == (0, {"intel": tdx.collateral()["intel"]})
    assert "fetching the TCB info" in err
    assert "not verified" in err
    assert "it ends 20" in err


def test_the_collateral_of_a_platform_in_a_file(tdx, platform, at, run, tmp_path):
    """The three values name a platform too; --out leaves stdout empty."""
    target = tmp_path / "collateral.json"
    code, out, _ = run(
        *("intel", "--fmspc", platform.fmspc.lower(), "--ca", platform.ca, "--tee", "tdx", "--out", target),
        *at,
    )
    assert (code, out) == (0, "")
    assert json.loads(target.read_text()) == {"intel": tdx.collateral()["intel"]}


def test_an_api_key_is_read_from_a_file(platform, pcs, at, run, tmp_path):
    """A line break at its end does not count, and the key is shown nowhere."""
    key = tmp_path / "key"
    key.write_text("CANARY-KEY\n")
    code, out, err = run(
        *("intel", "--fmspc", platform.fmspc, "--ca", platform.ca, "--tee", "tdx", "--api-key-file", key), *at
    )
    assert code == 0
    assert "CANARY-KEY" in str(pcs.asked)
    assert "CANARY-KEY" not in out + err


def test_the_certificate_of_a_chip(kds, run, tmp_path, slept):
    """From a report, at AMD's pace; stderr and file names do not name the chip, as its certificate does."""
    file = tmp_path / "report.bin"
    file.write_bytes(report())
    begin = time.monotonic()
    code, out, err = run("amd", "--report", file, "--url", kds.url)
    passed = time.monotonic() - begin
    assert code == 0
    assert set(json.loads(out)["amd"]) == {"leaf", "issuer_chain", "crl"}
    names = [path.name for path in (tmp_path / "cache").iterdir()]
    assert CHIP_ID.hex()[:16] not in (out + err + str(names)).lower()
    assert len(kds.asked) == 3
    assert sum(slept) + passed > 2 * amd.INTERVAL_SECONDS - 0.01  # two pauses, less what had passed already


@pytest.mark.usefixtures("slept")
def test_a_chip_by_its_values(kds, run):
    """Without a report: product, identifier and TCB."""
    values = ("--bootloader", 10, "--tee", 0, "--snp", 23, "--microcode", 84)
    kds.routes[PATH] = Reply(VCEK)
    code, _, err = run("amd", "--product", "Genoa", "--chip-id", CHIP_ID.hex(), *values, "--url", kds.url)
    assert (code, PATH in kds.paths) == (0, True), err
    code, out, err = run("amd", "--product", "Genoa", "--chip-id", CHIP_ID.hex() + "q", *values)
    assert code == 1
    assert CHIP_ID.hex()[:16] not in out + err


@pytest.mark.parametrize(
    "arguments",
    [
        ("intel",),
        ("intel", "--fmspc", "00"),
        ("intel", "--fmspc", "00", "--ca", "platform", "--tee", "tdx"),
        ("intel", "--fmspc", "00", "--ca", "nobody", "--tee", "tdx"),
        ("intel", "--quote", "/nonexistent"),
        ("intel", "--quote", "/dev/zero"),
        ("intel", "--quote", "/dev/null"),
        ("intel", "--quote", "/dev/null", "--fmspc", "00"),
        (
            "intel",
            "--fmspc",
            "00" * 6,
            "--ca",
            "platform",
            "--tee",
            "tdx",
            "--url",
            "http://pccs.example.org",
        ),
        ("intel", "--fmspc", "00" * 6, "--ca", "platform", "--tee", "tdx", "--api-key-file", "/dev/null"),
        ("intel", "--fmspc", "00" * 6, "--ca", "platform", "--tee", "tdx", "--tls-ca", "/nonexistent"),
        ("intel", "--fmspc", "00" * 6, "--ca", "platform", "--tee", "tdx", "--timeout", "0"),
        ("amd",),
        ("amd", "--report", "/dev/null"),
        ("amd", "--report", "/dev/null", "--snp", "0"),
        ("amd", "--product", "Milan", "--chip-id", "00"),
        ("amd", "--product", "Rome"),
        (),
    ],
)
def test_usage_errors_are_exit_code_1(run, arguments):
    """Missing, contradicting and impossible values end before anyone is asked."""
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.count("error: ") == 1
    assert "Traceback" not in err


def test_an_unreachable_service_is_exit_code_2(run):
    """As for servers."""
    with services.running() as gone:
        url = gone.url
    code, _, err = run("intel", "--fmspc", "00" * 6, "--ca", "platform", "--tee", "tdx", "--url", url)
    assert code == 2
    assert "hint: " in err


def test_a_result_that_cannot_be_written_is_said(platform, at, run):
    """--out to nowhere."""
    code, out, err = run(
        *("intel", "--fmspc", platform.fmspc, "--ca", platform.ca, "--tee", "tdx", "--out", "/nonexistent/x"),
        *at,
    )
    assert (code, out) == (1, "")
    assert "cannot write" in err
