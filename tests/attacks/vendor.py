"""One hardware vendor for the operator's real server and for the attacker, who owns genuine hardware, too.

A simulated server throws its root away, and a real one shares its vendor with everybody. Here the root is a
file that server processes start from, so that an attacker's machine ends at the very root that is trusted.
"""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from blindai.server.evidence import machine
from blindai.tee.measurement import simulated_launch, simulated_measurements, source_sha256
from blindai.tee.simulated import holder, pki
from blindai.testing import FakeSnp, FakeTdx
from tests import serving
from tests.server import authority

# What a server process runs before the program that `serving` gives it.
_UNDER_THIS_ROOT = """
import sys
from tests.attacks import vendor
_, root, *command = sys.argv
vendor.use(root)
sys.argv = ["-c", command[-1]]
exec(command[-2])
"""


@dataclass(frozen=True)
class Vendor:
    """Who vouches for every machine of one TEE, and the folder with what server processes are given."""

    tee: str
    root: holder.Holder
    folder: Path

    @classmethod
    def make(cls, tee: str, folder: Path) -> Vendor:
        root = _FAKES[tee]().root
        key = root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "root.pem").write_bytes(key + root.pem.encode())
        return cls(tee, root, folder)

    def machine(self, **knobs: Any) -> FakeTdx | FakeSnp:
        """Return another machine with the sources of these tests: what the operator's server measures."""
        sources = _sources()
        own: dict[str, Any] = {"measurements": simulated_measurements(sources)}
        # A real server publishes its simulated vendor's lists anew after a while. Nobody has newer ones than
        # the attacker: what is refused is not refused for a roll-back that no test meant.
        own |= {"pck_crl_number": _NEWEST, "root_crl_number": _NEWEST}
        if self.tee == "sev-snp":
            own = {"measurement": simulated_launch(sources).measurement, "crl_number": _NEWEST}
        return _FAKES[self.tee](**{"root": self.root, "now": int(time.time()), **own, **knobs})

    def server(self, models: Any = None, **settings: Any) -> Any:
        """Run a real server process on a machine of this vendor."""
        command = [sys.executable, "-W", "error", "-c", _UNDER_THIS_ROOT, str(self.folder / "root.pem")]
        return serving.running_server(models, prefix=command, simulated_tee=self.tee, **settings)

    def operator(self, name: str) -> Path:
        """Return a folder with certificate and key of a new operator."""
        key = ec.generate_private_key(ec.SECP256R1())
        return authority.write(self.folder / name, key, authority.certificate(key))


_NEWEST = 100
_sources = functools.cache(source_sha256)
_FAKES: dict[str, Any] = {"tdx": FakeTdx, "sev-snp": FakeSnp}


def use(path: str) -> None:
    """Let the simulated machines of this process be of the vendor whose root is in this file."""
    text = Path(path).read_bytes()
    key: Any = load_pem_private_key(text, None)
    kind = pki.Holder if isinstance(key, ec.EllipticCurvePrivateKey) else holder.Holder
    root = kind(x509.load_pem_x509_certificate(text), key)
    for name in ("SimulatedTdx", "SimulatedSnp"):
        setattr(machine, name, functools.partial(getattr(machine, name), root=root))
