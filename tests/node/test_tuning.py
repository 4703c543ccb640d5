"""Tuning on a real node: our model of systemd-sysctl and pam_limits compared with the originals."""

from __future__ import annotations

import json
import random

import pytest

from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.sampling import is_soak, sampled, seed

KEYS = (
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
)
SPELLINGS = ("{0}", "{0}", "{0}", "-{0}", "net.ipv4.tcp_keepalive_*", "net.ipv4.tcp_*in*", "net.*.tcp_keepalive_time")
DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
NAMES = ("10-a.conf", "50-b.conf", "99-backendai.conf", "99-z.conf", "Z.conf", "a.conf", "b.conf.off", ".c.conf")
DEFAULT = 77
# Puts the files in place, lets systemd set the values, and asks both sides.
PLAY = """
import json, os, shutil, subprocess, sys
from bai_wizard.resources.local import LocalMachine
from bai_wizard.pages.tuning.boot_sysctl import boot_of, read_files
given = json.load(sys.stdin)
answers = []
for files in given["scenarios"]:
    for directory in given["directories"]:
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
    for path, text in files.items():
        if text is None:
            os.symlink("/dev/null", path)
        else:
            open(path, "w").write(text)
    settings = [f"{key}={given['default']}" for key in given["keys"]]
    subprocess.run(["sysctl", "-q", "-w", *settings], check=True)
    subprocess.run(["/usr/lib/systemd/systemd-sysctl"], stderr=subprocess.DEVNULL)
    live = {key: open("/proc/sys/" + key.replace(".", "/")).read().strip() for key in given["keys"]}
    boot = boot_of(read_files(LocalMachine("/")))
    found = {key: boot.deciding(key, "1") for key in given["keys"]}
    answers.append([live, {key: item.value if item else str(given["default"]) for key, item in found.items()}])
print(json.dumps(answers))
"""


def scenario(chance: random.Random) -> dict[str, str | None]:
    """Files by path; None is a link to /dev/null."""
    files: dict[str, str | None] = {}
    values = iter(range(100, 200))
    for _ in range(chance.randint(2, 7)):
        path = f"{chance.choice(DIRECTORIES)}/{chance.choice(NAMES)}"
        if chance.random() < 0.15:
            files[path] = None
            continue
        lines = []
        for _ in range(chance.randint(0, 4)):
            key = chance.choice(SPELLINGS).format(chance.choice(KEYS))
            if chance.random() < 0.3:
                key = key.replace(".", "/")
            lines.append(f"-{key.removeprefix('-')}" if chance.random() < 0.15 else f" {key} = {next(values)} ")
        files[path] = "\n".join(lines) + "\n"
    return files


@pytest.mark.parametrize("suite", ["trixie", "bookworm"])
def test_the_boot_time_winner_is_systemds(suite: str, node_factory: NodeFactory) -> None:
    node = node_factory(suite)
    chance = random.Random(seed())
    scenarios = [scenario(chance) for _ in range(1000 if is_soak() else 150)]
    given = {"scenarios": scenarios, "directories": DIRECTORIES, "keys": KEYS, "default": DEFAULT}
    done = node.run(["/usr/bin/python3", "-I", "-c", PLAY], input=json.dumps(given), timeout=300, check=True)
    for files, (systemds, ours) in zip(scenarios, json.loads(done.out), strict=True):
        assert ours == systemds, files


def limits_of(node: ContainerNode, user: str) -> tuple[str, str]:
    """Soft and hard limit of open files of a login."""
    done = node.run(["su", "-", user, "-c", "ulimit -Sn; ulimit -Hn"], check=True)
    soft, hard = done.out.split()
    return soft, hard


@pytest.fixture
def account(node: ContainerNode) -> ContainerNode:
    """A node with the operation account."""
    node.write("/root/answers.toml", 'version = 1\n[account]\nsudo = "no"\n[tuning]\nlimits = { nofile = 4096 }\n')
    return node


