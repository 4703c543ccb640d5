"""Debian 12's Python 3.11.2, the oldest supported, whose `re` has bugs that were fixed later."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cache import CHECKOUT, cache_directory, digest, locked
from tests.node import host
from tests.node.conftest import NodeFactory
from tests.sampling import is_soak, sampled, seed
from tests.unit.answers import generate
from tests.unit.answers.checker import check_all
from tests.unit.answers.hostile import CASES

TARGET = "/srv/checkout"
RUNNERS = ["pytest>=8.4", "pytest-asyncio>=1.2", "pytest-timeout>=2.4", "hypothesis>=6.140"]
# Tests of what reads other people's text; in a soak all of tests/unit runs, in a writable copy of the checkout.
FAST = ("answers/test_bad_files.py", "answers/test_load.py", "answers/test_secrets.py")


def test_answers_are_judged_as_by_any_other_python(node_factory: NodeFactory, tmp_path: Path) -> None:
    """Every fixture, and samples of generated and of hostile files: the same exit code and the same words."""
    texts = dict(enumerate(generate.FIXTURES))
    generated = (generate.file(f"{seed()}:{number}") for number in range(2000 if is_soak() else 120))
    hostile = (CASES[name]() for name in sampled("hostile answers there", sorted(CASES), 6))
    paths: list[Path] = []
    for data in (*texts.values(), *generated, *hostile):
        paths.append(tmp_path / f"{len(paths)}.toml")
        paths[-1].write_bytes(data if isinstance(data, bytes) else data.encode())
    node = node_factory("bookworm", volumes={f"{directory}:ro": str(directory) for directory in (tmp_path, CHECKOUT)})
    assert node.run(["python3", "--version"]).out.startswith("Python 3.11.2")
    script = f"cd {shlex.quote(str(CHECKOUT))} && exec python3 -B -m tests.unit.answers.checker"
    done = node.run(["sh", "-c", script], input="\n".join(map(str, paths)), timeout=900)
    there = [json.loads(line) for line in done.out.splitlines()]
    assert len(there) == len(paths), f"seed {seed()}: {done.err[-4000:]}"
    for path, (code, _, _, result), here in zip(paths, there, check_all(paths), strict=True):
        assert (code, result) == (here.code, here.message), f"seed {seed()}: {path.read_bytes()[:2000]!r}"


def runners() -> Path:
    """A directory with pytest for that Python; made once."""
    directory = cache_directory() / f"runners-3.11-{digest(*RUNNERS)}"
    with locked("runners-3.11"):
        if not directory.exists():
            partial = cache_directory() / "work-runners-3.11"
            shutil.rmtree(partial, ignore_errors=True)
            host.pip_install("3.11", partial, RUNNERS)
            partial.rename(directory)
    return directory


def test_readers_tests_pass(node_factory: NodeFactory) -> None:
    node = node_factory(
        "bookworm", volumes={f"{directory}:ro": str(directory) for directory in (runners(), CHECKOUT)}
    )
    # /tmp of the nodes is mounted noexec, and some tests run a program.
    argv = [
        "python3",
        "-B",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "--basetemp=/srv/tests",
    ]
    env = {"PYTHONPATH": f"{CHECKOUT}:{runners()}", "BAI_WIZARD_SEED": str(seed()), "HOME": "/root"}
    words = [f"tests/unit/{name}" for name in FAST]
    script = f"cd {shlex.quote(str(CHECKOUT))} && exec {' '.join([*argv, *words])}"
    done = node.run(["sh", "-c", script], env=env, timeout=1800)
    assert done.rc == 0, (done.out + done.err)[-4000:]


def wheels() -> Path:
    """A directory with wheels of everything that a checkout's environment needs for that Python; made once."""
    pinned = CHECKOUT / "requirements-dev.txt"
    directory = cache_directory() / f"wheels-3.11-{digest(pinned.read_bytes())}"
    with locked("wheels-3.11"):
        if not directory.exists():
            partial = cache_directory() / "work-wheels-3.11"
            shutil.rmtree(partial, ignore_errors=True)
            host.pip_download("3.11", partial, ["--require-hashes", "--requirement", str(pinned)])
            host.pip_download("3.11", partial, ["pip"])
            partial.rename(directory)
    return directory


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_all_unit_tests_pass(node_factory: NodeFactory) -> None:
    """In a checkout of its own, with an environment that Debian 12's python3-venv made."""
    volumes = {f"{wheels()}:ro": str(wheels()), "/mnt/checkout:ro": str(CHECKOUT)}
    node = node_factory("bookworm-tests", volumes=volumes)
    left_out = " ".join(f"--exclude=./{name}" for name in (".venv", ".git", ".mypy_cache", ".hypothesis"))
    prepare = f"""mkdir {TARGET} && tar -C /mnt/checkout {left_out} -cf - . | tar -C {TARGET} --no-same-owner -xf - &&
        cd {TARGET} && export TMPDIR=/var/tmp PIP_NO_INDEX=1 PIP_FIND_LINKS={wheels()} &&
        checkout={TARGET} && group=dev && . tests/tools/environment.sh"""
    done = node.run(["sh", "-ec", prepare], timeout=900)
    assert done.rc == 0, (done.out + done.err)[-4000:]
    argv = [".venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "-rfE"]
    env = {"BAI_WIZARD_SEED": str(seed()), "HOME": "/root", "TMPDIR": "/var/tmp", "LANG": "C.UTF-8"}
    script = f"cd {TARGET} && exec {' '.join(argv)} tests/unit"
    done = node.run(["sh", "-c", script], env=env, timeout=6000)
    print(done.out[-20000:])
    assert done.rc == 0, (done.out + done.err)[-4000:]
