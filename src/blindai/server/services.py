"""What answers requests: the catalogue, the threads, and the routes over both."""

from __future__ import annotations

import time
from collections.abc import Callable

from blindai.runtime.onnx import OnnxEngine
from blindai.runtime.shelf import Shelf
from blindai.server.callers.directory import Callers
from blindai.server.catalogue.admission import Admission
from blindai.server.catalogue.catalogue import Catalogue
from blindai.server.catalogue.entries import Entries
from blindai.server.catalogue.entry import Entry, ModelLimits
from blindai.server.catalogue.keeping import MemoryKeeping, SealedKeeping
from blindai.server.catalogue.namespaces import Namespaces
from blindai.server.catalogue.room import CatalogueLimits, stored_bytes
from blindai.server.catalogue.startup import load_startup_model
from blindai.server.catalogue.stock import Stock
from blindai.server.evidence.attest import Attestations, QuoteLimits
from blindai.server.evidence.condition import USABLE, Condition, condition
from blindai.server.evidence.machine import Machine
from blindai.server.evidence.stapling.keeper import CollateralState, Keeper
from blindai.server.http.app import App
from blindai.server.http.body import Budget, Pace
from blindai.server.http.gate import Gate
from blindai.server.http.routing import Route, Router
from blindai.server.keys.identity import Identity
from blindai.server.routes.caller import CallerRoutes
from blindai.server.routes.inference import InferenceLimits, InferenceRoutes, Workers
from blindai.server.routes.repository import RepositoryRoutes, RepositoryRules
from blindai.server.routes.service import ServiceRoutes
from blindai.server.settings import ModelSettings, Settings
from blindai.server.threads import BoundedThreads
from blindai.server.upkeep import ServedTime, Upkeep
from blindai.server.uploads import UploadLimits, Uploads
from blindai.server.watch.gauges import Gauge, Gauges
from blindai.server.watch.watch import Watch
from blindai.store.store import Store

_STORE_THREADS = 2


