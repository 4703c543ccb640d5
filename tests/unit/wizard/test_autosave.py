"""Drafts on disk: ownership, contents, who can continue with one, and which files are rejected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bai_wizard.ui import saving
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.saving import FORMAT, Autosave, default_directory
from tests.sampling import sampled

HASH = "$y$j9T$abcdefgh$0123456789"
# A process that has ended: no PID is that large.
LEFT = "draft-gpu01-4194305-77.json"


def edited() -> Draft:
    draft = Draft("gpu01")
    draft.put("account", ("uid",), "many")
    draft.put("account", ("password",), {"prompt": True})
    draft.put("account", ("password_hash",), HASH)
    draft.put("network", ("proxy", "http"), "http://me:hunter2hunter2@proxy:3128")
    draft.put("aliases", ("hosts",), [{"ip": "10.0.0.1", "names": ["m1"]}])
    draft.skipped = {"images"}
    return draft


def save(where: Path, draft: Draft, host: str = "gpu01") -> Autosave:
    kept = Autosave(host, str(where))
    kept.save(draft.handed_over(), draft.changed_pages())
    return kept


def left_behind(where: Path, draft: Draft) -> Path:
    """A draft as a wizard that has ended leaves it."""
    kept = save(where, draft)
    return (where / kept.name).rename(where / LEFT)


def test_a_draft_is_its_owners_only_and_holds_no_secret(tmp_path: Path) -> None:
    where = tmp_path / "new" / "bai-wizard"
    kept = save(where, edited())
    (file,) = where.iterdir()
    assert file.name == kept.name
    assert file.stat().st_mode & 0o7777 == 0o600
    assert where.stat().st_mode & 0o7777 == 0o700
    text = file.read_text()
    assert "many" in text
    assert HASH not in text
    assert "hunter2" not in text


def test_unsaved_input_is_offered_and_continued(tmp_path: Path) -> None:
    draft = edited()
    left_behind(tmp_path, draft)
    offers, notes = Autosave("gpu01", str(tmp_path)).offers()
    assert not notes
    (offer,) = offers
    assert offer.pages == ("account", "aliases", "images", "node")
    again = Draft("gpu01")
    again.take_over(offer.text)
    assert again.handed_over() == draft.handed_over()
    assert again.is_unsaved


def test_the_draft_of_a_running_wizard_is_kept(tmp_path: Path) -> None:
    code = (
        "import sys; from bai_wizard.ui.saving import Autosave; from bai_wizard.ui.draft import Draft\n"
        "draft = Draft('gpu01'); draft.put('account', ('uid',), 7)\n"
        "Autosave('gpu01', sys.argv[1]).save(draft.handed_over(), ['account'])\n"
        "print('saved', flush=True); sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "saved\n"
        mine = save(tmp_path, edited())
        assert len(list(tmp_path.iterdir())) == 2
        assert Autosave("gpu01", str(tmp_path)).offers() == ([], [])
        mine.remove()
        assert len(list(tmp_path.iterdir())) == 1
        other.communicate()
    offers, _ = Autosave("gpu01", str(tmp_path)).offers()
    assert [offer.pages for offer in offers] == [("account",)]


def test_another_hosts_draft_in_a_shared_home_is_not_offered(tmp_path: Path) -> None:
    kept = save(tmp_path, edited(), "gpu02")
    (tmp_path / kept.name).rename(tmp_path / "draft-gpu02-4194305-77.json")
    assert Autosave("gpu01", str(tmp_path)).offers() == ([], [])


def changed(**values: object) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


def tables(**values: object) -> Callable[[Path], None]:
    return changed(draft={"tables": values, "skipped": []})


def become_link(file: Path) -> None:
    file.rename(file.with_suffix(".real"))
    file.symlink_to(file.with_suffix(".real"))


def become_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def become_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


BAD: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_text(""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:50]),
    "no text": lambda file: file.write_bytes(b"\xff\xfe\0"),
    "a list": lambda file: file.write_text("[1]"),
    "deep": lambda file: file.write_text("[" * 100_000),
    "large": lambda file: file.write_text(" " * (saving.LARGEST + 1)),
    "too new": changed(format=FORMAT + 1),
    "no format": changed(format=None),
    "no date": changed(saved="today"),
    "not a date": changed(saved=float("nan")),
    "far date": changed(saved=1e300),
    "no pages": changed(pages=None),
    "no draft": changed(draft=None),
    "draft is a list": changed(draft=[]),
    "table is a text": tables(account="x"),
    "unknown field": tables(account={"colour": "red"}),
    "rows are a number": tables(aliases={"hosts": 7}),
    "row is a text": tables(aliases={"hosts": ["x"]}),
    "lines are a table": tables(aliases={"hosts": [{"ip": "10.0.0.1", "names": {"a": 1}}]}),
    "text is a list": tables(account={"username": ["x"]}),
    "unknown type of row": tables(storage={"volumes": [{"type": "tape"}]}),
    "skipped is a text": changed(draft={"tables": {}, "skipped": "images"}),
    "skipped is unknown": changed(draft={"tables": {}, "skipped": [[]]}),
    "link": become_link,
    "directory": become_directory,
    "fifo": become_fifo,
    "others may write": lambda file: file.chmod(0o622),
}


@pytest.mark.parametrize("name", BAD)
def test_a_draft_that_cannot_be_believed_is_ignored_with_a_note(name: str, tmp_path: Path) -> None:
    BAD[name](left_behind(tmp_path, edited()))
    offers, notes = Autosave("gpu01", str(tmp_path)).offers()
    assert not offers
    assert [LEFT in note for note in notes] == [True]


@pytest.mark.parametrize("cut", sampled("cut draft", range(400), 8))
def test_a_truncated_draft_causes_no_traceback(cut: int, tmp_path: Path) -> None:
    file = left_behind(tmp_path, edited())
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * cut // 400])
    offers, notes = Autosave("gpu01", str(tmp_path)).offers()
    assert (len(offers), len(notes)) == (0, 1)


@pytest.mark.needs_root
def test_a_draft_of_another_user_is_ignored(tmp_path: Path) -> None:
    file = left_behind(tmp_path, edited())
    os.chown(file, 4242, 4242)
    offers, notes = Autosave("gpu01", str(tmp_path)).offers()
    assert not offers
    assert "another user" in notes[0]


def test_an_unusable_directory_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    offers, notes = Autosave("gpu01", str(tmp_path / "file")).offers()
    assert not offers
    assert len(notes) == 1
    assert Autosave("gpu01", str(tmp_path / "none")).offers() == ([], [])


@pytest.mark.needs_root
def test_under_sudo_the_draft_belongs_to_the_user_who_called_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 4242, 4242)
    for above in tmp_path.parents:
        with suppress(PermissionError):
            above.chmod(above.stat().st_mode | 0o011)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("SUDO_UID", "4242")
    monkeypatch.setenv("SUDO_GID", "4242")
    kept = save(home / "state" / "bai-wizard", edited())
    file = home / "state" / "bai-wizard" / kept.name
    assert (file.stat().st_uid, file.stat().st_mode & 0o7777) == (4242, 0o600)
    assert file.parent.stat().st_uid == 4242
    file.rename(file.with_name(LEFT))
    fresh = Autosave("gpu01", str(file.parent))
    offers, notes = fresh.offers()
    assert (len(offers), notes) == (1, [])
    fresh.remove(LEFT)
    assert not list(file.parent.iterdir())


@pytest.mark.needs_root
def test_under_sudo_a_link_in_the_users_directory_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "roots"
    secret.mkdir(mode=0o700)
    left_behind(secret, edited())
    state = tmp_path / "state"
    state.mkdir()
    (state / "bai-wizard").symlink_to(secret)
    os.chown(state, 4242, 4242)
    monkeypatch.setenv("SUDO_UID", "4242")
    monkeypatch.setenv("SUDO_GID", "4242")
    offers, notes = Autosave("gpu01", str(state / "bai-wizard")).offers()
    assert not offers
    assert len(notes) == 1


def test_where_drafts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_directory() == "/state/bai-wizard"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_directory().endswith("/.local/state/bai-wizard")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/me")
    assert default_directory() == "/home/me/.local/state/bai-wizard"
    # Root does not write into the home that `su` without a dash left in the environment.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_directory() == "/root/.local/state/bai-wizard"
