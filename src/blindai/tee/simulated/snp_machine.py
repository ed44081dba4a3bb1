"""What a simulated SEV-SNP machine is like: product, firmware, guest, and who vouches for its key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from blindai.tee.measurement import SIMULATION_LABEL, SNP_PRODUCT, SNP_TCB
from blindai.tee.simulated.platform import DAY_SECONDS, YEAR_SECONDS, Window

_AUTHORITIES = Window(-5 * YEAR_SECONDS, 20 * YEAR_SECONDS)
_LEAF = Window(-DAY_SECONDS, 10 * YEAR_SECONDS)
_CRL = Window(-DAY_SECONDS, 30 * DAY_SECONDS)
_FAKE_CHIP_ID = (b"SIMULATED CHIP - NOT A TEE. " * 3)[:64]
_FIELD_BYTES = {
    "family_id": 16, "image_id": 16, "measurement": 48, "host_data": 32, "id_key_digest": 48,
    "author_key_digest": 48, "report_id": 32, "report_id_ma": 32,
}  # fmt: skip


@dataclass(frozen=True)
class SnpTcb:
    """Security patch levels, by name: the order of their bytes depends on the product."""

    bootloader: int = 0
    tee: int = 0
    snp: int = 0
    microcode: int = 0
    fmc: int = 0  # Turin only

    def encode(self, product: str) -> bytes:
        """Return the eight bytes of a report of this product."""
        if product == "Turin":
            return bytes([self.fmc, self.bootloader, self.tee, self.snp, 0, 0, 0, self.microcode])
        return bytes([self.bootloader, self.tee, 0, 0, 0, 0, self.snp, self.microcode])

    def numbers(self, product: str) -> dict[str, int]:
        """Return the components that this product has, by name."""
        return {name: number for name, number in vars(self).items() if name != "fmc" or product == "Turin"}


@dataclass(frozen=True)
class Product:
    """What differs between products, as genuine reports and VCEKs of each show it."""

    cpuid: tuple[int, int, int]
    vcek_name: str
    tcb: SnpTcb
    hwid_bytes: int
    struct_version: int


PRODUCTS = {
    "Milan": Product((0x19, 0x01, 1), "Milan-B0", SnpTcb(**SNP_TCB), 64, 0),
    "Genoa": Product((0x19, 0x11, 1), "Genoa", SnpTcb(10, 0, 23, 84), 64, 0),
    "Turin": Product((0x1A, 0x02, 1), "Turin", SnpTcb(1, 1, 4, 81, fmc=1), 8, 1),
}


@dataclass(frozen=True)
class SnpMachine:
    """Every knob of the simulated SEV-SNP machine. The defaults are one that a strict policy accepts.

    Whatever is turned, the report is signed as the hardware would sign it; only `signed_by_stranger`,
    `unsigned`, `edit_signed`, `flipped_bit_at` and `trailing` touch the signature or what comes after it.
    """

    product: str = SNP_PRODUCT  # "Milan", "Genoa" or "Turin"
    version: int = 3  # of the report; 3 and later carry `cpuid`, 5 and later the mitigation vectors
    leaf: str = "vcek"  # "vcek": for one chip; "vlek": for all machines of one cloud

    # The guest, and what its owner allowed.
    debug: bool = False
    abi_major: int = 0
    abi_minor: int = 31
    smt: bool = True  # may run where hyper-threading is on
    migrate_ma: bool = False  # may be bound to a migration agent
    single_socket: bool = False
    more_policy: int = 0  # further bits of the guest policy: 21 CXL, 22 AES-256-XTS, 23 no RAPL, ...
    policy: int | None = None  # all 64 bits, instead of the above
    vmpl: int = 0
    guest_svn: int = 0
    measurement: bytes = hashlib.sha384(SIMULATION_LABEL + b"SNP launch").digest()
    host_data: bytes = bytes(32)
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    id_key_digest: bytes = bytes(48)
    author_key_digest: bytes = bytes(48)
    report_id: bytes = hashlib.sha256(SIMULATION_LABEL + b"SNP guest").digest()
    report_id_ma: bytes = b"\xff" * 32  # all ones: no migration agent

    # The machine.
    platform_info: int = 0b100100  # bits: 0 SMT, 1 TSME, 2 ECC, 3 no RAPL, 4 ciphertext hiding, 5 alias check
    reported_tcb: SnpTcb | None = None  # default: that of a genuine machine of the product
    current_tcb: SnpTcb | None = None  # these three default to `reported_tcb`
    committed_tcb: SnpTcb | None = None
    launch_tcb: SnpTcb | None = None
    tcb_layout: str | None = None  # the product in whose byte order the levels are written
    chip_id: bytes | None = None  # 64 bytes; zeros: masked by the host
    cpuid: tuple[int, int, int] | None = None  # family, model, stepping; default: the product's
    firmware: tuple[int, int, int] = (1, 55, 29)  # major, minor, build
    committed_firmware: tuple[int, int, int] | None = None  # default: `firmware`
    launch_mitigations: int = 0
    current_mitigations: int = 0
    signature_algo: int = 1
    signing_key: int | None = None  # as the report says: 0 VCEK, 1 VLEK, 7 none; default: the truth
    mask_chip_key: bool = False
    edit: Callable[[bytearray], None] | None = None  # changes the report before it is signed

    # The leaf certificate. The three `None`s default to the truth about the machine.
    leaf_chip_id: bytes | None = None  # as in the certificate: 64 bytes, 8 for Turin
    leaf_tcb: SnpTcb | None = None
    leaf_product: str | None = None  # "Milan-B0", "Genoa", ...
    csp_id: str = "CN=cc-nowhere.simulation.invalid"  # VLEK only
    leaf_curve: str = "P-384"  # or "P-256", "P-521"
    leaf_by_stranger: bool = False  # names the issuer, who never signed it
    edit_leaf: Callable[[dict[str, bytes]], None] | None = None  # OID -> DER of AMD's extensions

    # The authorities and the CRL.
    rsa_bits: int = 2048  # AMD uses 4096, which take half a second each to generate
    issuer_by_stranger: bool = False
    other_issuer: bool = False  # the authority for the other kind of leaf issued this one
    leaf_revoked: bool = False  # VLEK only: every VCEK has serial number 0, which no CRL can list
    issuer_revoked: bool = False
    crl_number: int | None = 1
    crl_by_stranger: bool = False

    # Dates. A reused root keeps its own; `crl=None` leaves the CRL out.
    root_window: Window = _AUTHORITIES
    issuer_window: Window = _AUTHORITIES
    leaf_window: Window = _LEAF
    crl: Window | None = _CRL

    # After the report was composed.
    signed_by_stranger: bool = False  # a P-384 key without a certificate
    unsigned: bool = False  # zeros, as firmware leaves them when the chip key is masked
    edit_signed: Callable[[bytearray], None] | None = None
    flipped_bit_at: int | None = None  # offset of the byte whose lowest bit is inverted
    trailing: bytes = b""

    def __post_init__(self) -> None:
        if {self.product, self.tcb_layout or self.product} - set(PRODUCTS):
            raise ValueError(f"product and tcb_layout are one of {', '.join(PRODUCTS)}")
        if self.leaf not in ("vcek", "vlek"):
            raise ValueError('leaf is "vcek" or "vlek"')
        if self.leaf_revoked and self.leaf == "vcek":
            raise ValueError("leaf_revoked: no CRL can list a VCEK (serial number 0), only its issuer")
        for name, size in _FIELD_BYTES.items():
            if len(getattr(self, name)) != size:
                raise ValueError(f"{name} has {size} bytes")
        if self.chip_id is not None and len(self.chip_id) != 64:
            raise ValueError("chip_id has 64 bytes; Turin fills only the first 8")

    @property
    def traits(self) -> Product:
        return PRODUCTS[self.product]

    @property
    def tcb(self) -> SnpTcb:
        return self.traits.tcb if self.reported_tcb is None else self.reported_tcb

    @property
    def chip(self) -> bytes:
        """The 64 bytes that name the chip: reserved for simulation, no real chip has them."""
        if self.chip_id is not None:
            return self.chip_id
        return _FAKE_CHIP_ID[: self.traits.hwid_bytes].ljust(64, b"\0")
