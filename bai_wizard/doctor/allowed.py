"""What may appear in a support bundle: known words, and numbers where numbers are harmless.

Secrets have no particular form: a PIN is a number, and a passphrase consists of words in any language. A word is
therefore never shown because it does not look like a secret, but only because the wizard, or one of the tools whose
logs are read, uses it.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

from bai_wizard.core.secret import MASK

# Longer lines are truncated before they are searched.
LONGEST_LINE = 4096
CUT = " [cut]"
LEFT_OUT = "[omitted]"

# Words that a secret may follow, in English, Korean, German, Japanese, Chinese, French and Spanish.
_SECRETIVE = re.compile(
    r"(?i)pass|pwd|(?<![a-z])pw(?![a-z])|(?<![a-z])pin(?![a-z])|secret|token|credential|community|api.?key|private|salt"
    r"|비밀|암호|비번|패스|토큰|인증|열쇠|핀|접속키|kennwort|geheim|losung|schl(?:ü|ue)ssel|zugang|パスワード|暗証|密码|密碼"
    r"|口令|mot de passe|contrase|clave"
    # Commands that take a secret as an argument.
    r"|\b(?:echo|printf|send|expect|sudo|curl|wget|login|chpasswd|passwd)\b|<<<"
)
# Lines in which the secret precedes such a word.
_BEFORE = re.compile(
    r"(?i)\|\s*(?:sudo|chpasswd|passwd|login|curl|gpg)\b|\bis (?:the |my |our |your )?(?:pass|pin\b|secret)"
)
# Lines after which the secret is on the next line.
_ON_THE_NEXT_LINE = re.compile(r"[:=]\s*$")
_STAND_IN = re.compile(r"(?:host|user|domain|registry|address|mail|mac|run)-\d{1,5}(?::\d{0,5})?")
_PCI = re.compile(r"(?:PCI:)?[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-7])?")
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)?|\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
)
_EDGE = re.compile(r"[\"'`()\[\]{}<>,;:.!?|&#*=]*")
_PIECE = re.compile(r"[^\W_]+")
# Characters that join the parts of a word; any other character within a word is typical of passwords.
_JOINED = re.compile(r"[\w.+~:@()\[\]{},'\"<>|;-]*")
# Without letters: a small number, seconds since boot, a version, two small numbers.
_NUMBERS = re.compile(
    r"[+-]?\d{1,3}%?|\d{1,5}\.\d{6}|\d{1,3}[-:+,]\d{1,3}"
    r"|(?:\d{1,2}:)?(?:\d{1,3}|20\d\d)(?:\.\d{1,3}){1,3}(?:\.\d{1,5})?(?:[+~-]\d{1,4})?(?:[.+~-]\d{1,2}){0,3}"
)
_COUNTED_NUMBER = re.compile(r"\d{4,5}(?:-\d{4,5})?")
# With letters: text that contains a version, which may contain a date.
_VERSION = re.compile(r"(?:^|[:+~_v-])\d{1,4}\.\d{1,4}(?!\d)")
_DATE = re.compile(r"20\d{6}")
_NAME_WITH_NUMBER = re.compile(r"([a-z]{1,10})(\d{1,3})")
_NUMBER_WITH_UNIT = re.compile(r"\d{1,6}([a-z]{1,4})")
_REVISION = re.compile(
    r"\d{1,3}(?:ubuntu|build|deb|dfsg|ds|nmu|u)\d{1,3}|(?:deb|ubuntu|dfsg|git|rc|bpo)\d{1,8}(?:u\d{1,3})?"
)
_OPTION = re.compile(r"[\"'(\[]{0,4}-{1,2}[A-Za-z][^\d]{0,64}\d")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A number of four or more digits is shown only next to one of these words.
_COUNTED = _words(
    """
    port pid process line bytes byte s ms us ns mb mib gb gib kb kib pages files inodes uid gid processes limit size
    total sectors blocks hz
    """
)
# `key=value` is shown for these keys; the value is judged like any other word.
_KEYS = _words(
    """
    level time msg error err status code exited exit reason signal type name module driver version commit container id
    image event topic namespace pid uid gid unit path device fstype options state result size count total free port
    protocol method spec storage-driver graphdriver apparmor operation profile comm class capability family
    requested_mask denied_mask fsuid ouid flags mtu rate order mode node cpus mems oom_memcg task_memcg task anon-rss
    file-rss shmem-rss gfp_mask oom_score_adj constraint nodemask cpuset root ro quiet splash resource runtime
    """
)
_NUMERIC_KEYS = _words("pid uid gid port size count total free mtu order")
# Devices, interfaces and releases that end in a number. People choose passwords such as `docker123`.
_NUMBERED = _words(
    """
    sd vd xvd eth en ens eno enp ib ibp lo md dm sr loop nvme cpu gpu br bond veth tty mlx ipv nfs ext xfs cgroup
    overlay python cuda libc lib deb ubuntu rc release u ds dfsg build git vol
    """
)
_UNITS = _words("s ms us ns m h d b k kb kib mb mib g gb gib t tb tib mhz ghz hz th st nd rd x bit w c v")
_MIXED = _words(
    """
    iscsi nvidia gib mib kib tib mhz ghz khz nvme nvlink pcie overlayfs ttrpc grpc buildkit apparmor networkmanager
    """
)


@cache
def vocabulary() -> frozenset[str]:
    """Return every word of our own code and data, and the listed words of logs, in lower case."""
    own = Path(__file__).resolve().parents[1]
    # These two files contain the names and forms of secrets.
    skipped = ("allowed.py", "secrets.py")
    texts = [path.read_text(encoding="utf-8") for path in sorted(own.rglob("*.py")) if path.name not in skipped]
    texts += [path.read_text(encoding="utf-8") for path in sorted((own / "data").glob("*.toml"))]
    texts += [(own / "data" / "log-words.txt").read_text(encoding="utf-8")]
    result = set()
    for text in texts:
        # Digests and keys in the data are not words, and neither are the letters between two of their digits.
        for word in re.findall(r"[A-Za-z0-9]+", text):
            if len(word) <= 20 and (word.isalpha() or _NAME_WITH_NUMBER.fullmatch(word.lower())):
                result.add(word.lower())
    return frozenset(result)


def _mentioned() -> str:
    from bai_wizard.doctor.search import known_failures

    return " ".join(text for failure in known_failures() for text in failure.texts)


@cache
def _spelled() -> frozenset[str]:
    """Words with capitals inside, as written in those messages."""
    return frozenset(re.findall(r"[A-Za-z0-9]+", _mentioned()))


@cache
def _sayings() -> frozenset[str]:
    """Words that may follow one such as `password`: words of the messages known to the search, and function words."""
    output = _mentioned().lower()
    grammar = (
        "a an and are at be been by can cannot for from has have in is it its no not of off on or the to was with"
    )
    return frozenset(re.findall(r"[a-z]+", output)) | _words(grammar)


@cache
def _phrases() -> frozenset[tuple[str, str]]:
    """Each pair of consecutive words in those known messages that contain a word such as `password`."""
    return frozenset((first, _unquoted(second)) for first, second in _raw_pairs())


@cache
def _raw_pairs() -> frozenset[tuple[str, str]]:
    from bai_wizard.doctor.search import known_failures

    texts = [text.lower().split() for failure in known_failures() for text in failure.texts]
    about = (text for text in texts if _SECRETIVE.search(" ".join(text)))
    return frozenset((_unquoted(first), second) for text in about for first, second in pairwise(text))


def _follows(first: str, second: str) -> bool:
    return (_unquoted(first), _unquoted(second)) in _phrases()


@cache
def _before_gaps() -> frozenset[str]:
    """The words of those messages that precede a variable part."""
    return frozenset(first for first, second in _raw_pairs() if second.startswith(("<", "'<", '"<', "(<", "[<")))


def _unquoted(word: str) -> str:
    return word.strip("\"'`()[]{}<>,").lower()


def cut_line(text: str) -> str:
    """Truncate a line that is too long. Its last word is dropped: it may be a fragment of a secret."""
    if len(text) <= LONGEST_LINE:
        return text
    return text[: LONGEST_LINE - len(CUT)].rpartition(" ")[0] + CUT


class Line:
    """A line with its unknown words masked, and the numbers of known and unknown words."""

    def __init__(self, text: str, before: str = "", original: str = "") -> None:
        """`before` is the preceding line.

        `original` is the line before secrets of known forms were masked in it: a masked word may have been the one
        that tells that the rest of the line is a secret.
        """
        text = cut_line(text)
        assigned = _ASSIGNED.fullmatch(text)
        if assigned is not None and is_parameter(assigned.group(1)) and is_measure(assigned.group(2)):
            self.text, self.known, self.unknown = text, 3, 0
            return
        self.known = self.unknown = 0
        secretive = _SECRETIVE.search(text)
        begin = secretive.start() if secretive else len(text)
        if len(_SECRETIVE.findall(original)) > len(_SECRETIVE.findall(text)):
            begin = min(begin, text.find(MASK))
        if _BEFORE.search(original or text) or (
            _ON_THE_NEXT_LINE.search(before[-80:]) and _SECRETIVE.search(before[-80:])
        ):
            begin = -1
        words = list(re.finditer(r"\S+", text))
        shown, at = [], 0
        # After a word such as `password`, a passphrase may consist of ordinary words: only known messages are shown,
        # matched word by word from that word on.
        in_phrase = False
        for index, match in enumerate(words):
            before = words[index - 1].group() if index else ""
            after = words[index + 1].group() if index + 1 < len(words) else ""
            counted = _plain(before) in _COUNTED or _plain(after) in _COUNTED
            # `-p 471` and `-p471`.
            glued = bool(_OPTION.match(match.group()))
            strict = match.end() > begin or before.startswith("-") or glued
            # One word of a passphrase may match by chance: the message must continue after it.
            goes_on = not after or _follows(match.group(), after) or _unquoted(match.group()) in _before_gaps()
            in_phrase = match.start() <= begin or (in_phrase and goes_on and _follows(before, match.group()))
            if strict and (glued or before.startswith("-") or not in_phrase) and any(map(str.isalnum, match.group())):
                word = MASK
            else:
                word = shown_word(match.group(), counted and not strict, strict)
            if MASK in word and MASK not in match.group():
                self.unknown += 1
            else:
                self.known += 1
            shown += [text[at : match.start()], word]
            at = match.end()
        self.text = "".join(shown) + text[at:]

    @property
    def says_something(self) -> bool:
        """Whether at least half of the words are known."""
        return self.known >= self.unknown


def allowed(text: str) -> tuple[str, int]:
    """Return the text with the unknown words of its lines masked, and the number of masked words."""
    texts = text.split("\n")
    lines = [Line(line, before) for before, line in zip(("", *texts), texts, strict=False)]
    return "\n".join(line.text for line in lines), sum(line.unknown for line in lines)


_PARAMETER = re.compile(r"(?:net|vm|kernel|fs|user|dev)(?:[./][a-z0-9_]{1,40}){1,6}|logins: [a-z]{2,16}")
_MEASURE = re.compile(r"(?:\d{1,20}|unlimited)(?:[ \t:,]{1,8}(?:\d{1,20}|unlimited)){0,64}")
_ASSIGNED = re.compile(r"(\S{1,120}) = (.{1,200})")


def is_parameter(text: str) -> bool:
    """Whether the text names a kernel parameter or a login limit."""
    return bool(_PARAMETER.fullmatch(text)) and all(map(_is_word, re.findall(r"[a-z0-9]+", text)))


def _is_word(chunk: str) -> bool:
    return _is_piece(chunk, False)


def is_measure(value: object) -> bool:
    """Whether a value consists only of numbers, as the values of such parameters do."""
    return isinstance(value, str) and bool(_MEASURE.fullmatch(value))


def allowed_id(text: str) -> str:
    """Mask an id such as `docker.engine` or `storage.mount.vol1`, part by part; a time is returned unchanged."""
    if _TIME.fullmatch(text):
        return text
    return re.sub(r"[^.\s]+", lambda match: _shown_part(match.group(), False, False), text)


def _plain(word: str) -> str:
    return word.strip("\"'`()[]{}<>,;:.!?=").lower()


@lru_cache(1 << 16)
def shown_word(word: str, counted: bool, strict: bool) -> str:
    """A word between two blanks. `counted`: it is next to a unit; `strict`: it may be a secret."""
    lead = _EDGE.match(word).group()  # type: ignore[union-attr]  # it also matches the empty string
    rest = word[len(lead) :]
    trail = _EDGE.match(rest[::-1]).group()[::-1]  # type: ignore[union-attr]
    core = rest[: len(rest) - len(trail)] if trail else rest
    if not core:
        return word
    if _TIME.fullmatch(core) and not strict:
        return word
    if "=" in core.partition("/")[0]:
        key, _, value = core.partition("=")
        name = key.strip("\"'").lower()
        if name in _KEYS:
            shown = f"{key}={shown_word(value, name in _NUMERIC_KEYS, strict)}"
        else:
            shown = f"{_shown_part(key, False, strict)}={MASK}"
    elif "/" in core and not core.startswith("-"):
        shown = "/".join(_shown_part(part, False, strict) if part else part for part in core.split("/"))
    else:
        shown = _shown_part(core, counted, strict)
    return lead + shown + trail


def _shown_part(part: str, counted: bool, strict: bool) -> str:
    return part if _is_allowed(part, counted, strict) else MASK


def _is_allowed(part: str, counted: bool, strict: bool) -> bool:
    part = part.replace(MASK, "")
    if _STAND_IN.fullmatch(part) or (not strict and _PCI.fullmatch(part)):
        return True
    if not part.isascii() or not _JOINED.fullmatch(part.removesuffix("%")) or len(part) > 120:
        return False
    digits = sum(map(str.isdigit, part))
    if not any(map(str.isalpha, part)):
        if strict:
            return not digits
        return bool(_NUMBERS.fullmatch(part) or (counted and _COUNTED_NUMBER.fullmatch(part)))
    if strict:
        return not digits and _sayings().issuperset(piece.lower() for piece in _PIECE.findall(part))
    # A version may contain a date; other words have few digits.
    is_version = bool(_VERSION.search(part))
    pieces = _PIECE.findall(part)
    if is_version and sum(piece.isdigit() and len(piece) > 3 for piece in pieces) > 1:
        return False
    if not is_version and (digits > 6 or sum(map(_is_mixed, pieces)) > 1):
        return False
    return all(_is_piece(piece, is_version) for piece in pieces)


def _is_mixed(chunk: str) -> bool:
    """Whether letters and digits are mixed, as in a license key; words of our vocabulary are excluded."""
    return not chunk.isalpha() and not chunk.isdigit() and chunk.lower() not in vocabulary()


def _is_piece(chunk: str, in_version: bool) -> bool:
    if chunk.isdigit():
        return len(chunk) <= (5 if in_version else 3) or (in_version and bool(_DATE.fullmatch(chunk)))
    small = chunk.lower()
    if chunk in _spelled():
        return True
    # Consistent letter case within a word: `Restart`, `restart`, `RESTART`.
    if small in vocabulary():
        return chunk in (small, small.upper(), small.capitalize()) or small in _MIXED
    if len(chunk) == 1:
        return True
    named = _NAME_WITH_NUMBER.fullmatch(small)
    if named is not None:
        return len(named.group(2)) <= 2 and (named.group(1) in _NUMBERED or len(named.group(1)) == 1)
    unit = _NUMBER_WITH_UNIT.fullmatch(small)
    if unit is not None:
        return unit.group(1) in _UNITS
    return bool(_REVISION.fullmatch(small))


# The known formats of log lines.
_JOURNAL = re.compile(
    r"(\d{4}-\d\d-\d\dT[\d:.,]{8,20}(?:Z|[+-]\d\d:?\d\d)) \S{1,256} ([\w@.-]{1,64})(?:\[\d{1,10}\])?: (.*)"
)
_LOG_UNITS = frozenset(
    ("kernel", "systemd", "dockerd", "docker", "containerd", "mount", "rpcbind", "sm-notify", "nfsidmap", "modprobe")
)
_LOG_UNIT_FAMILIES = ("systemd-", "rpc.", "nfs-", "containerd-shim")


def journal_line(line: str) -> str | None:
    """Time, unit and message of a known unit. The host is left out; it is the same for the whole bundle."""
    match = _JOURNAL.fullmatch(line)
    if match is None:
        return None
    when, unit, message = match.groups()
    return f"{when} {unit}: {message}" if unit in _LOG_UNITS or unit.startswith(_LOG_UNIT_FAMILIES) else None


_PACKAGE = r"[a-z0-9][a-z0-9+.-]{1,127}(?::[a-z0-9-]{1,20})?"
_PACKAGE_VERSION = r"(?:\d{1,3}:)?\d[A-Za-z0-9.+~-]{0,80}"
_APT_ITEM = re.compile(rf"{_PACKAGE} \({_PACKAGE_VERSION}(?:, (?:{_PACKAGE_VERSION}|automatic)){{0,2}}\)")
_APT_DATE = re.compile(r"(?:Start|End)-Date: \d{4}-\d\d-\d\d {1,2}\d\d:\d\d:\d\d")
_APT_ACTIONS = ("Install", "Upgrade", "Remove", "Purge", "Reinstall", "Downgrade")


def apt_line(line: str) -> str | None:
    """Action and packages from apt's history. Never the command line, which may contain anything, or the user."""
    action, _, rest = line.partition(": ")
    if _APT_DATE.fullmatch(line) or action == "Error":
        return line
    if action not in _APT_ACTIONS:
        return None
    items = [item if item.endswith(")") else f"{item})" for item in rest.split("), ")]
    known = [item for item in items if _APT_ITEM.fullmatch(item)]
    # Long lines are truncated; the package names before that point are enough.
    return f"{action}: {', '.join(known)}" if known else None


_DPKG = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?:"
    r"startup (?:archives|packages) (?:install|unpack|configure|remove|purge)"
    rf"|status [a-z-]{{1,20}} {_PACKAGE} {_PACKAGE_VERSION}"
    rf"|(?:install|upgrade|configure|trigproc|remove|purge) {_PACKAGE} (?:{_PACKAGE_VERSION}|<none>)"
    rf" (?:{_PACKAGE_VERSION}|<none>))"
)


def dpkg_line(line: str) -> str | None:
    """Package states from dpkg's log. Names of configuration files are left out."""
    return line if _DPKG.fullmatch(line) else None
