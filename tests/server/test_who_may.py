"""When a server may know nobody: in a simulation at home, or because its operator said so, and never else."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from blindai.errors import RequestError, UsageError
from blindai.server.callers.caller import ANONYMOUS, Caller, Quota, Role
from blindai.server.settings import CallerSettings, JwtSettings, Settings
from blindai.server.who_may import is_open, known_callers, told
from blindai.wire.api_key import key_id
from tests.server.callers.issuer import ISSUER, SigningKey, edwards_key, token
from tests.server.house import holder, key_of

NOW = int(time.time())
HOME = ("127.0.0.1", "127.0.0.2", "::1", "localhost")
ABROAD = ("0.0.0.0", "::", "10.1.2.3", "127.0.0.1.example.org", "localhost.example.org", "inference")


@pytest.mark.parametrize("host", HOME)
def test_a_simulation_at_home_knows_nobody(host: str):
    """Whoever is on this machine may try it without a key."""
    settings = Settings(simulation=True, host=host)
    assert known_callers(settings, ["localhost"]).authenticate(None, NOW) == ANONYMOUS
    assert (is_open(settings), told(settings)) == (True, "")


@pytest.mark.parametrize(
    "settings",
    [*({"simulation": True, "host": host} for host in ABROAD), {"host": "127.0.0.1"}, {"host": "10.1.2.3"}],
)
def test_no_other_server_opens_by_itself(settings: dict[str, Any]):
    """A forgotten setting must not let the network in; one that is said, does."""
    with pytest.raises(UsageError, match="no callers are configured") as caught:
        known_callers(Settings(**settings), ["localhost"])
    assert "the settings file (--config)" in caught.value.hint
    assert "--open" in caught.value.hint
    opened = Settings(**settings, open=True)
    assert known_callers(opened, ["localhost"]).authenticate(None, NOW) == ANONYMOUS
    assert is_open(opened)


@pytest.fixture(scope="module")
def signing() -> SigningKey:
    return edwards_key()


@pytest.fixture
def jwt(tmp_path: Path, signing: SigningKey) -> JwtSettings:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [signing.jwk]}))
    return JwtSettings(jwks=str(path), issuer=ISSUER)


@pytest.mark.parametrize("simulation", [True, False])
def test_a_server_with_callers_asks_everybody(jwt: JwtSettings, simulation: bool):
    """Keys or tokens, or both: whoever sends nothing is refused, also in a simulation at home."""
    for known, words in (
        ({"callers": (holder("alice"), holder("bob"))}, "2 with keys"),
        ({"jwt": jwt}, "those with tokens"),
        ({"callers": (holder("alice"),), "jwt": jwt}, "1 with keys and those with tokens"),
    ):
        settings = Settings(simulation=simulation, **known)  # type: ignore[arg-type]
        with pytest.raises(RequestError):
            known_callers(settings, ["localhost"]).authenticate(None, NOW)
        assert (is_open(settings), told(settings)) == (False, words)
        with pytest.raises(UsageError, match="open to everybody, and has callers"):
            known_callers(Settings(simulation=simulation, open=True, **known), ["localhost"])  # type: ignore[arg-type]


def test_what_the_settings_say_of_a_caller():
    """Each number is in its place, and the key is known by its hash."""
    given = CallerSettings("alice", "admin", key_id(key_of("x")), "shelf", 1, 2, 3)
    callers = known_callers(Settings(callers=(given,)), ["localhost"])
    alice = callers.authenticate(f"Bearer {key_of('x')}", NOW)
    assert (alice.name, alice.role, alice.namespace) == ("alice", Role.ADMIN, "shelf")
    assert alice.key_id == key_id(key_of("x"))
    assert alice.quota == Quota(max_models=1, max_model_bytes=2, requests_per_minute=3)


def test_tokens_are_for_a_name_of_this_server(jwt: JwtSettings, signing: SigningKey):
    """The claims that the settings name say role and namespace; the audience is what clients dial, marked."""
    settings = Settings(jwt=JwtSettings(jwt.jwks, jwt.issuer, role_claim="office", namespace_claim="place"))
    callers = known_callers(settings, ["inference.example.org", "127.0.0.1"])
    claims = {
        "iss": ISSUER, "sub": "frank", "exp": NOW + 60,
        "office": "user", "place": "alice", "role": "admin", "namespace": "root",
    }  # fmt: skip

    def caller(audience: str) -> Caller:
        return callers.authenticate(f"Bearer {token(signing, {**claims, 'aud': audience})}", NOW)

    for name in ("inference.example.org", "127.0.0.1"):
        frank = caller(f"blindai:{name}")
        assert (frank.role, frank.namespace) == (Role.USER, "alice")
    # A token for the operator's wiki is not good here, whatever the host calls this server.
    for audience in ("inference.example.org", "blindai:", "blindai:localhost", "blindai:example.org"):
        with pytest.raises(RequestError):
            caller(audience)
