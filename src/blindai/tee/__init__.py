"""Evidence producers, and the detection of what this machine has. Server side only."""
