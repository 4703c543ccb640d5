"""Source lists: compared with apt itself on generated files, and the rules in which its versions differ."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bai_wizard.core.state import Entry, Key, Package, package_key
from bai_wizard.core.step import Blocked
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.steps.apt_grammar import Reader, Source
from bai_wizard.steps.apt_sources import apt_sources, read_all_sources
from bai_wizard.steps.packages import PackageLists
from tests.sampling import is_soak, seed
from tests.unit.engine.plans import plan_of

COUNT = 5000 if is_soak() else 300
NO_LIST = "The list of sources could not be read."
DIRECTORY = "/etc/apt/sources.list.d"

TYPES = ("deb", "deb", "deb", "deb-src", "Deb", "<!DOCTYPE", "deb\xa0", "#deb", " deb", "deb-nonsense")
BLANKS = (" ", " ", " ", "\t", "  ", "\xa0", "\v")
OPTIONS = (
    "", "", "", "[signed-by=/a.gpg] ", "[ arch=amd64 signed-by=/b.gpg ] ", "[arch=amd64]", "[trusted=yes] ", "[x] ",
    "[a=] ", "[=ab] ", "[signed-by=/a.gpg", "[signed-by=x] ", "[signed-by=/a.gpg,/b.gpg] ", "[ab\t=\tc] ", "[a=b#c] ",
)  # fmt: skip
URIS = ("http://{h}/d", "http://{h}/d/", "https://{h}/d", "http://{h}/$(ARCH)/", "{h}/d", "http://u:p@{h}/d", '"')
SUITES = ("stable", "stable", "./", "/", "$(ARCH)/", "sid", "a%20b", '"a b"', "[x")
COMPONENTS = ("main", "main contrib", "", "main # c", "#c", "main\0x")
ENDS = ("", "", "", "\r", " ", "\t\r")


def one_line(draw: random.Random, host: str) -> str:
    return "\n".join(
        "".join(
            map(
                draw.choice,
                (
                    TYPES,
                    BLANKS,
                    OPTIONS,
                    [uri.format(h=host) for uri in URIS],
                    BLANKS,
                    SUITES,
                    BLANKS,
                    COMPONENTS,
                    ENDS,
                ),
            )
        )
        for _ in range(draw.randint(1, 3))
    ) + draw.choice(("", "\n"))


def deb822(draw: random.Random, host: str) -> str:
    def field(name: str, values: tuple[str, ...]) -> str:
        name = draw.choice((name, name, name.lower()))
        return name + draw.choice((":", ": ", ":\t", " : ", ":\n ", ":\n\t")) + draw.choice(values).format(h=host)

    stanzas = []
    for _ in range(draw.randint(1, 2)):
        fields = [
            field("Types", ("deb", "deb", "deb deb-src", "rpm", "")),
            field("URIs", ("http://{h}/d", "http://{h}/d/ http://{h}/e", "{h}", "")),
            field("Suites", ("stable", "stable sid", "./", "$(ARCH)/", "")),
            field("Components", ("main", "main contrib", "main\xa0x", "")),
        ]
        fields = [one for one in fields if draw.random() < 0.93]
        if draw.random() < 0.4:
            fields.append(field("Signed-By", ("/a.gpg", "/b.gpg", "x", "/a.gpg /b.gpg")))
        if draw.random() < 0.3:
            fields.append(field("Enabled", ("no", "yes", "0", "off", "maybe", "0x0")))
        for odd, chance in (("# c", 0.2), ("<html>", 0.1), (" ", 0.1), ("Types: deb", 0.1)):
            if draw.random() < chance:
                fields.insert(draw.randint(0, len(fields)), odd)
        stanzas.append(draw.choice(("\n", "\n", "\n", "\r\n")).join(fields))
    return draw.choice(("\n\n", "\n \n", "\r\n\r\n", "\n\n\n")).join(stanzas) + draw.choice(("", "\n"))


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is not installed")
@pytest.mark.parametrize("extension, generate", [("list", one_line), ("sources", deb822)])
def test_apt_reads_the_same(extension: str, generate: type, tmp_path: Path) -> None:
    """Each file has a host of its own, so that one call of apt judges them all."""
    draw = random.Random(f"{seed()} {extension}")
    version = subprocess.run(["apt-get", "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"\d+(?:\.\d+)+", version)
    machine = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout
    assert number is not None
    texts = {f"f{index:04d}": generate(draw, f"h{index:04d}.test") for index in range(COUNT)}
    wrong = {}
    for batch in range(0, COUNT, 300):
        names = list(texts)[batch : batch + 300]
        files = {name: texts[name].encode("latin-1") for name in names}
        faults = apt_faults(tmp_path / str(batch), extension, files)
        for name in names:
            reader = Reader(machine.strip(), tuple(map(int, number[0].split("."))))
            reader.read(f"/{name}.{extension}", files[name])
            own = list(dict.fromkeys(fault.text for fault in reader.faults))
            if own != faults.get(name, []):
                wrong[texts[name]] = (own, faults.get(name))
    assert not wrong


def apt_faults(root: Path, extension: str, files: dict[str, bytes]) -> dict[str, list[str]]:
    """Return apt's errors by file; an error about a conflict names the host instead."""
    parts = root / "parts"
    parts.mkdir(parents=True)
    for name, content in files.items():
        (parts / f"{name}.{extension}").write_bytes(content)
    options = (
        "Dir::Etc::SourceList=/dev/null", f"Dir::Etc::SourceParts={parts}",
        f"Dir::State={root}", f"Dir::Cache={root}",
    )  # fmt: skip
    argv = ["apt-get", *(word for option in options for word in ("-o", option)), "update", "--print-uris"]
    said = subprocess.run(argv, capture_output=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, check=False)
    result: dict[str, list[str]] = {}
    for text in re.findall(r"(?s)^E: (.*?)(?=\n(?:[EWN]: )|\n?\Z)", said.stderr.decode("latin-1"), re.MULTILINE):
        match = re.search(r"[fh](\d{4})\.", text)
        if text != NO_LIST and match is not None:
            result.setdefault(f"f{match[1]}", []).append(text.replace(f"{parts}/", "/"))
    return {name: list(dict.fromkeys(texts)) for name, texts in result.items()}


