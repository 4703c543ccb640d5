"""Conditions that no step changes but that defeat a setting: found by a check and refused by the page's plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, refusals
from bai_wizard.core.paths import DOCKER_SOCKET
from bai_wizard.core.state import Account, Entry, Group, Image, Key, Membership, State, Unit, member_key
from bai_wizard.core.step import Blocked, Pending, PlannedStep, Unchanged
from bai_wizard.doctor.run import run_check
from bai_wizard.node.docker import moved_from
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.account import checks as account
from bai_wizard.pages.account.checks import PLUGINS, TRY, reach
from bai_wizard.pages.account.plan import steps
from bai_wizard.pages.account.probe import probe
from bai_wizard.pages.account.settings import AccountSettings
from bai_wizard.pages.account.sshd import NOLOGIN, sshd_fault
from bai_wizard.pages.account.steps import Sudo
from bai_wizard.pages.aliases.probe import nsswitch
from bai_wizard.pages.aliases.steps import HostsBlock
from bai_wizard.pages.check import WordedCheck, unfixed
from bai_wizard.pages.docker import check_system
from bai_wizard.pages.images.steps import Pull, PulledImages
from bai_wizard.pages.node_state import NSSWITCH
from bai_wizard.pages.storage.volume_steps import VersionSays
from bai_wizard.pages.tuning.check_limits import at_login
from bai_wizard.pages.tuning.checks import UNIT, WANTS, at_boot
from bai_wizard.pages.tuning.limits import decide_limit, limit_overrides
from bai_wizard.pages.tuning.pam_limits import Login, parse_limits
from bai_wizard.steps.docker import DockerSocket
from bai_wizard.steps.hosts_lines import Alias
from tests.settings import settings_from

BAI: dict[Key, State | None] = {
    Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
    Key("group", "docker"): Group("docker", 990),
}
MASKED = Unit("masked", "inactive")


def text(path: str, content: str, mode: int = 0o644, uid: int = 0) -> dict[Key, State]:
    return {Key("file", path): Entry("file", uid, uid, mode, content.encode())}


def socket(uid: int = 0, gid: int = 990, mode: int = 0o660) -> dict[Key, State]:
    return {
        Key("file", DOCKER_SOCKET): Entry("other", uid, gid, mode),
        Key("unit", "docker.service"): Unit("enabled", "active"),
    }


def result(
    check: WordedCheck, states: dict[Key, State], looks: dict[tuple[str, ...], Completed] | None = None
) -> str:
    machine = SimulatedMachine({**BAI, **states}, Environment(looks=looks or {}))
    (finding,) = run_check(check, machine, Context())
    refused = refusals(unfixed(machine, Context(), check))
    verdicts = [step.inspect(machine) for step in refused]
    assert all(isinstance(verdict, Blocked) and verdict.reason for verdict in verdicts)
    assert all(step.optional for step in refused), "the other pages can still be applied"
    assert bool(refused) is (finding.result in ("problem", "warning"))
    return finding.result


NSS = {
    "hosts: files dns": "ok",
    "hosts: files mdns4_minimal [NOTFOUND=return] dns": "ok",
    "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns": "ok",
    "hosts: myhostname files dns": "ok",
    "hosts:files": "ok",
    "passwd: files\n# hosts: dns": "ok",
    "hosts: dns": "problem",
    "hosts: dns files": "problem",
    "hosts: dns [!UNAVAIL=return] files": "problem",
    "hosts: mdns4 files": "problem",
    "hosts: mymachines [NOTFOUND=return] files": "problem",
    "hosts: files dns\nhosts: dns": "problem",
    "hosts: sss  # files": "problem",
}


@pytest.mark.parametrize("line", NSS)
def test_the_order_of_name_lookups(line: str) -> None:
    assert result(nsswitch, text(NSSWITCH, line)) == NSS[line]


USUAL = "session required pam_limits.so\n"
PAM = {
    "usual": ({"sshd": USUAL}, "ok"),
    "another name for session": ({"sshd": "-session optional /lib/security/pam_limits.so debug\n"}, "ok"),
    "included": ({"sshd": "@include common-session\n", "common-session": USUAL}, "ok"),
    "a substack": ({"su": "session substack rest\n", "rest": USUAL}, "ok"),
    "in brackets": ({"su": "session [success=ok default=ignore] pam_limits.so\n"}, "ok"),
    "continued": ({"su": "session required \\\n pam_limits.so\n"}, "ok"),
    "a comment": ({"sshd": f"#{USUAL}"}, "warning"),
    "of another type": ({"sshd": "auth required pam_limits.so\n"}, "warning"),
    "another file": ({"sshd": "session required pam_limits.so conf=/dev/null\n"}, "warning"),
    "not included": ({"sshd": "session required pam_unix.so\n", "common-session": USUAL}, "warning"),
    "one of two": ({"sshd": USUAL, "cron": "session required pam_unix.so\n"}, "warning"),
    "ended before": ({"sshd": "session sufficient pam_permit.so\n" + USUAL}, "warning"),
    "not ended": ({"sshd": "session required pam_permit.so\n" + USUAL}, "ok"),
    "a circle": ({"su": "@include su\n"}, "warning"),
}


@pytest.mark.parametrize("case", PAM)
def test_whether_logins_read_the_limits(case: str) -> None:
    files, expected = PAM[case]
    states: dict[Key, State] = {}
    for name, content in files.items():
        states |= text(f"/etc/pam.d/{name}", content)
    assert result(at_login, states) == expected


@pytest.mark.parametrize(
    ("unit", "wanted", "expected"),
    [
        (Unit("static", "active"), True, "ok"),
        (Unit("static", "active"), False, "problem"),
        (MASKED, True, "problem"),
        (Unit("masked-runtime", "inactive"), True, "problem"),
    ],
)
def test_whether_a_boot_sets_parameters(unit: Unit, wanted: bool, expected: str) -> None:
    states: dict[Key, State] = {Key("unit", UNIT): unit}
    states |= text(f"{WANTS[1]}/{UNIT if wanted else 'dev-mqueue.mount'}", "")
    assert result(at_boot, states) == expected


SYSCTL_UNIT = (
    "[Unit]\nConditionPathIsReadWrite=/proc/sys/net/\n[Service]\nExecStart=/usr/lib/systemd/systemd-sysctl\n"
)


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        (
            "/etc/systemd/system/systemd-sysctl.service.d/x.conf",
            "[Service]\nExecStart=\nExecStart=/bin/true",
            "problem",
        ),
        ("/etc/systemd/system/systemd-sysctl.service.d/x.conf", "[Unit]\nConditionPathExists=/none", "problem"),
        ("/etc/systemd/system/systemd-sysctl.service.d/x.conf", "[Unit]\nConditionPathExists=", "ok"),
        ("/etc/systemd/system/systemd-sysctl.service.d/x.conf", "[Service]\nExecStartPost=/bin/true", "ok"),
        ("/run/systemd/system/service.d/x.conf", "[Unit]\nAssertPathExists=/none", "problem"),
        ("/etc/systemd/system/systemd-.service.d/x.conf", "[Unit]\nConditionVirtualization=vm", "problem"),
        ("/usr/lib/systemd/system/systemd-sysctl.service.d/x.conf", "[Unit]\nConditionPathExists=/x", "ok"),
        ("/etc/systemd/system/systemd-sysctl.service", "[Service]\nExecStart=/bin/true", "problem"),
    ],
)
def test_conditions_that_keep_the_unit_from_setting_parameters(path: str, content: str, expected: str) -> None:
    states: dict[Key, State] = {Key("unit", UNIT): Unit("static", "active")}
    states |= text(f"{WANTS[1]}/{UNIT}", "")
    states |= text(f"/usr/lib/systemd/system/{UNIT}", SYSCTL_UNIT)
    assert result(at_boot, {**states, **text(path, content)}) == expected


LOOKUPS = {
    "passwd: files systemd\ngroup: files\nshadow: files": "ok",
    "passwd: sss files\ngroup: db files": "ok",
    "passwd: compat": "ok",
    "hosts: dns": "ok",
    "passwd: systemd": "problem",
    "group: sss [NOTFOUND=return] files": "problem",
    "group: sss [SUCCESS=return] files": "ok",
    "shadow: sss": "problem",
    "passwd: files\ninitgroups: systemd": "problem",
}


@pytest.mark.parametrize("lines", LOOKUPS)
def test_whether_the_account_is_found_in_the_files(lines: str) -> None:
    files = {**text("/etc/nsswitch.conf", lines), **text("/etc/passwd", "bai:x:1100:1100::/home/bai:/bin/bash\n")}
    assert result(account.nsswitch, files) == LOOKUPS[lines]
    files |= text("/etc/passwd", "root:x:0:0::/root:/bin/bash\n")
    assert result(account.nsswitch, files) == "not-applicable", "an account of a directory"


@pytest.mark.parametrize("word", ["enabled", "disabled", "masked"])
def test_whether_containerd_is_started_at_boot(word: str) -> None:
    states: dict[Key, State] = {**socket(), Key("unit", "containerd.service"): Unit(word, "active")}
    assert result(check_system.containerd, states) == ("ok" if word == "enabled" else "problem")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (socket(), "ok"),
        (socket(mode=0o666), "problem"),
        (socket(mode=0o777), "problem"),
        (socket(mode=0o600), "problem"),
        (socket(gid=1100), "problem"),
        (socket(uid=1100), "problem"),
        (
            {**socket(), **text("/etc/systemd/system/docker.socket.d/x.conf", "[Socket]\nSocketMode=0666\n")},
            "problem",
        ),
        ({**socket(), **text("/etc/systemd/system/docker.socket", "[Socket]\nSocketMode = \n")}, "problem"),
    ],
)
def test_users_of_the_docker_socket(states: dict[Key, State], expected: str) -> None:
    machine = SimulatedMachine({**BAI, **states})
    assert [finding.result for finding in run_check(check_system.socket_closed, machine, Context())] == [expected]
    verdict = DockerSocket(id="docker.socket-open").inspect(machine)
    of_unit = any("docker.socket" in key.name for key in states)
    assert isinstance(verdict, Unchanged if expected == "ok" else Blocked if of_unit else Pending)


@pytest.mark.parametrize(
    ("there", "active", "expected"),
    [
        (Entry("other", 0, 990, 0o660), "active", "ok"),
        (None, "active", "problem"),
        (Entry("file", 0, 990, 0o660, b""), "active", "problem"),
        (None, "inactive", "not-applicable"),
    ],
)
def test_a_socket_that_was_deleted_under_a_running_engine(there: Entry | None, active: str, expected: str) -> None:
    states: dict[Key, State] = {Key("unit", "docker.service"): Unit("enabled", active)}
    states |= {Key("file", DOCKER_SOCKET): there} if there else {}
    assert result(check_system.socket_present, states) == expected


def test_an_inaccessible_directory_is_reported_once_for_its_contents() -> None:
    closed: dict[Key, State] = {Key("file", path): Entry("directory", 0, 0, 0o700) for path in ("/home", "/home/bai")}

    def answers(out: str) -> dict[tuple[str, ...], Completed]:
        words = ("-x", "/home", "-x", "/home/bai", "-r", "/etc/hosts")
        ids = ("--reuid", "1100", "--regid", "1100", "--init-groups", "--no-new-privs", "--bounding-set=-all")
        return {("setpriv", *ids, "sh", "-c", TRY, "sh", *words): Completed(0, out, "")}

    states: dict[Key, State] = {**closed, **text("/etc/hosts", "", 0o600)}
    assert result(reach, states, answers("")) == "ok"
    assert result(reach, states, answers("-r /etc/hosts\n")) == "problem"
    machine = SimulatedMachine({**BAI, **states}, Environment(looks=answers("-x /home\n-x /home/bai\n")))
    (finding,) = run_check(reach, machine, Context())
    assert [each.where for each in finding.evidence] == ["/home"]
    assert "chmod o+x /home" in finding.guidance


def test_only_files_that_docker_runs_as_plugins_are_tried() -> None:
    """What an interrupted dpkg has left beside them has no permissions, and is replaced by `dpkg --configure`."""
    ids = ("--reuid", "1100", "--regid", "1100", "--init-groups", "--no-new-privs", "--bounding-set=-all")
    place = PLUGINS[0]
    others = ("docker-buildx.dpkg-new", "docker-compose.dpkg-tmp", "docker-compose.bak", "README", "docker-")
    states: dict[Key, State] = {Key("file", place): Entry("directory", 0, 0, 0o755)}
    states |= {Key("file", f"{place}/{name}"): Entry("file", 0, 0, 0) for name in (*others, "docker-compose")}
    words = ("-x", f"{place}/docker-compose")
    looks: dict[tuple[str, ...], Completed] = {("setpriv", *ids, "sh", "-c", TRY, "sh", *words): Completed(0, "", "")}
    machine = SimulatedMachine({**BAI, **states}, Environment(looks=looks))
    (finding,) = run_check(reach, machine, Context())
    assert finding.result == "ok", finding


PROGRAM = Entry("file", 0, 0, 0o755)
REACHED: dict[Key, State] = {
    **{Key("file", path): Entry("directory", 0, 0, 0o1777) for path in ("/tmp", "/var", "/var/tmp", "/run")},
    **{Key("file", f"/usr/bin/{name}"): PROGRAM for name in ("docker", "sudo")},
    Key("file", "/dev/null"): Entry("other", 0, 0, 0o666),
    Key("file", "/etc/hosts"): Entry("file", 0, 0, 0o644, b""),
    **socket(),
}


@pytest.mark.parametrize(
    ("failed", "advice"),
    [
        ("-w /tmp", "chmod 1777 /tmp"),
        ("-w /dev/null", "chmod o+w /dev/null"),
        ("-x /usr/bin/docker", "chmod o+x /usr/bin/docker"),
        ("-u /usr/bin/sudo", "chmod 4755 /usr/bin/sudo"),
        ("-w /run/docker.sock", "chmod g+w /run/docker.sock"),
        ("-x /run", "chmod o+x /run"),
    ],
)
@pytest.mark.parametrize("by_access_list", [False, True])
def test_inaccessible_files_are_reported_with_a_fix(failed: str, advice: str, by_access_list: bool) -> None:
    operator, _, path = failed.partition(" ")
    there = REACHED[Key("file", path)]
    assert isinstance(there, Entry)
    states = {**BAI, **REACHED, Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "")}
    for group in ("docker", "sudo"):
        states[Key("group", group)] = Group(group, 990)
        states[member_key("bai", group)] = Membership()
    if not by_access_list:
        states[Key("file", path)] = replace(there, mode=0o600)
    machine = Answering(states, f"{failed}\n")
    (finding,) = run_check(reach, machine, Context())
    assert (operator, path) in machine.tried
    assert [each.where for each in finding.evidence] == [path]
    access_list = by_access_list and operator != "-u"
    assert (f"setfacl --remove-all {path}" if access_list else advice) in finding.guidance


class Answering(SimulatedMachine):
    """Notes what is tried as the account, and answers that some of it failed."""

    def __init__(self, states: dict[Key, State | None], out: str, code: int = 0, err: str = "") -> None:
        super().__init__({key: state for key, state in states.items() if state is not None})
        self.answer = Completed(code, out, err)
        self.tried: list[tuple[str, ...]] = []

    def query(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        words = argv[argv.index(TRY) + 2 :]
        self.tried = list(zip(words[::2], words[1::2], strict=True))
        return self.answer


@pytest.mark.parametrize("path", ["/etc/hosts", DOCKER_SOCKET])
def test_problems_that_another_page_fixes_are_not_refused(path: str) -> None:
    """Otherwise the run that repairs it would end as if it had not."""
    there = REACHED[Key("file", path)]
    assert isinstance(there, Entry)
    for mode, applied, expected in (
        (0o600, ("aliases", "docker"), "ok"),
        (0o600, (), "problem"),
        (there.mode, ("aliases", "docker"), "problem"),
    ):
        states = {**BAI, **REACHED, Key("file", path): replace(there, mode=mode)}
        operator = "-w" if path == DOCKER_SOCKET else "-r"
        (finding,) = run_check(reach, Answering(states, f"{operator} {path}\n"), Context(applied=applied))
        assert finding.result == expected, (mode, applied)


@pytest.mark.parametrize("path", ["/", "/usr/bin"])
def test_a_shell_that_the_account_cannot_start(path: str) -> None:
    closed: dict[Key, State | None] = {Key("file", path): Entry("directory", 0, 0, 0o700)}
    err = "setpriv: failed to execute sh: Permission denied"
    (finding,) = run_check(reach, Answering({**BAI, **closed}, "", 1, err), Context())
    assert [each.where for each in finding.evidence] == [path]
    unreadable = Answering({**BAI}, "", 1, err)
    (unknown,) = run_check(reach, unreadable, Context())
    assert unknown.result == "cannot-tell"
    assert unfixed(unreadable, Context(), reach) == (), "the plan is not blocked by an incomplete check"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o646])
def test_every_account_reads_the_hosts_file_and_only_root_writes_it(mode: int) -> None:
    step = HostsBlock(id="aliases.hosts", aliases=(Alias("10.0.0.1", ("m1",), ""),))
    machine = SimulatedMachine(text("/etc/hosts", "127.0.0.1 localhost\n", mode, 1100))
    for operation in step.operations(machine):
        machine.apply(operation)
    there = machine.entry("/etc/hosts")
    assert there is not None
    assert (there.uid, there.gid, there.mode) == (0, 0, 0o644)


# What pam_limits makes of a later file, tried with `su` on Debian 13.
LATER = {
    "* - nofile 900": False,
    "@bai hard nofile 900": False,
    "@1100:1100 hard nofile 900": False,
    "%bai hard nofile 900": False,
    "BAI hard nofile 900": False,
    "1100:1100 hard nofile 900": True,
    "1100: hard nofile 900": True,
    "1000:2000 - nofile 900": True,
    "1101: hard nofile 900": False,
    "bai Hard NOFILE 900": True,
    "bai hard nofile 900x": True,
    "bai hard nofile 900 trailing": True,
    "bai hard nofile 0x384": True,
    "bai -": True,
    "1100: -": True,
    "eve -": False,
}


@pytest.mark.parametrize("line", LATER)
def test_a_later_line_that_lowers_a_limit_of_the_account(line: str) -> None:
    ours = parse_limits(
        "/etc/security/limits.d/99-backendai.conf", "bai hard nofile 512000\nbai soft nofile 512000\n"
    )
    users = (Login("bai", 1100, 1100, frozenset({"bai"}), frozenset({1100})),)
    later = parse_limits("/etc/security/limits.d/zz.conf", line)
    wanted = decide_limit({"nofile": 512000}, users, (), {})
    assert bool(limit_overrides((*ours, *later), wanted, users)) is LATER[line]


@pytest.mark.parametrize(
    ("output", "expected"), [("3\n", Unchanged), ("4\n", Blocked), ("", Blocked), ("33", Blocked)]
)
def test_a_volume_of_another_layout(output: str, expected: Any) -> None:
    step = VersionSays(id="storage.local.layout", path="/vfroot/local")
    verdict = step.inspect(SimulatedMachine(text("/vfroot/local/version.txt", output)))
    assert isinstance(verdict, expected)
    assert PlannedStep(step, verdict).step.optional


@pytest.mark.parametrize(
    ("reference", "digests", "moved"),
    [
        ("r.test:5000/stable/python:3.13", ["r.test:5000/stable/python@sha256:1"], ""),
        ("r.test:5000/stable/python:3.13", ["r.test:5000/stable/second@sha256:1"], "r.test:5000/stable/second"),
        ("r.test:5000/a:1", ["r.test:5000/b@sha256:1", "r.test:5000/a@sha256:1"], ""),
        ("r.test:5000/a:1", ["mirror.test/a@sha256:1"], ""),
        ("r.test:5000/a:1", [], ""),
        ("ubuntu:24.04", ["debian@sha256:1"], "docker.io/debian"),
        ("docker.io/library/ubuntu:24.04", ["ubuntu@sha256:1"], ""),
    ],
)
def test_a_name_that_was_given_to_another_image(reference: str, digests: list[str], moved: str) -> None:
    """A mirror's image, and one out of a file, may have been given its name on purpose."""
    assert moved_from(reference, digests) == moved
    step = PulledImages(id="images.pull", images=(Pull(reference),), platform="linux/amd64")
    verdict = step.inspect(SimulatedMachine({Key("image", reference): Image("sha256:1", moved=moved)}))
    assert isinstance(verdict, Pending if moved else Unchanged)


