"""Values in files with their own grammar: the owner's parser reads back what was written, or it is refused."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

import bai_wizard
from bai_wizard.core import parse
from bai_wizard.core.parse import Unrepresentable
from bai_wizard.offline.packages import KEY_OF
from bai_wizard.pages.tuning.boot_sysctl import parse as parse_sysctl
from bai_wizard.pages.tuning.pam_limits import parse_limits

# What breaks out of one grammar or another.
HOSTILE = (
    "a\nb", "a\r\nb", "a\0b", 'a"b', "a'b", "a;b", "{", "}", "{{ 7 }}",
    "{% x %}", "%h", "%%", "%41", "$HOME", "$(id)",
    "`id`", "\\", "\\\\", "\\n", "a\\", "#", "# x", " #", "a # b", "", " ", " a", "a ", "\t", "a\tb",
    "\x1b[2J", "\x85",
    "\u2028", "\x9b", "é", "한", "//", "/* x */", "ALL", "~/x", "a:~/x", "=", "[x]", ",", "a,b", "-x", "!x", "*",
    'http://127.0.0.1";APT{Update{Pre-Invoke{"cd;id>X"}}};Z"1',
)  # fmt: skip
texts = some.one_of(
    some.sampled_from(HOSTILE),
    some.text(some.sampled_from("ab/:.-_@=,*[]!~+%$`'\"\\#;{}()<>|&? \t\n\0\x1b\x7f\x85\u2028é"), max_size=12),
    some.text(max_size=8),
)
# Each example starts a program; the explicit ones hold every hostile value.
quick = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


def needs(program: str) -> pytest.MarkDecorator:
    result = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return pytest.mark.skipif(result is None, reason=f"{program} is not installed")


def representable(quote: Callable[[str], str], values: list[str]) -> list[str]:
    """The values that the grammar can hold; the others are refused before anything is written."""
    result = []
    for value in values:
        try:
            quote(value)
        except Unrepresentable as error:
            message = str(error)
            assert len(value) < 4 or value not in message
        else:
            result.append(value)
    return result


def output(*argv: str, **environment: str) -> str:
    done = subprocess.run(
        argv, capture_output=True, check=True, timeout=30, env={"PATH": "/usr/sbin:/usr/bin:/bin", **environment}
    )
    assert not done.stderr, done.stderr
    return done.stdout.decode()


everything = some.lists(texts, max_size=12)


@needs("apt-config")
@quick
@given(everything)
@example(list(HOSTILE))
def test_apt_reads_back_its_values(tmp_path: Path, values: list[str]) -> None:
    values = representable(parse.apt_value, values)
    file = tmp_path / "apt.conf"
    file.write_text("".join(f"T::N{n} {parse.apt_value(value)};\n" for n, value in enumerate(values)))
    message = output("apt-config", "dump", "--no-empty", "--format", "%f=%v%n", "T", APT_CONFIG=str(file))
    wanted = [f"T::N{n}={value}" for n, value in enumerate(values) if value]
    assert message.splitlines() == wanted


@needs("apt-config")
@quick
@given(everything)
@example(list(HOSTILE))
def test_apt_reads_back_its_scopes(tmp_path: Path, names: list[str]) -> None:
    names = list({name.lower(): name for name in representable(parse.apt_scope, names)}.values())
    file = tmp_path / "apt.conf"
    file.write_text("".join(f'T::{parse.apt_scope(name)} "x";\n' for name in names))
    message = output("apt-config", "dump", "--no-empty", "--format", "%f=%v%n", "T", APT_CONFIG=str(file))
    assert sorted(message.splitlines()) == sorted(f"T::{name}=x" for name in names)


@needs("apt-get")
@quick
@given(everything)
@example(list(HOSTILE))
def test_apt_reads_back_the_fields_of_a_source(tmp_path: Path, values: list[str]) -> None:
    """As suites and components: a value that were two words, or another field, would give other files to fetch."""
    values = list(dict.fromkeys(representable(lambda value: parse.deb822_words([value]), values)))
    # apt normalizes other characters before it prints them; `test_a_word_of_deb822_…` covers those.
    values = [value for value in values if re.fullmatch(r"[A-Za-z0-9_+-]+", value)] or ["main"]
    (tmp_path / "lists/partial").mkdir(parents=True, exist_ok=True)
    words = parse.deb822_words(values)
    (tmp_path / "x.sources").write_text(f"Types: deb\nURIs: http://h/\nSuites: {words}\nComponents: {words}\n")
    settings = (
        "Dir::Etc::SourceList=/dev/null", f"Dir::Etc::SourceParts={tmp_path}",
        f"Dir::State::Lists={tmp_path}/lists", f"Dir::Cache={tmp_path}",
    )  # fmt: skip
    message = output("apt-get", *(word for one in settings for word in ("-o", one)), "--print-uris", "update")
    result = re.findall(r"^'http://h/dists/([^/]+)/([^/]+)/binary-", message, re.MULTILINE)
    printed = {(unquote(suite), unquote(component)) for suite, component in result}  # a `+` as %2b
    assert printed == {(suite, component) for suite in values for component in values}


@needs("apt-get")
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(some.lists(texts, max_size=3))
@example(list(HOSTILE))
def test_apt_finds_the_directory_of_a_flat_repository(tmp_path: Path, names: list[str]) -> None:
    """Every directory is a source of its own in one file: each gives its package, and nothing else is asked."""
    names = [name for name in names if "/" not in name and "\0" not in name and name not in ("", ".", "..")]
    names = list(dict.fromkeys(representable(lambda name: parse.apt_directory(f"/{name}"), names)))
    paths = [(number, Path(tempfile.mkdtemp(dir=tmp_path)) / name) for number, name in enumerate(names)]
    for number, directory in paths:
        directory.mkdir()
        control = (
            f"Package: x{number}\nVersion: 1\nArchitecture: all\nFilename: ./x.deb\nSize: 1\nSHA256: {'0' * 64}\n"
        )
        (directory / "Packages").write_text(control)
    lines = [f"deb [trusted=yes] {parse.apt_directory(str(directory))} ./\n" for _, directory in paths]
    file = Path(tempfile.mkdtemp(dir=tmp_path)) / "sources.list"
    file.write_text("".join(lines))
    (file.parent / "lists/partial").mkdir(parents=True)
    words = (
        f"Dir::Etc::SourceList={file}", "Dir::Etc::SourceParts=/dev/null", f"Dir::State::Lists={file.parent}/lists",
        f"Dir::Cache={file.parent}", "APT::Sandbox::User=root", "Dir::State::Status=/dev/null",
    )  # fmt: skip
    options = [word for one in words for word in ("-o", one)]
    subprocess.run(["apt-get", *options, "update"], capture_output=True, check=True, timeout=60)
    result = output("apt-cache", *options, "pkgnames").split()
    assert sorted(result) == sorted(f"x{number}" for number, _ in paths)


@given(texts)
def test_the_path_of_a_key_is_one_word_of_an_apt_source(value: str) -> None:
    """In both formats of a source; no option, source or further key is added."""
    for path in representable(parse.apt_key_path, [f"/{value}"]):
        assert path == parse.apt_key_path(path)
        assert not set(path) & set(" \t\n[],=")
        assert KEY_OF.findall(f"[signed-by={path}]") == [("signed-by=", path)]


@given(texts)
def test_a_word_of_deb822_is_one_word_on_one_line(value: str) -> None:
    for kept in representable(lambda text: parse.deb822_words([text]), [value]):
        assert parse.deb822_words([kept]).split() == [kept]
        assert kept.isascii()
        assert kept.isprintable()


@needs("git")
@quick
@given(everything)
@example(list(HOSTILE))
def test_git_reads_back_its_values(tmp_path: Path, values: list[str]) -> None:
    values = representable(parse.git_value, values)
    file = tmp_path / "gitconfig"
    file.write_text("[t]\n" + "".join(f"\tn{n} = {parse.git_value(value)}\n" for n, value in enumerate(values)))
    message = output("git", "config", "--file", str(file), "--list", "--null")
    assert message == "".join(f"t.n{n}\n{value}\0" for n, value in enumerate(values))


@needs("findmnt")
@quick
@given(some.lists(some.tuples(texts, texts), max_size=6))
@example([(value, value) for value in HOSTILE])
def test_libmount_reads_back_the_fields_of_fstab(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    file = tmp_path / "fstab"
    wanted, lines = [], []
    for source, option in pairs:
        if not representable(parse.fstab_name, [source]) or not representable(
            lambda text: parse.fstab_options([text]), [option]
        ):
            continue
        wanted.append((source, f"/m/{source}", option))
        names = f"{parse.fstab_name(source)} {parse.fstab_name(f'/m/{source}')}"
        lines.append(f"{names} nfs {parse.fstab_options([option])} 0 0\n")
    file.write_text("".join(lines))
    assert [(entry[0], entry[1], entry[3]) for entry in strict_fstab(file.read_text())] == wanted
    # findmnt tidies paths up and prints control characters in its own way: compared is what it prints as it is.
    plain = re.compile(r"(?!(?:/|.*//|.*/$|.*=|[A-Z]+=))[!-~]+(?: [!-~]+)*")
    if wanted and all(plain.fullmatch(source) for source, _, _ in wanted):
        message = output("findmnt", "--fstab", "--tab-file", str(file), "--json", "--output", "SOURCE,TARGET,OPTIONS")
        result = [(one["source"], one["target"], one["options"]) for one in flat(json.loads(message)["filesystems"])]
        assert sorted(result) == sorted(wanted)


def flat(entries: list[dict[str, object]]) -> list[dict[str, str]]:
    result: list[dict[str, str]] = []
    for entry in entries:
        children = entry.pop("children", [])
        assert isinstance(children, list)
        result += [{key: str(value) for key, value in entry.items()}, *flat(children)]
    return result


def strict_fstab(text: str) -> list[list[str]]:
    """As mount(8) reads it: fields between blanks and tabs, octal escapes; six of them, or the test fails."""
    result = []
    for line in text.split("\n"):
        if line:
            fields = re.split("[ \t]+", line)
            assert len(fields) == 6, fields
            assert not fields[0].startswith("#")
            result.append([re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field) for field in fields])
    return result


@needs("bash")
@quick
@given(everything)
@example(list(HOSTILE))
def test_shells_read_back_words_and_environments(tmp_path: Path, values: list[str]) -> None:
    for quote in (parse.shell_word, parse.environment_file_value, parse.environment_value):
        kept = representable(quote, values)
        file = tmp_path / "script"
        file.write_text("".join(f"V{n}={quote(value)}\n" for n, value in enumerate(kept)))
        show = "".join(f'printf "%s\\0" "$V{n}";' for n in range(len(kept)))
        message = output("bash", "--norc", "-c", f". {file}; {show}", LC_ALL="C.UTF-8", HOME="/h")
        assert message == "".join(f"{value}\0" for value in kept)


@given(texts)
def test_pam_reads_back_the_environment(value: str) -> None:
    """pam_env ends a value at '#', takes quotes off, joins lines behind a backslash and strips blanks."""
    for kept in representable(parse.environment_value, [value]):
        assert not set(parse.environment_value(kept)) & set("#\"'\\ \t\r\n\0$`~;&|<>(){}!")


def read_unit_words(text: str) -> list[str]:
    """A value of a unit as systemd reads it: words, quotes, its C-like escapes, then specifiers."""
    escapes = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "s": " "}
    words: list[str] = []
    word, quote, at = "", "", 0
    begun = False
    while at < len(text):
        character = text[at]
        if character == "\\":
            word, at, begun = word + escapes[text[at + 1]], at + 2, True
            continue
        if quote and character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote, begun = character, True
        elif not quote and character in " \t":
            words, word, begun = [*words, word] if begun else words, "", False
        else:
            word, begun = word + character, True
        at += 1
    assert not quote
    words = [*words, word] if begun else words
    for word in words:
        assert not re.search(r"%[^%]|%$", word.replace("%%", "")), f"a specifier is left in {word!r}"
    return [word.replace("%%", "%") for word in words]


@given(texts, texts)
def test_systemd_reads_back_the_words_of_a_unit(one: str, other: str) -> None:
    values = representable(parse.unit_word, [one, other])
    line = " ".join(parse.unit_word(value) for value in values)
    assert "\n" not in line
    assert not line.endswith("\\")
    assert read_unit_words(line) == values


@needs("systemd-analyze")
def test_systemd_finds_no_fault_with_hostile_words(tmp_path: Path) -> None:
    values = representable(parse.unit_word, list(HOSTILE))
    unit = tmp_path / "grammar.service"
    lines = [f"Environment={parse.unit_word(f'N{n}={value}')}" for n, value in enumerate(values)]
    unit.write_text("\n".join(["[Service]", "Type=oneshot", "ExecStart=/bin/true", *lines, ""]))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert "grammar.service" not in done.stderr, done.stderr


@given(texts)
def test_systemd_sysctl_reads_back_assignments(value: str) -> None:
    for kept in representable(lambda text: parse.sysctl_line("net.core.somaxconn", text), [value]):
        line = parse.sysctl_line("net.core.somaxconn", kept)
        (result,) = parse_sysctl("f", "f", line)
        assert (result.key.replace("/", "."), result.value) == ("net.core.somaxconn", kept)
    for key in representable(lambda text: parse.sysctl_line(text, "1"), [value]):
        assert not re.search(r"[\s=#;*?\[]|^-", key)


@given(texts, some.sampled_from(["1", "unlimited", "-1", "1 2", "1\n* hard nproc 1"]))
def test_pam_limits_reads_back_lines(user: str, amount: str) -> None:
    def line(name: str) -> str:
        return parse.limits_line(name, "hard", "nofile", amount)

    for kept in representable(line, [user]):
        (result,) = parse_limits("f", line(kept))
        assert (result.domain, result.sort, result.item) == (kept, "hard", "nofile")
        assert kept[0] not in "@%*:#-"


@given(texts, texts)
def test_resolvers_read_back_lines_of_hosts(name: str, remark: str) -> None:
    try:
        line = parse.hosts_line("10.0.0.1", [name], remark, 20)
    except Unrepresentable:
        return
    assert line.isprintable()
    assert re.split("[ \t]+", line.partition("#")[0].strip()) == ["10.0.0.1", name]


@given(texts)
@example("{{ ''.__class__ }}{%{#{{{")
def test_a_template_renders_literal_text(value: str) -> None:
    """cloud-init renders its template of /etc/hosts as root; Jinja's three openings must not survive."""
    ours = "{{ '{' }}"
    text = parse.jinja_text(value)
    assert text.replace(ours, "{") == value.replace(ours, "{") or ours in value
    assert not re.search(r"\{[{%#]", text.replace(ours, "\0"))


