"""Helpers of the node side: fingerprints, error hints, the catalog generator."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.machine import Completed
from bai_wizard.node import cache
from bai_wizard.node.interpreter_check import problem_of
from bai_wizard.resources.pythons import PackageSources, distribution_at, interpreter_at, venv_at
from bai_wizard.resources.pythons_apply import (
    BuildLog,
    _remove_links,
    attempt,
    build_cause,
    cause,
    environments_of,
    rename_inside,
    source_options,
)
from bai_wizard.resources.trees_apply import finish_removal_at, set_aside_at, tree_at
from tests.tools.make_python_catalogue import build_of, from_pbs_installer, merged
from tests.waiting import PATIENCE


class Here:
    """An open directory, for operations that take one."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def fingerprint(path: Path) -> str:
    with Here(path.parent) as here:
        tree = tree_at(here, path.name)
    return tree.digest if tree else ""


def grown(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "lib" / "deep").mkdir(parents=True)
    (tree / "lib" / "a.py").write_text("a = 1\n")
    (tree / "lib" / "link").symlink_to("a.py")
    (tree / "lib" / "way").symlink_to("deep")
    return tree


def test_using_an_interpreter_keeps_its_fingerprint(tmp_path: Path) -> None:
    tree = grown(tmp_path)
    before = fingerprint(tree)
    (tree / "lib" / "__pycache__").mkdir()
    (tree / "lib" / "__pycache__" / "a.pyc").write_bytes(b"compiled")
    (tree / "empty").mkdir()
    (tree / "shims").mkdir()
    (tree / "shims" / "python").write_text("generated")
    assert fingerprint(tree) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "lib" / "new").touch(),
        lambda tree: (tree / "lib" / "a.py").unlink(),
        lambda tree: (tree / "lib" / "a.py").write_text("a = 2\n"),
        lambda tree: (tree / "lib" / "a.py").chmod(0o600),
        lambda tree: ((tree / "lib" / "link").unlink(), (tree / "lib" / "link").symlink_to("b.py")),
        lambda tree: ((tree / "lib" / "way").unlink(), (tree / "lib" / "way").symlink_to("else")),
        lambda tree: (tree / "lib" / "a.py").rename(tree / "lib" / "deep" / "a.py"),
    ],
)
def test_every_other_change_is_seen(tmp_path: Path, change: Any) -> None:
    tree = grown(tmp_path)
    before = fingerprint(tree)
    change(tree)
    assert fingerprint(tree) != before


