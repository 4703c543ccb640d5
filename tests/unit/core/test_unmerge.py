"""Undo of a file after later edits: ours is removed, theirs is kept, and the format's own parser agrees."""

from __future__ import annotations

import configparser
import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bai_wizard.engine.unmerge import undo_content
from bai_wizard.engine.unmerge_text import Undone
from tests.sampling import is_soak, seed

PROGRAM_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
ROUNDS = 400 if is_soak() else 40
PROGRAM_ROUNDS = 20 if is_soak() else 3


@dataclass(frozen=True)
class Format:
    """A file that we edit: what was there, what we left, and lines that others may add anywhere outside of `glued`.

    `headers` are lines of ours that stay where lines of others need them.
    """

    path: str
    before: bytes | None
    after: bytes
    theirs: tuple[str, ...]
    accepted_by: Callable[[Path], str] | None = None
    headers: tuple[bytes, ...] = ()
    deletable: bool = True
    adds_anywhere: bool = True


def _program(*argv: str) -> Callable[[Path], str]:
    def check(path: Path) -> str:
        program = shutil.which(argv[0], path=PROGRAM_PATH)
        if program is None:
            return ""
        words = [word.replace("FILE", str(path)) for word in argv[1:]]
        ended = subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=60)
        return "" if ended.returncode == 0 else ended.stdout + ended.stderr

    return check


def _findmnt(path: Path) -> str:
    """findmnt's complaints about the lines themselves: the test's sources and mount points do not exist."""
    result = _program("findmnt", "--verify", "--tab-file", "FILE")(path)
    return "" if not result or "0 parse errors" in result else result


def _ini(path: Path) -> str:
    parser = configparser.RawConfigParser(strict=True)
    try:
        parser.read_string(path.read_text())
    except configparser.Error as error:
        return str(error)
    return ""


def _apt(path: Path) -> str:
    """apt's own parser of deb822, in a root of its own."""
    program = shutil.which("apt-get", path=PROGRAM_PATH)
    if program is None:
        return ""
    top = path.parent / "apt"
    for name in ("etc/sources.list.d", "state/lists/partial", "cache/archives/partial"):
        (top / name).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, top / "etc/sources.list.d/x.sources")
    options = [f"-oDir::Etc={top}/etc", f"-oDir::State={top}/state", f"-oDir::Cache={top}/cache",
               "-oDir::State::status=/dev/null"]  # fmt: skip
    ended = subprocess.run([program, *options, "indextargets"], capture_output=True, text=True, check=False)
    return "" if ended.returncode == 0 else ended.stderr


