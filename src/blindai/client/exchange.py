"""One reply as the client reads it, and the paths of models as it writes them."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blindai.client.answer_receipt import AnswerReceipt


@dataclass(frozen=True)
class Reply:
    """A complete response. Header names are lower case. `receipt` is the one that was asked for, verified."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    receipt: AnswerReceipt | None = field(default=None, repr=False)


def repository_path(name: str) -> str:
    return f"/v2/repository/models/{urllib.parse.quote(name, safe='')}"


def model_path(name: str) -> str:
    return f"/v2/models/{urllib.parse.quote(name, safe='')}"
