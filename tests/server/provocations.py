"""Makes a server say every error that it has, each time with secrets in the request that causes it."""

from __future__ import annotations

import base64
import contextlib
import json
import resource
import socket
import struct
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import models
from tests.server import raw
from tests.server.provoker import MIB, Provoker, first_input, secret_model
from tests.serving import exchange, tensor


def provoke(it: Provoker, store: Path) -> None:
    """Provoke everything that one server with `LIMITS` and a sealed store can be made to say."""
    for step in (_use, _inputs, _models, _callers, _http, _tls, _limits, _busy):
        step(it)
    _damage(it, store)
    _break(it)


def _use(it: Provoker) -> None:
    """What succeeds leaks no less."""
    model, name = secret_model(it.canaries, "a good model"), it.fresh("model name")
    shared = it.canaries.digest("a key id to share with")
    given = {"BlindAI-Visibility": "shared", "BlindAI-Share-With": shared}
    assert it.upload(name, model, **given).status == 201
    x = first_input(model)
    assert it.infer(name, it.secret_tensor(x)).status == 200
    value = it.canaries.number("a binary input")
    header = json.dumps(
        {"inputs": [{**tensor(x, "FP64", [1], None), "parameters": {"binary_data_size": 8}}]}
    ).replace('"data": null, ', "")
    length = {"Inference-Header-Content-Length": str(len(header))}
    body = header.encode() + struct.pack("<d", value)
    assert it.ask("POST", f"/v2/models/{name}/infer", body, **length).status == 200
    for path in (f"/v2/models/alice%2F{name}", f"/v2/models/{name}/ready", "/v2/caller", "/v2"):
        assert it.ask("GET", path).status == 200
    sharing = json.dumps({"visibility": "shared", "shared_with": [it.canaries.digest("another key id")]})
    assert it.ask("POST", f"/v2/repository/models/{name}/sharing", sharing).status == 200
    assert it.ask("PUT", f"/v2/caller/keys/{it.canaries.digest('a key id to add')}").status == 200
    assert it.ask("POST", "/v2/repository/index").status == 200
    authorization = {"Authorization": f"Bearer {it.token()}"}
    assert it.ask("GET", "/v2/caller", who=None, **authorization).status == 200


