"""Building a bundle and answers that install from it, without network: mirror and wheels are local files."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard.answers.load import load
from bai_wizard.cli import main
from bai_wizard.compose import desired_from_answers, refuse_untrusted
from bai_wizard.core.errors import PreflightError, StepFailed
from bai_wizard.exit_codes import ExitCode
from bai_wizard.offline.manifest import Held, Manifest, digest_of, read_manifest
from bai_wizard.offline.needs import missing_items, required_packages
from bai_wizard.offline.use_bundle import from_bundle, provided
from bai_wizard.pages.node_state import System
from bai_wizard.pages.python import versions
from bai_wizard.pages.python.versions import Build
from tests.programs import find_programs_in

# It begins as a gzip file does: anything else from a web server is taken for a login page.
CONTENT = b"\x1f\x8b an interpreter"
IMAGE = b"an image"
TRIXIE = System("debian", "Debian 13", "trixie", "amd64", "13")


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a connected machine reaches: one build, three wheels, one image archive."""
    directory = tmp_path / "outside"
    file = "cpython-3.13.7+20260101-install_only.tar.gz"
    build = Build("key", "3.13.7", "20260101", platform.machine(), "", "install_only", f"https://outside/{file}",
                  hashlib.sha256(CONTENT).hexdigest())  # fmt: skip
    monkeypatch.setattr(versions, "builds", lambda: (build,))
    (directory / "20260101").mkdir(parents=True)
    (directory / "20260101" / file).write_bytes(CONTENT)
    (directory / "image.tar").write_bytes(IMAGE)
    for name in ("pip", "setuptools", "wheel"):
        with zipfile.ZipFile(directory / f"{name}-99.0-py3-none-any.whl", "w") as wheel:
            info = f"{name}-99.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return directory


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


def test_a_bundle_contains_what_the_answers_need_and_the_node_uses_it(outside: Path) -> None:
    file, directory = answers(outside), outside.parent / "bundle"
    assert main(["bundle", str(file), "-o", str(directory)]) == ExitCode.OK
    manifest = read_manifest(directory)
    assert len(manifest.files) == 5
    desired = from_bundle(desired_from_answers(load(str(file), "a01")), str(directory))
    plain = json.dumps(desired.to_json())
    assert str(outside) not in plain, "something is still taken from outside"
    assert f"file://{directory}/python" in plain
    with provided(desired.to_json(), outside.parent / "root") as copies:
        assert {path.name for path in Path(copies.wheels).iterdir()} == {path.name for path in outside.glob("*.whl")}


