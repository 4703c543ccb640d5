"""Downloads against a server that cuts, lies, stalls and sends pages; what is left behind each time."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import CannotTell, StepFailed
from bai_wizard.machine import download
from bai_wizard.machine.download import Source, fetch, size_of
from bai_wizard.machine.part import drop
from tests.pages.python.crooked import Manners, serving

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
    manners, told = Manners(BODY), Narrative()
    with serving(manners) as url:
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"), told)
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    assert left(tmp_path) == {"a.tar.gz": len(BODY)}
    assert told.progress[-1] == (len(BODY), len(BODY))


@pytest.mark.parametrize("cut", [100_000, 999_999, 2_999_000])
def test_a_line_that_is_cut_again_and_again(tmp_path: Path, cut: int) -> None:
    manners = Manners(BODY, cut=cut)
    with serving(manners) as url:
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    assert manners.served == len(BODY), "bytes were fetched twice"
    assert len(manners.requests) == -(-len(BODY) // cut)


def test_a_server_without_ranges_is_begun_again(tmp_path: Path) -> None:
    manners = Manners(BODY, ranges=False)
    (tmp_path / "a.tar.gz.part").write_bytes(BODY[:1_000_000])
    with serving(manners) as url:
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY


def test_another_version_on_the_server_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    old = Manners(bytes(BODY[:2]) + bytes(2_000_000), stall_at=500_000, etag='"old"')
    with serving(old) as url, pytest.raises(StepFailed, match="stalled"):
        fetch(Source(f"{url}/a.tar.gz", old.sha256, stall=0.2), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path)["a.tar.gz.part"] == 500_000
    new = Manners(BODY, etag='"new"')
    with serving(new) as url:
        fetch(Source(f"{url}/a.tar.gz", new.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    assert new.requests == ["bytes=500000-"], "If-Range should have made one answer enough"


def test_a_part_of_another_file_without_a_mark_is_found_out_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz.part").write_bytes(b"\x1f\x8b" + bytes(400_000))
    manners, told = Manners(BODY, etag=""), Narrative()
    with serving(manners) as url:
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"), told)
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    assert any("belongs to another file" in line for line in told.lines)


def test_a_part_that_is_already_whole(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz.part").write_bytes(BODY)
    manners = Manners(BODY)
    with serving(manners) as url:
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"))
    assert manners.served == 0
    assert left(tmp_path) == {"a.tar.gz": len(BODY)}


def test_a_page_in_the_place_of_the_archive(tmp_path: Path) -> None:
    manners = Manners(BODY, page=True)
    with serving(manners) as url, pytest.raises(StepFailed, match=r"no archive \(text/html\): a login page"):
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path) == {}


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "there is no such file"), (403, "refuses this file"), (401, "wants a login"), (500, "fault of its own")],
)
def test_answers_that_are_no_file(tmp_path: Path, status: int, words: str) -> None:
    with serving(Manners(BODY, status=status)) as url, pytest.raises(StepFailed, match=words):
        fetch(Source(f"{url}/a.tar.gz", "0" * 64), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path) == {}


def test_a_server_that_recovers(tmp_path: Path) -> None:
    manners = Manners(BODY, failures=2)
    with serving(manners) as url:
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY


def test_a_wrong_hash_leaves_nothing(tmp_path: Path) -> None:
    with serving(Manners(BODY)) as url, pytest.raises(StepFailed, match=r"sha256 is .* and not 0000"):
        fetch(Source(f"{url}/a.tar.gz", "0" * 64), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path) == {}


def test_a_server_that_announces_too_little(tmp_path: Path) -> None:
    manners = Manners(BODY, announce=1_000_000)
    with serving(manners) as url, pytest.raises(StepFailed, match="1000000 bytes came whose sha256"):
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path) == {}


def test_a_server_that_announces_too_much(tmp_path: Path) -> None:
    manners = Manners(BODY, announce=len(BODY) + 5, ranges=False, cut=len(BODY))
    with serving(manners) as url, pytest.raises(StepFailed, match=f"cut the line.*; {len(BODY)} bytes are kept"):
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path)["a.tar.gz.part"] == len(BODY)


def test_a_stalled_line_is_given_up_and_resumed(tmp_path: Path) -> None:
    manners = Manners(BODY, stall_at=1_200_000)
    with serving(manners) as url:
        with pytest.raises(StepFailed, match=r"sent nothing more: the line is stalled; \d+ bytes are kept"):
            fetch(Source(f"{url}/a.tar.gz", manners.sha256, stall=0.2), str(tmp_path / "a.tar.gz"))
        assert left(tmp_path)["a.tar.gz.part"] >= 1_200_000
        manners.resume.set()
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY


def test_no_network_and_no_name(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"no connection to 127\.0\.0\.1: Connection refused"):
        fetch(Source("http://127.0.0.1:9/a.tar.gz", "0" * 64), str(tmp_path / "a.tar.gz"))
    with pytest.raises(StepFailed, match=r"the name mirror\.invalid cannot be resolved"):
        fetch(Source("http://mirror.invalid/a.tar.gz", "0" * 64), str(tmp_path / "a.tar.gz"))
    assert left(tmp_path) == {}


def test_through_a_proxy_and_one_that_wants_a_login(tmp_path: Path) -> None:
    manners = Manners(BODY)
    with serving(manners) as proxy:
        fetch(Source("http://mirror.invalid/a.tar.gz", manners.sha256, proxy=proxy), str(tmp_path / "a.tar.gz"))
        assert manners.paths == ["http://mirror.invalid/a.tar.gz"]
        manners.status = 407
        with pytest.raises(StepFailed, match="the proxy wants a name and a password"):
            fetch(Source("http://mirror.invalid/b.tar.gz", manners.sha256, proxy=proxy), str(tmp_path / "b.tar.gz"))
    with pytest.raises(StepFailed, match=r"the proxy 127\.0\.0\.1:9 does not work"):
        fetch(Source("http://m.invalid/b.tar.gz", "0" * 64, proxy="http://u:geheim@127.0.0.1:9"), str(tmp_path / "b"))


def test_a_circle_of_redirects(tmp_path: Path) -> None:
    manners = Manners(BODY, redirect="/again")
    with serving(manners) as url, pytest.raises(StepFailed, match="circle"):
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"))


def test_from_a_directory_of_the_node(tmp_path: Path) -> None:
    (tmp_path / "m+1.tar.gz").write_bytes(BODY)
    manners = Manners(BODY)
    fetch(Source(f"file://{tmp_path}/m%2B1.tar.gz", manners.sha256), str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").read_bytes() == BODY
    with pytest.raises(StepFailed, match="the mirror does not hold this file"):
        fetch(Source(f"file://{tmp_path}/none.tar.gz", manners.sha256), str(tmp_path / "b.tar.gz"))


def test_the_size_is_asked_without_fetching(tmp_path: Path) -> None:
    manners = Manners(BODY)
    with serving(manners) as url:
        assert size_of(f"{url}/a.tar.gz") == len(BODY)
        assert size_of("http://mirror.invalid/a.tar.gz", url) == len(BODY)
        assert manners.requests == []
        manners.status = 404
        with pytest.raises(CannotTell, match="the mirror lacks this build"):
            size_of(f"{url}/a.tar.gz")
    with pytest.raises(CannotTell, match="no connection"):
        size_of("http://127.0.0.1:9/a.tar.gz")
    (tmp_path / "m+1.tar.gz").write_bytes(BODY)
    assert size_of(f"file://{tmp_path}/m%2B1.tar.gz") == len(BODY)
    with pytest.raises(CannotTell, match="the mirror does not hold this file"):
        size_of(f"file://{tmp_path}/none.tar.gz")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.needs_root
def test_a_full_disk_keeps_the_part_and_goes_on_after_room_was_made(small_disk: Path, tmp_path: Path) -> None:
    manners = Manners(BODY)
    with serving(manners) as url:
        with pytest.raises(StepFailed, match=f"no space left on {small_disk}"):
            fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(small_disk / "a.tar.gz"))
        assert set(left(small_disk)) <= {"a.tar.gz.part", "a.tar.gz.part.mark"}
        kept = left(small_disk)["a.tar.gz.part"]
        assert kept > 500_000
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        manners.requests.clear()
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(small_disk / "a.tar.gz"))
    assert manners.requests == [f"bytes={kept}-"]
    assert (small_disk / "a.tar.gz").read_bytes() == BODY
    drop(str(small_disk / "a.tar.gz"))
    assert left(small_disk) == {}


FETCHER = """
import sys
from bai_wizard.machine.download import Source, fetch
fetch(Source(sys.argv[1], sys.argv[2]), sys.argv[3])
"""


def test_killed_in_the_middle_and_resumed(tmp_path: Path) -> None:
    manners = Manners(BODY, stall_at=1_700_000)
    target = tmp_path / "a.tar.gz"
    with serving(manners) as url:
        child = subprocess.Popen([sys.executable, "-c", FETCHER, f"{url}/a.tar.gz", manners.sha256, str(target)])
        part = Path(f"{target}.part")
        deadline = time.monotonic() + 20
        while not part.exists() or part.stat().st_size < 1_500_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not target.exists()
        kept = part.stat().st_size
        manners.resume.set()
        manners.requests.clear()
        fetch(Source(f"{url}/a.tar.gz", manners.sha256), str(target))
    assert manners.requests == [f"bytes={kept}-"]
    assert target.read_bytes() == BODY
    assert left(tmp_path) == {"a.tar.gz": len(BODY)}
