"""Watching the server: numbers, logs and, if asked for, telemetry; without contents and chosen names."""
