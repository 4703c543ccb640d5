"""What a build by pyenv says: how far it is, and why it stopped."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bai_wizard.core.event import Log
from bai_wizard.core.machine import Completed
from bai_wizard.machine.perform.call import last_words

# What a line begins with → the phase it belongs to. python-build prints the first, configure and make the others.
PHASES: tuple[tuple[str, str], ...] = (
    (r"(Downloading|-> http)", "downloading the source"),
    (r"(Installing Python|checking for|configure:)", "configuring"),
    (r"(gcc|cc|clang|x86_64-linux-gnu-gcc|aarch64-linux-gnu-gcc)\b.* -c ", "compiling"),
    (r"(Creating directory |if test \"x(upgrade|install)\"|/usr/bin/install|Compiling ')", "installing"),
)
# What stands in the log → what it means. The first that is found is told; what ends every build comes before what a
# healthy log may name as well, and no pattern is a mere name: configure and the compiler name OpenSSL and _ctypes in
# every build.
CAUSES: tuple[tuple[str, str], ...] = (
    (r"no acceptable C compiler|C compiler cannot create", "there is no C compiler: install build-essential"),
    (r"(make: not found|make: command not found)", "make is missing: install build-essential"),
    (r"No space left on device", "no space left: a build needs about 1 GiB in the account's home"),
    (r"(\bKilled\b|internal compiler error|virtual memory exhausted)", "the compiler was killed: not enough memory"),
    (
        r"definition not found",
        "this pyenv does not know that version: its repository is older, see [python] pyenv_url",
    ),
    (
        r"(Could not resolve host|failed to download|error: failed to)",
        "the source could not be downloaded: network, proxy",
    ),
    (
        r"ssl extension was not compiled|openssl/\w+\.h: No such file",
        "the OpenSSL headers are missing: install libssl-dev",
    ),
    (
        r"zlib not available|zipimport.ZipImportError|zlib\.h: No such file",
        "the zlib headers are missing: install zlib1g-dev",
    ),
    (
        r"No module named '_ctypes'|ctypes extension was not compiled|ffi\.h: No such file",
        "the libffi headers are missing: install libffi-dev",
    ),
    (r"lzma extension was not compiled", "the lzma headers are missing: install liblzma-dev"),
    (r"bz2 extension was not compiled", "the bzip2 headers are missing: install libbz2-dev"),
    (r"fatal error: \S+\.h: No such file", "a header file is missing: install the package that holds it"),
    (r"Permission denied", "a program may not be executed: is the account's home mounted noexec?"),
)


@dataclass
class BuildLog:
    """Passes a build's lines on and tells each new phase once, as progress of four."""

    log: Log
    phase: int = -1
    lines: list[str] = field(default_factory=list)

    def line(self, text: str, stream: str) -> None:
        """One line of the build."""
        self.lines = [*self.lines[-400:], text]
        for number, (pattern, name) in enumerate(PHASES):
            if number > self.phase and re.match(pattern, text):
                self.phase = number
                self.log(name, done=number, total=len(PHASES))
        self.log(text, stream=stream, level="debug")


def build_cause(told: BuildLog, completed: Completed) -> str:
    """Why a build stopped, in plain words, with the end of what it said."""
    text = "\n".join(told.lines)
    meaning = next((sentence for pattern, sentence in CAUSES if re.search(pattern, text)), "")
    return f"{meaning} ({last_words(completed)})" if meaning else last_words(completed)
