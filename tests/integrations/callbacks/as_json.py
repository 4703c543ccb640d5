"""An Ansible callback that ends a play with one line of JSON: counts and results by host."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.callback import CallbackBase  # type: ignore[import-not-found]

DOCUMENTATION = """
name: as_json
type: stdout
short_description: one line of JSON at the end
description: one line of JSON at the end
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Gathers every result as Ansible would print it: cleaned of what must not be logged."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "as_json"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._results: dict[str, list[Any]] = {}

    def _keep(self, result: Any, **_named: Any) -> None:
        values = json.loads(self._dump_results(result._result, indent=0))
        if "diff" in result._result:
            values["diff"] = result._result["diff"]
        self._results.setdefault(result._host.get_name(), []).append(values)

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_unreachable = v2_runner_on_skipped = _keep

    def v2_playbook_on_stats(self, stats: Any) -> None:
        counts = {host: stats.summarize(host) for host in stats.processed}
        self._display.display(json.dumps({"played": {"stats": counts, "results": self._results}}))
