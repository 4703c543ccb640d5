"""Detached signatures of plan files: made and verified by ssh-keygen(1), against a list of approvers."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from bai_wizard.core.errors import PreflightError, ProgramMissing, StateUnknown
from bai_wizard.node.process import last_words, run
from bai_wizard.node.regular import read_up_to
from bai_wizard.node.safe_path import Trust

# What a signature is for: ssh-keygen rejects one that was made for another purpose, such as git or a release.
NAMESPACE = "bai-wizard-plan"
# Allowed signers, in the format of ssh-keygen(1). Where this file exists, `apply` requires a signature.
APPROVERS = "/etc/bai-wizard/approvers"
# Bytes; a signature is about 300, an approver about 100.
LARGEST = 1 << 20
# Seconds for one call of ssh-keygen.
DEADLINE = 10.0


def read_trusted(path: str, largest: int, what: str) -> bytes:
    """Return the content of a file that only trusted users can change. Raises PreflightError."""
    try:
        handle = Trust().open(path)
        try:
            data = read_up_to(handle, largest + 1)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        raise PreflightError(f"{path} cannot be read: {reason}") from error
    if len(data) > largest:
        raise PreflightError(f"{path} exceeds the limit of {largest >> 20} MiB for {what}")
    return data


def signer_of(data: bytes, path: str, signature: str, approvers: str) -> str:
    """Return the approver whose valid signature of `data` is in the file `signature`; `path` is for messages.

    Raises PreflightError if the signature is not valid, or if users who are not trusted can change one of the files.
    """
    signed = read_trusted(signature, LARGEST, "a signature")
    allowed = read_trusted(approvers, LARGEST, "a list of approvers")
    # Copies: ssh-keygen reads the files several times, and all calls must see the same content.
    with TemporaryDirectory(prefix="bai-wizard-signature-") as private:
        Path(private, "signature").write_bytes(signed)
        Path(private, "approvers").write_bytes(allowed)
        found, reason = _keygen(private, ["find-principals"], b"")
        for name in re.split(r"[\n,]", found):
            if name:
                good, reason = _keygen(private, ["verify", "-I", name, "-n", NAMESPACE], data)
                if good:
                    return name
    raise PreflightError(f"{path} is not signed by anyone in {approvers}: {reason}; nothing was changed")


def _keygen(directory: str, words: list[str], data: bytes) -> tuple[str, str]:
    """Return what ssh-keygen prints, or why it refuses."""
    try:
        argv = ["ssh-keygen", "-Y", *words, "-s", "signature", "-f", "approvers"]
        completed = run(argv, timeout=DEADLINE, input=data, directory=directory)
    except ProgramMissing as error:
        raise PreflightError("signatures are verified by ssh-keygen; install the package openssh-client") from error
    except StateUnknown as error:
        raise PreflightError(f"the signature cannot be verified: {error}") from error
    if completed.code:
        return "", last_words(completed)
    return completed.out.strip(), "the approver's key did not sign it"
