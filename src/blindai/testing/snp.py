"""A fake AMD SEV-SNP machine."""

from __future__ import annotations

import time
from typing import Any

from blindai.tee.simulated.holder import Holder
from blindai.tee.simulated.snp import SnpMint
from blindai.tee.simulated.snp_machine import SnpMachine


class FakeSnp(SnpMint):
    """Mints SEV-SNP reports and collateral under a throw-away ARK (a `blindai.tee.attester.Attester`).

    >>> FakeSnp(product="Genoa", debug=True).tee
    'sev-snp'

    `knobs` are the fields of `SnpMachine`; each turns one thing wrong. `now` is the Unix time that every
    date counts from (default: the clock's), `root` reuses the `root` of another fake. The RSA keys of
    authorities are made once per process: the roots of two fakes are different certificates of one key.
    """

    def __init__(self, *, now: int | None = None, root: Holder | None = None, **knobs: Any) -> None:
        super().__init__(SnpMachine(**knobs), int(time.time()) if now is None else now, root)

    @property
    def crl(self) -> bytes | None:
        """The newest revocation list (DER), if one is published."""
        crl = self.collateral()["amd"].get("crl")
        return None if crl is None else bytes.fromhex(crl)
