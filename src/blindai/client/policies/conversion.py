"""The eight-field policy files of the original BlindAI (policy.toml, manifest.toml), in today's grammar.

The original wrote bit fields as numbers; an SGX quote, and our grammar, hold them as bytes with the lowest
first. So "0400000000000000" is a number with a high bit here, whatever its author meant: it is refused, and
what was read of a text with every digit is said. The original compared `attributes & mask` with
`flags | INIT`, and looked at DEBUG apart from the mask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from blindai.attestation import toml_table
from blindai.attestation.policy import MAX_POLICY_BYTES
from blindai.attestation.toml_table import parse_hexadecimal
from blindai.client.policies.demanded import one_line
from blindai.errors import PolicyError

INIT, DEBUG = 1 << 0, 1 << 1  # of SGX's ATTRIBUTES.FLAGS
RESERVED = ~0x7FF  # the hardware defines bits 0 to 10, and sets no other
_SIZES = {
    "attributes_flags_hex": 8,
    "attributes_xfrm_hex": 8,
    "attributes_mask_flags_hex": 8,
    "attributes_mask_xfrm_hex": 8,
    "misc_select_hex": 4,
    "misc_mask_hex": 4,
}
FIELDS = ("mr_enclave", *_SIZES, "allow_debug")
_HINT = f"a policy of the original BlindAI has exactly these fields: {', '.join(FIELDS)}"


@dataclass(frozen=True)
class Converted:
    """The new policy's text, and what it no longer accepts that the original did."""

    text: str
    notes: tuple[str, ...]


def convert(text: str) -> Converted:
    """Convert a policy of the original BlindAI, or raise PolicyError that names the field."""
    fields = _fields(text)
    mr_enclave = parse_hexadecimal(fields["mr_enclave"], 32)
    if mr_enclave is None:
        raise PolicyError("mr_enclave must be 64 hexadecimal digits (32 bytes)", hint=_template(fields))
    if not isinstance(fields["allow_debug"], bool):
        raise PolicyError("allow_debug must be true or false")
    bits = {name.removesuffix("_hex"): _number(name, fields[name], size) for name, size in _SIZES.items()}
    _check_flags(bits)
    read_as = tuple(_read_as(fields, bits))
    bits["attributes_flags"] |= INIT
    bits["attributes_mask_flags"] |= DEBUG
    for value, mask in (("attributes_xfrm", "attributes_mask_xfrm"), ("misc_select", "misc_mask")):
        if bits[value] & ~bits[mask]:
            raise PolicyError(f"{value}_hex has bits that {mask}_hex leaves out: no enclave satisfies it")
    lines = [
        f'{name} = "{bits[name].to_bytes(size, "little").hex()}"'
        for name, size in ((name.removesuffix("_hex"), size) for name, size in _SIZES.items())
    ]
    return Converted(_text(mr_enclave.hex(), lines), (*read_as, *_notes(allow_debug=fields["allow_debug"])))


def _fields(text: str) -> dict[str, Any]:
    fields = toml_table.read(text, "the file", max_bytes=MAX_POLICY_BYTES)
    if "accept" in fields and "version" in fields:
        raise PolicyError("the file is a policy of this version already", hint="blindai policy check FILE")
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise PolicyError(f"unknown field: {one_line(', '.join(unknown))}", hint=_HINT)
    if missing := [name for name in FIELDS if name not in fields]:
        raise PolicyError(f"missing field: {', '.join(missing)}", hint=_HINT)
    return fields


def _template(fields: dict[str, Any]) -> str:
    if str(fields["mr_enclave"]).startswith("$"):
        return (
            "this is the template; the original's build filled it in and wrote policy.toml or manifest.toml"
        )
    return ""


def _number(name: str, value: Any, size: int) -> int:
    if not isinstance(value, str) or not re.fullmatch(rf"(0[xX])?[0-9a-fA-F]{{1,{2 * size}}}", value):
        raise PolicyError(f'{name} must be a string like "0x4", of at most {2 * size} hexadecimal digits')
    return int(value, 16)


def _check_flags(bits: dict[str, int]) -> None:
    flags, mask = bits["attributes_flags"], bits["attributes_mask_flags"]
    if flags & RESERVED:
        quoted = flags.to_bytes(8, "little")
        turned = int.from_bytes(quoted, "big")
        raise PolicyError(
            f"attributes_flags_hex is read as the number {flags:#x}, as the original did (in the quote's "
            f"order: {quoted.hex()}): it demands reserved bits, which no enclave has",
            hint="" if turned & RESERVED else f'if the quote\'s order was meant, the number is "{turned:#x}"',
        )
    if flags & DEBUG:
        raise PolicyError(
            "attributes_flags_hex demands a debug enclave (bit 1), whose host can read everything: "
            "this version accepts none",
            hint="build the enclave for production and convert the policy of that build",
        )
    if (flags | INIT) & ~mask:
        raise PolicyError(
            "attributes_mask_flags_hex leaves out bits that are demanded (attributes_flags_hex, and bit 0: "
            "initialised): the original accepted no enclave with it"
        )


def _read_as(fields: dict[str, Any], bits: dict[str, int]) -> Iterator[str]:
    """A text with every digit could be meant in the quote's order: say how it was read."""
    for name in ("attributes_flags", "attributes_xfrm", "misc_select"):
        size = _SIZES[f"{name}_hex"]
        written, quoted = bits[name].to_bytes(size, "big"), bits[name].to_bytes(size, "little")
        if len(fields[f"{name}_hex"].lower().removeprefix("0x")) == 2 * size and written != quoted:
            yield f"{name}_hex: read as the number {bits[name]:#x}; in the quote's order: {quoted.hex()}"


def _notes(*, allow_debug: bool) -> tuple[str, ...]:
    debug = "allow_debug = true is NOT carried over: a debug enclave's host can read everything in it"
    hardening = "the original accepted platforms that need software hardening, too; this policy does not"
    return (debug, hardening) if allow_debug else (hardening,)


def _text(mr_enclave: str, lines: list[str]) -> str:
    return "\n".join(
        [
            "# Converted by `blindai policy convert` from a policy of the original BlindAI.",
            "version = 1",
            "# expires = 2027-03-01",
            '# names = ["inference.example.org"]',
            "",
            "[[accept]]",
            'tee = "sgx"',
            f'mr_enclave = "{mr_enclave}"',
            *lines,
            "",
        ]
    )
