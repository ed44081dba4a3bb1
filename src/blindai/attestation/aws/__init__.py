"""AWS: the vendor owns the root and signs documents that need no collateral: Nitro Enclaves."""
