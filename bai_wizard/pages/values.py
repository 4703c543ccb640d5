"""The sorts of text that answers are made of, each with the sentence that is shown when a text is not of that sort.

A sentence reads on from the key: «account.home: must be an absolute path …». It never repeats the value, which
may be a secret typed into the wrong place.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from bai_wizard.core.secret import Secret


class Shape:
    """A text that matches a regular expression as a whole; with `empty`, or is empty («by default»)."""

    def __init__(self, pattern: str, reason: str, *, empty: bool = False) -> None:
        self.pattern = f"^(?:{pattern})?$" if empty else f"^(?:{pattern})$"
        self.reason = reason

    def check(self, text: str) -> str:
        """The text itself. Raises ValueError with the reason."""
        if "\n" in text or not re.search(self.pattern, text):
            raise ValueError(self.reason)
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}


_PATH = r"/(?!.*(?:^|/)\.\.(?:/|$))[^\x00-\x1f\x7f]*"
_PATH_REASON = "must be an absolute path such as /data, without '..' and control characters"
AbsolutePath = Annotated[str, Shape(_PATH, _PATH_REASON)]
PathOrEmpty = Annotated[str, Shape(_PATH, _PATH_REASON + ", or empty for the default", empty=True)]

# Local names as adduser takes them by default are checked by the account page; a directory may have others.
UserName = Annotated[
    str,
    Shape(
        r"[A-Za-z_][A-Za-z0-9_.@-]{0,31}",
        "must be a user or group name: a letter or '_', then letters, digits, '_', '.', '@' or '-', at most 32",
    ),
]

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*"
HostName = Annotated[
    str,
    Shape(
        rf"(?![0-9.]+$){_HOST}",
        "must be a host name: letters, digits and '-' in parts joined by dots, and no address",
    ),
]
HostPattern = Annotated[
    str,
    Shape(r"[A-Za-z0-9.*?\[\]!-]+", "must be a host name or a pattern such as bai-a*, where * stands for any text"),
]

_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?"
RegistryHost = Annotated[
    str,
    Shape(_REGISTRY, "must be a registry's host such as harbor.corp or harbor.corp:5000, without http:// and path"),
]
RegistryPrefix = Annotated[
    str,
    Shape(
        rf"{_REGISTRY}(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*",
        "must be a registry and a project such as harbor.corp/bai, without http://",
        empty=True,
    ),
]
InsecureRegistry = Annotated[
    str,
    Shape(
        rf"{_REGISTRY}(?:/[0-9]{{1,3}})?", "must be a host such as harbor.corp:5000 or a network such as 10.0.0.0/8"
    ),
]
ImageReference = Annotated[
    str,
    Shape(
        rf"(?:{_REGISTRY}/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
        r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
        "must be an image such as cr.backend.ai/stable/python:3.9-ubuntu20.04",
    ),
]

WebUrl = Annotated[
    str, Shape(r"https?://[^\s/]+(?:/\S*)?", "must be an address that begins with http:// or https://", empty=True)
]
MirrorUrl = Annotated[
    str,
    Shape(
        r"(?:https?://[^\s/]+(?:/\S*)?|file:///\S*)",
        "must be an address that begins with http://, https:// or file:///",
        empty=True,
    ),
]
GivenUrl = Annotated[
    str, Shape(r"https?://[^\s/]+(?:/\S*)?", "must be an address that begins with http:// or https://")
]
GitUrl = Annotated[
    str,
    Shape(
        r"(?:(?:https?|ssh|git)://[^\s/]+/\S+|file:///\S+)",
        "must be the address of a git repository: https://, ssh://, git:// or file:///",
        empty=True,
    ),
]

Release = Annotated[
    str,
    Shape(
        r"[0-9]{2}\.[0-9]{1,2}(?:\.[0-9]+)?(?:(?:a|b|rc)[0-9]+)?",
        "must be a release such as 26.4 or 26.4.10",
        empty=True,
    ),
]
PythonVersion = Annotated[
    str,
    Shape(
        r"auto|[0-9]+\.[0-9]+(?:\.[0-9]+)?",
        'must be "auto", a minor version such as 3.13 or an exact one such as 3.13.7',
    ),
]
PackageVersion = Annotated[
    str, Shape(r"[A-Za-z0-9][A-Za-z0-9.+:~*-]*", "must be a version such as 28 or 5:28.5.1", empty=True)
]
Requirement = Annotated[
    str, Shape(r"[A-Za-z0-9][^\x00-\x1f]*", "must be a package as pip takes it, such as backend.ai-agent==26.4.10")
]
SysctlKey = Annotated[
    str, Shape(r"[a-z0-9_]+(?:[./][A-Za-z0-9_:@-]+)+", "must be a kernel parameter such as net.core.somaxconn")
]
OctalMode = Annotated[str, Shape(r"[0-7]{3,4}", 'must be an octal mode in quotes, such as "0755"')]
Sha256 = Annotated[str, Shape(r"[0-9a-f]{64}", "must be a sha256 in hex: 64 digits 0-9 and a-f")]
ByteSize = Annotated[str, Shape(r"[1-9][0-9]*[kmg]", "must be a size such as 100m: a number, then k, m or g")]
ServiceName = Annotated[
    str, Shape(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "must be a name of letters, digits, '-' and '_'")
]
VolumeName = Annotated[
    str,
    Shape(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "must be a volume's name: letters, digits, '.', '-' and '_', no '/'"),
]
UnitName = Annotated[
    str,
    Shape(r"[A-Za-z0-9:_.@\\-]{1,200}", "must be the name of a systemd service, such as docker or backendai-agent"),
]
EnvironmentName = Annotated[
    str, Shape(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "must be the name of an environment variable, not its value")
]
PortRange = Annotated[
    str,
    Shape(
        r"auto|[0-9]{1,5}(?:-[0-9]{1,5})?", 'must be "auto", a port such as "6001" or a range such as "30000-31000"'
    ),
]
CheckId = Annotated[
    str, Shape(r"[a-z0-9]+(?:[.-][a-z0-9]+)*", "must be the id of a check, such as tuning.boot-winner")
]
MountOptions = Annotated[
    str, Shape(r"[^\s,#]+(?:,[^\s,#]+)*", "must be mount options joined by commas, without blanks", empty=True)
]
OneLine = Annotated[str, Shape(r"[^\x00-\x1f\x7f]*", "must be one line without control characters")]
SshKey = Annotated[
    str,
    Shape(
        r"(?:[^\x00-\x1f]+ )?(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)"
        r"|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{40,}={0,3}(?: [^\x00-\x1f]*)?",
        "must be one public key as in authorized_keys, such as ssh-ed25519 AAAA… name",
    ),
]


def check_address(text: str) -> str:
    """An IPv4 or IPv6 address without a zone. Raises ValueError with the reason."""
    from ipaddress import ip_address

    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address such as 10.20.30.10") from None
    if "%" in text:
        raise ValueError("must be an address without a zone such as %eth0")
    if address.is_unspecified or address.is_multicast:
        raise ValueError("must be the address of one host; this one belongs to none")
    return text


def check_network(text: str) -> str:
    """A network in CIDR form without host bits. Raises ValueError with the reason."""
    from ipaddress import ip_network

    try:
        ip_network(text)
    except ValueError:
        raise ValueError("must be a network such as 172.30.0.0/16, with no bits set behind its length") from None
    return text


IpAddress = Annotated[str, AfterValidator(check_address)]
Network = Annotated[str, AfterValidator(check_network)]


def check_password_hash(value: object) -> Secret:
    """A crypt(5) hash of a method that is still safe. Raises ValueError with the reason, never with the value."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\$(y|gy|7|2[aby]|6|5)\$[^\s:!*]{20,500}", value):
        raise ValueError("must be a password hash as in /etc/shadow, of the methods $y$, $gy$, $7$, $2b$, $6$ or $5$")
    return Secret(value)
