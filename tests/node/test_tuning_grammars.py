"""Our readers of limits.d and sysctl.d compared with pam_limits, systemd-sysctl and ufw on generated lines."""

from __future__ import annotations

import json
import random

from tests.node.container import ContainerNode
from tests.sampling import is_soak, seed

LINES = 5000 if is_soak() else 300
# Blanks for some program or person, line ends, and what may stand behind a value.
BLANKS = (" ", " ", " ", "\t", "  ", " \t ", "\u00a0", "\u2003", "\u3000", "\v", "\f", "\r", "\ufeff")
ENDS = ("\n", "\n", "\n", "\n", "\r\n", "\r", "\0\n", " \n", "\n\n", "\0")
TAILS = (
    "",
    "",
    "",
    "",
    " # raised",
    "# raised",
    " ; raised",
    " trailing words",
    "\u00a0",
    "\u00a0# x",
    "\t",
    "\r",
    "x",
    "\xff",
)


def play(node: ContainerNode, program: str, **given: object) -> list[list[object]]:
    """Run a program in the node that answers with the referee's results and ours."""
    done = node.run(
        ["/usr/bin/python3", "-I", "-c", program], input=json.dumps(given), timeout=60 + LINES / 10, check=True
    )
    return json.loads(done.out)  # type: ignore[no-any-return]


# Opens sessions with pam_limits itself; RLIMIT_LOCKS (10) and RLIMIT_RSS (5) may be raised in a container, too.
PAM = """
import ctypes, json, os, resource, shutil, sys
from math import inf
from bai_wizard.core.page import Context
from bai_wizard.pages.tuning.pam_limits import Login, login_of, read_lines, session
from bai_wizard.resources.local import LocalMachine
given = json.load(sys.stdin)
pam = ctypes.CDLL("libpam.so.0")
TALK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
class Conversation(ctypes.Structure):
    _fields_ = [("talk", TALK), ("data", ctypes.c_void_p)]
conversation = Conversation(TALK(lambda *_: 19), None)
ITEMS = {"nofile": 7, "locks": 10, "rss": 5}
NR_OPEN = int(open("/proc/sys/fs/nr_open").read())
files = resource.getrlimit(7)[1]
BASE = {"nofile": (100, files), "locks": (1000, inf), "rss": (50, inf)}
FINITE = lambda value, unit: -1 if value == inf else value * unit
if "bookworm" in open("/etc/os-release").read():  # Where no line says otherwise, this pam_limits takes PID 1's.
    pid1 = {item: resource.prlimit(1, number) for item, number in ITEMS.items()}
    BASE = {item: tuple(inf if value < 0 else value for value in pair) for item, pair in pid1.items()}
    BASE["nofile"] = (min(BASE["nofile"][0], 1024), BASE["nofile"][1])
UNIT = {"nofile": 1, "locks": 1, "rss": 1024}
def referee(user):
    out, into = os.pipe()
    if not os.fork():
        for item, number in ITEMS.items():
            resource.setrlimit(number, tuple(FINITE(value, UNIT[item]) for value in BASE[item]))
        handle = ctypes.c_void_p()
        assert pam.pam_start(b"bai-limits", user.encode(), ctypes.byref(conversation), ctypes.byref(handle)) == 0
        pam.pam_open_session(handle, 0)
        found = {item: [v % 2**64 for v in resource.getrlimit(number)] for item, number in ITEMS.items()}
        os.write(into, json.dumps(found).encode())
        os._exit(0)
    os.close(into)
    os.wait()
    with open(out) as file:
        return json.load(file)
def ours(user):
    machine = LocalMachine("/")
    lines, unreadable = read_lines(machine)
    ids = {"root": (0, 0), "bai": (1100, 1100), "eve": (1300, 1300)}
    login = login_of(machine, user, *ids[user], lines)
    found = session(lines, login)
    result = {}
    for item in ITEMS:
        pair = [found.limit(item, sort, BASE, NR_OPEN) for sort in ("soft", "hard")]
        if pair[1] > BASE[item][1]:  # The kernel refuses it, and pam_limits goes on.
            pair = list(BASE[item])
        result[item] = [2**64 - 1 if value == inf else value * UNIT[item] for value in pair]
    return result
with open("/etc/pam.d/bai-limits", "w") as file:
    file.write("session required pam_limits.so\\n")
answers = []
for user, scenario in given["scenarios"]:
    shutil.rmtree("/etc/security/limits.d")
    os.mkdir("/etc/security/limits.d")
    for path, text in {"/etc/security/limits.conf": "", **scenario}.items():
        with open(path, "wb") as file:
            file.write(text.encode("latin-1"))
    answers.append([referee(user), ours(user)])
print(json.dumps(answers))
"""
DOMAINS = (
    "bai", "bai", "bai", "*", "*", "root", "eve", "BAI", "@bai", "@ops", "@none", "@", "%", "%ops", "1000:", "1100:",
    "1101:", ":1100", ":0", "0:", "1100:1200", "0:0", ":", "@:", "@1100:", "@:27", "@:1200", "@:1100", "@1200:",
    "@0:1099", "@:0", "%:1200", "%0:", "+1100:", "-1:", ":-1", "0x44c:", "1100:1100:", "1000-2000", "4294968396:",
    "01100:", ":1100x", "99999999999999999999:", "*:",
)  # fmt: skip
SORTS = ("soft", "hard", "-", "-", "Soft", "HARD", "hard,soft", "--", "-x", "")
ITEMS = ("nofile", "locks", "rss", "locks", "NOFILE", "Locks", "nofiles", "loc\u212as", "maxlogins", "")
VALUES = (
    "80", "90", "70", "120", "60", "0", "unlimited", "infinity", "-1", "-", "UNLIMITED", "0x50", "0120", "+75", "-5",
    "65k", "85,5", '"80"', "99999999999999999999", "18446744073709551615", "18014398509481984", "abc", "", "\u0663",
)  # fmt: skip


