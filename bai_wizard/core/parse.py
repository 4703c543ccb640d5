"""Bounded parsing of external text: numbers, JSON, TOML, and the grammars of other programs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from bai_wizard.core.errors import StateUnknown, StepBlocked

# Maximum digits of a number: 2**64 has 20, and Python raises its own ValueError from 4301 digits on.
MAX_DIGITS = 40
MAX_LEVELS = 100


class Malformed(StateUnknown, ValueError):
    """External data cannot be parsed. The value is unknown, not absent. Also a ValueError, as raised by `int`."""


def is_whole(text: str) -> bool:
    """Whether `text` is a count in ASCII digits of a plausible length."""
    return text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS


def whole(text: str | bytes | float | int, base: int = 10) -> int:
    """`int(text, base)` for ASCII text of at most MAX_DIGITS characters, or a finite number. Raises Malformed."""
    try:
        if not isinstance(text, str | bytes):
            return int(text)
        stripped = text.strip()
        if len(stripped) <= MAX_DIGITS and stripped.isascii():
            return int(stripped, base)
    except (ValueError, OverflowError):
        pass
    raise Malformed(f"{_short(text)} is not a whole number")


def count(value: object) -> int:
    """Return a count reported by a program; 0 for anything else, including implausibly large values."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value < 1 << 63 else 0


def real(text: str) -> float:
    """Parse a finite number. Raises Malformed for anything else, including `nan` and `inf`."""
    try:
        number = float(text) if len(text) <= MAX_DIGITS else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Malformed(f"{_short(text)} is not a number")
    return number


# The systemd manager of a user and its helper (sd-pam); the units that it starts are in other cgroups.
_USER_MANAGER = re.compile(r"/user@\d+\.service/init\.scope$", re.MULTILINE)


def is_user_manager(cgroup: str) -> bool:
    """Whether the text of /proc/PID/cgroup is that of a systemd user manager itself.

    logind starts the manager with the first session and stops it seconds after the last one. It does no work itself.
    """
    return _USER_MANAGER.search(cgroup) is not None


# A container's full ID in its cgroup path, whichever engine and cgroup driver created it.
_CONTAINER = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def container_of(cgroup: str) -> str:
    """Return the ID of the container in the text of /proc/PID/cgroup; empty outside of containers."""
    found = _CONTAINER.findall(cgroup)
    return found[-1] if found else ""


def json_value(text: str | bytes, what: str = "the text") -> Any:
    """`json.loads`. Raises Malformed for invalid JSON, excessive nesting, overlong numbers and invalid UTF-8."""
    try:
        result = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what} is not valid JSON: {_why(error)}") from error
    if is_deep(result):
        raise Malformed(f"{what} is nested too deep")
    return result


def os_release(text: str) -> dict[str, str]:
    """Return the values of os-release(5) by name, without quotes."""
    return dict(re.findall(r"^([A-Z_]+)=[\"']?(.*?)[\"']?[ \t\r]*$", text, re.MULTILINE))


def is_deep(value: Any) -> bool:
    """Whether lists and objects are nested deeper than MAX_LEVELS; writing and comparing them is recursive."""
    level = [value]
    for _ in range(MAX_LEVELS):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def json_object(text: str | bytes, what: str = "the text") -> dict[str, Any]:
    """Parse a JSON object; empty text is an empty object. Raises Malformed."""
    result = json_value(text, what) if text.strip() else {}
    if not isinstance(result, dict):
        raise Malformed(f"{what} does not contain a JSON object")
    return result


def toml_table(text: str, what: str = "the text") -> dict[str, Any]:
    """`tomllib.loads`. Raises Malformed."""
    import tomllib

    # Nested and dotted keys have quadratic cost.
    if any(line.count(".") > 64 or line.count("[") > 64 for line in text.split("\n")):
        raise Malformed(f"{what} is nested too deep")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what} is not valid TOML: {_why(error)}") from error


