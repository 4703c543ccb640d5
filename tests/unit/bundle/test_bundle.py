"""Making a bundle, and a node's answers that take from it. No network: mirror and wheels are files made here."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from bai_wizard.answers.load import load
from bai_wizard.bundle.manifest import Held, Manifest, damaged, digest_of, read_manifest
from bai_wizard.bundle.needs import missing
from bai_wizard.bundle.redirect import from_bundle
from bai_wizard.bundle.verify import verify
from bai_wizard.bundle.wanted import wanted_packages
from bai_wizard.cli import main
from bai_wizard.compose import wish_of
from bai_wizard.core.errors import PreflightError, StepFailed
from bai_wizard.exits import ExitCode
from bai_wizard.pages.docker.facts import System
from bai_wizard.pages.python import catalogue
from bai_wizard.pages.python.catalogue import Build

CONTENT = b"an interpreter"
IMAGE = b"an image"
TRIXIE = System("debian", "Debian 13", "trixie", "amd64", "13")


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a connected machine reaches: one build, three wheels, one image archive."""
    place = tmp_path / "outside"
    file = "cpython-3.13.7+20260101-install_only.tar.gz"
    build = Build("key", "3.13.7", "20260101", platform.machine(), "", "install_only", f"https://outside/{file}",
                  hashlib.sha256(CONTENT).hexdigest())  # fmt: skip
    monkeypatch.setattr(catalogue, "builds", lambda: (build,))
    (place / "20260101").mkdir(parents=True)
    (place / "20260101" / file).write_bytes(CONTENT)
    (place / "image.tar").write_bytes(IMAGE)
    for name in ("pip", "setuptools", "wheel"):
        with zipfile.ZipFile(place / f"{name}-99.0-py3-none-any.whl", "w") as wheel:
            info = f"{name}-99.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return place


def answers(outside: Path, extra: str = "", *, starter: str = "none") -> Path:
    file = outside.parent / "answers.toml"
    file.write_text(f"""version = 1
[node]
roles = ["compute"]
[account]
username = "bai"
apply = false
sudo = "no"
[python]
version = "3.13.7"
mirror = "file://{outside}"
find_links = ["{outside}"]
[images]
starter = "{starter}"
archives = [ {{ file = "{outside}/image.tar", sha256 = "{hashlib.sha256(IMAGE).hexdigest()}" }} ]
{extra}""")
    return file


def test_a_bundle_holds_what_the_answers_need_and_the_node_takes_from_it(outside: Path) -> None:
    file, directory = answers(outside), outside.parent / "bundle"
    assert main(["bundle", str(file), "-o", str(directory)]) == ExitCode.OK
    manifest = read_manifest(directory)
    assert len(manifest.files) == 5
    assert damaged(directory, manifest, hashes=True) == ()
    wish = from_bundle(wish_of(load(str(file), "a01")), str(directory))
    plain = json.dumps(wish.to_json())
    assert str(outside) not in plain, "something is still taken from outside"
    assert f"file://{directory}/python" in plain


