"""What an attested server may answer: nothing whose end a network could move, and no redirects."""

from __future__ import annotations

import httpx2
import pytest

from blindai.errors import ResponseError
from blindai.testing import HangUp, http_response

REFUSED = {
    "a redirect": http_response(b"", 307, {"Location": "https://elsewhere.example/"}),
    "no framing": b"HTTP/1.1 200 OK\r\n\r\n{}",
    "two framings": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n",
}
CUT_SHORT = {
    "a short body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    "a missing last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
}


@pytest.mark.parametrize("what", REFUSED)
def test_doubtful_responses_are_refused(what, dial, answering, demands):
    """Redirects and ambiguous framing are errors although the server is attested."""
    with answering() as peer:
        peer._response = REFUSED[what]
        with pytest.raises(ResponseError):
            dial(demands(peer))


@pytest.mark.parametrize("what", CUT_SHORT)
def test_a_truncated_response_is_an_error(what, dial, answering, demands):
    """A cut stream is never shown as a complete answer."""
    with answering() as peer:
        peer._response = [CUT_SHORT[what], HangUp()]
        with pytest.raises(httpx2.RemoteProtocolError):
            dial(demands(peer))
