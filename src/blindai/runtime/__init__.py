"""Engines, the models that they hold, and the check of a request against a model. Knows no HTTP, no TLS."""
