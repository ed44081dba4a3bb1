"""The attested channel: keyset, challenge, answer, handshake. Pure: no sockets, no clock."""
