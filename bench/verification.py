"""`make bench-verification`: what a verification costs beside the bare signature checks it cannot do without.

Ratios of processor time within one run, sides alternated; the raw figures go to bench/results/. Not a timed
test. Evidence is minted by `blindai.testing`; genuine samples are added where BLINDAI_EVIDENCE names some.
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
import warnings
from importlib.metadata import distribution, requires
from pathlib import Path

import dcap_qvl
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from packaging.requirements import Requirement

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench.run import machine, pin  # noqa: E402
from blindai.attestation import chain, vendors  # noqa: E402
from blindai.attestation.amd import report as snp_report  # noqa: E402
from blindai.attestation.aws import document  # noqa: E402
from blindai.attestation.intel import requoted, vetted  # noqa: E402
from blindai.attestation.trust import ProductionTrust, SimulationTrust  # noqa: E402
from blindai.testing import FakeNitro, FakeSgx, FakeSnp, FakeTdx  # noqa: E402
from blindai.testing.samples import folder, judgement, runner  # noqa: E402

NOW = 1_790_000_000
ROUNDS = 15
LIMIT = 3.0
CLIENT = "import blindai; blindai.connect; blindai.verify"


def main():
    warnings.simplefilter("ignore")
    pin(1)
    results = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "verification": [compare(name, *case) for name, case in cases().items()],
        "import_ms": imports(),
        "client_bytes": installed(),
    }
    report(results)


def cases():
    """Return name -> (evidence, collateral, trust, now)."""
    fakes = {
        "TDX v4": FakeTdx(now=NOW),
        "TDX v5": FakeTdx(now=NOW, quote_version=5, body_type=3),
        "SGX v3": FakeSgx(now=NOW),
        "SEV-SNP Milan": FakeSnp(now=NOW),
        "SEV-SNP Turin": FakeSnp(now=NOW, product="Turin"),
        "Nitro": FakeNitro(now=NOW),
    }
    found = {
        f"{name} (simulated)": (
            fake.evidence(bytes(64)),
            fake.collateral(),
            SimulationTrust([fake.root_sha256]),
            NOW,
        )
        for name, fake in fakes.items()
    }
    root = os.environ.get("BLINDAI_EVIDENCE")
    for sample in runner.find(Path(root)) if root else ():
        told = runner.circumstances(sample)
        if judgement.judge(sample, told).verdict == judgement.ACCEPT:
            recorded = folder.read(sample, told.tee)
            name = f"{told.tee}/{sample.name} (genuine)"
            found[name] = (recorded.evidence, recorded.collateral, ProductionTrust(), told.now)
    return found


def compare(name, evidence, collateral, trust, now):
    """Time a whole verification beside the bare checks, in turns."""
    bare = BARE[evidence.media_type](evidence.value, collateral, now)

    def verify():
        vendors.verify(evidence, collateral, trust=trust, now=now)

    def first():
        # As if this process had met no authority, collateral or platform before.
        chain._issued_by.cache_clear()  # noqa: SLF001
        vetted.forget()
        requoted.forget()
        verify()

    sides = {"bare": bare, "blindai": verify, "first": first}
    count = max(1, int(0.02 / elapsed(sides["blindai"])))
    rounds = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side, call in sides.items():
            rounds[side].append(elapsed(call, count) * 1e3)
    medians = {side: statistics.median(values) for side, values in rounds.items()}
    return {
        "what": name,
        "p50_ms": medians,
        "ratio": medians["blindai"] / medians["bare"],
        "first_ratio": medians["first"] / medians["bare"],
        "rounds_ms": rounds,
        "peak_bytes": peak(first),
    }


def elapsed(call, count=3):
    started = time.thread_time()  # of the processor: other programs run beside this one
    for _ in range(count):
        call()
    return (time.thread_time() - started) / count


def peak(call):
    """Return the most memory that Python held at one time for one verification."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bare_intel(quote, collateral, now):
    fields = {key: value for key, value in collateral["intel"].items() if key != "event_log"}
    text = json.dumps(fields)
    root = x509.load_pem_x509_certificates(fields["tcb_info_issuer_chain"].encode())[-1]
    der = root.public_bytes(Encoding.DER)

    def check():
        policy = dcap_qvl.QuotePolicy.claims_only(now)
        stapled = dcap_qvl.QuoteCollateralV3.from_json(text)
        dcap_qvl.QuoteVerifier(der).verify_with_policy(quote, stapled, now, policy)

    return check


