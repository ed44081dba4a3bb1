"""What the author of a sample expects, and whether a judgement contradicts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blindai.testing.samples.judgement import ACCEPT, REJECT, UNSUPPORTED, Judgement

POLICY = ("policy", "reject-by-default")


def contradiction(judgement: Judgement, expect: Any) -> str:
    """Say how the judgement contradicts `expect`, the member of a meta.json; "" where it does not."""
    if judgement.verdict == UNSUPPORTED:
        return ""
    if not isinstance(expect, Mapping) or "verdict" not in expect:
        return "meta.json does not say which verdict is expected"
    return _of_verdict(judgement, expect["verdict"]) or _of_platform(judgement, expect)


def _of_verdict(judgement: Judgement, expected: Any) -> str:
    if expected in POLICY:
        if judgement.verdict == ACCEPT:
            return f"expected {expected}: a strict policy should refuse it"
        return "" if judgement.if_named else f"expected {expected}: no policy accepts it"
    if expected not in (ACCEPT, REJECT):
        return f"expected {expected!r}, a word that is not known"
    return "" if judgement.verdict == expected else f"expected {expected}"


def _of_platform(judgement: Judgement, expect: Mapping[str, Any]) -> str:
    if judgement.status is None:
        return ""
    if judgement.status != expect.get("status", judgement.status):
        return f"expected the status {expect['status']}, found {judgement.status}"
    advisories = expect.get("advisories", judgement.advisories)
    if not isinstance(advisories, list | tuple) or {*judgement.advisories} != {*map(str, advisories)}:
        return f"expected other advisories than {', '.join(judgement.advisories) or 'none'}"
    return ""
