"""From answers and facts to steps, applied twice to a simulated node."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pytest

from bai_wizard.core.page import Absent, Context, Known, Unknown
from bai_wizard.core.predicted import PredictedNode
from bai_wizard.core.state import Account, Entry, Interpreter, Key, Mount, Package, State, Venv
from bai_wizard.core.step import Blocked, Pending, Step, Unchanged
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.python.plan import PAGE, build_packages, steps
from bai_wizard.pages.python.probe import PipSettings, PythonFacts
from bai_wizard.pages.python.settings import PythonSettings
from bai_wizard.pages.python.versions import choose_build, package_sources, proxy_for
from bai_wizard.resources.pythons import PackageSources
from tests.settings import settings_from

BAI = Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash")
NODE: dict[Key, State | None] = {
    Key("user", "bai"): BAI,
    Key("file", "/home/bai"): Entry("directory", 1100, 1100, 0o750),
}
NEWEST = choose_build("3.13", "x86_64").version
VERSIONS = "/home/bai/.static-python/versions"


def settings(**values: Any) -> PythonSettings:
    return settings_from(PythonSettings, values)


def planned(*, release: str = "26.4", facts: PythonFacts | None = None, **values: Any) -> tuple[Step, ...]:
    return steps(settings(**values), facts or PythonFacts(), Context(backend_ai=release))


def by_id(result: tuple[Step, ...]) -> dict[str, Any]:
    return {step.id: step for step in result}


def verdicts(result: tuple[Step, ...], node: SimulatedMachine) -> list[Any]:
    return [step.inspect(node) for step in result]


class Acting:
    """Applies steps to a simulated node as the engine does."""

    def __init__(self, machine: SimulatedMachine) -> None:
        self.view = machine

    def do(self, operation: Any) -> None:
        if not operation.is_satisfied(PredictedNode(self.view).states(operation.keys())):
            self.view.apply(operation)

    def do_together(self, operations: Any) -> None:
        for operation in operations:
            self.do(operation)

    def announced(self, operations: Any) -> AbstractContextManager[None]:
        raise AssertionError("a boot does nothing for this page")


def test_a_bare_node_gets_archive_interpreter_and_environments_and_then_nothing() -> None:
    steps = planned(venvs=[{"service": "manager"}, {"service": "agent", "packages": ["backend.ai-agent==26.4.10"]}])
    assert [step.id for step in steps] == [
        "python.download", "python.interpreter", "python.venvs",
    ]  # fmt: skip
    node = SimulatedMachine(NODE)
    before = node.snapshot()
    predicted = PredictedNode(node)
    headlines = []
    for step in steps:
        for operation in step.operations(predicted):
            headlines += [change.headline() for change in predicted.predict(operation, step.id)]
    assert f"+ {VERSIONS}/{NEWEST}/  Python {NEWEST} (cpython-{NEWEST}-linux-x86_64-gnu)" in headlines
    assert (
        f"+ /home/bai/agent/.venv/  Python {NEWEST} with pip, setuptools, wheel, backend.ai-agent==26.4.10"
        in headlines
    )
    assert node.snapshot() == before
    for step in steps:
        step.apply(Acting(node))
        assert step.verify(node) == ""
    assert all(isinstance(verdict, Unchanged) for verdict in verdicts(steps, node))
    assert node.interpreter(f"{VERSIONS}/{NEWEST}") == Interpreter(NEWEST)
    assert node.distribution("/home/bai/agent/.venv", "backend-ai-agent") == Package("26.4.10")
    assert node.entry("/home/bai/.static-python") == Entry("directory", 1100, 1100, 0o755)


def test_services_come_from_the_roles_unless_listed() -> None:
    context = Context(backend_ai="26.4", roles=("management", "storage", "compute"))
    made = by_id(steps(settings(), PythonFacts(), context))["python.venvs"]
    assert [venv.path for venv in made.venvs] == [
        f"/home/bai/{name}/.venv" for name in ("manager", "webserver", "app-proxy", "storage-proxy", "agent")
    ]
    assert len(planned(venvs=[])) == 2


def test_a_suitable_installed_interpreter_is_kept() -> None:
    facts = PythonFacts(standalone=Known(("3.12.4", "3.13.3", "3.13.8")))
    assert by_id(planned(facts=facts))["python.interpreter"].version == "3.13.8"
    # Upstream builds 25.13 and later with 3.13.7; its wheels accept every 3.13.
    for release in ("25.6", "26.4", "26.9"):
        earlier = PythonFacts(standalone=Known(("3.13.3",)))
        assert by_id(planned(facts=earlier, release=release))["python.interpreter"].version == "3.13.3"
    too_old = PythonFacts(standalone=Known(("3.12.12",)))
    assert by_id(planned(facts=too_old))["python.interpreter"].version == NEWEST
    unknown = PythonFacts(standalone=Unknown("needs root"))
    assert by_id(planned(facts=unknown))["python.interpreter"].version == NEWEST


def test_an_exact_version_and_a_mirror() -> None:
    result = by_id(planned(version="3.12.6", release="24.03", mirror="http://mirror.corp/pbs"))
    assert result["python.download"].url.startswith("http://mirror.corp/pbs/2024")
    assert result["python.interpreter"].version == "3.12.6"
    assert "requires" not in result["python.interpreter"].what
    other = by_id(planned(version="3.12.6", release="25.6"))["python.interpreter"].what
    assert "Backend.AI 25.6 requires Python 3.13, at least 3.13.0" in other


@pytest.mark.parametrize(
    ("values", "release", "words"),
    [
        ({}, "", "the required Python version depends on the release"),
        ({}, "20.03", "older than the oldest release"),
        ({"version": "3.13.99"}, "26.4", "no build of Python 3.13.99"),
    ],
)
def test_an_unavailable_build_is_blocked_with_its_reason(values: dict[str, Any], release: str, words: str) -> None:
    (step,) = planned(release=release, **values)
    verdict = step.inspect(SimulatedMachine(NODE))
    assert isinstance(verdict, Blocked)
    assert words in verdict.reason
    assert "geheim" not in verdict.reason


@pytest.mark.parametrize(
    "pip",
    [
        PipSettings("https://me:geheim@pypi.corp/simple"),
        PipSettings("https://geheim@pypi.corp/simple"),
        PipSettings("HTTPS://:geheim@pypi.corp/simple"),
        PipSettings("https://pypi.corp/simple?token=geheim"),
        PipSettings("https://pypi.corp/simple", ("https://geheim@other.corp/simple",)),
        PipSettings("", (), ("/srv/wheels", "https://me@corp:geheim@pypi.corp/wheels")),
    ],
)
def test_credentials_in_the_configuration_of_pip_are_not_handed_on(pip: PipSettings) -> None:
    facts = PythonFacts(pip=pip)
    (step,) = planned(facts=facts)
    reason = step.inspect(SimulatedMachine(NODE)).reason  # type: ignore[union-attr]
    assert "***" in reason
    assert "in pip's configuration contains credentials" in reason
    assert "geheim" not in reason
    assert len(planned(facts=facts, index_url="https://pypi.corp/simple")) > 1


NOEXEC = Mount("/dev/vdb1", "ext4", "rw,nosuid,nodev,noexec")


@pytest.mark.parametrize(
    ("mounts", "values", "point"),
    [
        ({"/": Mount("/dev/vda1", "ext4", "rw")}, {}, ""),
        ({"/": Mount("/dev/vda1", "ext4", "rw"), "/home": NOEXEC}, {}, "/home"),
        ({"/home": NOEXEC, "/home/bai": Mount("/dev/vdc1", "ext4", "rw")}, {}, ""),
        ({"/": Mount("/dev/vda1", "ext4", "rw"), "/opt": NOEXEC}, {"base_dir": "/opt/python"}, "/opt"),
        ({"/": Mount("/dev/vda1", "ext4", "rw"), "/tmp": NOEXEC}, {}, ""),
    ],
)
def test_a_home_from_which_no_program_runs_is_refused(
    mounts: dict[str, Mount], values: dict[str, Any], point: str
) -> None:
    home = {Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash")}
    node = SimulatedMachine({**home, **{Key("mount", target): mount for target, mount in mounts.items()}})
    facts = PAGE.probe(node, settings(**values), Context())
    assert facts.noexec == point
    result = planned(facts=facts, **values)
    assert ([step.id for step in result] == ["python.noexec"]) == bool(point)
    (check,) = (each for each in PAGE.checks() if each.id == "python.noexec")
    (finding,) = run_check(check, node, Context())
    assert finding.result == ("problem" if point == "/home" else "ok")
    if point:
        (verdict,) = verdicts(result, node)
        assert isinstance(verdict, Blocked)
        assert verdict.reason.startswith(f"{point} is mounted with noexec")


def test_an_interpreter_that_is_here_and_does_not_work_is_reported() -> None:
    fault = "it lacks lzma (lzma: No module named '_lzma')"
    facts = PythonFacts(standalone=Known(("3.13.9",)), fault=Known(fault))
    (step,) = planned(facts=facts)
    verdict = step.inspect(SimulatedMachine(NODE))
    assert isinstance(verdict, Blocked)
    assert verdict.reason == f"{VERSIONS}/3.13.9 is Python 3.13.9, but {fault}: move it away, then plan again"
    (built,) = planned(method="pyenv", facts=PythonFacts(pyenv=Known(("3.13.9",)), fault=Known("it does not run")))
    assert "/home/bai/.pyenv/versions/3.13.9 is" in built.inspect(SimulatedMachine(NODE)).reason  # type: ignore[union-attr]
    for result in (Known(""), Unknown("needs root"), Absent()):
        assert len(planned(facts=PythonFacts(standalone=Known(("3.13.9",)), fault=result))) > 1
    shown = PAGE.reference_table(settings(), facts, Context(backend_ai="26.4")) if PAGE.reference_table else None
    assert shown is not None
    assert dict(shown.details)["Examined"] == fault


@pytest.mark.parametrize(
    ("asked", "has", "words"),
    [
        ("v3", "v3", ""),
        ("v3", "v4", ""),
        ("v3", "v2", "x86-64-v3 fails with an illegal instruction on this CPU, which supports x86-64-v2"),
        ("v2", "", "which supports baseline x86-64"),
    ],
)
def test_a_build_for_newer_processors(asked: str, has: str, words: str) -> None:
    steps = planned(level=asked, release="24.09", facts=PythonFacts(level=has))
    if words:
        (step,) = steps
        assert words in step.inspect(SimulatedMachine(NODE)).reason  # type: ignore[union-attr]
        return
    assert f"-x86_64_{asked}-unknown" in by_id(steps)["python.download"].url
    assert by_id(steps)["python.interpreter"].name.endswith(f"-linux-x86_64_{asked}-gnu")
    # An interpreter that is here stays, whatever it was made for; other processors have no such levels.
    here = PythonFacts(level="", standalone=Known(("3.12.8",)))
    assert by_id(planned(level=asked, release="24.09", facts=here))["python.interpreter"].version == "3.12.8"
    other = by_id(planned(level=asked, release="24.09", facts=PythonFacts(arch="aarch64")))
    assert "-aarch64-unknown" in other["python.download"].url


def test_other_architectures_are_advised_to_build() -> None:
    (step,) = planned(facts=PythonFacts(arch="riscv64"))
    assert 'set python.method = "pyenv"' in step.inspect(SimulatedMachine(NODE)).reason  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({Key("interpreter", f"{VERSIONS}/{NEWEST}"): Interpreter("3.13.1")}, "contains Python 3.13.1: move it away"),
        ({Key("interpreter", f"{VERSIONS}/{NEWEST}"): Interpreter("")}, "contains an incomplete Python"),
        (
            {Key("file", f"{VERSIONS}/{NEWEST}"): Entry("directory", 1100, 1100, 0o755)},
            "exists but is not a working Python",
        ),
        ({Key("file", "/home/bai/.static-python"): Entry("link", 1100, 1100, 0o777, target="/etc")}, "is a link"),
        ({Key("file", "/home/bai/.static-python"): Entry("directory", 1200, 1200, 0o755)}, "belongs to UID 1200"),
    ],
)
def test_conditions_that_block_the_interpreter(states: dict[Key, State | None], words: str) -> None:
    verdict = by_id(planned())["python.interpreter"].inspect(SimulatedMachine({**NODE, **states}))
    assert isinstance(verdict, Blocked)
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("venv", "words"),
    [
        (Venv("3.12.8", "/usr/bin"), "uses Python 3.12.8 from /usr/bin"),
        (Venv("3.13.3", "/usr/bin"), "with at least 3.13.7 is required"),
        (Venv("", "/opt/gone/bin"), "no longer exists; it was in /opt/gone/bin"),
    ],
)
def test_an_environment_of_another_python_is_never_overwritten(venv: Venv, words: str) -> None:
    node = SimulatedMachine({**NODE, Key("venv", "/home/bai/agent/.venv"): venv})
    verdict = by_id(planned(version="3.13.7", release=""))["python.venvs"].inspect(node)
    assert isinstance(verdict, Blocked)
    assert words in verdict.reason


def test_only_missing_packages_are_installed() -> None:
    venv = "/home/bai/agent/.venv"
    there = {Key("distribution", f"{venv}:{name}"): Package("80") for name in ("pip", "setuptools", "wheel", "six")}
    node = SimulatedMachine({**NODE, Key("venv", venv): Venv("3.13.9", f"{VERSIONS}/3.13.9/bin"), **there})
    step = by_id(planned(venvs=[{"service": "agent", "packages": ["six>=81", "idna"]}]))["python.venvs"]
    verdict = step.inspect(node)
    assert isinstance(verdict, Pending)
    lines = [change.headline() for change in verdict.changes]
    assert lines == [f"~ six in {venv}  80 → ", f"+ idna in {venv}"]
    assert verdict.lasting == (f"packages stay in {venv}: six>=81 idna",)


def test_no_account_and_no_home() -> None:
    step = by_id(planned())["python.interpreter"]
    assert "[account] in the answers" in step.inspect(SimulatedMachine({})).reason
    assert "does not exist" in step.inspect(SimulatedMachine({Key("user", "bai"): BAI})).reason


def test_pyenv_uses_both_mirrors_and_the_packages_of_the_release() -> None:
    result = by_id(
        planned(method="pyenv", pyenv_url="https://git.corp/mirror/pyenv.git", facts=PythonFacts(codename="trixie"))
    )
    assert result["python.pyenv-virtualenv"].url == "https://git.corp/mirror/pyenv-virtualenv.git"
    assert "libzstd-dev" in result["python.packages"].names
    assert "libzstd-dev" not in build_packages("noble")
    assert result["python.venv-agent"].name == "bai-26.4-agent"
    assert result["python.shell"].effect == "next-login"


def test_package_sources() -> None:
    context = Context(proxy_http="http://p:1", no_proxy="corp,10.0.0.0/8")
    pip = PythonFacts(pip=PipSettings("https://pypi.corp/simple", (), ("/srv/wheels",)))
    assert package_sources(settings(), pip, context) == PackageSources(
        "https://pypi.corp/simple", (), ("/srv/wheels",), False,
        (("http_proxy", "http://p:1"), ("no_proxy", "corp,10.0.0.0/8")),
    )  # fmt: skip
    own = package_sources(settings(find_links=["/mnt/wheels"]), pip, Context())
    assert own == PackageSources("", (), ("/mnt/wheels",), no_index=True)
    assert package_sources(settings(index_url="https://i.corp/s"), pip, Context()).index_url == "https://i.corp/s"


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://mirror.example/a", "http://p:1"),
        ("https://mirror.example/a", "http://p:2"),
        ("http://mirror.corp/a", ""),
        ("http://10.1.2.3/a", ""),
        ("http://127.0.0.1:8000/a", ""),
        ("http://notcorp/a", "http://p:1"),
        ("file:///srv/a", ""),
    ],
)
def test_the_proxy_for_an_address(url: str, proxy: str) -> None:
    context = Context(proxy_http="http://p:1", proxy_https="http://p:2", no_proxy=".corp, 10.0.0.0/8")
    assert proxy_for(url, context) == proxy


def test_the_table_marks_the_row_and_shows_installed_versions() -> None:
    facts = PythonFacts(
        standalone=Known(("3.13.9",)), system=Known("3.13.5"), pyenv=Known(("3.12.1",)), uv=Unknown("needs root")
    )
    sheet = PAGE.reference_table(settings(), facts, Context(backend_ai="25.14")) if PAGE.reference_table else None
    assert sheet is not None
    releases, needed, manual, build, _, installed = sheet.rows[sheet.marked]
    assert releases == "25.13 – 25.17"
    assert manual == "3.13.x"
    assert needed == "3.13"
    assert installed == "3.13.9 (standalone), uv: needs root, 3.13.5 (system)"
    assert build == NEWEST
    assert sheet.details == (("Version", "3.13.9, already installed"),)
    assert all(len(row) == len(sheet.headings) for row in sheet.rows)
    fresh = (
        PAGE.reference_table(settings(), PythonFacts(size=Known(33_600_000)), Context(backend_ai="27.1"))
        if PAGE.reference_table
        else None
    )
    assert fresh is not None
    assert fresh.marked == 0
    result = dict(fresh.details)
    assert result["Version"] == NEWEST
    assert result["Size"] == "34 MB"
    assert len(result["sha256"]) == 64
    assert "newer than the version table" in result["Note"]
    assert [row[1:3] for row in sheet.rows if row[0] == "25.1 – 25.5"] == [("3.12", "3.13.x !")]
