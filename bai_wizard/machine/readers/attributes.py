"""The immutable attribute, as `lsattr` shows it."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

# linux/fs.h; the numbers are those of 64-bit x86 and ARM.
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_IMMUTABLE_FL = 0x10
# What file systems without such attributes answer (tmpfs, NFS, overlay with an old kernel).
UNSUPPORTED = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def immutable_at(directory: int, name: str) -> bool:
    """Whether a name carries the attribute; false where the file system has no such thing."""
    descriptor = os.open(name, OPEN, dir_fd=directory)
    try:
        return bool(_flags(descriptor) & FS_IMMUTABLE_FL)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return False
        raise
    finally:
        os.close(descriptor)


def set_immutable_at(directory: int, name: str, immutable: bool) -> None:
    """Gives or takes the attribute. Raises OSError where the file system has no such thing."""
    descriptor = os.open(name, OPEN | os.O_DIRECTORY, dir_fd=directory)
    try:
        flags = _flags(descriptor)
        wanted = flags | FS_IMMUTABLE_FL if immutable else flags & ~FS_IMMUTABLE_FL
        if wanted != flags:
            fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, struct.pack("l", wanted))
    finally:
        os.close(descriptor)


def _flags(descriptor: int) -> int:
    answer = fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, struct.pack("l", 0))
    (flags,) = struct.unpack("l", answer)
    return int(flags) & 0xFFFFFFFF
