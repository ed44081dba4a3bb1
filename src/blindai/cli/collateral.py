"""`blindai collateral`: what vendors publish about their hardware, for operators and for offline work."""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from blindai.attestation.times import shown
from blindai.attestation.types import MAX_EVIDENCE_BYTES
from blindai.cli import output
from blindai.cli.parser import Parser, Verbs
from blindai.errors import UsageError
from blindai.transport.collateral import amd, intel
from blindai.transport.collateral.cache import default_folder
from blindai.transport.collateral.collector import Collector, collect
from blindai.transport.collateral.source import Limits

_SHAPE_ONLY = (
    "What is fetched is checked for its shape and trusted for nothing: the verifier judges it, each time "
    "it is used. No client needs this where the server staples its collateral."
)


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "collateral",
        help="fetch what vendors publish about their hardware",
        description=f"Fetch certificates, CRLs and TCB data from a vendor's service. {_SHAPE_ONLY}",
    )
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
    fetch = actions.add_parser(
        "fetch", help="fetch the collateral of a machine", description=f"Fetch collateral. {_SHAPE_ONLY}"
    )
    vendors = fetch.add_subparsers(title="vendors", dest="vendor", required=True, metavar="VENDOR")
    _add_intel(vendors)
    _add_amd(vendors)


def _add_intel(vendors: Verbs) -> None:
    parser = vendors.add_parser(
        "intel",
        help="from Intel's PCS, or from a PCCS",
        description="Fetch Intel's collateral for a quote, or for an FMSPC, a CA and a TEE.",
        epilog="example: blindai collateral fetch intel --quote quote.bin --out collateral.json",
    )
    what = parser.add_argument_group("the machine: a quote, or all three values")
    what.add_argument("--quote", metavar="FILE", help="SGX or TDX quote; only its certificate is read")
    what.add_argument("--fmspc", metavar="HEX", help="platform family: 12 hexadecimal digits")
    what.add_argument("--ca", choices=("processor", "platform"), help="which CA issued the PCK certificate")
    what.add_argument("--tee", choices=("sgx", "tdx"), help="which TEE")
    parser.add_argument("--url", metavar="URL", help=f"PCS or PCCS (default {intel.PCS_URL})")
    parser.add_argument(
        "--root-crl-url",
        metavar="URL",
        help="where the root CRL is (default: of Intel's certificates host, or of the PCCS)",
    )
    parser.add_argument(
        "--api-key-file", metavar="FILE", help=f"file with a key for --url, sent as {intel.API_KEY_HEADER}"
    )
    parser.add_argument(
        "--update",
        choices=("standard", "early"),
        help="early: TCB data from the day that a recovery is disclosed; standard: from months later "
        "(default: the service's)",
    )
    _add_common(parser)
    parser.set_defaults(run=fetch_intel)


def _add_amd(vendors: Verbs) -> None:
    parser = vendors.add_parser(
        "amd",
        help="from AMD's KDS",
        description="Fetch a VCEK, its issuers and their CRL, for a report or for a chip and its TCB. "
        "The certificate names the chip: whoever gets the result can tell this machine from others.",
        epilog="example: blindai collateral fetch amd --report report.bin --out collateral.json",
    )
    what = parser.add_argument_group("the machine: a report, or its values")
    what.add_argument("--report", metavar="FILE", help="SNP report")
    what.add_argument("--product", choices=amd.PRODUCTS, help="needed with a report of version 2 too")
    what.add_argument("--chip-id", metavar="HEX", help="64 bytes, or 8 of a Turin")
    for name, meaning in (
        ("bootloader", "boot loader"),
        ("tee", "TEE"),
        ("snp", "SNP firmware"),
        ("microcode", "microcode"),
        ("fmc", "FMC (Turin only)"),
    ):
        what.add_argument(f"--{name}", type=int, metavar="N", help=f"security version of the {meaning}")
    parser.add_argument("--url", metavar="URL", help=f"KDS (default {amd.KDS_URL})")
    _add_common(parser)
    parser.set_defaults(run=fetch_amd)


