"""Our readers of login.defs, /etc/environment and sudo's rules compared with the programs that these belong to."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

from tests.node.container import ContainerNode
from tests.sampling import is_soak, seed

LINES = 5000 if is_soak() else 300
BLANKS = (" ", " ", " ", "\t", "\t\t", "  ", " \t ", "\u00a0", "\u3000", "\v", "\f", "\r", "\ufeff")
ENDS = ("\n", "\n", "\n", "\n", "\n", "\r\n", "\r", "\0\n", " \n", "\t\r\n", "\n\n", "\0", "\v\n")
LONG = (990, 1000, 1010, 1023, 1024, 2000, 8150, 8190, 8200)


def play(node: ContainerNode, program: str, scenarios: list[str]) -> list[tuple[Any, Any]]:
    """Run a program in the node that answers with the referee's results and ours."""
    given = json.dumps(scenarios)
    done = node.run(["/usr/bin/python3", "-I", "-c", program], input=given, timeout=60 + LINES / 10, check=True)
    return json.loads(done.out)  # type: ignore[no-any-return]


def bytes_of(text: str) -> str:
    """UTF-8 as a string of bytes, in which a drawn \\xff stays a byte that no UTF-8 has."""
    return "".join(part if part == "\xff" else part.encode().decode("latin-1") for part in text)


def files_of(name: str, line: Callable[[random.Random], str], longest: int) -> list[str]:
    """LINES lines altogether, in files of 1 to `longest`; some without a newline at their end."""
    chance = random.Random(f"{seed()}:{name}")
    result, left = [], LINES
    while left > 0:
        count = chance.randint(1, longest)
        left -= count
        text = "".join(line(chance) + chance.choice(ENDS) for _ in range(count))
        result.append(bytes_of(text if chance.random() < 0.8 else text.rstrip("\n")))
    return result


# What useradd gives an account below a prefix: the mode of its home, and its UID, which UID_MIN decides.
USERADD = """
import json, os, shutil, subprocess, sys
from bai_wizard.pages.account.login_defs import login_defs, number_in
from bai_wizard.pages.node_state import is_package_before
from bai_wizard.resources.local import LocalMachine
is_old = is_package_before(LocalMachine("/"), "passwd", (4, 17))
ROOT = "/tmp/login-defs"
def referee(text):
    shutil.rmtree(ROOT, ignore_errors=True)
    os.makedirs(ROOT + "/etc")
    os.mkdir(ROOT + "/home")
    for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid"):
        with open(f"{ROOT}/etc/{name}", "w") as file:
            file.write("root:x:0:\\n" if name == "group" else "")
    with open(ROOT + "/etc/login.defs", "wb") as file:
        file.write(text)
    command = ["useradd", "--prefix", ROOT, "-m", "-k", "/none", "-N", "-g", "0", "eve"]
    subprocess.run(command, stderr=subprocess.DEVNULL)
    with open(ROOT + "/etc/passwd") as file:
        return [os.stat(ROOT + "/home/eve").st_mode & 0o7777, int(file.read().split(":")[2])]
def ours(text):
    values = login_defs(text, before_4_17=is_old)
    mode, umask, first = (number_in(values, name, before_4_17=is_old) for name in ("HOME_MODE", "UMASK", "UID_MIN"))
    mode = mode if mode is not None else 0o777 & ~(0o22 if umask is None else umask)
    return [mode & 0o7777, 1000 if first is None else first]
print(json.dumps([[referee(text), ours(text)] for text in (text.encode("latin-1") for text in json.load(sys.stdin))]))
"""
NAMES = ("HOME_MODE", "HOME_MODE", "UMASK", "UMASK", "UID_MIN", "UID_MIN", "home_mode", "HOME_MOD", "HOME_MODE\u00a0")
MODES = ("0700", "0750", "0755", "0711", "0027", "022", "077", "2000", "3000", "0x1c0", "0X1f", "0b111", "750", "00",
         "0", "-1", "-5", "+0700", "08", "0x", "0700x", "abc", "", "yes", "99999999999", "0000000000000700",
         "2147483647", "4294967295", "u=rwx", "\u0663", "1e3", "0_7")  # fmt: skip
UIDS = ("1000", "2000", "01750", "0x7d0", "500", "3000 ", '"1500"', "abc", "", "2000x", "\u0663", "0x", "+1500")


