"""AMD: the vendor owns roots, leaf certificates and TCB layouts; a TEE is only a body layout: SEV-SNP."""
