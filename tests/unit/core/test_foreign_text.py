"""Foreign data is parsed by `core.decode` only: no bare `int`, `float` or `json.loads`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bai_wizard
from bai_wizard.core import parse
from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.parse import count
from bai_wizard.core.state import Key
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.python.probe import pip_settings
from bai_wizard.resources.images_apply import Layer
from bai_wizard.resources.packages_apply import read_status
from bai_wizard.steps.docker import CONFIG, content_root, likely_content_root
from tests.pages.ubuntu import file

PACKAGE = Path(bai_wizard.__file__).parent
READERS = ("node", "resources", "pages", "steps")
BARE = ("int", "float", "json.loads", "json.load")
# Every call of theirs that is left in the code that reads a node, by why it cannot fail.
ALLOWED: dict[str, dict[str, tuple[str, ...]]] = {
    "the wizard's own data": {
        "node/demo.py": (
            "int(value.get('uid', 0))", "int(value.get('gid', uid))", "int(value['uid'])",
            "int(value.get('mode', '0644'), 8)", "int(value.get('mode', '0755'), 8)",
        ),
        "resources/pythons_apply.py": ("json.loads(operation.build)",),
        "pages/accelerators/nvidia/__init__.py": (
            "int(number)", "int(branch or 0)",
        ),
        "pages/python/versions.py": ("json.loads(text)",),
    },
    "written by the wizard itself, for its own process": {
        "node/run_as.py": ("json.loads(data)", "int(name)"),
        "node/helper.py": ("json.loads(data)",),
        "node/files.py": ("float(self._at(path, change_time_at, (), float, READ_DEADLINE, absent=0.0))",),
        "node/passwords.py": ("json.loads(data)",),
        "node/hardware.py": ("json.loads(text)",),
        "node/package_tool.py": ("int(code)", "int(pid)", "json.loads(_read(directory / 'about'))"),
        "pages/aliases/checks.py": ("float(words[1])",),
        "pages/network_probes.py": (
            "int(sys.argv[2])", "float(sys.argv[2])", "float(sys.argv[3])", "int(moment * 1000)",
        ),
        "pages/storage/volume_probes.py": ("int(uid)", "int(gid)"),
    },
    "numbers already": {
        "node/hardware.py": (
            "int(ip_address(netmask))",
            "int(info.state)", "int(sizes.total)", "int(sizes.used)", "int(error.value)",
            "int(pynvml.nvmlDeviceGetTotalEccErrors(*kinds))", "int(process.pid)", "int(process.usedGpuMemory or 0)",
        ),
        "resources/images_apply.py": ("int(rate)",),
        "resources/users.py": ("int(node.now // 86400)",),
        "pages/account/checks.py": ("int(time.time())",),
        "pages/docker/probe.py": ("int(mask)",),
        "steps/services.py": ("float(limit.value)", "float(self.processes)"),
    },
    "the form is checked before": {
        "node/download.py": ("int(text)",),
        "node/run_as.py": ("int(uid)", "int(gid)", "int(text)"),
        "node/hardware.py": ("int(domain, 16)",),
        "pages/docker/settings.py": ("int(self.base.partition('/')[2] or 32)",),
        "pages/network_probes.py": ("int(port or 443)",),
        "pages/storage/settings.py": ("int(self.mode, 8)",),
        "pages/tuning/pam_limits.py": (
            "int(match[1] + match[2][:10])", "int(digits or '0')", "int(match[2].lstrip('0') or '0')",
        ),
        "pages/tuning/settings.py": ("int(low)", "int(high or low)"),
    },
    "every error is caught": {
        "node/docker.py": ("json.loads(content)", "int(file.read())"),
        "node/regular.py": ("json.loads(text, parse_constant=_refuse_constant)",),
        "node/download.py": ("json.loads(file.read(LONGEST_VALIDATOR + 3))",),
        "node/registry.py": ("json.loads(response.body)",),
        "pages/docker/checks.py": ("json.loads(text, object_pairs_hook=unique)",),
        "steps/json_merge.py": ("json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))",),
    },
}  # fmt: skip


def bare_calls(path: Path) -> set[str]:
    return {
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in BARE
        and node.args
        and not isinstance(node.args[0], ast.Constant)
    }


def test_readers_of_foreign_text_use_the_bounded_functions() -> None:
    lines = {(module, call) for modules in ALLOWED.values() for module, calls in modules.items() for call in calls}
    result = {
        (path.relative_to(PACKAGE).as_posix(), call)
        for directory in READERS
        for path in (PACKAGE / directory).rglob("*.py")
        for call in bare_calls(path)
    }
    assert result - lines == set(), f"use whole, real, count or json_value of {parse.__name__}"
    assert lines - result == set(), "no longer there: take it out of the table"


@pytest.mark.parametrize("value", [None, "", "x", "12", [], {}, True, -1, float("nan"), float("inf"), 1 << 70, 1e300])
def test_an_invalid_count_is_zero(value: object) -> None:
    assert count(value) == 0
    layer = Layer()
    layer.take("Downloading", {"current": value, "total": value})
    assert (layer.fetched, layer.size) == (0, 0)


@pytest.mark.parametrize("percent", ["nan", "inf", "-inf", "1" * 5000])
def test_progress_of_apt_is_a_number(percent: str) -> None:
    assert read_status(f"pmstatus:docker.io:{percent}:Unpacking") is None


@pytest.mark.parametrize("content", ["root = ", "root\n[", None])
def test_unreadable_settings_of_containerd_are_unknown(content: str | None) -> None:
    states = {Key("file", CONFIG): file(content or "")}
    unknown = {f"file:{CONFIG}": "permission denied"} if content is None else {}
    machine = SimulatedMachine(dict(states), Environment(unknown=unknown))
    with pytest.raises(StateUnknown):
        content_root(machine)
    assert likely_content_root(machine) == "/var/lib/containerd"


@pytest.mark.parametrize("path", ["/etc/pip.conf", "/home/bai/.config/pip/pip.conf"])
@pytest.mark.parametrize("content", ["no section", None])
def test_unreadable_settings_of_pip_are_unknown(path: str, content: str | None) -> None:
    unknown = {f"file:{path}": "permission denied"} if content is None else {}
    machine = SimulatedMachine({Key("file", path): file(content or "")}, Environment(unknown=unknown))
    result = pip_settings(machine, "/home/bai")
    assert result.unknown
    assert result.index_url == ""
