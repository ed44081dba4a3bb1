"""Judges recorded evidence: `python -m blindai.testing.samples DIR` shows whether the verifiers agree.

DIR is walked to any depth. A folder with a `meta.json` is a sample: `tee`, `now` (the time to judge it at)
and `expect`, beside the files that a server would have sent. Each sample is judged before its `expect` is
read, under production trust and a policy derived from what the sample itself measured:

- evidence and collateral are verified; a refusal there ends it, no policy can mend that
- `nonce.dat`, where there is one, is the report data that the evidence must carry: raw, padded with zeros,
  or as hexadecimal text
- the policy is the strict entry that `vendors.entry_toml` writes for these claims, with the relaxations that
  say how the machine is set up and nothing of how secure it is: `multi-socket` and `hyper-threading` (Intel),
  `hyper-threading`, `unchecked-aliases` and, where no CRL was recorded, `no-crl` (AMD); a Nitro document may
  be as old as its certificate, because a recorded one cannot be fresh for us

So no verdict rests on which code ran: all code is accepted, and everything else is judged strictly.

What the words in `expect` mean:

- `accept`: the derived policy accepts the sample
- `reject`: it is refused, by the verifier or by the derived policy
- `policy` and `reject-by-default`: the evidence is genuine and the derived policy refuses it, but accepts it
  once it names exactly what was found, for example the TCB status and its advisories
- `status` and `advisories`: what Intel says of the platform, exactly

A TEE that no verifier covers yet is `unsupported` and contradicts nothing.
"""

from __future__ import annotations
