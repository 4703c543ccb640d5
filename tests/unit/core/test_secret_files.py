"""Files that contain secrets: no change of a run or an undo shows them."""

from __future__ import annotations

import pytest

from bai_wizard.core.codec import KEPT, SHOWN
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import Secret, redact
from bai_wizard.core.state import Entry, Key
from bai_wizard.resources.files import RemovePath, WriteFile, path_change
from bai_wizard.steps.files import PrivateFile

PATH = "/etc/x"
KEY = Key("file", PATH)
OLD, NEW = (Entry("file", 0, 0, 0o600, f"P={text}\n".encode()) for text in ("old-s3cret", "new-s3cret"))


@pytest.mark.parametrize("before", [None, OLD])
@pytest.mark.parametrize(
    "operation", [WriteFile(PATH, NEW.content or b"", mode=0o600, secret=True), RemovePath(PATH, True)]
)
def test_neither_a_change_nor_its_undo_shows_a_secret_file(operation: Operation, before: Entry | None) -> None:
    after = operation.after({KEY: before})
    inverse = operation.inverse({KEY: before})
    assert inverse is not None
    again = inverse.inverse(after)  # type: ignore[arg-type]
    for one, start in ((operation, {KEY: before}), (inverse, after), (again, {KEY: before})):
        assert one is not None
        for change in one.changes(start):  # type: ignore[arg-type]
            assert "s3cret" not in repr(change) + change.diff()
    if before != after[KEY] and before is not None and after[KEY] is not None:
        (change,) = operation.changes({KEY: before})
        assert change.token, "two changes must still compare"


def test_other_credentials_in_a_file_are_masked_but_distinguishable() -> None:
    def entry(password: str) -> Entry:
        return Entry("file", 0, 0, 0o644, f"http_proxy=http://me:{password}@p:3128\nA=1\n".encode())

    one, other = (
        path_change(PATH, entry("old-s3cret"), entry("new-s3cret")),
        path_change(PATH, entry("a"), entry("b")),
    )
    assert "s3cret" not in repr(one)
    assert one.token
    assert one.token != other.token
    removed = path_change(PATH, entry("old-s3cret"), None)
    assert "s3cret" not in removed.diff()
    assert "http_proxy=http://***@p:3128" in removed.diff()


def test_a_private_file_is_kept_in_the_run_directory_only() -> None:
    step = PrivateFile(id="a.b", path=PATH, text=Secret("new-s3cret"), why="x")
    assert "s3cret" not in repr(SHOWN.encode(step)) + repr(step)
    assert KEPT.encode(step)["text"] == "new-s3cret"


def test_whatever_leaves_has_no_credentials_in_its_urls() -> None:
    assert redact("fatal: https://t0ken@git.corp/x and https://pypi.corp/@scope/x") == (
        "fatal: https://***@git.corp/x and https://pypi.corp/@scope/x"
    )
