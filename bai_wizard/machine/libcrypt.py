"""Password hashes by the system's own libcrypt, so that they are what this node's login understands."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.secret import Secret

# crypt(5) prefixes, the best first: yescrypt (Debian's and Ubuntu's default), then sha512-crypt.
METHODS = (b"$y$", b"$6$")
# sizeof(struct crypt_data) of libxcrypt and CRYPT_GENSALT_OUTPUT_SIZE of crypt.h, rounded up.
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
            raise CannotTell(f"this node has no libcrypt, so passwords cannot be hashed here: {error}") from error
    library.crypt_r.restype = ctypes.c_char_p
    library.crypt_r.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
    return library


def _crypt(clear: Secret, setting: bytes) -> bytes | None:
    """crypt(3) of the clear text; None where libcrypt does not support the setting."""
    text = clear.reveal().encode()
    if b"\0" in text:
        raise CannotTell("the password holds a NUL character, which no login can transmit")
    data = ctypes.create_string_buffer(CRYPT_DATA_SIZE)
    try:
        result = _library().crypt_r(text, setting, data)
    finally:
        # The work area holds the clear text.
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


def belongs_to(clear: Secret, current: Secret) -> bool:
    """True when `clear` is the password of the hash `current`; false for a locked or an empty field."""
    hash_ = current.reveal().encode()
    if not hash_.startswith(b"$"):
        return False
    made = _crypt(clear, hash_)
    return made is not None and Secret(made.decode()) == current


def hash_of(clear: Secret) -> Secret:
    """A fresh hash: yescrypt, or sha512-crypt where libcrypt has no yescrypt. Raises CannotTell where it has none."""
    for method in METHODS:
        salt = _salt(method)
        made = _crypt(clear, salt) if salt else None
        if made is not None:
            return Secret(made.decode())
    raise CannotTell("this node's libcrypt supports neither yescrypt nor sha512-crypt")