def bare_snp(raw, collateral, now):
    del now
    parsed = snp_report.parse(raw)
    pem = collateral["amd"]["leaf"] + collateral["amd"]["issuer_chain"]
    crl = collateral["amd"].get("crl")

    def check():
        chain = x509.load_pem_x509_certificates(pem.encode())
        issued(chain)
        if crl is not None:
            x509.load_der_x509_crl(bytes.fromhex(crl)).is_signature_valid(chain[-1].public_key())
        signed_by(chain[0], parsed)

    return check


def bare_nitro(raw, collateral, now):
    del collateral, now
    parsed = document.parse(raw)

    def check():
        ders = (parsed.certificate, *reversed(parsed.cabundle))
        chain = [x509.load_der_x509_certificate(der) for der in ders]
        issued(chain)
        signed_by(chain[0], parsed)

    return check


def issued(chain):
    for subject, issuer in itertools.pairwise(chain):
        subject.verify_directly_issued_by(issuer)


def signed_by(leaf, parsed):
    signature = encode_dss_signature(parsed.r, parsed.s)
    leaf.public_key().verify(signature, parsed.signed, ec.ECDSA(SHA384()))


BARE = {
    "application/vnd.blindai.tdx-quote": bare_intel,
    "application/vnd.blindai.sgx-quote": bare_intel,
    "application/vnd.blindai.sev-snp-report": bare_snp,
    "application/vnd.blindai.nitro-document": bare_nitro,
}


def imports():
    """Return the milliseconds that `import blindai`, and using its client, add to a bare interpreter."""
    sides = {"bare": "pass", "import blindai": "import blindai", "the client": CLIENT}
    rounds = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side, code in sides.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            rounds[side].append((time.perf_counter() - started) * 1e3)
    medians = {side: statistics.median(values) for side, values in rounds.items()}
    return {side: median - medians["bare"] for side, median in medians.items() if side != "bare"}


def installed():
    """Return the bytes on disk of the client and of each distribution that it needs."""
    sizes, waiting = {}, ["blindai"]
    while waiting:
        name = waiting.pop()
        if name in sizes:
            continue
        files = distribution(name).files or []
        sizes[name] = sum(path.stat().st_size for path in map(located, files) if path.is_file())
        for text in requires(name) or []:
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                waiting.append(wanted.name)
    sizes["blindai"] = sum(path.stat().st_size for path in (HERE.parent / "src").rglob("*.py"))
    return sizes


def located(path):
    return Path(path.locate())


def report(results):
    target = HERE / "results" / f"verification-{results['when'][:10]}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n")
    for row in results["verification"]:
        side = row["p50_ms"]
        print(
            f"{row['what']:40} bare {side['bare']:6.3f} ms   blindai {side['blindai']:6.3f} ms "
            f"x {row['ratio']:.2f}   first {side['first']:6.3f} ms x {row['first_ratio']:.2f}   "
            f"peak {row['peak_bytes'] / 1e6:.2f} MB"
        )
    print(f"limit: x {LIMIT:g}; `first`: before anything of the vendor was met, `blindai`: the same again")
    for what, milliseconds in results["import_ms"].items():
        print(f"{what:52} {milliseconds:7.1f} ms")
    sizes = results["client_bytes"]
    numpy = sizes.pop("numpy", 0)
    print(f"{'client beyond numpy':52} {sum(sizes.values()) / 1e6:7.1f} MB (numpy {numpy / 1e6:.1f} MB)")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
        print(f"  {name:50} {size / 1e6:7.1f} MB")
    print(f"raw figures: {target.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