def read(*texts: str, version: tuple[int, ...] = (3, 0, 4)) -> Reader:
    reader = Reader("amd64", version)
    for index, text in enumerate(texts):
        reader.read(f"{DIRECTORY}/{index}.list", text.encode())
    return reader


KEY = "deb [signed-by=/a.gpg] http://x/ s main"
NONE = "deb http://x s main"


@pytest.mark.parametrize(
    "version, texts, conflicts",
    [
        ((2, 6, 1), (KEY, NONE), True),
        ((2, 6, 1), (NONE, KEY), False),
        ((2, 8, 3), (KEY, NONE), True),
        ((3, 0, 4), (KEY, NONE), False),
        ((3, 0, 4), (NONE, KEY), False),
        ((3, 0, 4), (KEY, KEY.replace("/a", "/b").replace("http", "https")), True),
        ((3, 0, 4), (KEY.replace("x/", "x/$(ARCH)/"), KEY.replace("x/", "x/amd64/").replace("/a.", "/b.")), True),
    ],
)
def test_keys_conflict_as_in_each_version(version: tuple[int, ...], texts: tuple[str, str], conflicts: bool) -> None:
    faults = read(*texts, version=version).faults
    assert [fault.path for fault in faults] == ([f"{DIRECTORY}/1.list"] if conflicts else [])


def node(**files: str) -> SimulatedMachine:
    states = {Key("file", f"{DIRECTORY}/{name.replace('_', '.')}"): text for name, text in files.items()}
    entries = {key: Entry("file", 0, 0, 0o644, text.encode()) for key, text in states.items()}
    return SimulatedMachine({**entries, package_key("apt"): Package("3.0.4"), package_key("here"): Package("1")})


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_architecture_is_that_of_the_node(architecture: str) -> None:
    """Not of the machine that the wizard runs on: a simulated node, or the tree below --root, may have another."""
    machine = node(a_list="deb http://x/$(ARCH)/ s main\n")
    machine.set_state(package_key(f"dpkg:{architecture}"), Package("1"))
    assert [source.uri for source in apt_sources(machine)] == [f"http://x/{architecture}"]


def test_a_list_that_apt_cannot_read_is_refused_before_anything_changes() -> None:
    machine = node(a_list="# x\n<!DOCTYPE html>\n")
    verdict = plan_of(machine, (PackageLists(id="x.lists", packages=("x",)),)).steps[0].verdict
    assert isinstance(verdict, Blocked)
    assert not verdict.undetermined
    assert verdict.reason.startswith(f"{DIRECTORY}/a.list, line 2: apt reads no source list at all")
    assert "web page" in verdict.reason
    present = plan_of(machine, (PackageLists(id="x.lists", packages=("here",)),)).steps[0].verdict
    assert not isinstance(present, Blocked)


def test_the_line_is_given_for_stanzas_too() -> None:
    machine = node(a_sources="# x\nTypes: deb\n# y\nURIs: http://x\nSuites: ./\n\n# z\nURIs: http://y\n")
    assert [(fault.line, fault.text) for fault in read_all_sources(machine).faults] == [
        (8, f"Malformed stanza 2 in source list {DIRECTORY}/a.sources (type)")
    ]
    assert apt_sources(machine) == (Source(f"{DIRECTORY}/a.sources", "http://x", "./", "", 2),)
