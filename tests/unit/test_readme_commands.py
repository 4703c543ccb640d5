"""The command lines of the README are executed as they stand there."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from bai_wizard import __version__
from bai_wizard.cli import main
from bai_wizard.offline import collect, use_bundle
from bai_wizard.offline.manifest import MissingItem
from bai_wizard.pages.node_state import System
from tests.cache import CHECKOUT

pytestmark = pytest.mark.needs_root

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
# Its own example needs packages and a password; this one needs neither.
ANSWERS = 'version = 1\n[aliases]\nhosts = [ { ip = "10.20.30.10", names = ["bai-m1"] } ]\n'
# In this order. The doctor runs one check instead of all; `[--plan]` is executed with and without it.
CODES = {
    "bai-wizard check answers.toml": 0,
    "bai-wizard --headless answers.toml --plan": 0,
    "bai-wizard --headless answers.toml --plan -o plan.json": 0,
    "bai-wizard apply plan.json": 0,
    "bai-wizard --headless answers.toml --report handover.md": 0,
    "bai-wizard runs": 0,
    "bai-wizard attach": 0,
    "bai-wizard resume": 0,
    "bai-wizard drift": 0,
    "bai-wizard undo [--plan]": 0,
    "bai-wizard doctor": 0,
    "bai-wizard doctor --answers answers.toml": 0,
    "bai-wizard detect": 0,
    "bai-wizard fleet plan DIR": 0,
    "bai-wizard bundle answers.toml -o DIR": 0,
    "bai-wizard doctor --before-upgrade 13": 0,
    "bai-wizard doctor --after-upgrade": 0,
    "bai-wizard fleet plan plans --report plans.html": 0,
    "bai-wizard fleet report reports": 0,
    "bai-wizard fleet drift plans": 7,
}


def lines(prompt: str) -> list[str]:
    """The commands after a prompt, each with its continuation lines, without the explanation beside it."""
    blocks = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    starts = re.compile(r"^(?:\w+)?[$#] ", re.MULTILINE)
    found = []
    for block in blocks:
        marks = [*starts.finditer(block)]
        for mark, after in zip(marks, [*marks[1:], None], strict=True):
            if mark[0].strip() in prompt.split():
                found.append(block[mark.end() : after.start() if after else None].rstrip("\n"))
    return found


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node below a temporary root, with the working directory of an operator; `bai-wizard` is this checkout's."""
    words = [sys.executable, "-m", "bai_wizard", "--root", str(tmp_path)]
    wizard = f"PYTHONPATH={shlex.quote(str(CHECKOUT))} exec {shlex.join(words)}"
    for name, text in {
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
        "etc/group": "root:x:0:\n",
        "etc/hosts": "127.0.0.1 localhost\n",
        "etc/hostname": "gpu01\n",
        "etc/os-release": 'ID=debian\nVERSION_ID="13"\n',
        "work/answers.toml": ANSWERS,
        "bin/bai-wizard": f'#!/bin/sh\n{wizard} "$@"\n',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "bin/bai-wizard").chmod(0o755)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def shell(node: Path, line: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{node}/bin:{os.environ['PATH']}", "HOME": str(node), "TMPDIR": str(node)}
    return subprocess.run(
        ["bash", "-ec", line], env=environment, cwd=node / "work", stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip


def written_by_nodes(directory: Path, command: str, node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What two nodes write: a plan, or a report without changes to this one."""
    directory.mkdir(exist_ok=True)
    capsys.readouterr()
    for host in ("n1", "n2"):
        file = directory / f"{host}.json"
        if command == "report":
            values = {"same": {"container engine": "docker 29.1.2"}, "node": {}}
            file.write_text(json.dumps({"version": 1, "host": host, **values}))
        else:
            assert main(["--headless", "answers.toml", "--plan", "--json", "--root", str(node)]) == 0
            file.write_text(capsys.readouterr().out.replace("gpu01", host))


def test_every_command_of_the_wizard(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = [re.split(r"\s{2,}", line)[0] for line in lines("# $")]
    assert [line for line in written if line.startswith("bai-wizard")] == list(CODES)
    for line, code in CODES.items():
        words = line.split()[1:]
        if "-upgrade" in line:
            (node / "etc/os-release").write_text(f"ID=debian\nVERSION_ID={12 if '13' in line else 13}\n")
        if words[0] == "doctor":
            words += ["--only", "node.hostname"]
        if words[0] == "fleet":
            written_by_nodes(Path(words[2]), words[1], node, capsys)
        for given in (["undo", "--plan"], ["undo"]) if "[--plan]" in words else (words,):
            assert main([*given, "--root", str(node)]) == code, f"{line}: {capsys.readouterr()}"
        if words[:3] == ["fleet", "plan", "DIR"]:
            shutil.rmtree("DIR")  # the bundle's directory has the same name
        if line.endswith("handover.md"):
            assert "bai-m1" in (node / "etc/hosts").read_text()
            assert Path("handover.md").read_text().startswith("#")
        elif words[0] == "undo":
            assert "bai-m1" not in (node / "etc/hosts").read_text()
    assert Path("DIR/manifest.json").exists()


def test_a_bundle_for_air_gapped_nodes(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a node's files to the installed archive. `--like like` is relative, and apt runs in another directory."""
    (here,) = lines("here$")
    unpack, _, build = here.partition(" && bai-wizard ")
    packing, install, apply = lines("node$ node#")
    kept = " ".join(name for name in packing.split()[5:] if Path("/", name).exists())
    done = shell(node, f"{' '.join(packing.split()[:5])} {kept} && {unpack}")
    assert done.returncode == 0, done.stderr
    likes: list[str] = []
    real = collect.collect

    def noted(*arguments: object, like: str = "", **more: object) -> object:
        likes.append(like)
        return real(*arguments, like=like, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(collect, "collect", noted)
    assert main(build.split()) == 0
    assert likes == [str(node / "work/like")]

    name = f"bai-wizard-{__version__}-{platform.machine()}"
    (node / f"{name}/install.sh").parent.mkdir()
    (node / f"{name}/install.sh").write_text(f"touch {node}/installed\n")
    bundle = node / "work/bundle"
    (bundle / "wizard").mkdir(exist_ok=True)
    with tarfile.open(bundle / f"wizard/{name}.tar.gz", "w:gz") as archive:
        archive.add(node / name, name)
    digest = sha256((bundle / f"wizard/{name}.tar.gz").read_bytes()).hexdigest()
    for placeholder, value in {
        "/media/usb/bundle": str(bundle), "bai-wizard-VERSION-ARCH": name, "SHA256": digest,
    }.items():  # fmt: skip
        install = install.replace(placeholder, value)
    done = shell(node, install)
    assert done.returncode == 0, done.stderr
    assert (node / "installed").exists()
    assert apply.startswith("bai-wizard --headless answers.toml --bundle /media/usb/bundle --bundle-digest SHA256")


def test_the_loop_over_many_nodes(node: Path) -> None:
    """With a stand-in for ssh that runs the command here; one of the hosts fails."""
    (node / "bin/ssh").write_text(
        '#!/bin/sh\nfor host; do case $host in root@*) break ;; esac; shift; done\nhost=$1; shift\n'
        '[ "$host" = root@n1 ] && exit 255\nexec "$@"\n'
    )  # fmt: skip
    (node / "bin/ssh").chmod(0o755)
    (node / "work/hosts").write_text("n1\nn2\n")
    loop, plans = [line for line in lines("$") if line.startswith("xargs")]
    done = shell(node, loop)
    assert (done.returncode, done.stdout) == (0, "n1: 255, see n1.log\n")
    assert "1 changed" in (node / "work/n2.log").read_text()
    (node / "work/hosts").write_text("n2\n")
    (node / "work/plans").mkdir()
    assert shell(node, plans).returncode == 0
    assert json.loads((node / "work/plans/n2.json").read_text().splitlines()[0])["kind"] == "plan"
    assert "bai-m1" in (node / "etc/hosts").read_text()


def test_a_bundle_is_checked_for_other_nodes_where_it_is_made(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--like` says for which system, by a relative path, and which packages its nodes have already."""
    like = node / "work/like"
    for name, text in {
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n',
        "var/lib/dpkg/status": "Package: sudo\nStatus: install ok installed\nVersion: 1.9\nArchitecture: amd64\n",
    }.items():
        (like / name).parent.mkdir(parents=True)
        (like / name).write_text(text)
    assert main(["bundle", "answers.toml", "-o", "bundle"]) == 0
    seen: list[tuple[str, bool]] = []

    def noted(_desired: object, _manifest: object, system: System, *, lacks_sudo: bool) -> list[MissingItem]:
        seen.append((system.codename, lacks_sudo))
        return [("docker", "packages for bookworm")] if len(seen) > 1 else []

    monkeypatch.setattr(use_bundle, "missing_items", noted)
    argv = ["check", "answers.toml", "--bundle", "bundle", "--like", "like"]
    assert main(argv) == 0
    (like / "var/lib/dpkg/status").write_text("")
    assert main(argv) == 3
    assert seen == [("bookworm", False), ("bookworm", True)]
