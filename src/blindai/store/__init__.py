"""The sealed store: models that lie on a disk which the host can read, and say nothing to it."""
