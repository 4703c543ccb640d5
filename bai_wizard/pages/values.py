"""Types of text values in answers, each with the message shown for an invalid value.

A message continues the key: "account.home: must be an absolute path …". It never repeats the value, which may be a
secret entered in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from bai_wizard.core.display import is_visible
from bai_wizard.core.secret import Secret, has_credentials

# Such values are shown in plans, and written to files and command lines that every user can read.
CREDENTIALS = (
    "must not contain a user name, password, token or signature, because plans, process lists and world-readable"
    " files would show it. Put it in ~/.netrc of the service account (pip, uv, git) or in /etc/apt/auth.conf.d (apt)"
)


# For use in a character class: characters that control the terminal (C0, DEL, C1), reorder adjacent text, break the
# line, or are invisible. Values appear in plans, files and screens, and invisible text cannot be reviewed.
HIDDEN = r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
INVISIBLE = "must not contain control characters, line separators or invisible characters"


class Pattern:
    """A text that matches a regular expression completely; with `empty`, it may also be empty (meaning the default).

    `public` texts are or contain URLs, and must not contain credentials. `longest` is in characters; it also limits
    the time that the expression may take.
    """

    def __init__(
        self, pattern: str, reason: str, *, empty: bool = False, public: bool = False, longest: int = 4096
    ) -> None:
        self.pattern = f"^(?:{pattern})?$" if empty else f"^(?:{pattern})$"
        self.reason = reason
        self.public = public
        self.longest = longest

    def check(self, text: str) -> str:
        """Return the text. Raises ValueError with the reason if it is invalid."""
        if len(text) > self.longest:
            raise ValueError(f"is too long; at most {self.longest} characters are allowed")
        if self.public and has_credentials(text):
            raise ValueError(CREDENTIALS)
        if "\n" in text or not re.search(self.pattern, text):
            raise ValueError(self.reason)
        if not is_visible(text):
            raise ValueError(INVISIBLE)
        return text

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of such a text."""
        return {"type": "string", "maxLength": self.longest, "pattern": self.pattern}


class Check(msgspec.Struct, eq=False):
    """A check other than a pattern: returns the value to use, or raises ValueError with the reason."""

    check: Callable[[Any], Any]
    schema: Mapping[str, Any]


_PATH = rf"/(?!.*(?:^|/)\.\.(?:/|$))[^{HIDDEN}]*"
_PATH_REASON = "must be an absolute path, such as /data, without '..' or control characters"
AbsolutePath = Annotated[str, Pattern(_PATH, _PATH_REASON)]
PathOrEmpty = Annotated[str, Pattern(_PATH, _PATH_REASON + ", or empty for the default", empty=True)]

# Whether adduser accepts a local name by default is checked by the account page; a directory may have other names.
UserName = Annotated[
    str,
    Pattern(
        r"[A-Za-z_][A-Za-z0-9_.@-]{0,31}",
        "must be a user or group name: a letter or '_', then up to 31 letters, digits, '_', '.', '@' or '-'",
    ),
]

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*"
HostName = Annotated[
    str,
    Pattern(
        rf"(?![0-9.]+$){_HOST}",
        "must be a host name: letters, digits and '-' in parts joined by dots, not an address",
    ),
]
HostPattern = Annotated[
    str,
    Pattern(r"[A-Za-z0-9.*?\[\]!-]+", "must be a host name or a pattern, such as bai-a*, where * matches any text"),
]

_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?"
RegistryHost = Annotated[
    str,
    Pattern(_REGISTRY, "must be a registry host such as harbor.corp or harbor.corp:5000, without http:// and path"),
]
RegistryPrefix = Annotated[
    str,
    Pattern(
        rf"{_REGISTRY}(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*",
        "must be a registry and a project, such as harbor.corp/bai, without http://",
        empty=True,
    ),
]
InsecureRegistry = Annotated[
    str,
    Pattern(
        rf"{_REGISTRY}(?:/[0-9]{{1,3}})?",
        "must be a host, such as harbor.corp:5000, or a network, such as 10.0.0.0/8",
    ),
]
ImageReference = Annotated[
    str,
    Pattern(
        rf"(?:{_REGISTRY}/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
        r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
        "must be an image, such as cr.backend.ai/stable/python:3.9-ubuntu20.04",
    ),
]

# A host in a URL that ends up in a file with a grammar of its own: ASCII only, IPv6 in brackets.
URL_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
_URL_PATH = r"[!#-&(-;=?-\[\]_a-z~]*"
_WEB_URL = rf"https?://{URL_HOST}(?::[0-9]{{1,5}})?(?:/{_URL_PATH})?"
_FILE_URL = rf"file:///[^\s\"'\\<>^`{{|}}{HIDDEN}]*"
WebUrl = Annotated[
    str, Pattern(_WEB_URL, "must be a URL that starts with http:// or https://", empty=True, public=True)
]
MirrorUrl = Annotated[
    str,
    Pattern(
        rf"(?:{_WEB_URL}|{_FILE_URL})",
        "must be a URL that starts with http://, https:// or file:///",
        empty=True,
        public=True,
    ),
]
BundleSource = Annotated[
    str,
    Pattern(
        rf"{_PATH}|{_WEB_URL}",
        "must be an absolute path such as /media/usb/bundle, or a URL that starts with http:// or https://",
        empty=True,
        public=True,
    ),
]
GivenUrl = Annotated[str, Pattern(_WEB_URL, "must be a URL that starts with http:// or https://", public=True)]
WheelSource = Annotated[
    str,
    Pattern(
        rf"{_WEB_URL}|{_FILE_URL}|/[^{HIDDEN}]*",
        "must be a directory such as /srv/wheels or a URL that starts with http://, https:// or file:///",
        public=True,
    ),
]
GitUrl = Annotated[
    str,
    Pattern(
        rf"(?:(?:https?|git)://{URL_HOST}(?::[0-9]{{1,5}})?/{_URL_PATH}"
        rf"|ssh://(?:[A-Za-z0-9._-]+@)?{URL_HOST}(?::[0-9]{{1,5}})?/{_URL_PATH}|{_FILE_URL})",
        "must be the URL of a git repository: https://, ssh://, git:// or file:///",
        empty=True,
        public=True,
    ),
]

