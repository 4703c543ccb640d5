"""Programs from the caller's PATH or directory are never run, and no child's environment contains a secret."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bai_wizard
from bai_wizard.cli import COMMANDS
from bai_wizard.node.run_as import PASSED_ON, child_environment, run_as, use_child_environment
from tests.cache import CHECKOUT

PASSWORD = "correct-horse-battery"
# Programs that no node here has but that py-cpuinfo, the docker SDK and others look for.
FOREIGN = (
    *("isainfo", "kstat", "sysinfo", "lsprop", "wmic", "cpufreq-info", "sestatus", "dmesg", "uv", "pyenv"),
    *("docker-credential-planted", "nvidia-smi", "rocm-smi", "systemd-run", "sudo", "docker", "xdg-open"),
)
ANSWERS = """version = 1
[account]
password = { env = "BAI_PW" }
[tuning]
"""
# Every sub-command, on this machine itself; none of these changes it.
WORDS = {
    "wizard": [],
    "headless": ["--headless", "answers.toml", "--plan"],
    "apply": ["--headless", "answers.toml", "--only", "tuning", "--root", "tree"],
    "check": ["check", "answers.toml"],
    "schema": ["schema"],
    "answers": ["answers", "--from-node"],
    "detect": ["detect", "--json"],
    "doctor": ["doctor", "--json"],
    "runs": ["runs", "--root", "tree"],
    "drift": ["drift", "--json", "--answers", "answers.toml"],
    "attach": ["attach", "--root", "tree"],
    "resume": ["resume", "--root", "tree"],
    "undo": ["undo", "--root", "tree"],
    "bundle": ["bundle", "empty.toml", "-o", "bundle"],
    "compare": ["compare", "none.json"],
    "fleet": ["fleet", "plan", "none.json"],
    "_execute": ["_execute", "none", "--digest", "0", "--root", "tree"],
}


def test_every_sub_command_is_tried() -> None:
    assert set(COMMANDS) <= set(WORDS)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a program for every name there is; each notes its name and its environment."""
    directory = tmp_path_factory.mktemp("planted")
    script = directory / "planted.sh"
    script.write_text(f'#!/bin/sh\necho "$0" >>{directory}/seen\n/usr/bin/env >>{directory}/seen\nexit 1\n')
    script.chmod(0o755)
    names = {name for path in ("/usr/bin", "/usr/sbin", "/usr/local/bin") for name in os.listdir(path)}
    for name in {*names, *FOREIGN} - {"env"}:
        (directory / name).symlink_to(script)
    (directory / "answers.toml").write_text(ANSWERS)
    (directory / "empty.toml").write_text("version = 1\n[tuning]\n")
    (directory / "tree/etc").mkdir(parents=True)
    (directory / "config.json").write_text('{"credsStore": "planted"}')
    return directory


@pytest.mark.parametrize("command", WORDS)
def test_nothing_of_the_callers_path_is_run(command: str, planted: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f":.:{planted}:{os.environ['PATH']}:",
        "BAI_PW": PASSWORD,
        "DOCKER_CONFIG": str(planted),
        "BROWSER": str(planted / "xdg-open"),
    }
    done = subprocess.run(
        [sys.executable, "-I", "-m", "bai_wizard", *WORDS[command]],
        cwd=planted, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 1, done.stderr
    assert not (planted / "seen").exists(), (planted / "seen").read_text()
    assert PASSWORD not in done.stdout + done.stderr


def test_programs_started_by_py_cpuinfo_see_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAI_PW", PASSWORD)
    seen = run_as(None, _environment_of_py_cpuinfo, answer=dict[str, str])
    assert PASSWORD not in seen.values()
    assert (seen["PATH"], seen["PYTHONNOUSERSITE"]) == (child_environment()["PATH"], "1")


def _environment_of_py_cpuinfo() -> dict[str, str]:
    """What the library itself passes on: it starts its programs with the environment of the process."""
    from bai_wizard.node import hardware

    sys.modules.pop("cpuinfo", None)
    result = hardware._model_and_flags()
    assert result[0] or result[1]
    return dict(os.environ)


def test_the_environment_is_a_childs_and_its_directory_is_not_the_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    directory, names = run_as(None, _directory_and_names, answer=tuple[str, list[str]])
    assert directory == "/"
    assert set(names) <= {*PASSED_ON, *child_environment()}


def _directory_and_names() -> tuple[str, list[str]]:
    use_child_environment({})
    return os.getcwd(), list(os.environ)


@pytest.mark.parametrize("script", ["bai-wizard", "install.sh"])
def test_the_archives_scripts_do_not_use_it_either(script: str, planted: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "python/bin").mkdir(parents=True)
    (tmp_path / "python/bin/python3").write_text('#!/bin/sh\necho "$PATH"\n')
    (tmp_path / "python/bin/python3").chmod(0o755)
    copy = tmp_path / "bin" / script
    copy.write_text((CHECKOUT / "packaging" / script).read_text())
    copy.chmod(0o755)
    environment = {"PATH": f":{planted}:/usr/bin", "BAI_WIZARD_ROOT": str(tmp_path)}
    done = subprocess.run([copy], cwd=planted, env=environment, capture_output=True, text=True, timeout=60)
    assert not (planted / "seen").exists(), (planted / "seen").read_text()
    assert done.stdout.strip() == child_environment()["PATH"] if script == "bai-wizard" else done.returncode == 3


SEARCHES = re.compile(
    r"\b(which|exec[lv]pe?|spawn[lv]pe?|posix_spawnp|os\.system|popen)\(|environ(\.\w+\(|\[)[\"']PATH"
)


def test_no_program_is_found_any_other_way() -> None:
    """Nothing but the fixed search path reads PATH or starts a program by its bare name; the command line sets it."""
    package = Path(bai_wizard.__file__).parent
    result = {str(file.relative_to(package)) for file in package.rglob("*.py") if SEARCHES.search(file.read_text())}
    assert result == {"core/programs.py", "cli.py"}
