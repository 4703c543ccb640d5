"""The body of ./test: static checks first, then pytest, then one verdict."""

import argparse
import importlib.util
import os
import secrets
import subprocess
import sys
import time

from tests.needs import OBSTACLES
from tests.tools.provision import install_programs

STATIC_CHECKS = (
    ("ruff", ["ruff", "check", "."]),
    ("format", ["ruff", "format", "--check", "."]),
    ("types", ["mypy"]),
    ("layers", ["lint-imports"]),
    ("dependencies", ["deptry", "--optional-dependencies-dev-groups", "dev", "."]),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./test", description="Runs the tests; what is not known here goes to pytest."
    )
    parser.add_argument("--all", action="store_true", help="install what node and VM tests need, run everything")
    parser.add_argument("--soak", action="store_true", help="full matrices instead of samples")
    parser.add_argument("--seed", type=int, default=None, help="draws the samples (default: random, printed)")
    options, rest = parser.parse_known_args()

    failed = run_static_checks()
    if options.all:
        install_programs()
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


def run_static_checks() -> list[str]:
    """Run all of them, show what failed, name it. Tools come from the environment's own bin directory."""
    failed = []
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")
    for name, argv in STATIC_CHECKS:
        started = time.monotonic()
        done = subprocess.run(
            argv,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        verdict = "ok" if done.returncode == 0 else "FAILED"
        print(f"{name:13} {verdict:7} {time.monotonic() - started:5.1f} s", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout + done.stderr, flush=True)
    return failed


def say_what_is_left_out() -> None:
    for need, obstacle in OBSTACLES.items():
        if reason := obstacle():
            print(f"left out: tests marked {need}: {reason}", flush=True)


def run_pytest(seed: int, options: list[str], rest: list[str]) -> int:
    """Pytest on every core (unless told otherwise), with its closing line as it is."""
    parallel = [] if _serial(rest) or importlib.util.find_spec("xdist") is None else ["-n", str(os.cpu_count() or 1)]
    argv = [sys.executable, "-m", "pytest", *parallel]
    done = subprocess.run([*argv, "--seed", str(seed), *options, *rest], stdin=subprocess.DEVNULL, check=False)
    return done.returncode


def _serial(rest: list[str]) -> bool:
    return any(
        word in ("--pdb", "-s", "--collect-only", "--co") or word.startswith(("-n", "--numprocesses"))
        for word in rest
    )


if __name__ == "__main__":
    sys.exit(main())
