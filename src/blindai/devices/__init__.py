"""The languages that the kernel's devices speak, whoever asks; what an answer means is for the asker."""
