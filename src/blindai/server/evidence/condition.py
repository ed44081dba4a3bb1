"""How the server is, as far as clients and balancers need to know: for the health routes and the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blindai.server.evidence.attest import Attestations
from blindai.server.evidence.stapling.keeper import CollateralState, Keeper

USABLE = frozenset({"valid", "ending"})


@dataclass(frozen=True)
class Condition:
    """`ready` says whether a new client could be shown evidence that it can judge. The rest explains it."""

    ready: bool
    evidence: str
    collateral: CollateralState
    keyset_expires: int

    def to_json(self) -> Mapping[str, Any]:
        return {
            "ready": self.ready,
            # Not its age: strangers would see when others connect.
            "evidence": {"status": self.evidence},
            "collateral": {
                "status": self.collateral.status,
                "expires": self.collateral.expires,
                "fetched": self.collateral.fetched,
                # Their number alone: the log's lines name services inside the operator's network.
                "problems": len(self.collateral.problems),
            },
            "keyset": {"expires": self.keyset_expires},
        }


def condition(attestations: Attestations, keeper: Keeper, *, keyset_expires: int, now: float) -> Condition:
    """Return the condition at Unix time `now`.

    Inference on connections that are attested goes on whatever this says.
    """
    state = keeper.state(int(now))
    evidence = "not answering" if attestations.stuck else "failing" if attestations.failing else "ok"
    return Condition(
        # A keyset ends without a successor if the TEE gives no evidence, or its operator's certificate ended.
        ready=evidence == "ok" and state.status in USABLE and now < keyset_expires,
        evidence=evidence,
        collateral=state,
        keyset_expires=keyset_expires,
    )
