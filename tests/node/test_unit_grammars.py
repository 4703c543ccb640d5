"""Our reader of limits in systemd's unit files compared with systemd itself."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from tests.node.container import ContainerNode
from tests.sampling import is_soak, seed

LINES = 5000 if is_soak() else 300
DIRECTIVES = ("LimitNOFILE", "LimitNPROC", "LimitMEMLOCK")
# Units that systemd reads at once; it removes them with the next batch.
BATCH = 400


# For each set of files: the limits of systemd and ours; None if systemd refuses the unit.
COMPARE = """
import json, os, shutil, subprocess, sys
from math import inf
from bai_wizard.resources.local import LocalMachine
from bai_wizard.steps.services import SECTION, default_limit, limit_of, unit_settings
given = json.load(sys.stdin)
TOP = "/run/systemd/system"
def reload():
    subprocess.run(["systemctl", "daemon-reload"], check=True)
def amount(text):
    return -1 if text == "infinity" else int(text)
def shown(value):
    return -1 if value == inf else value
def referee(names):
    wanted = ",".join(f"{name},{name}Soft" for name in given["directives"])
    shown = subprocess.run(["systemctl", "show", f"--property=LoadState,{wanted}", "--", *names],
                           capture_output=True, text=True, check=True).stdout
    for text in shown.split("\\n\\n"):
        fields = dict(line.split("=", 1) for line in text.strip().split("\\n"))
        loaded = fields["LoadState"] == "loaded"
        pairs = {each: [amount(fields[each + "Soft"]), amount(fields[each])] for each in given["directives"]}
        yield pairs if loaded else None
def ours(view, name):
    result = {}
    for each in given["directives"]:
        pair = limit_of(each, [one.value for one in unit_settings(view, name, SECTION, each)])
        result[each] = [*map(shown, pair)] if pair else default[each]
    return result
with open(TOP + "/bai-plain.service", "w") as file:
    file.write("[Service]\\nExecStart=/bin/true\\n")
reload()
default = next(referee(["bai-plain.service"]))
found = [*map(shown, default_limit(LocalMachine("/"), "LimitNOFILE"))]
assert default["LimitNOFILE"] == found, (default, found)
answers = []
for files in given["scenarios"]:
    names = []
    for number, each in enumerate(files):
        names.append(f"bai{number}.service")
        for path, text in each.items():
            path = f"{TOP}/{path.format(names[-1])}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(text.encode("latin-1"))
    reload()
    view = LocalMachine("/")
    answers += zip(referee(names), [ours(view, name) for name in names], strict=True)
    for name in names:
        os.remove(f"{TOP}/{name}")
        shutil.rmtree(f"{TOP}/{name}.d", ignore_errors=True)
