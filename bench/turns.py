"""Sides of a comparison, measured in turns, and what is told of them: medians, quartiles, ratios.

A ratio is the median over the rounds of what two sides took in the same round, so that a machine that gets
slower for a minute slows both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Limit:
    """What the issue demands of a figure. Told beside it, never asserted."""

    what: str
    value: float
    limit: float
    unit: str

    def __str__(self) -> str:
        verdict = "within" if self.value <= self.limit else "OVER"
        return f"{self.what}: {self.value:.4g} {self.unit}, limit {self.limit:g}: {verdict}"


@dataclass
class Section:
    """One comparison. `rounds` has one figure for each side and round."""

    what: str
    unit: str
    rounds: Samples
    base: str | None = None
    limits: list[Limit] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def median(self, side: str) -> float:
        return statistics.median(self.rounds[side])

    def ratio(self, side: str, base: str) -> tuple[float, float, float]:
        """Return the median of the rounds' ratios, and their quartiles."""
        pairs = zip(self.rounds[side], self.rounds[base], strict=True)
        return spread([one / other for one, other in pairs])

    def difference(self, side: str, *less: str) -> tuple[float, float, float]:
        """Return the median of what is left of a side without others, and the quartiles."""
        rows = zip(*(self.rounds[name] for name in (side, *less)), strict=True)
        return spread([first - sum(rest) for first, *rest in rows])

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "unit": self.unit,
            "median": {side: self.median(side) for side in self.rounds},
            "ratio": {side: self.ratio(side, self.base) for side in self.rounds} if self.base else {},
            "limits": [vars(limit) for limit in self.limits],
            **self.more,
            "rounds": self.rounds,
        }

    def show(self) -> None:
        print(self.what)
        for side, values in self.rounds.items():
            middle, low, high = spread(values)
            line = f"  {side:34} {middle:10.3f} {self.unit:4} ({low:.3f} to {high:.3f})"
            if self.base:
                ratio, least, most = self.ratio(side, self.base)
                line += f"   x {ratio:.3f} ({least:.3f} to {most:.3f})"
            print(line)
        for name, value in self.more.items():
            print(f"  {name}: {value}")
        for limit in self.limits:
            print(f"  -> {limit}")


def in_turns(sides: Mapping[str, Callable[[], float]], rounds: int) -> Samples:
    """Call every side once a round, each round beginning with another; a call returns its figure."""
    names = list(sides)
    samples: Samples = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            samples[name].append(sides[name]())
    return samples


def timed(call: Callable[[], object], count: int, unit_seconds: float) -> Callable[[], float]:
    """Return what calls so many times, and says what one took on average, in units of that length.

    Of the processor's time: other programs run beside this one.
    """

    def measure() -> float:
        began = time.thread_time()
        for _ in range(count):
            call()
        return (time.thread_time() - began) / count / unit_seconds

    return measure


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and the quartiles."""
    if len(values) < 3:
        return statistics.median(values), min(values), max(values)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high
