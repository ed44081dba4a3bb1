"""Fetches what vendors publish about their hardware, for operators who staple it and for offline work."""
