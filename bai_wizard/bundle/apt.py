"""apt-get in a state of its own, for another system than this machine's: what it would install, and the files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bai_wizard.bundle.nvidia import WantedDriver
from bai_wizard.bundle.system import Likeness
from bai_wizard.bundle.wanted import WantedPackages
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.machine import Completed
from bai_wizard.machine.readers.packages import parse_policy
from bai_wizard.steps.apt_source import AptSource, key_fault

# Seconds for the lists, and for all packages over a slow line.
LISTS = 600.0
FETCHING = 3600.0
# A line of `apt-get --simulate`: Inst NAME [OLD] (VERSION SOURCE [ARCHITECTURE]) …
INSTALLS = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) .*\[(\S+)\]\)", re.MULTILINE)
KEY_OF = re.compile(r"(signed-by\s*[=:]\s*)(/[^\s\]]+)", re.IGNORECASE)


class Apt:
    """The state lies in `state` and is kept, so that a cut collection goes on; packages are fetched into `files`."""

    def __init__(self, state: Path, files: Path, like: Likeness) -> None:
        self._state, self._files, self._like = state, files, like
        for part in ("lists/partial", "sources", "keys"):
            (state / part).mkdir(parents=True, exist_ok=True)
        (files / "partial").mkdir(parents=True, exist_ok=True)
        (state / "status").write_bytes(like.status)

    def read_lists(self, wanted: Sequence[WantedPackages | WantedDriver]) -> str:
        """The lists of the system's own repositories and of those wanted. What failed is told, for later use."""
        for old in (self._state / "sources").iterdir():
            old.unlink()
        sources = {source.uri: source for each in wanted for source in each.sources}
        self._copy_sources(tuple(sources))
        for each in wanted:
            for key in each.keys:
                fault = key.missing or key_fault(key.text.encode(), key.fingerprint)
                if fault:
                    raise StepFailed(f"the key of [{each.page}]'s repository cannot be used: {fault}")
                self._key(key.path).write_text(key.text)
        for number, source in enumerate(sources.values()):
            self._write(f"wanted-{number}.sources", self._here(source).text())
        done = self._apt("update", timeout=LISTS)
        return "" if done.code == 0 and not done.err.strip() else (done.err or done.out).strip()[-2000:]

    def candidate(self, name: str) -> str | None:
        """The version that would be fetched; None where no source offers the package. Raises StepFailed."""
        told = self._apt("policy", "--", name, timeout=LISTS, program="apt-cache")
        if told.code != 0:
            raise StepFailed(f"apt-cache policy {name}: {_last(told)}")
        return parse_policy(told.out)

    def fetch(self, wanted: WantedPackages) -> tuple[str, ...]:
        """Fetches the packages with what they depend on; the names of the files. Raises StepFailed.

        Those that are wanted come even where the nodes have them; dependencies that they have do not.
        """
        words = [
            f"{name}={version}" if version else name
            for name, version in zip(wanted.names, wanted.versions, strict=True)
        ]
        install = ["install", "--reinstall", "--no-install-recommends", "--", *words]
        simulated = self._apt("--simulate", *install, timeout=LISTS)
        if simulated.code != 0:
            raise StepFailed(f"[{wanted.page}] {_last(simulated)}")
        done = self._apt("--yes", "--download-only", *install, timeout=FETCHING)
        if done.code != 0:
            raise StepFailed(f"[{wanted.page}] {_last(done)}")
        return tuple(
            f"{name.partition(':')[0]}_{version.replace(':', '%3a')}_{architecture}.deb"
            for name, version, architecture in INSTALLS.findall(simulated.out)
        )

    def _copy_sources(self, without: tuple[str, ...]) -> None:
        """The system's own sources; a file that names a wanted repository gives way to ours."""
        etc = self._like.root / "etc/apt"
        files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
        for file in files:
            if file.suffix not in (".list", ".sources") or not file.is_file():
                continue
            text = file.read_text(errors="replace")
            if not any(uri.rstrip("/") in text for uri in without):
                self._write(file.name, KEY_OF.sub(self._below, text))

    def _below(self, found: re.Match[str]) -> str:
        """A key file of the other system, where it lies here."""
        there = self._like.root / found[2].lstrip("/")
        return f"{found[1]}{there if there.exists() else found[2]}"

    def _here(self, source: AptSource) -> AptSource:
        return replace(source, signed_by=str(self._key(source.signed_by)))

    def _key(self, path: str) -> Path:
        return self._state / "keys" / os.path.basename(path)

    def _write(self, name: str, text: str) -> None:
        (self._state / "sources" / name).write_text(text)

    def _apt(self, *words: str, timeout: float, program: str = "apt-get") -> Completed:
        from bai_wizard.machine.runner import run

        trusted = self._like.root / "etc/apt"
        settings = {
            "APT::Architecture": self._like.system.architecture,
            "APT::Architectures": self._like.system.architecture,
            "APT::Sandbox::User": "root",
            "Dir::State": self._state,
            "Dir::State::status": self._state / "status",
            "Dir::State::Lists": self._state / "lists",
            "Dir::Cache": self._state,
            "Dir::Cache::Archives": self._files,
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": self._state / "sources",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::Etc::Trusted": trusted / "trusted.gpg",
            "Dir::Etc::TrustedParts": trusted / "trusted.gpg.d",
            "Acquire::Retries": 3,
            "Acquire::Languages": "none",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return run(
            [program, "--quiet", *options, *words], timeout=timeout, env={"DEBIAN_FRONTEND": "noninteractive"},
            keep=1 << 22,
        )  # fmt: skip


def _last(done: Completed) -> str:
    """apt's own words: its complaint, after what led there."""
    return "\n".join((done.out.strip()[-1500:], done.err.strip()[-1500:])).strip()
