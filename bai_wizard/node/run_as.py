"""Act as an account: identities, the environment of a child, and functions that run in a child."""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import selectors
import signal
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from bai_wizard.core import errors
from bai_wizard.core.codec import KEPT
from bai_wizard.core.debug_log import leave_to_parent
from bai_wizard.core.errors import StateUnknown, WizardError
from bai_wizard.core.programs import program_path
from bai_wizard.node.accounts import AccountFiles
from bai_wizard.node.deadline import Limit, ready
from bai_wizard.trusted_path import is_unused_group

# Inherited from the wizard's own environment if set: tools need to know the proxy.
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
           "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")  # fmt: skip
# The user that a child acts as. Children of root get root's own values: with `sudo -E` or `su -m`, HOME would be
# another user's, and git, pip, Docker and Python run code that is named in files there.
IDENTITY = ("HOME", "USER", "LOGNAME")
PASSED_ON = (*IDENTITY, "TZ", *PROXIES)
FIXED = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "TERM": "dumb", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a child; `extra` overrides values."""
    result = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if os.geteuid() == 0:
        result.update(_of_root())
    result["PATH"] = program_path()
    result.update(FIXED)
    result.update(extra or {})
    return result


def use_child_environment(extra: Mapping[str, str]) -> None:
    """Give this process the environment and directory of a child, for a library that starts programs itself.

    For a forked child only: the process loses its own environment.
    """
    environment = child_environment(extra)
    os.chdir("/")
    os.environ.clear()
    os.environ.update(environment)


def _of_root() -> dict[str, str]:
    from pwd import getpwuid

    try:
        entry = getpwuid(0)
    except KeyError:  # a root directory without accounts
        return {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}


# The GID of Debian's `nogroup`: for an owner in no database, instead of root's group.
NOGROUP = 65534


class Identity(NamedTuple):
    """The IDs that a child runs with. `name` and `home` are empty if no database knows the UID."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str = ""
    home: str = ""


def identity_of_uid(uid: int, files: AccountFiles, *, fallback_gid: int = NOGROUP) -> Identity:
    """Return the identity of an owner.

    An unknown owner gets `fallback_gid` (never root's group) and no other groups.
    """
    account = files.account_by_uid(uid)
    if account is None:
        return Identity(uid, fallback_gid or NOGROUP, ())
    return Identity(uid, account.gid, files.group_ids(account), account.name, account.home)


def identity_of_name(name: str, files: AccountFiles) -> Identity | None:
    """Return the identity of an account by name; None if it does not exist."""
    account = files.account(name)
    if account is None:
        return None
    return Identity(account.uid, account.gid, files.group_ids(account), account.name, account.home)


