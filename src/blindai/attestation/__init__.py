"""Judging evidence: parse, verify, appraise. Pure: clock, roots and collateral are arguments."""
