"""HTTP/1.1 over attested TLS: connections, requests, responses."""
