"""A loopback server that misbehaves in every way in which mirrors and proxies do."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = b"<!DOCTYPE html><title>Sign in</title><p>Please sign in to use this network.</p>"


@dataclass
class ServerBehavior:
    """What the server serves, and how it goes wrong. `cut` ends each answer after that many bytes of the body,
    `stall_at` lets none go out beyond that byte of the file.

    `redirects` holds locations by path; `redirect` is the location for all other paths. `requests` are the ranges
    that were asked for, `served` the bytes of bodies that went out.
    """

    body: bytes
    cut: int = 0
    stall_at: int = -1
    status: int = 200
    failures: int = 0
    announce: int = 0
    page: bool = False
    ranges: bool = True
    etag: str = '"one"'
    redirect: str = ""
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    served: int = 0
    resume: threading.Event = field(default_factory=threading.Event)

    @property
    def sha256(self) -> str:
        return sha256(self.body).hexdigest()


@contextmanager
def serving(behavior: ServerBehavior, certificate: str = "") -> Iterator[str]:
    """The server's address, until the end of the block. It serves one file under every name; as a proxy as well.

    `certificate`: a file with the certificate for `localhost` and its key; without one, the server does not use TLS.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            behavior.paths.append(self.path)
            if self._redirects():
                return
            if behavior.status != 200:
                self.send_error(behavior.status)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(behavior.body)))
            self.end_headers()

        def do_GET(self) -> None:
            behavior.requests.append(self.headers.get("Range", ""))
            behavior.hosts.append(self.headers["Host"])
            behavior.paths.append(self.path)
            if behavior.failures > 0:
                behavior.failures -= 1
                self.send_error(503)
                return
            if self._redirects():
                return
            if behavior.status != 200:
                self.send_error(behavior.status)
                return
            if behavior.page:
                self._answer(200, PAGE, {"Content-Type": "text/html"})
                return
            self._file()

        def _redirects(self) -> bool:
            location = behavior.redirects.get(self.path, behavior.redirect)
            if location:
                self.send_response(302)
                self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()
            return bool(location)

        def _file(self) -> None:
            first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            begin = int(first[1]) if first and behavior.ranges else 0
            if self.headers.get("If-Range", behavior.etag) != behavior.etag:
                begin = 0
            size = len(behavior.body)
            if begin >= size > 0 and begin:
                self._answer(416, b"", {"Content-Range": f"bytes */{size}"})
                return
            headers = {"ETag": behavior.etag, "Content-Type": "application/gzip"} if behavior.etag else {}
            if begin:
                headers["Content-Range"] = f"bytes {begin}-{size - 1}/{size}"
            self._answer(206 if begin else 200, behavior.body[begin:], headers, begin)

        def _answer(self, status: int, body: bytes, headers: dict[str, str], begin: int = 0) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(behavior.announce or len(body)))
            self.end_headers()
            if behavior.stall_at >= 0 and not behavior.resume.is_set():
                self._send(body[: max(0, behavior.stall_at - begin)])
                behavior.resume.wait(30)
                self.close_connection = True
                return
            if behavior.cut:
                self._send(body[: behavior.cut])
                self.close_connection = True
                return
            self._send(body)

        def _send(self, data: bytes) -> None:
            try:
                self.wfile.write(data)
                self.wfile.flush()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
                return
            behavior.served += len(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the test looks at `requests`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{'https://localhost' if certificate else 'http://127.0.0.1'}:{server.server_address[1]}"
    finally:
        behavior.resume.set()
        server.shutdown()
        server.server_close()
        thread.join()
