"""Build the sdist and the wheel: python -m tests.tools.build_dist -o DIR [--url URL].

They are built from a copy of the tracked files, with the man page and the completions in share/ and a README whose
links work on an index page: they lead to the tag of this version below `--url`, the project's page. Without `--url`,
links into the repository become text. The wheel is built from the sdist. A commit always gives the same files.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bai_wizard import __version__
from tests.cache import CHECKOUT
from tests.tools.make_completions import write_all
from tests.tools.make_man import man_page

# An image or a link, with its text and its target.
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def build_dist(directory: Path, url: str = "") -> None:
    """Build both files in the directory."""
    from uv import find_uv_bin

    # The build backend is one of the pinned requirements, so that nothing is fetched here.
    options = ["--no-build-isolation", "--python", sys.executable, "--quiet", "--out-dir", str(directory.resolve())]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory(prefix="bai-wizard-dist-") as name:
        tree = Path(name) / "tree"
        stage(tree, url)
        subprocess.run(
            [find_uv_bin(), "build", *options, str(tree)], check=True, stdin=subprocess.DEVNULL, env=environment
        )
    (directory / ".gitignore").unlink(missing_ok=True)


def stage(tree: Path, url: str) -> None:
    """Copy the tracked files and add what is made for a release."""
    listed = subprocess.run(
        ["git", "-C", str(CHECKOUT), "ls-files", "-z"], check=True, capture_output=True, text=True
    ).stdout
    for name in listed.rstrip("\0").split("\0"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, tree / name, follow_symlinks=False)
    write_share(tree / "share")
    readme = tree / "README.md"
    readme.write_text(with_absolute_links(readme.read_text(encoding="utf-8"), url), encoding="utf-8")
    if url:
        project = tree / "pyproject.toml"
        urls = "".join(f'{name} = "{target}"\n' for name, target in project_urls(url).items())
        project.write_text(f"{project.read_text(encoding='utf-8')}\n[project.urls]\n{urls}", encoding="utf-8")


def write_share(share: Path) -> None:
    """Write completions and the man page in the layout of /usr/share, and systemd's files."""
    write_all(share)
    shutil.copytree(CHECKOUT / "packaging/systemd", share / "systemd")
    page = share / "man/man1/bai-wizard.1"
    page.parent.mkdir(parents=True)
    page.write_text(man_page(), encoding="utf-8")


def build_time() -> int:
    """Return SOURCE_DATE_EPOCH, or the time of the last commit, in seconds."""
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(epoch)
    argv = ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%ct"]
    return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def project_urls(url: str) -> dict[str, str]:
    """The links that an index shows beside the description."""
    return {
        "Homepage": url,
        "Source": url,
        "Changelog": f"{url}/blob/v{__version__}/CHANGELOG.md",
        "Issues": f"{url}/issues",
    }


def with_absolute_links(text: str, url: str, version: str = __version__) -> str:
    """Rewrite links that lead into the repository."""

    def rewritten(match: re.Match[str]) -> str:
        image, words, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match[0]
        if not url:
            return "" if image else words
        kind = "raw" if image else "tree" if target.endswith("/") else "blob"
        return f"{image}[{words}]({url}/{kind}/v{version}/{target})"

    return LINK.sub(rewritten, text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the sdist and the wheel.")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--url", default="", help="the project's page, such as https://example.org/bai-wizard")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    build_dist(options.output, options.url.rstrip("/"))


if __name__ == "__main__":
    main()
