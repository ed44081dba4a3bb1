"""One answered request, as everything that watches sees it; and the words that it may be told in.

A method or a path is chosen by whoever calls. What is not one of our own words is told as `OTHER`, so that
no log line, no metric and no label repeats what a client sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from blindai.errors import RequestCode

OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
CODES = frozenset({"", *(code.value for code in RequestCode)})
ROLES = frozenset({"", "admin", "owner", "user"})
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
INFERENCE_SUFFIX = "/infer"
UPLOAD_PREFIX = "/v2/repository/models/"
SUCCESS_BELOW = 400

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,191}")


@dataclass(frozen=True)
class Finished:
    """What is known of a request once its answer is out.

    `route` is the pattern that matched ("" for none), `code` the stable word of an error ("" for none),
    `model` the opaque id of a model, or the name of one that the operator started with: never a name that
    a caller chose. `seconds` is the whole request, `queue_seconds` what it waited for a thread.
    """

    request_id: str
    method: str
    route: str
    status: int
    code: str
    seconds: float
    queue_seconds: float
    request_bytes: int
    response_bytes: int
    model: str | None
    role: str

    @property
    def succeeded(self) -> bool:
        return self.status < SUCCESS_BELOW

    @property
    def is_inference(self) -> bool:
        return self.route.endswith(INFERENCE_SUFFIX)

    @property
    def is_upload(self) -> bool:
        return self.method == "PUT" and self.route.startswith(UPLOAD_PREFIX)


def model_label(model: str) -> str:
    """Return `model` if it can be an id of ours, else `OTHER`."""
    return model if _MODEL.fullmatch(model) else OTHER
