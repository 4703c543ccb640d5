"""Downloads from a server that truncates, corrupts, stalls and returns pages, and what is left each time."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.node import download
from bai_wizard.node.download import Source, drop_download, fetch, size_of
from tests.pages.python.faulty_server import ServerBehavior, serving
from tests.waiting import until

BODY = b"\x1f\x8b" + random.Random(7).randbytes(3_000_000)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.01)


class Narrative:
    """Collects what a download tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.progress: list[tuple[int, int]] = []

    def __call__(self, text: str, *, done: int | None = None, total: int | None = None, **_rest: Any) -> None:
        self.lines.append(text)
        if done is not None and total is not None:
            self.progress.append((done, total))


def left(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in directory.iterdir()}


def test_a_whole_file_with_progress(tmp_path: Path) -> None:
    behavior, result = ServerBehavior(BODY), Narrative()
    with serving(behavior) as url:
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"), result)
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    assert left(tmp_path) == {"a.tar.gz": len(BODY)}
    assert result.progress[-1] == (len(BODY), len(BODY))


@pytest.mark.parametrize("cut", [100_000, 999_999, 2_999_000])
def test_a_connection_that_breaks_repeatedly(tmp_path: Path, cut: int) -> None:
    behavior = ServerBehavior(BODY, cut=cut)
    with serving(behavior) as url:
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    assert behavior.served == len(BODY), "bytes were fetched twice"
    assert len(behavior.requests) == -(-len(BODY) // cut)


def test_without_range_support_the_download_starts_over(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY, ranges=False)
    (tmp_path / "a.tar.gz.part").write_bytes(BODY[:1_000_000])
    with serving(behavior) as url:
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY


def test_a_changed_file_on_the_server_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    old = ServerBehavior(bytes(BODY[:2]) + bytes(2_000_000), stall_at=500_000, etag='"old"')
    with serving(old) as url, pytest.raises(StepFailed, match="stopped sending data"):
        fetch(Source(f"{url}/a.tar.gz", old.sha256, stall=0.2), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path)["a.tar.gz.part"] == 500_000
    new = ServerBehavior(BODY, etag='"new"')
    with serving(new) as url:
        fetch(Source(f"{url}/a.tar.gz", new.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    assert new.requests == ["bytes=500000-"], "If-Range should have made one answer enough"


def test_a_part_of_another_file_without_a_mark_is_found_out_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz.part").write_bytes(b"\x1f\x8b" + bytes(400_000))
    behavior, result = ServerBehavior(BODY, etag=""), Narrative()
    with serving(behavior) as url:
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"), result)
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    assert any("belongs to another file" in line for line in result.lines)


def test_a_part_that_is_already_whole(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz.part").write_bytes(BODY)
    behavior = ServerBehavior(BODY)
    with serving(behavior) as url:
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert behavior.served == 0
    assert left(tmp_path) == {"a.tar.gz": len(BODY)}


def test_a_page_in_the_place_of_the_archive(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY, page=True)
    with (
        serving(behavior) as url,
        pytest.raises(StepFailed, match=r"not with an archive \(text/html\): a login page"),
    ):
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path) == {}


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "does not have this file"), (403, "denies access"), (401, "requires a login"), (500, "internal error")],
)
def test_responses_that_are_not_the_file(tmp_path: Path, status: int, words: str) -> None:
    with serving(ServerBehavior(BODY, status=status)) as url, pytest.raises(StepFailed, match=words):
        fetch(Source(f"{url}/a.tar.gz", "0" * 64), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path) == {}


def test_a_server_that_recovers(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY, failures=2)
    with serving(behavior) as url:
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY


def test_a_wrong_hash_leaves_nothing(tmp_path: Path) -> None:
    with serving(ServerBehavior(BODY)) as url, pytest.raises(StepFailed, match=r"SHA-256 of .* expected 0000"):
        fetch(Source(f"{url}/a.tar.gz", "0" * 64), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path) == {}


