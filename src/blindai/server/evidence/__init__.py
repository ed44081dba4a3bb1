"""Evidence for clients: asked of the TEE, given out, and how it stands."""