HASH = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"
HEAD = (
    "Matching Defaults entries for bai on gpu01:\n    env_reset, secure_path=/usr/sbin\\:/usr/bin{options}\n\n"
    "User bai may run the following commands on gpu01:\n"
)
NOT_ALLOWED = "User bai is not allowed to run sudo on gpu01.\n"
ALL = "    (ALL : ALL) ALL\n"
SCOPED = "\n\nRunas and Command-specific defaults for bai:\n    Defaults"
NOPASSWD = "    (ALL : ALL) NOPASSWD: ALL\n"


@pytest.mark.parametrize(
    ("way", "rules", "options", "message"),
    [
        ("password", ALL, "", ""),
        ("password", NOPASSWD, "", ""),
        ("password", ALL + "    (ALL : ALL) !ALL\n", "", "prevents bai from becoming root"),
        ("password", "    (ALL : ALL) !ALL\n" + ALL, "", ""),
        ("password", "    (root) /usr/bin/ls, NOPASSWD: /usr/bin/cat\n", "", "prevents bai from becoming root"),
        ("password", "    (www-data) ALL\n", "", "prevents bai from becoming root"),
        ("password", NOT_ALLOWED, "", "prevents bai from becoming root"),
        ("password", ALL, ", targetpw", "targetpw"),
        ("password", ALL, ", !rootpw", ""),
        ("nopasswd", NOPASSWD, "", ""),
        ("nopasswd", ALL + NOPASSWD, "", ""),
        ("nopasswd", NOPASSWD + ALL, "", "ask bai for a password"),
        ("nopasswd", "    (root) NOPASSWD: SETENV: ALL\n", "", ""),
        ("nopasswd", "    (ALL) NOPASSWD: /usr/bin/ls, PASSWD: ALL\n", "", "ask bai for a password"),
        ("nopasswd", ALL, ", !authenticate", ""),
        ("nopasswd", "    (ALL : ALL) CWD=/tmp SETENV: NOPASSWD: ALL\n", "", ""),
        ("nopasswd", "    (ALL : ALL) PASSWD: ALL\n", ", !authenticate", "ask bai for a password"),
        ("nopasswd", ALL, ", !authenticate, authenticate", "ask bai for a password"),
        ("nopasswd", ALL, ", badpass_message=!authenticate", "ask bai for a password"),
        ("nopasswd", ALL, f"{SCOPED}>root !authenticate", ""),
        (
            "nopasswd",
            ALL,
            f"{SCOPED}>www-data !authenticate",
            "ask bai for a password",
        ),
        (
            "nopasswd",
            ALL,
            f"{SCOPED}!/usr/bin/id !authenticate",
            "ask bai for a password",
        ),
        ("password", "    (ALL, !root) ALL\n", "", "prevents bai from becoming root"),
        ("password", "    (root, !ALL) ALL\n", "", "prevents bai from becoming root"),
        ("password", "    (www-data : ALL) ALL\n", "", "prevents bai from becoming root"),
        ("password", "    (: ALL) ALL\n", "", "prevents bai from becoming root"),
        ("password", "    (#0) ALL\n", "", ""),
        ("no", NOT_ALLOWED, "", ""),
        ("no", NOPASSWD, "", "allows bai to become root"),
    ],
)
def test_effective_sudo_rules_of_the_account(way: str, rules: str, options: str, message: str) -> None:
    out = rules if rules == NOT_ALLOWED else HEAD.format(options=options) + rules
    result = sudo_plan(way, Completed(0, out, ""))
    assert (message in result) if message else result == ""


