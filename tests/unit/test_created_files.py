"""Every file that the wizard creates, with its owner, mode and validator; independent of the umask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from bai_wizard import compose
from bai_wizard.answers.load import load
from bai_wizard.core import debug_log
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Entry, Key
from bai_wizard.core.step import Plan
from bai_wizard.engine import launch
from bai_wizard.engine.directory import create_run, journal_of
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths, hold_lock
from bai_wizard.node import cache as cache_module
from bai_wizard.node import package_tool, passwords
from bai_wizard.node.cache import account_cache, keep_program
from bai_wizard.node.demo import demo_machine
from bai_wizard.node.download import PartialDownload
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.node.user_files import make_requested_directory, write_requested_file
from bai_wizard.resources.files import MakeDirectory, MakeLink, WriteFile
from tests.unit.engine.plans import STATES, plan_of, steps

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGq1vUFTZxbnlzKrhqUyTuuBMHlAWYPQwOlJx2F3AKKq me"
HASH = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
ANSWERS = f"""
version = 1
[node]
backend_ai = "26.4"
[network]
proxy = {{ http = "http://proxy.example:3128", https = "http://proxy.example:3128" }}
[account]
sudo = "nopasswd"
password_hash = "{HASH}"
authorized_keys = ["{KEY}"]
[docker]
[tuning]
[python]
[aliases]
own_name = "move"
hosts = [{{ ip = "10.20.30.10", names = ["bai-m1"] }}]
[storage]
volumes = [{{ name = "local", type = "local" }}]
[accelerators.nvidia]
[images]
"""
# Path on the node → owner, group, mode, and the program that checks the content before it is put in place.
# 1100: the operation account.
ON_THE_NODE: dict[str, tuple[int, int, int, str]] = {
    "/etc/apt/apt.conf.d/95bai-wizard-proxy": (0, 0, 0o644, ""),
    "/etc/environment": (0, 0, 0o644, ""),
    "/etc/gitconfig": (0, 0, 0o644, ""),
    "/home/bai/": (1100, 1100, 0o750, ""),
    "/home/bai/.bash_logout": (1100, 1100, 0o644, ""),
    "/home/bai/.bashrc": (1100, 1100, 0o644, ""),
    "/home/bai/.profile": (1100, 1100, 0o644, ""),
    "/etc/sudoers.d/90-bai-wizard-bai": (0, 0, 0o440, "visudo"),
    "/home/bai/.ssh/": (1100, 1100, 0o700, ""),
    "/home/bai/.ssh/authorized_keys": (1100, 1100, 0o600, ""),
    "/etc/systemd/system/docker.service.d/": (0, 0, 0o755, ""),
    "/etc/systemd/system/docker.service.d/bai-wizard-proxy.conf": (0, 0, 0o644, ""),
    "/etc/systemd/system/docker.service.d/50-bai-wizard-limits.conf": (0, 0, 0o644, ""),
    "/etc/docker/": (0, 0, 0o755, ""),
    "/etc/docker/daemon.json": (0, 0, 0o644, ""),
    "/etc/apt/keyrings/docker.asc": (0, 0, 0o644, ""),
    "/etc/apt/sources.list.d/docker.sources": (0, 0, 0o644, ""),
    "/etc/apt/preferences.d/bai-docker": (0, 0, 0o644, ""),
    "/etc/apt/keyrings/nvidia-container-toolkit.asc": (0, 0, 0o644, ""),
    "/etc/apt/sources.list.d/nvidia-container-toolkit.sources": (0, 0, 0o644, ""),
    "/etc/sysctl.d/99-backendai.conf": (0, 0, 0o644, ""),
    "/etc/security/limits.d/99-backendai.conf": (0, 0, 0o644, ""),
    "/home/bai/.static-python/": (1100, 1100, 0o755, ""),
    "/home/bai/.static-python/versions/": (1100, 1100, 0o755, ""),
    "/home/bai/agent/": (1100, 1100, 0o755, ""),
    "/etc/hosts": (0, 0, 0o644, ""),
    "/vfroot/": (0, 0, 0o755, ""),
    "/vfroot/local/": (1100, 1100, 0o755, ""),
    "/vfroot/local/version.txt": (1100, 1100, 0o644, ""),
    "/var/lib/misc/": (0, 0, 0o755, ""),
    "/var/lib/misc/bai-wizard-gpu-proof": (0, 0, 0o644, ""),
}


def operations(machine: SimulatedMachine, answers: Path, root: Path) -> list[Operation]:
    """Applies the answers to a simulated node; returns what was done."""
    answers.write_text(ANSWERS)
    loaded = load(str(answers), machine.host, trusted_only=False)
    plan = compose.plan(machine, compose.desired_from_answers(loaded, demo=True))
    assert not plan.blocked()
    run = create_run(StatePaths(root), plan, {})
    assert execute(StatePaths(root), run, plan.digest(), machine).code() == 0
    return [entry.operation for entry in journal_of(run).entries()]


def attributes(found: list[Operation]) -> dict[str, tuple[int, int, int, str]]:
    """As `ON_THE_NODE`; the first operation on a path counts. Directories end with a slash."""
    result: dict[str, tuple[int, int, int, str]] = {}
    for each in found:
        assert not isinstance(each, MakeLink)
        if isinstance(each, WriteFile):
            result.setdefault(each.path, (each.uid, each.gid, each.mode, each.validator))
        elif isinstance(each, MakeDirectory):
            result.setdefault(f"{each.path}/", (each.uid, each.gid, each.mode, ""))
    return result


@pytest.mark.needs_root
def test_files_on_the_node(tmp_path: Path) -> None:
    machine = demo_machine("bare", delay=0)
    assert attributes(operations(machine, tmp_path / "a.toml", tmp_path)) == ON_THE_NODE


@pytest.mark.needs_root
def test_existing_files_keep_owner_and_mode(tmp_path: Path) -> None:
    """Others chose them; only /etc/hosts has to be readable by all, and to be changed by root alone."""
    kept = {
        "/etc/docker/daemon.json": b"{}\n", "/etc/environment": b"", "/etc/gitconfig": b"", "/etc/hosts": b"",
        "/etc/security/limits.conf": b"",
    }  # fmt: skip
    machine = demo_machine("bare", delay=0)
    machine.set_state(Key("file", "/etc/docker"), Entry("directory", 0, 0, 0o711))
    for path, content in kept.items():
        machine.set_state(Key("file", path), Entry("file", 0, 4, 0o620, content))
    found = attributes(operations(machine, tmp_path / "a.toml", tmp_path))
    assert "/etc/docker/" not in found
    assert {path: found[path][:3] for path in kept if path in found} == {
        "/etc/docker/daemon.json": (0, 4, 0o620),
        "/etc/environment": (0, 4, 0o620),
        "/etc/gitconfig": (0, 4, 0o620),
        "/etc/hosts": (0, 0, 0o644),
    }


# Glob below a temporary root → mode. What the wizard keeps for itself, whatever the umask.
OF_THE_WIZARD = {
    "var/lib/bai-wizard": 0o700,
    "var/lib/bai-wizard/runs": 0o700,
    "var/lib/bai-wizard/runs/*": 0o700,
    "var/lib/bai-wizard/runs/*/backup": 0o700,
    "var/lib/bai-wizard/runs/*/backup/*": 0o600,
    "var/lib/bai-wizard/runs/*/*.json": 0o600,
    "var/lib/bai-wizard/runs/*/*.jsonl": 0o600,
    "var/lib/bai-wizard/runs/*/journal.count": 0o600,
    "var/lib/bai-wizard/runs/*/reserve": 0o600,
    "var/lib/bai-wizard/runs/*/executor.log": 0o600,
    "var/lib/bai-wizard/packages": 0o700,
    "var/lib/bai-wizard/last-run.json": 0o600,
    "var/lib/bai-wizard/packages/*": 0o600,
    # Of the shell that runs the package tool.
    "var/lib/bai-wizard/packages/started": 0o644,
    "var/lib/bai-wizard/packages/ended": 0o644,
    "var/lib/bai-wizard/packages/lock": 0o644,
    "run/bai-wizard": 0o755,
    "run/bai-wizard/lock": 0o600,
    "run/bai-wizard/current.json": 0o644,
    "run/bai-wizard/lent.json": 0o600,
    "requested": 0o700,
    "requested/*": 0o600,
    "debug.log": 0o600,
    "cache": 0o755,
    "cache/bin": 0o755,
    "cache/bin/*": 0o755,
    "cache/builds": 0o755,
    "cache/builds/*": 0o644,
    "cache/accounts": 0o755,
    "cache/accounts/*": 0o700,
    "archive.tar": 0o644,
}


@pytest.fixture(params=[0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    try:
        yield request.param
    finally:
        os.umask(before)


@pytest.mark.needs_root
def test_files_of_the_wizard(umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)
    paths = StatePaths(tmp_path)
    for make in (_records, _own_files, _cached_files, _package_tool):
        make(paths, monkeypatch)
    found = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o7777 for path in tmp_path.rglob("*")}
    for above in ("var", "var/lib", "run"):
        found.pop(above)
    assert {pattern for pattern in OF_THE_WIZARD if not list(tmp_path.glob(pattern))} == set()
    assert {name: oct(mode) for name, mode in found.items() if mode != expected(name)} == {}


def expected(name: str) -> int | None:
    """The mode of the most specific pattern."""
    fitting = [pattern for pattern in OF_THE_WIZARD if _depth(name) == _depth(pattern) and Path(name).match(pattern)]
    return OF_THE_WIZARD[max(fitting, key=len)] if fitting else None


@cache
def _depth(name: str) -> int:
    return name.count("/")


def _records(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a finished run, of one that was only prepared, and of one that is being started."""
    machine = SimulatedMachine(STATES)
    plan = plan_of(machine, steps())
    run = create_run(paths, plan, {})
    execute(paths, run, plan.digest(), machine)
    prepared = create_run(paths, Plan("test"), {})
    lock = hold_lock(paths, prepared.id)
    lock.__enter__()  # the notice exists as long as the lock is held
    monkeypatch.setattr(launch, "_spawn", lambda *_: 0)
    monkeypatch.setattr(launch, "foreign_code_of_root", lambda: "")
    launch.start_executor(prepared, "digest", paths)
    passwords.publish(paths.runtime_secrets, {"name": Secret("correct-horse")})


