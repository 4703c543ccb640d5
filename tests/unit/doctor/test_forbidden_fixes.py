"""Fixes that the design forbids: none in the source of any remedy or in any text of a check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bai_wizard import doctor, pages, steps
from bai_wizard.data import read_toml
from bai_wizard.doctor.search import known_failures

# Words of commands that change what the wizard never changes. A negation right before allows the mention.
NEVER = {
    "the Docker socket for everybody": r"chmod\s+0?[0-7]*6{2,3}\S*\s+\S*docker\.sock",
    "formatting a disk": r"\b(?:mkfs(?:\.\w+)?|wipefs|mkswap)\b",
    "partitioning a disk": r"\b(?<!-)(?:fdisk|sfdisk|parted|sgdisk)\b",
    "setting the host name": r"\bhostnamectl\s+(?:set-)?hostname\s+\S|\bhostname\s+-F\b",
    "stepping the clock": r"\b(?:date\s+-s|ntpdate|chronyc\s+makestep|hwclock\s+-\S*w|timedatectl\s+set-time)\b",
    "deleting lock files": (
        r"\brm\s+(?:-\S+\s+)*\S*lock|(?:\.|\b)lock\b(?: files?)?[^.;]*\b(?:[Mm]ove|[Dd]elete|[Rr]emove)\b"
        r"|\b(?:[Mm]ove|[Dd]elete|[Rr]emove)\b[^;]*(?:\.|\b)lock(?: file|\b)"
    ),
    "signature checks off": r"trusted\s*=\s*yes|--allow-unauthenticated|AllowUnauthenticated|Check-Date\s*=?\s*false",
    "TLS checks off": r"--trusted-host|curl\s[^;|]*(?:\s-k\b|--insecure)|Verify-Peer\s*\"?false",
    "pruning everything": r"prune\s+(?:\S+\s+)*(?:-a\b|--all|--volumes)",
    "a shell fed from the network": r"(?:curl|wget)[^|;\n]*\|\s*(?:sudo\s+)?(?:ba|da)?sh\b",
    "slices of GPUs": r"nvidia-smi\s+mig\b|nvidia-smi\s+(?:-\S+\s+)*-mig\b",
}
NEGATED = re.compile(r"(?:[Nn]ever|[Dd]o not|[Ww]ithout)\s[^.;]*$|\bno\s[^.;,]*$")


def offences(text: str) -> list[str]:
    """What the text offers although it never may."""
    return [
        name
        for name, pattern in NEVER.items()
        for match in re.finditer(pattern, text)
        if not NEGATED.search(text[: match.start()])
    ]


def texts_of(path: Path) -> list[str]:
    """Every constant text of a module, f-strings joined, lists of words as a command line."""
    result = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            result.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            result.append("".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values))
        elif isinstance(node, ast.Tuple | ast.List):
            words = [
                item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)
            ]
            result.append(" ".join(words))
    return result


SOURCES = [path for package in (pages, steps, doctor) for path in sorted(Path(package.__path__[0]).rglob("*.py"))]


def test_no_fix_text_or_step_offers_forbidden_actions() -> None:
    result = [(path.name, name) for path in SOURCES for text in texts_of(path) for name in offences(text)]
    assert result == []


def test_no_listed_text_offers_forbidden_actions() -> None:
    assert [(each.id, name) for each in known_failures() for name in offences(f"{each.cause} {each.remedy}")] == []
    hints = [hint for table in read_toml("errors.toml").values() for hint in table]
    assert [(hint["pattern"], name) for hint in hints for name in offences(hint.get("fix", ""))] == []


@pytest.mark.parametrize(
    "text",
    [
        "chmod 666 /var/run/docker.sock",
        "mkfs.ext4 /dev/sdb",
        "parted /dev/sda",
        "hostnamectl set-hostname x",
        "chronyc makestep",
        "rm -f /var/lib/dpkg/lock-frontend",
        "move /etc/passwd.lock away",
        "delete the lock file",
        "deb [trusted=yes] http://x",
        "pip install --trusted-host x",
        "docker system prune -a --volumes",
        "curl -fsSL https://x | sudo sh",
        "nvidia-smi mig -dci",
    ],
)
def test_the_list_sees_each(text: str) -> None:
    assert offences(text)
    assert not offences(f"Never {text}")
