"""Every route, asked by everybody, about everybody's models: only what is meant is allowed.

The table below is a restatement by hand. It shares no code with `server/callers/access.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from blindai.wire.api_key import key_id, new_key
from tests import models
from tests.server.callers.issuer import ISSUER, curve_key, edwards_key, token
from tests.serving import Reply, RunningServer, exchange, running_server, tensor

INPUT = json.dumps({"inputs": [tensor("x", "FP32", [2], [1, 2])]})
KEYS = ("admin", "alice", "bob", "dave", "mallory")
MODELS = ("alice/private", "alice/shared", "alice/public", "alice/missing", "digits")


@dataclass(frozen=True)
class Scene:
    server: RunningServer
    credentials: Mapping[str, str | None]

    def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        credential = self.credentials[who]
        if credential is not None:
            headers["Authorization"] = f"Bearer {credential}"
        with self.server.http() as connection:
            return exchange(connection, method, path, body, headers)

    def put(self, who: str, name: str, visibility: str = "private", shared_with: str = "") -> Reply:
        headers = {"BlindAI-Visibility": visibility}
        if shared_with:
            headers["BlindAI-Share-With"] = shared_with
        return self.ask(who, "PUT", repository(name), models.identity(), **headers)

    def restore(self) -> None:
        """Put alice's models back as they were."""
        bob = key_id(self.credentials["bob"] or "")
        self.put("alice", "alice/private")
        self.put("alice", "alice/shared", "shared", bob)
        self.put("alice", "alice/public", "public")
        self.ask("alice", "DELETE", repository("alice/missing"))


def repository(name: str) -> str:
    return f"/v2/repository/models/{name.replace('/', '%2F')}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("callers")
    model = folder / "digits.onnx"
    model.write_bytes(models.identity())
    signing, foreign = edwards_key("first"), curve_key("first")
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [signing.jwk]}))
    keys = {name: new_key(lambda count, name=name: (name.encode() * count)[:count]) for name in KEYS}
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": "frank",
        "aud": "blindai:localhost",
        "exp": now + 3600,
        "role": "owner",
        "namespace": "frank",
    }
    credentials: dict[str, str | None] = {
        **keys,
        "frank": token(signing, claims),
        "nobody": None,
        "unknown key": new_key(lambda count: b"?" * count),
        "expired": token(signing, {**claims, "exp": now - 1}),
        "forged": token(foreign, {**claims, "role": "admin"}),
        "bare audience": token(signing, {**claims, "aud": "localhost"}),
        "other audience": token(signing, {**claims, "aud": "blindai:elsewhere.example.org"}),
        # The host wrote a second alice into the settings. Her namespace was bound before.
        "false alice": keys["mallory"],
    }
    del credentials["mallory"]
    callers = [
        {"name": "root", "role": "admin", "key_sha256": key_id(keys["admin"])},
        {"name": "alice", "role": "owner", "key_sha256": key_id(keys["alice"])},
        {"name": "bob", "role": "owner", "key_sha256": key_id(keys["bob"])},
        {"name": "dave", "role": "user", "key_sha256": key_id(keys["dave"])},
        {"name": "alice", "role": "owner", "key_sha256": key_id(keys["mallory"])},
    ]
    with running_server(
        {"digits": model},
        callers=callers,
        jwt={"jwks": str(jwks), "issuer": ISSUER},
        store_path=str(folder / "store"),
        store_key=f"file:{folder / 'sealing.key'}",
    ) as server:
        scene = Scene(server, credentials)
        scene.restore()
        yield scene


STRANGERS = ("nobody", "unknown key", "expired", "forged", "bare audience", "other audience")
KNOWN = ("admin", "alice", "bob", "dave", "frank", "false alice")

# What alice's four models are to each caller: mine, given (to use), office (an admin's), or nothing.
STANDING: Mapping[str, tuple[str, str, str, str]] = {
    #                private    shared     public    missing
    "alice":       ("mine",    "mine",    "mine",   "absent"),
    "bob":         ("nothing", "given",   "given",  "nothing"),
    "dave":        ("nothing", "nothing", "given",  "nothing"),
    "frank":       ("nothing", "nothing", "given",  "nothing"),
    "false alice": ("nothing", "nothing", "given",  "nothing"),
    "admin":       ("office",  "office",  "both",   "nothing"),
}  # fmt: skip

