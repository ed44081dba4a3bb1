"""The collateral stapled to evidence: gathered, kept and refreshed, so that clients need no network."""