def bytes_of(text: str) -> str:
    """UTF-8 as a string of bytes, in which a drawn \\xff stays a byte that no UTF-8 has."""
    return "".join(part if part == "\xff" else part.encode().decode("latin-1") for part in text)


def limits_line(chance: random.Random) -> str:
    """One line of limits.conf, right or odd."""
    roll = chance.random()
    if roll < 0.05:
        return chance.choice(
            ("# bai - nofile 50", "", " ", "#", "bai", "bai -", "1100: -", "@ops -", "* -", ":0 -", "bai soft")
        )
    blank = BLANKS if roll < 0.5 else (" ",)
    words = [
        chance.choice(each)
        for each in (DOMAINS, SORTS[: 4 if roll > 0.4 else None], ITEMS[: 4 if roll > 0.4 else None], VALUES)
    ]
    line = chance.choice(("", "", "", " ", "\t", "\u00a0", "\ufeff")) if roll < 0.4 else ""
    line += "".join(word + chance.choice(blank) for word in words[:-1]) + words[-1]
    if roll < 0.02:
        line = line.replace(" ", " " * chance.choice((400, 1010, 1023, 2000)), 1)
    return line + (chance.choice(TAILS) if roll < 0.6 else "")


def limits_scenario(chance: random.Random) -> tuple[str, dict[str, str]]:
    """A user, and files with 1 to 6 lines altogether."""
    files: dict[str, str] = {}
    names = (
        "../limits.conf",
        "10-a.conf",
        "99-backendai.conf",
        "Z.conf",
        "zz.conf",
        ".h.conf",
        "b.conf~",
        "\u00e9.conf",
    )
    for _ in range(chance.choice((1, 1, 2, 3))):
        path = "/etc/security/limits.d/" + chance.choice(names)
        lines = (limits_line(chance) + chance.choice(ENDS) for _ in range(chance.randint(1, 2)))
        text = "".join(map(bytes_of, lines))
        files[path.replace("limits.d/../", "")] = text if chance.random() < 0.8 else text.rstrip("\n")
    return chance.choice(("bai", "bai", "bai", "root", "eve")), files