def _add_common(parser: Parser) -> None:
    parser.add_argument(
        "--tls-ca", metavar="FILE", help="certificates (PEM) to trust for TLS instead of the system's"
    )
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache",
        metavar="DIR",
        help="where answers are kept (default: blindai/collateral of the cache folder)",
    )
    cache.add_argument("--no-cache", action="store_true", help="read and keep nothing on disk")
    parser.add_argument("--refresh", action="store_true", help="fetch anew what is kept, and keep that")
    parser.add_argument("--out", metavar="FILE", help="write the result there and not to stdout")
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="longest time for everything, waits included (default 60)",
    )


def fetch_intel(arguments: argparse.Namespace) -> None:
    platform = _platform(arguments)
    service = intel.Service.at(
        arguments.url,
        root_crl_url=arguments.root_crl_url,
        update=arguments.update,
        api_key=_api_key(arguments.api_key_file),
    )
    _fetch("intel", arguments, lambda collector: intel.fetch(platform, service, collector))


def fetch_amd(arguments: argparse.Namespace) -> None:
    chip = _chip(arguments)
    _fetch("amd", arguments, lambda collector: amd.fetch(chip, collector, url=arguments.url))


def _fetch(
    vendor: str, arguments: argparse.Namespace, job: Callable[[Collector], Awaitable[dict[str, str]]]
) -> None:
    members, until = collect(
        job,
        folder=_folder(arguments),
        say=output.talk,
        refresh=arguments.refresh,
        ca_file=arguments.tls_ca,
        limits=Limits(timeout_seconds=arguments.timeout),
    )
    result = {vendor: members}
    if arguments.out is None:
        output.json_data(result)
    else:
        _write(Path(arguments.out), json.dumps(result, indent=2) + "\n")
    end = "" if until is None else f"; it ends {shown(until)}"
    output.talk(f"fetched, not verified: the verifier judges it when it is used{end}")


def _platform(arguments: argparse.Namespace) -> intel.Platform:
    values = (arguments.fmspc, arguments.ca, arguments.tee)
    if arguments.quote is not None and not any(values):
        return intel.platform_of(_read(arguments.quote))
    if arguments.quote is not None or not all(values):
        raise UsageError("which machine?", hint="--quote FILE, or all of --fmspc HEX --ca CA --tee TEE")
    return intel.Platform(arguments.fmspc.upper(), arguments.ca, arguments.tee)


def _chip(arguments: argparse.Namespace) -> amd.Chip:
    numbers = (arguments.bootloader, arguments.tee, arguments.snp, arguments.microcode)
    values = (arguments.chip_id, *numbers)
    if arguments.report is not None and {*values, arguments.fmc} == {None}:
        return amd.chip_of(_read(arguments.report), arguments.product)
    if arguments.report is not None or None in (arguments.product, *values):
        raise UsageError(
            "which machine?",
            hint="--report FILE, or all of --product --chip-id --bootloader --tee --snp --microcode",
        )
    try:
        chip_id = bytes.fromhex(arguments.chip_id)
    except ValueError:
        # The value is not quoted: almost right, it still names the machine.
        raise UsageError("the chip id is not hexadecimal") from None
    return amd.Chip(arguments.product, chip_id, amd.Tcb(*numbers, fmc=arguments.fmc))


def _folder(arguments: argparse.Namespace) -> Path | None:
    if arguments.no_cache:
        return None
    if arguments.cache is not None:
        return Path(arguments.cache)
    try:
        return default_folder()
    except RuntimeError:
        output.talk("this user has no home folder: nothing is kept; --cache DIR names one")
        return None


def _api_key(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return _read(path).decode("ascii").strip()
    except UnicodeDecodeError:
        raise UsageError(f"{path} does not hold an API key") from None


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_EVIDENCE_BYTES + 1)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > MAX_EVIDENCE_BYTES:
        raise UsageError(f"{path} has more than {MAX_EVIDENCE_BYTES} bytes")
    return data


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
    output.talk(f"collateral written to {path}")