def test_removal_never_follows_a_link(tmp_path: Path) -> None:
    tree, other = grown(tmp_path), tmp_path / "other"
    other.mkdir()
    (other / "kept").touch()
    (tree / "out").symlink_to(other)
    (tmp_path / "link").symlink_to(other)
    with Here(tmp_path) as here:
        set_aside_at(here, "tree", "aside")
        set_aside_at(here, "link", "unused")
        finish_removal_at(here, "aside", ["/srv/tree"])
        finish_removal_at(here, "nothing", ["/srv/tree"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "other"]
    assert (other / "kept").exists()


def python_at(path: Path, version: str = "3.13.7") -> None:
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python3").touch()
    include = path / "include" / "python3.13"
    include.mkdir(parents=True)
    (include / "patchlevel.h").write_text(
        f'#define PY_MINOR_VERSION 13\n#define PY_VERSION             "{version}"\n'
    )


def test_interpreters_are_read_without_being_started(tmp_path: Path) -> None:
    python_at(tmp_path / "3.13.7")
    with Here(tmp_path) as here:
        result = interpreter_at(here, "3.13.7")
        assert result is not None
        assert result.version == "3.13.7"
        (tmp_path / "3.13.7" / ".bai-wizard.unfinished").touch()
        half = interpreter_at(here, "3.13.7")
        assert half is not None
        assert half.version == ""
        (tmp_path / "plain").mkdir()
        assert interpreter_at(here, "plain") is None


def test_environments_are_read_from_their_configuration(tmp_path: Path) -> None:
    python_at(tmp_path / "3.13.7")
    venv = tmp_path / "home" / "agent" / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(tmp_path / "3.13.7" / "bin" / "python3")
    (venv / "pyvenv.cfg").write_text(f"home = {tmp_path}/3.13.7/bin\nversion = 3.13.7\n")
    packages = venv / "lib" / "python3.13" / "site-packages"
    (packages / "backend_ai_agent-26.4.10.dist-info").mkdir(parents=True)
    with Here(venv.parent) as here:
        result = venv_at(here, ".venv")
        assert result is not None
        assert (result.version, result.home) == ("3.13.7", f"{tmp_path}/3.13.7/bin")
        package = distribution_at(here, ".venv", "backend-ai-agent")
        assert package is not None
        assert package.version == "26.4.10"
        assert distribution_at(here, ".venv", "six") is None
        assert environments_of(str(tmp_path / "home"), f"{tmp_path}/3.13.7") == [str(venv)]
        (tmp_path / "3.13.7" / "bin" / "python3").unlink()
        lost = venv_at(here, ".venv")
        assert lost is not None
        assert lost.version == ""


def test_places_are_renamed_in_texts_only(tmp_path: Path) -> None:
    built = tmp_path / "staged"
    built.mkdir()
    (built / "_sysconfigdata.py").write_text(f"build = {{'prefix': '{built}'}}\n")
    (built / "program").write_bytes(b"\x7fELF" + str(built).encode())
    rename_inside(str(built), "/home/bai/final")
    assert (built / "_sysconfigdata.py").read_text() == "build = {'prefix': '/home/bai/final'}\n"
    assert str(built).encode() in (built / "program").read_bytes()


@pytest.mark.parametrize(
    ("completed", "words"),
    [
        (Completed(-4, "", ""), "newer CPU"),
        (Completed(1, "", "boom\nImportError: x"), "does not run: ImportError: x"),
        (Completed(0, '{"version": "3.12.1", "lacking": []}\n', ""), "it is Python 3.12.1 instead of 3.13.7"),
        (
            Completed(0, '{"version": "3.13.7", "lacking": [["lzma", "no _lzma"]]}', ""),
            "it lacks lzma (lzma: no _lzma)",
        ),
        (Completed(0, '{"version": "3.13.7", "lacking": []}', ""), ""),
        (Completed(0, "", ""), "does not run: exit code 0"),
        (Completed(0, "hello\n", ""), "does not run: exit code 0"),
    ],
)
def test_faults_of_interpreters(completed: Completed, words: str) -> None:
    fault = problem_of(completed, "3.13.7")
    assert words in fault
    assert bool(fault) == bool(words)


def test_a_program_that_the_kernel_refuses(tmp_path: Path) -> None:
    from bai_wizard.node.process import run

    def start(path: Path) -> str:
        return attempt(lambda: run([str(path)], timeout=PATIENCE), "3.13.7")

    foreign = tmp_path / "python3"
    foreign.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\xb7\x00" + bytes(44))
    foreign.chmod(0o755)
    assert "another processor" in start(foreign)
    script = tmp_path / "gone"
    script.write_text("#!/lib/ld-musl-none.so\n")
    script.chmod(0o755)
    assert "its loader is missing" in start(script)


def test_errors_of_uv_are_explained() -> None:
    full = Completed(2, "", "error: failed to write\n  Caused by: No space left on device (os error 28)\n")
    assert cause(full).startswith("no space left. Free some space")
    assert "os error 28" in cause(full)
    assert cause(Completed(2, "", "error: odd\n")) == "error: odd"


def test_source_options() -> None:
    sources = PackageSources("https://i/s", ("https://e/s",), ("/w",))
    assert source_options(sources) == [
        "--index-url", "https://i/s", "--extra-index-url", "https://e/s", "--find-links", "/w",
    ]  # fmt: skip
    assert source_options(PackageSources(find_links=("/w",), no_index=True)) == ["--no-index", "--find-links", "/w"]
    assert source_options(PackageSources()) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("configure: error: no acceptable C compiler found in $PATH", "Install build-essential"),
        ("ERROR: The Python ssl extension was not compiled. Missing the OpenSSL lib?", "Install libssl-dev"),
        ("ModuleNotFoundError: No module named '_ctypes'", "Install libffi-dev"),
        ("python-build: definition not found: 3.13.99", "does not know that Python version"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "not enough memory"),
        ("cp: error writing 'python': No space left on device", "no space left"),
        ("./Modules/_ssl.c:1:10: fatal error: openssl/rsa.h: No such file or directory", "Install libssl-dev"),
        ("./Modules/x.c:1:10: fatal error: gdbm.h: No such file or directory", "a header file is missing"),
    ],
)
def test_why_a_build_stopped(line: str, words: str) -> None:
    lines: list[tuple[Any, ...]] = []
    log = BuildLog(lambda text, **rest: lines.append((text, rest.get("done"))))
    healthy = ("checking for stdlib extension module _ctypes... yes", "checking for OpenSSL... yes")
    for text in ("Downloading Python-3.13.7.tar.xz...", "checking for gcc... no", *healthy, line):
        log.line(text, "stderr")
    assert words in build_cause(log, Completed(1, "", line))
    assert [(text, done) for text, done in lines if done is not None] == [
        ("downloading the source", 0), ("configuring", 1),
    ]  # fmt: skip