@given(texts)
def test_a_key_stays_one_line(value: str) -> None:
    for kept in representable(parse.ssh_key_line, [value]):
        assert kept.splitlines() in ([kept], [])
        assert not kept.startswith("#")


@given(texts)
def test_a_comment_stays_one_line(value: str) -> None:
    assert parse.comment(value).isprintable()


@pytest.mark.parametrize("uid", [0, -1, -(2**31)])
def test_no_sudoers_rule_is_for_root_or_all_users(uid: int) -> None:
    with pytest.raises(Unrepresentable):
        parse.sudoers_user(uid)


# What puts text into a file of the node. Everything that calls one of these is listed below with how its values are
# written: by functions of `grammars`, as JSON, or without any value at all.
WRITERS = {
    "WriteFile", "DropIn", "OptionalDropIn", "SysctlFile", "LoginLimits", "KernelModules", "NouveauOff", "EditBlock",
    "EditLines", "rewrite", "PrivateFile",
}  # fmt: skip
CONSTANT = ("constant",)  # or numbers
JSON = ("json",)
# Bytes that came from a file, or lines of others that become comments or are put back.
COPIED = ("copied",)
WRITTEN_BY: dict[str, tuple[str, ...]] = {
    "answers/schema.py": JSON,
    "node/package_tool.py": ("apt_directory",),
    "resources/files.py": COPIED,
    "resources/trees_apply.py": COPIED,
    "pages/accelerators/check_containers.py": CONSTANT,
    "pages/accelerators/check_gpus.py": CONSTANT,
    "offline/packages.py": ("apt_key_path", "steps/apt_sources.py:deb822_words"),
    "offline/manifest.py": ("path_fault", "control_fault"),  # JSON and SHA256SUMS
    "offline/use_bundle.py": ("offline/manifest.py:path_fault", "offline/manifest.py:control_fault"),
    "engine/unmerge.py": COPIED,
    "engine/signature.py": COPIED,
    "pages/accelerators/check_driver.py": CONSTANT,
    "pages/accelerators/plan.py": ("module_name",),
    "pages/accelerators/nvidia/plan.py": CONSTANT,
    "pages/accelerators/nvidia/nvlink_steps.py": CONSTANT,
    "pages/aliases/plan.py": ("jinja_text",),
    "pages/docker/plan.py": ("unit_word", "environment_file_value"),
    "pages/node/plan.py": ("pages/node/steps.py:apt_value", "pages/node/steps.py:apt_scope",
                           "pages/node/steps.py:environment_value", "pages/node/steps.py:git_value"),
    "pages/storage/check_mounts.py": COPIED,
    "pages/tuning/checks.py": COPIED,
    "pages/tuning/plan.py": ("module_name", "pages/tuning/sysctl.py:sysctl_line",
                             "pages/tuning/sysctl.py:comment", "pages/tuning/limits.py:limits_line"),
    "pages/tuning/files.py": COPIED,
    "pages/tuning/check_limits.py": CONSTANT,
    "pages/docker/packages.py": ("deb822_words", "comment", *CONSTANT),
    "steps/apt_sources.py": ("deb822_words", "comment"),
    "pages/account/steps.py": ("ssh_key_line", *COPIED, "sudoers_user", "comment"),
    "steps/docker.py": JSON + COPIED + COPIED,
    "steps/files.py": COPIED,
    "pages/aliases/steps.py": ("steps/hosts_lines.py:hosts_line", *COPIED),
    "pages/accelerators/steps.py": ("comment",),
    "pages/storage/mount_steps.py": ("pages/storage/fstab.py:fstab_name", "pages/storage/fstab.py:fstab_options",
                                     "pages/storage/fstab.py:fstab_word"),
    "pages/accelerators/nvidia/steps.py": COPIED + CONSTANT,
    "pages/node/steps.py": CONSTANT + COPIED,
    "pages/python/steps.py": ("shell_word",),
    "steps/services.py": CONSTANT,
    "pages/storage/volume_steps.py": CONSTANT,
}  # fmt: skip


