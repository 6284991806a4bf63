"""A server that answers every connection with the same bytes, whatever HTTP says."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
NO_HTTP = b"220 mail.example.org ESMTP\r\n"
RUDE = [pytest.param(CUT_OFF, id="cut off"), pytest.param(NO_HTTP, id="no HTTP")]


@contextmanager
def rude_server(answer: bytes) -> Iterator[str]:
    """Give the address of such a server on loopback."""

    class Rude(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            length = 0
            while line := self.rfile.readline().strip():
                name, _, value = line.lower().partition(b":")
                length = int(value) if name == b"content-length" else length
            self.rfile.read(length)
            self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Rude) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