class Services:
    """Everything behind the port. `sealing` names the sealing key, as the keyset does."""

    def __init__(self, settings: Settings, machine: Machine, store: Store | None, *, sealing: str) -> None:
        self.forget: Callable[[str], None] = lambda _: None
        """Told the label of every model that is deleted or replaced."""
        self.keyset_expires: Callable[[], int] = lambda: 0
        """When the current keyset ends: it is made after this."""
        self._settings = settings
        self._store = store
        self._sealing = sealing
        self._engine = OnnxEngine(threads=settings.engine_threads)
        self._shelf = Shelf(max_bytes=settings.max_total_model_bytes)
        self._served = ServedTime(store)
        self._limits = limits = _catalogue_limits(settings)
        keeping = MemoryKeeping() if store is None else SealedKeeping(store)
        self._entries = Entries(Entry(model, limits.model) for model in keeping.models())
        self._namespaces = Namespaces(self._entries, keeping)
        stock = Stock(self._entries, keeping, self._shelf, self._engine, unix_seconds, self._served)
        self._catalogue = Catalogue(stock)
        self._admission = Admission(stock, limits)
        self.attestations = Attestations(
            machine.attester,
            collateral=lambda: None if (now := self.keeper.current) is None else now.collateral,
            limits=QuoteLimits(
                settings.attestation_timeout_seconds,
                settings.max_waiting_attestations,
                settings.quote_interval_seconds,
            ),
            looked_at=lambda evidence: self.keeper.looked_at(evidence),  # noqa: PLW0108 - made below
        )
        self.keeper = Keeper(
            machine.source,
            self.attestations.sample,
            refresh_seconds=settings.collateral_refresh_seconds,
            timeout_seconds=settings.collateral_timeout_seconds,
        )
        self._inference = BoundedThreads(
            "blindai-infer",
            threads=settings.inference_threads,
            max_waiting=settings.max_waiting_inferences,
        )
        self._loading = BoundedThreads("blindai-load", threads=1, max_waiting=settings.max_waiting_loads)
        self._storing = BoundedThreads(
            "blindai-store", threads=_STORE_THREADS, max_waiting=4 * settings.max_uploads
        )

    def load_models(self) -> None:
        """Load the models of the start, and those of the store if that is wanted. Blocks."""
        for given in self._settings.models:
            load_startup_model(
                self._admission,
                self._engine,
                given,
                max_bytes=self._settings.max_model_bytes,
                limits=_model_limits(self._settings, given),
            )
        if self._settings.preload:
            self._catalogue.preload()

    def routes(self, published_policy: bytes | None) -> list[Route]:
        settings = self._settings
        self._about = ServiceRoutes(self.attestations, self.condition, published_policy)
        requests = Budget(max(settings.max_buffered_request_bytes, settings.max_request_bytes))
        uploads = Uploads(
            UploadLimits(
                settings.max_model_bytes,
                settings.max_uploads,
                settings.caller_max_uploads,
                Budget(max(settings.max_buffered_upload_bytes, settings.max_model_bytes)),
            ),
            self._storing,
        )
        return [
            *self._about.routes(),
            *InferenceRoutes(
                self._catalogue,
                Workers(self._inference, self._loading),
                InferenceLimits(settings.max_request_bytes, requests),
            ).routes(),
            *RepositoryRoutes(
                self._catalogue,
                self._admission,
                uploads,
                self._loading,
                RepositoryRules(settings.model_upload, self._sealing, requests, self._forget),
            ).routes(),
            *CallerRoutes(
                self._catalogue,
                self._namespaces,
                uploads,
                self._limits,
                requests_per_minute=settings.caller_requests_per_minute,
            ).routes(),
        ]

    def app(
        self, routes: list[Route], callers: Callers, watch: Watch, *, retired: Callable[[Identity], bool]
    ) -> App:
        """Return the application; `retired` says of which connections the next answer is the last."""
        settings = self._settings
        self._gate = Gate(callers, requests_per_minute=settings.caller_requests_per_minute)
        return App(
            Router(routes),
            self._gate,
            retired=retired,
            pace=Pace(settings.request_read_timeout_seconds, settings.min_body_bytes_per_second),
            linger_seconds=settings.tls_close_seconds,
            engine=self._engine.description,
            finished=watch.finished,
        )

    def replace(self, callers: Callers, published_policy: bytes | None) -> None:
        """Serve others, and show another policy, from now on."""
        self._gate.replace(callers)
        self._about.published_policy = published_policy

    def condition(self) -> Condition:
        return condition(
            self.attestations, self.keeper, keyset_expires=self.keyset_expires(), now=time.time()
        )

    def _forget(self, label: str) -> None:
        self.forget(label)  # whoever wants to be told comes later than the routes

    @property
    def stored_models(self) -> int | None:
        """How many models the store has, None without a store."""
        return None if self._store is None else len(self._store.models())

    @property
    def startup_models(self) -> tuple[str, ...]:
        return tuple(str(entry.record.name) for entry in self._entries.all() if entry.startup)

    def upkeep(self) -> Upkeep:
        return Upkeep(
            self._catalogue,
            self._served,
            self._storing,
            unused_days=self._settings.delete_unused_days,
            forget=self._forget,
        )

    def gauges(self, *, connections: Gauge) -> Gauges:
        """Return where the metrics of this moment come from."""

        def collateral() -> CollateralState:
            return self.keeper.state(unix_seconds())

        return Gauges(
            evidence_age_seconds=self.attestations.evidence_age_seconds,
            evidence_failing=lambda: int(self.attestations.failing),
            quotes_total=lambda: self.attestations.quotes,
            quote_failures_total=lambda: self.attestations.failures,
            challenges_total=lambda: self.attestations.challenges,
            collateral_expires_timestamp_seconds=lambda: collateral().expires,
            collateral_valid=lambda: int(collateral().status in USABLE),
            collateral_problems=lambda: len(collateral().problems),
            keyset_expires_timestamp_seconds=self.keyset_expires,
            queue_waiting=lambda: self._inference.waiting,
            connections=connections,
            models_loaded=lambda: self._shelf.loaded[0],
            model_bytes=lambda: self._shelf.loaded[1],
            stored_bytes=lambda: stored_bytes(self._entries.all()) if self._store else None,
        )

    @property
    def running(self) -> bool:
        """Whether a thread is still inside the engine or the TEE's driver."""
        return self.attestations.running or self._inference.running or self._loading.running

    def close(self) -> None:
        for threads in (self.keeper, self.attestations, self._inference, self._loading, self._storing):
            threads.close()


def unix_seconds() -> int:
    return int(time.time())


def _catalogue_limits(settings: Settings) -> CatalogueLimits:
    return CatalogueLimits(
        max_models=settings.max_models,
        max_stored_bytes=settings.max_stored_bytes,
        caller_max_models=settings.caller_max_models,
        caller_max_model_bytes=settings.caller_max_model_bytes,
        model=ModelLimits(settings.model_requests_per_minute, 0, settings.model_max_waiting),
    )


def _model_limits(settings: Settings, given: ModelSettings) -> ModelLimits:
    return ModelLimits(
        given.requests_per_minute or settings.model_requests_per_minute,
        given.max_request_bytes,
        given.max_waiting or settings.model_max_waiting,
    )