def _inputs(it: Provoker) -> None:
    """Everything that can be wrong with an inference."""
    plain = {"FP64": "doubles", "BYTES": "strings", "INT64": "integers"}
    for dtype, name in plain.items():
        assert it.upload(name, models.identity(dtype)).status == 201
    assert it.upload("failing", models.failing()).status == 201
    x = it.secret_tensor
    it.infer("doubles")
    it.infer("doubles", x(it.fresh("unknown input")))
    it.infer("doubles", x("x"), x("x"))
    it.infer("doubles", x("x", datatype="INT64"))
    it.infer("doubles", x("x", datatype=it.fresh("datatype")))
    it.infer("doubles", {**x("x"), "shape": [1, 1]})
    it.infer("doubles", {**x("x"), "shape": [it.fresh("shape")]})
    it.infer("doubles", {**x("x"), "data": [it.fresh("text for a number")]})
    it.infer("doubles", {**x("x"), "data": [it.canaries.integer("too large a number") * 10**300]})
    it.infer("doubles", {**x("x"), "parameters": {"shared_memory_region": it.fresh("region")}})
    it.infer("integers", {**x("x"), "datatype": "INT64", "data": [it.canaries.integer("too large") * 10]})
    it.infer("strings", {**x("x", datatype="BYTES"), "data": [it.fresh("text"), 1]})
    it.infer("doubles", x("x"), outputs=[{"name": it.fresh("unknown output")}])
    it.infer("failing", x("index", datatype="INT64"))  # onnxruntime quotes the index
    not_json = b'{"inputs": [' + it.fresh("not JSON").encode()
    it.ask("POST", "/v2/models/doubles/infer", not_json)
    it.ask(
        "POST", "/v2/models/doubles/infer", b"{}", **{"Inference-Header-Content-Length": it.fresh("length")}
    )
    infinite = {"name": "x", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}}
    header = json.dumps({"id": it.fresh("id"), "inputs": [infinite]}).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    body = header + struct.pack("<dd", float("inf"), it.canaries.number("beside infinity"))
    it.ask("POST", "/v2/models/doubles/infer", body, **length)
    not_utf8 = {**infinite, "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 36 + 1}}
    header = json.dumps({"inputs": [not_utf8]}).encode()
    text = it.fresh("not UTF-8").encode() + b"\xff"
    length = {"Inference-Header-Content-Length": str(len(header))}
    it.ask("POST", "/v2/models/strings/infer", header + struct.pack("<I", len(text)) + text, **length)


def _models(it: Provoker) -> None:
    """Everything that can be wrong with a model, its name, its digest."""
    secret = secret_model(it.canaries, "a model with an unknown operator", operator=it.fresh("operator"))
    it.upload(it.fresh("name of a bad model"), secret)
    it.upload(it.fresh("name of a cut model"), secret_model(it.canaries, "a cut model")[:-200])
    it.upload(it.fresh("name of no model"), it.fresh("no model").encode() * 10)
    it.upload("outside", models.with_external_data(f"../{it.fresh('a path')}"))
    it.upload("bundle", b"BLINDAI-MODEL-BUNDLE-1\n" + struct.pack(">Q", 64) + it.fresh("files").encode() * 2)
    digest = (
        f"sha-256=:{base64.b64encode(it.canaries.raw('a digest', it.fresh('digest').encode())).decode()}:"
    )
    it.upload("digest", models.mlp(), **{"Content-Digest": digest})
    it.upload("digest", models.mlp(), **{"Content-Digest": it.fresh("digest")})
    it.upload(f"Not-A-Name-{it.fresh('invalid name')}", models.mlp())
    it.upload(urllib.parse.quote(f"../{it.canaries.accented('look-alike name')}", safe=""), models.mlp())
    it.upload("m", models.mlp(), **{"BlindAI-Visibility": it.fresh("visibility")})
    it.upload("m", models.mlp(), **{"BlindAI-Share-With": it.fresh("shared with")})
    for path in ("", f"/versions/{it.fresh('version')}"):
        it.ask("GET", f"/v2/models/{it.fresh('missing model')}{path}")
    sharing = json.dumps({"visibility": it.fresh("visibility"), it.fresh("member"): it.fresh("member")})
    it.ask("POST", "/v2/repository/models/doubles/sharing", sharing)
    accepted = {"BlindAI-Accept-Model-SHA256": it.canaries.digest("an accepted model")}
    it.ask("POST", "/v2/models/doubles/infer", b"{}", **accepted)
    it.ask("POST", "/v2/models/doubles/infer", b"{}", **{"BlindAI-Accept-Model-SHA256": it.fresh("accepted")})
    it.ask("POST", "/v2/models/doubles/infer", b"{}", **{"BlindAI-Receipt-Salt": it.fresh("bad salt")})


def _callers(it: Provoker) -> None:
    """Everybody who may not, and every way to fail to say who one is."""
    key = it.canaries.known("an unknown API key", f"blindai_{it.fresh('unknown key')}")
    expired, foreign = it.token(exp=int(time.time()) - 1), it.token(role=it.fresh("role"))
    for credential in (
        f"Bearer {key}",
        f"Bearer {expired}",
        f"Bearer {foreign}",
        f"Bearer {it.token(aud=it.fresh('audience'))}",
        f"Bearer {it.token(namespace=it.canaries.accented('bad namespace'))}",
        f"Bearer {it.token()[:-8]}",
        f"Basic {base64.b64encode(it.fresh('password').encode()).decode()}",
        it.fresh("no scheme"),
    ):
        it.ask("GET", "/v2/caller", who=None, Authorization=credential)
    it.ask("GET", f"/v2/models/{it.fresh('model without a key')}", who=None)
    assert it.upload(it.fresh("a bound namespace"), models.mlp(), "false alice").code == "namespace-bound"
    it.upload(it.fresh("a model of a user"), models.mlp(), "user")
    it.upload(f"alice%2F{it.fresh('a model of another')}", models.mlp(), "poor")
    assert it.upload(it.fresh("first of two"), models.mlp(), "poor").status == 201
    it.upload(it.fresh("second of two"), models.mlp(), "poor")
    for _ in range(2):
        it.ask("GET", f"/v2/models/{it.fresh('too often')}", who="hasty")
    fixed = it.server.ready["models"][0]
    it.ask("POST", f"/v2/repository/models/{fixed}/unload", who="admin")
    it.ask("PUT", f"/v2/caller/keys/{it.keys['user']}")  # the key itself in place of its id


def _http(it: Provoker) -> None:
    """What is not HTTP as it should be."""
    it.ask("GET", f"/{it.fresh('path')}/{urllib.parse.quote(it.canaries.accented('path'))}")
    it.ask("DELETE", "/v2/caller")
    it.ask("PROPFIND", f"/v2/models/{it.fresh('model of an odd method')}")
    it.ask("GET", "/.well-known/blindai/attestation")
    it.ask("GET", "/.well-known/blindai/policy")
    it.ask("POST", "/v2/models/doubles/infer", b"{}", **{"Content-Encoding": it.fresh("coding")})
    it.ask("GET", "/v2", **{"X-Long": it.fresh("long header") * 2000})
    host, line = raw.HOST, lambda what: it.fresh(what).encode()
    key = b"Authorization: Bearer " + it.keys["alice"].encode() + b"\r\n"
    it.raw(line("method").upper() + b" /v2 HTTP/1.1\r\n" + host + b"\r\n")
    it.raw(b"GET /" + line("path") + b" HTTP/9.9\r\n" + host + b"\r\n")
    it.raw(b"GET /v2 HTTP/1.1\r\n" + host + key + b"bad " + line("header") + b" : x\r\n\r\n")
    it.raw(
        b"GET /v2 HTTP/1.1\r\n" + host + b"Upgrade: " + line("upgrade") + b"\r\nConnection: upgrade\r\n\r\n"
    )
    it.raw(b"POST /v2 HTTP/1.1\r\n" + host + b"Transfer-Encoding: " + line("coding") + b"\r\n\r\n")
    it.raw(b"POST /v2 HTTP/1.1\r\n" + host + b"Content-Length: " + line("length") + b"\r\n\r\n")
    chunked = (
        b"POST /v2/models/doubles/infer HTTP/1.1\r\n" + host + key + b"Transfer-Encoding: chunked\r\n\r\n"
    )
    it.raw(chunked + b"5;" + line("extension") + b"\r\nabc" + line("chunk"))
    it.raw(chunked + b"zz" + line("size") + b"\r\n")
    it.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + line("frames"))
    it.raw(b"\x16\x03\x01" + line("records"))
    with it.server.connect() as gone:  # who leaves in the middle
        body = b"Content-Length: 90000\r\n\r\n" + line("half a body")
        gone.sendall(b"POST /v2/models/doubles/infer HTTP/1.1\r\n" + host + key + body)


