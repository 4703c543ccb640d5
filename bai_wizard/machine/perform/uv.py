"""uv, run as an account: the copy that it may execute, and what its complaints mean."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.machine import Completed
from bai_wizard.core.primitives.pythons import PackageSources
from bai_wizard.machine.cache import keep_program
from bai_wizard.machine.perform.acting import Acting
from bai_wizard.machine.perform.call import last_words

# What uv says (in lower case), and what it means for the operator. The first that is found is told.
CAUSES: tuple[tuple[str, str], ...] = (
    ("no space left on device", "no space left: make room on the file system of the account's home, then resume"),
    ("disk quota exceeded", "the account's disk quota is used up"),
    ("hash mismatch", "the archive is not the one of the catalogue; remove it from /var/cache/bai-wizard and resume"),
    (
        "dns error",
        "the index's name cannot be resolved: no network, or [network] proxy or [python] index_url is needed",
    ),
    ("connection refused", "the package index does not answer: check [python] index_url and [network] proxy"),
    (
        "invalid peer certificate",
        "the index's certificate is not trusted: add its authority to network.ca_certificates",
    ),
    ("401 unauthorized", "the index wants a login: put it into ~/.netrc of the account"),
    ("no solution found", "the packages do not fit together, or the index does not have them"),
    ("permission denied", "a file or directory is not open to the account, or its file system is mounted noexec"),
)


@cache
def program() -> str:
    """uv at a place where every account can execute it: the wizard's own may lie below /root."""
    from uv import find_uv_bin

    try:
        return keep_program(find_uv_bin(), "uv")
    except FileNotFoundError as error:
        raise StepFailed("the wizard's uv is missing: install the wizard again") from error


def uv(acting: Acting, argv: Sequence[str], *, timeout: float, title: str) -> Completed:
    """Runs uv without its own configuration. Raises StepFailed with the cause in plain words."""
    environment = {"UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "manual"}
    completed = acting.attempt([program(), *argv], timeout=timeout, env=environment)
    if completed.code != 0:
        raise StepFailed(f"{title}: {cause(completed)}")
    return completed


def cause(completed: Completed) -> str:
    """The meaning of uv's complaint, then its own last words."""
    said = completed.err.lower()
    meaning = next((text for pattern, text in CAUSES if pattern in said), "")
    return f"{meaning} ({last_words(completed)})" if meaning else last_words(completed)


def source_options(sources: PackageSources) -> list[str]:
    """Where packages come from, as options of `uv pip install`."""
    options = ["--index-url", sources.index_url] if sources.index_url else []
    if sources.no_index:
        options = ["--no-index"]
    for url in sources.extra_index_urls:
        options += ["--extra-index-url", url]
    for place in sources.find_links:
        options += ["--find-links", place]
    return options
