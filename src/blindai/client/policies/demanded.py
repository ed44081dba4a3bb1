"""A loaded policy as a flat list of demands, each with the order in which its values are stricter.

No TEE is named here: an entry's fields speak for themselves, by their types and by how their names begin
(`allow_`, `require_`, `min_`, `max_`). A test lists every field of every TEE with the order that follows.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from blindai.attestation import vendors
from blindai.attestation.policy import Policy
from blindai.attestation.times import shown
from blindai.attestation.types import Accept

DIALLED = "the name that is dialled"
ANY_TCB = "allow_any_tcb"
# Fields that say which code it is; all others say on what.
_CODE = frozenset(
    {"measurements", "events", "mr_enclave", "mr_signer", "isv_prod_id", "min_isv_svn", "config_id", "pcrs"}
)
_PREFIXES = {"measurements": "", "pcrs": "pcr"}
_NOT_DEMANDS = frozenset({"tee", "preset", "relax"})  # relaxations show in the fields that they set


@dataclass(frozen=True)
class Bits:
    """The bits in `mask` are those of `value`, which has no others."""

    value: bytes
    mask: bytes

    def demanded_by(self, other: Bits) -> bool:
        """Whether whatever satisfies `other` satisfies this."""
        return len(self.mask) == len(other.mask) and all(
            m & ~om == 0 and ov & m == v
            for v, m, ov, om in zip(self.value, self.mask, other.value, other.mask, strict=True)
        )


Value = None | bool | int | str | bytes | Bits | tuple[str, ...] | frozenset[str]


class Order(StrEnum):
    """How two values of a demand compare. None demands nothing, and is the loosest where it can occur."""

    EXACT = "exact"
    ANY_OF = "any-of"  # a set of values that will do: more of them is looser
    ALL_OF = "all-of"  # a set of features that must be there: more of them is stricter
    LEAST = "least"  # a larger number is stricter
    MOST = "most"  # a smaller number is stricter
    PERMITS = "permits"  # true is looser
    DEMANDS = "demands"  # true is stricter
    BITS = "bits"  # more bits compared is stricter


class Tendency(StrEnum):
    """What of the second of two, seen from the first."""

    SAME = "same"
    LOOSER = "looser"
    STRICTER = "stricter"
    OTHER = "other"  # each accepts something that the other refuses


@dataclass(frozen=True)
class Demand:
    """One line of a policy, or what holds where the line is missing (`default`)."""

    key: str
    value: Value
    order: Order
    default: bool = False


@dataclass(frozen=True)
class Entry:
    """One `[[accept]]`: `number` as written, from 1; the code that it names; what else it demands."""

    number: int
    tee: str
    code: tuple[Demand, ...]
    rest: tuple[Demand, ...]

    @property
    def demands(self) -> tuple[Demand, ...]:
        return self.code + self.rest


def of_policy(policy: Policy) -> tuple[Demand, ...]:
    """Return what the policy demands whichever entry is met."""
    return (
        Demand("expires", policy.expires, Order.MOST, policy.expires is None),
        Demand("names", frozenset(policy.names or (DIALLED,)), Order.ANY_OF, not policy.names),
        _some("operator.spki_sha256", policy.operator_spki_sha256),
        _some("models.sha256", frozenset(policy.models_sha256)),
        *(Demand(f"require.{key}", _plain(value), Order.EXACT) for key, value in _sorted(policy.require)),
    )


def of_entries(policy: Policy) -> tuple[Entry, ...]:
    return tuple(of_accept(accept, number) for number, accept in enumerate(policy.accept, 1))


def compare(first: Demand | None, second: Demand | None) -> Tendency:
    """Say what `second` is, seen from `first`; None is a demand that is not made."""
    if first is None or second is None:
        present = first or second
        if present is None or present.value is None:
            return Tendency.SAME
        return Tendency.STRICTER if first is None else Tendency.LOOSER
    a, b = first.value, second.value
    if a == b and type(a) is type(b):  # true is not 1
        return Tendency.SAME
    if a is None or b is None:
        return Tendency.STRICTER if a is None else Tendency.LOOSER
    if first.order is Order.EXACT:
        return Tendency.OTHER
    return _tendency(_wider(first.order, a, b), _wider(first.order, b, a))


def _tendency(wider: bool, narrower: bool) -> Tendency:
    if wider == narrower:
        return Tendency.OTHER
    return Tendency.LOOSER if wider else Tendency.STRICTER


def _wider(order: Order, a: Any, b: Any) -> bool:
    """Whether `b` accepts all that `a` accepts."""
    match order:
        case Order.ANY_OF:
            return bool(a <= b)
        case Order.LEAST | Order.DEMANDS | Order.ALL_OF:
            return bool(b <= a)
        case Order.MOST | Order.PERMITS:
            return bool(a <= b)
        case _:
            return bool(b.demanded_by(a))


def of_accept(accept: Accept, number: int = 0) -> Entry:
    """Return one entry's demands, those included that are not written and hold by default."""
    usual = strict(accept.tee)
    code: list[Demand] = []
    rest: list[Demand] = []
    for is_code, found in _demands(accept):
        if found.value is None:
            continue
        default = found.key in usual and usual[found.key].value == found.value
        (code if is_code else rest).append(dataclasses.replace(found, default=default))
    return Entry(number, accept.tee, tuple(code), tuple(rest))


