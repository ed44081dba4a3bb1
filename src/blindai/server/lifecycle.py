"""From settings to a running server, and to its orderly end.

1. the environment and the process are fit to hold keys
2. callers, or the word that there are none
3. an attester: the TEE's, or the simulated one
4. the store is opened and checked, the models of the start are loaded
5. keys, keyset, certificate: the identity, in memory only
6. the port opens, and `announce` is called
7. before the keyset ends, new keys take over for new connections
8. SIGTERM, SIGINT or SIGHUP: the port closes, running requests finish, the process ends with code 0
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import blindai
from blindai.attestation.appraisal import CLOCK_SKEW_SECONDS
from blindai.channel.keyset import Software
from blindai.server import environment
from blindai.server.hardening import harden
from blindai.server.identity import Identities, Identity, new_identity
from blindai.server.listener import Listener, bind
from blindai.server.promises import promises
from blindai.server.published import published_policy
from blindai.server.services import Services
from blindai.server.settings import Settings
from blindai.server.storing import opened_store
from blindai.server.watch.logs import configure, install_hooks
from blindai.server.watching import Watching
from blindai.server.who_may import known_callers, told
from blindai.tee.detect import detect, no_attester
from blindai.tee.measurement import policy_toml, simulated_measurements, source_sha256
from blindai.tee.simulated import SimulatedTdx

_log = logging.getLogger("blindai.server")


@dataclass(frozen=True)
class Ready:
    """What there is to tell once the port is open. The last three are of a simulated TEE only.

    `models` are those of the start; what others keep here is counted, if there is a store. `callers` says who
    may call, "" for everybody; `metrics` is host:port, if served.
    """

    host: str
    port: int
    names: tuple[str, ...]
    models: tuple[str, ...]
    tee: str
    simulated: bool
    certificate_pem: str
    stored_models: int | None
    callers: str
    metrics: str | None
    root_pem: str | None
    root_sha256: str | None
    policy: str | None


@dataclass(frozen=True)
class Ending:
    """How serving ended: by a second SIGINT, or with a call that did not return in time."""

    forced: bool
    abandoned_a_call: bool


def run(settings: Settings, *, announce: Callable[[Ready], None]) -> int:
    """Serve until a signal ends it; return the exit code: 0, or 1 if a second SIGINT cut it short.

    Raises UsageError or StoreError for what keeps it from starting.
    """
    if not settings.simulation:
        raise no_attester(detect())
    environment.check(os.environ, simulation=settings.simulation)
    configure(settings.log_format, settings.log_level)
    install_hooks()
    for warning in harden(settings.simulation):
        _log.warning("%s", warning)
    # Until the listener has its own. Without one, the first process of a container ignores SIGTERM, and
    # asyncio would put off Ctrl-C until the models are loaded.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        # Connections in the middle of a handshake are still open when the loop closes. uvloop warns of them,
        # and where warnings are errors its close would never end.
        with warnings.catch_warnings(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            ending = runner.run(serve(settings, announce=announce))
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


async def serve(settings: Settings, *, announce: Callable[[Ready], None]) -> Ending:
    """Serve until a signal. See `run`, which ends the process as the `Ending` needs."""
    now = int(time.time())
    names = settings.dialled_names()
    callers = known_callers(settings, names)
    source = source_sha256()
    attester = SimulatedTdx(now=now, measurements=simulated_measurements(source))
    policy = published_policy(settings)
    with contextlib.ExitStack() as closing:
        store, sealing = closing.enter_context(opened_store(settings))
        services = Services(settings, attester, store, sealing=sealing)
        closing.callback(services.close)
        services.load_models()
        fresh_identity = functools.partial(
            new_identity,
            names,
            life_seconds=settings.keyset_life_seconds,
            software=Software(blindai.__version__, source),
            settings=promises(settings, sealing=sealing, environment=os.environ),
            simulated=attester.simulated,
        )
        identities = Identities(fresh_identity(now=now))
        sock = bind(settings.host, settings.port)
        closing.callback(sock.close)
        routes = services.routes(policy)
        watching = closing.enter_context(
            Watching(settings, services, identities, [route.pattern for route in routes], attester)
        )
        listener = Listener(services.app(routes, callers, watching.watch), identities, settings)
        watching.connections = listener.connections
        ready = Ready(
            host=settings.host,
            port=sock.getsockname()[1],
            names=names,
            models=services.startup_models,
            tee=attester.tee,
            simulated=attester.simulated,
            certificate_pem=identities.current.certificate_pem,
            stored_models=services.stored_models,
            callers=told(settings),
            metrics=watching.address,
            root_pem=attester.root_pem,
            root_sha256=attester.root_sha256,
            policy=policy_toml(attester.measurements),
        )
        upkeep = services.upkeep()
        tasks = [
            asyncio.create_task(_renew(identities, fresh_identity, settings.keyset_life_seconds)),
            asyncio.create_task(upkeep.run()),
        ]
        try:
            in_order = await listener.serve_on(sock, started=lambda: announce(ready))
            upkeep.once()
            return Ending(forced=not in_order, abandoned_a_call=services.running)
        finally:
            for task in tasks:
                task.cancel()


async def _renew(identities: Identities, fresh: Callable[..., Identity], life_seconds: int) -> None:
    """Make new keys when a quarter of a keyset's life is left: no client ever meets one that has ended.

    By the wall clock, which keysets are dated in, and in short steps: the machine may have slept.
    """
    while True:
        await asyncio.sleep(min(60.0, life_seconds / 16))
        now = int(time.time())
        ends = identities.current.not_after
        set_back = now < ends - life_seconds - CLOCK_SKEW_SECONDS  # the keyset would seem not to have begun
        if now >= ends - life_seconds / 4 or set_back:
            try:
                identities.renew(fresh(now=now), now=now)
            except Exception as exc:  # noqa: BLE001 - whatever it is, without new keys no client comes back
                # File descriptors may have run out for a moment; a quarter of the life is left to try again.
                _log.error("no new keys: %s; trying again", type(exc).__name__)  # noqa: TRY400 - no contents
            else:
                _log.info("new keys and a new keyset; connections made before keep theirs")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - optional: the server runs without it, more slowly
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