def invoker() -> tuple[int, int] | None:
    """Return UID and GID of the user who called sudo; None unless this is root under sudo."""
    if os.geteuid() != 0:
        return None
    uid, gid = (os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID"))
    if not _is_id(uid) or int(uid) == 0:
        return None
    return int(uid), int(gid) if _is_id(gid) else identity_of_uid(int(uid), AccountFiles()).gid


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < 2**32 - 1


def is_shared(state: os.stat_result, files: AccountFiles, *, has_acl: bool) -> str:
    """Explain who other than root can write to a root-owned directory; empty if only root can."""
    if state.st_mode & 0o002:
        return "everyone can write to it"
    if not state.st_mode & 0o020:
        return ""
    if has_acl:
        return "an access control list lets other users write to it"
    if state.st_gid == 0 or is_unused_group(state.st_gid, files):
        return ""
    listed = [name for _, members in files.groups_by_gid(state.st_gid) for name in members]
    members = dict.fromkeys(name for name in (*listed, *files.members_by_gid(state.st_gid)) if name != "root")
    return f"group {state.st_gid} can write to it ({', '.join([*members][:3]) or 'members unknown'})"


# Drop privileges permanently in children that act as an account, and prevent core dumps of processes with secrets.
#
# Uses prctl(2) and capset(2) through ctypes: import this before a fork, never after it.

# linux/prctl.h
PR_SET_DUMPABLE, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 4, 23, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
# linux/capability.h; two sets of 32 capabilities each.
CAPABILITY_VERSION_3 = 0x20080522
MAX_CAPABILITIES = 64

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def give_up_privileges() -> None:
    """Prevent this thread and its children from gaining privileges through setuid programs or file capabilities.

    The bounding, inheritable and ambient sets are emptied. The current capabilities of root remain until its UID
    changes, because they are needed for that. Raises OSError.
    """
    for capability in range(MAX_CAPABILITIES):
        present = _libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0)
        if present < 0:
            break  # the kernel has no more capabilities
        if present and _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            if ctypes.get_errno() == errno.EPERM:
                break  # root without CAP_SETPCAP; with no_new_privs this set cannot be reduced either
            _raise("PR_CAPBSET_DROP")
    _call(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "PR_CAP_AMBIENT")
    header, sets = _Header(CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    _call(_libc.capget(ctypes.byref(header), sets), "capget")
    for each in sets:
        each.inheritable = 0
    _call(_libc.capset(ctypes.byref(header), sets), "capset")
    _call(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")


def leave_no_core() -> None:
    """Prevent core dumps of this process, including through handlers such as apport; only root can trace it.

    Programs that it starts are not affected. Raises OSError.
    """
    _call(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE")


def _call(result: int, what: str) -> None:
    if result < 0:
        _raise(what)


def _raise(what: str) -> None:
    code = ctypes.get_errno()
    raise OSError(code, f"{what}: {os.strerror(code)}")


# Children left in the kernel after a deadline; reaped when they return.
_left_behind: list[int] = []


def run_as(
    identity: Identity | None,
    function: Callable[..., Any],
    *args: Any,
    answer: Any = None,
    keep: tuple[int, ...] = (),
    deadline: float = 10.0,
) -> Any:
    """Return the result of `function(*args)`, run in a child with the IDs of `identity` (None: unchanged).

    The child drops root before it accesses anything. It executes no program, because root's interpreter may be
    unreadable for the account, and keeps no open files except the given ones, so that a hanging child holds no lock.
    `answer` is the type of the result, which is passed as JSON. `keep` are descriptors that the child needs. Raises
    the OSError or WizardError that the child raised, and StateUnknown if it does not answer within `deadline`
    seconds.
    """
    _reap()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with warnings.catch_warnings():
        # The child only uses the kernel and json; a lock held by another thread costs at most the deadline.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_child(identity, function, args, writer, keep)
    os.close(writer)
    try:
        data = _read_within(reader, deadline)
    except BaseException:
        end_child(child)
        raise
    finally:
        os.close(reader)
    if data is None:
        end_child(child)
        raise StateUnknown(f"no response within {deadline:g} s{whose(identity)}")
    _, status = os.waitpid(child, 0)
    if not data:
        raise StateUnknown(f"the child{whose(identity)} ended without a result (status {status})")
    return unpack(json.loads(data), answer)


def _be_child(
    identity: Identity | None, function: Callable[..., Any], args: tuple[Any, ...], writer: int, keep: tuple[int, ...]
) -> NoReturn:
    code = 1
    try:
        become_child(identity, (writer, *keep))
        data = json.dumps(outcome_of(function, *args)).encode()
        while data:
            data = data[os.write(writer, data) :]
        code = 0
    finally:
        os._exit(code)


def become_child(identity: Identity | None, keep: tuple[int, ...]) -> None:
    """Turn a forked process into one that acts as `identity`, with its own session and only the files in `keep`."""
    # Files of the parent that await garbage collection would be closed here by number, which may be in use again.
    gc.freeze()
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    _close_all_but({0, 1, 2, *keep})
    leave_to_parent()
    if identity is not None:
        _become(identity)


def outcome_of(function: Callable[..., Any], *args: Any) -> dict[str, Any]:
    """Return the result or the error of `function(*args)` as JSON values for `unpack`."""
    try:
        return {"result": KEPT.encode(function(*args))}
    except OSError as error:
        return {"errno": error.errno, "text": error.strerror, "path": str(error.filename or "")}
    except WizardError as error:
        return {"error": type(error).__name__, "text": str(error)}
    except Exception as error:  # noqa: BLE001 - passed to the parent, which raises it
        return {"error": "StateUnknown", "text": f"{type(error).__name__}: {error}"}


def _become(identity: Identity) -> None:
    give_up_privileges()
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    os.umask(0o022)


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of the listing itself


def _read_within(reader: int, seconds: float) -> bytes | None:
    """Read everything until the end; None on timeout."""
    limit = Limit(seconds)
    chunks: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while True:
            result = ready(selector, limit.wait())
            is_over = limit.is_over()
            if result:
                chunk = os.read(reader, 1 << 16)
                if not chunk:
                    return b"".join(chunks)
                chunks.append(chunk)
            elif is_over:
                return None


def end_child(child: int) -> None:
    """Kill a child; if it hangs in the kernel, abandon it."""
    os.kill(child, signal.SIGKILL)
    watch = os.pidfd_open(child)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(watch, selectors.EVENT_READ)
            ready(selector, 0.5)
    finally:
        os.close(watch)
    if os.waitpid(child, os.WNOHANG) == (0, 0):
        _left_behind.append(child)


def _reap() -> None:
    _left_behind[:] = [child for child in _left_behind if os.waitpid(child, os.WNOHANG) == (0, 0)]


def unpack(message: dict[str, Any], answer: Any) -> Any:
    """Return the result that `outcome_of` packed, of the type `answer`, or raise its error."""
    if "errno" in message:
        raise OSError(message["errno"], message["text"], message["path"] or None)
    if "error" in message:
        raise getattr(errors, message["error"], StateUnknown)(message["text"])
    return KEPT.decode(answer, message["result"]) if answer is not None else None


def whose(identity: Identity | None) -> str:
    """Return the words that name the identity in a message."""
    return f" as UID {identity.uid}" if identity is not None else ""