def _systemd(path: Path) -> str:
    program = shutil.which("systemd-analyze", path=PROGRAM_PATH)
    if program is None:
        return ""
    unit = path.parent / "x.service"
    unit.write_text("[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n")
    drop_ins = path.parent / "x.service.d"
    drop_ins.mkdir(exist_ok=True)
    shutil.copyfile(path, drop_ins / "x.conf")
    ended = subprocess.run(
        [program, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )
    return "\n".join(line for line in ended.stderr.splitlines() if "x.conf" in line)


FORMATS = {
    "hosts": Format(
        "/etc/hosts",
        b"127.0.0.1 localhost\n127.0.1.1 gpu01.site gpu01\n\n::1 ip6-localhost\n",
        b"127.0.0.1 localhost\n# 127.0.1.1 gpu01.site gpu01\n\n::1 ip6-localhost\n"
        b"##### BEGIN for Backend.AI services #####\n10.0.0.1 manager # one\n10.0.0.2 storage\n"
        b"##### END for Backend.AI services #####\n",
        ("192.0.2.7 printer", "# a note", "192.0.2.8\tnas nas.site", "", "192.0.2.9 caf\udce9"),
    ),
    "fstab": Format(
        "/etc/fstab",
        b"UUID=0a3407de-014b-458b-b5c1-848e92a327a3 / ext4 defaults 0 1",
        b"UUID=0a3407de-014b-458b-b5c1-848e92a327a3 / ext4 defaults 0 1\n# BEGIN bai-wizard\n"
        b"tmpfs /vfroot tmpfs defaults 0 0\n# END bai-wizard\n",
        ("tmpfs /scratch tmpfs defaults 0 0", "# swap is on zram", "proc /proc2 proc defaults 0 0"),
        _findmnt,
    ),
    "sudoers": Format(
        "/etc/sudoers.d/90-bai-wizard-bai",
        None,
        b"# Written by bai-wizard for the account bai.\n#1100 ALL=(ALL:ALL) NOPASSWD: ALL\n",
        ("alice ALL=(ALL) ALL", "Defaults:alice !lecture", "# on call", ""),
        _program("visudo", "-c", "-f", "FILE"),
    ),
    "environment": Format(
        "/etc/environment",
        b'PATH="/usr/bin:/bin"\n',
        b'PATH="/usr/bin:/bin"\n# BEGIN bai-wizard\nhttp_proxy="http://p:3128"\n# END bai-wizard\n',
        ('EDITOR="vi"', "JAVA_HOME=/opt/java", "# theirs"),
    ),
    "sysctl": Format(
        "/etc/sysctl.d/99-backendai.conf",
        None,
        b"# Written by bai-wizard.\nnet.core.somaxconn = 65536\nvm.max_map_count = 262144\n",
        ("kernel.panic = 10", "; theirs", "net.ipv4.tcp_sack=1", ""),
    ),
    "limits": Format(
        "/etc/security/limits.d/99-backendai.conf",
        None,
        b"# Written by bai-wizard.\nbai soft nofile 512000\nbai hard nofile 512000\nroot hard nofile 512000\n",
        ("alice soft nproc 4096", "@ops - priority 5", "# theirs"),
    ),
    "authorized_keys": Format(
        "/home/bai/.ssh/authorized_keys",
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx old@site\n",
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx old@site\n"
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy ours@site\n",
        (
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBxx theirs@site",
            'from="192.0.2.1" ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC0zzzzzzzzzzzzzzzzzzzzzzzzz b@site',
            "# theirs",
        ),
    ),
    "bashrc": Format(
        "/home/bai/.bashrc",
        b"case $- in\n *i*) ;;\nesac\nif true; then\n  :\nfi\n",
        b"case $- in\n *i*) ;;\nesac\nif true; then\n  :\nfi\n# BEGIN bai-wizard pyenv\n"
        b'export PYENV_ROOT=/home/bai/.pyenv\neval "$(pyenv init - bash)"\n# END bai-wizard pyenv\n',
        ("alias ll='ls -l'", "export EDITOR=vi", "# theirs", "set -o vi"),
        _program("bash", "-n", "FILE"),
        deletable=False,
        adds_anywhere=False,
    ),
    "systemd drop-in": Format(
        "/etc/systemd/system/docker.service.d/90-bai-wizard.conf",
        None,
        b"# Written by bai-wizard.\n[Service]\nLimitNOFILE=infinity\nTasksMax=infinity\n",
        ("Environment=A=b", "# theirs", "Nice=5", ""),
        _systemd,
        headers=(b"[Service]",),
    ),
    "pip.conf": Format(
        "/etc/pip.conf",
        None,
        b"[global]\n# BEGIN bai-wizard\ncert = /etc/ssl/certs/ca-certificates.crt\n# END bai-wizard\n",
        ("timeout = 60", "# theirs", "retries = 3"),
        _ini,
        headers=(b"[global]",),
    ),
    "apt source": Format(
        "/etc/apt/sources.list.d/docker.sources",
        None,
        b"# Written by bai-wizard.\nTypes: deb\nURIs: http://127.0.0.1/docker\nSuites: trixie\nComponents: stable\n",
        ("", "# theirs", "\nTypes: deb\nURIs: http://127.0.0.1/other\nSuites: trixie\nComponents: main\n"),
        _apt,
        adds_anywhere=False,
    ),
    "apt preferences": Format(
        "/etc/apt/preferences.d/docker",
        None,
        b"# Written by bai-wizard.\nPackage: docker-ce\nPin: version 5:28.*\nPin-Priority: 1001\n",
        ("# theirs", "\nPackage: vim\nPin: version 2:*\nPin-Priority: 10\n"),
        adds_anywhere=False,
    ),
    "certificate": Format(
        "/usr/local/share/ca-certificates/site.crt",
        None,
        b"-----BEGIN CERTIFICATE-----\nMIIBAAAA\nBBBB\n-----END CERTIFICATE-----\n",
        ("-----BEGIN CERTIFICATE-----\nMIIBCCCC\nDDDD\n-----END CERTIFICATE-----", "# theirs"),
        adds_anywhere=False,
    ),
    "replaced lines": Format(
        "/etc/security/limits.conf",
        b"a\n* hard nofile 1024\nb\nbai soft nproc 1\nc\nc\nd\n",
        b"a\n# * hard nofile 1024\nb\nc\nc\nd\nlast of ours\n",
        ("theirs 1", "theirs 2", "", "c"),
    ),
}


def stranger(source: random.Random, shape: Format) -> tuple[bytes, list[bytes], list[bytes]]:
    """The file after edits by others; the lines they added, and the lines of `before` that they left."""
    ours = set(shape.after.split(b"\n")) - set((shape.before or b"").split(b"\n"))
    lines = shape.after.split(b"\n")[:-1] if shape.after.endswith(b"\n") else shape.after.split(b"\n")
    tagged = [(line, "ours" if line in ours else "kept") for line in lines]
    if shape.deletable:
        tagged = [item for item in tagged if item[1] == "ours" or source.random() > 0.1]
    for added in source.sample(shape.theirs, source.randint(1, len(shape.theirs))):
        index = source.randint(0, len(tagged)) if shape.adds_anywhere else source.choice((0, len(tagged)))
        if any(header in [line for line, _ in tagged[index:]] for header in shape.headers):
            index = len(tagged)
        text = added.encode("utf-8", "surrogateescape")
        tagged.insert(index, (text, "theirs"))
    end = b"" if source.random() < 0.3 and tagged[-1][0] else b"\n"
    return (
        b"\n".join(line for line, _ in tagged) + end,
        [line for line, who in tagged if who == "theirs"],
        [line for line, who in tagged if who == "kept"],
    )


@pytest.mark.parametrize("name", FORMATS)
def test_edits_of_others_are_kept_and_ours_removed(name: str, tmp_path: Path) -> None:
    shape = FORMATS[name]
    for number in range(ROUNDS):
        source = random.Random(f"{seed()}:{name}:{number}")
        now, theirs, kept = stranger(source, shape)
        for force in (False, True):
            undone = undo_content(shape.path, shape.before, shape.after, now, force=force)
            message = f"seed {seed()}, round {number}: {now!r} became {undone.content!r}"
            assert undone.kept == (), message
            content = undone.content if undone.content is not None else b""
            assert undone.content is not None or not b"".join(theirs).strip(), message
            result = content.split(b"\n")
            rest = iter(result)
            for line in b"\n".join(theirs).split(b"\n") if undone.content is not None else []:
                assert line in rest, f"{message}: lost {line!r}, or changed the order"
            ours = set(shape.after.split(b"\n")) - set((shape.before or b"").split(b"\n")) - set(shape.headers)
            ours -= {b""} | {
                line for text in shape.theirs for line in text.encode("utf-8", "surrogateescape").split(b"\n")
            }
            assert not [line for line in result if line in ours], message
            back = set((shape.before or b"").split(b"\n")) - set(shape.after.split(b"\n"))
            assert back <= set(result), f"{message}: not put back"
            assert [line for line in kept if line.strip() and line not in result] == [], message
            again = undo_content(shape.path, shape.before, shape.after, content, force=force)
            assert undone.content is None or again.content == content, f"{message}: a second undo changes it again"
        if shape.accepted_by is not None and number < PROGRAM_ROUNDS and undone.content is not None:
            path = tmp_path / "undone"
            path.write_bytes(undone.content)
            path.chmod(0o440)
            assert shape.accepted_by(path) == "", message
            path.unlink()


@pytest.mark.parametrize("name", FORMATS)
def test_without_edits_the_file_is_exactly_as_before(name: str) -> None:
    shape = FORMATS[name]
    assert undo_content(shape.path, shape.before, shape.after, shape.after).content == shape.before


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "certificate"])
def test_only_our_edited_line_is_kept(name: str) -> None:
    shape = FORMATS[name]
    old = set((shape.before or b"").split(b"\n"))
    lines = [line for line in shape.after.split(b"\n")
             if line and line not in old and line[:1] not in (b"#", b"[", b"P")]  # fmt: skip
    for line in lines:
        now = shape.after.replace(line, line + b"9") + b"theirs = 1\n"
        undone = undo_content(shape.path, shape.before, shape.after, now)
        assert len(undone.kept) == 1, line
        assert undone.content is not None
        result = undone.content.split(b"\n")
        assert line + b"9" in result
        assert b"theirs = 1" in result
        forced = undo_content(shape.path, shape.before, shape.after, now, force=True)
        assert forced.content is not None
        assert forced.kept == ()
        assert line + b"9" not in forced.content.split(b"\n")
        assert b"theirs = 1" in forced.content


