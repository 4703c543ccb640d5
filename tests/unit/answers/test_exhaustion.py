"""No answers file exhausts CPU or memory: `check` exits with 0 or 2 within 2 s and 300 MB."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from bai_wizard.answers import load, source, validate
from bai_wizard.answers.load import loads
from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.pages import values
from bai_wizard.pages.node import settings as node_settings
from bai_wizard.pages.python import settings as python_settings
from bai_wizard.pages.storage import settings as storage_settings
from bai_wizard.pages.values import Pattern
from tests.sampling import is_soak, sampled, seed
from tests.unit.answers import generate
from tests.unit.answers.checker import check_all
from tests.unit.answers.hostile import CASES, HEAD, dotted, hosts


def faults_of(directory: Path, files: dict[str, bytes]) -> dict[str, str]:
    """The faults of `check`, by the name of the file's case."""
    paths = {}
    for number, (name, data) in enumerate(files.items()):
        path = directory / f"{number}.toml"
        path.write_bytes(data)
        paths[str(path)] = name
    checks = check_all(map(Path, paths))
    return {paths[each.path]: each.fault() for each in checks if each.fault()}


def test_answers_made_to_exhaust_the_node(tmp_path: Path) -> None:
    cases = ((name, CASES[name]()) for name in sampled("hostile answers", sorted(CASES), 25))
    files = {name: data if isinstance(data, bytes) else data.encode() for name, data in cases}
    assert faults_of(tmp_path, files) == {}


@pytest.mark.parametrize("portion", range(40 if is_soak() else 1))
def test_generated_answers(tmp_path: Path, portion: int) -> None:
    """10,000 of them in a soak; each can be made again by its name."""
    size = 250 if is_soak() else 200
    names = [f"{seed()}:{number}" for number in range(portion * size, (portion + 1) * size)]
    assert faults_of(tmp_path, {name: generate.file(name) for name in names}) == {}


def problems(text: str, host: str = "bai-a01") -> list[Problem]:
    with pytest.raises(AnswersError) as caught:
        loads(text, "a.toml", host)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        (HEAD + "# it's 'a.b\n[a]\n" + dotted(17) + " = 1", (4, 1), "exceeds the limit of 16 parts"),
        (HEAD + "x = {y = {" + ' . "b"' * 17 + " = 1}}", (2, 14), "exceeds the limit of 16 parts"),
        (HEAD + "[" + dotted(17) + "]", (2, 2), "exceeds the limit of 16 parts"),
        (HEAD + "\n# " + "x" * 65_535, (3, 1), "exceeds the limit of 64 KiB"),
        (HEAD + "x = [" + "1," * 50_001 + "]", (0, 0), "exceeds the limit of 64 KiB"),
        (HEAD + "x = [" + "1,\n" * 50_001 + "]", (0, 0), "exceeds the limit of 50000 keys and values"),
        (HEAD + "x = " + "[" * 33 + "]" * 33, (0, 0), "nested too deeply"),
        ("version = 0x" + "f" * 300, (0, 0), "too many digits"),
    ],
)
def test_a_form_out_of_bounds_is_named_with_its_place(text: str, path: tuple[int, int], reason: str) -> None:
    (problem,) = problems(text)
    assert reason in problem.reason
    assert (problem.line, problem.column) in (path, (2, 1))


@pytest.mark.parametrize(
    "text",
    [
        "x = 1 # " + dotted(40),
        'x = "' + dotted(40) + '"',
        "x = '" + dotted(40) + "'",
        'x = """\n' + dotted(40) + ' = 1\n""""',
        "x = '''\n\"\n" + dotted(40) + "\n'''",
        "x = '''\n" + dotted(40) + "''\n'''''",
        'x = """\\""" ' + dotted(40) + '"""',
        'x = [ "' + "10.0.0.1,127.0.0.1," * 9 + '" ] # ' + dotted(40),
        "x = [" + "1.5, " * 40 + "]",
        "x." + dotted(15) + " = 1",
    ],
)
def test_dots_outside_keys_do_not_split(text: str) -> None:
    assert [problem.key for problem in problems(HEAD + text)] == ["x"]


def test_the_first_problems_are_listed_and_the_others_counted() -> None:
    listed = problems(HEAD + "[tuning]\n" + "".join(f"k{number} = 1\n" for number in range(3000)))
    assert len(listed) == validate.MAX_PROBLEMS + 1
    assert listed[0].line == 3
    assert str(listed[-1]) == "a.toml: 2800 more problems are not listed"
    mixed = problems(HEAD + "".join(f"[t{number}]\n" for number in range(150)) + "[node]\n" + "".join(
        f"k{number} = 1\n" for number in range(150)
    ) + "[[override]]\nhosts = ['x']\nbad = 1\n")  # fmt: skip
    assert len(mixed) == validate.MAX_PROBLEMS + 1
    assert "100 more problems are not listed" in mixed[-1].reason


