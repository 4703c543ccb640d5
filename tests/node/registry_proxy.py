"""A proxy in front of a registry that degrades the network on purpose, and counts the traffic."""

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PIECE = 1 << 14


@dataclass
class Weather:
    """What is wrong with the network, and what went through, by blob: bytes, requests, answers that broke off.

    `cuts` are byte counts (modulo what is left of the blob) after which its connection is reset, used up one by one
    by blobs of more than `spared` bytes.
    `refusals` is how many more requests for blobs get `refusal` (an HTTP status). `rate` is bytes a second over all
    connections, 0 without limit. `latency` is seconds that every answer takes to begin.
    """

    cuts: list[int] = field(default_factory=list)
    spared: int = 0
    refusals: int = 0
    refusal: int = 429
    rate: int = 0
    latency: float = 0.0
    sent: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    free_at: float = 0.0

    def next_cut(self, length: int) -> int | None:
        """Return the number of bytes after which this response is interrupted."""
        with self.lock:
            return self.cuts.pop(0) % length if self.cuts and length > self.spared else None

    def is_refused(self) -> bool:
        """Return whether this request is refused."""
        with self.lock:
            self.refusals -= 1
            return self.refusals >= 0

    def wait(self, size: int) -> None:
        """Limit the rate."""
        if not self.rate:
            return
        with self.lock:
            now = time.monotonic()
            self.free_at = max(self.free_at, now) + size / self.rate
            pause = self.free_at - now
        time.sleep(pause)


@contextmanager
def bad_network(upstream: int, weather: Weather) -> Iterator[int]:
    """Run a proxy in front of the plain-HTTP registry on port `upstream` of this machine; return its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on(with_body=True)

        def do_HEAD(self) -> None:
            self._pass_on(with_body=False)

        def _pass_on(self, *, with_body: bool) -> None:
            path = urlsplit(self.path).path
            blob = path.rpartition("/blobs/")[2] if "/blobs/sha256:" in path else ""
            weather.requests[blob or path] += 1
            time.sleep(weather.latency)
            if blob and with_body and weather.is_refused():
                self._refuse()
                return
            connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=60)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # an engine says Accept several times
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            if with_body:
                self._body(response, blob)
            connection.close()

        def _body(self, response: http.client.HTTPResponse, blob: str) -> None:
            cut = weather.next_cut(int(response.headers.get("Content-Length") or 0)) if blob else None
            sent = 0
            while chunk := response.read(PIECE):
                if cut is not None and sent + len(chunk) > cut:
                    self.wfile.write(chunk[: cut - sent])
                    weather.sent[blob] += cut - sent
                    weather.broken[blob] += 1
                    self._reset()
                    return
                weather.wait(len(chunk))
                self.wfile.write(chunk)
                sent += len(chunk)
                weather.sent[blob] += len(chunk)

        def _refuse(self) -> None:
            text = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}'
            self.send_response_only(weather.refusal)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _reset(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ValueError):
                self.close_connection = True  # the engine hung up, or we did

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
