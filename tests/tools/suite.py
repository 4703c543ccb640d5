"""Implements ./test: static checks and missing programs first, then pytest, then the result."""

import argparse
import importlib.util
import os
import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO

from tests.needs import OBSTACLES
from tests.tools.provision import install_programs

STATIC_CHECKS = (
    ("ruff", ["ruff", "check", "."]),
    ("format", ["ruff", "format", "--check", "."]),
    ("types", ["mypy"]),
    ("layers", ["lint-imports"]),
    ("dependencies", ["deptry", "."]),
)


@dataclass(frozen=True)
class Check:
    """A running static check and its output."""

    name: str
    process: subprocess.Popen[bytes]
    output: IO[str]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./test", description="Runs the tests; what is not known here goes to pytest."
    )
    parser.add_argument("--all", action="store_true", help="install what node and VM tests need, run everything")
    parser.add_argument("--static", action="store_true", help="run only the static checks")
    parser.add_argument("--soak", action="store_true", help="full matrices instead of samples")
    parser.add_argument("--seed", type=int, default=None, help="draws the samples (default: random, printed)")
    options, rest = parser.parse_known_args()

    checks = start_static_checks()
    if options.all:
        install_programs()
    failed = finish_static_checks(checks)
    if options.static:
        return 1 if failed else 0
    say_what_is_left_out()
    seed = (
        options.seed
        if options.seed is not None
        else int(os.environ.get("BAI_WIZARD_SEED") or secrets.randbelow(10**6))
    )
    code = run_pytest(seed, [f"--{name}" for name in ("all", "soak") if getattr(options, name)], rest)
    if failed:
        print(f"./test: static checks failed: {', '.join(failed)}", flush=True)
    print(f"./test: repeat this run's samples with --seed {seed}", flush=True)
    return code or (1 if failed else 0)


def start_static_checks() -> list[Check]:
    """Start all checks in parallel. Tools come from the environment's own bin directory."""
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")
    checks = []
    for name, argv in STATIC_CHECKS:
        output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed once it has been shown
        process = subprocess.Popen(
            argv,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        checks.append(Check(name, process, output))
    return checks


def finish_static_checks(checks: list[Check]) -> list[str]:
    """Wait for all checks; show and name those that failed."""
    failed = []
    for check in checks:
        code = check.process.wait()
        print(f"{check.name:13} {'FAILED' if code else 'ok'}", flush=True)
        with check.output as output:
            if code:
                failed.append(check.name)
                output.seek(0)
                print(output.read(), flush=True)
    return failed


def say_what_is_left_out() -> None:
    for need, obstacle in OBSTACLES.items():
        if reason := obstacle():
            print(f"left out: tests marked {need}: {reason}", flush=True)


def run_pytest(seed: int, options: list[str], rest: list[str]) -> int:
    """Pytest on every core (unless told otherwise); shows the slowest tests, and its closing line as it is.

    With everything there is one process more, for the node tests (see tests/parallel.py).
    """
    workers = str((os.cpu_count() or 1) + ("--all" in options))
    parallel = [] if _serial(rest) or importlib.util.find_spec("xdist") is None else ["-n", workers]
    argv = [sys.executable, "-m", "pytest", *parallel, "--durations=20", "--seed", str(seed), *options, *rest]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, check=False)
    return done.returncode


def _serial(rest: list[str]) -> bool:
    return any(
        word in ("--pdb", "-s", "--collect-only", "--co") or word.startswith(("-n", "--numprocesses"))
        for word in rest
    )


if __name__ == "__main__":
    sys.exit(main())
