"""A fake AWS Nitro enclave."""

from __future__ import annotations

import time
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from blindai.attestation.types import NITRO_DOCUMENT, Evidence
from blindai.tee.simulated import authority
from blindai.tee.simulated.holder import Holder, Rooted
from blindai.testing import cbor, nitro_chain
from blindai.testing.nitro_enclave import NitroEnclave

_COSE_SIGN1 = 18


class FakeNitro(Rooted):
    """Mints Nitro attestation documents under a throw-away root (a `blindai.tee.attester.Attester`).

    >>> FakeNitro(debug=True).tee
    'nitro'

    `knobs` are the fields of `NitroEnclave`; each turns one thing wrong. `now` is the Unix time that every
    date counts from; without it certificates start at the clock's time, and each document tells the time at
    which it was made. `root` reuses the `root` of another fake. The report data go into `user_data`.
    """

    tee = "nitro"
    simulated = True
    collateral_expires: int | None = None

    def __init__(self, *, now: int | None = None, root: Holder | None = None, **knobs: Any) -> None:
        self.enclave = NitroEnclave(**knobs)
        self._now = now
        self.chain = nitro_chain.establish(self.enclave, int(time.time()) if now is None else now, root)
        self.root = self.chain.root
        self._key = authority.ec_key() if self.enclave.signed_by_stranger else self.chain.leaf_key

    def evidence(self, report_data: bytes) -> Evidence:
        """Return a document that carries these bytes (512 at most fit into a genuine one)."""
        payload = self._payload(report_data)
        envelope: list[Any] = [self.enclave.protected, {}, payload, self._sign(payload)]
        if self.enclave.edit_envelope is not None:
            self.enclave.edit_envelope(envelope)
        document = cbor.encode(cbor.Tagged(_COSE_SIGN1, envelope) if self.enclave.tagged else envelope)
        if self.enclave.flipped_bit_at is not None:
            changed = bytearray(document)
            changed[self.enclave.flipped_bit_at] ^= 1
            document = bytes(changed)
        return Evidence(NITRO_DOCUMENT, document + self.enclave.trailing)

    def collateral(self) -> dict[str, Any]:
        """Return nothing: a document carries its own certificates."""
        return {}

    def _payload(self, report_data: bytes) -> bytes:
        enclave = self.enclave
        bundle = self.chain.bundle
        if enclave.edit_bundle is not None:
            enclave.edit_bundle(bundle)
        now = time.time() if self._now is None else self._now
        members: dict[str, Any] = {
            "module_id": enclave.module_id,
            "digest": enclave.digest,
            "timestamp": round((now + enclave.timestamp_offset) * 1000),
            "pcrs": enclave.registers,
            "certificate": self.chain.leaf.der,
            "cabundle": bundle,
            "public_key": enclave.public_key,
            "user_data": report_data,
            "nonce": enclave.nonce,
        }
        members |= enclave.payload
        for name in enclave.left_out:
            del members[name]
        if enclave.edit_payload is not None:
            enclave.edit_payload(members)
        pairs = tuple(members.items())
        if enclave.repeated is not None:
            pairs += ((enclave.repeated, members[enclave.repeated]),)
        encoded = cbor.encode(cbor.Pairs(pairs, enclave.indefinite))
        return encoded if enclave.edit_payload_bytes is None else enclave.edit_payload_bytes(encoded)

    def _sign(self, payload: bytes) -> bytes:
        """Return r || s over the Sig_structure of RFC 9052, each as long as the leaf's curve demands."""
        message = cbor.encode(["Signature1", self.enclave.protected, b"", payload])
        size = (self._key.key_size + 7) // 8
        signature = self._key.sign(message, ec.ECDSA(hashes.SHA384()))
        return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(signature))
