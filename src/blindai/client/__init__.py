"""The client: connect, verify, upload, predict. Synchronous and asynchronous, each thin."""