@functools.cache
def strict(tee: str) -> Mapping[str, Demand]:
    """Return what an entry of this TEE demands without a word about it."""
    usual = {found.key: found for _, found in _demands(vendors.defaults(tee))}
    if ANY_TCB in usual:  # an entry has to say how old the firmware may be; what says nothing is none
        usual[ANY_TCB] = demand(ANY_TCB, False)
    return usual


def _demands(accept: Accept) -> Iterator[tuple[bool, Demand]]:
    yield from _fields(accept)


def _fields(part: Any) -> Iterator[tuple[bool, Demand]]:
    """Yield (is code identity, demand) for each field of a slice's entry, and of the parts inside it."""
    for field in dataclasses.fields(part):
        if field.name in _NOT_DEMANDS:
            continue
        value = getattr(part, field.name)
        is_code = field.name in _CODE
        if field.name == "events":  # exactly these digests, not any of them
            for register, digests in _sorted(value):
                yield is_code, Demand(f"{register}_events", _plain(sorted(digests)), Order.EXACT)
        elif isinstance(value, Mapping):
            prefix = _PREFIXES.get(field.name, f"{field.name}.")
            for key, inner in _sorted(value):
                # What must be zero is what the launcher may not choose: that says nothing about the code.
                yield is_code and any(inner), demand(f"{prefix}{key}", inner, _order(field.name))
            if field.name == "min_tcb":
                yield False, demand(ANY_TCB, not value)  # the entry keeps it as the absence of a floor
        elif dataclasses.is_dataclass(value):
            yield from _fields(value)
        elif isinstance(value, tuple) and value and all(hasattr(item, "mask") for item in value):
            for masked in value:
                yield is_code, Demand(masked.name, _bits(masked.value, masked.mask), Order.BITS)
        else:
            yield is_code, demand(field.name, value)


def demand(key: str, value: Any, order: Order | None = None) -> Demand:
    """Return the demand that a key of an entry makes with a value."""
    allows = key.startswith("allow_")
    if isinstance(value, (frozenset, set, list, tuple)):
        # An allow-list that is left out allows nothing; any other list that is left out demands nothing.
        several = frozenset(map(_text, value))
        kind = Order.ALL_OF if key.startswith("require_") else Order.ANY_OF
        return Demand(key, several if several or allows else None, kind)
    if isinstance(value, bool):
        return Demand(key, value, Order.PERMITS if allows else Order.DEMANDS)
    return Demand(key, _plain(value), order or _order(key))


def _bits(value: bytes, mask: bytes) -> Bits | None:
    if not any(mask):
        return None
    return Bits(bytes(v & m for v, m in zip(value, mask, strict=True)), mask)


def _order(name: str) -> Order:
    if name.startswith("min_"):
        return Order.LEAST
    return Order.MOST if name.startswith("max_") else Order.EXACT


def _some(key: str, values: frozenset[str]) -> Demand:
    return Demand(key, values or None, Order.ANY_OF, not values)


def _plain(value: Any) -> Value:
    if value is None or isinstance(value, (bool, int, str, bytes)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(map(_text, value))
    return str(value)


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _sorted(mapping: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    return sorted((mapping or {}).items())


def words(of: Demand) -> str:
    """Return the value as people read it, on one line: a stranger's policy may not paint over a terminal."""
    match of.value:
        case None:
            text = "never" if of.key == "expires" else "not demanded"
        case bool():
            text = "yes" if of.value else "no"
        case bytes():
            text = of.value.hex()
        case int():
            text = shown(of.value) if of.key == "expires" else str(of.value)
        case frozenset():
            text = (" and " if of.order is Order.ALL_OF else " or ").join(sorted(of.value)) or "none"
        case Bits():
            text = f"{of.value.value.hex()} in the bits {of.value.mask.hex()}"
        case tuple():
            text = f"[{', '.join(of.value)}]"
        case _:
            text = of.value
    return one_line(text)


def one_line(text: str) -> str:
    """Replace whatever is not a printable character."""
    return "".join(character if character.isprintable() else "?" for character in text)


def json_value(of: Demand) -> Any:
    """Return the value as JSON: digests in hexadecimal, sets as sorted lists."""
    match of.value:
        case bytes():
            return of.value.hex()
        case frozenset():
            return sorted(of.value)
        case Bits():
            return {"value": of.value.value.hex(), "mask": of.value.mask.hex()}
        case tuple():
            return list(of.value)
        case _:
            return of.value
