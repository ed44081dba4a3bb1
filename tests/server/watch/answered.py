"""Finished requests as the application tells of them, and what must never be seen of any."""

from __future__ import annotations

from typing import Any

from blindai.server.watch.finished import Finished
from blindai.server.watch.gauges import Gauges

CANARY = "canary-7f3a9c"
INFER = "/v2/models/{model}/infer"
UPLOAD = "/v2/repository/models/{model}"
ROUTES = ("/v2", INFER, UPLOAD)
MODEL = "0f" * 16


def request(**changes: Any) -> Finished:
    """An inference that succeeded, with changes."""
    usual: dict[str, Any] = {
        "request_id": "0123456789abcdef",
        "method": "POST",
        "route": INFER,
        "status": 200,
        "code": "",
        "seconds": 0.004,
        "queue_seconds": 0.0004,
        "request_bytes": 600,
        "response_bytes": 40,
        "model": MODEL,
        "role": "owner",
    }
    return Finished(**{**usual, **changes})


def hostile() -> Finished:
    """A request in which whatever could come from a client does, by a mistake of ours."""
    return request(
        request_id=f"{CANARY}\n",
        method=CANARY,
        route=f"/v2/models/{CANARY}/infer",
        code=CANARY,
        model=f"{CANARY} ",
        role=CANARY,
    )


def gauges(**values: Any) -> Gauges:
    """Gauges that have no number, but for those given."""
    names = Gauges.__dataclass_fields__
    return Gauges(**{name: values.get(name, lambda: None) for name in names})