def test_a_server_that_announces_too_little(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY, announce=1_000_000)
    with serving(behavior) as url, pytest.raises(StepFailed, match="the SHA-256 of the 1000000 bytes received is"):
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path) == {}


def test_a_server_that_announces_too_much(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY, announce=len(BODY) + 5, ranges=False, cut=len(BODY))
    with (
        serving(behavior) as url,
        pytest.raises(StepFailed, match=f"closed.*; {len(BODY)} bytes are kept"),
    ):
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path)["a.tar.gz.part"] == len(BODY)


def test_a_server_that_never_ends_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST", 1_000_000)
    (tmp_path / "mirror").write_bytes(BODY)
    behavior = ServerBehavior(BODY)
    with serving(behavior) as url:
        for address in (f"{url}/a.tar.gz", f"file://{tmp_path}/mirror"):
            with pytest.raises(StepFailed, match="it is larger than the limit of 0 MiB"):
                fetch(Source(address, behavior.sha256), str(tmp_path / "a.tar.gz"))
            assert left(tmp_path) == {"mirror": len(BODY)}


def test_a_server_that_drips_cannot_keep_the_run_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WINDOW", 0.3)
    behavior = ServerBehavior(BODY, cut=10)
    with serving(behavior) as url, pytest.raises(StepFailed, match="fewer than 64 KiB were received"):
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert 0 < left(tmp_path)["a.tar.gz.part"] < 64 << 10


def test_a_stalled_line_is_given_up_and_resumed(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY, stall_at=1_200_000)
    with serving(behavior) as url:
        with pytest.raises(StepFailed, match=r"stopped sending data; \d+ bytes are kept"):
            fetch(Source(f"{url}/a.tar.gz", behavior.sha256, stall=0.2), str(tmp_path / "a.tar.gz"))
        assert left(tmp_path)["a.tar.gz.part"] >= 1_200_000
        behavior.resume.set()
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY


def test_no_network_and_no_name(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"no connection to 127\.0\.0\.1: Connection refused"):
        fetch(Source("http://127.0.0.1:9/a.tar.gz", "0" * 64), str(tmp_path / "a.tar.gz"))
    with pytest.raises(StepFailed, match=r"the name mirror\.invalid cannot be resolved"):
        fetch(Source("http://mirror.invalid/a.tar.gz", "0" * 64), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path) == {}


def test_through_a_proxy_and_one_that_wants_a_login(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY)
    with serving(behavior) as proxy:
        fetch(Source("http://mirror.invalid/a.tar.gz", behavior.sha256, proxy=proxy), str(tmp_path / "a.tar.gz"))
        assert behavior.paths == ["http://mirror.invalid/a.tar.gz"]
        behavior.status = 407
        with pytest.raises(StepFailed, match=r"the proxy requires a login \(407\)"):
            fetch(Source("http://mirror.invalid/b.tar.gz", behavior.sha256, proxy=proxy), str(tmp_path / "b.tar.gz"))
    with pytest.raises(StepFailed, match=r"the proxy 127\.0\.0\.1:9 does not work"):
        fetch(Source("http://m.invalid/b.tar.gz", "0" * 64, proxy="http://u:geheim@127.0.0.1:9"), str(tmp_path / "b"))


def test_a_circle_of_redirects(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY, redirect="/again")
    with serving(behavior) as url, pytest.raises(StepFailed, match="redirect loop"):
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))


CHAIN = {f"/{number}": f"/{number - 1}" for number in range(6, 0, -1)}