def test_the_cache_is_roots_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHE", str(tmp_path / "cache"))
    program = tmp_path / "uv"
    program.write_bytes(b"#!/bin/sh\n")
    old_mask = os.umask(0o077)  # as the executor's unit has it
    try:
        kept = Path(cache.keep_program(str(program), "uv"))
    finally:
        os.umask(old_mask)
    assert kept.read_bytes() == b"#!/bin/sh\n"
    assert oct(kept.stat().st_mode & 0o777) == "0o755"
    assert oct(kept.parent.stat().st_mode & 0o777) == "0o755"
    program.write_bytes(b"#!/bin/sh\n# newer\n")
    newer = Path(cache.keep_program(str(program), "uv"))
    assert [path.name for path in kept.parent.iterdir()] == [newer.name], "the older one is of no use any more"
    (tmp_path / "cache" / "open").mkdir()
    (tmp_path / "cache" / "open").chmod(0o777)
    with pytest.raises(StepFailed, match="can be changed by other users"):
        cache.make_directory(str(tmp_path / "cache" / "open" / "below"))
    (tmp_path / "cache" / "link").symlink_to("/etc")
    with pytest.raises(StepFailed, match="is not a directory"):
        cache.make_directory(str(tmp_path / "cache" / "link" / "below"))


URL = "https://github.com/indygreg/python-build-standalone/releases/download/{0}/cpython-3.13.2%2B{0}-x86_64-unknown-linux-gnu-{1}.tar.gz"


def wheel(path: Path, pairs: list[tuple[str, str | None]], *, old: bool) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        if old:
            archive.writestr("pbs_installer/_versions.py", f"X = {{1: {pairs!r}}}\n")
        else:
            body = [{"files": [{"url": url, "sha256": sha} for url, sha in pairs]}]
            archive.writestr("pbs_installer/versions.json", json.dumps(body))
    return path


def test_the_catalogue_is_made_of_the_newest_builds_of_each_flavour(tmp_path: Path) -> None:
    old = wheel(tmp_path / "old.whl", [(URL.format("20250101", "install_only"), "a" * 64),
                                       (URL.format("20250317", "install_only"), "b" * 64),
                                       (URL.format("20250317", "debug-full"), "c" * 64)], old=True)  # fmt: skip
    stripped = "install_only_stripped"
    pairs = [(URL.format("20250409", stripped), "d" * 64), (URL.format("20250501", stripped), None)]
    new = wheel(tmp_path / "new.whl", pairs, old=False)
    made = merged([*from_pbs_installer(old), *from_pbs_installer(new)])
    (entry,) = made.values()
    assert (entry["flavour"], entry["build"], entry["sha256"]) == ("install_only", "20250317", "b" * 64)
    assert entry["others"]["install_only_stripped"]["sha256"] == "d" * 64
    assert "github.com/astral-sh/" in entry["url"]
    conflict = build_of(URL.format("20250317", "install_only"), "e" * 64)
    assert conflict is not None
    with pytest.raises(SystemExit, match="two hashes"):
        merged([*from_pbs_installer(old), conflict])


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOEXEC, "another processor architecture"), (errno.ENOMEM, "cannot be started")]
)
def test_only_one_error_of_the_kernel_means_another_architecture(number: int, words: str) -> None:
    def run() -> Completed:
        raise StateUnknown("python3 cannot be started") from OSError(number, os.strerror(number))

    assert words in attempt(run, "3.13.0")


def test_only_interpreters_of_an_environment_are_removed_before_its_repair(tmp_path: Path) -> None:
    for name in ("python", "python3", "python3.13", "pip", "python-config", "python3.13-config", "activate"):
        (tmp_path / name).touch()
    _remove_links(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "activate", "pip", "python-config", "python3.13-config",
    ]  # fmt: skip