def test_an_added_field_keeps_its_stanza_and_force_leaves_it_as_a_comment() -> None:
    shape = FORMATS["apt source"]
    now = shape.after + b"Enabled: no\n"
    undone = undo_content(shape.path, None, shape.after, now)
    assert undone.content == now.removeprefix(b"# Written by bai-wizard.\n")
    assert undone.kept
    forced = undo_content(shape.path, None, shape.after, now, force=True)
    assert forced.content == b"# Enabled: no\n"


@pytest.mark.parametrize("add", [b"", b"192.0.2.7 printer\r\n"])
def test_line_ends_of_others_stay(add: bytes) -> None:
    shape = FORMATS["hosts"]
    now = shape.after.replace(b"\n", b"\r\n") + add
    assert shape.before is not None
    assert (
        undo_content(shape.path, shape.before, shape.after, now).content == shape.before.replace(b"\n", b"\r\n") + add
    )


def test_our_lines_are_found_after_others_moved_them() -> None:
    shape = FORMATS["hosts"]
    lines = [*sorted(shape.after.splitlines(keepends=True)), b"192.0.2.7 printer\n"]
    undone = undo_content(shape.path, shape.before, shape.after, b"".join(lines))
    assert undone.kept == ()
    assert undone.content is not None
    assert shape.before is not None
    assert sorted(undone.content.splitlines()) == sorted([*shape.before.splitlines(), b"192.0.2.7 printer"])


