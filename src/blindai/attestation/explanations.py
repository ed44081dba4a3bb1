"""What each claim of a verdict means: what was checked, against what, and what it does not prove."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from blindai.attestation.verdict import Check, Outcome, Verdict


@dataclass(frozen=True)
class Meaning:
    """`checked` says what was compared with what, `not_proven` what a pass leaves open."""

    checked: str
    not_proven: str


_CODE = "that the code is good: only that it is the code the policy names"
_CHOSEN = Meaning(
    "what whoever launched the guest chose, in the signed report, against the policy; unless named: zero",
    "what the code makes of it",
)
_SIGNER = Meaning(
    "who signed the code or its configuration, in the signed report, against the policy",
    "which code it is: a signer signs more than one",
)
_VERSION = Meaning(
    "the security version in the signed report against the policy's least",
    "that its authors raise it with every fix",
)
_ATTRIBUTES = Meaning(
    "the guest's attributes in the signed report, in the bits that the policy compares",
    "anything about bits that are not compared",
)
_SOCKETS = Meaning(
    "what Intel's certificate says about the platform: one processor, or several with shared, cached keys",
    "how many processors there are",
)
_EVENTS = Meaning(
    "the digests in the stapled event log, which replays to the signed register, against the policy's set",
    "their order, how often each came, and what the log calls them",
)
_TCB = "that the platform has no weakness that its vendor does not know of, or has not published"
_MEANINGS = {
    "trust_anchor": Meaning(
        "the certificate that ends the chain, by its SHA-256, against the roots pinned in this client "
        "(or the simulation root that was named), and the keyset's own word about being simulated",
        "that the vendor's key has not been stolen; a simulation root proves nothing about hardware",
    ),
    "chain": Meaning(
        "issuer, signature, CA flag, path length and dates of every certificate from the leaf to the root",
        "that no certificate was revoked: see revocation",
    ),
    "revocation": Meaning(
        "the platform's certificate and its issuers against the vendor's stapled revocation lists, whose "
        "signatures and dates hold",
        "that nothing was revoked after the list was made",
    ),
    "crl": Meaning(
        "whether the vendor's revocation list was stapled, signed and in its time",
        "that nothing was revoked after the list was made; AMD's list cannot name a single chip",
    ),
    "signature": Meaning(
        "the hardware's signature over the whole report, with the key of the leaf certificate",
        "when it was made: report_data says that, by this client's nonce",
    ),
    "debug": Meaning("the debug bit of the signed report", "that the code has no debug interface of its own"),
    "report_data": Meaning(
        "the 64 bytes that the guest had signed, against a hash over the server's keys, a tree that holds "
        "this client's nonce, and all other evidence",
        "that the code guards those keys: that rests on which code it is",
    ),
    "name": Meaning(
        "the names that the server's keyset lists, against the one dialled or the policy's names",
        "who runs the server: anybody may run this code under any name; see operator",
    ),
    "operator": Meaning(
        "the public key that issued this connection's certificate, against the policy's [operator]",
        "that the operator is honest; without a pinned key, whose enclave this is",
    ),
    "tcb_status": Meaning(
        "Intel's judgement of the platform's security version, signed in the stapled TCB info",
        _TCB,
    ),
    "tcb_advisories": Meaning(
        "the security advisories that Intel's TCB info lists for this platform, against the policy's",
        _TCB,
    ),
    "tcb_evaluation": Meaning(
        "the number of Intel's evaluation behind the stapled TCB info, against the policy's least",
        "that it is the newest evaluation: Intel publishes two at a time",
    ),
    "smt": Meaning(
        "what the platform says of hyper-threading",
        "that no neighbour observes caches: side channels are not covered",
    ),
    "document_age": Meaning(
        "the time in the signed document against this computer's clock",
        "freshness by itself: the nonce in report_data proves that",
    ),
    "document_time": Meaning(
        "the time in the signed document against this computer's clock", "that either clock is right"
    ),
    "tee": Meaning("the kind of TEE against the policy's entries", "anything about the code: no entry fits"),
    "mr_signer": _SIGNER,
    "isv_prod_id": _SIGNER,
    "id_key_digest": _SIGNER,
    "author_key_digest": _SIGNER,
    "isv_svn": _VERSION,
    "guest_svn": _VERSION,
    "mrconfigid": _CHOSEN,
    "mrowner": _CHOSEN,
    "mrownerconfig": _CHOSEN,
    "config_id": _CHOSEN,
    "config_svn": _CHOSEN,
    "td_attributes": _ATTRIBUTES,
    "host_data": _CHOSEN,
    "attributes_flags": _ATTRIBUTES,
    "attributes_xfrm": _ATTRIBUTES,
    "misc_select": _ATTRIBUTES,
    "dynamic_platform": _SOCKETS,
    "cached_keys": _SOCKETS,
    "rtmr0_events": _EVENTS,
    "rtmr1_events": _EVENTS,
    "rtmr2_events": _EVENTS,
    "rtmr3_events": _EVENTS,
    "product": Meaning(
        "the product of the pinned root, the leaf certificate and the report against the policy's",
        "which processor of that line it is",
    ),
    "migration": Meaning(
        "whether the guest's policy lets a migration agent move it", "where the guest has been before"
    ),
    "guest_policy": Meaning(
        "the bits of the guest's policy, which the firmware enforces, against those the policy requires",
        "anything about bits that are not required",
    ),
    "vmpl": Meaning(
        "the privilege level inside the guest that asked for the report",
        "what runs at that level: the measurement says what was started",
    ),
    "alias_check_complete": Meaning(
        "whether the firmware checked that no two addresses reach the same memory",
        "that nobody changed the memory since",
    ),
    "platform_info": Meaning(
        "what the firmware says about the machine, against what the policy requires",
        "anything about properties that are not required",
    ),
    "policy_expires": Meaning(
        "the policy's own end against this computer's clock", "that the clock is right"
    ),
    "answer": Meaning("framing, size and grammar of the server's answer", "anything: it could not be read"),
    "bundle": Meaning("the grammar of the bundle's file", "anything: it could not be read"),
    "proof": Meaning("the grammar of the proof's file, and its sha256", "anything: it could not be read"),
    "receipt": Meaning(
        "the receipt's header and signature, by the receipt key in the keyset that the hardware signed for",
        "what it is about: the digests say that",
    ),
    "receipt_time": Meaning(
        "the time that the server asserts against the life of its keys",
        "that it was then: the server's clock says so, and the host sets that clock",
    ),
    "receipt_model": Meaning(
        "the digest of the model that answered against the policy's [models]",
        "that the model is good: only that it is the one that is named",
    ),
    "receipt_request": Meaning(
        "the digest in the receipt against method, path, headers and the body's digest in the proof, "
        "and that against the body in hand",
        "who sent it, and that it was sent only once",
    ),
    "receipt_response": Meaning(
        "the digest in the receipt against status, headers and the body's digest in the proof, "
        "and that against the body in hand",
        "that the answer is right: only that it is the one that this code gave",
    ),
    "receipt_policy": Meaning(
        "the digest of the policy that the proof names against the one that judges it",
        "what the client demanded: it wrote that, before it asked, and nobody else signed it",
    ),
    "challenge": Meaning(
        "the path from this client's nonce to the root that the hardware signed",
        "by itself nothing: report_data ties the root to the hardware",
    ),
    "tls_key": Meaning(
        "the key that ended this connection against the one in the server's keyset",
        "who holds the other key: a proxy, a balancer or an attacker",
    ),
    "keyset": Meaning("the grammar of the server's keyset", "anything: it could not be read"),
    "certificate": Meaning("encoding and contents of the stapled certificates", "anything beyond their form"),
    "collateral": Meaning(
        "that the vendor's stapled data are complete, readable and about this TEE and platform",
        "whether the platform is good: nothing was judged",
    ),
    "collateral_dates": Meaning(
        "the dates of the vendor's stapled data against this computer's clock", "that the clock is right"
    ),
    "event_log": Meaning(
        "whether the stapled event log replays to the signed RTMRs",
        "what its events are: only their digests are known",
    ),
    "evidence_format": Meaning("the grammar of the evidence", "anything: it could not be read"),
    "platform": Meaning("properties of the platform that no policy can accept", "anything else about it"),
}
_GROUPS = (
    (
        ("mr", "rtmr", "pcr", "measurement"),
        Meaning("the signed measurement against the policy's digest", _CODE),
    ),
    (
        ("reported_tcb", "current_tcb", "committed_tcb", "launch_tcb", "mitigations"),
        Meaning("the firmware's versions in the signed report, against the policy's least", _TCB),
    ),
    (
        ("tcb_evaluation_floor", "leaf_crl", "root_crl"),
        Meaning(
            "the stapled collateral against the newest that this client has seen for such a platform",
            "that nothing newer exists which this client has never seen",
        ),
    ),
    (
        ("keyset_",),
        Meaning("the dates in the server's keyset against this computer's clock", "that the clock is right"),
    ),
    (
        ("settings.",),
        Meaning(
            "what the server's keyset promises, against the policy's [require]",
            "the promise by itself: it is as good as the measured code that makes it",
        ),
    ),
)
_OTHER = Meaning("the signed report's field against the policy", "anything beyond that field")


def meaning(claim: str) -> Meaning:
    """Return what a claim means."""
    if claim in _MEANINGS:
        return _MEANINGS[claim]
    return next((text for prefixes, text in _GROUPS if claim.startswith(prefixes)), _OTHER)


def explain(verdict: Verdict) -> str:
    """Return the verdict with the meaning of every claim and what would accept a failed one."""
    lines = [str(verdict).partition("\n")[0]]
    for check in verdict.checks:
        lines += ["", f"{check.claim}: {check.outcome}", *_body(check)]
    return "\n".join(lines)


def _body(check: Check) -> Iterator[str]:
    text = meaning(check.claim)
    yield f"  checked:     {text.checked}"
    yield f"  found:       {check.found} (in: {check.source})"
    if check.expected:
        yield f"  expected:    {check.expected}"
    yield f"  not proven:  {text.not_proven}"
    if check.outcome is Outcome.FAIL:
        yield f"  reason code: {check.reason}"
        if check.accepted_by:
            yield f"  this line in the policy would accept it: {check.accepted_by}"
        else:
            yield "  no line of a policy accepts it"