def names_in(path: Path) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}


def test_every_writer_of_a_file_declares_its_quoting() -> None:
    package = Path(bai_wizard.__file__).parent
    result = {}
    for path in sorted(package.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        imported = {
            alias.name
            for node in nodes
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith(
                tuple(f"bai_wizard.{name}" for name in ("core", "resources", "steps", "pages"))
            )
            for alias in node.names
        }
        imported |= {node.name for node in nodes if isinstance(node, ast.ClassDef)}
        calls = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        methods = {
            node.func.attr for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        if calls & WRITERS & imported or methods & {"write_text", "write_bytes", "writelines"}:
            result[path.relative_to(package).as_posix()] = path
    assert set(result) == set(WRITTEN_BY), "say in WRITTEN_BY how a new writer's values are quoted"
    for location, ways in WRITTEN_BY.items():
        for way in ways:
            if (way,) in (CONSTANT, JSON, COPIED):
                continue
            module, _, function = way.rpartition(":")
            assert function in names_in(package / (module or location)), f"{location} does not use {way}"


def test_every_kind_of_step_that_writes_a_file_is_watched() -> None:
    """A new subclass of a writing step is a writer as well."""
    from bai_wizard.steps.files import DropIn, EditBlock, EditLines

    every: list[type] = [DropIn, EditBlock, EditLines]
    for kind in every:
        every += kind.__subclasses__()
    assert {kind.__name__ for kind in every} <= WRITERS