def test_a_final_newline_that_we_added_goes_again() -> None:
    shape = FORMATS["fstab"]
    now = b"# theirs\n" + shape.after
    assert undo_content(shape.path, shape.before, shape.after, now).content == b"# theirs\n" + (shape.before or b"")


def test_the_older_of_two_runs_is_undone_below_the_newer_one() -> None:
    first = b"a\n# BEGIN bai-wizard\none\n# END bai-wizard\n"
    second = b"a\n# BEGIN bai-wizard\none\ntwo\n# END bai-wizard\n"
    below = undo_content("/etc/fstab", b"a\n", first, second, shared=True)
    assert below.content == b"a\n# BEGIN bai-wizard\ntwo\n# END bai-wizard\n"
    assert undo_content("/etc/fstab", first, second, below.content).content == b"a\n"


def test_our_continued_value_keeps_its_key() -> None:
    after = b"[global]\nextra-index-url = http://ours\n"
    now = after + b"    http://theirs\n"
    kept = undo_content("/etc/pip.conf", None, after, now)
    assert kept.content == now
    assert kept.kept
    forced = undo_content("/etc/pip.conf", None, after, now, force=True)
    assert forced.content == b"[global]\nextra-index-url =\n    http://theirs\n"


def test_binary_files_are_one_part() -> None:
    assert undo_content("/x.gpg", None, b"\0ours", b"\0theirs").content == b"\0theirs"
    assert undo_content("/x.gpg", None, b"\0ours", b"\0theirs", force=True).content is None


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("junk", [b"\0\0theirs\n", b"theirs \xff\xfe {\n", b"[theirs\n", b"theirs" * 9000 + b"\n"])
def test_an_unparsable_line_does_not_block(name: str, junk: bytes, force: bool) -> None:
    """Others made the file invalid with a line of their own: ours goes, theirs stays, with and without force."""
    shape = FORMATS[name]
    undone = undo_content(shape.path, shape.before, shape.after, shape.after + b"\n" + junk, force=force)
    assert undone.kept == ()
    assert undone.content is not None
    assert undone.content.endswith(junk)
    rest = undone.content.removesuffix(junk)
    headers = {header.strip() for header in shape.headers}
    assert [line for line in rest.split(b"\n") if line.strip() and line.strip() not in headers] == [
        line for line in (shape.before or b"").split(b"\n") if line.strip()
    ]


