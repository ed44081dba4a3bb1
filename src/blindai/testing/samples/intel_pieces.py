"""Intel collateral from its pieces, where a recording kept Intel's responses one by one.

Signatures are over the exact text of `tcbInfo` and `enclaveIdentity`: they are cut out, not re-serialised.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping

from blindai.errors import EvidenceMalformed, Reason

TCB_SIGNER = b"Intel SGX TCB Signing"
_BEGIN = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----", re.ASCII)


def assemble(files: Mapping[str, bytes], quote: bytes) -> dict[str, str]:
    """Return as many members of the collateral as the files hold; the verifier says which are missing."""
    found: dict[str, str] = {}
    for name, content in files.items():
        if name.endswith(".json") and name.startswith("tcb_info"):
            found |= _signed(content, "tcbInfo", "tcb_info")
        if name.endswith(".json") and name.startswith(("qe_identity", "td_qe_identity")):
            found |= _signed(content, "enclaveIdentity", "qe_identity")
        if name in ("root_ca_crl.der", "pck_crl.der"):
            found[name.removesuffix(".der")] = content.hex()
    if not found:
        return {}
    # The authority that issued the platform's certificate also issued the CRL; its chain is in the quote.
    pck_chain = _certificates(quote)
    found["pck_crl_issuer_chain"] = "".join(pck_chain[1:])
    signers = [pem for name, text in files.items() if name.endswith(".pem") for pem in _tcb_signers(text)]
    if signers and pck_chain:
        found["tcb_info_issuer_chain"] = found["qe_identity_issuer_chain"] = signers[0] + pck_chain[-1]
    return found


def _signed(content: bytes, member: str, name: str) -> dict[str, str]:
    try:
        text = content.decode("utf-8")
        start = re.search(rf'"{member}"\s*:\s*', text)
        if start is None:
            raise ValueError(f"no {member}")
        _, end = json.JSONDecoder().raw_decode(text, start.end())
        signature = json.loads(text)["signature"]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise EvidenceMalformed(Reason.COLLATERAL_MALFORMED, f"Intel's {name} cannot be read") from exc
    return {name: text[start.end() : end], f"{name}_signature": signature}


def _tcb_signers(pem: bytes) -> list[str]:
    # By a word in it, not by its parsed name: this only chooses, the verifier judges what was chosen.
    return [text for text in _certificates(pem) if TCB_SIGNER in ssl.PEM_cert_to_DER_cert(text)]


def _certificates(data: bytes) -> list[str]:
    """Return each certificate in `data`, armoured in the one spelling that the verifier reads."""
    try:
        return [
            ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(pem.decode("ascii")))
            for pem in _BEGIN.findall(data)
        ]
    except ValueError as exc:
        raise EvidenceMalformed(Reason.CERTIFICATE_MALFORMED, "a PEM file cannot be read") from exc
