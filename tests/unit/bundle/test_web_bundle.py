"""A bundle on a web server: its digest vouches for it, and an interrupted download is resumed."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from bai_wizard.answers.load import load
from bai_wizard.cli import main
from bai_wizard.compose import desired_from_answers
from bai_wizard.core.errors import PreflightError
from bai_wizard.exit_codes import ExitCode
from bai_wizard.offline import collect, fetch_bundle
from bai_wizard.offline.manifest import digest_of
from bai_wizard.offline.use_bundle import from_bundle, provided
from tests.unit.bundle.test_bundle import answers, outside
from tests.waiting import ends

__all__ = ["outside"]


@dataclass
class Requests:
    """The paths and ranges that were asked for; `breaks_at`: a path that ends after so many bytes, once."""

    directory: Path
    breaks_at: dict[str, int] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    is_down: bool = False


@contextmanager
def serving(directory: Path) -> Iterator[tuple[str, Requests]]:
    """The URL of the directory on loopback. After a break the server answers 503."""
    requests = Requests(directory)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path).removeprefix("/bundle/")
            asked = self.headers.get("Range", "")
            requests.seen.append((path, asked))
            if requests.is_down or not (requests.directory / path).is_file():
                self.send_error(503 if requests.is_down else 404)
                return
            data = (requests.directory / path).read_bytes()
            begin = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - begin))
            self.send_header("ETag", '"one"')
            self.end_headers()
            end = requests.breaks_at.pop(path, len(data))
            requests.is_down = end < len(data)
            self.wfile.write(data[begin:end])

        def log_message(self, format: str, *values: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/bundle", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def bundle(outside: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete bundle; downloads go to a temporary cache."""
    directory = outside.parent / "bundle"
    assert main(["bundle", str(answers(outside)), "-o", str(directory)]) == ExitCode.OK
    cache = outside.parent / "cache"
    monkeypatch.setattr(fetch_bundle, "DOWNLOADS", str(cache / "bai-wizard/downloaded-bundles"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    # make_directory judges the directories above, and pytest's are below a world-writable one.
    monkeypatch.setattr(fetch_bundle, "make_directory", lambda path: os.makedirs(path, exist_ok=True))
    return directory


def test_a_bundle_on_a_server_is_used_like_a_local_one(outside: Path, bundle: Path) -> None:
    with serving(bundle) as (url, requests):
        more = f'[sources]\nbundle = "{url}"\nbundle_digest = "{digest_of(bundle)}"\n'
        desired = from_bundle(desired_from_answers(load(str(answers(outside, more)), "a01")))
        local = Path(desired.context.bundle)
        assert local.name == digest_of(bundle)
        assert url not in json.dumps(desired.to_json()), "something is still taken from the server"
        assert sorted(path.relative_to(local) for path in local.rglob("*")) == sorted(
            path.relative_to(bundle) for path in bundle.rglob("*")
        )
        with provided(desired.to_json(), outside.parent / "root") as copies:
            assert len([*Path(copies.wheels).iterdir()]) == 3
        requests.seen.clear()
        from_bundle(desired_from_answers(load(str(answers(outside, more)), "a01")))
        assert requests.seen == [], "downloaded twice"


def test_it_is_said_what_is_waited_for(outside: Path, bundle: Path) -> None:
    """Another process is downloading the same bundle, until that has been said."""
    digest = digest_of(bundle)
    told: list[str] = []
    directory = Path(fetch_bundle._base(), digest)
    directory.mkdir(parents=True)
    other = os.open(f"{directory}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)

    def log(text: str, **_: object) -> None:
        told.append(text)
        if len(told) == 1:
            os.close(other)

    with serving(bundle) as (url, _), ends("the wait"):
        more = f'[sources]\nbundle = "{url}"\nbundle_digest = "{digest}"\n'
        from_bundle(desired_from_answers(load(str(answers(outside, more)), "a01")), log=log)
    assert "waiting for another process" in told[0]


def test_an_interrupted_download_is_resumed(outside: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bai_wizard.node.download.time.sleep", lambda _seconds: None)
    desired = desired_from_answers(load(str(answers(outside)), "a01"))
    with serving(bundle) as (url, requests):
        path = str(next(bundle.glob("python/*/*")).relative_to(bundle))
        requests.breaks_at[path] = 5
        with pytest.raises(PreflightError, match="cannot be downloaded"):
            from_bundle(desired, url, digest_of(bundle))
        done = {name for name, _ in requests.seen} - {path}
        requests.seen.clear()
        requests.is_down = False
        from_bundle(desired, url, digest_of(bundle))
        assert requests.seen[0] == (path, "bytes=5-")
        assert done & {name for name, _ in requests.seen} == set(), "complete files were downloaded again"


def test_the_server_is_not_trusted(outside: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desired = desired_from_answers(load(str(answers(outside)), "a01"))
    with serving(bundle) as (url, requests):
        with pytest.raises(PreflightError, match="digest is required"):
            from_bundle(desired, url)
        with pytest.raises(PreflightError, match="contains credentials"):
            from_bundle(desired, url.replace("//", "//alice:secret@"), digest_of(bundle))
        assert requests.seen == []
        with pytest.raises(PreflightError, match="cannot be downloaded"):
            from_bundle(desired, url, "0" * 64)
        digest = digest_of(bundle)
        wheel = next(bundle.glob("wheels/*"))
        wheel.write_bytes(wheel.read_bytes()[::-1])
        with pytest.raises(PreflightError, match="cannot be downloaded"):
            from_bundle(desired, url, digest)


@pytest.mark.parametrize("digest", ["..", "../..", "/etc/x", "0" * 63, "g" * 64, "0" * 65, "0" * 64 + "\n"])
def test_what_is_not_a_digest_is_no_path(outside: Path, bundle: Path, digest: str) -> None:
    desired = desired_from_answers(load(str(answers(outside)), "a01"))
    before = sorted(outside.parent.rglob("*"))
    with serving(bundle) as (url, requests):
        for source in (url, str(bundle)):
            with pytest.raises(PreflightError, match="is not the digest of a bundle"):
                from_bundle(desired, source, digest)
        assert requests.seen == []
    assert sorted(outside.parent.rglob("*")) == before


def test_digests_in_capitals_are_recognized(outside: Path, bundle: Path) -> None:
    desired = desired_from_answers(load(str(answers(outside)), "a01"))
    with serving(bundle) as (url, _):
        for source in (url, str(bundle)):
            used = from_bundle(desired, source, digest_of(bundle).upper())
            assert used.to_json()["tables"]["sources"]["bundle_digest"] == digest_of(bundle)


def test_damaged_files_in_the_cache_are_downloaded_again(outside: Path, bundle: Path) -> None:
    desired = desired_from_answers(load(str(answers(outside)), "a01"))
    with serving(bundle) as (url, requests):
        local = Path(from_bundle(desired, url, digest_of(bundle)).context.bundle)
        wheel = next(local.glob("wheels/*"))
        whole = wheel.read_bytes()
        wheel.write_bytes(whole[::-1])
        requests.seen.clear()
        from_bundle(desired, url, digest_of(bundle))
        assert wheel.read_bytes() == whole
        assert requests.seen == [(f"wheels/{wheel.name}", "")]


def test_check_downloads_the_manifest_only(outside: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(bundle) as (url, requests):
        more = f'[sources]\nbundle = "{url}"\nbundle_digest = "{digest_of(bundle)}"\n'
        assert main(["check", str(answers(outside, more))]) == ExitCode.OK
        assert [path for path, _ in requests.seen] == ["manifest.json"]
        file = answers(
            outside, more.replace("[sources]", '[[python.venvs]]\nservice = "x"\npackages = ["aiohttp"]\n[sources]')
        )
        assert main(["check", str(file)]) == ExitCode.ANSWERS
        assert "lacks files that these answers need" in capsys.readouterr().err


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_the_last_collection_wrote_and_the_answers_no_longer_need_is_removed(
    outside: Path, interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter, wheels, an image and the wizard's archive; also if another collection was interrupted since."""
    directory, archive = outside.parent / "bundle", outside / "bai-wizard-1.0-x86_64.tar.gz"
    archive.write_bytes(b"the wizard")
    words = ["-o", str(directory), "--wizard", str(archive)]
    assert main(["bundle", str(answers(outside)), *words]) == ExitCode.OK
    assert {path.partition("/")[0] for path in files_of(directory)} >= {"python", "wheels", "images", "wizard"}
    archive = archive.rename(outside / "bai-wizard-1.1-x86_64.tar.gz")
    other = outside.parent / "other.toml"
    other.write_text("version = 1\n[tuning]\n")
    words[-1] = str(archive)
    if interrupted:
        with monkeypatch.context() as killed:
            killed.setattr(collect, "_held", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
            killed.setattr(collect, "_remove", lambda *_: None)
            main(["bundle", str(other), *words])
        assert not (directory / "manifest.json").exists()
    assert main(["bundle", str(other), *words]) == ExitCode.OK
    assert files_of(directory).keys() == {"manifest.json", "SHA256SUMS", f"wizard/{archive.name}"}


@pytest.mark.parametrize("complete", [False, True])
def test_files_of_others_in_the_directory_are_neither_removed_nor_bundled(
    outside: Path, complete: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, words = outside.parent / "bundle", ["-o", str(outside.parent / "bundle")]
    if complete:
        assert main(["bundle", str(answers(outside)), *words]) == ExitCode.OK
    own = {
        "images/holiday/a.jpg": b"a", "python/thesis.py": b"b", "wheels/bike.txt": b"c", "packages/parcel.txt": b"d",
        "wizard/oz.txt": b"e", "images/film.part": b"f", "packages/partial/x": b"g", ".apt/x": b"h",
    }  # fmt: skip
    for name, data in own.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    (directory / "images/empty").mkdir()
    other = outside.parent / "other.toml"
    other.write_text("version = 1\n[tuning]\n")
    for file in (str(answers(outside)), str(other)):
        for _ in range(2):
            assert main(["bundle", file, *words]) not in (ExitCode.OK, ExitCode.OPTIONAL_FAILED)
            assert "python/thesis.py, wheels/bike.txt" in capsys.readouterr().err
            assert own.items() <= files_of(directory).items()
            assert (directory / "images/empty").is_dir()
    for name in own:
        (directory / name).unlink()
    for name in ("images/holiday", "images/empty", ".apt", "packages/partial"):
        (directory / name).rmdir()
    assert main(["bundle", str(answers(outside)), *words]) == ExitCode.OK


@pytest.mark.parametrize("name", ["manifest.json", "SHA256SUMS"])
def test_a_manifest_of_something_else_is_kept(outside: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    directory = outside.parent / "web"
    directory.mkdir()
    (directory / name).write_text('{"name": "a web application"}')
    assert main(["bundle", str(answers(outside)), "-o", str(directory)]) == ExitCode.PREFLIGHT
    assert "hoose another directory" in capsys.readouterr().err
    assert files_of(directory) == {name: b'{"name": "a web application"}'}
