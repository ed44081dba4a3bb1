"""A sealed store in a folder of this test, and models to put into it."""

from __future__ import annotations

import pytest

from blindai.store.store import Store
from tests.store.shelf import KEY


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(path):
    with Store.open(path, KEY) as opened:
        yield opened