@pytest.mark.parametrize(
    "err", ["sudo: /etc/sudoers is world writable", "sudo: no valid sudoers sources found, quitting"]
)
def test_a_sudo_that_does_not_work_at_all(err: str) -> None:
    assert err in sudo_plan("password", Completed(1, "", err + "\n"))


def test_a_rule_in_the_plan_is_not_required_yet() -> None:
    assert sudo_plan("nopasswd", Completed(0, HEAD.format(options="") + ALL, ""), is_in_place=False) == ""


def sudo_plan(way: str, answer: Completed, *, is_in_place: bool = True) -> str:
    """The reason of the step that the plan has for what sudo says; empty where it has none."""
    settings = settings_from(AccountSettings, {"sudo": way, "password_hash": HASH})
    step = Sudo(id="account.sudo", account="bai", way=settings.sudo)
    states: dict[Key, State] = {
        Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
        Key("group", "sudo"): Group("sudo", 27),
        **text("/usr/bin/sudo", ""),
        **text("/etc/sudoers", "%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n"),
    }
    if way != "no":
        states[member_key("bai", "sudo")] = Membership()
    if way == "nopasswd" and is_in_place:
        rule = "# Written by bai-wizard for the account bai.\n#1100 ALL=(ALL:ALL) NOPASSWD: ALL\n"
        states |= text(step.path, rule, 0o440)
    looks: dict[tuple[str, ...], Completed] = {("unshare", "--net", "--", "sudo", "-n", "-l", "-U", "bai"): answer}
    machine = SimulatedMachine(states, Environment(looks=looks))
    facts = probe(machine, settings, Context())
    found_steps = [each for each in steps(settings, facts, Context()) if each.id == "account.sudo-rules"]
    verdicts = [each.inspect(machine) for each in found_steps]
    assert all(each.optional for each in found_steps)
    return "".join(verdict.reason for verdict in verdicts if isinstance(verdict, Blocked))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("pubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2", ""),
        ("authorizedkeysfile %h/.ssh/authorized_keys", ""),
        ("authorizedkeysfile /etc/keys/%u", "AuthorizedKeysFile /etc/keys/%u"),
        ("pubkeyauthentication no", "PubkeyAuthentication no"),
        ("denyusers eve\ndenyusers bai", "DenyUsers bai"),
        ("denyusers b*", "DenyUsers b*"),
        ("denyusers bai@10.0.0.1", ""),
        ("allowusers root eve", "AllowUsers root eve"),
        ("allowusers root\nallowusers bai", ""),
        ("denygroups sudo", "DenyGroups sudo"),
        ("allowgroups admins", "AllowGroups admins"),
        ("allowgroups admins bai", ""),
        ("", ""),
    ],
)
def test_conditions_that_make_sshd_reject_keys(lines: str, message: str) -> None:
    looks: dict[tuple[str, ...], Completed] = {
        ("sshd", "-T", "-C", "user=bai,host=localhost,addr=127.0.0.1"): Completed(0, lines, "")
    }
    states: dict[Key, State] = {
        Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
        Key("group", "bai"): Group("bai", 1100),
        Key("group", "sudo"): Group("sudo", 27),
        member_key("bai", "sudo"): Membership(),
        **text("/usr/sbin/sshd", ""),
    }
    machine = SimulatedMachine(states, Environment(looks=looks))
    keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSg ops@example"]
    settings = settings_from(AccountSettings, {"sudo": "nopasswd", "authorized_keys": keys})
    facts = probe(machine, settings, Context())
    found_steps = [each for each in steps(settings, facts, Context()) if each.id == "account.sshd"]
    assert len(found_steps) == bool(message)
    assert all(each.optional for each in found_steps)
    assert f"`{message}`" in facts.sshd_conflict if message else facts.sshd_conflict == ""
    closed = SimulatedMachine({**states, **text(NOLOGIN, "")}, Environment(looks=looks))
    assert "/etc/nologin prevents" in sshd_fault(closed, settings)
    assert sshd_fault(machine, settings_from(AccountSettings, {"sudo": "no"})) == "", "no keys were asked for"
