"""Fakes of the hardware that gives out sealing keys: the same bytes, and keys that depend on the same things.

`FakeTpm` is in `blindai.testing.tpm`, `FakeSevGuest` in `blindai.testing.sev_guest`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FakeGramineKeys:
    """The folder /dev/attestation/keys of an enclave, on a processor with these fuses."""

    folder: Path
    fuses: bytes = b"one processor"
    mrenclave: bytes = b"one enclave"
    mrsigner: bytes = b"one signer"

    def start(self) -> Path:
        """Write the keys as Gramine shows them, 16 bytes each; return the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind in ("mrenclave", "mrsigner"):
            key = hmac.digest(self.fuses, kind.encode() + getattr(self, kind), "sha256")[:16]
            (self.folder / f"_sgx_{kind}").write_bytes(key)
        return self.folder
