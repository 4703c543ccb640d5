"""Valid files yield their settings; overrides are merged; the origin of every value is known."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bai_wizard.answers.load import load, loads
from bai_wizard.answers.model import Answers, Layer, context, locate, merge, report
from bai_wizard.core.secret import MASK
from bai_wizard.pages import TABLES
from bai_wizard.pages.account.settings import AccountSettings
from bai_wizard.pages.docker.settings import DockerSettings
from bai_wizard.pages.fields import dump
from bai_wizard.pages.storage.settings import StorageSettings, XfsVolume
from bai_wizard.pages.tuning.settings import TuningSettings
from tests.unit.answers.paths import GOOD

FOUR = str(GOOD / "four-nodes.toml")
HASH = "$y$j9T$abcdefghijklmnop$abcdefghijklmnopqrstuvwxyz0123456789abcdefg"


def test_the_full_example_has_every_table() -> None:
    answers = load(str(GOOD / "full.toml"), "bai-a01")
    assert tuple(answers.tables) == TABLES
    assert answers.applied == tuple(name for name in TABLES if name != "sources")
    storage = answers.tables["storage"]
    assert isinstance(storage, StorageSettings)
    kinds = ["local", "nfs", "cephfs", "lustre", "weka", "gpfs", "beegfs", "xfs", "bind", "existing", "fstab"]
    assert [volume.type for volume in storage.volumes] == kinds
    assert [volume.owner for volume in storage.volumes] == [
        "set",
        "check",
        "check",
        "check",
        "check",
        "check",
        "check",
        "set",
        "check",
        "keep",
        "check",
    ]
    assert storage.volumes[7].permissions == 0o2775


def test_the_full_example_shows_the_defaults() -> None:
    """What the full example writes is the default, but for what is an example by its nature."""
    answers = load(str(GOOD / "full.toml"), "bai-a01")
    differing = {f"{table}.{name}" for table, settings in answers.tables.items() for name in dump(settings)}
    assert differing == {
        "node.backend_ai",
        "sources.apply",
        "account.password",
        "tuning.sysctl",
        "python.venvs",
        "aliases.hosts",
        "storage.volumes",
        "accelerators.nvidia",
        "images.registries",
        "maintenance.drain_hook",
        "maintenance.resume_hook",
    }
    nvidia = dump(answers.tables["accelerators"])["nvidia"]
    assert nvidia == {}


def test_a_table_alone_means_with_defaults() -> None:
    answers = loads("version = 1\n[docker]\n[tuning]\napply = false\n", "a.toml", "h")
    assert answers.tables["docker"] == DockerSettings()
    assert answers.applied == ("docker",)


@pytest.mark.parametrize(
    ("host", "roles", "profile", "data_root", "applied"),
    [
        ("bai-m1", "management", "management", "", "node account docker tuning aliases storage"),
        (
            "bai-a01",
            "compute",
            "compute",
            "/data/docker",
            "node account docker tuning aliases storage accelerators images",
        ),
        (
            "BAI-A02.corp",
            "compute",
            "compute",
            "/data/docker",
            "node account docker tuning aliases storage accelerators images",
        ),
        ("bai-s1.corp.example", "storage", "compute", "/data/docker", "node account tuning aliases storage"),
        ("elsewhere", "compute", "compute", "/data/docker", "node account docker tuning aliases storage images"),
    ],
)
def test_one_file_for_four_nodes(host: str, roles: str, profile: str, data_root: str, applied: str) -> None:
    answers = load(FOUR, host)
    docker, tuning = answers.tables["docker"], answers.tables["tuning"]
    assert isinstance(docker, DockerSettings)
    assert isinstance(tuning, TuningSettings)
    assert context(answers).roles == (roles,)
    assert (tuning.profile, docker.data_root, " ".join(answers.applied)) == (profile, data_root, applied)


def test_overrides_join_tables_and_replace_lists() -> None:
    agent, storage = load(FOUR, "bai-a02.corp.example"), load(FOUR, "bai-s1")
    docker, tuning = agent.tables["docker"], agent.tables["tuning"]
    assert isinstance(docker, DockerSettings)
    assert isinstance(tuning, TuningSettings)
    assert (docker.log.max_size, docker.log.max_file) == ("200m", 9)
    assert tuning.sysctl == {"vm.max_map_count": 1048576, "net.netfilter.nf_conntrack_max": 20971520}
    volumes = storage.tables["storage"]
    account = storage.tables["account"]
    assert isinstance(volumes, StorageSettings)
    assert isinstance(account, AccountSettings)
    assert [type(volume) for volume in volumes.volumes] == [XfsVolume]
    assert account.password is not None, "another source takes the place of the first"
    assert dump(account.password) == {"file": "/root/bai.password"}


def line_with(text: str, word: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if word in line)


def test_every_value_knows_where_it_came_from() -> None:
    with open(FOUR, encoding="utf-8") as file:
        text = file.read()
    answers = load(FOUR, "bai-a02.corp.example")
    origins = answers.origins
    assert origins["docker.log.max_size"] == f"{FOUR}:{line_with(text, 'max_size')}"
    assert (
        origins["docker.log.max_file"] == f"{FOUR}:{line_with(text, 'max_file')} (override for bai-a02.corp.example)"
    )
    assert origins["accelerators.nvidia.driver"] == f"{FOUR}:{line_with(text, '580')} (override for bai-a*)"
    assert origins["node.roles"] == f"{FOUR}:{line_with(text, 'roles =')}"


def test_check_reports_origins_and_hides_secrets() -> None:
    output = report(load(FOUR, "bai-s1"))
    assert "[docker]  not applied, used by other pages (apply = false)" in output
    assert 'account.password = { file = "/root/bai.password" }' in output
    assert "(override for bai-s1)" in output


def test_check_masks_hashes_and_addresses_with_passwords(tmp_path: Any) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        f'version = 1\n[account]\npassword_hash = "{HASH}"\n'
        '[network]\nproxy = { http = "http://me:hunter2@proxy:3128" }\n'
    )
    output = report(load(str(file), "h"))
    assert HASH not in output
    assert "hunter2" not in output
    assert f"account.password_hash = {MASK}" in output
    assert f"http://{MASK}@proxy:3128" in output
    answers = load(str(file), "h")
    assert HASH not in repr(answers)
    assert HASH not in repr(answers.tables["account"])
    assert HASH not in repr(answers.tables["account"])


def test_context_uses_tables_that_are_not_applied() -> None:
    text = 'version = 1\n[account]\napply = false\nusername = "ops"\nuid = 1200\nhome = "/srv/ops"\n'
    made = context(loads(text, "a", "bai-a01.corp"))
    assert (made.account, made.uid, made.gid, made.home) == ("ops", 1200, 1100, "/srv/ops")
    assert made.applied == ()
    assert context(loads("version = 1", "a", "h")).account == "bai"


def test_only_the_settings_of_tables_that_are_there_are_imported() -> None:
    code = (
        "import sys\nfrom bai_wizard.answers.load import loads\n"
        "loads('version = 1\\n[tuning]\\nprofile = \"compute\"\\n', 'a', 'h')\n"
        "print(*sorted(name for name in sys.modules if name.startswith('bai_wizard.pages.') or name in"
        " ('tomlkit', 'difflib', 'textual', 'rich', 'docker', 'subprocess')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.'); {code}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    tables = {name.split(".")[2] for name in loaded if name.endswith(".settings")}
    assert tables == {"tuning"}
    assert not loaded & {"tomlkit", "difflib", "textual", "rich", "docker", "subprocess"}


keys = st.sampled_from(["a", "b", "password"])
trees = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(keys, trees, max_size=3)


@given(st.lists(tables, min_size=1, max_size=4))
def test_a_value_is_located_in_the_layer_that_gives_it(given_tables: list[dict[str, Any]]) -> None:
    layers = [Layer(("override", index) if index else (), table) for index, table in enumerate(given_tables)]

    def walk(value: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, (*path, key))
            return
        field_path = locate(layers, path)
        at, rest = (int(field_path[1]), field_path[2:]) if field_path[:1] == ("override",) else (0, field_path)
        assert rest == path
        result: Any = given_tables[at]
        for key in path:
            result = result[key]
        assert result == value

    walk(merge(layers), ())


def test_another_source_of_a_password_takes_the_place_of_the_first_as_a_whole() -> None:
    base = Layer((), {"account": {"password": {"env": "PW"}}})
    above = Layer(("override", 0), {"account": {"password": {"file": "/pw"}}})
    assert merge([base, above]) == above.tables
    assert locate([base, above], ("account", "password", "env")) == ("override", 0, "account", "password")


@given(tables, tables)
def test_the_later_layer_wins(below: dict[str, Any], above: dict[str, Any]) -> None:
    merged = merge([Layer((), below), Layer(("override", 0), above)])
    assert set(merged) == set(below) | set(above)
    for key, value in above.items():
        if not isinstance(value, dict) or key == "password":
            assert merged[key] == value


def test_a_problem_of_answers_from_a_form_has_no_line() -> None:
    problem = Answers("form", "gpu01", {}).problem(("docker", "source"), "no such source")
    assert str(problem) == "form docker.source: no such source"