print(json.dumps(answers))
"""
BLANKS = ("", "", "", " ", "\t", "  ", "\u00a0", "\u3000", "\v", "\f", "\r", "\ufeff")
ENDS = (
    "\n",
    "\n",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\0\n",
    " \n",
    "\n\n",
    "\n\r",
    "\r\r",
    "\v\n",
    "\u2028\n",
    "\x85\n",
)
NAMES = (
    *DIRECTIVES,
    "LimitNOFILE",
    "LimitNPROC",
    "limitnofile",
    "LimitNOFILES",
    "LimitNOFILE\u00a0",
    "DefaultLimitNOFILE",
)
NUMBERS = (
    "1000", "2000", "65536", "infinity", "Infinity", "unlimited", "0", "00", "010", "0o17", "0b101", "0B1", "0x200",
    "0X20", "+900", "-900", "-0", "+0x10", "0O17", "1K", "2k", "3M", "4G", "1T", "1P", "1E", "9E", "1KB", "1B",
    "1.5K", "1.K", ".5K", "1.x", "1 K", "1K 2", "2 1K", "1G 512M", "1M1K", "1K1K", "1,000", "1_000", "1e3", "0.1K",
    "1.999M", "\u0663", "1000\u00a0", '"1000"', "'1000'", "abc", "", "99999999999999999999", "18446744073709551615",
    "18446744073709551614", "9223372036854775807", "9223372036854775808", "%n", "10\\24", "1000 # comment",
    "1000; x", "$X", "1\\\\0",
)  # fmt: skip
OTHERS = (
    "# comment", "; comment", " # comment", "\v# x", "[Service]", "[Service]", "[Unit]", "[service]", "[ Service ]",
    "[Service] ", " [Service]", "[X-Site]", "[Servi\u00e9ce]", "[Install]", "LimitNOFILE", "=5", "Nice=5",
    "Environment=A=B", "Description=x\\", "# LimitNOFILE=7\\", "Environment=A=b \\", "LimitNOFILE=\\",
    "LimitNOFILE=10\\", "LimitNOFILE=70\\\\", "\\", "\\\\",
)  # fmt: skip
BREAKS = ("[Service", "\xff", "LimitNOFILE=1\xff", "[Ser\xffvice]", "[]")


def bytes_of(text: str) -> str:
    """UTF-8 as a string of bytes, in which a drawn \\xff stays a byte that no UTF-8 has."""
    return "".join(part if part == "\xff" else part.encode().decode("latin-1") for part in text)


def line_of(chance: random.Random) -> str:
    """One line of a unit file, right or odd."""
    roll = chance.random()
    if roll < 0.02:
        return chance.choice(BREAKS)
    if roll < 0.2:
        return chance.choice(OTHERS)
    blanks = [chance.choice(BLANKS if roll < 0.5 else BLANKS[:4]) for _ in range(4)]
    value = chance.choice(NUMBERS)
    if chance.random() < 0.3:
        value += chance.choice((":", ":", ":", " : ", "::", "\\:", ": ")) + chance.choice(NUMBERS)
    name = chance.choice(NAMES[: 5 if roll > 0.3 else None])
    return f"{blanks[0]}{name}{blanks[1]}={blanks[2]}{value}{blanks[3]}"


def scenario(chance: random.Random) -> tuple[dict[str, str], int]:
    """The files of a unit, and how many generated lines they have."""
    count = 0

    def lines(most: int) -> str:
        nonlocal count
        drawn = [line_of(chance) + chance.choice(ENDS) for _ in range(chance.randint(1, most))]
        count += len(drawn)
        text = "".join(drawn)
        return bytes_of(text if chance.random() < 0.8 else text.rstrip("\n"))

    # Its own settings come first: what the drawn lines break must not hide them.
    files = {"{}": "[Service]\nExecStart=/bin/true\n" + lines(3)}
    for name in ("10-a.conf", "50-b.conf", "Z.conf", "c.conf~", ".h.conf"):
        if chance.random() < 0.25:
            head = chance.choice(("[Service]\n", "[Service]\r\n", "[Service]\n", "\ufeff[Service]\n", "", "[Unit]\n"))
            files["{}.d/" + name] = bytes_of(head) + lines(2)
    return files, count


# glibc before 2.38 knows no binary numbers: there, systemd reads them only without a sign and without these blanks.
ODD_BINARY, NEVER = re.compile(r"[\v\f+-]0[bB]"), re.compile(r"(?!)")


def glibc_of(node: ContainerNode) -> str:
    """The version of the package libc6."""
    return node.run(["dpkg-query", "--show", "--showformat", "${Version}", "libc6"], check=True).out


def test_limits_are_read_as_systemd_reads_them(shared: ContainerNode) -> None:
    chance = random.Random(f"{seed()}:units")
    units, total = [], 0
    while total < LINES:
        files, count = scenario(chance)
        units.append(files)
        total += count
    batches = [units[at : at + BATCH] for at in range(0, len(units), BATCH)]
    given = json.dumps({"scenarios": batches, "directives": DIRECTIVES})
    done = shared.run(["/usr/bin/python3", "-I", "-c", COMPARE], input=given, timeout=120 + LINES / 10, check=True)
    answers: list[tuple[Any, Any]] = json.loads(done.out)
    loaded = [(files, theirs, ours) for files, (theirs, ours) in zip(units, answers, strict=True) if theirs]
    odd = ODD_BINARY if shared.run(["dpkg", "--compare-versions", glibc_of(shared), "lt", "2.38"]).rc == 0 else NEVER
    assert [each for each in loaded if each[1] != each[2] and not odd.search("".join(each[0].values()))] == []
    assert len(loaded) > len(units) / 2
