"""Runs a bai-wizard command line in a process where every access to the real node fails and is recorded.

python -I sealed.py RECORD PATH:PATH:… COMMAND-LINE…
python -I sealed.py RECORD PATH:PATH:… --each JSON

JSON is a list of command lines, run one after the other; their exit codes are the last line of the output.
RECORD gets a line for each such access. Allowed are the interpreter and its packages, this checkout, terminfo,
locale, and the given paths: the files that the command line names, and TMPDIR.
"""

import json
import os
import platform
import sys
import sysconfig
import traceback
from collections.abc import Callable
from typing import Any

RECORD, WORDS = sys.argv[1], sys.argv[3:]
SHARED = ("/usr/share/terminfo", "/usr/lib/terminfo", "/lib/terminfo", "/etc/terminfo", "/usr/lib/locale",
          "/usr/share/locale", "/usr/share/zoneinfo", "/etc/localtime", "/dev/null", "/dev/tty",
          "/proc/self/fd",
          # The engine's clock, because consent expires at a reboot. It reads no state of the node.
          "/proc/sys/kernel/random/boot_id")  # fmt: skip
# Directories from which a Linux interpreter loads its own files.
LIBRARIES = ("/usr/lib/python3", "/usr/local/lib/python3")
# Audit events whose first argument is a path.
FILE_EVENTS = {"open", "os.listdir", "os.scandir", "os.chdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
               "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.utime", "os.getxattr",
               "os.listxattr", "os.setxattr", "shutil.rmtree"}  # fmt: skip
OTHER_EVENTS = {"subprocess.Popen", "os.posix_spawn", "os.exec", "os.system", "os.kill", "os.killpg",
                "socket.connect", "socket.sendto", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname",
                "socket.gethostname", "ctypes.dlopen"}  # fmt: skip
# Functions without an audit event.
SILENT = ("stat", "lstat", "statvfs", "access", "readlink")
# Functions that identify this machine. The standard library calls them too, so only calls from bai_wizard count.
IDENTITY = ((os, "uname"), (platform, "machine"), (platform, "node"), (platform, "uname"), (platform, "release"))


def allowed_paths() -> tuple[str, ...]:
    checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    interpreter = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()} - {
        "/usr",
        "/usr/bin",
        "/usr/include",
    }
    return (checkout, *SHARED, *LIBRARIES, *(path for path in [*sys.argv[2].split(":"), *interpreter] if path))


class Seal:
    """Refuses and records forbidden accesses."""

    def __init__(self) -> None:
        self.known = allowed_paths()
        self.record = os.open(RECORD, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.is_busy = False

    def is_allowed(self, path: object) -> bool:
        """Whether a path is allowed, below or above an allowed path, or a temporary file next to one.

        Relative names are below an open directory or the test's working directory.
        """
        if not isinstance(path, str | bytes | os.PathLike) or not os.path.isabs(os.fsdecode(path)):
            return True
        absolute = os.path.abspath(os.fsdecode(path))
        return any(
            absolute == name
            or absolute.startswith((f"{name}/", f"{name}."))
            or name.startswith(f"{absolute.rstrip('/')}/")
            for name in self.known
        )

    def refuse(self, what: str, subject: object) -> None:
        stack = traceback.extract_stack()[-12:-2]
        where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(stack))
        os.write(self.record, f"{what} {subject!r} at {where}\n".encode())
        raise PermissionError(f"sealed: {what} {subject!r}")

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook."""
        if self.is_busy or event not in FILE_EVENTS | OTHER_EVENTS:
            return
        self.is_busy = True
        try:
            if event in FILE_EVENTS and not self.is_allowed(arguments[0]):
                self.refuse(event, arguments[0])
            if event in OTHER_EVENTS and not (event == "ctypes.dlopen" and arguments[0] is None):
                self.refuse(event, arguments[:2])
        finally:
            self.is_busy = False

    def watched(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            path = arguments[0] if arguments else named.get("path")
            if not self.is_busy and named.get("dir_fd") is None and not self.is_allowed(path):
                self.refuse(f"os.{name}", path)
            return original(*arguments, **named)

        return call

    def called_by_others(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if "/bai_wizard/" in sys._getframe(1).f_code.co_filename:
                self.refuse(name, None)
            return original(*arguments, **named)

        return call

    def close(self) -> None:
        """Start refusing and recording."""
        for name in SILENT:
            setattr(os, name, self.watched(name, getattr(os, name)))
        for module, name in IDENTITY:
            full = f"{module.__name__}.{name}"
            setattr(module, name, self.called_by_others(full, getattr(module, name)))
        sys.addaudithook(self.hear)


if __name__ == "__main__":
    from bai_wizard.cli import main
    from bai_wizard.own_code import foreign_code_at_start

    # As root, every process first checks the program's own files once; that does not count as access to the node.
    if os.geteuid() == 0 and (refusal := foreign_code_at_start()):
        sys.exit(refusal)
    Seal().close()
    if WORDS[0] != "--each":
        sys.exit(main(WORDS))
    codes = []
    for line in json.loads(WORDS[1]):
        codes.append(main(line))
        sys.stderr.write(f"{line}: {codes[-1]}\n")
    print(json.dumps([int(code) for code in codes]))