#             mine given office both nothing absent
EXPECTED: Mapping[str, tuple[int, int, int, int, int, int]] = {
    "describe": (200, 200, 403, 200, 404, 404),
    "version":  (200, 200, 403, 200, 404, 404),
    "ready":    (200, 200, 200, 200, 404, 404),
    "infer":    (200, 200, 403, 200, 404, 404),
    "upload":   (200, 403, 403, 403, 403, 201),
    "share":    (200, 403, 403, 403, 404, 404),
    "load":     (200, 403, 200, 200, 404, 404),
    "unload":   (200, 403, 200, 200, 404, 404),
    "delete":   (200, 403, 200, 200, 404, 404),
}  # fmt: skip
STANDINGS = ("mine", "given", "office", "both", "nothing", "absent")


def request_of(action: str, name: str) -> tuple[str, str, Any]:
    model = f"/v2/models/{name.replace('/', '%2F')}"
    sharing = json.dumps({"visibility": "private", "shared_with": []})
    requests: dict[str, tuple[str, str, Any]] = {
        "describe": ("GET", model, None),
        "version": ("GET", f"{model}/versions/1", None),
        "ready": ("GET", f"{model}/ready", None),
        "infer": ("POST", f"{model}/infer", INPUT),
        "upload": ("PUT", repository(name), models.identity()),
        "share": ("POST", f"{repository(name)}/sharing", sharing),
        "load": ("POST", f"{repository(name)}/load", None),
        "unload": ("POST", f"{repository(name)}/unload", None),
        "delete": ("DELETE", repository(name), None),
    }
    return requests[action]


@pytest.mark.parametrize("action", EXPECTED)
@pytest.mark.parametrize("who", KNOWN)
def test_callers_may_do_what_the_table_says_and_nothing_else(scene: Scene, who: str, action: str):
    """Every known caller gets, for each of alice's models, exactly the status that is written down."""
    for name, standing in zip(MODELS, STANDING[who], strict=False):
        reply = scene.ask(who, *request_of(action, name))
        assert reply.status == EXPECTED[action][STANDINGS.index(standing)], (name, standing, reply.body)
        if reply.status in (200, 201) and action in ("upload", "share", "delete"):
            scene.restore()


@pytest.mark.parametrize("action", EXPECTED)
@pytest.mark.parametrize("who", STRANGERS)
def test_whoever_is_not_known_gets_nothing(scene: Scene, who: str, action: str):
    """Without a good key or token every model is refused alike, the server's own included."""
    answers = set()
    for name in MODELS:
        reply = scene.ask(who, *request_of(action, name))
        assert (reply.status, reply.code) == (401, "unauthenticated")
        assert reply.headers["www-authenticate"] == "Bearer"
        answers.add(reply.body)
    assert len(answers) == 1


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/index"),
        ("GET", "/v2/caller"),
        ("PUT", f"/v2/caller/keys/{'0' * 64}"),
        ("DELETE", f"/v2/caller/keys/{'0' * 64}"),
    ],
)
def test_the_other_routes_ask_who_is_there_too(scene: Scene, who: str, method: str, path: str):
    """The index and the routes about callers are closed to whoever is not known."""
    assert scene.ask(who, method, path).status == 401


@pytest.mark.parametrize("who", [*STRANGERS, *KNOWN])
@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready"])
def test_what_is_for_everybody_is_for_everybody(scene: Scene, who: str, path: str):
    """Name, health and evidence are open: a client has to verify a server before it shows a key."""
    assert scene.ask(who, "GET", path).status == 200


@pytest.mark.parametrize("who", ["bob", "dave", "frank", "false alice"])
@pytest.mark.parametrize("action", EXPECTED)
def test_a_foreign_private_model_answers_like_one_that_does_not_exist(scene: Scene, who: str, action: str):
    """Status, headers and body are the same, byte by byte, but for the date and the request's id."""

    def told(name: str) -> tuple[int, dict[str, str], bytes]:
        reply = scene.ask(who, *request_of(action, name))
        varying = ("date", "x-request-id")
        return reply.status, {k: v for k, v in reply.headers.items() if k not in varying}, reply.body

    assert told("alice/private") == told("alice/missing")


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        ("alice", {"alice/private", "alice/shared", "alice/public", "digits"}),
        ("bob", {"alice/shared", "alice/public", "digits"}),
        ("dave", {"alice/public", "digits"}),
        ("frank", {"alice/public", "digits"}),
        ("false alice", {"alice/public", "digits"}),
        ("admin", {"alice/private", "alice/shared", "alice/public", "digits"}),
    ],
)
def test_the_index_lists_what_its_reader_may_know_of(scene: Scene, who: str, seen: set[str]):
    """The list of models is another one for each caller."""
    reply = scene.ask(who, "POST", "/v2/repository/index")
    assert {entry["name"] for entry in reply.json()} == seen


