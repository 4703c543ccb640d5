"""Download a bundle from a web server into the cache, where it is used like one on a USB stick."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from bai_wizard.core.errors import PreflightError, StepFailed
from bai_wizard.core.event import Log, silent
from bai_wizard.core.page import Context
from bai_wizard.core.secret import has_credentials
from bai_wizard.node.cache import CACHE, make_directory
from bai_wizard.node.download import Source, fetch
from bai_wizard.node.package_tool import LARGEST
from bai_wizard.offline.manifest import MANIFEST, Held, Manifest, read_manifest, sha256_of, sums_of
from bai_wizard.pages.python.versions import proxy_for

# Root's downloads, by the digest of the manifest. They can be deleted while no run is in progress.
DOWNLOADS = f"{CACHE}/downloaded-bundles"
# Bytes that stay free besides the bundle.
MARGIN = 64 << 20


def is_url(bundle: str) -> bool:
    """Whether a bundle is on a web server."""
    return bundle.startswith(("http://", "https://"))


def fetch_bundle(url: str, digest: str, context: Context, *, files: bool = True, log: Log = silent) -> Path:
    """Return the directory of the downloaded bundle; only its manifest if `files` is false.

    The digest vouches for the manifest, and the manifest for every file, so the server is not trusted. An interrupted
    download is resumed, also by another process. Raises PreflightError.
    """
    if has_credentials(url):
        raise PreflightError("the URL of the bundle contains credentials, which would be logged: remove them")
    if not digest:
        raise PreflightError(
            f"the bundle {url} is on a web server, so its digest is required: pass the one that `bai-wizard bundle`"
            " printed (--bundle-digest, or bundle_digest in [sources])"
        )
    base = _base()
    directory = Path(base, digest)
    try:
        if os.geteuid() == 0:
            make_directory(str(directory))
        else:
            directory.mkdir(parents=True, exist_ok=True)
        with _locked(f"{directory}.lock", log):
            manifest = _manifest(url, digest, directory, context, log)
            if files:
                _files(url, manifest, directory, context, log)
    except (OSError, StepFailed) as error:
        raise PreflightError(f"the bundle {url} cannot be downloaded: {error}") from error
    return directory


def _base() -> str:
    if os.geteuid() == 0:
        return DOWNLOADS
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "bai-wizard", "downloaded-bundles")


@contextmanager
def _locked(path: str, log: Log) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log("waiting for another process that is downloading this bundle")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _manifest(url: str, digest: str, directory: Path, context: Context, log: Log) -> Manifest:
    target = directory / MANIFEST
    if not target.exists() or sha256_of(target) != digest:
        address = f"{url.rstrip('/')}/{MANIFEST}"
        log(f"downloading {address}")
        fetch(Source(address, digest, proxy_for(address, context), largest=LARGEST), str(target), log)
    return read_manifest(directory)


def _files(url: str, manifest: Manifest, directory: Path, context: Context, log: Log) -> None:
    """Download what is missing or damaged."""
    missing = [held for held in (sums_of(manifest), *manifest.files) if not _is_there(directory / held.path, held)]
    needed = sum(held.size for held in missing) + MARGIN
    room = os.statvfs(directory)
    if missing and room.f_bavail * room.f_frsize < needed:
        free = room.f_bavail * room.f_frsize
        raise StepFailed(f"{directory} needs {needed >> 20} MiB, but only {free >> 20} MiB are free")
    for number, held in enumerate(missing, 1):
        log(f"downloading file {number} of {len(missing)}: {held.path} ({held.size >> 20} MiB)")
        target = directory / held.path
        target.parent.mkdir(parents=True, exist_ok=True)
        address = f"{url.rstrip('/')}/{quote(held.path)}"
        fetch(Source(address, held.sha256, proxy_for(address, context), largest=held.size), str(target), log)


def _is_there(path: Path, held: Held) -> bool:
    """Whether a file is complete and undamaged. The hash is needed: a copy of the right size can be damaged."""
    return path.is_file() and path.stat().st_size == held.size and sha256_of(path) == held.sha256