@pytest.mark.parametrize("begin", ["/r", "/5", "/elsewhere"])
def test_redirects_are_followed(tmp_path: Path, begin: str) -> None:
    """Relative, five in a row, and to another server."""
    elsewhere = ServerBehavior(BODY)
    with serving(elsewhere) as other:
        behavior = ServerBehavior(BODY, redirects={**CHAIN, "/r": "b/c", "/elsewhere": f"{other}/c?signature=x"})
        with serving(behavior) as url:
            fetch(Source(f"{url}{begin}", behavior.sha256), str(tmp_path / "a.tar.gz"))
            assert size_of(f"{url}{begin}") == len(BODY)
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    asked = {"/r": ["/r", "/b/c"], "/5": ["/5", "/4", "/3", "/2", "/1", "/0"], "/elsewhere": ["/elsewhere"]}[begin]
    assert behavior.paths == 2 * asked
    assert elsewhere.paths == (2 * ["/c?signature=x"] if begin == "/elsewhere" else [])


def test_more_than_five_redirects_are_refused(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY, redirects=CHAIN)
    with serving(behavior) as url:
        with pytest.raises(StepFailed, match="too many redirects"):
            fetch(Source(f"{url}/6", behavior.sha256), str(tmp_path / "a.tar.gz"))
        with pytest.raises(StateUnknown, match="too many redirects"):
            size_of(f"{url}/6")
    assert left(tmp_path) == {}


@pytest.mark.parametrize("cut", [100_000, 999_999])
def test_an_interrupted_download_resumes_across_a_redirect(tmp_path: Path, cut: int) -> None:
    behavior = ServerBehavior(BODY, cut=cut, redirects={"/a.tar.gz": "/b.tar.gz"})
    with serving(behavior) as url:
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    assert behavior.served == len(BODY), "bytes were fetched twice"


def test_redirects_through_a_proxy_name_the_server_that_they_lead_to(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY, redirects={"http://mirror.invalid/a": "http://other.invalid/b"})
    with serving(behavior) as proxy:
        fetch(Source("http://mirror.invalid/a", behavior.sha256, proxy=proxy), str(tmp_path / "a.tar.gz"))
    assert behavior.paths == ["http://mirror.invalid/a", "http://other.invalid/b"]
    assert behavior.hosts == ["mirror.invalid", "other.invalid"]


