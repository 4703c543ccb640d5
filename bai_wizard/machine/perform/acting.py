"""Programs and calls with the rights of an account, for performers that work in its home."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Completed
from bai_wizard.machine.account import as_account
from bai_wizard.machine.failures import changing
from bai_wizard.machine.identity import Identity
from bai_wizard.machine.perform.call import last_words, log_lines
from bai_wizard.machine.runner import OnLine, run

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine

# Kept by Debian and Ubuntu; tools that bring their own certificates are told to use these.
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Acting:
    """Acts as `identity`; None is the wizard's own account. `environment` is laid over that of every program."""

    identity: Identity | None
    log: Log
    environment: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(machine: LocalMachine, account: str, log: Log, environment: Mapping[str, str]) -> Acting:
        """Acting as an account by name. Raises StepFailed where the node has none of that name."""
        if account in ("", "root"):
            return Acting(None, log, environment)
        identity = machine.identity(account)
        if identity is None:
            raise StepFailed(f"there is no account {account} on this node")
        return Acting(identity, log, environment)

    @property
    def home(self) -> str:
        """The account's home directory."""
        from os.path import expanduser

        return self.identity.home if self.identity is not None else expanduser("~")

    def call(self, function: Callable[..., Any], *args: Any, answer: Any = None, deadline: float = 60.0) -> Any:
        """`function(*args)` in a child with the account's rights; the first argument is the path it is about."""
        with changing(str(args[0])):
            return as_account(self.identity, function, *args, answer=answer, deadline=deadline)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        title: str = "",
        env: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
        directory: str = "/",
    ) -> Completed:
        """A program that has to end well. Raises StepFailed with its last words."""
        completed = self.attempt(argv, timeout=timeout, env=env, on_line=on_line, directory=directory)
        if completed.code != 0:
            raise StepFailed(f"{title or argv[0]}: {last_words(completed)}")
        return completed

    def attempt(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
        directory: str = "/",
    ) -> Completed:
        """A program, whatever its end. Raises CannotTell when it is missing or does not end in time."""
        own = {"SSL_CERT_FILE": TRUSTED}
        if self.identity is not None:
            own |= {"HOME": self.identity.home, "USER": self.identity.name, "LOGNAME": self.identity.name}
        return run(
            argv,
            timeout=timeout,
            on_line=on_line or log_lines(self.log),
            env={**own, **self.environment, **(env or {})},
            account=self.identity[:3] if self.identity is not None else None,
            directory=directory,
        )
