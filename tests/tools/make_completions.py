"""Write the completions for bash, zsh and fish below a `share` directory."""

from __future__ import annotations

from pathlib import Path

from bai_wizard.cli import COMMANDS, parser
from bai_wizard.commands.completion import SHELLS, script

# Path of each below a `share` directory.
PLACES = {
    "bash": "bash-completion/completions/bai-wizard",
    "zsh": "zsh/site-functions/_bai-wizard",
    "fish": "fish/vendor_completions.d/bai-wizard.fish",
}


def completion(shell: str) -> str:
    """Return the completion of a shell."""
    return script(shell, parser(), COMMANDS)


def write_all(share: Path) -> None:
    """Write each to its path below a `share` directory."""
    for shell in SHELLS:
        file = share / PLACES[shell]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(completion(shell))
