"""The drop-in of limits for logins, written only when the kernel can grant them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.step import register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.parents import missing_parent
from bai_wizard.steps.write_file import DropIn


@register
@dataclass(frozen=True, kw_only=True)
class LoginLimits(DropIn):
    """A file for pam_limits. `open_files` is the largest nofile in it.

    A login is refused when its limit of open files is above fs.nr_open, so such a file is never written.
    """

    kind: ClassVar[str] = "login-limits"
    open_files: int

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        most = view.sysctl("fs.nr_open")
        if most is not None and self.open_files > int(most.value):
            raise StepBlocked(
                f"nofile {self.open_files} is above fs.nr_open = {most.value}, which would lock every login out;"
                f" raise fs.nr_open first, or lower [tuning] limits.nofile"
            )
        yield from missing_parent(view, self.path)
        yield from super().primitives(view)