Release = Annotated[
    str,
    Pattern(
        r"[0-9]{2}\.[0-9]{1,2}(?:\.[0-9]+)?(?:(?:a|b|rc)[0-9]+)?",
        "must be a release, such as 26.4 or 26.4.16",
        empty=True,
    ),
]
# From the oldest minor version in the catalogue of builds to the one after its newest, which pyenv or a mirror may
# have first. No minor version of CPython has had more than 30 patch releases.
PythonVersion = Annotated[
    str,
    Pattern(
        r"auto|3\.(?:[89]|1[0-6])(?:\.[1-9]?[0-9])?",
        'must be "auto", a minor version from 3.8 to 3.16, such as 3.13, or an exact version such as 3.13.7',
    ),
]
PackageVersion = Annotated[
    str, Pattern(r"[A-Za-z0-9][A-Za-z0-9.+:~*-]*", "must be a version, such as 28 or 5:28.5.1", empty=True)
]
Requirement = Annotated[
    str,
    Pattern(
        rf"[A-Za-z0-9][^{HIDDEN}]*",
        "must be a package requirement for pip, such as backend.ai-agent==26.4.16",
        public=True,
    ),
]
SysctlKey = Annotated[
    str, Pattern(r"[a-z0-9_]+(?:[./][A-Za-z0-9_:@-]+)+", "must be a kernel parameter, such as net.core.somaxconn")
]
OctalMode = Annotated[str, Pattern(r"[0-7]{3,4}", 'must be an octal mode in quotes, such as "0755"')]
Sha256 = Annotated[str, Pattern(r"[0-9a-f]{64}", "must be a SHA-256 in hex: 64 digits 0-9 and a-f")]
ByteSize = Annotated[
    str, Pattern(r"[1-9][0-9]*[kmg]", "must be a size, such as 100m: a number followed by k, m or g")
]
ServiceName = Annotated[
    str, Pattern(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "must be a name that consists of letters, digits, '-' and '_'")
]
VolumeName = Annotated[
    str,
    Pattern(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "must be a volume name: letters, digits, '.', '-' and '_', without '/'"
    ),
]
UnitName = Annotated[
    str,
    Pattern(r"[A-Za-z0-9:_.@\\-]{1,200}", "must be the name of a systemd service, such as docker or backendai-agent"),
]
Argument = Annotated[str, Pattern(rf"[^{HIDDEN}]+", "must be one line of text", public=True)]
CredentialName = Annotated[
    str, Pattern(r"(?!\.{1,2}$)[A-Za-z0-9_.@:-]{1,255}", "must be the name of a systemd credential, not its value")
]
EnvironmentName = Annotated[
    str, Pattern(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "must be the name of an environment variable, not its value")
]
PortRange = Annotated[
    str,
    Pattern(
        r"auto|[0-9]{1,5}(?:-[0-9]{1,5})?",
        'must be "auto", a port, such as "6001", or a range, such as "30000-31000"',
    ),
]
CheckId = Annotated[str, Pattern(r"[a-z0-9]+(?:[.-][a-z0-9]+)*", "must be a check ID, such as tuning.boot-winner")]
# The characters that core.grammars.fstab_options accepts.
_OPTION = r"[!$-&(-+\--\[\]-~]+"
MountOptions = Annotated[
    str,
    Pattern(
        rf"{_OPTION}(?:,{_OPTION})*",
        "must be mount options separated by commas, in ASCII, without spaces, quotes, backslashes or '#'",
        empty=True,
        public=True,
    ),
]
OneLine = Annotated[str, Pattern(rf"[^{HIDDEN}]*", "must be one line without control characters")]
SshKey = Annotated[
    str,
    Pattern(
        rf"(?:[^{HIDDEN}]+ )?(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)"
        rf"|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{{40,}}={{0,3}}(?: [^{HIDDEN}]*)?",
        "must be a public key as in authorized_keys, such as ssh-ed25519 AAAA… name",
        longest=8192,
    ),
]


def check_address(text: str) -> str:
    """Check an IPv4 or IPv6 address without a zone. Raises ValueError with the reason."""
    from ipaddress import ip_address

    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address, such as 10.20.30.10") from None
    if "%" in text:
        raise ValueError("must be an address without a zone, such as %eth0")
    if address.is_unspecified or address.is_multicast:
        raise ValueError("must be the address of a single host")
    return text


def check_network(text: str) -> str:
    """Check a network in CIDR notation without host bits. Raises ValueError with the reason."""
    from ipaddress import ip_network

    try:
        ip_network(text)
    except ValueError:
        raise ValueError("must be a network such as 172.30.0.0/16, with no host bits set") from None
    return text


IpAddress = Annotated[str, Check(check_address, {"type": "string"})]
Network = Annotated[str, Check(check_network, {"type": "string"})]


def check_password_hash(value: object) -> Secret:
    """Check for a crypt(5) hash of a secure method. Raises ValueError with the reason, never with the value."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\$(y|gy|7|2[aby]|6|5)\$[^\s:!*]{20,500}", value):
        raise ValueError("must be a password hash as in /etc/shadow, of method $y$, $gy$, $7$, $2b$, $6$ or $5$")
    return Secret(value)
