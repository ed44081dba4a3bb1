"""What travels: inference messages, tensors, and the strict texts that security rests on. Pure."""
