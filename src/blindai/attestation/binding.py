"""What the hardware signs: the only place that builds report data (design 4.2).

report_data = SHA-512( label || SHA-256(keyset) || challenge root || D )
D           = SHA-256 over, for each other piece of evidence in order, SHA-256(media type) || SHA-256(value)

Every part has a fixed length, so no two different inputs give the same string to hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from blindai.attestation.types import Evidence

LABEL = b"blindai-attestation-v1\0"


def report_data(*, keyset_sha256: bytes, challenge_root: bytes, others: Sequence[Evidence]) -> bytes:
    """Return the 64 bytes that the primary evidence must carry.

    `others` is all evidence but the primary, in the order of the answer: none can be swapped, dropped
    or added without changing what the primary piece signed.
    """
    if len(keyset_sha256) != 32 or len(challenge_root) != 32:
        raise ValueError("a keyset digest and a challenge root have 32 bytes")
    digest = hashlib.sha256()
    for piece in others:
        digest.update(hashlib.sha256(piece.media_type.encode("utf-8")).digest())
        digest.update(hashlib.sha256(piece.value).digest())
    return hashlib.sha512(LABEL + keyset_sha256 + challenge_root + digest.digest()).digest()
