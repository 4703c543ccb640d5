"""Passwords: hashes from the system's libcrypt, and clear text that a run needs."""

from __future__ import annotations

import ctypes
import json
import os
import stat
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.secret import Secret

# crypt(5) prefixes in order of preference: yescrypt (the default in Debian and Ubuntu), then sha512-crypt.
METHODS = (b"$y$", b"$6$")
# sizeof(struct crypt_data) in libxcrypt and CRYPT_GENSALT_OUTPUT_SIZE in crypt.h, rounded up.
CRYPT_DATA_SIZE = 32768
SALT_SIZE = 256


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libcrypt.so.1")
    except OSError:
        try:
            library = ctypes.CDLL("libcrypt.so.2")
        except OSError as error:
            raise StateUnknown(f"this node has no libcrypt, so passwords cannot be hashed here: {error}") from error
    library.crypt_r.restype = ctypes.c_char_p
    library.crypt_r.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
    return library


def _crypt(clear: Secret, setting: bytes) -> bytes | None:
    """crypt(3) of the clear text; None if libcrypt does not support the setting."""
    text = clear.reveal().encode()
    if b"\0" in text:
        raise StateUnknown("the password contains a NUL character, which no login can transmit")
    data = ctypes.create_string_buffer(CRYPT_DATA_SIZE)
    try:
        result = _library().crypt_r(text, setting, data)
    finally:
        # The work area contains the clear text.
        ctypes.memset(data, 0, CRYPT_DATA_SIZE)
    return None if result is None or result.startswith(b"*") else bytes(result)


def _salt(method: bytes) -> bytes | None:
    try:
        gensalt = _library().crypt_gensalt_rn
    except AttributeError:
        return None
    gensalt.restype = ctypes.c_char_p
    gensalt.argtypes = (ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
    out = ctypes.create_string_buffer(SALT_SIZE)
    result = gensalt(method, 0, None, 0, out, SALT_SIZE)
    return bytes(result) if result else None


def is_password(clear: Secret, current: Secret) -> bool:
    """Whether `clear` is the password for the hash `current`; false for a locked or empty field."""
    hash_ = current.reveal().encode()
    if not hash_.startswith(b"$"):
        return False
    made = _crypt(clear, hash_)
    return made is not None and Secret(made.decode()) == current


def hash_password(clear: Secret) -> Secret:
    """Return a new hash: yescrypt, or sha512-crypt without yescrypt support. Raises StateUnknown without both."""
    for method in METHODS:
        salt = _salt(method)
        made = _crypt(clear, salt) if salt else None
        if made is not None:
            return Secret(made.decode())
    raise StateUnknown("this node's libcrypt supports neither yescrypt nor sha512-crypt")


# Secrets that a run needs in clear text: on tmpfs while its executor starts, then only in the executor's memory.
#
# The executor gets the file as its standard input, and its name is removed as soon as the executor runs: however the
# executor ends, nothing remains.

_claimed: dict[str, Secret] = {}


def publish(path: Path, secrets: Mapping[str, Secret]) -> None:
    """Write the secrets to a new file that only root can read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({name: secret.reveal() for name, secret in secrets.items()}, file)
    except BaseException:
        remove_secrets(path)
        raise


def remove_secrets(path: Path) -> None:
    """Remove the file."""
    path.unlink(missing_ok=True)


def claim_secrets() -> None:
    """Read the secrets from standard input and close it, before this process has any children."""
    if not stat.S_ISREG(os.fstat(0).st_mode):
        return
    with os.fdopen(os.dup(0), "rb") as file:
        data = file.read()
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.dup2(null, 0)
    finally:
        os.close(null)
    _claimed.update({name: Secret(text) for name, text in json.loads(data).items()})


def runtime_secret(name: str) -> Secret:
    """Return a secret by name. Raises StepFailed if the run was started or resumed without it."""
    try:
        return _claimed[name]
    except KeyError:
        raise StepFailed(
            f"the password for {name} is no longer available: start a new run and enter it again"
        ) from None
