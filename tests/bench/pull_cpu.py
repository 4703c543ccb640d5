"""How much of a core the executor takes while an engine streams the progress of pulls, its events written down."""

from __future__ import annotations

import json
import multiprocessing
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

# Items of one layer a second, as the issue wants it measured; dockerd itself sends about as many.
EVENTS_A_SECOND = 10
HEAD = b"HTTP/1.1 200 OK\r\nApi-Version: 1.45\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def cpu_share(*, images: int, layers: int, seconds: float) -> tuple[float, float]:
    """CPU seconds a second of this process, and events a second, while so many layers are streamed."""
    from bai_wizard.core.state import Image
    from bai_wizard.engine.events import EventLog, StepLog
    from bai_wizard.resources import images_apply as performer
    from bai_wizard.resources.images import PullImages

    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "docker.sock")
        ready = multiprocessing.Event()
        engine = multiprocessing.Process(target=play_engine, args=(path, ready, layers, seconds), daemon=True)
        engine.start()
        ready.wait(10)

        import docker

        def connect(timeout: int = 60) -> Any:
            return docker.APIClient(base_url=f"unix://{path}", version="1.45", timeout=timeout)

        class Node:
            """As much of a machine as a pull asks for."""

            root = "/"
            here = False

            def image(self, reference: str) -> Image | None:
                return Image("sha256:1") if self.here else None

            def should_stop(self) -> bool:
                return False

        vars(performer).update(open_sdk=connect, _verify=lambda *_: None)
        references = tuple(f"r.test/image{number}:1" for number in range(images))
        operation = PullImages(references, parallel=images)
        begun, used = time.monotonic(), time.process_time()
        event_log = EventLog(Path(directory) / "events.jsonl", "bench")
        performer.pull_images(Node(), operation, StepLog(event_log, "images.pull", 1))  # type: ignore[arg-type]
        share = (time.process_time() - used) / (time.monotonic() - begun)
        engine.terminate()
        engine.join()
    return share, images * layers * EVENTS_A_SECOND


def play_engine(path: str, ready: Any, layers: int, seconds: float) -> None:
    """Answers every connection with the progress of one image, at the engine's pace."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    ready.set()
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_stream, args=(connection, layers, seconds), daemon=True).start()


def _stream(connection: socket.socket, layers: int, seconds: float) -> None:
    connection.recv(65536)
    connection.sendall(HEAD)
    count = int(seconds * EVENTS_A_SECOND)
    for number in range(count):
        time.sleep(1 / EVENTS_A_SECOND)
        for layer in range(layers):
            progress = "[=>  ] 12.3MB/456MB"
            detail = {"current": number * 1_000_000, "total": count * 1_000_000}
            item = {"status": "Downloading", "progressDetail": detail, "progress": progress, "id": f"{layer:012x}"}
            line = json.dumps(item).encode() + b"\r\n"
            connection.sendall(f"{len(line):x}\r\n".encode() + line + b"\r\n")
    connection.sendall(b"0\r\n\r\n")
    connection.close()
