"""Which roots may end a chain. Production and simulation are different types, not a flag.

A chain travels with the evidence; it is accepted only if its last certificate has a trusted
fingerprint, so no certificate file is shipped. `ProductionTrust` takes no argument: there is no way to
hand it a root of one's own. The simulation types refuse every pinned production root, so genuine
evidence is refused where simulation is expected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol, final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from blindai.errors import EvidenceForged, Reason, UsageError

SIMULATION_MARK = "SIMULATION - NOT A TEE"

# SHA-256 of the DER root certificate, as the vendors publish them.
PINNED_ROOTS = {
    "intel": frozenset({"44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"}),
    # One root for each product: a chain of one must not vouch for a chip of another.
    "amd-milan": frozenset({"69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"}),
    "amd-genoa": frozenset({"4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"}),
    "amd-turin": frozenset({"1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"}),
    "aws": frozenset({"641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"}),
}
_EVERY_PINNED_ROOT = frozenset[str]().union(*PINNED_ROOTS.values())


class Trust(Protocol):
    """Decides about the last certificate of a chain."""

    @property
    def simulated(self) -> bool:
        """Whether what chains to these roots is a simulation."""

    def accepts(self, vendor: str, root: x509.Certificate) -> bool:
        """Return whether `root` may end a chain of `vendor`. Signatures are checked elsewhere."""


@final
class ProductionTrust:
    """The vendors' own roots, pinned. The default, and the only one that can accept hardware."""

    __slots__ = ()
    simulated = False

    def accepts(self, vendor: str, root: x509.Certificate) -> bool:
        return fingerprint(root) in PINNED_ROOTS.get(vendor, frozenset())


@final
class SimulationTrust:
    """Named throw-away roots: what `blindai serve --simulation` printed. Proves nothing about hardware."""

    __slots__ = ("_fingerprints",)
    simulated = True

    def __init__(self, fingerprints: Iterable[str]) -> None:
        self._fingerprints = frozenset(text.lower().replace(":", "") for text in fingerprints)
        for text in self._fingerprints:
            if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
                raise UsageError(
                    "a root fingerprint is 64 hexadecimal digits (SHA-256 of the DER certificate)"
                )
        if not self._fingerprints:
            raise UsageError("simulation needs at least one root")
        if self._fingerprints & _EVERY_PINNED_ROOT:
            raise UsageError("a vendor's production root cannot be a simulation root")

    def accepts(self, vendor: str, root: x509.Certificate) -> bool:
        del vendor
        return fingerprint(root) in self._fingerprints


@final
class StapledSimulationTrust:
    """Whatever root the server staples, if it says that it is a simulation.

    Anyone can make such a root: this is for a server on the same machine. The transport that is given
    this type refuses every peer address that is not loopback. The root has to be signed by itself, so that
    at least its maker wrote it: no bytes changed on the way reach the code below.
    """

    __slots__ = ()
    simulated = True

    def accepts(self, vendor: str, root: x509.Certificate) -> bool:
        del vendor
        try:
            marks = root.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        except (TypeError, ValueError):  # a name that cannot be read does not carry the mark
            return False
        marked = any(mark.value == SIMULATION_MARK for mark in marks)
        return marked and _signed_by_itself(root) and fingerprint(root) not in _EVERY_PINNED_ROOT


def _signed_by_itself(root: x509.Certificate) -> bool:
    try:
        root.verify_directly_issued_by(root)
    except (TypeError, ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def unknown_root(vendor: str, trust: Trust) -> EvidenceForged:
    """Return the refusal of a chain that ends at a root which `trust` does not accept."""
    if trust.simulated:
        return EvidenceForged(
            Reason.ROOT_UNKNOWN,
            "the evidence does not end at the trusted simulation root",
            hint="the server may have restarted: its simulation root changes at every start; several "
            "servers have one each",
        )
    return EvidenceForged(
        Reason.ROOT_UNKNOWN,
        f"the evidence does not end at {vendor}'s root",
        hint="if this is a simulation, say so: simulation= (Python), --simulation (command line)",
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the lower-case hexadecimal SHA-256 of the DER certificate."""
    der = certificate.public_bytes(Encoding.DER)
    return hashlib.sha256(der).hexdigest()
