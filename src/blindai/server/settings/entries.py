"""What stands in the file only: callers, models of the start, and who signs tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from blindai.errors import RequestError, UsageError
from blindai.server.settings.key import about, check_all, keys
from blindai.wire.access import Visibility, is_key_id, sharing
from blindai.wire.model_name import ModelName, check_namespace


@dataclass(frozen=True)
class CallerSettings:
    """Somebody who holds an API key: `blindai keys new` makes one, and prints its hash."""

    name: str = field(
        metadata=about("", "what the caller is called; one who holds several keys has several entries")
    )
    role: str = field(
        metadata=about(
            "",
            "an `owner` uploads models, a `user` runs models, an `admin` keeps the server in order",
            choices=("admin", "owner", "user"),
        )
    )
    key_sha256: str = field(metadata=about("hexadecimal", "SHA-256 of the key, which itself stands nowhere"))
    namespace: str = field(
        default="",
        metadata=about(
            "", "where the caller's models are: `alice/sentiment`", default="`name`; of an admin none"
        ),
    )
    max_models: int = field(
        default=0,
        metadata=about("models", "how many it may have; 0 is `[limits] caller_max_models`", least=0),
    )
    max_model_bytes: int = field(
        default=0,
        metadata=about("bytes", "its models together; 0 is `[limits] caller_max_model_bytes`", least=0),
    )
    requests_per_minute: int = field(
        default=0,
        metadata=about(
            "requests per minute", "what it may ask for; 0 is `[limits] caller_requests_per_minute`", least=0
        ),
    )

    def __post_init__(self) -> None:
        check_all(CALLER_KEYS, self)
        if not is_key_id(self.key_sha256):
            raise UsageError(
                "[callers] key_sha256 must be 64 lower-case hexadecimal digits",
                hint="it is the hash of the key, never the key: blindai keys new prints both",
            )
        if not self.namespace and self.role != "admin":
            object.__setattr__(self, "namespace", self.name)
        for key, text in (("name", self.name), ("namespace", self.namespace or self.name)):
            try:
                check_namespace(text)  # a caller and a namespace are named alike: the one is often the other
            except RequestError as exc:
                raise UsageError(f"[callers] {key} cannot be that: {exc}") from exc


@dataclass(frozen=True)
class ModelSettings:
    """A model that is served from the start. It lies in clear on this machine."""

    path: str = field(metadata=about("file", "an ONNX file", is_path=True))
    name: str = field(
        default="",
        metadata=about(
            "", "what clients call it", default="the file's, in small letters and without its ending"
        ),
    )
    visibility: Visibility = field(
        default=Visibility.PUBLIC,
        metadata=about(
            "",
            "who may describe and run it: every caller, or those that `shared_with` lists",
            choices=(Visibility.PUBLIC, Visibility.SHARED),
        ),
    )
    shared_with: tuple[str, ...] = field(
        default=(), metadata=about("key ids", "who may use a shared model: the `key_sha256` of each")
    )
    requests_per_minute: int = field(
        default=0,
        metadata=about(
            "requests per minute", "what it is asked for; 0 is `[limits] model_requests_per_minute`", least=0
        ),
    )
    max_request_bytes: int = field(
        default=0,
        metadata=about("bytes", "its largest request; 0 is `[limits] max_request_bytes`", least=0),
    )
    max_waiting: int = field(
        default=0,
        metadata=about("requests", "how many wait for it; 0 is `[limits] model_max_waiting`", least=0),
    )

    def __post_init__(self) -> None:
        check_all(MODEL_KEYS, self)
        name = self.name or Path(self.path).stem.lower()
        try:
            parsed = ModelName.parse(name)
        except RequestError as exc:
            raise UsageError(f"[models] name: {self.path} cannot be served as {name!r}: {exc}") from exc
        if parsed.namespace:
            raise UsageError(f"[models] name: {self.path} is the server's own: it has no namespace")
        try:
            shared = sharing(self.visibility, self.shared_with)
        except RequestError as exc:
            raise UsageError(f"[models] shared_with: {exc}") from exc
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "visibility", shared.visibility)
        object.__setattr__(self, "shared_with", shared.shared_with)


@dataclass(frozen=True)
class JwtSettings:
    """Who signs the tokens (JWT) that callers may carry in place of an API key."""

    jwks: str = field(
        metadata=about("file", "the public keys of who signs: a JWKS, ES256 or Ed25519", is_path=True)
    )
    issuer: str = field(metadata=about("", "what the claim `iss` of a token must be"))
    role_claim: str = field(default="role", metadata=about("", "the claim that holds the role"))
    namespace_claim: str = field(
        default="namespace", metadata=about("", "the claim that holds the namespace")
    )


CALLER_KEYS = keys("callers", CallerSettings)
MODEL_KEYS = keys("models", ModelSettings)
JWT_KEYS = keys("jwt", JwtSettings)
# By table; of callers and models there may be several, each a [[table]].
ENTRIES = MappingProxyType({"callers": CALLER_KEYS, "models": MODEL_KEYS, "jwt": JWT_KEYS})