def login_defs_line(chance: random.Random) -> str:
    """One line of login.defs, right or odd."""
    roll = chance.random()
    if roll < 0.1:
        return chance.choice(
            ("# HOME_MODE 0700", "", " ", "HOME_MODE", "HOME_MODE ", "#UMASK 077", "FOO bar", '"', 'UMASK"')
        )
    blanks = BLANKS if roll < 0.5 else (" ", "\t")
    name = chance.choice(NAMES[: 6 if roll > 0.3 else None])
    value = chance.choice(UIDS if name == "UID_MIN" else MODES)
    value = chance.choice(
        (value, value, value, value, f'"{value}"', f'"{value}', f'{value}"', f"'{value}'", f'""{value}')
    )
    tail = chance.choice(("", "", "", "# x", " # x", " x", "\r", "\u00a0", "\xff")) if roll < 0.5 else ""
    line = chance.choice(("", "", " ", "\t", "\u00a0", "\v", "\ufeff")) if roll < 0.3 else ""
    blank = chance.choice(blanks) * (chance.choice(LONG) if 0.1 < roll < 0.14 else 1)
    return f"{line}{name}{blank}{value}{tail}"


def test_login_defs_is_read_as_useradd_reads_it(shared: ContainerNode) -> None:
    files = files_of("login.defs", login_defs_line, 4)
    for file, (real, ours) in zip(files, play(shared, USERADD, files), strict=True):
        assert ours == real, file


# What a session gets from pam_env, through libpam and a directory of services of our own.
PAM = """
import ctypes, json, os, sys
from bai_wizard.pages.node.pam_env import pam_environment
from bai_wizard.pages.node_state import is_package_before
from bai_wizard.resources.local import LocalMachine
is_old = is_package_before(LocalMachine("/"), "libpam-modules", (1, 6))
pam = ctypes.CDLL("libpam.so.0")
TALK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
class Conversation(ctypes.Structure):
    _fields_ = [("talk", TALK), ("data", ctypes.c_void_p)]
conversation = Conversation(TALK(lambda *_: 19), None)
pam.pam_getenvlist.restype = ctypes.POINTER(ctypes.c_char_p)
SERVICES, FILE = b"/tmp/environment-services", "/tmp/environment-file"
os.makedirs(SERVICES, exist_ok=True)
with open(SERVICES + b"/bai-environment", "w") as file:
    file.write(f"session required pam_env.so conffile=/dev/null envfile={FILE}\\n")
def referee(text):
    with open(FILE, "wb") as file:
        file.write(text)
    handle = ctypes.c_void_p()
    begun = pam.pam_start_confdir(b"bai-environment", b"root", ctypes.byref(conversation), SERVICES,
                                  ctypes.byref(handle))
    assert begun == 0, begun
    opened = pam.pam_open_session(handle, 0)
    assert opened == 0, opened
    result, pairs = {}, pam.pam_getenvlist(handle)
    for number in range(10000):
        if not pairs[number]:
            break
        name, _, value = pairs[number].decode("latin-1").partition("=")
        result[name] = value
    pam.pam_end(handle, 0)
    return result
print(json.dumps([[referee(text), pam_environment(text, before_1_6=is_old)]
                  for text in (text.encode("latin-1") for text in json.load(sys.stdin))]))
"""
VARIABLES = (
    "http_proxy",
    "HTTP_PROXY",
    "no_proxy",
    "A",
    "A",
    "B",
    "PATH",
    "1x",
    "_",
    "",
    "a-b",
    "a.b",
    "\u00e9",
    "A B",
)
VALUES = ("http://p:1", "x", "y z", "", '"quoted"', "'single'", '"a"b"', "\"a'", "'", '"', '""', "a#b", '"a # b"',
          "$HOME", "${A}", "a\\", "a\\b", "\\", "=", "a=b", "\u00e9", "\xff", "x\0y",
          '"x" ', '"x"\r', "\u00a0")  # fmt: skip


def environment_line(chance: random.Random) -> str:
    """One line of /etc/environment, right or odd."""
    roll = chance.random()
    if roll < 0.15:
        return chance.choice(
            ("# A=1", "", " ", "\t# x", "A", "http_proxy", "export A", "export", "\\", " \\", "# x\\", "\0", "#")
        )
    name, value = chance.choice(VARIABLES[: 6 if roll > 0.5 else None]), chance.choice(VALUES)
    blanks = ("", "", *BLANKS) if roll < 0.3 else ("",)
    before, after = chance.choice(blanks), chance.choice(blanks)
    head = chance.choice(("", "", "", "export ", "export  ", "export\t", " ", "\t", "Export ", "\u00a0", "\ufeff"))
    tail = chance.choice(("", "", "", " ", "\t", " # x", "#x", "\\", " \\", "\\ ", " x", ";")) if roll < 0.7 else ""
    line = f"{head if roll < 0.7 else ''}{name}{before}={after}{value}{tail}"
    return line + "z" * chance.choice(LONG) if roll < 0.17 else line