def _why(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else str(error)[:200]


def _short(text: object) -> str:
    return repr(text if not isinstance(text, str | bytes) else text[:40])


# Values in files with their own grammar: one function per grammar.
#
# Each returns text that the file's parser reads back as exactly the same value, or raises Unrepresentable. Answers
# are validated when they are read; these functions are the final check for values from all sources.


class Unrepresentable(StepBlocked):
    """A value that cannot be expressed in a file's grammar. The message never repeats the value."""


def _require(pattern: str, text: str, what: str, allowed: str) -> str:
    if not re.fullmatch(pattern, text):
        raise Unrepresentable(f"{what} cannot be written: {allowed}")
    return text


def _require_printable(text: str, what: str) -> None:
    if not text.isprintable():
        raise Unrepresentable(f"{what} cannot be written: it has control characters")


def comment(text: str) -> str:
    """Text after a comment sign. It is never parsed, so control characters become spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def apt_value(text: str) -> str:
    """A quoted apt.conf(5) value. The format has no escapes, and some versions decode `%XX`."""
    allowed = "only printable ASCII without double quotes, backslashes or percent signs"
    return '"' + _require(r"[ !#-$&-\[\]-~]*", text, "a value of apt.conf", allowed) + '"'


def apt_scope(text: str) -> str:
    """Part of an apt.conf(5) option name, such as a host."""
    return _require(r"[A-Za-z0-9][A-Za-z0-9.-]*", text, "a name in apt.conf", "only letters, digits, '.' and '-'")


def deb822_words(values: Iterable[str]) -> str:
    """The space-separated values of one field in sources.list.d/*.sources or preferences.d."""
    allowed = "only printable ASCII without spaces"
    return " ".join(_require(r"[!-~]+", value, "a field of an apt source or pin", allowed) for value in values)


def apt_directory(path: str) -> str:
    """The URI of a directory in sources.list(5).

    apt decodes `%XX` in `file:` URIs one more time than it encodes it.
    """
    allowed = "only printable characters other than percent signs"
    if not path.startswith("/") or not path.isprintable() or "%" in path:
        raise Unrepresentable(f"the directory of an apt source cannot be written: {allowed}")
    return f"file:{quote(path)}"


def apt_key_path(path: str) -> str:
    """The path of a key in `signed-by` of an apt source, in one-line or deb822 format."""
    allowed = "only printable ASCII without spaces, brackets, commas or equal signs"
    return _require(r"/[!-+\--<>-Z\\^-~]+", path, "the path of a key of an apt source", allowed)


def environment_value(text: str) -> str:
    """A value in /etc/environment that pam_env, systemd and shells all read in the same way."""
    allowed = "only letters, digits and . _ : / @ % + , = [ ] * -"
    return _require(r"[A-Za-z0-9._:/@%+,=\[\]*-]*", text, "a value of /etc/environment", allowed)


def git_value(text: str) -> str:
    """A value in a git-config(1) file, quoted if necessary."""
    if re.fullmatch(r"[A-Za-z0-9._~:/@%+,=\[\]*!-]+", text):
        return text
    _require_printable(text, "a value of git's configuration")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def unit_word(text: str) -> str:
    """A quoted word of a systemd unit setting (systemd.syntax(7)), with `%` doubled to prevent specifier expansion.

    Not for ExecStart= and similar settings, which also expand `$`.
    """
    _require_printable(text, "a value of a systemd unit")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def environment_file_value(text: str) -> str:
    """A quoted value for a file read through EnvironmentFile= (systemd.exec(5))."""
    _require_printable(text, "a value of an environment file")
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'


def shell_word(text: str) -> str:
    """A double-quoted word of a POSIX shell script."""
    _require_printable(text, "a word of a shell script")
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'


# Parameters whose value is a program that the kernel runs as root.
_PROGRAMS = ("kernel.modprobe", "kernel.hotplug", "kernel.poweroff_cmd")


def starts_a_program(key: str, value: str) -> bool:
    """Whether the value of a kernel parameter is a program that the kernel runs as root."""
    name = key.replace("/", ".")
    is_pipe = name == "kernel.core_pattern" and value.lstrip().startswith("|")
    return is_pipe or name in _PROGRAMS or name.startswith("fs.binfmt_misc.")


def sysctl_line(key: str, value: str) -> str:
    """A sysctl.d(5) assignment. Quotes would become part of the value, and there are no escapes."""
    _require(
        r"[A-Za-z0-9_][A-Za-z0-9_.:/@-]*", key, "a kernel parameter's name", "only letters, digits and _ . : / @ -"
    )
    if not value.replace("\t", " ").isprintable() or not re.fullmatch(
        r"[^\s\"'#;\\](?:[^\"'#;\\]*[^\s\"'#;\\])?", value
    ):
        raise Unrepresentable(
            f"the value of {key} cannot be written: it must be one line without quotes, backslashes, '#' or ';'"
        )
    if starts_a_program(key, value):
        raise Unrepresentable(f"{key} is not written: its value is a program that the kernel would start as root")
    return f"{key} = {value}"


def limits_line(domain: str, kind: str, item: str, value: str) -> str:
    """A limits.conf(5) line for one user. A domain must not be a group (`@`, `%`), a range (`:`) or a wildcard."""
    _require(r"[A-Za-z_][A-Za-z0-9_.@-]*", domain, "a user in limits.d", "only letters, digits and _ . @ -")
    _require(r"[a-z]+", kind + item, "a limit", "only lowercase letters")
    _require(r"[0-9]+|unlimited", value, "a limit", 'only a number or "unlimited"')
    return f"{domain} {kind} {item} {value}"


def module_name(text: str) -> str:
    """A kernel module name in modules-load.d(5) or modprobe.d(5)."""
    return _require(
        r"[A-Za-z0-9_][A-Za-z0-9_-]*", text, "a kernel module's name", "only letters, digits, '_' and '-'"
    )


def decode_octal(field: str) -> str:
    """Decode the octal escapes in a field of fstab or mountinfo: they are bytes, which need not be UTF-8."""
    if "\\" not in field:
        return field
    data = field.encode("utf-8", "surrogateescape")
    data = re.sub(rb"\\([0-7]{3})", lambda match: bytes((int(match[1], 8) & 0xFF,)), data)
    return data.decode("utf-8", "surrogateescape")


def fstab_name(text: str) -> str:
    """The source or mount point in an fstab(5) line; characters that would end or comment out a field are escaped.

    Other escapes are not used: systemd before 256 decodes only these, as getmntent(3) does.
    """
    if not re.fullmatch(r"[^\0-\x08\x0b-\x1f\x7f]+", text):
        raise Unrepresentable("a field of fstab cannot be written: it is empty or has control characters")
    if text.startswith("#"):
        raise Unrepresentable("a field of fstab cannot be written: it starts with '#'")
    return re.sub(r"[ \t\n\\]", lambda match: f"\\{ord(match[0]):03o}", text)


def fstab_options(options: Iterable[str]) -> str:
    """The options in an fstab(5) line. A comma or quote in a value would start another option."""
    allowed = "only printable ASCII without spaces, commas, quotes, backslashes or '#'"
    return ",".join(_require(r"[!$-&(-+\--\[\]-~]+", option, "a mount option", allowed) for option in options)


def fstab_word(text: str) -> str:
    """The type or one of the numbers in an fstab(5) line."""
    return _require(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text, "a field of fstab", "only letters, digits, '_', '.' and '-'")


def hosts_line(ip: str, names: Iterable[str], remark: str = "", width: int = 0) -> str:
    """A hosts(5) line; names are padded to `width` columns before a comment."""
    _require(r"[0-9A-Fa-f:.]+", ip, "an address in /etc/hosts", "only an IPv4 or IPv6 address")
    listed = [_require(r"[A-Za-z0-9_.-]+", name, "a name in /etc/hosts", "only letters and digits") for name in names]
    if not listed:
        raise Unrepresentable(f"{ip} cannot be written to /etc/hosts: it has no name")
    if "#" in remark:
        raise Unrepresentable("a comment in /etc/hosts cannot be written: it contains a '#'")
    text = " ".join(listed)
    return f"{ip} {text:<{width}}  # {comment(remark)}" if remark else f"{ip} {text}"


def jinja_text(text: str) -> str:
    """Literal text in a Jinja template, such as those that cloud-init renders as root at every boot."""
    return re.sub(r"\{(?=[{%#])|(?<=\{)\{", "{{ '{' }}", text)


def ssh_key_line(text: str) -> str:
    """An authorized_keys line (sshd(8))."""
    if not text.isprintable() or text.lstrip() != text or text.startswith("#"):
        raise Unrepresentable("a public key cannot be written: it must be one line without control characters")
    return text


def sudoers_user(uid: int) -> str:
    """A sudoers(5) user by UID: a name could be ALL, an alias, a group or a netgroup."""
    if uid < 1:
        raise Unrepresentable("a sudoers rule is never written for root or a negative user ID")
    return f"#{uid}"