def _tls(it: Provoker) -> None:
    """What is not TLS, or not to this server."""
    with socket.create_connection(("127.0.0.1", it.server.port)) as plain:
        plain.sendall(b"GET /" + it.fresh("plain").encode() + b" HTTP/1.1\r\n\r\n")
        plain.settimeout(10)
        with contextlib.suppress(OSError):
            plain.recv(1000)
    context = it.server.tls_context()
    context.check_hostname = False
    context.set_alpn_protocols([it.fresh("protocol")])
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", it.server.port)) as sock:
        context.wrap_socket(sock, server_hostname=f"{it.fresh('server name')}.example.org").close()


def _limits(it: Provoker) -> None:
    """More than the server takes."""
    it.ask("POST", "/v2/models/doubles/infer", it.fresh("a long body").encode() * 40_000)
    key = b"Authorization: Bearer " + it.keys["alice"].encode()
    name = it.fresh("a large model").encode()
    for length in (65 * MIB, 129 * MIB):
        head = b"PUT /v2/repository/models/" + name + b" HTTP/1.1\r\n" + raw.HOST + key
        it.raw(head + b"\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % length)


def _busy(it: Provoker) -> None:
    """Two uploads of one caller at a time."""
    with half_upload(it):
        deadline = time.monotonic() + 30
        while it.upload(it.fresh("the second upload"), models.mlp()).status != 429:
            assert time.monotonic() < deadline


@contextlib.contextmanager
def half_upload(it: Provoker) -> Iterator[None]:
    """An upload of which a good part has arrived, and no more comes."""
    key = b"Authorization: Bearer " + it.keys["alice"].encode() + b"\r\n"
    path = b"/v2/repository/models/" + it.fresh("name of half a model").encode()
    head = b"PUT " + path + b" HTTP/1.1\r\n" + raw.HOST + key + b"Content-Length: 8000000\r\n\r\n"
    with it.server.connect() as connection:
        connection.sendall(head + it.fresh("half a model").encode() * 100_000)
        yield


def _damage(it: Provoker, store: Path) -> None:
    """A stored model whose file was changed."""
    before = set(store.iterdir())
    name = it.fresh("a model to be damaged")
    assert it.upload(name, secret_model(it.canaries, "a model to be damaged")).status == 201
    it.ask("POST", f"/v2/repository/models/{name}/unload")
    (file,) = (path for path in set(store.iterdir()) - before if path.suffix == ".model")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert it.infer(name, it.secret_tensor("x")).code == "model-damaged"
    assert it.ask("DELETE", f"/v2/repository/models/{name}").status == 200


def _break(it: Provoker) -> None:
    """No file can be opened; then, no memory can be had. The machine is at fault, and the server goes on."""
    pid = it.server.pid
    with it.server.http() as connection:
        exchange(connection, "GET", "/v2")
        with limited(pid, resource.RLIMIT_NOFILE, lambda: 3):
            path = f"/v2/repository/models/{it.fresh('no files')}"
            reply = exchange(connection, "PUT", path, models.mlp(), it.headers())
    assert it._kept(reply).code == "storage-unavailable"
    large = secret_model(it.canaries, "a model for which there is no memory") + bytes(48 * MIB)
    with limited(pid, resource.RLIMIT_AS, lambda: _virtual_bytes(pid) + 24 * MIB):
        assert it.upload(it.fresh("no memory"), large).code == "internal"


def _virtual_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


@contextlib.contextmanager
def limited(pid: int, what: int, limit: Callable[[], int]) -> Iterator[None]:
    """Another process's soft limit, for a moment."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (limit(), before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


def provoke_narrow(it: Provoker) -> None:
    """What needs a server that takes no uploads and has no patience: `NARROW`."""
    it.upload(it.fresh("no uploads"), models.mlp())
    _crowd(it)
    key = b"Authorization: Bearer " + it.keys["alice"].encode() + b"\r\n"
    model = it.server.ready["models"][0].encode()
    head = b"POST /v2/models/" + model + b"/infer HTTP/1.1\r\n" + raw.HOST + key
    it.raw(head + b"Content-Length: 90000\r\n\r\n" + it.fresh("a slow body").encode())
    it.raw(b"GET /v2?" + it.fresh("a slow header").encode())


def _crowd(it: Provoker) -> None:
    """More clients at a time than may wait for evidence."""
    nonce = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")
    deadline = time.monotonic() + 60
    while "attestation-unavailable" not in it.codes:
        assert time.monotonic() < deadline
        with ThreadPoolExecutor(8) as crowd:
            list(crowd.map(it.ask, ["GET"] * 8, [f"/.well-known/blindai/attestation?nonce={nonce}"] * 8))
