"""From settings to a running server, and to its orderly end.

1. the environment is fit for a process that holds keys
2. an attester: the TEE's, or the simulated one
3. the models of the start are loaded
4. keys, keyset, certificate: the identity, in memory only
5. the port opens, and `announce` is called
6. before the keyset ends, new keys take over for new connections
7. SIGTERM, SIGINT or SIGHUP: the port closes, running requests finish, the process ends with code 0
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import blindai
from blindai.attestation.policy import Policy
from blindai.channel.keyset import SettingValue, Software
from blindai.errors import PolicyError, RequestError, UsageError
from blindai.runtime.onnx import OnnxEngine
from blindai.runtime.registry import Registry
from blindai.server import environment
from blindai.server.app import App
from blindai.server.attest import Attestations
from blindai.server.body import Budget, Pace
from blindai.server.identity import Identities, Identity, new_identity
from blindai.server.listener import Listener, bind
from blindai.server.routes_inference import InferenceLimits, InferenceRoutes
from blindai.server.routes_repository import RepositoryRoutes, UploadLimits
from blindai.server.routes_service import ServiceRoutes
from blindai.server.routing import Router
from blindai.server.settings import Settings
from blindai.server.threads import BoundedThreads
from blindai.tee.attester import Attester
from blindai.tee.detect import detect, no_attester
from blindai.tee.measurement import policy_toml, simulated_measurements, source_sha256
from blindai.tee.simulated import SimulatedTdx

_log = logging.getLogger("blindai.server")


@dataclass(frozen=True)
class Ready:
    """What there is to tell once the port is open. The last three are of a simulated TEE only."""

    host: str
    port: int
    names: tuple[str, ...]
    models: tuple[str, ...]
    tee: str
    simulated: bool
    certificate_pem: str
    root_pem: str | None
    root_sha256: str | None
    policy: str | None


@dataclass(frozen=True)
class Ending:
    """How serving ended: by a second SIGINT, or with a call that did not return in time."""

    forced: bool
    abandoned_a_call: bool


def run(settings: Settings, *, startup_models: Mapping[str, Path], announce: Callable[[Ready], None]) -> int:
    """Serve until a signal ends it; return the exit code: 0, or 1 if a second SIGINT cut it short.

    `startup_models` maps names to ONNX files. Raises UsageError for what keeps it from starting.
    """
    environment.check(os.environ)
    _log_to_stderr()
    # Until the listener has its own. Without one, the first process of a container ignores SIGTERM, and
    # asyncio would put off Ctrl-C until the models are loaded.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        # Connections in the middle of a handshake are still open when the loop closes. uvloop warns of them,
        # and where warnings are errors its close would never end.
        with warnings.catch_warnings(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            ending = runner.run(serve(settings, startup_models=startup_models, announce=announce))
            warnings.simplefilter("ignore", ResourceWarning)
    except KeyboardInterrupt:  # ended while it was starting
        return 0
    code = 1 if ending.forced else 0
    if ending.abandoned_a_call:
        # Nothing can stop a thread inside the engine, and an ordinary exit would destroy the engine's
        # globals under it, which aborts the process.
        sys.stdout.flush()
        logging.shutdown()
        os._exit(code)
    return code


async def serve(
    settings: Settings, *, startup_models: Mapping[str, Path], announce: Callable[[Ready], None]
) -> Ending:
    """Serve until a signal. See `run`, which ends the process as the `Ending` needs."""
    now = int(time.time())
    names = settings.dialled_names()
    source = source_sha256()
    attester, simulated = _attester(settings, now, source)
    published_policy = _published_policy(settings)
    registry = _load(settings, startup_models)
    fresh_identity = functools.partial(
        new_identity,
        names,
        life_seconds=settings.keyset_life_seconds,
        software=Software(blindai.__version__, source),
        settings=_promises(settings),
        simulated=attester.simulated,
    )
    identity = fresh_identity(now=now)
    identities = Identities(identity)
    sock = bind(settings.host, settings.port)
    services = _Services(settings, attester, registry, published_policy)
    listener = Listener(services.app, identities, settings)
    ready = Ready(
        host=settings.host,
        port=sock.getsockname()[1],
        names=names,
        models=tuple(record.name for record in registry.index()),
        tee=attester.tee,
        simulated=attester.simulated,
        certificate_pem=identity.certificate_pem,
        root_pem=simulated.root_pem if simulated else None,
        root_sha256=simulated.root_sha256 if simulated else None,
        policy=policy_toml(simulated.measurements) if simulated else None,
    )
    renewal = asyncio.create_task(_renew(identities, fresh_identity, settings.keyset_life_seconds))
    try:
        in_order = await listener.serve_on(sock, started=lambda: announce(ready))
        return Ending(forced=not in_order, abandoned_a_call=services.running)
    finally:
        renewal.cancel()
        services.close()


async def _renew(identities: Identities, fresh: Callable[..., Identity], life_seconds: int) -> None:
    """Make new keys when a quarter of a keyset's life is left: no client ever meets one that has ended.

    By the wall clock, which keysets are dated in, and in short steps: the machine may have slept.
    """
    while True:
        await asyncio.sleep(min(60.0, life_seconds / 16))
        now = int(time.time())
        if now >= identities.current.not_after - life_seconds / 4:
            try:
                identities.renew(fresh(now=now), now=now)
            except Exception as exc:  # noqa: BLE001 - whatever it is, without new keys no client comes back
                # File descriptors may have run out for a moment; a quarter of the life is left to try again.
                _log.error("no new keys: %s; trying again", type(exc).__name__)  # noqa: TRY400 - no contents
            else:
                _log.info("new keys and a new keyset; connections made before keep theirs")


class _Services:
    """What answers requests, and the threads that it uses."""

    def __init__(
        self, settings: Settings, attester: Attester, registry: Registry, published_policy: bytes | None
    ) -> None:
        self._attestations = Attestations(
            attester,
            timeout_seconds=settings.attestation_timeout_seconds,
            max_waiting=settings.max_waiting_attestations,
        )
        self._inference = BoundedThreads(
            "blindai-infer",
            threads=settings.inference_threads,
            max_waiting=settings.max_waiting_inferences,
        )
        self._loading = BoundedThreads("blindai-load", threads=1, max_waiting=settings.max_waiting_loads)
        inference_limits = InferenceLimits(
            settings.max_request_bytes,
            Budget(max(settings.max_buffered_request_bytes, settings.max_request_bytes)),
        )
        upload_limits = UploadLimits(
            settings.model_upload,
            settings.max_model_bytes,
            Budget(max(settings.max_buffered_upload_bytes, settings.max_model_bytes)),
        )
        router = Router(
            [
                *ServiceRoutes(self._attestations, published_policy).routes(),
                *InferenceRoutes(registry, self._inference, inference_limits).routes(),
                *RepositoryRoutes(registry, self._loading, upload_limits).routes(),
            ]
        )
        pace = Pace(settings.request_read_timeout_seconds, settings.min_body_bytes_per_second)
        self.app = App(router, pace=pace, linger_seconds=settings.tls_close_seconds)

    @property
    def running(self) -> bool:
        """Whether a thread is still inside the engine or the TEE's driver."""
        return self._attestations.running or self._inference.running or self._loading.running

    def close(self) -> None:
        self._attestations.close()
        self._inference.close()
        self._loading.close()


