"""The answers as a run keeps them in its `settings.json`: overrides laid over, secrets as references.

A password hash is kept in clear: the file is root's and 0600, and a resumed run needs it.
"""

from __future__ import annotations

from typing import Any

from bai_wizard.answers.model import VERSION, Answers
from bai_wizard.answers.validate import validate
from bai_wizard.core.errors import AnswersError, Problem


def dump(answers: Answers) -> dict[str, Any]:
    """JSON values of what is set; `restore` gives the same settings."""
    tables = {
        name: settings.model_dump(mode="json", exclude_unset=True, context={"reveal": True})
        for name, settings in answers.tables.items()
    }
    return {"version": answers.version, "file": answers.file, "host": answers.host, "tables": tables}


def restore(data: dict[str, Any], name: str = "settings.json") -> Answers:
    """The answers of a run. `name` is what problems call the file. Raises AnswersError when they do not fit."""
    if data.get("version") != VERSION or not isinstance(data.get("tables"), dict):
        raise AnswersError([Problem(name, 0, 0, "", f"is not of version {VERSION} of the answers")])
    tables = {}
    problems = []
    for table, plain in data["tables"].items():
        settings, faults = validate(table, plain)
        problems += [Problem(name, 0, 0, table, fault.reason) for fault in faults]
        if settings is not None:
            tables[table] = settings
    if problems:
        raise AnswersError(problems)
    return Answers(file=str(data.get("file", name)), host=str(data.get("host", "")), tables=tables)
