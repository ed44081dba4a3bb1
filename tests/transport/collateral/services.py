"""Services that speak the APIs of Intel's PCS, a PCCS, AMD's KDS and Azure's host, and misbehave on demand.

A route is the path with its query; its replies are given in turn, the last one for ever.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from blindai.attestation.trust import StapledSimulationTrust
from blindai.attestation.types import SNP_REPORT, Evidence
from blindai.server.evidence.stapling.judgement import judged
from blindai.testing import FakeSnp
from blindai.transport.collateral import amd, endorsement, intel
from blindai.transport.collateral.adoption import Judge, Keeping, gather
from blindai.transport.collateral.collector import collect
from blindai.transport.collateral.shelf import Fetched, Shelf
from blindai.transport.collateral.source import Limits

THIM_PATH = "/metadata/THIM/amd/certification"
QUICK = Limits(timeout_seconds=60, pause_seconds=0.01)


@dataclass(frozen=True)
class Reply:
    """One response. `drip_seconds` is the pause after each byte."""

    body: bytes = b""
    headers: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    status: int = 200
    drip_seconds: float = 0.0
    chunked: bool = False


@dataclass
class Service:
    """What a running service answers, and what it was asked."""

    port: int
    scheme: str = "http"
    routes: dict[str, Any] = field(default_factory=dict)
    default: Any = Reply(b"no such thing", status=404)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def reply_to(self, path: str) -> Reply:
        found = self.routes.get(path, self.default)
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms for the head to be acknowledged
    server: _Server

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        service = self.server.service
        service.asked.append((self.path, dict(self.headers)))
        with contextlib.suppress(OSError):  # the client had enough
            self._send(service.reply_to(self.path))

    def _send(self, reply):
        self.send_response(reply.status)
        pairs = reply.headers.items() if isinstance(reply.headers, Mapping) else reply.headers
        for name, value in pairs:
            self.send_header(name, value)
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if reply.chunked:
            for start in range(0, len(reply.body), 4096):
                piece = reply.body[start : start + 4096]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif reply.drip_seconds:
            for byte in reply.body:
                self.wfile.write(bytes([byte]))
                time.sleep(reply.drip_seconds)
        else:
            self.wfile.write(reply.body)

    def log_message(self, *_):
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    service: Service

    def handle_error(self, *_):
        """Say nothing: clients are meant to break off."""


@contextlib.contextmanager
def running(
    routes: dict[str, Any] | None = None, *, tls: ssl.SSLContext | None = None, **settings: Any
) -> Iterator[Service]:
    """Run a service with these routes."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        if tls is not None:
            # The handshake is the connection's own thread's to do: the listener waits for nobody.
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "http" if tls is None else "https"
        server.service = Service(server.server_address[1], scheme, routes or {}, **settings)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server.service
        finally:
            server.shutdown()
            thread.join(5)


def pcs_routes(collateral: Mapping[str, str], platform: intel.Platform, update: str = "") -> dict[str, Any]:
    """Return a PCS's answers: chains URL-encoded in headers, signed texts in JSON, CRLs in DER."""
    also = f"&update={update}" if update else ""
    alone = f"?update={update}" if update else ""
    return {
        f"/{platform.tee}/certification/v4/tcb?fmspc={platform.fmspc}{also}": signed(
            collateral, "tcbInfo", "tcb_info", "TCB-Info-Issuer-Chain"
        ),
        f"/{platform.tee}/certification/v4/qe/identity{alone}": signed(
            collateral, "enclaveIdentity", "qe_identity", "SGX-Enclave-Identity-Issuer-Chain"
        ),
        f"/sgx/certification/v4/pckcrl?ca={platform.ca}&encoding=der": Reply(
            bytes.fromhex(collateral["pck_crl"]),
            {"SGX-PCK-CRL-Issuer-Chain": quote(collateral["pck_crl_issuer_chain"])},
        ),
        "/IntelSGXRootCA.der": Reply(bytes.fromhex(collateral["root_ca_crl"])),
    }


def kds_routes(snp: FakeSnp) -> dict[str, Any]:
    """Return what a KDS answers about a fake machine. A VLEK it gives to nobody."""
    stapled, kind = snp.collateral()["amd"], snp.machine.leaf
    product = snp.machine.product
    routes: dict[str, Any] = {f"/{kind}/v1/{product}/cert_chain": Reply(stapled["issuer_chain"].encode())}
    if "crl" in stapled:
        routes[f"/{kind}/v1/{product}/crl"] = Reply(bytes.fromhex(stapled["crl"]))
    if kind == "vcek":
        routes[vcek_path(snp)] = Reply(snp.leaf_der)
    return routes


