"""What the design says is never offered: over the source of every remedy, and over every text of the list."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bai_wizard import doctor, pages, steps
from bai_wizard.doctor.symptoms import failures

# Words of commands that change what the wizard never changes. A negation right before allows the mention.
NEVER = {
    "the Docker socket for everybody": r"chmod\s+0?[0-7]*6{2,3}\S*\s+\S*docker\.sock",
    "formatting a disk": r"\b(?:mkfs(?:\.\w+)?|wipefs|mkswap)\b",
    "partitioning a disk": r"\b(?<!-)(?:fdisk|sfdisk|parted|sgdisk)\b",
    "setting the host name": r"\bhostnamectl\s+(?:set-)?hostname\s+\S|\bhostname\s+-F\b",
    "stepping the clock": r"\b(?:date\s+-s|ntpdate|chronyc\s+makestep|hwclock\s+-\S*w|timedatectl\s+set-time)\b",
    "deleting lock files": r"\brm\s+(?:-\S+\s+)*\S*lock",
    "signature checks off": r"trusted\s*=\s*yes|--allow-unauthenticated|AllowUnauthenticated|Check-Date\s*=?\s*false",
    "TLS checks off": r"--trusted-host|curl\s[^;|]*(?:\s-k\b|--insecure)|Verify-Peer\s*\"?false",
    "pruning everything": r"prune\s+(?:\S+\s+)*(?:-a\b|--all|--volumes)",
    "a shell fed from the network": r"(?:curl|wget)[^|;\n]*\|\s*(?:sudo\s+)?(?:ba|da)?sh\b",
    "slices of GPUs": r"nvidia-smi\s+mig\b|nvidia-smi\s+(?:-\S+\s+)*-mig\b",
}
NEGATED = re.compile(r"(?:[Nn]ever|[Dd]o not|[Ww]ithout|no)\s[^.;]*$")


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
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values))
        elif isinstance(node, ast.Tuple | ast.List):
            words = [
                item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)
            ]
            found.append(" ".join(words))
    return found


SOURCES = [path for package in (pages, steps, doctor) for path in sorted(Path(package.__path__[0]).rglob("*.py"))]


def test_no_remedy_guidance_or_step_offers_what_is_never_offered() -> None:
    found = [(path.name, name) for path in SOURCES for text in texts_of(path) for name in offences(text)]
    assert found == []


def test_no_text_of_the_list_offers_it() -> None:
    assert [(each.id, name) for each in failures() for name in offences(f"{each.cause} {each.remedy}")] == []


@pytest.mark.parametrize(
    "text",
    [
        "chmod 666 /var/run/docker.sock",
        "mkfs.ext4 /dev/sdb",
        "parted /dev/sda",
        "hostnamectl set-hostname x",
        "chronyc makestep",
        "rm -f /var/lib/dpkg/lock-frontend",
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