def _own_files(paths: StatePaths, _monkeypatch: pytest.MonkeyPatch) -> None:
    make_requested_directory(str(paths.root / "requested"))
    write_requested_file(str(paths.root / "requested/answers.toml"), b"version = 1\n")
    debug_log.start(str(paths.root / "debug.log"), shown=False)
    debug_log.stop()


def _cached_files(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(paths.root / "cache")
    monkeypatch.setattr(cache_module, "CACHE", place)
    program = paths.root / "requested/program"
    program.write_bytes(b"program")
    program.chmod(0o600)
    keep_program(str(program), "uv")
    account_cache(1100, 1100)
    cache_module.make_directory(f"{place}/builds")
    cache_module.write(f"{place}/builds/catalogue.json", "{}")
    part = PartialDownload(str(paths.root / "archive.tar"))
    part.write(b"data")
    part.finish("3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7", "url")
    part.close()


def _package_tool(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    forget: Callable[..., None] = lambda *_: None  # noqa: E731 - keeps the tool's files
    monkeypatch.setattr(package_tool, "SYSTEMD", paths.root / "nowhere")
    monkeypatch.setattr(package_tool, "_forget", forget)
    assert package_tool.run_package_tool(str(paths.root), ["true"], "testing", lambda *_, **__: None).code == 0