def test_exactly_as_many_problems_as_are_listed_have_no_rest() -> None:
    text = HEAD + "[tuning]\n" + "".join(f"k{number} = 1\n" for number in range(validate.MAX_PROBLEMS))
    assert "more problems" not in problems(text)[-1].reason


def test_overrides_that_are_too_many_to_check_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from bai_wizard.answers.model import report

    text = HEAD + hosts(10) + "".join(f'[[override]]\nhosts=["h{n}"]\naliases.own_name="move"\n' for n in range(20))
    assert loads(text, "a.toml", "h1").unchecked == 0
    monkeypatch.setattr(load, "MAX_WORK", 300)
    answers = loads(text, "a.toml", "h1")
    assert 0 < answers.unchecked < 19
    assert f"Too many overrides for other hosts: {answers.unchecked} were not" in report(answers)
    wrong = text.replace('"move"', '"mvoe"')
    assert len(problems(wrong, "h1")) > 1, "those within the bound are still checked"


def test_bounds_on_overrides() -> None:
    tables = "".join(f'[[override]]\nhosts=["*{n}"]\n' for n in range(load.MAX_OVERRIDES + 1))
    assert "at most 2000 are allowed" in problems(HEAD + tables)[0].reason
    mine = '[[override]]\nhosts=["bai-*"]\n' * (load.MAX_OVERRIDES_OF_A_HOST + 1)
    assert "at most 50 can apply to one host" in problems(HEAD + mine)[0].reason
    assert "patterns" in problems(HEAD + "[[override]]\nhosts=[" + '"*",' * 2001 + "]")[0].reason
    assert "253 characters" in problems(HEAD + "[[override]]\nhosts=['" + "a" * 254 + "']")[0].reason
    several = ("bai-a01.corp", "BAI-A01", "bai-a0[1-3]", "bai-a?1", "bai-[!b]*", "*")
    for pattern in several:
        answers = loads(HEAD + f"[[override]]\nhosts=['{pattern}']\n[override.node]\n", "a.toml", "bai-a01.corp")
        assert list(answers.tables) == ["node"], pattern


def shapes() -> dict[str, Pattern]:
    """Every sort of text that answers are made of, by name."""
    result = {}
    for module in (values, node_settings, python_settings, storage_settings):
        for name, hint in vars(module).items():
            for extra in get_args(hint)[1:]:
                if isinstance(extra, Pattern):
                    result[name] = extra
    return result


# Letters that the expressions speak of; a text that repeats one or two of them makes a bad expression try for ever.
PUMPS = [first + second for first in "aA0.-_/:,@=[ \\%" for second in ("", *"a.-/:,@ ")]
BEGINNINGS = ["", "/", "a", "http://", "ssh-ed25519 ", "a@", "a:/", "mon1,", "[", "a b c "]


@pytest.mark.parametrize("name", sorted(shapes()))
def test_no_text_keeps_an_expression_busy(name: str) -> None:
    """An expression that is linear takes less than a millisecond of processor time for the longest text."""
    shape = shapes()[name]
    slow = []
    for beginning, pump in sampled(name, list(product(BEGINNINGS, PUMPS)), 150):
        text = (beginning + pump * shape.longest)[: shape.longest - 1] + "\t"
        begun = time.process_time()
        with suppress(ValueError):
            shape.check(text)
        spent = time.process_time() - begun
        if spent > 0.02:
            slow.append((beginning + pump, round(spent, 2)))
    assert slow == []
    with pytest.raises(ValueError, match="characters are allowed"):
        shape.check("a" * (shape.longest + 1))


def test_bounds_hold_for_the_largest_real_answers() -> None:
    """A thousand nodes with three names each and an override for every one of them."""
    rows = ",\n".join(
        f'{{ ip = "10.0.{n // 250}.{n % 250 + 1}", names = ["n{n}", "n{n}.corp", "x{n}"], comment = "rack {n}, 1" }}'
        for n in range(1000)
    )
    each = "".join(
        f'[[override]]\nhosts = ["n{n}"]\n[override.account]\nsudo = "no"\n[override.storage]\n'
        f'volumes = [ {{ name = "v{n}", type = "nfs", source = "10.0.0.1:/v{n}", options = "nconnect=8,rw" }} ]\n'
        for n in range(1000)
    )
    text = HEAD + f"[account]\nsudo = 'no'\n[aliases]\nhosts = [\n{rows}\n]\n{each}"
    answers = loads(text, "a.toml", "n7")
    assert answers.unchecked == 0
    assert len(text) < source.LIMIT
