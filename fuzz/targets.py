"""What is fuzzed. A target is a function from bytes that ends in a value or in one of its own errors.

Adding one is adding a line: the function, valid samples to start from, what the bytes are made of, and its
share of the executions. What is slow gets a small share; `fuzz.cases` holds functions that need a scene.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fuzz.mutations import BINARY, JSON, TEXT


@dataclass(frozen=True)
class Target:
    """`function` and `samples` are `module:name`, imported when needed: the former is measured, and one that
    does not import leaves the others alone.

    `errors` are those of `blindai.errors` that the function says it raises; `documented` are others.
    """

    function: str
    samples: str
    shape: str
    share: int
    max_bytes: int = 64 * 1024
    documented: tuple[type[Exception], ...] = ()
    errors: tuple[str, ...] = ("AttestationError", "UsageError")

    def load(self) -> tuple[Callable[[bytes], Any], list[bytes]]:
        return named(self.function), named(self.samples)()


def named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


SLICES = "blindai.attestation"
CHANNEL, STORE = ("AttestationError",), ("StoreError",)
TARGETS = {
    "base64url": Target("fuzz.cases:base64url", "fuzz.samples:texts", TEXT, 6, 4096, (ValueError,)),
    "strict-json": Target("fuzz.cases:strict_json", "fuzz.samples:objects", JSON, 16, 8192, (ValueError,)),
    "strict-cbor": Target("fuzz.cases:strict_cbor", "fuzz.samples:items", BINARY, 16, 8192, (ValueError,)),
    "keyset": Target("blindai.channel.keyset:parse", "fuzz.samples:keysets", JSON, 16, 20 * 1024),
    "challenge": Target("fuzz.cases:challenge", "fuzz.samples:challenges", JSON, 10, 8192),
    "answer": Target("blindai.channel.answer:parse", "fuzz.samples:answers", JSON, 10),
    "bundle": Target("fuzz.cases:bundle", "fuzz.samples:bundles", JSON, 6),
    "policy": Target("fuzz.cases:policy", "fuzz.samples:policies", TEXT, 8, 8192),
    "certificate": Target("fuzz.cases:certificate", "fuzz.samples:certificates", BINARY, 8, 4096),
    "operator": Target("fuzz.cases:operator", "fuzz.samples:certificates", BINARY, 8, 4096),
    "tdx-quote": Target(f"{SLICES}.intel.quote:parse_tdx", "fuzz.samples:tdx_quotes", BINARY, 14),
    "sgx-quote": Target(f"{SLICES}.intel.quote:parse_sgx", "fuzz.samples:sgx_quotes", BINARY, 14),
    "event-log": Target(f"{SLICES}.intel.event_log:parse", "fuzz.samples:event_logs", BINARY, 14),
    "snp-report": Target(f"{SLICES}.amd.report:parse", "fuzz.samples:snp_reports", BINARY, 14),
    "nitro-document": Target(f"{SLICES}.aws.document:parse", "fuzz.samples:nitro_documents", BINARY, 14),
    "intel-collateral": Target("fuzz.cases:intel_collateral", "fuzz.samples:intel_collaterals", JSON, 4),
    "amd-collateral": Target("fuzz.cases:amd_collateral", "fuzz.samples:amd_collaterals", JSON, 4),
    "verify-tdx": Target("fuzz.cases:verify", "fuzz.samples:tdx_pieces", JSON, 3),
    "verify-sgx": Target("fuzz.cases:verify", "fuzz.samples:sgx_pieces", JSON, 3),
    "verify-snp": Target("fuzz.cases:verify", "fuzz.samples:snp_pieces", JSON, 3),
    "verify-nitro": Target("fuzz.cases:verify", "fuzz.samples:nitro_pieces", JSON, 3),
    "conclude": Target("fuzz.cases:conclude", "fuzz.samples:bundles", JSON, 3),
    "receipt": Target("fuzz.receipts:receipt", "fuzz.receipts:receipt_recipes", JSON, 8, errors=CHANNEL),
    "proof": Target("fuzz.receipts:proof", "fuzz.receipts:proofs", JSON, 3, errors=CHANNEL),
    "authorization": Target(
        "fuzz.callers:authorization", "fuzz.callers:authorizations", JSON, 8, errors=("RequestError",)
    ),
    "jwks": Target("fuzz.callers:jwks", "fuzz.callers:key_files", JSON, 6, 8192, (ValueError,), ()),
    "request-texts": Target(
        "fuzz.requests:request_texts",
        "fuzz.requests:request_recipes",
        JSON,
        8,
        8192,
        errors=("RequestError",),
    ),
    "model-bundle": Target(
        "fuzz.model_files:model_bundle", "fuzz.model_files:model_bundles", JSON, 8, 8192, (ValueError,), ()
    ),
    "onnx-locations": Target(
        "fuzz.model_files:onnx_locations", "fuzz.model_files:onnx_models", BINARY, 8, 4096, (ValueError,), ()
    ),
    "sealed-file": Target("fuzz.stored:sealed_file", "fuzz.stored:sealed_files", JSON, 2, 8192, errors=STORE),
    "catalogue": Target(
        "fuzz.stored:catalogue", "fuzz.stored:stored_catalogues", JSON, 4, 16384, errors=STORE
    ),
    "record": Target("fuzz.stored:record", "fuzz.stored:stored_records", JSON, 3, 8192, (ValueError,), STORE),
    "vtpm-key": Target("fuzz.hardware_keys:vtpm", "fuzz.hardware_keys:vtpm_recipes", JSON, 3, errors=STORE),
    "snp-key": Target(
        "fuzz.hardware_keys:snp", "fuzz.hardware_keys:snp_recipes", JSON, 4, 8192, errors=STORE
    ),
    "nsm": Target("fuzz.devices:nsm", "fuzz.devices:nsm_recipes", JSON, 6, errors=("TeeError",)),
    "gramine": Target("fuzz.devices:gramine", "fuzz.devices:gramine_recipes", JSON, 5, errors=("TeeError",)),
    "certificate-table": Target(
        "fuzz.devices:certificate_table",
        "fuzz.devices:certificate_tables",
        BINARY,
        8,
        16 * 1024,
        (ValueError,),
        (),
    ),
    "settings": Target(
        "fuzz.settings:settings", "fuzz.settings:settings_files", JSON, 3, 8192, errors=("UsageError",)
    ),
}
