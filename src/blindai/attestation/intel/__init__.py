"""Intel: the vendor owns roots, collateral and TCB rules; a TEE is only a body layout: SGX and TDX."""