def test_the_environment_of_logins_is_read_as_pam_env_reads_it(shared: ContainerNode) -> None:
    files = files_of("environment", environment_line, 4)
    for file, (real, ours) in zip(files, play(shared, PAM, files), strict=True):
        assert ours == real, file


# Which value sshd takes for a user that no Match block names.
SSHD = """
import glob, json, os, subprocess, sys
from bai_wizard.pages.account.sshd import general_lines, sshd_lines
from bai_wizard.resources.local import LocalMachine
os.makedirs("/run/sshd", exist_ok=True)
answers = []
for text in json.load(sys.stdin):
    for path in glob.glob("/etc/ssh/sshd_config.d/*"):
        os.unlink(path)
    for path, part in zip(("sshd_config", "sshd_config.d/50-a.conf", "sshd_config.d/60-b.conf"), text.split("----")):
        with open("/etc/ssh/" + path, "wb") as file:
            file.write(part.encode("latin-1"))
    command = ["sshd", "-T", "-C", "user=nobody,host=localhost,addr=127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/sbin"})
    real = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("passwordauthentication ")]
    lines = general_lines(list(sshd_lines(LocalMachine("/"), "passwordauthentication")))
    answers.append([real, [*(line.value for line in lines), "yes"][:1]])
print(json.dumps(answers))
"""
SSHD_LINES = (
    *(
        "PasswordAuthentication no",
        "PasswordAuthentication yes",
        "passwordauthentication=no",
        "\tPASSWORDAUTHENTICATION yes",
    ),
    *(
        'PasswordAuthentication "no"',
        "PasswordAuthentication\tno # cloud",
        "PasswordAuthentication = no\r",
        "# Password",
    ),
    *("PasswordAuthentication no\f", "#PasswordAuthentication no", "Match User eve", "Match all", "UsePAM yes", ""),
    *("Include /etc/ssh/sshd_config.d/*.conf", "include sshd_config.d/60*.conf", "Match Address 10.0.0.0/8"),
)


