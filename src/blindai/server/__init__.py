"""The attested inference server: TLS, attestation and HTTP around the `runtime`."""
