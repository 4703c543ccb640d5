"""Create a release: version, changelog, commit, files with checksums and signature, tag.

    python -m tests.tools.release VERSION -o DIR --sign KEY [--dry-run] [anything for build_archive]

Everything happens in a temporary clone of the last commit. The checkout gets the commit and the tag only after all
files were built, so a failed release leaves nothing to clean up. With --dry-run it never gets them.
DIR/CHANGES.md is the section of the changelog, for the release page. DIR/SHA256SUMS.sig is a signature of
DIR/SHA256SUMS by an SSH key, made and verified by ssh-keygen; the README shows how to verify it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.cache import CHECKOUT
from tests.tools.build_dist import with_absolute_links

VERSION = re.compile(r"\d+\.\d+\.\d+")
COLLECTION = "integrations/ansible/ansible_collections/bai/wizard"
# Files that contain the version, with a pattern of its line.
STATED = {
    "pyproject.toml": 'version = "{}"',
    "bai_wizard/__init__.py": '__version__ = "{}"',
    f"{COLLECTION}/galaxy.yml": "version: {}",
    f"{COLLECTION}/roles/install/defaults/main.yml": "bai_wizard_version: {}",
}
# What the signature is for; ssh-keygen refuses it for any other purpose.
NAMESPACE = "bai-wizard-release"
# The heading of the section of changes to come; {} is their version.
HEADING = "## {} - unreleased\n"


class Refused(Exception):
    """The release cannot be made; nothing was changed."""


def release(
    checkout: Path,
    version: str,
    output: Path,
    build: Sequence[str],
    *,
    key: Path | None = None,
    url: str = "",
    dry_run: bool = False,
) -> None:
    """Release the last commit of `checkout`. `build` is the build command without its output option.

    `key` signs the checksums; only a dry run can do without. `url`: the project's page. Raises Refused.
    """
    if key is None and not dry_run:
        raise Refused("a release needs --sign KEY")
    refuse_unready(checkout, version)
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        raise Refused(f"{output} is not empty")
    with tempfile.TemporaryDirectory(prefix="bai-wizard-release-") as directory:
        clone = Path(directory) / "clone"
        git(checkout, "clone", "--quiet", "--no-hardlinks", str(checkout), str(clone))
        for name in ("user.name", "user.email"):
            git(clone, "config", name, git(checkout, "config", name).strip())
        changes = prepare(clone, version)
        git(clone, "commit", "--quiet", "--all", "--message", f"Release {version}")
        git(clone, "tag", "--annotate", "--message", f"bai-wizard {version}", f"v{version}")
        done = subprocess.run([*build, "-o", str(output.resolve())], cwd=clone, stdin=subprocess.DEVNULL, check=False)
        if done.returncode or not (output / "SHA256SUMS").exists():
            raise Refused(f"the files could not be built (exit code {done.returncode})")
        (output / "CHANGES.md").write_text(with_absolute_links(changes, url, version))
        if key is not None:
            sign(output / "SHA256SUMS", key)
        if dry_run:
            print(git(clone, "show", "--stat", "--format=%s", "HEAD"), end="")
            print("dry run: the repository is unchanged")
            return
        git(checkout, "pull", "--quiet", "--ff-only", str(clone), "HEAD")
        git(checkout, "fetch", "--quiet", str(clone), f"refs/tags/v{version}:refs/tags/v{version}")
    print(f"committed and tagged; push with: git push --follow-tags. Then publish the files in {output}")


def sign(file: Path, key: Path) -> None:
    """Write FILE.sig. `key`: a private key, or the public one of a key in the SSH agent. Raises Refused."""
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key), str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Refused(f"the checksums could not be signed: {done.stderr.strip()}")


def refuse_unready(checkout: Path, version: str) -> None:
    """Raise Refused if the version, the repository or the changelog is not ready."""
    before = stated_version(checkout)
    if not VERSION.fullmatch(version):
        raise Refused(f"{version!r} is not a version such as 1.2.3")
    if git(checkout, "status", "--porcelain"):
        raise Refused("there are uncommitted changes")
    if git(checkout, "tag", "--list", f"v{version}"):
        raise Refused(f"v{version} exists already")
    if numbers(version) < numbers(before):
        raise Refused(f"{version} is older than {before}")
    if not unreleased(checkout, version):
        raise Refused(f'the section "{version} - unreleased" of CHANGELOG.md is missing or empty')


def numbers(version: str) -> tuple[int, ...]:
    """A version for comparisons."""
    return tuple(map(int, version.split(".")))


def stated_version(checkout: Path) -> str:
    """Return the version that all files contain. Raise Refused if they differ."""
    result = set()
    for name, line in STATED.items():
        pattern = re.escape(line).replace(r"\{\}", f"({VERSION.pattern})")
        result.update(re.findall(f"^{pattern}$", (checkout / name).read_text(), re.MULTILINE))
    if len(result) != 1:
        raise Refused(f"{' and '.join(STATED)} must state one version, found: {', '.join(sorted(result)) or 'none'}")
    return str(result.pop())


def unreleased(checkout: Path, version: str) -> str:
    """Return the section of the changelog with the changes to come, or an empty string."""
    text = (checkout / "CHANGELOG.md").read_text()
    _, result, rest = text.partition(HEADING.format(version))
    return re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].strip() if result else ""


def prepare(clone: Path, version: str) -> str:
    """Write the version, set the heading of the changelog's section, and return the section."""
    before, changes = stated_version(clone), unreleased(clone, version)
    for name, line in STATED.items():
        path = clone / name
        path.write_text(path.read_text().replace(line.format(before), line.format(version), 1))
    changelog = clone / "CHANGELOG.md"
    heading = f"## {version} - {datetime.now(UTC):%Y-%m-%d}\n"
    changelog.write_text(changelog.read_text().replace(HEADING.format(version), heading, 1))
    return f"{changes}\n"


def git(directory: Path, *words: str) -> str:
    """Return the output of a git command. Raise Refused with its error."""
    done = subprocess.run(
        ["git", "-C", str(directory), *words],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise Refused(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    epilog = "Other options are passed to tests.tools.build_archive."
    parser = argparse.ArgumentParser(prog="release", description="Makes a release.", epilog=epilog)
    parser.add_argument("version", help="the new version, such as 1.2.3")
    parser.add_argument("-o", "--output", type=Path, required=True, help="an empty directory for the files")
    parser.add_argument("--sign", type=Path, metavar="KEY", help="the SSH key that signs the checksums")
    parser.add_argument("--url", default="", help="the project's page, for links")
    parser.add_argument("--dry-run", action="store_true", help="build everything, leave the repository unchanged")
    options, rest = parser.parse_known_args(argv)
    # The programs come from this environment, the code from the released commit.
    build = [sys.executable, "-m", "tests.tools.build_archive", "--deb", "--dist", "--url", options.url, *rest]
    url = options.url.rstrip("/")
    try:
        release(CHECKOUT, options.version, options.output, build, key=options.sign, url=url, dry_run=options.dry_run)
    except Refused as refusal:
        print(f"release: {refusal}; nothing was changed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
