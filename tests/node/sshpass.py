"""Log in over ssh with a password, as a person would."""

import os
import subprocess

OPTIONS = (
    "UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR", "PubkeyAuthentication=no",
    "PreferredAuthentications=password,keyboard-interactive", "NumberOfPasswordPrompts=1", "ConnectTimeout=20",
)  # fmt: skip


def ssh_with_password(
    address: tuple[str, int], user: str, password: str, command: str, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a login over ssh; 255 and "Permission denied" if it is refused."""
    host, port = address
    options = [word for option in OPTIONS for word in ("-o", option)]
    return subprocess.run(
        ["sshpass", "-e", "ssh", "-F", "none", *options, "-p", str(port), f"{user}@{host}", command],
        env={**os.environ, "SSHPASS": password},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
