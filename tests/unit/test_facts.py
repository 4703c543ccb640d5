"""Every table of facts in bai_wizard/data names its source and the day when it was last compared with it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from bai_wizard.data import read_toml
from tests.tools.old_facts import DATA, main, months_between, old_facts, read, undated, unknown

FILES = sorted(path.name for path in DATA.glob("*.toml"))
FILE = """version = 1
[ports.agent]
rpc = 6001
[ports.manager]
api = 8080
[[facts]]
tables = ["ports.agent"]
source = "wheel"
date = 2026-05-29
"""


@pytest.mark.parametrize("name", FILES)
def test_every_fact_has_a_source_and_a_date(name: str) -> None:
    content, facts = read(DATA / name)
    assert undated(content, facts) == []
    assert unknown(content, facts) == []
    assert [each for each in facts if not each.source.strip() or each.date > date.today()] == []


def test_the_sources_are_not_among_the_facts() -> None:
    assert [name for name in FILES if "facts" in read_toml(name)] == []


def test_a_fact_without_a_source_and_a_source_without_a_fact_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "ports.toml"
    path.write_text(FILE)
    assert undated(*read(path)) == ["ports.manager"]
    path.write_text(FILE.replace('ports.agent"', 'ports.gone"'))
    assert unknown(*read(path)) == ["ports.gone"]
    path.write_text(FILE.replace('ports.agent"', 'ports"'))
    assert undated(*read(path)) == []


def test_facts_older_than_the_limit_are_listed(tmp_path: Path) -> None:
    (tmp_path / "ports.toml").write_text(FILE)
    listed = [(file, name) for file, name, _ in old_facts(date(2026, 11, 29), 6, tmp_path)]
    assert listed == [("ports.toml", "ports.agent")]
    assert old_facts(date(2026, 11, 28), 6, tmp_path) == []
    assert months_between(date(2026, 1, 31), date(2026, 2, 28)) == 0
    assert months_between(date(2025, 12, 31), date(2027, 1, 31)) == 13


def test_the_script_tells_by_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--months", "0"]) == 1
    assert "bai_wizard/data/versions.toml  release" in capsys.readouterr().out
    assert main(["--months", "1200"]) == 0
