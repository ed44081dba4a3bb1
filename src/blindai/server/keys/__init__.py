"""The server's keys: who it is for the life of one keyset, who vouches for it, and what comes after."""