def test_settings_of_sshd_are_read_as_sshd_reads_them(shared: ContainerNode) -> None:
    chance = random.Random(f"{seed()}:sshd")
    files = []
    for _ in range(LINES // 6):
        kinds = (SSHD_LINES, SSHD_LINES[:-3], SSHD_LINES[:-3])
        parts = ("\n".join(chance.choices(kind, k=chance.randint(1, 4))) + "\n" for kind in kinds)
        files.append("----".join(parts))
    answers = play(shared, SSHD, files)
    for file, (real, ours) in zip(files, answers, strict=True):
        assert not real or ours == real, file
    assert sum(bool(real) for real, _ in answers) > len(answers) / 2


# What sudo really lets the account do, by running commands that no generated rule names. `sudo -l COMMAND` is
# no referee: sudo 1.9.16 lists what `(:ops) ALL` allows as another group as if root could run it.
SUDO = """
import json, os, re, subprocess, sys
from bai_wizard.pages.account.sudo_rules import allows_sudo, is_refusal, read_sudo_rules
from bai_wizard.resources.local import LocalMachine
COMMANDS = (("/usr/bin/id",), ("/usr/bin/true",), ("/usr/sbin/chroot", "--version"))
ASKS = re.compile("a password is required|interactive authentication is required")
AS_BAI = ("setpriv", "--reuid=1100", "--regid=1100", "--init-groups", "sudo")
def run(*words):
    return subprocess.run((*AS_BAI, *words), input="secret\\n", capture_output=True, text=True,
                          env={"LC_ALL": "C", "PATH": "/usr/bin:/usr/sbin"})
def referee():
    needs_none = True
    for command in COMMANDS:
        done = run("-n", *command)
        if ASKS.search(done.stderr):
            needs_none, done = False, run("-S", *command)
        if done.returncode:
            return None
    return needs_none
def ours():
    answer = read_sudo_rules(LocalMachine("/"), "bai")
    return [allows_sudo(answer.out), is_refusal(answer), answer.out, answer.err]
answers = []
for text in json.load(sys.stdin):
    with open("/etc/sudoers", "wb") as file:
        file.write(text.encode("latin-1"))
    answers.append([referee(), ours()])
print(json.dumps(answers))
"""
WHO = (
    *("bai",) * 6,
    "%ops",
    "%bai",
    "#1100",
    "%#1100",
    "ALL",
    "eve",
    "root",
    "STAFF",
    "!bai",
    "ALL, !bai",
    "bai\u00a0",
)
WHERE = (*("ALL",) * 9, "nowhere", "ALL, !nowhere", "!ALL", "10.99.0.0/16")
AS = (
    *("(ALL:ALL) ", "(ALL) ", "(root) ", "", "(bai) ", "(:ops) ", "(bai:ALL) ", "(ALL, !root) ", "(#0) ", "(BOSS) "),
    *("(eve, root) ", "(!root) ", "(root, !ALL) "),
)
TAGS = (
    *("", "", "", "NOPASSWD: ", "NOPASSWD:", "PASSWD: ", "NOEXEC: ", "SETENV: NOPASSWD: ", "NOPASSWD: SETENV: "),
    *("CWD=/tmp ", "NOPASSWD : "),
)
WHAT = (
    *(*("ALL",) * 9, "/usr/bin/env", "!ALL", "ALL, !/usr/bin/su", "/usr/bin/true, ALL", "ALL, PASSWD: /usr/bin/su"),
    *("TOOLS", "/usr/games/", "sudoedit /etc/hosts", "!/usr/bin/su", "ALL, !ALL", "/bin/su, NOPASSWD: ALL"),
)
OPTIONS = (
    *("Defaults !authenticate", "Defaults:bai !authenticate", "Defaults:eve !authenticate", "Defaults authenticate"),
    *("Defaults>bai !authenticate", "Defaults>root !authenticate", "Defaults!/usr/bin/su !authenticate", ""),
    *("Defaults env_reset", 'Defaults badpass_message="!authenticate"', "# bai ALL=(ALL) NOPASSWD: ALL", "#"),
)
ALIASES = (
    "User_Alias STAFF = bai, eve\nRunas_Alias BOSS = root\nCmnd_Alias TOOLS = ALL\n",
    "User_Alias STAFF = ALL, !bai\nRunas_Alias BOSS = ALL, !root\nCmnd_Alias TOOLS = /usr/bin/env, /usr/bin/su\n",
)


def sudoers(chance: random.Random) -> str:
    """Aliases, and one to four lines, mostly such as sudo accepts."""
    lines = []
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.25:
            lines.append(chance.choice(OPTIONS))
        else:
            parts = (WHO, (" ", "\t", " \\\n  "), WHERE, ("=", " = "), AS, TAGS, WHAT)
            lines.append("".join(map(chance.choice, parts)))
    end = chance.choice(("\n", "\n", "\n", "", "\r\n", " # x\n"))
    head = "Defaults !fqdn, lecture=never, timestamp_timeout=0\n"
    return bytes_of(head + chance.choice(ALIASES) + "\n".join(lines) + end)


def is_order_hidden(output: str) -> bool:
    """Whether Defaults for all commands and for root say different things: sudo does not show which is the last."""
    in_general, _, others = output.partition("Runas and Command-specific defaults")
    return bool(re.search(r"\bauthenticate", in_general)) and ">root !authenticate" in others


def assert_sudo_agrees(node: ContainerNode) -> None:
    chance = random.Random(f"{seed()}:sudoers")
    node.run(["sh", "-c", ACCOUNTS], check=True)
    files = [sudoers(chance) for _ in range(LINES // 6)]
    for file, (real, ours) in zip(files, play(node, SUDO, files), strict=True):
        allowed, is_refused, *output = ours
        if allowed is False and real is True and is_order_hidden(output[0]):
            continue
        assert allowed == real, (file, output)
        assert real is not None or is_refused or "(" in output[0], ("not recognized as a refusal", file, output)


ACCOUNTS = """
id bai && exit
groupadd -g 1200 ops; useradd -u 1100 -U -G ops bai; useradd -u 1300 -U eve
echo bai:secret | chpasswd -c SHA256 -s 1000  # quick to verify: sudo asks for it a hundred times
"""


def test_what_the_account_may_do_is_what_sudo_lets_it_do(shared: ContainerNode) -> None:
    assert_sudo_agrees(shared)
