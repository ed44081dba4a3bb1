"""What the tests of configfs-tsm share: two machines, and a request that fails."""

from __future__ import annotations

import pytest

from blindai.errors import TeeError
from blindai.tee.tsm import Tsm
from blindai.testing import FakeSnp, FakeTdx
from blindai.testing.tsm import FakeTsm

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
ALWAYS = 99
TDX, SNP = FakeTdx(now=NOW), FakeSnp(now=NOW)
BOTH = pytest.mark.parametrize("machine", [TDX, SNP], ids=["tdx", "snp"])


def fault_of(fake: FakeTsm) -> TeeError:
    """Return what a request comes to; whatever that is, no entry is left behind."""
    with pytest.raises(TeeError) as caught:
        Tsm(fake, sleep=lambda _: None).evidence(REPORT_DATA)
    assert fake.entries == {}
    assert caught.value.hint
    return caught.value
