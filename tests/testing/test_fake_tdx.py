from __future__ import annotations

import pytest

from blindai.tee.simulated import Platform
from blindai.testing import EXPIRED, FakeSgx, FakeTdx

NOW = 1_790_000_000


def test_keywords_are_the_knobs_of_the_platform():
    """Every keyword of `Platform` turns the fake."""
    tdx = FakeTdx(now=NOW, debug=True, collateral=EXPIRED)
    assert tdx.platform == Platform(debug=True, collateral=EXPIRED)
    assert tdx.evidence(bytes(64)).value[48 + 120] & 1


def test_a_knob_that_does_not_exist_raises():
    """A misspelt knob is an error, not a healthy machine."""
    with pytest.raises(TypeError):
        FakeTdx(now=NOW, debugg=True)


def test_a_root_is_shared_on_demand():
    """Two fakes have different roots unless the second is given the first one's."""
    first = FakeTdx(now=NOW)
    assert FakeTdx(now=NOW).root_sha256 != first.root_sha256
    assert FakeTdx(now=NOW, root=first.root).root_sha256 == first.root_sha256
    assert FakeTdx(now=NOW, root=FakeSgx(now=NOW, root=first.root).root).root_sha256 == first.root_sha256
