"""AMD's products, and what differs between them: roots, the bytes of a TCB version, the size of an id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TCB_BYTES = 8
CHIP_ID_BYTES = 64


@dataclass(frozen=True)
class Product:
    """One product line. `tcb_offsets` says in which byte of a TCB version each component's number stands."""

    name: str
    tcb_offsets: Mapping[str, int]
    hwid_bytes: int

    @property
    def vendor(self) -> str:
        """The name under which trust knows the product's root."""
        return f"amd-{self.name.lower()}"

    def components(self, tcb_version: bytes) -> Mapping[str, int]:
        """Return the numbers in a TCB version (8 bytes, as in the report)."""
        return {name: tcb_version[offset] for name, offset in self.tcb_offsets.items()}


_MILAN = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
_TURIN = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}
PRODUCTS = {
    "Milan": Product("Milan", _MILAN, CHIP_ID_BYTES),
    "Genoa": Product("Genoa", _MILAN, CHIP_ID_BYTES),
    "Turin": Product("Turin", _TURIN, 8),
}


def from_cpuid(family: int, model: int) -> Product | None:
    """Return the product of a processor, by the family and model in a report of version 3 or later."""
    if family == 0x19 and model <= 0x0F:
        return PRODUCTS["Milan"]
    if family == 0x19 and (0x10 <= model <= 0x1F or 0xA0 <= model <= 0xAF):
        return PRODUCTS["Genoa"]
    return PRODUCTS["Turin"] if family == 0x1A else None


def from_certificate(name: str) -> Product | None:
    """Return the product that a leaf certificate names: "Milan-B0", "Genoa", ..."""
    return PRODUCTS.get(name.partition("-")[0])
