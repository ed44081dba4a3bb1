"""What a server tells whoever started it, once its port is open."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Self

from blindai.server.evidence.machine import Machine
from blindai.server.keys.identity import Identity
from blindai.server.prepared import Prepared
from blindai.server.services import Services
from blindai.server.settings import Settings
from blindai.server.who_may import told


@dataclass(frozen=True)
class Ready:
    """What there is to tell once the port is open. The last three are of a simulated TEE only.

    `interface` is what evidence is asked through. `operator` says whether an operator's certificate issues
    the server's. `models` are those of the start; what others keep here is counted, if there is a store.
    `callers` says who may call, "" for everybody; `metrics` is host:port, if served.
    """

    host: str
    port: int
    names: tuple[str, ...]
    models: tuple[str, ...]
    tee: str
    interface: str
    simulated: bool
    certificate_pem: str
    operator: bool
    stored_models: int | None
    callers: str
    metrics: str | None
    root_pem: str | None
    root_sha256: str | None
    policy: str | None

    @classmethod
    def of(  # noqa: PLR0913 - everything that is told of
        cls,
        settings: Settings,
        prepared: Prepared,
        machine: Machine,
        services: Services,
        identity: Identity,
        sock: socket.socket,
        metrics: str | None,
    ) -> Self:
        return cls(
            host=settings.host,
            port=sock.getsockname()[1],
            names=prepared.names,
            models=services.startup_models,
            tee=machine.attester.tee,
            interface=machine.interface,
            simulated=machine.attester.simulated,
            certificate_pem=identity.certificate_pem,
            operator=identity.operator_pem is not None,
            stored_models=services.stored_models,
            callers=told(settings),
            metrics=metrics,
            root_pem=machine.root_pem,
            root_sha256=machine.root_sha256,
            policy=machine.policy,
        )
