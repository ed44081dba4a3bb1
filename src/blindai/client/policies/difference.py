"""Two policies compared by what they accept: order, comments and entries said twice do not count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from blindai.attestation.policy import Policy
from blindai.client.policies import demanded
from blindai.client.policies.demanded import Demand, Entry, Tendency

MAX_COMPARED = 32
"""Entries of one TEE that are compared each with each: a stranger's policy may hold thousands."""


@dataclass(frozen=True)
class Difference:
    """One place where A and B differ. `tendency` is B's, seen from A."""

    where: str
    first: str
    second: str
    tendency: Tendency

    @property
    def verdict(self) -> str:
        return _VERDICTS[self.tendency]


_VERDICTS = {
    Tendency.SAME: "no difference",
    Tendency.LOOSER: "B is looser",
    Tendency.STRICTER: "A is looser",
    Tendency.OTHER: "neither contains the other",
}
_SUMMARIES = {
    Tendency.SAME: "A and B accept the same",
    Tendency.LOOSER: "B accepts whatever A accepts, and more",
    Tendency.STRICTER: "A accepts whatever B accepts, and more",
    Tendency.OTHER: "each accepts something that the other refuses",
}


def between(a: Policy, b: Policy) -> tuple[Difference, ...]:
    """Return every difference; none where both accept the same."""
    return (*_of_demands("", demanded.of_policy(a), demanded.of_policy(b)), *_of_entries(a, b))


def tendency(differences: Iterable[Difference]) -> Tendency:
    """Return what B as a whole is, seen from A."""
    found = {difference.tendency for difference in differences} - {Tendency.SAME}
    if not found:
        return Tendency.SAME
    return found.pop() if len(found) == 1 else Tendency.OTHER


def summary(differences: Iterable[Difference]) -> str:
    return _SUMMARIES[tendency(differences)]


def text(differences: Sequence[Difference]) -> str:
    """Return a line for each difference, and the sum of them.

    What a stranger wrote comes last in its line: nothing of ours follows that it could pass itself off as.
    """
    lines = [f"{one.verdict}: {one.where}: A: {one.first}; B: {one.second}" for one in differences]
    return "\n".join([*lines, summary(differences)])


def to_json(differences: Sequence[Difference]) -> dict[str, Any]:
    """Return the differences and their sum; "b_is" is B, seen from A."""
    return {
        "b_is": str(tendency(differences)),
        "differences": [
            {"where": one.where, "a": one.first, "b": one.second, "b_is": str(one.tendency)}
            for one in differences
        ],
    }


def _of_demands(place: str, a: Iterable[Demand], b: Iterable[Demand]) -> Iterator[Difference]:
    first, second = ({demand.key: demand for demand in demands} for demands in (a, b))
    for key in dict.fromkeys((*first, *second)):
        x, y = first.get(key), second.get(key)
        found = demanded.compare(x, y)
        if found is not Tendency.SAME:
            yield Difference(place + demanded.one_line(key), _words(x), _words(y), found)


def _words(demand: Demand | None) -> str:
    return "not demanded" if demand is None else demanded.words(demand)


def _of_entries(a: Policy, b: Policy) -> Iterator[Difference]:
    """Pair entries of the same code, then the last of each TEE; the others stand alone."""
    first, second = _distinct(a), _distinct(b)
    common = {_content(entry) for entry in first} & {_content(entry) for entry in second}
    first, second = ([e for e in side if _content(e) not in common] for side in (first, second))
    pairs: list[tuple[Entry, Entry]] = []
    for key in (_same_code, lambda entry: entry.tee):
        groups = defaultdict[object, tuple[list[Entry], list[Entry]]](lambda: ([], []))
        for position, side in enumerate((first, second)):
            for entry in side:
                groups[key(entry)][position].append(entry)
        first, second = [], []
        for x, y in groups.values():
            if len(x) == len(y) == 1:
                pairs.append((x[0], y[0]))
            else:
                first += _uncovered(x, y)
                second += _uncovered(y, x)
    for x_entry, y_entry in sorted(pairs, key=lambda pair: pair[0].number):
        place = f"[[accept]] {x_entry.tee} (A {x_entry.number}, B {y_entry.number}) "
        yield from _of_demands(place, x_entry.demands, y_entry.demands)
    for entry in first:
        yield _alone(entry, "A", Tendency.STRICTER)
    for entry in second:
        yield _alone(entry, "B", Tendency.LOOSER)


def _alone(entry: Entry, side: str, found: Tendency) -> Difference:
    code = ", ".join(f"{demand.key} {demanded.words(demand)[:16]}…" for demand in entry.code)
    what = f"accepted ({demanded.one_line(code) or 'any code'})"
    words = (what, "no such entry") if side == "A" else ("no such entry", what)
    return Difference(f"[[accept]] {entry.tee} ({side} {entry.number})", *words, found)


def _distinct(policy: Policy) -> list[Entry]:
    """Return the entries without those that another one makes redundant."""
    groups = defaultdict[str, list[Entry]](list)
    contents: set[object] = set()
    for entry in demanded.of_entries(policy):
        if _content(entry) not in contents:
            contents.add(_content(entry))
            groups[entry.tee].append(entry)
    kept = [
        e for group in groups.values() for e in group if not _covered(e, [o for o in group if o is not e])
    ]
    return sorted(kept, key=lambda entry: entry.number)


def _uncovered(entries: Sequence[Entry], others: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if not _covered(entry, others)]


def _covered(entry: Entry, others: Sequence[Entry]) -> bool:
    """Whether one of `others` accepts all that `entry` accepts."""
    return len(others) <= MAX_COMPARED and any(
        tendency(_of_demands("", entry.demands, other.demands)) in (Tendency.SAME, Tendency.LOOSER)
        for other in others
    )


def _same_code(entry: Entry) -> object:
    return entry.tee, entry.code


def _content(entry: Entry) -> object:
    return entry.tee, frozenset((demand.key, type(demand.value), demand.value) for demand in entry.demands)