CASES: tuple[dict[str, str], ...] = (
    {},
    {"/etc/security/limits.conf": "bai hard nofile 2000\nbai soft nofile 1500\n"},
    {
        "/etc/security/limits.conf": "* hard nofile 2000\n",
        "/etc/security/limits.d/10.conf": "@bai soft nofile 1200\n",
    },
    {"/etc/security/limits.d/10.conf": "bai - nofile 3000\n@bai - nofile 1111\n"},
    {
        "/etc/security/limits.d/10.conf": "* - nofile 3000\n",
        "/etc/security/limits.d/20.conf": "bai soft nofile 1100\n",
    },
    {"/etc/security/limits.d/zz.conf": "bai hard nofile 2500\nbai soft nofile 2500\n"},
)


@pytest.mark.parametrize("case", sampled("limits of a login", range(len(CASES)), 2))
def test_the_limits_of_a_login_are_pams(account: ContainerNode, case: int) -> None:
    """What `doctor` computes without a login, and what a login gets, with our file and without it."""
    node = account
    assert node.wizard("--headless", "/root/answers.toml", "--only", "account").rc == 0
    for path, text in CASES[case].items():
        node.write(path, text)
    script = (
        "from bai_wizard.resources.local import LocalMachine as M; from bai_wizard.core.page import Context as C;"
        "from bai_wizard.pages.tuning.check_limits import _effective as e;"
        "print(*[int(e(M('/'), C(), 'bai', s, 'nofile')[0]) for s in ('soft', 'hard')])"
    )

    def computed() -> tuple[str, ...]:
        return tuple(node.run(["/usr/bin/python3", "-I", "-c", script], check=True).out.split())

    assert computed() == limits_of(node, "bai")
    done = node.wizard("--headless", "/root/answers.toml", "--only", "tuning")
    assert computed() == limits_of(node, "bai")
    if "zz.conf" in str(CASES[case]):
        assert done.rc == 6, done.out + done.err
        assert "zz.conf" in done.out + done.err
        return
    assert done.rc == 0, done.out + done.err
    assert [int(limit) >= 4096 for limit in limits_of(node, "bai")] == [True, True]


def test_a_node_that_was_set_up_by_hand_from_the_manual(node: ContainerNode) -> None:
    path = "/etc/sysctl.d/99-backendai.conf"
    node.write(path, 'net.ipv4.ip_local_port_range="10000 65000"\nnet.ipv4.tcp_early_retrans=1\nvm.swappiness=10\n')
    node.run(["sysctl", "-p", path])
    assert node.run(["sysctl", "-n", "net.ipv4.ip_local_port_range"]).out.split() == ["32768", "60999"]
    node.write("/root/answers.toml", "version = 1\n[tuning]\n")
    done = node.wizard("--headless", "/root/answers.toml")
    assert done.rc == 0, done.out + done.err
    assert node.run(["sysctl", "-n", "net.ipv4.ip_local_port_range"]).out.split() == ["10000", "65000"]
    assert node.run(["sysctl", "-n", "net.ipv4.tcp_early_retrans"]).out.strip() == "3"
    text = node.read(path).decode()
    assert "vm.swappiness=10" in text
    assert not [line for line in text.split("\n") if '"' in line and not line.startswith("#")]
    assert node.wizard("--headless", "/root/answers.toml", "--plan", "--detailed-exitcode").rc == 0


def test_a_later_file_is_reported_in_every_plan(node: ContainerNode) -> None:
    node.write("/root/answers.toml", "version = 1\n[tuning]\n")
    node.write("/etc/sysctl.d/zz-site.conf", "# ours\nnet.ipv4.tcp_fin_timeout = 90\nnet.ipv4.tcp_tw_reuse = 1\n")
    done = node.wizard("--headless", "/root/answers.toml")
    assert done.rc == 6, done.out + done.err
    assert "zz-site.conf:2" in done.out + done.err
    again = node.wizard("--headless", "/root/answers.toml", "--plan")
    assert "zz-site.conf:2" in again.out + again.err
    run = node.wizard("--headless", "/root/answers.toml")
    assert "zz-site.conf:2" in run.out + run.err, "also a run without anything to do says it"
    node.run(["/usr/lib/systemd/systemd-sysctl"])
    assert node.run(["sysctl", "-n", "net.ipv4.tcp_fin_timeout"]).out.strip() == "90", "it was right to warn"


