"""An httpx2 transport that attests every connection before a byte of a request leaves."""