def vcek_path(snp: FakeSnp) -> str:
    """Return where a KDS has the VCEK of a fake machine."""
    machine = snp.machine
    names = {"fmc": "fmcSPL"} if machine.product == "Turin" else {}
    names |= {"bootloader": "blSPL", "tee": "teeSPL", "snp": "snpSPL", "microcode": "ucodeSPL"}
    query = "&".join(f"{name}={getattr(machine.tcb, level):02d}" for level, name in names.items())
    return f"/vcek/v1/{machine.product}/{machine.chip[: machine.traits.hwid_bytes].hex()}?{query}"


def thim_routes(snp: FakeSnp) -> dict[str, Any]:
    """Return what Azure's host service answers on a fake machine."""
    stapled = snp.collateral()["amd"]
    tcb = snp.machine.tcb.encode(snp.machine.product)
    answer = {
        "vcekCert": stapled["leaf"],
        "tcbm": tcb[::-1].hex().upper(),
        "certificateChain": stapled["issuer_chain"],
        "cacheControl": "86400",
    }
    return {THIM_PATH: Reply(json.dumps(answer).encode(), {"Content-Type": "application/json"})}


def signed(collateral: Mapping[str, str], name: str, member: str, header: str) -> Reply:
    text, signature = collateral[member], collateral[f"{member}_signature"]
    body = f'{{"{name}":{text},"signature":"{signature}"}}'.encode()
    return Reply(body, {header: quote(collateral[f"{member}_issuer_chain"])})


@dataclass
class Operator:
    """Who fetches, with a cache of their own; `heard` is what was said to them."""

    folder: Path | None
    ca_file: str | None = None
    heard: list[str] = field(default_factory=list)

    def intel(
        self,
        service: Service,
        platform: intel.Platform,
        *,
        limits: Limits = QUICK,
        refresh: bool = False,
        ca_file: str | None = None,
        **at: Any,
    ) -> dict[str, str]:
        where = intel.Service.at(service.url, **{"root_crl_url": f"{service.url}/IntelSGXRootCA.der", **at})
        members, _ = collect(
            lambda collector: intel.fetch(platform, where, collector),
            folder=self.folder,
            say=self.heard.append,
            refresh=refresh,
            ca_file=ca_file or self.ca_file,
            limits=limits,
        )
        return members

    def amd(
        self, service: Service, chip: amd.Chip, *, limits: Limits = QUICK, interval_seconds: float = 0
    ) -> dict[str, str]:
        members, _ = collect(
            lambda collector: amd.fetch(chip, collector, url=service.url, interval_seconds=interval_seconds),
            folder=self.folder,
            say=self.heard.append,
            ca_file=self.ca_file,
            limits=limits,
        )
        return members


@dataclass
class Server:
    """A server that fetches what it staples, at the time `now`. `warned` is what it was warned of.

    `machine` is the Intel machine it runs on. Another server is a restart: what it held in memory is gone.
    """

    folder: Path | None
    ca_file: str
    machine: Any = None
    now: int = field(default_factory=lambda: int(time.time()))
    limits: Limits = QUICK
    warned: list[str] = field(default_factory=list)
    shelf: Shelf = field(init=False)

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.folder, warn=self.warned.append)

    def again(self) -> Server:
        """Restart it."""
        return Server(self.folder, self.ca_file, self.machine, self.now, self.limits, self.warned)

    def intel(self, service: Service, platform: intel.Platform, *, anew: bool = True) -> Fetched:
        where = intel.Service.at(service.url, root_crl_url=f"{service.url}/IntelSGXRootCA.der")
        judge = self._judge("intel", self.machine.evidence(bytes(64)))
        return self._gather(lambda collector: intel.fetch(platform, where, collector), judge, anew=anew)

    def amd(
        self,
        kds: Service,
        report: bytes,
        given: Mapping[str, str] | None = None,
        *,
        thim: Service | None = None,
        anew: bool = True,
    ) -> Fetched:
        services = endorsement.Services(
            amd.Kds.at(kds.url, interval_seconds=0), None if thim is None else f"{thim.url}{THIM_PATH}"
        )
        signer = amd.signer_of(report)
        return self._gather(
            lambda collector: endorsement.fetch(signer, given or {}, services, collector),
            self._judge("amd", Evidence(SNP_REPORT, report)),
            anew=anew,
        )

    def _judge(self, vendor: str, sample: Evidence) -> Judge:
        trust = StapledSimulationTrust()
        return lambda members: judged(sample, {vendor: dict(members)}, trust=trust, now=self.now)

    def _gather(self, job: Any, judge: Judge, *, anew: bool) -> Fetched:
        keeping = Keeping(self.folder, self.ca_file, self.limits)
        return gather(job, keeping, self.shelf, judge=judge, now=self.now, anew=anew, say=str)
