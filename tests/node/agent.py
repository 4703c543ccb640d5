"""Runs in a node: starts commands that the tests send to its standard input, and returns their results.

`docker exec` costs about 0.1 s of CPU time per command; it is used once per node. A request is a line of JSON with
`id`, `argv`, `env`, `user`, `detach` and `size`, then `size` bytes for the command's standard input. A response is a
line of JSON with `id`, `rc`, `out` and `err`, then as many bytes of output and of errors. Requests run side by side.
"""

import json
import os
import pwd
import selectors
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

READ_AT_ONCE = 1 << 16
# Exit codes of a shell and `docker exec` for a command that cannot be started.
NOT_FOUND, NOT_EXECUTABLE = 127, 126
answering = threading.Lock()


def main() -> None:
    """Serve requests until the other side closes."""
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        data = sys.stdin.buffer.read(request["size"])
        threading.Thread(target=serve, args=(request, data), daemon=True).start()


def serve(request: dict[str, Any], data: bytes) -> None:
    """Run one command and respond."""
    try:
        process = start(request)
    except FileNotFoundError as error:
        answer(request, NOT_FOUND, b"", str(error).encode())
    except (OSError, KeyError) as error:
        answer(request, NOT_EXECUTABLE, b"", str(error).encode())
    else:
        if request["detach"]:
            answer(request, 0, b"", b"")
            process.wait()
        else:
            outputs = communicate(process, data)
            code = process.wait()
            answer(request, 128 - code if code < 0 else code, *outputs)


def start(request: dict[str, Any]) -> "subprocess.Popen[bytes]":
    """Start the command in its own session, in the root directory, with the environment of the node."""
    environment = own_environment()
    account: dict[str, Any] = {}
    if request["user"]:
        entry = pwd.getpwnam(request["user"])
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
        environment["HOME"] = entry.pw_dir
    stream = subprocess.DEVNULL if request["detach"] else subprocess.PIPE
    return subprocess.Popen(
        request["argv"],
        env=environment | request["env"],
        cwd="/",
        stdin=stream,
        stdout=stream,
        stderr=stream,
        start_new_session=True,
        **account,
    )


def own_environment() -> dict[str, str]:
    """Return the environment of the node: Python itself sets LC_CTYPE if no locale is set."""
    entries = Path("/proc/self/environ").read_bytes().rstrip(b"\0").split(b"\0")
    return dict(os.fsdecode(entry).split("=", 1) for entry in entries if b"=" in entry)


def communicate(process: "subprocess.Popen[bytes]", data: bytes) -> tuple[bytes, bytes]:
    """Read both outputs until the command ends; its background processes can keep the pipes open longer."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    outputs = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    source = process.stdin.fileno()
    rest = memoryview(data)
    ended = os.pidfd_open(process.pid)
    with selectors.DefaultSelector() as selector, process.stdin, process.stdout, process.stderr:
        for descriptor in (source, *outputs):
            os.set_blocking(descriptor, False)
        for descriptor in (ended, *outputs):
            selector.register(descriptor, selectors.EVENT_READ)
        if rest:
            selector.register(source, selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        running = True
        while running:
            for key, _ in selector.select():
                if key.fd == ended:
                    running = False
                elif key.fd == source:
                    rest = write(source, rest)
                    if not rest:
                        selector.unregister(source)
                        process.stdin.close()
                elif not read(key.fd, outputs[key.fd]):
                    selector.unregister(key.fd)
        for descriptor, output in outputs.items():
            while read(descriptor, output):
                pass
    os.close(ended)
    out, err = outputs.values()
    return bytes(out), bytes(err)


def write(descriptor: int, rest: memoryview) -> memoryview:
    """Return what is left to write; nothing if the command has stopped reading."""
    try:
        return rest[os.write(descriptor, rest[:READ_AT_ONCE]) :]
    except BrokenPipeError:
        return rest[:0]


def read(descriptor: int, output: bytearray) -> bool:
    """Append what can be read now; return False at the end, or if nothing is available."""
    try:
        chunk = os.read(descriptor, READ_AT_ONCE)
    except BlockingIOError:
        return False
    output += chunk
    return bool(chunk)


def answer(request: dict[str, Any], code: int, out: bytes, err: bytes) -> None:
    """Send one response."""
    head = {"id": request["id"], "rc": code, "out": len(out), "err": len(err)}
    with answering:
        sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + out + err)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
