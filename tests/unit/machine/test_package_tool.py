"""A package tool in its own session: its result, and reattaching after its starter died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.node import package_tool
from bai_wizard.node.package_tool import LOCATION, attach_to_tool, run_package_tool, running_tool
from tests.waiting import until

# Starts a tool that waits for the file `go`, and dies with all of its process group.
STARTER = """
import os, pathlib, signal, sys
from bai_wizard.node import package_tool
package_tool.SYSTEMD = pathlib.Path("/nowhere")
script = 'echo begun; while [ ! -e "$1/go" ]; do sleep 0.02; done; echo end >&2; exit 3'
tool = ["sh", "-c", script, "sh", sys.argv[1]]
package_tool.run_package_tool(sys.argv[1], tool, "installing it", lambda text, **_: print(text, flush=True))
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(package_tool, "SYSTEMD", tmp_path / "nowhere")
    return str(tmp_path)


class Said(list[str]):
    def __call__(self, text: str, **_: object) -> None:
        self.append(text)


def killed_starter(root: str) -> int:
    """Starts a tool by a process that is then killed with its whole group; returns the wrapper's process."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, root], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "begun\n"
        os.killpg(starter.pid, signal.SIGKILL)
    tool = running_tool(root)
    assert tool is not None
    assert (tool.name, tool.doing) == ("sh", "installing it")
    return tool.pid


def let_go(root: str) -> None:
    Path(root, "go").touch()


def wait_until_gone(root: str) -> None:
    until(lambda: running_tool(root) is None, "the end of the tool")


def test_output_progress_environment_and_result(root: str) -> None:
    output, progress = Said(), Said()
    script = 'echo out; echo err >&2; echo 50 >&3; echo "$PROXY"; umask; pwd; exit 7'
    env = {"PROXY": "http://me:it's $HOME@proxy"}
    done = run_package_tool(root, ["sh", "-c", script], "testing", output, env=env, on_progress=progress)
    assert done.code == 7
    assert output == ["out", "err", "http://me:it's $HOME@proxy", "0022", "/"]
    assert done.out.splitlines() == output
    assert progress == ["50"]
    assert running_tool(root) is None


def test_the_environment_is_in_no_command_line_and_no_file(root: str) -> None:
    """Proxies have passwords."""
    script = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c correct-horse; exit 0"
    done = run_package_tool(root, ["sh", "-c", script.replace("correct-horse", "correct-hors[e]")], "testing", Said(),
                            env={"PROXY": "http://me:correct-horse@proxy"})  # fmt: skip
    assert done.out == "0\n"
    kept = Path(root, LOCATION)
    assert not (kept / "environment").exists()
    assert [path.name for path in kept.iterdir() if b"correct-horse" in path.read_bytes()] == []
    assert kept.stat().st_mode & 0o777 == 0o700


def test_a_signal_is_its_number(root: str) -> None:
    assert run_package_tool(root, ["sh", "-c", "kill -9 $$"], "testing", Said()).code == -9


def test_a_missing_program_has_the_status_of_a_shell(root: str) -> None:
    assert run_package_tool(root, ["no-such-tool"], "testing", Said()).code == 127


def test_it_survives_its_starter_and_the_next_one_attaches(root: str) -> None:
    pid = killed_starter(root)
    output = Said()
    subprocess.Popen(["sh", "-c", f"sleep 0.3; touch {root}/go"])
    attach_to_tool(root, output)
    assert output == [f"waiting for sh of an earlier attempt, still running (process {pid}): installing it",
                    "begun", "end", "sh of an earlier attempt failed (3): installing it"]  # fmt: skip


def test_a_result_that_came_meanwhile_is_reported_until_it_is_taken(root: str) -> None:
    killed_starter(root)
    let_go(root)
    wait_until_gone(root)
    for taken in (False, True):
        output = Said()
        attach_to_tool(root, output, taken=taken)
        assert output == ["sh of an earlier attempt failed (3): installing it"]
    attach_to_tool(root, output := Said())
    assert output == []


def test_a_next_tool_begins_when_the_first_has_ended(root: str) -> None:
    killed_starter(root)
    subprocess.Popen(["sh", "-c", f"sleep 0.3; touch {root}/go"])
    output = Said()
    assert run_package_tool(root, ["echo", "second"], "second", output).code == 0
    assert output[-2:] == ["sh of an earlier attempt failed (3): installing it", "second"]


def test_a_killed_wrapper_is_an_interruption(root: str) -> None:
    """Also with the tool alive: the locks of dpkg tell of it."""
    os.kill(killed_starter(root), signal.SIGKILL)
    wait_until_gone(root)
    output = Said()
    attach_to_tool(root, output, taken=True)
    assert output == ["sh of an earlier attempt was interrupted: installing it"]
    let_go(root)
    with pytest.raises(StepFailed, match="testing: sh has no exit status: it was killed"):
        run_package_tool(root, ["sh", "-c", "kill -9 $PPID"], "testing", Said())


def test_silence_is_reported(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_tool, "SILENCE", 0.2)
    output = Said()
    run_package_tool(root, ["sleep", "0.5"], "testing", output)
    assert set(output) == {"sleep has printed nothing for 0.00333333 min; it will not be interrupted"}


@pytest.mark.parametrize("name", ["about", "started", "ended", "output", "lock"])
@pytest.mark.parametrize("content", ["", "x", "\0\0", "[]", "{}", "\ud800"], ids=repr)
def test_damaged_files_prevent_nothing(root: str, name: str, content: str) -> None:
    run_package_tool(root, ["true"], "testing", Said())
    Path(root, LOCATION, name).write_bytes(content.encode("utf-8", "surrogatepass"))
    attach_to_tool(root, Said(), taken=True)
    assert run_package_tool(root, ["true"], "testing", Said()).code == 0


def test_a_place_that_others_can_write_is_refused(root: str) -> None:
    location = Path(root, LOCATION)
    location.mkdir(parents=True)
    for directory in (location, location.parent):
        directory.chmod(0o777)
        with pytest.raises(StepFailed, match="only root can write"):
            run_package_tool(root, ["true"], "testing", Said())
        directory.chmod(0o700)
    assert run_package_tool(root, ["true"], "testing", Said()).code == 0


def test_the_unit_lets_dpkg_live() -> None:
    assert package_tool.UNIT["KillMode"] == "process"
    assert package_tool.UNIT["OOMPolicy"] == "continue"
    assert package_tool.UNIT["UMask"] == "0022"
