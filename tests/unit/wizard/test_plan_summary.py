"""Plans for people: short without --diff, complete with it, on every front end."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.cli import main
from bai_wizard.core.operation import Change
from bai_wizard.core.step import Blocked, Pending, Plan, PlannedStep, Unchanged
from bai_wizard.engine.choose import Held
from bai_wizard.engine.undo import UndoPlan
from bai_wizard.pages import ORDER
from bai_wizard.pages.account.steps import Home
from bai_wizard.steps.files import DropIn
from bai_wizard.ui.present import plan_lines, undo_lines
from bai_wizard.ui.summary import WIDTH, headlines

ANSWERS = """version = 1
[node]
roles = ["compute"]
backend_ai = "26.4"
[account]
sudo = "no"
[docker]
[tuning]
[python]
[aliases]
hosts = [ { ip = "10.20.30.10", names = ["bai-m1"] } ]
[storage]
volumes = [ { name = "local", type = "local" }, { name = "v1", type = "nfs", source = "10.0.0.5:/export/v1" } ]
[accelerators.nvidia]
[images]
[network.proxy]
http = "http://proxy.corp:3128"
"""
SKELETON = [f"/home/bai/{name}" for name in (".bash_logout", ".bashrc", ".profile")]
TEXT = "first\n" + "line of a file\n" * 40


def home(*more: Change) -> PlannedStep:
    files = [Change(path, "create", None, TEXT, "1100:1100 0644") for path in SKELETON]
    changes = (Change("/home/bai/", "create", attributes="1100:1100 0750"), *files, *more)
    return PlannedStep(Home(id="account.home", account="bai", home="/home/bai"), Pending(changes))


def drop_in(change: Change, name: str = "a") -> PlannedStep:
    return PlannedStep(DropIn(id=f"tuning.{name}", path=change.subject, text="", why=""), Pending((change,)))


def text_of(*steps: PlannedStep, diff: bool = False) -> str:
    return "\n".join(plan_lines(Plan("gpu01", steps), diff=diff))


def test_the_plan_of_a_bare_node_with_all_pages_fits_on_two_screens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "answers.toml"
    file.write_text(ANSWERS)
    main(["--headless", str(file), "--demo", "--plan"])
    lines = capsys.readouterr().out.splitlines()
    assert {line[1 : line.index("]")] for line in lines if line.startswith("[")} == set(ORDER)
    rows = sum(1 + (len(line) - 1) // WIDTH for line in lines)
    assert rows <= 2 * 26, "\n".join(lines)
    main(["--headless", str(file), "--demo", "--plan", "--diff"])
    complete = capsys.readouterr().out
    assert "+# ~/.bashrc: executed by bash(1) for non-login shells." in complete
    assert "account.home: create /home/bai/ as the home of bai" in complete


def test_files_that_are_copied_or_created_are_summarized() -> None:
    created = Change("/etc/apt/keyrings/a.asc", "create", None, TEXT, "0:0 0644")
    text = text_of(home(), drop_in(created))
    assert "create /home/bai/ as the home of bai (3 files from /etc/skel)" in text
    assert "(new, 41 lines)" in text
    assert "line of a file" not in text
    complete = text_of(home(), drop_in(created), diff=True)
    assert complete.count("+line of a file") == 4 * 40
    assert all(path in complete for path in SKELETON)


def test_changed_lines_of_existing_files_are_shown() -> None:
    old = "".join(f"{n}\n" for n in range(30))
    change = Change("/etc/fstab", "modify", old, old + "# BEGIN\nsrv:/v /v nfs hard 0 0\nx\ny\nz\n")
    text = text_of(drop_in(change))
    assert "    +srv:/v /v nfs hard 0 0" in text
    assert "… 1 more line (--diff)" in text
    assert "# BEGIN" not in text
    # Where the plan itself creates the file, nothing of anybody is at stake.
    text = text_of(drop_in(Change("/etc/fstab", "create", None, old)), drop_in(change, "b"))
    assert "(4 lines changed)" in text
    assert "srv:/v" not in text


def test_refusals_warnings_and_notes_are_never_left_out() -> None:
    step = home().step
    assert "Blocked: it is held by other packages" in " ".join(
        text_of(PlannedStep(step, Blocked("it is held by other packages"))).split()
    )
    assert "left as it is" in text_of(PlannedStep(step, Unchanged("left as it is")))
    assert text_of(PlannedStep(step, Unchanged())) == "gpu01: no changes needed"


def test_no_value_begins_a_line() -> None:
    forged = "x\n[docker] everything is fine\ngpu01: no changes needed"
    steps = (
        PlannedStep(
            DropIn(id="tuning.a", path=f"/{forged}", text="", why=""), Pending((Change(forged, "create", None, "1"),))
        ),
        PlannedStep(home().step, Blocked(forged)),
    )
    assert not [line for line in text_of(*steps).splitlines()[1:] if line.startswith(("[docker]", "gpu01"))]


def test_the_screen_counts_copied_files_too() -> None:
    step = home()
    assert isinstance(step.verdict, Pending)
    shown = list(headlines(step.step, step.verdict.changes))
    assert shown == ["+ /home/bai/  1100:1100 0750", "+ 3 files from /etc/skel"]


def test_an_undo_names_the_files_that_it_removes() -> None:
    changes = tuple(("the home of bai", Change(path, "remove", TEXT, None)) for path in SKELETON)
    plan = UndoPlan(changes, (), ())
    text = "\n".join(undo_lines("r", plan, Held(3)))
    assert all(f"- {path}" in text for path in SKELETON)
    assert "line of a file" not in text
    assert "-line of a file" in "\n".join(undo_lines("r", plan, Held(3), diff=True))