def test_a_very_long_foreign_file_is_fast() -> None:
    before = b"".join(b"x\n" for _ in range(200_000))
    now = b"y\n" * 100_000 + before + b"ours\n" + b"z\n" * 100_000
    undone = undo_content("/etc/hosts", before, before + b"ours\n", now)
    assert undone.content == now.replace(b"ours\n", b"") or undone.kept


JSON_BEFORE = (
    b'{\n    "log-driver": "local",\n\n    "registry-mirrors": ["http://a"],\n'
    b'    "gone": {"x": 1},\n    "keep": 1\n}\n'
)
JSON_AFTER = (
    b'{\n    "log-driver": "json-file",\n\n    "registry-mirrors": ["http://a", "http://ours"],\n    "keep": 1,\n'
    b'    "log-opts": {"max-size": "10m"},\n    "features": {"ours": true}\n}\n'
)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (lambda text: text, JSON_BEFORE.decode()),
        (
            lambda text: text.replace('"keep": 1', '"keep": 2'),
            JSON_BEFORE.decode().replace('"keep": 1', '"keep": 2'),
        ),
        (
            lambda text: text.replace('"http://ours"', '"http://ours", "http://theirs"'),
            JSON_BEFORE.decode().replace('["http://a"]', '["http://a", "http://theirs"]'),
        ),
        (lambda text: text.replace('{"ours": true}', '{"ours": true, "theirs": 1}'), None),
        (lambda text: text.replace("{\n", '{\n    "theirs": [1, 2],\n', 1), None),
        (lambda text: text.replace("\n", "\r\n").replace("1,\r\n", '1,\r\n    "theirs": null,\r\n', 1), None),
        (lambda text: json.dumps({**json.loads(text), "theirs": {"a": 1.0}}), None),
        (lambda text: json.dumps(dict(reversed(json.loads(text).items()))), None),
    ],
)
def test_json_is_undone_by_keys_and_members(edit: Callable[[str], str], wanted: str | None, force: bool) -> None:
    now = edit(JSON_AFTER.decode())
    undone = undo_content("/etc/docker/daemon.json", JSON_BEFORE, JSON_AFTER, now.encode(), force=force)
    assert undone.kept == ()
    assert undone.content is not None
    text = undone.content.decode()
    if wanted is not None:
        assert text == wanted
    expected = json.loads(now)
    expected["log-driver"], expected["gone"] = "local", {"x": 1}
    expected["registry-mirrors"].remove("http://ours")
    del expected["log-opts"], expected["features"]["ours"]
    if not expected["features"]:
        del expected["features"]
    assert json.loads(text) == expected
    assert text.count("\r\n") in (0, text.count("\n"))


def test_our_json_file_is_removed_unless_others_use_it() -> None:
    after = b'{\n  "a": {"b": 1}\n}\n'
    assert undo_content("/x.json", None, after, b'{"a":{"b":1}}').content is None
    assert undo_content("/x.json", b"", after, b'{"a":{"b":1}}').content == b""
    shared = undo_content("/x.json", None, after, b'{"a": {"b": 1, "c": 2}}')
    assert shared.content == b'{"a": {"c": 2}}'


def test_an_edited_json_value_is_the_only_one_that_stays() -> None:
    after = b'{"a": 1, "b": [1], "c": true}'
    now = b'{"a": 2, "b": [1], "c": true, "d": 0}'
    undone = undo_content("/x.json", None, after, now)
    assert json.loads(undone.content or b"") == {"a": 2, "d": 0}
    assert undone.kept == ("a was edited: 2",)
    forced = undo_content("/x.json", None, after, now, force=True)
    assert json.loads(forced.content or b"") == {"d": 0}


