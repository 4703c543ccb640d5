"""What apt and dpkg say when something is wrong, turned into a cause and the next thing to do.

The texts are apt's and dpkg's own in the locale C; where they were seen is told in tests/pages/docker.
"""

from __future__ import annotations

import re

# Warnings of `apt-get update`, which ends with 0 then, that a list is missing or old (apt-pkg/acquire-item.cc).
NOT_READ = r"Failed to fetch|GPG error|repository is not updated|is no(?:t| longer) signed|index files failed"
# Pattern over everything the tool said, the cause with its remedy. The first that fits counts: the more special
# ones stand above the more general.
CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"dpkg was interrupted, you must manually run",
        "an earlier package installation was cut off. Run «dpkg --configure -a» as root, then repeat",
    ),
    (
        r"Could not get lock (?P<what>\S+)|Unable to acquire the dpkg frontend lock",
        "another program holds the package manager's lock ({what}). Wait until it ends, then repeat; never delete"
        " the lock file",
    ),
    (
        r"Conflicting values set for option Signed-By regarding source (?P<what>[^:]+:\S+ \S+): (?P<more>.+)",
        "two source files name the same repository ({what}) with different keys ({more}). Keep one of them",
    ),
    (
        r"NO_PUBKEY (?P<what>[0-9A-F]+)|Missing key (?P<more>[0-9A-F]{8,})",
        "the repository is signed with a key that is not in place ({what}{more}), or whose file apt's own user _apt"
        " cannot read (mode 0644 in a directory of mode 0755). Put the right key there, then repeat",
    ),
    (
        r"EXPKEYSIG (?P<what>[0-9A-F]+)",
        "the repository's signing key {what} has expired. Get the current key from its owner",
    ),
    (
        r"BADSIG (?P<what>[0-9A-F]+)",
        "the repository's signature is bad ({what}): a proxy or mirror altered the files. Use another mirror",
    ),
    (
        r"is not valid yet \(invalid for another (?P<what>[^)]+)\)|is not yet valid|not live until",
        "this node's clock is behind ({what}), so the repository looks as if from the future. Set the clock right",
    ),
    (
        r"Release file for (?P<what>\S+) is expired",
        "the repository {what} is older than its own date of expiry: the mirror is stale or this node's clock is"
        " ahead. Check the clock, or name another mirror",
    ),
    (
        r"The repository '(?P<what>[^']+)' does not have a Release file",
        "there is no repository at {what}: the address is wrong or it has nothing for this release of the system",
    ),
    (
        r"The repository '(?P<what>[^']+)' is not signed",
        "the repository {what} is not signed by a key that is in place. Put the right key there, then repeat",
    ),
    (
        r"Hash Sum mismatch|File has unexpected size|Mirror sync in progress",
        "a file is not what the repository's list says (hash sum mismatch): the mirror is being updated or a proxy"
        " keeps an old copy. Repeat in some minutes, or name another mirror",
    ),
    (
        r"No space left on device|You don't have enough free space in (?P<what>\S+)",
        "the disk is full ({what}). Make room, then repeat; a half installed package is completed by"
        " «dpkg --configure -a»",
    ),
    (
        r"407\s+Proxy Authentication Required",
        "the proxy wants a name and a password. Put them into network.proxy",
    ),
    (
        r"Temporary failure resolving '(?P<what>[^']+)'|Could not resolve '(?P<more>[^']+)'",
        "the name {what}{more} cannot be resolved: no DNS server answers, or the node reaches the outside only"
        " through a proxy (network.proxy)",
    ),
    (
        r"(?:Could not connect to|Cannot initiate the connection to|Unable to connect to) (?P<what>[^\s:]+\S*)",
        "no connection to {what}: a firewall, no route, or the node reaches the outside only through a proxy"
        " (network.proxy)",
    ),
    (
        r"certificate verification failed|Certificate verification failed: (?P<what>[^\n]+)",
        "the server's certificate is not trusted ({what}). Name your CA in network.ca_certificates",
    ),
    (
        r"404\s+Not Found",
        "the mirror does not have a file that its lists promise (404). Read the lists anew; if it stays, the mirror"
        " is incomplete",
    ),
    (
        r"trying to overwrite '(?P<what>[^']+)', which is also in package (?P<more>\S+)",
        "the file {what} belongs to {more} already. Remove that package first",
    ),
    (
        r"Packages need to be removed but remove is disabled",
        "it would remove other packages, which the wizard never does unasked. Remove what is in conflict",
    ),
    (
        r"Packages were downgraded and -y was used",
        "an older version would take the place of a newer one, which is not done: an engine may not read the"
        " newer one's data. Ask for the version that is here, or a newer one",
    ),
    (
        r"The following packages have unmet dependencies:(?P<what>(?:\n\s+\S.*)+)",
        "packages do not fit together: {what}. Packages from another source or on hold are in the way"
        " («apt-mark showhold»)",
    ),
    (
        r"Unable to locate package (?P<what>\S+)|Package '?(?P<more>\S+?)'? has no installation candidate",
        "no source of this node offers {what}{more}. Check the sources and the release's name in them",
    ),
    (
        r"Version '(?P<what>[^']+)' for '(?P<more>[^']+)' was not found",
        "no source of this node offers version {what} of {more}",
    ),
    (
        r"Sub-process /usr/bin/dpkg returned an error code",
        "a package's own script failed: {tail}. Look above for its words, then «dpkg --configure -a»",
    ),
)


def cause_of(said: str) -> str:
    """The cause in plain words, empty where nothing known was said."""
    for pattern, sentence in CAUSES:
        found = re.search(pattern, said)
        if found:
            groups = {name: " ".join((text or "").split()) for name, text in found.groupdict().items()}
            filled = sentence.format(**{"what": "", "more": "", "tail": _tail(said), **groups})
            return filled.replace(" ()", "").replace(" (, ", " (")
    return ""


def plain_failure(doing: str, said: str, code: int) -> str:
    """A sentence for a failed call: what was being done, why it failed, what to do next."""
    cause = cause_of(said)
    if cause:
        return f"{doing}: {cause}"
    return f"{doing}: apt ended with {code} and said: {_tail(said) or 'nothing'}"


def complaints(said: str) -> tuple[str, ...]:
    """apt's own error and warning lines."""
    return tuple(line for line in said.splitlines() if line.startswith(("E: ", "W: ", "Err:")))


def is_failure(line: str) -> bool:
    """Whether a complaint says that a list was not read. A key or suite that apt merely dislikes is none."""
    return not line.startswith("W: ") or bool(re.search(NOT_READ, line))


def _tail(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith(("E: ", "dpkg: error", "Errors were", " "))]
    return " ".join(" ".join(lines[-4:]).split())[:300]