def test_digests_to_compare_are_printed(outside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That of the wizard's archive as `sha256sum -c` reads it: it is compared before anything of ours runs."""
    archive = outside / "bai-wizard-1.0-x86_64.tar.gz"
    archive.write_bytes(b"the wizard")
    directory = outside.parent / "bundle"
    assert main(["bundle", str(answers(outside)), "-o", str(directory), "--wizard", str(archive)]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert f"{hashlib.sha256(b'the wizard').hexdigest()}  {archive.name}" in lines
    assert any(line.endswith(digest_of(directory)) for line in lines)


def test_another_collection_only_completes_interrupted_downloads(
    outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, directory = answers(outside), outside.parent / "bundle"
    main(["bundle", str(file), "-o", str(directory)])
    first = read_manifest(directory)
    next(directory.glob("images/*")).unlink()
    capsys.readouterr()
    assert main(["bundle", str(file), "-o", str(directory)]) == ExitCode.OK
    output = capsys.readouterr().err
    assert ("already downloaded: cpython" in output, "fetching file://" in output) == (True, False)
    assert read_manifest(directory) == first


def test_missing_parts_are_reported_at_creation_and_refused_by_check(
    outside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = outside.parent / "bundle"
    more = f'[sources]\nbundle = "{directory}"\n'
    file = answers(outside, more, starter="current")
    with monkeypatch.context() as without_docker:
        without_docker.setattr("bai_wizard.offline.packages.find_program", lambda _program: None)
        assert main(["bundle", str(file), "-o", str(directory)]) == ExitCode.OPTIONAL_FAILED
    assert "not in the bundle: [images]" in capsys.readouterr().out
    assert main(["check", str(file)]) == ExitCode.ANSWERS
    message = capsys.readouterr().err
    assert f"{file}:" in message
    assert "sources.bundle: the bundle" in message
    assert "[images] the image cr.backend.ai/" in message


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
    for lines in (("--bundle", str(directory)), ()):
        named = "" if lines else f'[sources]\nbundle = "{directory}"\n'
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((text + named).encode())))
        assert main(["check", "-", *lines]) == (ExitCode.PREFLIGHT if lines else ExitCode.ANSWERS)
        assert "a wheel of aiohttp" in capsys.readouterr().err


def test_later_requests_are_reported_missing_before_any_change(outside: Path) -> None:
    directory = outside.parent / "bundle"
    main(["bundle", str(answers(outside)), "-o", str(directory)])
    more = answers(outside, '[docker]\nsource = "distro"\n')
    more.write_text(
        more.read_text().replace("mirror =", 'venvs = [{service = "x", packages = ["aiohttp"]}]\nmirror =')
    )
    with pytest.raises(PreflightError, match=r"(?s)a wheel of aiohttp.*\[docker\] the packages docker.io"):
        from_bundle(desired_from_answers(load(str(more), "a01")), str(directory))


def test_a_key_file_is_needed_where_packages_are_fetched_and_not_on_the_node(tmp_path: Path) -> None:
    file = tmp_path / "answers.toml"
    file.write_text(f'version = 1\n[docker]\nkey_file = "{tmp_path}/docker.asc"\n')
    desired = desired_from_answers(load(str(file), "a01"))
    with pytest.raises(StepFailed, match="cannot be read"):
        required_packages(desired, TRIXIE)
    here = replace(desired, context=replace(desired.context, bundle="/srv/bundle"))
    (docker,) = required_packages(here, TRIXIE)
    held = tuple(Held(f"packages/{name}_1_amd64.deb", "", 0) for name in docker.names)
    assert missing_items(here, Manifest("", "", held, system="trixie"), TRIXIE) == ()


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
    find_programs_in(program.parent, monkeypatch)
    file, directory = answers(outside), outside.parent / "bundle"
    file.write_text(file.read_text().replace("archives =", 'pull = ["harbor.corp/bai/tool:1"]\narchives ='))
    for _ in range(2):
        assert main(["bundle", str(file), "-o", str(directory)]) == ExitCode.OK
    asked = Path(f"{program}.log").read_text()
    assert (asked.count("pull "), asked.count("save ")) == (1, 1)
    desired = from_bundle(desired_from_answers(load(str(file), "a01")), str(directory))
    assert from_bundle(desired) == desired, "the session takes the bundle of a desired state that already uses it"
    images = desired.settings["images"]
    saved = next(directory.glob("images/*tool-1.tar"))
    assert [archive.file for archive in images.archives][-1] == str(saved)
    assert (images.pull, images.archives[-1].sha256) == ((), hashlib.sha256(saved.read_bytes()).hexdigest())


def test_another_manifest_than_the_one_that_was_announced_is_refused(outside: Path) -> None:
    file, directory = answers(outside), outside.parent / "bundle"
    main(["bundle", str(file), "-o", str(directory)])
    desired = desired_from_answers(load(str(file), "a01"))
    kept = from_bundle(desired, str(directory), digest_of(directory))
    with pytest.raises(PreflightError, match="not the expected one"):
        from_bundle(desired, str(directory), "0" * 64)
    with provided(kept.to_json(), outside.parent / "root"):
        pass
    (directory / "manifest.json").write_text((directory / "manifest.json").read_text() + " ")
    changed = provided(kept.to_json(), outside.parent / "root")
    with pytest.raises(PreflightError, match="has changed since the plan was made"), changed:
        pass


@pytest.mark.needs_root
@pytest.mark.parametrize("spoiled", ["", "manifest.json", "python", "wheels"])
def test_root_believes_a_bundle_without_a_digest_only_if_others_cannot_change_it(
    outside: Path, spoiled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, directory = answers(outside), outside.parent / "bundle"
    main(["bundle", str(file), "-o", str(directory)])
    desired, digest = desired_from_answers(load(str(file), "a01")), digest_of(directory)
    from_bundle(desired, str(directory))
    (directory / spoiled).chmod(0o777)
    with pytest.raises(PreflightError, match=r"can be changed by everyone.*or pass the digest"):
        from_bundle(desired, str(directory))
    refuse_untrusted("/", from_bundle(desired, str(directory), digest))
    capsys.readouterr()
    assert main(["check", str(file), "--bundle", str(directory)]) == 0, capsys.readouterr().err


def test_every_byte_is_compared_before_a_run_begins(outside: Path) -> None:
    file, directory = answers(outside), outside.parent / "bundle"
    main(["bundle", str(file), "-o", str(directory)])
    kept = from_bundle(desired_from_answers(load(str(file), "a01")), str(directory))
    wheel = next(directory.glob("wheels/*.whl"))
    wheel.write_bytes(bytes(reversed(wheel.read_bytes())))
    with pytest.raises(PreflightError, match=wheel.name), provided(kept.to_json(), outside.parent / "root"):
        pass


@pytest.mark.parametrize("harm", ["cut", "gone", "unfinished", "foreign", "older"])
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
    elif harm == "older":
        manifest = (directory / "manifest.json").read_text()
        (directory / "manifest.json").write_text(manifest.replace('"version": 2', '"version": 1'))
    else:
        manifest = (directory / "manifest.json").read_text()
        (directory / "manifest.json").write_text(manifest.replace(platform.machine(), "vax"))
    with pytest.raises(PreflightError):
        from_bundle(desired_from_answers(load(str(file), "a01")), str(directory))


def test_an_archive_with_another_hash_is_not_taken(outside: Path) -> None:
    file = answers(outside)
    (outside / "image.tar").write_bytes(b"another image")
    assert main(["bundle", str(file), "-o", str(outside.parent / "bundle")]) == ExitCode.FAILED
    with pytest.raises(PreflightError, match="not a complete bundle"):
        read_manifest(outside.parent / "bundle")


def test_a_directory_that_holds_more_than_the_bundle_is_not_completed(
    outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every node would refuse it. What a cut collection left is removed."""
    file, directory = answers(outside), outside.parent / "bundle"
    (directory / "images").mkdir(parents=True)
    (directory / f"images/{hashlib.sha256(IMAGE).hexdigest()[:12]}-image.tar.part").write_text("half")
    (directory / "notes.txt").write_text("mine")
    assert main(["bundle", str(file), "-o", str(directory)]) == ExitCode.FAILED
    assert "notes.txt is not listed" in capsys.readouterr().err
    assert not (directory / "manifest.json").exists()
    (directory / "notes.txt").unlink()
    assert main(["bundle", str(file), "-o", str(directory)]) == ExitCode.OK
    from_bundle(desired_from_answers(load(str(file), "a01")), str(directory))
