"""Names that would be paths, end early, or look like others: no route takes them, and no disk shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blindai.wire.api_key import new_key
from tests.server.raw import CLOSE, HOST, parse, read_to_end
from tests.serving import Reply, RunningServer
from tests.system.deployment import Deployment
from tests.system.weights import Weights

MODEL = Weights("model", 100)
KEY = new_key(lambda count: b"k" * count)

# As they stand in a request line, byte for byte.
NAMES = {
    "parent": b"../escaped",
    "parent, its slash encoded": b"..%2Fescaped",
    "parent, encoded": b"%2e%2e%2fescaped",
    "parent, encoded twice": b"%252e%252e%252fescaped",
    "many parents": b"..%2f" * 12 + b"tmp%2Fescaped",
    "parent in the middle": b"alice%2F..%2F..%2Fescaped",
    "parent behind a name": b"alice/../../escaped",
    "dots": b"..",
    "dot": b".",
    "dots in a name": b"a..b",
    "hidden": b".escaped",
    "absolute": b"%2Ftmp%2Fescaped",
    "absolute, two slashes": b"//tmp/escaped",
    "backslashes": b"..%5Cescaped",
    "backslashes, bare": b"..\\escaped",
    "drive": b"C:%5Cescaped",
    "NUL at the end": b"model%00",
    "NUL in the middle": b"model%00.onnx",
    "NUL, bare": b"mod\x00el",
    "newline": b"model%0a",
    "carriage return and newline": b"model%0d%0aX-Injected:%20yes",
    "escape sequence": b"%1b[31mmodel",
    "space": b"%20model",
    "empty": b"",
    "empty namespace": b"%2Fmodel",
    "empty name": b"alice%2F",
    "three parts": b"alice%2Fa%2Fb",
    "overlong": b"a" * 129,
    "very overlong": b"a" * 20_000,
    "overlong for a file": b"a" * 256,
    "overlong namespace": b"a" * 65 + b"%2Fmodel",
    "upper case": b"MODEL",
    "Cyrillic o": "m\u043edel".encode(),
    "Cyrillic o, encoded": b"m%D0%BEdel",
    "full width": b"%EF%BD%8D%EF%BD%8F%EF%BD%84%EF%BD%85%EF%BD%8C",
    "full width dots": b"%EF%BC%8E%EF%BC%8E%2Fescaped",
    "one dot leader": b"%E2%80%A4%E2%80%A4%2Fescaped",
    "division slash": b"alice%E2%88%95model",
    "full width slash": b"..%EF%BC%8Fescaped",
    "zero width space": b"mo%E2%80%8Bdel",
    "right to left override": b"%E2%80%AEledom",
    "combining accent": b"mode%CC%81l",
    "long s": b"%C5%BFmodel",
    "Kelvin sign": b"%E2%84%AA",
    "dotless i": b"d%C4%B1gits",
    "overlong UTF-8 slash": b"..%C0%AFescaped",
    "overlong UTF-8 dot": b"%C0%AE%C0%AE%2Fescaped",
    "overlong UTF-8 NUL": b"model%C0%80",
    "not UTF-8": b"%FFmodel",
    "surrogate": b"%ED%A0%80model",
    "percent and nothing": b"model%",
    "percent and rubbish": b"model%zz",
    "plus": b"mod+el",
    "format": b"%25s%25n",
    "template": b"{model}",
    "shell": b"$(touch%20escaped)",
    "glob": b"*",
    "home": b"~",
    "a file of the store": b"catalogue%2F..%2Fcatalogue",
}
ROUTES = {
    "describe": (b"GET", b"/v2/models/%s"),
    "describe a version": (b"GET", b"/v2/models/%s/versions/1"),
    "ready": (b"GET", b"/v2/models/%s/ready"),
    "ready version": (b"GET", b"/v2/models/%s/versions/1/ready"),
    "infer": (b"POST", b"/v2/models/%s/infer"),
    "infer with a version": (b"POST", b"/v2/models/%s/versions/1/infer"),
    "version of the model": (b"GET", b"/v2/models/model/versions/%s"),
    "upload": (b"PUT", b"/v2/repository/models/%s"),
    "delete": (b"DELETE", b"/v2/repository/models/%s"),
    "share": (b"POST", b"/v2/repository/models/%s/sharing"),
    "load": (b"POST", b"/v2/repository/models/%s/load"),
    "unload": (b"POST", b"/v2/repository/models/%s/unload"),
    "add a key": (b"PUT", b"/v2/caller/keys/%s"),
    "remove a key": (b"DELETE", b"/v2/caller/keys/%s"),
}
REFUSED = {400, 403, 404, 405, 431}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment(tmp_path_factory.mktemp("names") / "deployment", {"admin": KEY})


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> Iterator[RunningServer]:
    """A server with one model. Its caller may do all, so that nothing but the name is in the way."""
    with deployment.serving() as server:
        path = "/v2/repository/models/model"
        assert server.request("PUT", path, MODEL.content, deployment.credentials("admin")).status == 201
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_none_is_refused_everywhere(deployment: Deployment, server: RunningServer, name: str):
    """Every route refuses it or knows no such model; no file appears or changes, and no header."""
    before = tree(deployment.folder.parent)
    for route, (method, path) in ROUTES.items():
        reply = ask(server, method, path % NAMES[name])
        assert reply.status in REFUSED, (route, reply)
        assert "x-injected" not in reply.headers
        assert b"escaped" not in reply.body
    assert tree(deployment.folder.parent) == before
    assert not Path("/tmp/escaped").exists()  # noqa: S108 - where one of the names leads
    reply = server.request("POST", "/v2/repository/index", None, deployment.credentials("admin"))
    assert [entry["name"] for entry in reply.json()] == ["model"]
    assert "escaped" not in server.log.read_text()


def test_names_at_the_edge_of_the_grammar_are_stored_under_other_names(
    deployment: Deployment, server: RunningServer
):
    """The longest name, and those of files and devices, are models like any; the disk shows none of them."""
    names = ["a" * 128, "catalogue", "con", "nul", "aux.onnx", "0", "a-._", "passing-1", "model.model"]
    headers = deployment.credentials("admin")
    for name in names:
        path = f"/v2/repository/models/{name}"
        assert server.request("PUT", path, MODEL.content, headers).status == 201
    files = {path.name for path in deployment.store.iterdir()}
    assert files & set(names) == {"catalogue"}  # which is the store's own, and not the model
    assert len(files) == 2  # and one file for all models, which have the same owner and bytes
    for name in names:
        path = f"/v2/repository/models/{name}"
        assert server.request("DELETE", path, None, headers).status == 200
    reply = server.request("POST", "/v2/repository/index", None, headers)
    assert [entry["name"] for entry in reply.json()] == ["model"]


def ask(server: RunningServer, method: bytes, path: bytes) -> Reply:
    body = b"" if method == b"GET" else MODEL.content
    head = b"%s %s HTTP/1.1\r\n" % (method, path) + HOST + CLOSE
    head += b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (KEY.encode("ascii"), len(body))
    with server.connect() as connection:
        connection.sendall(head + body)
        reply, *others = parse(read_to_end(connection))
    assert not others
    return reply


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder with its bytes, but for the log."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
        if path.suffix != ".log"
    }