def test_limits_are_read_as_pam_limits_reads_them(shared: ContainerNode) -> None:
    chance = random.Random(f"{seed()}:limits")
    shared.run(
        ["sh", "-c", "id bai || { groupadd -g 1200 ops; useradd -u 1100 -U -G ops bai; useradd -u 1300 eve; }"],
        check=True,
    )
    scenarios = [limits_scenario(chance) for _ in range(LINES // 2)]
    for (user, files), (pams, ours) in zip(scenarios, play(shared, PAM, scenarios=scenarios), strict=True):
        assert ours == pams, (user, files)


# Sets values with systemd-sysctl, and then as ufw-init does.
SYSCTL = """
import json, os, shutil, subprocess, sys
from bai_wizard.pages.tuning.boot_sysctl import BootFile, boot_of, parse_procps, read_files
from bai_wizard.resources.local import LocalMachine
given = json.load(sys.stdin)
PATHS = {key: "/proc/sys/" + key.replace(".", "/") for key in given["keys"]}
UFW = "/etc/ufw-sysctl.conf"
def now():
    return {key: " ".join(open(path).read().split()) for key, path in PATHS.items()}
def reset():
    for key, value in given["keys"].items():
        with open(PATHS[key], "w") as file:
            file.write(value + "\\n")
answers = []
for files, late in given["scenarios"]:
    reset()
    for directory in ("/etc/sysctl.d", "/usr/lib/sysctl.d"):
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
    for path, text in {**files, UFW: late}.items():
        with open(path, "wb") as file:
            file.write(text.encode("latin-1"))
    before = now()
    subprocess.run(["/usr/lib/systemd/systemd-sysctl"], stderr=subprocess.DEVNULL)
    subprocess.run(["sysctl", "-e", "-q", "-p", UFW], stderr=subprocess.DEVNULL)
    with open(UFW, "rb") as file:
        last = BootFile(UFW, UFW, parse_procps(UFW, file.read()), is_late=True)
    boot = boot_of((*read_files(LocalMachine("/")), last))
    found = {key: boot.deciding(key, before[key]) for key in PATHS}
    answers.append([now(), {key: each.value if each and each.value is not None else before[key]
                            for key, each in found.items()}])
reset()
print(json.dumps(answers))
"""
KEYS = {
    "net.core.somaxconn": "77",
    "net.ipv4.tcp_keepalive_time": "77",
    "net.ipv4.tcp_rmem": "4096 131072 6291456",
    "net.ipv4.ip_local_reserved_ports": "",
}
NAMES = (
    "net.core.somaxconn", "net/core/somaxconn", "net.core//somaxconn", ".net.core.somaxconn", "net.core.somaxcon",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_*", "net.ipv4.tcp_keepalive_tim[a-f]",
    "net.ipv4.tcp_rmem", "net.core.SOMAXCONN", "net.ipv4.ip_local_reserved_ports", "net.core.somaxconn\u00a0",
)  # fmt: skip
NUMBERS = (
    "81", "82", "0x53", "0124", "085", '"86"', "87,", "+88", "", "99999999999999999999", "4294967296", "89 90",
    "91-92", "93,94-95", "4096 87380", "4096 16384 65536", "4096 x", "\u0663", "0x", "96\v", "4096,8192",
)  # fmt: skip


def sysctl_line(chance: random.Random) -> str:
    """One line of sysctl.d, right or odd."""
    roll = chance.random()
    if roll < 0.08:
        return chance.choice(
            ("# x = 1", "; x = 1", "nonsense", "=", "-net.core.somaxconn", "-net.ipv4.tcp_keepalive_*", "")
        )
    odd = BLANKS if roll < 0.4 else ("", " ")
    around = [chance.choice(odd) for _ in range(3)]
    tail = chance.choice(TAILS) if roll < 0.6 else ""
    sign = "-" if roll > 0.9 else ""
    name, number = chance.choice(NAMES), chance.choice(NUMBERS)
    return f"{around[0]}{sign}{name}{around[1]}={around[2]}{number}{tail}"


def test_kernel_parameters_are_set_as_systemd_and_ufw_set_them(shared: ContainerNode) -> None:
    chance = random.Random(f"{seed()}:sysctl")

    def text() -> str:
        return "".join(bytes_of(sysctl_line(chance) + chance.choice(ENDS)) for _ in range(chance.randint(1, 3)))

    paths = ("/etc/sysctl.d/10-a.conf", "/etc/sysctl.d/99-z.conf", "/usr/lib/sysctl.d/50-b.conf")
    scenarios = [({chance.choice(paths): text()}, text() if chance.random() < 0.4 else "") for _ in range(LINES // 2)]
    for scenario, (real, ours) in zip(scenarios, play(shared, SYSCTL, scenarios=scenarios, keys=KEYS), strict=True):
        assert ours == real, scenario
