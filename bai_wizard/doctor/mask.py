"""Masking: the same name gets the same stand-in everywhere, and secrets get none at all."""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable
from json import dumps
from typing import Any
from urllib.parse import quote

from bai_wizard.core import secret as secrets_of_process
from bai_wizard.core.secret import MASK
from bai_wizard.doctor.secrets import find

_IPV4 = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]*\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])")
_MAC = re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b")
_MAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\b")
_URL_HOST = re.compile(r"(?<=://)(?:[^/\s\"'@]*@)?([\w.-]+)")
# These say nothing about the site: loopback, any, netmasks, multicast of the link.
_NOBODY = re.compile(r"(?:127\.|0\.0\.0\.0|255\.|169\.254\.|224\.)")
# Public servers that everybody uses; knowing which one failed is the point of a bundle.
PUBLIC = frozenset(
    (
        "archive.ubuntu.com", "security.ubuntu.com", "ports.ubuntu.com",
        "download.docker.com", "registry-1.docker.io", "auth.docker.io", "docker.io", "cr.backend.ai",
        "github.com", "nvidia.github.io", "developer.download.nvidia.com",
        "localhost", "ghcr.io", "quay.io",
    )
)  # fmt: skip
SHORTEST_NAME = 3
# Accounts that every node has; masking them would hide half of every log.
COMMON = frozenset(
    ("root", "daemon", "docker", "nobody", "sudo", "bai", "user", "users", "home", "local", "localhost")
)


class Masker:
    """Gives stand-ins. `names` maps known names to their sort (host, user, registry)."""

    def __init__(self, names: Iterable[tuple[str, str]] = ()) -> None:
        self._stand_ins: dict[tuple[str, str], str] = {}
        self._numbers: Counter[str] = Counter()
        self.redactions: dict[str, Counter[str]] = {}
        small = ((name.lower(), sort) for name, sort in names if len(name) >= SHORTEST_NAME)
        known = {name: sort for name, sort in small if name not in COMMON}
        self._known = {name: sort for name, sort in known.items() if name not in PUBLIC and not name.isdecimal()}
        longest = sorted(self._known, key=len, reverse=True)
        alternatives = "|".join(map(re.escape, longest))
        self._names = re.compile(rf"(?<![\w])(?:{alternatives})(?![\w])", re.IGNORECASE) if longest else None

    def text(self, text: str, file: str = "") -> str:
        """The text without secrets and with stand-ins; what was hidden is counted under `file`."""
        counts = self.redactions.setdefault(file, Counter())
        text = _without_registered(text, counts)
        text = _without_secrets(text, counts)
        text = _MAC.sub(self._by("mac", counts), text)
        text = _MAIL.sub(self._by("mail", counts), text)
        text = _URL_HOST.sub(lambda match: self._url_host(match, counts), text)
        if self._names is not None:
            text = self._names.sub(lambda match: self._name(match.group(), counts), text)
        text = _IPV4.sub(lambda match: self._address(match.group(), counts), text)
        return _IPV6.sub(lambda match: self._address(match.group(), counts), text)

    def value(self, value: Any, file: str = "") -> Any:
        """JSON values with every text in them masked; a value under a secretive key is hidden whole."""
        if isinstance(value, str):
            return self.text(value, file)
        if isinstance(value, dict):
            return {self.text(str(key), file): self._under(str(key), item, file) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, file) for item in value]
        return value

    def _under(self, key: str, item: Any, file: str) -> Any:
        if isinstance(item, str) and item and any(True for _ in find(f'{key}="{item}"')):
            shown = self.text(item, file)
            # The key makes a secret of it: `password`, `auth` …
            return MASK if shown == item else shown
        return self.value(item, file)

    def _name(self, name: str, counts: Counter[str]) -> str:
        sort = self._known[name.lower()]
        counts[sort] += 1
        return self._stand_in(sort, name.lower())

    def _url_host(self, match: re.Match[str], counts: Counter[str]) -> str:
        host = match.group(1)
        if host.lower() in PUBLIC or host.lower() in self._known or _IPV4.fullmatch(host):
            return match.group()
        counts["host"] += 1
        return match.group()[: -len(host)] + self._stand_in("host", host.lower())

    def _address(self, address: str, counts: Counter[str]) -> str:
        if _NOBODY.match(address) or address in ("::", "::1") or not any(map(str.isalnum, address)):
            return address
        # Clock times look like short IPv6 addresses.
        if ":" in address and "::" not in address and address.count(":") < 7:
            return address
        counts["address"] += 1
        return self._stand_in("address", address.lower())

    def _by(self, sort: str, counts: Counter[str]) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            counts[sort] += 1
            return self._stand_in(sort, match.group().lower())

        return replace

    def _stand_in(self, sort: str, name: str) -> str:
        if (sort, name) not in self._stand_ins:
            self._numbers[sort] += 1
            self._stand_ins[sort, name] = f"{sort}-{self._numbers[sort]}"
        return self._stand_ins[sort, name]


def registered_in(text: str) -> bool:
    """True when a secret that this process knows stands in the text, in any of the forms that programs write."""
    return any(form in text for form in _registered_forms())


def _registered_forms() -> list[str]:
    forms = set()
    for secret in secrets_of_process.registered():
        encoded = b64encode(secret.encode()).decode()
        forms |= {
            secret,
            dumps(secret)[1:-1],
            dumps(secret, ensure_ascii=False)[1:-1],
            quote(secret, safe=""),
            encoded,
        }
    return sorted(forms, key=len, reverse=True)


def _without_registered(text: str, counts: Counter[str]) -> str:
    for form in _registered_forms():
        if form in text:
            counts["secret of the answers"] += text.count(form)
            text = text.replace(form, MASK)
    return text


def _without_secrets(text: str, counts: Counter[str]) -> str:
    """Again and again: hiding one may bring another into sight. Each round hides something, so it ends."""
    for _ in range(20):
        found = sorted(find(text), key=lambda each: (each.start, -each.end))
        if not found:
            break
        pieces, at = [], 0
        for each in found:
            if each.start < at:
                continue
            counts[each.kind] += 1
            pieces += [text[at : each.start], MASK]
            at = each.end
        text = "".join(pieces) + text[at:]
    return text
