"""Operation → the command lines that it starts, word for word: a lost flag is a package removed, a hash in a log."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import silent
from bai_wizard.core.machine import Completed
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Unfinished
from bai_wizard.core.step import Plan
from bai_wizard.engine import launch
from bai_wizard.engine.directory import create_run
from bai_wizard.engine.lock import StatePaths
from bai_wizard.node import package_tool, process
from bai_wizard.resources import packages_apply, pythons_apply, trees_apply
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.files import WriteFile
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.mounts import SetMount
from bai_wizard.resources.packages import (
    CompletePackages,
    HoldPackages,
    InstallPackages,
    RefreshPackages,
    RemovePackages,
)
from bai_wizard.resources.pythons import (
    BuildPython,
    InstallDistributions,
    InstallPython,
    MakeVenv,
    PackageSources,
    RepairVenv,
)
from bai_wizard.resources.trees import CloneRepository
from bai_wizard.resources.units import ReloadUnits, RestartUnit, SetUnit
from bai_wizard.resources.users import (
    AddGroup,
    AddMember,
    AddUser,
    RemoveGroup,
    RemoveMember,
    RemoveUser,
    SetPassword,
)
from tests.cache import CHECKOUT

HASH = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
APT = (
    "apt-get -y -q -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
    " -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o APT::Status-Fd=3"
)
# What else apt and dpkg need to stay quiet: no question, no restarted service, no conffile replaced.
OF_PACKAGES = {
    "DEBIAN_FRONTEND": "noninteractive", "DEBCONF_NONINTERACTIVE_SEEN": "true", "NEEDRESTART_SUSPEND": "1",
    "UCF_FORCE_CONFFOLD": "1", "APT_LISTCHANGES_FRONTEND": "none",
}  # fmt: skip
OF_UV = {"UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "manual"}
DPKG = "dpkg --force-confdef --force-confold"
SYSTEMCTL = "systemctl --no-ask-password --no-pager"
VENV = "uv venv --quiet --relocatable --no-project --allow-existing --prompt"
PIP = "uv pip install --python {root}/env/bin/python --link-mode copy"
SOURCES = PackageSources("https://a.example/simple", ("https://b.example/simple",), ("/srv/wheels",))

# Every word that an operation starts on the running node; {root} stands for its root. In an expected line, `+ `
# separates standard input.
COMMANDS: dict[str, tuple[Operation, tuple[str, ...]]] = {
    "group": (AddGroup("bai", 1100), ("groupadd -g 1100 -- bai",)),
    "group, undone": (RemoveGroup("bai"), ("groupdel -- bai",)),
    "user": (
        AddUser("bai", 1100, 1100, "Backend.AI", "/home/bai", "/bin/bash"),
        ("useradd -M -N -p * -u 1100 -g 1100 -c Backend.AI -d /home/bai -s /bin/bash -- bai",),
    ),
    "user, undone": (RemoveUser("ubuntu"), ("userdel -- ubuntu",)),
    "user, undone, its group kept": (
        RemoveUser("solo"),
        ("gpasswd -a root solo", "userdel -- solo", "gpasswd -d root solo"),
    ),
    "user and group, undone": (RemoveUser("bai", with_group=True), ("userdel -- bai", "groupdel -- bai")),
    "member": (AddMember("bai", "sudo"), ("gpasswd -a bai sudo",)),
    "member, undone": (RemoveMember("bai", "sudo"), ("gpasswd -d bai sudo",)),
    "password": (SetPassword("bai", Secret(HASH)), (f"chpasswd -e + bai:{HASH}\n",)),
    "password, undone": (
        SetPassword("bai", Secret("!"), changed=19000),
        ("usermod -p ! -- bai", "chage -d 19000 -- bai"),
    ),
    "sudoers": (WriteFile("/etc/x", b"", 0, 0, 0o440, "visudo"), ("visudo -c -f {root}/etc/.x.bai-wizard-new",)),
    "fstab": (
        WriteFile("/etc/x", b"", 0, 0, 0o644, "findmnt"),
        ("findmnt --verify --tab-file {root}/etc/.x.bai-wizard-new",),
    ),
    "daemon.json": (
        WriteFile("/etc/x", b"", 0, 0, 0o644, "dockerd"),
        ("dockerd --validate --config-file {root}/etc/.x.bai-wizard-new",),
    ),
    "sshd_config": (WriteFile("/etc/x", b"", 0, 0, 0o644, "sshd"), ("sshd -t -f {root}/etc/.x.bai-wizard-new",)),
    "mount": (
        SetMount("/mnt/data", True, "nas:/data", "nfs4"),
        (
            "systemctl --no-ask-password daemon-reload",
            "systemd-escape --path --suffix=mount -- /mnt/data",
            "systemctl --no-ask-password start -- mnt-data.mount",
        ),
    ),
    "packages": (
        InstallPackages(("docker.io", "curl"), ("1.0", "")),
        (f"{APT} install --no-install-recommends --no-remove -- docker.io=1.0 curl",),
    ),
    "packages, undone": (RemovePackages(("docker.io",)), (f"{APT} remove -- docker.io",)),
    "package lists": (RefreshPackages("a new source"), (f"{APT} update",)),
    "holds": (HoldPackages(("docker.io",)), ("apt-mark hold -- docker.io",)),
    "holds, undone": (HoldPackages(("docker.io",), held=False), ("apt-mark unhold -- docker.io",)),
    "interrupted packages": (
        CompletePackages(("a", "b")),
        (
            f"{DPKG} --force-remove-reinstreq --remove -- a",
            f"{DPKG} --configure --pending",
            f"{APT} --no-remove --fix-broken --reinstall install -- b",
        ),
    ),
    "unit": (
        SetUnit("docker.service", enabled=True, active=True),
        (
            f"{SYSTEMCTL} enable -- docker.service",
            f"{SYSTEMCTL} reset-failed -- docker.service",
            f"{SYSTEMCTL} start -- docker.service",
        ),
    ),
    "unit, undone": (
        SetUnit("docker.service", enabled=False, active=False),
        (f"{SYSTEMCTL} disable -- docker.service", f"{SYSTEMCTL} stop -- docker.service"),
    ),
    "restart": (
        RestartUnit("docker.service", "its settings have changed"),
        (f"{SYSTEMCTL} reset-failed -- docker.service", f"{SYSTEMCTL} restart -- docker.service"),
    ),
    "units": (ReloadUnits("new files"), (f"{SYSTEMCTL} daemon-reload",)),
    "command": (RunCommand(("modprobe", "--", "br_netfilter"), "load it"), ("modprobe -- br_netfilter",)),
    "interpreter": (
        InstallPython("{root}/py", "3.13.0", "cpython-3.13.0", "{{}}", "/srv/mirror", "root"),
        (
            "uv python install --offline --no-cache --no-bin --mirror file:///srv/mirror --install-dir {root}/made"
            " --python-downloads-json-url {root}/cache/builds/cpython-3.13.0.json cpython-3.13.0",
        ),
    ),
    "build": (
        BuildPython("{root}/pyenv", "3.13.0", "root"),
        (
            "{root}/pyenv/bin/pyenv install --verbose --force 3.13.0",
            "sync --file-system {root}/pyenv/versions/3.13.0",
        ),
    ),
    "environment": (
        MakeVenv("{root}/svc/.venv", "/py", "3.13", ("backend.ai-agent",), "root"),
        (
            f"{VENV} svc --python /py/bin/python3 {{root}}/made",
            "uv pip install --python {root}/made/bin/python --link-mode copy -- backend.ai-agent",
            "{root}/made/bin/python -I -B -c import pip",
        ),
    ),
    "environment, repaired": (
        RepairVenv("{root}/svc/.venv", "/py", "3.13", "root"),
        (f"{VENV} svc --python /py/bin/python3 {{root}}/svc/.venv",),
    ),
    "distributions": (
        InstallDistributions("{root}/env", ("numpy>=2",), "root", SOURCES),
        (
            f"{PIP} --index-url https://a.example/simple --extra-index-url https://b.example/simple"
            " --find-links /srv/wheels --reinstall-package numpy -- numpy>=2",
        ),
    ),
    "distributions, air-gapped": (
        InstallDistributions("{root}/env", ("numpy",), "root", PackageSources(no_index=True, find_links=("/w",))),
        (f"{PIP} --no-index --find-links /w --reinstall-package numpy -- numpy",),
    ),
    "repository": (
        CloneRepository("{root}/pyenv", "https://a.example/pyenv.git", "root"),
        (
            "git -c advice.detachedHead=false clone --quiet --depth 1 -- https://a.example/pyenv.git"
            " {root}/made/clone",
        ),
    ),
}  # fmt: skip


class Started(list[tuple[str, dict[str, str]]]):
    """Command lines and environments; what would have been started."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)

    def note(self, argv: list[str], env: Mapping[str, str], stdin: int) -> None:
        text = " ".join(argv)
        if stdin != subprocess.DEVNULL:
            text += f" + {os.pread(stdin, 1 << 16, 0).decode()}"
        self.append((text.replace(self._root, "{root}"), dict(env)))

    def lines(self) -> tuple[str, ...]:
        return tuple(line for line, _ in self)


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    result = Started(tmp_path)
    popen = process._popen

    def stand_in(argv: list[str], stdin: int, env: Mapping[str, str], **_: Any) -> subprocess.Popen[bytes]:
        result.note(argv, env, stdin)
        answer = "mnt-data.mount" if argv[0] == "systemd-escape" else ""
        return popen(["/bin/echo", answer], subprocess.DEVNULL, {})

    def run_tool(_root: str, argv: list[str], *_: object, env: Mapping[str, str], **__: object) -> Completed:
        result.note(list(argv), env, subprocess.DEVNULL)
        return Completed(0, "", "")

    monkeypatch.setattr(process, "_popen", stand_in)
    monkeypatch.setattr(packages_apply, "run_package_tool", run_tool)
    return result


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalMachine:
    """A node whose files are below a temporary root, and whose commands are those of the running node."""
    for name, text in {
        "passwd": "root:x:0:0::/root:/bin/sh\nbai:x:1100:1100::/home/bai:/bin/sh\nsolo:x:1200:1200::/:/bin/sh\n",
        "group": "root:x:0:\nsudo:x:27:\nbai:x:1100:ubuntu\nsolo:x:1200:\n",
        "x": "old",
    }.items():
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).write_text(text)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "var/lib/apt/lists").mkdir(parents=True)
    result = LocalMachine(str(tmp_path))
    result.prefix = ""
    monkeypatch.setattr(LocalMachine, "has_systemd", True)
    monkeypatch.setattr(LocalMachine, "wait_for_package_tool", lambda *_, **__: None)
    unfinished: Iterator[Any] = iter([Unfinished(("a", "b"), ("a",), ("b",)), Unfinished(("b",), (), ("b",)), None])
    monkeypatch.setattr(packages_apply, "PackageDatabase", lambda _root: _Database(unfinished))
    monkeypatch.setattr(pythons_apply, "program", lambda: "uv")
    monkeypatch.setattr(pythons_apply, "CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pythons_apply, "make_directory", lambda path: os.makedirs(path, exist_ok=True))
    monkeypatch.setattr(pythons_apply, "write", lambda path, text: Path(path).write_text(text))
    for module in (pythons_apply, trees_apply):
        monkeypatch.setattr(module, "begin_staging", lambda *_: str(tmp_path / "made"))
        monkeypatch.setattr(module, "place", lambda *_: None)
    monkeypatch.setattr(pythons_apply, "check_build", lambda *_, **__: None)
    monkeypatch.setattr(trees_apply.Acting, "call", lambda *_, **__: None)
    monkeypatch.setattr(trees_apply.Acting, "caches", lambda _self: {"XDG_CACHE_HOME": "/cache"})
    monkeypatch.setattr(trees_apply.Acting, "refuse_untrusted", lambda *_: None)
    return result


class _Database:
    def __init__(self, results: Iterator[Any]) -> None:
        self.unfinished: Callable[[], Any] = lambda: next(results)


def rooted(value: Any, root: str) -> Any:
    """An operation or a text with its {root} filled in."""
    if isinstance(value, str):
        return value.replace("{{}}", "{}").replace("{root}", root)
    fields = {name: getattr(value, name) for name in value.__struct_fields__}
    texts = {name: rooted(each, root) for name, each in fields.items() if isinstance(each, str)}
    return type(value)(**{**fields, **texts})


@pytest.mark.needs_root
@pytest.mark.parametrize("name", COMMANDS)
def test_an_operation_starts_these_commands(name: str, machine: LocalMachine, started: Started) -> None:
    operation, expected = COMMANDS[name]
    machine.apply(rooted(operation, machine.root), silent)
    assert started.lines() == expected
    for line, environment in started:
        if line.startswith(("apt-get", "dpkg ")):
            assert environment == OF_PACKAGES
        elif line.startswith("uv "):
            assert OF_UV.items() <= environment.items()
        elif line.startswith("git "):
            assert environment["GIT_TERMINAL_PROMPT"] == "0"
            assert environment["GIT_SSH_COMMAND"] == "ssh -o BatchMode=yes"
        assert HASH not in str(environment)
        assert HASH not in line.partition(" + ")[0]


@pytest.mark.needs_root
def test_an_unmount_falls_back_to_umount(
    machine: LocalMachine, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd cannot stop what it does not know as a unit."""

    def attempt(argv: list[str], *_: object) -> str:
        started.note(argv, {}, subprocess.DEVNULL)
        return "Unit mnt-data.mount not loaded." if argv[0] == "systemctl" else ""

    monkeypatch.setattr("bai_wizard.resources.mounts._refusal", lambda *_, **__: "")
    monkeypatch.setattr("bai_wizard.resources.mounts._attempt", attempt)
    machine.apply(SetMount("/mnt/data", False), silent)
    assert [line for line, _ in started][-2:] == [
        "systemctl --no-ask-password stop -- mnt-data.mount",
        "umount -- /mnt/data",
    ]


@pytest.mark.needs_root
def test_below_another_root_the_tools_stay_there(tmp_path: Path, started: Started) -> None:
    (tmp_path / "etc").mkdir()
    machine = LocalMachine(str(tmp_path))
    machine.apply(AddGroup("bai", 1100), silent)
    machine.apply(SetPassword("bai", Secret(HASH)), silent)
    machine.apply(SetUnit("docker.service", enabled=True), silent)
    assert started.lines() == (
        "groupadd --root {root} -g 1100 -- bai",
        f"chpasswd --root {{root}} -e + bai:{HASH}\n",
        f"{SYSTEMCTL} --root={{root}} enable -- docker.service",
    )


PROPERTIES = ("Type=exec", "WorkingDirectory=/", "TimeoutStopSec=3600")


@pytest.mark.needs_root
def test_the_executor_is_stopped_alone_and_dpkg_never(
    tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KillMode: at `systemctl stop` only the executor gets SIGTERM, and a package tool gets no signal at all."""
    argvs: list[list[str]] = []

    def spawn(argv: list[str], *_: object) -> int:
        argvs.append(argv)
        return os.posix_spawn("/bin/true", ["true"], {})

    monkeypatch.setattr(launch, "_spawn", spawn)
    run = create_run(StatePaths(tmp_path), Plan("test"), {})
    launch._start_unit(["program", "word"], run, "/run/secrets")
    unit = f"--unit=bai-wizard-{run.id}.service"
    assert argvs[0][:5] == ["systemd-run", "--quiet", "--collect", "--no-ask-password", unit]
    assert argvs[0][-3:] == ["--", "program", "word"]
    for value in (*PROPERTIES, "KillMode=mixed", "UMask=0077", "LimitCORE=0", "StandardInput=file:/run/secrets",
                  f"StandardOutput=append:{run.log}", f"StandardError=append:{run.log}"):  # fmt: skip
        assert f"--property={value}" in argvs[0]
    assert launch.executor_argv(run, "abc", StatePaths(Path("/")))[1:] == [
        "-I", "-m", "bai_wizard", "_execute", run.id, "--digest", "abc",
    ]  # fmt: skip

    def start_tool(argv: list[str], **_: object) -> Completed:
        argvs.append(list(argv))
        return Completed(0, "", "")

    monkeypatch.setattr(package_tool, "SYSTEMD", tmp_path)
    monkeypatch.setattr(package_tool, "PATIENCE", 0.0)
    monkeypatch.setattr(package_tool, "run", start_tool)
    with suppress(StepFailed):
        package_tool.run_package_tool(str(tmp_path), ["apt-get", "$x"], "installing", silent)
    words = argvs[1]
    assert words[:4] == ["systemd-run", "--quiet", "--collect", "--no-ask-password"]
    for value in (*PROPERTIES, "KillMode=process", "UMask=0022", "LimitCORE=0"):
        assert f"--property={value}" in words
    assert words[-2:] == ["apt-get", "$$x"]


# Programs of readers, which change nothing.
READERS = {"apt-cache", "systemd-detect-virt", "journalctl"}
STARTERS = ("run", "succeed", "attempt", "query", "_run", "_attempt")


def test_every_program_of_an_operation_is_in_the_table() -> None:
    """Literal command lines below `resources`: the first word of each has to be started by a row above."""
    programs: set[str] = set()
    for path in (CHECKOUT / "bai_wizard/resources").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _called(node.func) in STARTERS:
                for argument in node.args[:2]:
                    if isinstance(argument, ast.List) and isinstance(first := argument.elts[0], ast.Constant):
                        programs.add(str(first.value))
    started = {line.split()[0] for _, lines in COMMANDS.values() for line in lines} | {"umount"}
    assert {"sync", "apt-mark", "dpkg", "systemctl", "systemd-escape"} <= programs
    assert programs - started == READERS & programs | {"mount"}


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@pytest.mark.needs_root
def test_progress_of_apt_is_shown(machine: LocalMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """apt counts downloading and installing separately; the bar goes once from 0 to 100."""
    shown: list[tuple[str, object]] = []

    def run_tool(*_: object, on_progress: Callable[[str], None], **__: object) -> Completed:
        for line in ("dlstatus:1:50.0:Retrieving x", "pmstatus:x:50.0:Unpacking x", "pmerror:x:60.0:x failed"):
            on_progress(line)
        return Completed(0, "", "")

    def log(text: str, **more: object) -> None:
        shown.append((text, more.get("done", more.get("level"))))

    monkeypatch.setattr(packages_apply, "run_package_tool", run_tool)
    machine.apply(InstallPackages(("x",)), log)
    assert shown == [("Retrieving x", 25), ("Unpacking x", 75), ("x failed", "warning")]