def test_a_hard_limit_that_the_node_cannot_give_is_reported(node: ContainerNode) -> None:
    """By the run, exactly where a login does not get it; the doctor leaves a container's limits to its host."""
    answers = 'version = 1\n[account]\nsudo = "no"\n[tuning]\nlimits = { nofile = 512000 }\n'
    node.write("/root/answers.toml", answers, 0o600)
    done = node.wizard("--headless", "/root/answers.toml")
    assert done.rc == 0, done.out + done.err
    lacks = int(limits_of(node, "bai")[1]) < 512000
    again = node.wizard("--headless", "/root/answers.toml")
    for shown in (done.out, again.out):
        assert ("for logins remains" in shown) == lacks, shown
    seen = node.wizard("doctor", "--json", "--only", "tuning.limits-not-granted")
    assert ("the host of this container sets hard limits: hard nofile" in seen.out) == lacks, seen.out


def test_a_session_with_less_than_the_files_say_is_no_success(account: ContainerNode) -> None:
    """The files are right and the stack runs pam_limits; a second line of it lowers the session again."""
    node = account
    assert node.wizard("--headless", "/root/answers.toml", "--only", "account").rc == 0
    node.write("/root/low.conf", "bai - nofile 1100\n")
    stack = node.read("/etc/pam.d/su").decode()
    node.write("/etc/pam.d/su", f"{stack}\nsession required pam_limits.so conf=/root/low.conf\n")
    done = node.wizard("--headless", "/root/answers.toml", "--only", "tuning")
    assert done.rc == 4, done.out + done.err
    assert "a new session has `bai soft nofile 1100` instead of 4096" in " ".join((done.out + done.err).split())
    assert limits_of(node, "bai")[0] == "1100"
    look = ("doctor", "--json", "--only", "tuning.limits-not-in-effect")
    assert '"found": "1100"' in node.wizard(*look).out
    node.write("/etc/pam.d/su", stack)
    repaired = node.wizard(*look)
    assert repaired.rc == 0, repaired.out
    assert limits_of(node, "bai")[0] == "4096"


@pytest.mark.parametrize("suite", ["trixie", pytest.param("bookworm", marks=pytest.mark.soak)])
def test_verifying_sessions_leaves_none_behind(suite: str, node_factory: NodeFactory) -> None:
    """Not for logind, and nothing that would keep the account; what others started or asked for does."""
    node = node_factory(suite)
    node.write("/root/answers.toml", 'version = 1\n[account]\nsudo = "no"\n[tuning]\nservices = {}\n')
    applied = node.wizard("--headless", "/root/answers.toml", "--only", "account,tuning")
    assert applied.rc == 0, applied.out + applied.err
    seen = node.wizard("doctor", "--json", "--only", "tuning.limits-not-in-effect,tuning.limits-session-old")
    assert seen.out.count('"result": "ok"') == 2, seen.out
    assert node.run(["loginctl", "list-users", "--no-legend"]).out == ""
    assert node.run(["pgrep", "-u", "bai"]).out == ""

    # A login that ended a moment ago: its manager still runs, with limits from whenever it was started.
    node.run(["su", "-", "bai", "-c", "true"], check=True)
    assert "systemd" in node.run(["ps", "-u", "bai", "-o", "comm="], check=True).out
    node.run(["prlimit", "--nofile=100:100", "--pid", node.run(["pgrep", "-o", "-u", "bai"], check=True).out.strip()])
    seen = node.wizard("doctor", "--json", "--only", "tuning.limits-session-old")
    assert '"result": "ok"' in seen.out, seen.out

    node.run(["sleep", "600"], user="bai", detach=True)
    node.wait_for(lambda: "sleep" in node.run(["ps", "-u", "bai", "-o", "comm="]).out, what="a process of bai")
    refused = node.wizard("undo")
    assert refused.rc == 4, refused.out
    assert "bai runs sleep" in " ".join(refused.out.split()), refused.out
    node.run(["pkill", "-u", "bai", "sleep"], check=True)
    node.run(["loginctl", "enable-linger", "bai"], check=True)
    refused = node.wizard("undo")
    assert refused.rc == 4, refused.out
    assert "loginctl disable-linger bai" in " ".join(refused.out.split()), refused.out
    node.run(["loginctl", "disable-linger", "bai"], check=True)
    node.run(["su", "-", "bai", "-c", "true"], check=True)
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert node.run(["getent", "passwd", "bai"]).rc != 0
    assert node.run(["pgrep", "-u", "1100"]).out == ""