def _attester(settings: Settings, now: int, source: str) -> tuple[Attester, SimulatedTdx | None]:
    if not settings.simulation:
        raise no_attester(detect())
    simulated = SimulatedTdx(now=now, measurements=simulated_measurements(source))
    return simulated, simulated


def _published_policy(settings: Settings) -> bytes | None:
    """Read the policy to publish, or raise PolicyError: what no client could load helps nobody."""
    if settings.published_policy is None:
        return None
    try:
        text = Path(settings.published_policy).read_bytes()
        Policy.from_toml(text.decode("utf-8"))
    except OSError as exc:
        raise UsageError(f"{settings.published_policy} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise PolicyError(f"the policy is not UTF-8: {settings.published_policy}") from exc
    return text


def _promises(settings: Settings) -> Mapping[str, SettingValue]:
    """What the keyset says of the server's ways; policies can require each of them."""
    return {
        "isolation": "thread",
        "sandbox": "none",
        "model_upload": "open" if settings.model_upload else "off",
        "sealing": ("memory",),
        "telemetry": "none",
    }


def _load(settings: Settings, models: Mapping[str, Path]) -> Registry:
    registry = Registry(
        OnnxEngine(threads=settings.engine_threads),
        max_models=settings.max_models,
        max_total_bytes=settings.max_total_model_bytes,
    )
    for name, path in models.items():
        try:
            if path.stat().st_size > settings.max_model_bytes:
                raise UsageError(f"{path} is over the limit of {settings.max_model_bytes} bytes")
            registry.add(name, path.read_bytes())
        except OSError as exc:
            raise UsageError(f"{path} cannot be read: {exc.strerror}") from exc
        except RequestError as exc:
            raise UsageError(f"{path} cannot be served as {name!r}: {exc}") from exc
    return registry


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - optional: the server runs without it, more slowly
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _log_to_stderr() -> None:
    if _log.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
