"""Sends a server requests that are full of secrets, and keeps what it says."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from blindai.wire.api_key import key_id
from tests import models
from tests.canaries import Canaries
from tests.server import raw
from tests.server.callers.issuer import ISSUER, SigningKey, token
from tests.serving import Reply, RunningServer, exchange, tensor

MIB = 2**20
KEYS = ("alice", "false alice", "admin", "poor", "hasty", "user")
TOLD = "told: "  # begins what a server says to those who may use a model: the names of its inputs
LIMITS: Mapping[str, Any] = {
    "max_request_bytes": MIB,
    "max_model_bytes": 128 * MIB,
    "max_stored_bytes": 64 * MIB,
    "caller_max_uploads": 1,
    "drain_seconds": 1.0,
    "log_level": "debug",
    "telemetry_interval_seconds": 1,
}
# A server that takes no uploads and has no patience.
NARROW: Mapping[str, Any] = {
    **LIMITS,
    "model_upload": False,
    "attestation_timeout_seconds": 0.001,
    "max_waiting_attestations": 1,
    "quote_interval_seconds": 0.2,
    "request_read_timeout_seconds": 0.5,
    "header_timeout_seconds": 0.5,
}


def callers(keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """The entries of `[[callers]]` for these API keys."""
    ids = {name: key_id(key) for name, key in keys.items()}
    return [
        {"name": "alice", "role": "owner", "key_sha256": ids["alice"]},
        {"name": "alice", "role": "owner", "key_sha256": ids["false alice"]},
        {"name": "root", "role": "admin", "key_sha256": ids["admin"]},
        {"name": "poor", "role": "owner", "key_sha256": ids["poor"], "max_models": 1},
        {"name": "hasty", "role": "user", "key_sha256": ids["hasty"], "requests_per_minute": 1},
        {"name": "user", "role": "user", "key_sha256": ids["user"]},
    ]


@dataclass
class Provoker:
    """Sends requests to one server, and keeps every reply. Every request is full of canaries."""

    server: RunningServer
    canaries: Canaries
    keys: Mapping[str, str]
    signing: SigningKey
    replies: list[Reply] = field(default_factory=list)

    @property
    def codes(self) -> set[str]:
        return {reply.code for reply in self.replies if reply.status >= 400}

    def fresh(self, what: str) -> str:
        return self.canaries.text(what)

    def headers(self, who: str | None = "alice", **more: str) -> dict[str, str]:
        """Headers of somebody, with secrets where servers like to look."""
        salt = self.canaries.raw("salt", self.fresh("salt").encode())
        given = {
            "BlindAI-Receipt-Salt": base64.urlsafe_b64encode(salt).rstrip(b"=").decode(),
            "Cookie": self.fresh("cookie"),
            "X-Request-Id": self.fresh("request id of the client"),
            "Traceparent": self.fresh("trace"),
            "User-Agent": self.fresh("user agent"),
            "Referer": self.fresh("referer"),
            f"X-{self.fresh('header name')}": self.canaries.accented("header"),
            **more,
        }
        if who is not None:
            given["Authorization"] = f"Bearer {self.keys[who]}"
        return {name: value.encode("latin-1") for name, value in given.items()}  # type: ignore[misc]

    def ask(self, method: str, path: str, body: Any = None, who: str | None = "alice", **more: str) -> Reply:
        """One request; the path gets a query."""
        query = urllib.parse.urlencode({self.fresh("query"): self.canaries.accented("query")})
        with self.server.http() as connection:
            target = f"{path}{'&' if '?' in path else '?'}{query}"
            reply = exchange(connection, method, target, body, self.headers(who, **more))
        return self._kept(reply)

    def raw(self, *pieces: bytes) -> None:
        """Bytes as they are. An answer is kept, if there is one."""
        with contextlib.suppress(OSError):
            for reply in raw.send(self.server, *pieces):
                self._kept(reply)

    def _kept(self, reply: Reply) -> Reply:
        self.replies.append(reply)
        return reply

    def upload(self, name: str, content: bytes, who: str = "alice", **more: str) -> Reply:
        return self.ask("PUT", f"/v2/repository/models/{name}", content, who, **more)

    def infer(self, name: str, *inputs: Mapping[str, Any], who: str = "alice", **members: Any) -> Reply:
        body = {
            "id": self.canaries.accented("id"),
            "parameters": {self.fresh("parameter"): self.fresh("parameter")},
            "inputs": list(inputs),
            **members,
        }
        return self.ask("POST", f"/v2/models/{name}/infer", json.dumps(body), who)

    def secret_tensor(self, name: str, datatype: str = "FP64", **changes: Any) -> dict[str, Any]:
        """An input whose values nobody should see."""
        value: Any
        if datatype == "INT64":
            value = self.canaries.integer("input")
        elif datatype == "BYTES":
            value = self.canaries.accented("input")
        else:
            value = self.canaries.number("input")
        return {**tensor(name, datatype, [1], [value]), **changes}

    def token(self, *, signing: SigningKey | None = None, **changes: Any) -> str:
        """A token full of secrets; it is one itself."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": self.fresh("subject"),
            "aud": "blindai:localhost",
            "exp": now + 3600,
            "role": "user",
            "namespace": self.fresh("namespace of a token"),
            self.fresh("claim"): self.fresh("claim"),
            **changes,
        }
        text = token(signing or self.signing, claims)
        for part, name in zip(text.split("."), ("header", "claims", "signature"), strict=True):
            if name != "header":  # which says nothing but the algorithm
                self.canaries.known(f"{name} of a token", part)
        return text


def secret_model(canaries: Canaries, what: str, *, operator: str = "Identity", dtype: str = "FP64") -> bytes:
    """A model that is full of secrets, from its weights to its comments."""
    x, y = canaries.text(f"{TOLD}input of {what}"), canaries.text(f"{TOLD}output of {what}")
    weights = np.frombuffer(canaries.raw(f"weights of {what}", np.random.default_rng().bytes(512)), np.uint8)
    element = models.DTYPES[dtype]
    domain = "" if operator == "Identity" else canaries.text(f"domain of {what}")
    graph = helper.make_graph(
        [
            helper.make_node(operator, [x], [y], name=canaries.text(f"node of {what}"), domain=domain),
            helper.make_node("Identity", [weights_name := canaries.text(f"weight of {what}")], ["rest"]),
        ],
        canaries.text(f"graph of {what}"),
        [helper.make_tensor_value_info(x, element, ["n"])],
        [helper.make_tensor_value_info(y, element, ["n"])],
        [onnx.numpy_helper.from_array(weights, weights_name)],
        doc_string=canaries.accented(f"comment of {what}"),
    )
    opsets = [helper.make_opsetid("", models.OPSET)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=models.IR_VERSION)
    model.producer_name = canaries.text(f"producer of {what}")
    helper.set_model_props(model, {canaries.text(f"key of {what}"): canaries.text(f"property of {what}")})
    content: bytes = model.SerializeToString()
    return content


def first_input(model: bytes) -> str:
    return str(onnx.load_from_string(model).graph.input[0].name)