def test_the_server_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall may allow the first server, but not the one that it redirects to."""
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    behavior = ServerBehavior(BODY, redirect="http://localhost:1/a?signature=x")
    with serving(behavior) as url:
        with pytest.raises(StepFailed, match=r"no connection to localhost: "):
            fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
        with pytest.raises(StateUnknown, match=r"no connection to localhost: "):
            size_of(f"{url}/a.tar.gz")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher:x", "http://[", "data:,x"])
def test_redirects_to_anything_but_a_web_server_are_refused(tmp_path: Path, location: str) -> None:
    behavior = ServerBehavior(BODY, redirect=location)
    with serving(behavior) as url:
        with pytest.raises(StepFailed, match=r"redirects to an (invalid )?address") as caught:
            fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
        with pytest.raises(StateUnknown, match="redirects to an"):
            size_of(f"{url}/a.tar.gz")
    assert "passwd" not in str(caught.value)
    assert len(behavior.paths) == 2, "tried again"
    assert left(tmp_path) == {}


def test_tls_is_kept_across_redirects(tmp_path: Path) -> None:
    certificate = str(tmp_path / "localhost.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", certificate, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    plain, target = ServerBehavior(BODY), tmp_path / "a.tar.gz"
    with serving(plain) as without:
        secure = ServerBehavior(BODY, redirects={"/down": f"{without}/a", "/kept": "/a", "/a": ""})
        with serving(secure, certificate) as url:
            with pytest.raises(StepFailed, match=r"redirects to 127\.0\.0\.1 without TLS"):
                fetch(Source(f"{url}/down", secure.sha256), str(target), trusted=certificate)
            with pytest.raises(StateUnknown, match="without TLS"):
                size_of(f"{url}/down", trusted=certificate)
            assert plain.paths == []
            fetch(Source(f"{url}/kept", secure.sha256), str(target), trusted=certificate)
            target.unlink()
            plain.redirect = f"{url}/a"
            fetch(Source(f"{without}/up", secure.sha256), str(target), trusted=certificate)
    assert target.read_bytes() == BODY


def test_from_a_directory_of_the_node(tmp_path: Path) -> None:
    (tmp_path / "m+1.tar.gz").write_bytes(BODY)
    behavior = ServerBehavior(BODY)
    fetch(Source(f"file://{tmp_path}/m%2B1.tar.gz", behavior.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    with pytest.raises(StepFailed, match="the mirror does not have this file"):
        fetch(Source(f"file://{tmp_path}/none.tar.gz", behavior.sha256), str(tmp_path / "b.tar.gz"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_nothing_but_a_file_is_opened_in_a_mirror(tmp_path: Path, make: Callable[[str], None]) -> None:
    """A FIFO would block for ever, a device would never end."""
    make(f"{tmp_path}/m.tar.gz")
    with pytest.raises(StepFailed, match="not a regular file"):
        fetch(Source(f"file://{tmp_path}/m.tar.gz", "0" * 64), str(tmp_path / "a.tar.gz"))


def test_the_size_is_asked_without_fetching(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY)
    with serving(behavior) as url:
        assert size_of(f"{url}/a.tar.gz") == len(BODY)
        assert size_of("http://mirror.invalid/a.tar.gz", url) == len(BODY)
        assert behavior.requests == []
        behavior.status = 404
        with pytest.raises(StateUnknown, match="the mirror lacks this build"):
            size_of(f"{url}/a.tar.gz")
    with pytest.raises(StateUnknown, match="no connection"):
        size_of("http://127.0.0.1:9/a.tar.gz")
    (tmp_path / "m+1.tar.gz").write_bytes(BODY)
    assert size_of(f"file://{tmp_path}/m%2B1.tar.gz") == len(BODY)
    with pytest.raises(StateUnknown, match="the mirror does not have this file"):
        size_of(f"file://{tmp_path}/none.tar.gz")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)  # others may look at all mounts


@pytest.mark.needs_root
def test_a_full_disk_keeps_the_part_and_continues_after_room_was_made(small_disk: Path, tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY)
    with serving(behavior) as url:
        with pytest.raises(StepFailed, match=f"no space left on {small_disk}"):
            fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(small_disk / "a.tar.gz"))
        assert set(left(small_disk)) <= {"a.tar.gz.part", "a.tar.gz.part.mark"}
        kept = left(small_disk)["a.tar.gz.part"]
        assert kept > 500_000
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        behavior.requests.clear()
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(small_disk / "a.tar.gz"))
    assert behavior.requests == [f"bytes={kept}-"]
    assert (small_disk / "a.tar.gz").read_bytes() == BODY
    drop_download(str(small_disk / "a.tar.gz"))
    assert left(small_disk) == {}


FETCHER = """
import sys
from bai_wizard.node.download import Source, fetch
fetch(Source(sys.argv[1], sys.argv[2]), sys.argv[3])
"""


def test_killed_in_the_middle_and_resumed(tmp_path: Path) -> None:
    behavior = ServerBehavior(BODY, stall_at=1_700_000)
    target = tmp_path / "a.tar.gz"
    with serving(behavior) as url:
        child = subprocess.Popen([sys.executable, "-c", FETCHER, f"{url}/a.tar.gz", behavior.sha256, str(target)])
        part = Path(f"{target}.part")
        until(lambda: part.exists() and part.stat().st_size >= 1_500_000, "the part")
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not target.exists()
        kept = part.stat().st_size
        behavior.resume.set()
        behavior.requests.clear()
        fetch(Source(f"{url}/a.tar.gz", behavior.sha256), str(target))
    assert behavior.requests == [f"bytes={kept}-"]
    assert target.read_bytes() == BODY
    assert left(tmp_path) == {"a.tar.gz": len(BODY)}