@pytest.mark.parametrize("who", KNOWN)
@pytest.mark.parametrize("action", ["describe", "infer", "delete", "share"])
def test_the_servers_own_model_is_for_all_to_use_and_for_nobody_to_change(
    scene: Scene, who: str, action: str
):
    """A model of the start is public here, and goes with the server only."""
    changed = 409 if who == "admin" else 403
    status = 200 if action in ("describe", "infer") else changed
    assert scene.ask(who, *request_of(action, "digits")).status == status


@pytest.mark.parametrize("slash", ["/", "%2F", "%2f"])
def test_both_spellings_of_a_name_are_one_model(scene: Scene, slash: str):
    """Clients that do not encode the slash of a name reach the same model, under the same rules."""
    path = f"/v2/models/alice{slash}private/infer"
    assert scene.ask("alice", "POST", path, INPUT).status == 200
    assert scene.ask("bob", "POST", path, INPUT).status == 404


def test_a_short_name_is_ones_own_model_before_the_servers(scene: Scene):
    """`digits` means alice's digits to alice once she has some, and the server's to everybody else."""
    assert scene.put("alice", "digits").json()["name"] == "alice/digits"
    try:
        assert scene.ask("alice", "GET", "/v2/models/digits").json()["name"] == "alice/digits"
        assert scene.ask("bob", "GET", "/v2/models/digits").json()["name"] == "digits"
    finally:
        assert scene.ask("alice", "DELETE", repository("alice/digits")).status == 200


def test_a_namespace_is_its_first_keys_whatever_the_settings_say(scene: Scene):
    """A second alice in the settings may neither upload as alice nor let herself in."""
    reply = scene.put("false alice", "trojan")
    assert (reply.status, reply.code) == (403, "namespace-bound")
    own = key_id(scene.credentials["false alice"] or "")
    reply = scene.ask("false alice", "PUT", f"/v2/caller/keys/{own}")
    assert (reply.status, reply.code) == (403, "namespace-bound")
    assert scene.ask("false alice", "GET", "/v2/caller").json()["models"] == 0


def test_the_holder_of_a_namespace_lets_another_key_in_and_out(scene: Scene):
    """A key that the owner invites and that comes is alice, until it is removed; the last key stays."""
    other = key_id(scene.credentials["false alice"] or "")
    assert scene.ask("alice", "PUT", f"/v2/caller/keys/{other}").status == 200
    assert scene.ask("false alice", *request_of("infer", "alice/private")).status == 404
    assert scene.ask("false alice", "PUT", f"/v2/caller/keys/{other}").status == 200
    assert scene.ask("false alice", *request_of("infer", "alice/private")).status == 200
    assert scene.ask("alice", "DELETE", f"/v2/caller/keys/{other}").status == 200
    assert scene.ask("false alice", *request_of("infer", "alice/private")).status == 404
    own = key_id(scene.credentials["alice"] or "")
    assert scene.ask("alice", "DELETE", f"/v2/caller/keys/{own}").status == 403


@pytest.mark.parametrize("who", ["bob", "dave", "frank", "admin"])
@pytest.mark.parametrize("name", ["alice/new", "nobody/new"])
def test_nobody_uploads_into_a_namespace_that_is_not_theirs(scene: Scene, who: str, name: str):
    """Neither another's namespace nor a free one takes models from strangers, admins included."""
    assert scene.put(who, name).status == 403


def test_an_admin_puts_models_on_the_servers_own_shelf(scene: Scene):
    """Names without a namespace are the admin's to give; owners land in their own, users nowhere."""
    assert scene.put("admin", "house", "public").json()["name"] == "house"
    assert scene.ask("dave", *request_of("infer", "house")).status == 200
    assert scene.ask("admin", "DELETE", repository("house")).status == 200
    assert scene.put("dave", "house").status == 403