def test_collecting_again_fetches_nothing_and_completes_what_was_cut(
    outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, directory = answers(outside), outside.parent / "bundle"
    main(["bundle", str(file), "-o", str(directory)])
    first = read_manifest(directory)
    next(directory.glob("images/*")).unlink()
    capsys.readouterr()
    assert main(["bundle", str(file), "-o", str(directory)]) == ExitCode.OK
    said = capsys.readouterr().err
    assert ("already here: cpython" in said, "fetching file://" in said) == (True, False)
    assert read_manifest(directory) == first


def test_what_a_bundle_lacks_is_said_when_it_is_made_and_refused_by_check(
    outside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = outside.parent / "bundle"
    more = f'[sources]\nbundle = "{directory}"\n'
    file = answers(outside, more, starter="current")
    with monkeypatch.context() as without_docker:
        without_docker.setattr("shutil.which", lambda _program: None)
        assert main(["bundle", str(file), "-o", str(directory)]) == ExitCode.OPTIONAL_FAILED
    assert "not in the bundle: [images]" in capsys.readouterr().out
    assert main(["check", str(file)]) == ExitCode.PREFLIGHT
    told = capsys.readouterr().err
    assert "[images] the image cr.backend.ai/" in told


def test_check_looks_into_a_bundle_that_the_answers_do_not_name(
    outside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for answers on standard input."""
    file, directory = answers(outside), outside.parent / "bundle"
    main(["bundle", str(file), "-o", str(directory)])
    assert main(["check", str(file), "--bundle", str(directory), "--bundle-digest", digest_of(directory)]) == 0
    assert main(["check", str(file), "--bundle", str(directory), "--bundle-digest", "0" * 64]) == ExitCode.PREFLIGHT
    text = file.read_text().replace('"3.13.7"', '"3.13.7"\nvenvs = [{service = "x", packages = ["aiohttp"]}]')
    capsys.readouterr()
    for told in (("--bundle", str(directory)), ()):
        named = "" if told else f'[sources]\nbundle = "{directory}"\n'
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((text + named).encode())))
        assert main(["check", "-", *told]) == ExitCode.PREFLIGHT
        assert "a wheel of aiohttp" in capsys.readouterr().err


def test_what_was_asked_for_later_is_missed_before_anything(outside: Path) -> None:
    directory = outside.parent / "bundle"
    main(["bundle", str(answers(outside)), "-o", str(directory)])
    more = answers(outside, '[docker]\nsource = "distro"\n')
    more.write_text(
        more.read_text().replace("mirror =", 'venvs = [{service = "x", packages = ["aiohttp"]}]\nmirror =')
    )
    with pytest.raises(PreflightError, match=r"(?s)a wheel of aiohttp.*\[docker\] the packages docker.io"):
        from_bundle(wish_of(load(str(more), "a01")), str(directory))


def test_a_key_file_is_needed_where_packages_are_fetched_and_not_on_the_node(tmp_path: Path) -> None:
    file = tmp_path / "answers.toml"
    file.write_text(f'version = 1\n[docker]\nkey_file = "{tmp_path}/docker.asc"\n')
    wish = wish_of(load(str(file), "a01"))
    with pytest.raises(StepFailed, match="cannot be read"):
        wanted_packages(wish, TRIXIE)
    here = replace(wish, context=replace(wish.context, bundle="/srv/bundle"))
    (docker,) = wanted_packages(here, TRIXIE)
    held = tuple(Held(f"packages/{name}_1_amd64.deb", "", 0) for name in docker.names)
    assert missing(here, Manifest("", "", held, system="trixie"), TRIXIE) == ()


DOCKER = """#!/bin/sh
echo "$@" >> "$0.log"
if [ "$1" = save ]; then printf 'layers of %s' "$4" > "$3"; fi
"""


def test_images_that_would_be_pulled_are_saved_once_and_loaded_from_the_bundle(
    outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is a script that notes what it is asked; a real one saves what it has pulled."""
    program = outside / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    file, directory = answers(outside), outside.parent / "bundle"
    file.write_text(file.read_text().replace("archives =", 'pull = ["harbor.corp/bai/tool:1"]\narchives ='))
    for _ in range(2):
        assert main(["bundle", str(file), "-o", str(directory)]) == ExitCode.OK
    asked = Path(f"{program}.log").read_text()
    assert (asked.count("pull "), asked.count("save ")) == (1, 1)
    images = from_bundle(wish_of(load(str(file), "a01")), str(directory)).settings["images"]
    saved = next(directory.glob("images/*tool-1.tar"))
    assert [archive.file for archive in images.archives][-1] == str(saved)
    assert (images.pull, images.archives[-1].sha256) == ((), hashlib.sha256(saved.read_bytes()).hexdigest())


def test_another_manifest_than_the_one_that_was_announced_is_refused(outside: Path) -> None:
    file, directory = answers(outside), outside.parent / "bundle"
    main(["bundle", str(file), "-o", str(directory)])
    wish = wish_of(load(str(file), "a01"))
    kept = from_bundle(wish, str(directory), digest_of(directory))
    with pytest.raises(PreflightError, match="not the one that was expected"):
        from_bundle(wish, str(directory), "0" * 64)
    assert verify(kept.to_json()) == str(directory)
    (directory / "manifest.json").write_text((directory / "manifest.json").read_text() + " ")
    with pytest.raises(PreflightError, match="another one than when the plan was made"):
        verify(kept.to_json())


def test_every_byte_is_compared_before_a_run_begins(outside: Path) -> None:
    file, directory = answers(outside), outside.parent / "bundle"
    main(["bundle", str(file), "-o", str(directory)])
    kept = from_bundle(wish_of(load(str(file), "a01")), str(directory))
    wheel = next(directory.glob("wheels/*.whl"))
    wheel.write_bytes(bytes(reversed(wheel.read_bytes())))
    with pytest.raises(PreflightError, match=wheel.name):
        verify(kept.to_json())


@pytest.mark.parametrize("harm", ["cut", "gone", "unfinished", "foreign"])
def test_a_bundle_that_is_not_whole_is_refused(outside: Path, harm: str) -> None:
    file, directory = answers(outside), outside.parent / "bundle"
    main(["bundle", str(file), "-o", str(directory)])
    image = next(directory.glob("images/*"))
    if harm == "cut":
        image.write_bytes(IMAGE[:-1])
    elif harm == "gone":
        image.unlink()
    elif harm == "unfinished":
        (directory / "manifest.json").unlink()
    else:
        manifest = (directory / "manifest.json").read_text()
        (directory / "manifest.json").write_text(manifest.replace(platform.machine(), "vax"))
    with pytest.raises(PreflightError):
        from_bundle(wish_of(load(str(file), "a01")), str(directory))


def test_other_content_of_the_same_size_is_seen_by_its_hash(outside: Path) -> None:
    directory = outside.parent / "bundle"
    main(["bundle", str(answers(outside)), "-o", str(directory)])
    image = next(directory.glob("images/*"))
    image.write_bytes(bytes(reversed(IMAGE)))
    manifest = read_manifest(directory)
    assert damaged(directory, manifest, hashes=False) == ()
    assert damaged(directory, manifest, hashes=True) == (str(image.relative_to(directory)),)


def test_an_archive_with_another_hash_is_not_taken(outside: Path) -> None:
    file = answers(outside)
    (outside / "image.tar").write_bytes(b"another image")
    assert main(["bundle", str(file), "-o", str(outside.parent / "bundle")]) == ExitCode.FAILED
    with pytest.raises(PreflightError, match="no complete bundle"):
        read_manifest(outside.parent / "bundle")
