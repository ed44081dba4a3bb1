"""The throw-away AWS: a root, a region, a zone, an instance, and the enclave's certificate. All P-384."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from blindai.tee.simulated import Window, authority
from blindai.tee.simulated.authority import Extension
from blindai.tee.simulated.holder import Holder, PrivateKey
from blindai.testing.nitro_enclave import AUTHORITIES, NitroEnclave


@dataclass(frozen=True)
class NitroChain:
    """Root first, as in a document; the leaf's key signs documents."""

    root: Holder
    authorities: tuple[Holder, ...]
    leaf: Holder
    leaf_key: ec.EllipticCurvePrivateKey

    @property
    def bundle(self) -> list[bytes]:
        return [holder.der for holder in (self.root, *self.authorities)]


def establish(enclave: NitroEnclave, now: int, root: Holder | None) -> NitroChain:
    """Make a chain; `root` lets one stay, so that the same anchor vouches for another enclave or day."""
    if root is None:
        root = _root(enclave, now)
    issuer = root
    authorities = []
    for role, path_length in zip(AUTHORITIES, enclave.path_lengths, strict=True):
        issuer = _authority(enclave, role, path_length, now, issuer)
        authorities.append(issuer)
    key = authority.ec_key(enclave.leaf_curve)
    leaf = authority.issue(
        "Nitro enclave",
        enclave.leaf_window,
        now,
        key=key,
        issuer=issuer,
        extensions=[
            authority.basic_constraints(is_ca=enclave.leaf_is_ca),
            authority.key_usage("digital_signature", "content_commitment", critical=False),
        ],
        forger=authority.ec_key() if enclave.leaf_by_stranger else None,
    )
    return NitroChain(root, tuple(authorities), leaf, key)


def _root(enclave: NitroEnclave, now: int) -> Holder:
    key = authority.ec_key()
    return authority.issue(
        "Nitro root",
        enclave.root_window,
        now,
        key=key,
        issuer=None,
        extensions=[
            authority.basic_constraints(is_ca=True),
            authority.subject_key(key),
            authority.key_usage("digital_signature", "key_cert_sign", "crl_sign"),
        ],
    )


def _authority(enclave: NitroEnclave, role: str, path_length: int | None, now: int, issuer: Holder) -> Holder:
    key = authority.ec_key()
    is_ca = role != enclave.no_ca
    constraints = authority.basic_constraints(is_ca=is_ca, path_length=path_length if is_ca else None)
    window: Window = getattr(enclave, f"{role}_window")
    return authority.issue(
        f"Nitro {role}",
        window,
        now,
        key=key,
        issuer=issuer,
        extensions=_extensions(enclave, role, constraints, key, issuer.key),
        forger=authority.ec_key() if role == enclave.authority_by_stranger else None,
    )


def _extensions(
    enclave: NitroEnclave,
    role: str,
    constraints: Extension,
    key: PrivateKey,
    issuer: PrivateKey,
) -> list[Extension]:
    """Return what the genuine certificates carry, in their order; an instance makes its own, with less."""
    signs = () if role == enclave.no_cert_sign else ("key_cert_sign",)
    if role == "instance":
        usage = authority.key_usage(*signs)
        return [constraints, usage, authority.subject_key(key), authority.authority_key(issuer)]
    return [
        constraints,
        authority.authority_key(issuer),
        authority.subject_key(key),
        authority.key_usage("digital_signature", *signs, "crl_sign"),
        authority.crl_location(),
    ]
