"""From a server's error to ours: its own words, and what users of this client can do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from blindai.errors import ServerRefused

# What the server says is for any client of the protocol; this is for users of this one.
_HINTS = {
    "forbidden": "client.caller() (Python) or `blindai keys show HOST` says who the server takes you for",
    "input-dtype": "convert an array, e.g. values.astype(np.float32); Python lists take the model's dtype",
    "input-shape": "-1 stands for any length; client.model(name) shows what the model takes",
    "model-damaged": "upload the model again; its operator should look at the disk below the server",
    "model-not-found": "client.models() lists them, as does `blindai models list`; a private model of "
    "somebody else looks like none",
    "model-invalid": "export the model to ONNX first, e.g. with torch.onnx.export",
    "name-invalid": "give another name: name= (Python), --name (command line)",
    "namespace-bound": "with the key that holds it: client.add_key(KEYID), `blindai keys add HOST KEYID`; "
    "then, if you expected to share it, with yours: client.join_namespace(), `blindai keys join HOST`",
    "quota-exceeded": "delete a model first, or ask the operator for more; client.caller() and `blindai keys "
    "show HOST` show both numbers",
    "rate-limited": "this key has used up its requests for now: wait, or ask the operator for more a minute",
    "sealing-not-accepted": "if you trust what this server seals with, allow it by name: "
    "allow_sealing=('NAME',) (Python), --allow-sealing NAME (command line)",
    "storage-unavailable": "nothing was stored; the server's operator finds the cause in its log",
    "too-large": "limits are the server's: --max-request-mib, --max-model-mib",
    "unauthenticated": "api_key= (Python); $BLINDAI_API_KEY or --api-key-file FILE (command line); "
    "a token may have expired",
}


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> ServerRefused:
    """Return the error of a reply whose status is one; its body need not be what ours look like."""
    message, code = "", ""
    try:
        value = json.loads(body)
        message, code = str(value["error"]), str(value["code"])
    except (ValueError, KeyError, TypeError, RecursionError):
        message = f"the server answered with status {status}"
    retry = headers.get("retry-after", "")
    hint = f"try again in {retry} s" if retry.isdecimal() else _HINTS.get(code, "")
    return ServerRefused(status, code, message, hint=hint)