def test_an_edited_list_member_is_kept_and_reported() -> None:
    after = b'{"pools": [{"base": "10.0.0.0/8", "size": 24}, {"base": "172.16.0.0/12", "size": 25}]}'
    now = after.replace(b"24", b"28").replace(b"[{", b'[{"base": "192.0.2.0/24", "size": 30}, {')
    undone = undo_content("/x.json", None, after, now)
    assert len(undone.kept) == 1
    theirs = {"base": "192.0.2.0/24", "size": 30}
    assert json.loads(undone.content or b"") == {"pools": [theirs, {"base": "10.0.0.0/8", "size": 28}]}
    forced = undo_content("/x.json", None, after, now, force=True)
    assert json.loads(forced.content or b"") == {"pools": [theirs]}


def test_other_blanks_make_no_other_line() -> None:
    shape = FORMATS["hosts"]
    now = shape.after.replace(b"10.0.0.1 manager # one", b"10.0.0.1\tmanager  # one") + b"192.0.2.7 printer\n"
    undone = undo_content(shape.path, shape.before, shape.after, now)
    assert (undone.kept, undone.content) == ((), (shape.before or b"") + b"192.0.2.7 printer\n")


@pytest.mark.parametrize(
    ("now", "forced"),
    [
        (b'{"a": 1,}', None),
        (b"{", None),
        (b'{"a": 1, "a": 2}', b'{"a": 2}'),
        (b"\xff\xfe", b"\xff\xfe"),
        (b'{"a": 1} // x', b"{} // x"),
        (b'{"a": 1 "b": 2}', b'{"b": 2}'),
        (b'{"b": 2 "a": 1}', b'{"b": 2 }'),
        (b'{"a": 12,}', b'{"a": 12,}'),
    ],
)
def test_invalid_json_is_kept_without_force(now: bytes, forced: bytes | None) -> None:
    undone = undo_content("/x.json", None, b'{"a": 1}', now)
    assert undone.content == now
    assert "no longer valid JSON" in undone.kept[0]
    assert undo_content("/x.json", None, b'{"a": 1}', now, force=True).content == forced


BREAKS: dict[str, Callable[[str], str]] = {
    "comma at the end": lambda text: text[: text.rindex("\n}")] + ',\n    "theirs": 1,' + text[text.rindex("\n}") :],
    "comma missing": lambda text: text.replace('"keep": 1,', '"keep": 1,\n    "theirs": [1, 2]', 1),
    "comment": lambda text: text.replace("{\n", "{\n    // theirs: don't touch\n", 1),
    "comment behind": lambda text: text.replace('"keep": 1,', '"keep": 1, # theirs', 1),
    "brace lost": lambda text: text.rstrip().removesuffix("}") + '    "theirs": "x"\n',
    "words": lambda text: text + "theirs\n",
    "words above": lambda text: "theirs\n" + text,
    "conflict marks": lambda text: text.replace('    "keep"', '<<<<<<< theirs\n    "keep"', 1),
    "key twice": lambda text: text.replace('"keep": 1,', '"keep": 1,\n    "keep": "theirs",', 1),
    "quotes": lambda text: text.replace('"keep": 1,', "'theirs': 1, \"keep\": 1,", 1),
    "blanks": lambda text: "{ theirs " + re.sub(r"\n *", "\n\t", text[1:]).replace(": ", " :  "),
    "CRLF": lambda text: text.replace("\n", "\r\n") + "theirs\r\n",
    "encoding": lambda text: text.replace('"keep": 1,', '"keep": 1, "theirs": "\udcff" 1,', 1),
    "another member": lambda text: text.replace('"http://ours"', '"http://ours" "http://theirs"', 1),
    "deep": lambda text: text.replace('"keep": 1,', '"keep": 1, "theirs": ' + "[" * 3000 + ",", 1),
}


