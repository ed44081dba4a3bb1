"""From settings to a running server, and to its orderly end.

1. the machine: its TEE, or the simulated one
2. the environment and the process are fit to hold keys
3. callers, or the word that there are none; what else the settings name
4. the store is opened and checked, the models of the start are loaded
5. keys, keyset, certificate: the identity, in memory only; evidence for it is seen to come, and collateral
6. the port opens, and `announce` is called
7. before the keyset ends, new keys take over for new connections; SIGHUP reads settings and files again
8. SIGTERM or SIGINT: the port closes, running requests finish, the process ends with code 0
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import blindai
from blindai.channel.challenge import NONCE_BYTES
from blindai.channel.keyset import Software
from blindai.errors import RequestError
from blindai.server import environment
from blindai.server.evidence.machine import Machine, this_machine
from blindai.server.hardening import harden
from blindai.server.http.listener import Listener, bind
from blindai.server.keys.identity import Identities, Identity
from blindai.server.keys.rotation import Rotation
from blindai.server.prepared import Forge, commit, prepare, rotation_period
from blindai.server.promises import promises
from blindai.server.ready import Ready
from blindai.server.reload import Load, Reload
from blindai.server.services import Services
from blindai.server.settings import Settings
from blindai.server.storing import opened_store
from blindai.server.watch.crashes import install_hooks
from blindai.server.watch.logs import configure
from blindai.server.watching import Watching
from blindai.tee.measurement import source_sha256

_log = logging.getLogger("blindai.server")


class FindMachine(Protocol):
    """Finds the machine: `this_machine`, or one with a TEE that a test made."""

    def __call__(self, settings: Settings, *, source_sha256: str, now: int) -> Machine: ...


@dataclass(frozen=True)
class Ending:
    """How serving ended: by a second SIGINT, or with a call that did not return in time."""

    forced: bool
    abandoned_a_call: bool


def run(
    settings: Settings,
    *,
    announce: Callable[[Ready], None],
    load: Load | None = None,
    find_machine: FindMachine = this_machine,
) -> int:
    """Serve until a signal ends it; return the exit code: 0, or 1 if a second SIGINT cut it short.

    `load` reads the settings again, for SIGHUP; without it the same ones stay, and the files that they name
    are read. Raises UsageError, TeeError or StoreError for what keeps it from starting.
    """
    source = source_sha256()
    machine = find_machine(settings, source_sha256=source, now=int(time.time()))
    environment.check(os.environ, simulation=settings.simulation)
    configure(settings.log_format, settings.log_level)
    install_hooks()
    for warning in harden(settings.simulation):
        _log.warning("%s", warning)
    # Until the listener has its own. Without one, the first process of a container ignores SIGTERM, and
    # asyncio would put off Ctrl-C until the models are loaded.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # everything is being read anyway
    try:
        # Connections in the middle of a handshake are still open when the loop closes. uvloop warns of them,
        # and where warnings are errors its close would never end.
        with warnings.catch_warnings(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            software = Software(blindai.__version__, source)
            serving = _serve(settings, announce, load or (lambda: settings), machine, software)
            ending = runner.run(serving)
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


async def _serve(
    settings: Settings, announce: Callable[[Ready], None], load: Load, machine: Machine, software: Software
) -> Ending:
    """Serve until a signal. See `run`, which ends the process as the `Ending` needs."""
    prepared = prepare(settings)
    with contextlib.ExitStack() as closing:
        store, sealing = closing.enter_context(opened_store(settings))
        services = Services(settings, machine, store, sealing=sealing)
        closing.callback(services.close)
        services.load_models()
        promised = promises(settings, sealing=sealing, environment=os.environ)
        forge = Forge(software, promised, simulated=machine.attester.simulated)
        identities = Identities(forge.maker(settings, prepared)(int(time.time())))
        services.keyset_expires = lambda: identities.current.not_after
        await _first_evidence(services, identities.current)
        sock = bind(settings.host, settings.port)
        closing.callback(sock.close)
        routes = services.routes(prepared.published_policy)
        watching = closing.enter_context(
            Watching(settings, services, [route.pattern for route in routes], machine.attester)
        )
        app = services.app(routes, prepared.callers, watching.watch, retired=identities.retired)
        listener = Listener(app, identities, settings)
        watching.connections = listener.connections
        rotation = Rotation(
            identities,
            services.attestations,
            forge.maker(settings, prepared),
            period_seconds=rotation_period(settings),
            cut=listener.cut,
        )

        def apply(wanted: Settings) -> Callable[[], None]:
            return commit(wanted, prepare(wanted), services, rotation, forge)

        ready = Ready.of(settings, prepared, machine, services, identities.current, sock, watching.address)
        upkeep = services.upkeep()
        with _beside(rotation.run(), services.keeper.run(), upkeep.run()):
            reload = Reload(settings, load, apply, rotation.attempt)
            closing.callback(reload.close)
            in_order = await listener.serve_on(sock, started=lambda: announce(ready), reload=reload)
            upkeep.once()
            return Ending(forced=not in_order, abandoned_a_call=services.running)


async def _first_evidence(services: Services, identity: Identity) -> None:
    """See the TEE work before anybody connects. Without collateral the server starts, and says so."""
    await services.attestations.sample()
    await services.keeper.start()
    try:
        await services.attestations.answer(identity, secrets.token_bytes(NONCE_BYTES), ours=True)
    except RequestError as exc:
        _log.error("clients are refused for now: %s", str(exc))  # noqa: TRY400 - a sentence of ours


@contextlib.contextmanager
def _beside(*work: Coroutine[Any, Any, None]) -> Iterator[None]:
    """Do this work until the block ends."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - optional: the server runs without it, more slowly
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
