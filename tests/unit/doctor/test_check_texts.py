"""`data/checks.toml` matches the checks in Python: every text is used, and every finding has its texts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bai_wizard
from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence
from bai_wizard.doctor.run import chosen_checks, examine, known_checks, run_check
from bai_wizard.doctor.search import known_failures
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.check import Outcome, check, check_texts, placeholders, problem

PACKAGES = [Path(bai_wizard.__file__).parent / name for name in ("pages", "doctor")]
# Names that begin a sentence as they are written.
PROGRAMS = ("apt", "containerd", "dockerd", "findmnt", "nouveau", "pip", "sshd", "sudo", "systemd")
# Keyword arguments of `problem` and `warning` that are not values for a text.
OWN = {"variant", "remedy"}


class Uses(ast.NodeVisitor):
    """Every call of `problem` and `warning` in a module: the check that makes it, its variants and its values."""

    def __init__(self) -> None:
        self.check = ""
        self.calls: list[tuple[str, tuple[str, ...], frozenset[str]]] = []
        self.aliases = {"problem", "warning"}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before = self.check
        for decorator in node.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and isinstance(decorator.func, ast.Name)
                and decorator.func.id in ("check", "nvidia_check", "vendor_check")
                and isinstance(decorator.args[0], ast.Constant)
            ):
                self.check = ast.literal_eval(decorator.args[0])
        self.generic_visit(node)
        self.check = before

    def visit_Assign(self, node: ast.Assign) -> None:
        """`conclude = problem if … else warning`."""
        names = {each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)}
        if isinstance(node.value, ast.IfExp) and {"problem", "warning"} <= names:
            self.aliases |= {each.id for each in node.targets if isinstance(each, ast.Name)}
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in self.aliases:
            words = {each.arg: each.value for each in node.keywords if each.arg}
            values = frozenset(words) - OWN if all(each.arg for each in node.keywords) else frozenset({"**"})
            self.calls.append((self.check, strings(words.get("variant")), values))
        self.generic_visit(node)


def strings(value: ast.expr | None) -> tuple[str, ...]:
    """The literals that an expression can have; ("*",) if it is not made of literals."""
    if value is None:
        return ("",)
    if isinstance(value, ast.Constant):
        return (str(value.value),)
    if isinstance(value, ast.IfExp):
        return strings(value.body) + strings(value.orelse)
    return ("*",)


def uses(path: Path) -> list[tuple[str, tuple[str, ...], frozenset[str]]]:
    source = path.read_text(encoding="utf-8")
    if "bai_wizard.pages.check import" not in source:
        return []
    result = Uses()
    result.visit(ast.parse(source))
    return result.calls


CALLS = [(path, *call) for package in PACKAGES for path in sorted(package.rglob("*.py")) for call in uses(path)]


def test_every_text_belongs_to_a_check_or_to_the_symptom_search() -> None:
    known = {each.id for each in known_checks()}
    for id, text in check_texts().items():
        assert set(text.decided_by) <= known, id
        assert id in known or text.texts, f"{id}: neither a check nor a message to search for"


def test_every_check_has_problem_cause_and_fix() -> None:
    checks = {each.id for each in known_checks()}
    for id, text in check_texts().items():
        for wording in (text.wording, *text.variants.values()):
            assert all((wording.problem, wording.cause, wording.fix)), id
            for sentence in (wording.cause, wording.fix, *([wording.risk] if wording.risk else [])):
                first = sentence.split()[0]
                assert (
                    first[0].isupper()
                    or first[0] in "`{"
                    or first in PROGRAMS
                    or {"_", "-"} & set(first)
                    or first == "1."
                ), (
                    id,
                    sentence,
                )
                assert sentence.endswith((".", "`", "!")), (id, sentence)
            assert bool(text.title) or id not in checks, id
            assert not {text.title[-1:], wording.problem[-1]} & {".", "!"}, id


def test_every_id_has_one_form_and_earlier_ids_stay_unique() -> None:
    texts = check_texts()
    earlier = [text.formerly for text in texts.values() if text.formerly]
    assert len(earlier) == len(set(earlier))
    assert not set(earlier) & set(texts)


@pytest.mark.parametrize("call", CALLS, ids=[f"{path.stem}-{id}" for path, id, *_ in CALLS])
def test_every_conclusion_has_its_texts(call: tuple[Path, str, tuple[str, ...], frozenset[str]]) -> None:
    path, id, variants, values = call
    if not id or variants == ("*",) or values == {"**"}:
        pytest.skip("made by a shared function: its check's own tests show that the texts are there")
    text = check_texts()[id]
    # A variant that is not a literal can be any of the check's.
    names = [name for each in variants for name in (text.variants if each == "*" else (each,))]
    needed = [placeholders(text.variants[name] if name else text.wording) for name in names]
    assert set().union(*needed) == values, f"{path.name}: {id}"
    assert all(each == values for each in needed) or len(needed) > 1, f"{path.name}: {id}"


def test_every_variant_is_used() -> None:
    used: dict[str, set[str]] = {}
    for _, id, variants, _ in CALLS:
        used.setdefault(id, set()).update(variants)
    shared = used.get("", set())
    for id, text in check_texts().items():
        for name in text.variants:
            assert {name, "*"} & (used.get(id, set()) | shared), f"{id}: nothing uses the variant {name}"


def with_old_id() -> tuple[str, str]:
    text = next(text for text in check_texts().values() if text.formerly and not placeholders(text.wording))
    return text.id, text.formerly


def test_an_earlier_id_selects_excludes_and_ignores_its_check() -> None:
    id, earlier = with_old_id()
    checks = known_checks()
    assert [each.id for each in chosen_checks(checks, only=[earlier])] == [id]
    assert id not in {each.id for each in chosen_checks(checks, skip=[earlier])}

    @check(id)
    def failing(machine: Machine, context: Context) -> Outcome:
        return problem(Evidence("what", "where", "found", "expected"))

    (finding,) = examine([failing], SimulatedMachine({}), Context(demo=True), {earlier: "accepted"})
    assert (finding.result, finding.ignored) == ("problem", "accepted")


def test_a_missing_or_superfluous_value_is_an_error_of_the_check() -> None:
    id, _ = with_old_id()

    @check(id)
    def careless(machine: Machine, context: Context) -> Outcome:
        return problem(Evidence("version", "", "1", "2"), nothing="there is no such placeholder")

    with pytest.raises(ValueError, match="no text uses nothing"):
        careless.run(SimulatedMachine({}), Context())


def test_a_check_with_several_outcomes_has_a_finding_for_each() -> None:
    @check(with_old_id()[0])
    def several(machine: Machine, context: Context) -> tuple[Outcome, ...]:
        return tuple(problem(Evidence(name, "", "missing", "present")) for name in ("first", "second"))

    findings = run_check(several, SimulatedMachine({}), Context())
    assert [(each.result, each.evidence[0].what) for each in findings] == [
        ("problem", "first"),
        ("problem", "second"),
    ]


def test_a_check_that_cannot_read_its_node_is_unknown() -> None:
    @check(with_old_id()[0])
    def blind(machine: Machine, context: Context) -> Outcome:
        raise StateUnknown("/etc/hosts is a directory")

    (finding,) = run_check(blind, SimulatedMachine({}), Context())
    assert (finding.result, finding.cause) == ("cannot-tell", "/etc/hosts is a directory")


def test_the_symptom_search_shows_no_unfilled_placeholder() -> None:
    for failure in known_failures():
        assert "{" not in f"{failure.title}{failure.cause}{failure.remedy}{failure.risk}", failure.id