@pytest.mark.parametrize("name", BREAKS)
def test_force_removes_our_parts_from_an_invalid_document(name: str) -> None:
    """Every byte of others stays; a key that we removed is not put back, and that is said."""
    now = BREAKS[name](JSON_AFTER.decode()).encode("utf-8", "surrogateescape")
    assert b"theirs" in now
    plain = undo_content("/etc/docker/daemon.json", JSON_BEFORE, JSON_AFTER, now)
    assert plain.content == now
    assert "no longer valid JSON" in plain.kept[0]
    forced = undo_content("/etc/docker/daemon.json", JSON_BEFORE, JSON_AFTER, now, force=True)
    assert forced.content is not None
    assert forced.kept == ("gone is not restored",)
    text = forced.content.decode("utf-8", "surrogateescape")
    assert '"local"' in text
    assert not any(ours in text for ours in ("http://ours", "json-file", "log-opts", "max-size", "features"))
    rest = re.sub(r"\s|,", "", now.decode("utf-8", "surrogateescape")).replace('"json-file"', '"local"', 1)
    for ours in ('"http://ours"', '"log-opts":{"max-size":"10m"}', '"features":{"ours":true}'):
        rest = rest.replace(ours, "", 1)
    assert re.sub(r"\s|,", "", text) == rest


def test_ambiguous_parts_of_an_invalid_document_are_kept_and_reported() -> None:
    def forced(now: str) -> Undone:
        return undo_content("/x.json", b'{"k": 1}', b'{"k": 2, "a": {"b": 1}, "l": ["x"]}', now.encode(), force=True)

    assert forced('{"k": 3, "l": ["y"],}') == Undone(
        b'{"k": 3, "l": ["y"],}', ("k was edited, or occurs more than once", "l is kept with its content")
    )
    assert forced('{"k": 2, "k": 2,}').kept == ("k was edited, or occurs more than once",)
    assert forced('{"k": 2, "a": {"b').content == b'{"k": 1, "a": {"b'
    assert forced('{"k": 2, "a": {"b').kept == ("a is kept with its content",)
    assert forced('{\n// "k": 2,\n"c": 1,}') == Undone(b'{\n// "k": 2,\n"c": 1,}')


def test_json_of_random_edits() -> None:
    """Any two documents: ours goes, theirs stays, whatever the shape."""

    def value(source: random.Random, depth: int) -> object:
        kind = source.randint(0, 6 if depth < 3 else 3)
        if kind == 4:
            return [value(source, depth + 1) for _ in range(source.randint(0, 3))]
        if kind >= 5:
            return {source.choice("abcdef"): value(source, depth + 1) for _ in range(source.randint(0, 3))}
        return (1, "x", True, None)[kind]

    for number in range(ROUNDS * 5):
        source = random.Random(f"{seed()}:json:{number}")
        before = {source.choice("abcdef"): value(source, 0) for _ in range(3)}
        after = {**before, **{source.choice("abcdefgh"): value(source, 0) for _ in range(2)}}
        theirs = {f"their{at}": value(source, 0) for at in range(2)}
        indent = source.choice((None, 2, "\t"))
        one, two, now = (json.dumps(each, indent=indent).encode() for each in (before, after, {**after, **theirs}))
        undone = undo_content("/x.json", one, two, now)
        message = f"seed {seed()}, round {number}: {before} {after} {undone.content!r}"
        assert undone.kept == (), message
        assert json.loads(undone.content or b"") == {**before, **theirs}, message


@pytest.mark.parametrize(
    "edited", [b"#1100 ALL=(ALL) NOPASSWD: ALL", b"# #1100 ALL=(ALL:ALL) ALL", b"#1100 a=(b) /c"]
)
def test_an_edited_rule_of_sudoers_is_seen_as_one(edited: bytes) -> None:
    """A UID in sudoers begins with the sign of comments."""
    after = b"# of bai-wizard\n#1100 ALL=(ALL:ALL) ALL\n"
    now = b"# of bai-wizard\n" + edited + b"\n#1200 ALL=(ALL) ALL\n# theirs\n"
    undone = undo_content("/etc/sudoers.d/bai-wizard", None, after, now)
    assert undone.kept == (f"a line was edited: {edited.decode()}",)
    assert undone.content == edited + b"\n#1200 ALL=(ALL) ALL\n# theirs\n"
    forced = undo_content("/etc/sudoers.d/bai-wizard", None, after, now, force=True)
    assert forced == Undone(b"#1200 ALL=(ALL) ALL\n# theirs\n")
