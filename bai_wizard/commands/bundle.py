"""`bai-wizard bundle FILE -o DIR`: collects what these answers need, for nodes without a way out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bai_wizard import compose
from bai_wizard.exits import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """Resumable: what is there already is kept. 6 where the bundle lacks something that the answers need."""
    from bai_wizard.answers.load import load
    from bai_wizard.bundle.collect import collect
    from bai_wizard.bundle.manifest import digest_of

    wishes = tuple(compose.wish_of(load(arguments.file, host)) for host in arguments.host or [""])
    directory = Path(arguments.output).absolute()
    manifest = collect(
        wishes,
        directory,
        lambda text: print(text, file=sys.stderr, flush=True),
        like=arguments.like,
        wizard=arguments.wizard,
    )
    size = sum(held.size for held in manifest.files)
    print(f"{directory}: {len(manifest.files)} files, {size / 2**20:.0f} MiB, for {manifest.arch}")
    for page, what in manifest.lacks:
        print(f"not in the bundle: [{page}] {what}")
    print(f"sha256 of its manifest, to be carried another way than the bundle: {digest_of(directory)}")
    print("On the node: bai-wizard --headless FILE --bundle DIR --bundle-digest SHA256 (or both in [sources])")
    # Without the wizard's own archive the bundle does what it is for, where the wizard is there already.
    return ExitCode.OPTIONAL_FAILED if any(page != "wizard" for page, _ in manifest.lacks) else ExitCode.OK
