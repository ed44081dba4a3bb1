"""What a policy may demand of SEV-SNP. `snp_judgement` compares it with verified claims.

Code identity is `measurement` with `boot = "direct"`: the launch measurement covers our code only if kernel,
initrd and command line are measured with the firmware. Otherwise it names a cloud's firmware.
"""

from __future__ import annotations

from collections.abc import Mapping

from blindai.attestation.amd import snp_judgement
from blindai.attestation.amd.product import PRODUCTS
from blindai.attestation.amd.report import GUEST_POLICY_BITS, PLATFORM_INFO_BITS
from blindai.attestation.amd.snp import SnpClaims
from blindai.attestation.amd.snp_judgement import SnpAccept
from blindai.attestation.relaxation import Relaxation
from blindai.attestation.toml_table import Table, not_among
from blindai.attestation.verdict import Check
from blindai.errors import PolicyError

DIRECT = "direct"
# Whoever launches the guest chooses this, and code may depend on it: unless named, it is zero.
_UNNAMED = {"host_data": bytes(32)}
SIZES = {"measurement": 48, "host_data": 32, "id_key_digest": 48, "author_key_digest": 48}
MITIGATION_BITS = 64
LEAST_PRIVILEGED = 3

RELAXATIONS = (
    Relaxation(
        "hyper-threading",
        "another tenant may run on the same core at the same time, and observe timing and caches",
        {"allow_smt": True},
    ),
    Relaxation(
        "migration",
        "a migration agent that the operator chose may move the guest, with its memory, to another machine",
        {"allow_migration": True},
    ),
    Relaxation(
        "unchecked-aliases",
        "the firmware has not shown that no two addresses reach the same memory (CVE-2024-21944): memory "
        "modules that lie about their size can defeat the isolation",
        {"allow_unchecked_aliases": True},
    ),
    Relaxation("no-crl", "a signing key that AMD has revoked would go unnoticed", {"require_crl": False}),
    Relaxation(
        "any-tcb",
        "the firmware may be of any age: published attacks may work",
        {"allow_any_tcb": True},
    ),
)


DEFAULTS = SnpAccept(_UNNAMED, None, {})
"""What is demanded of the platform when nobody named a measurement (simulation without a policy)."""


def load(table: Table) -> SnpAccept:
    """Read an entry, or raise PolicyError. A missing code identity, or a missing TCB floor, does not load."""
    if "allow_debug" in table:
        raise table.error("allow_debug", "is not offered: a debug guest is always refused")
    measurements = {
        name: value
        for name, size in SIZES.items()
        if (value := table.hexadecimal(name, size_bytes=size) or _UNNAMED.get(name)) is not None
    }
    boot = table.optional_string("boot")
    any_tcb = table.boolean("allow_any_tcb", default=False)
    max_vmpl = table.integer("max_vmpl", default=0)
    if max_vmpl > LEAST_PRIVILEGED:
        raise table.error("max_vmpl", f"is at most {LEAST_PRIVILEGED}: a guest has no other")
    accept = SnpAccept(
        measurements=measurements,
        product=_product(table),
        min_tcb=_min_tcb(table),
        min_guest_svn=table.integer("min_guest_svn", default=0),
        max_vmpl=max_vmpl,
        allow_smt=table.boolean("allow_smt", default=False),
        allow_migration=table.boolean("allow_migration", default=False),
        allow_unchecked_aliases=table.boolean("allow_unchecked_aliases", default=False),
        require_crl=table.boolean("require_crl", default=True),
        require_guest_policy=_names(table, "require_guest_policy", GUEST_POLICY_BITS),
        require_platform_info=_names(table, "require_platform_info", PLATFORM_INFO_BITS),
        require_mitigations=_mitigations(table),
    )
    table.finish()  # first: a misspelt key is named as that, not as missing
    _check_identity(table, accept, boot)
    _check_floor(table, accept, any_tcb=any_tcb)
    return accept


def _check_identity(table: Table, accept: SnpAccept, boot: str | None) -> None:
    if "measurement" not in accept.measurements:
        raise PolicyError(
            f"{table.error('tee', 'says sev-snp')}, but measurement is missing: "
            "the policy does not say which code it accepts",
            hint="sev-snp-measure computes it from firmware, kernel, initrd and command line",
        )
    if boot != DIRECT:
        raise table.error(
            "boot",
            'must be "direct": without a measured kernel, initrd and command line the measurement names '
            "the firmware alone",
        )


def _check_floor(table: Table, accept: SnpAccept, *, any_tcb: bool) -> None:
    if any_tcb:
        if "min_tcb" in table:  # also one that no product gives a meaning to, and that was not read
            raise table.error("min_tcb", "and any TCB version (allow_any_tcb): leave one out")
    elif not accept.min_tcb or accept.product is None:
        # AMD signs no verdict on a TCB version, and the numbers of one product mean nothing for another.
        raise table.error(
            "min_tcb",
            "and product are needed: how old may the firmware be? For example product = "
            '"Milan", min_tcb = { bootloader = 4, tee = 0, snp = 24, microcode = 219 }',
        )


def _product(table: Table) -> str | None:
    name = table.optional_string("product")
    if name is not None and name not in PRODUCTS:
        raise table.error("product", not_among(name, PRODUCTS))
    return name


def _min_tcb(table: Table) -> Mapping[str, int]:
    floor = table.table("min_tcb")
    if "min_tcb" not in table:
        return {}
    product = table.string("product") if "product" in table else ""
    known = PRODUCTS[product].tcb_offsets if product in PRODUCTS else {}
    for name in known:
        if name not in floor:
            raise table.error("min_tcb", f"lacks {name}: every component of {product} needs a number")
    numbers = {name: floor.integer(name, default=0) for name in known}
    if known:
        floor.finish()
    if any(number > 255 for number in numbers.values()):
        raise table.error("min_tcb", "holds numbers up to 255")
    return numbers


def _names(table: Table, key: str, known: Mapping[str, int]) -> frozenset[str]:
    names = table.strings(key)
    for name in names:
        if name not in known:
            raise table.error(key, not_among(name, known))
    return frozenset(names)


def _mitigations(table: Table) -> frozenset[int]:
    bits = table.integers("require_mitigations")
    if any(bit >= MITIGATION_BITS for bit in bits):
        raise table.error("require_mitigations", f"holds bit numbers below {MITIGATION_BITS}")
    return frozenset(bits)


def entry_toml(claims: SnpClaims) -> str:
    """Return the keys of an entry that accepts exactly the code, and no older firmware, of these claims.

    Each component's floor is the least of what runs, is reported, is committed and was at launch.
    """
    lowest = {name: min(tcb[name] for tcb in claims.tcbs.values()) for name in claims.tcbs["reported_tcb"]}
    floor = ", ".join(f"{name} = {number}" for name, number in lowest.items())
    text = f'measurement = "{claims.measurement.hex()}"\nboot = "direct"\n'
    text += f'product = "{claims.product}"\nmin_tcb = {{ {floor} }}\n'
    return text + (f'host_data = "{claims.host_data.hex()}"\n' if any(claims.host_data) else "")


def appraise(accept: SnpAccept, claims: SnpClaims, *, now: int) -> tuple[Check, ...]:
    """Judge every claim that the entry speaks about."""
    del now
    return snp_judgement.appraise(accept, claims)
