"""Pages: the context of their plans, facts, checks, findings, and steps that report what is not handled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from bai_wizard.core.errors import StateUnknown, StepBlocked
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import without_credentials
from bai_wizard.core.state import ComparedInPart
from bai_wizard.core.step import Step

if TYPE_CHECKING:
    from bai_wizard.core.machine import NodeView


T = TypeVar("T")
U = TypeVar("U")


class Known(Generic[T], Struct, frozen=True):
    """The probe returned a value."""

    value: T


class Absent(Struct, frozen=True):
    """The probe established that this does not exist on the node."""


class Unknown(Struct, frozen=True):
    """The probe returned no answer. Must never be treated as absent. `reason` is display text."""

    reason: str


class Probing(Unknown, frozen=True):
    """No answer yet; one may arrive until the deadline (in seconds). A page shows this state, not its reason."""

    deadline: float = 0.0

    @staticmethod
    def within(deadline: float) -> Probing:
        """Return the fact for a probe that was started just now."""
        return Probing(f"checking (up to {deadline:g} s)", deadline)


class Shown(str):
    """The display text of a fact without a value; code that makes decisions uses `fact`."""

    fact: Unknown

    def __new__(cls, text: str, fact: Unknown) -> Shown:
        shown = super().__new__(cls, text)
        shown.fact = fact
        return shown


def cannot_tell(fact: Unknown) -> Shown:
    """Return the text of a fact that is unknown, or not yet known."""
    return Shown(fact.reason if isinstance(fact, Probing) else f"unknown: {fact.reason}", fact)


Fact = Known[T] | Absent | Unknown


def read_fact(read: Callable[[], T | None]) -> Fact[T]:
    """Return the result of `read`: None is Absent, StateUnknown is Unknown."""
    try:
        value = read()
    except StateUnknown as error:
        return Unknown(str(error))
    return Absent() if value is None else Known(value)


def value_of(fact: Fact[T]) -> T | None:
    """Return the value, or None if it is absent. Raises StateUnknown if it is unknown."""
    if isinstance(fact, Unknown):
        raise StateUnknown(fact.reason)
    return fact.value if isinstance(fact, Known) else None


def value_or(fact: Fact[T], default: U) -> T | U:
    """Return the value if known, otherwise `default`. For display only: decisions distinguish the three cases."""
    return fact.value if isinstance(fact, Known) else default


Role = Literal["management", "compute", "storage"]


class Context(Struct, frozen=True):
    """Values of other tables, whether applied or not, and the node's host name.

    `account` is the service account. `answers` maps table names to plain values as written, for pages that depend on
    another page's settings (tuning on docker's, checks on storage's). `bundle` is the directory from which an
    air-gapped node installs everything. `sudo` is the account's sudo access in the answers, empty without answers.
    `insecure_registries` are those declared by the Docker page of the same run.
    """

    host: str = ""
    account: str = "bai"
    uid: int = 1100
    gid: int = 1100
    home: str = "/home/bai"
    roles: tuple[Role, ...] = ("compute",)
    backend_ai: str = ""
    proxy_http: str = ""
    proxy_https: str = ""
    no_proxy: str = ""
    ca_certificates: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    demo: bool = False
    bundle: str = ""
    sudo: str = ""


Settings = Any
Facts = Any


class ReferenceTable(Struct, frozen=True):
    """A table that a page shows above its fields. `marked` is the row that applies to this node, -1 for none.

    `details` are (label, value) pairs about the marked row. Selecting a row sets `field` of the answers to the value
    of the row in `values`. `notes` are remarks about rows.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: int = -1
    details: tuple[tuple[str, str], ...] = ()
    field: str = ""
    values: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Row(Struct, frozen=True):
    """How a page's table shows one field of the answers: `field` is its path, such as `docker.log.driver`.

    `now` are the labels in `Page.now` that show the current value. `steps` are ids of steps that bring the
    field into effect, or beginnings of ids that end with a dot; those `if_set` only count if the field has a value
    other than its default. `default` is what an empty value means. `is_needed`: the page cannot be applied without
    a value, although the answers may omit it. `is_advanced`: rarely needed, so it is folded by default.
    """

    field: str
    now: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    if_set: tuple[str, ...] = ()
    default: str | Callable[[Settings, Context], str] = ""
    is_needed: bool = False
    is_advanced: bool = False


class Item(Struct, frozen=True):
    """One line of a page's table that is not a field: an object with its current and its desired state.

    `steps` as in `Row`. `keys` are the keys of changes to the object, written `kind:name`, if a step changes several
    objects. Without `want`, it is the outcome of the only change of the steps. `about` explains the desired state.
    """

    label: str
    now: str = ""
    want: str = ""
    steps: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    about: str = ""


class Page(Struct, frozen=True):
    """The parts of a page; each part is a plain function in the page's own package.

    * `probe` reads the node (impure), `steps` decides (pure), `predict` updates the facts with the results of earlier
      pages of the same plan, `checks` are run by the doctor and the preflight, and `now` summarizes the facts as
      (label, value) pairs for the screens.
    * `rows` are the fields that a screen shows first, in that order; all others are advanced settings. Without any,
      all fields are shown. `items` are the objects that the page is about, such as images.
    * `table` is the table of the answers that enables this page; empty means the page's name.
    * `runtime_secrets` are the secrets that its steps need in clear text while they run: name → source of the secret.
    * `reference_table` is a lookup table, if the page has one.
    * `probe_telling` is `probe` for a page with independent facts: it reports partial facts, with `Probing` for the
      rest, each time another one is known.
    * `unset` describes what this page leaves open although it has no change to make: a choice that was not made, or
      hardware that the answers do not configure. Empty if an empty plan means that the page is done.
    """

    name: str
    title: str
    summary: str
    settings: type
    probe: Callable[[Machine, Settings, Context], Facts]
    steps: Callable[[Settings, Facts, Context], tuple[Step, ...]]
    checks: Callable[[], tuple[Check, ...]]
    predict: Callable[[Facts, NodeView], Facts] = lambda facts, _predicted: facts
    now: Callable[[Facts], tuple[tuple[str, str], ...]] = lambda _facts: ()
    rows: tuple[Row, ...] = ()
    items: Callable[[Settings, Facts, Context], tuple[Item, ...]] = lambda _settings, _facts, _context: ()
    table: str = ""
    runtime_secrets: Callable[[Settings], Mapping[str, Any]] = lambda _settings: {}
    reference_table: Callable[[Settings, Facts, Context], ReferenceTable] | None = None
    probe_telling: Callable[[Machine, Settings, Context, Callable[[Facts], None]], Facts] | None = None
    unset: Callable[[Settings, Facts, Context], str] = lambda _settings, _facts, _context: ""


Result = Literal["ok", "problem", "warning", "cannot-tell", "not-applicable", "crashed"]
# The cost of a check. cheap: reads files or queries a small program. expensive: runs a heavy program or uses the
# network, so it gets its own child process. shared: the first check of a page does the lookup for the others, so they
# wait for it.
Cost = Literal["cheap", "expensive", "shared"]
# Deadline of a check in seconds: longer than its queries may take (`Machine.query`: 5), plus scheduling delay on a
# node that is busy with jobs.
CHECK_DEADLINE = 8.0
# Maximum number of pieces of evidence in a finding, and maximum characters per text; omissions are counted.
MAX_EVIDENCE = 200
LONGEST_TEXT = 8000


class Evidence(Struct, frozen=True):
    """What was checked, where, the actual value and the expected value. Credentials in URLs are removed.

    `about` identifies the difference, so that code need not compare texts; it is never shown.
    """

    omitted_if_default: ClassVar[tuple[str, ...]] = ("about",)

    what: str
    where: str
    found: str
    expected: str
    about: str = ""

    def __post_init__(self) -> None:
        _limit(self, "what", "where", "found", "expected")
        _hide_logins(self, "what", "where", "found", "expected")


class Finding(ComparedInPart, frozen=True):
    """The result of one check. `suppressed_by` names the root cause that also explains this finding.

    If `owner` is "site", the decision is the site team's; the doctor only checks and never offers a change.
    """

    kind: ClassVar[str] = "finding"
    not_compared: ClassVar[tuple[str, ...]] = ("remedy",)
    id: str
    result: Result
    title: str
    page: str = ""
    evidence: tuple[Evidence, ...] = ()
    cause: str = ""
    guidance: str = ""
    risk: str = ""
    owner: str = "bai-wizard"
    suppressed_by: str = ""
    ignored: str = ""
    remedy: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        if self.owner == "site" and self.remedy:
            raise ValueError(f"{self.id} must be changed by the site team: it has no automatic fix")
        if len(self.evidence) > MAX_EVIDENCE:
            left_out = len(self.evidence) - MAX_EVIDENCE + 1
            rest = Evidence("more evidence", "omitted", f"{left_out} more like these", "")
            force_setattr(self, "evidence", (*self.evidence[: MAX_EVIDENCE - 1], rest))
        _limit(self, "title", "cause", "guidance", "risk")
        _hide_logins(self, "title", "cause", "guidance", "risk")

    def to_wire(self) -> dict[str, Any]:
        """Return everything, including the fix, for another process of the wizard."""
        from bai_wizard.core.codec import KEPT

        body = {name: KEPT.encode(getattr(self, name)) for name in _plain_fields()}
        return {**body, "remedy": [KEPT.encode(step) for step in self.remedy]}

    @staticmethod
    def from_wire(data: dict[str, Any]) -> Finding:
        """Read the output of `to_wire`; the modules of the fix's step kinds must have been imported."""
        from bai_wizard.core.codec import KEPT
        from bai_wizard.core.step import step_from_json

        body = {name: data[name] for name in _plain_fields() if name != "evidence"}
        evidence = tuple(KEPT.decode(Evidence, item) for item in data["evidence"])
        remedy = tuple(step_from_json(KEPT, item) for item in data["remedy"])
        return Finding(**body, evidence=evidence, remedy=remedy)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; the fix is represented by the ids and descriptions of its steps."""
        from bai_wizard.core.codec import SHOWN

        body = {name: SHOWN.encode(getattr(self, name)) for name in _plain_fields()}
        body["evidence"] = [SHOWN.encode(replace(each, about="")) for each in self.evidence]
        steps = [{"id": step.id, "describe": step.describe()} for step in self.remedy]
        return {"kind": self.kind, **body, "remedy": steps}


def _limit(owner: Evidence | Finding, *names: str) -> None:
    for name in names:
        text = getattr(owner, name)
        if len(text) > LONGEST_TEXT:
            tail = f" … ({len(text)} characters)"
            force_setattr(owner, name, text[: LONGEST_TEXT - len(tail)] + tail)


def _hide_logins(owner: Evidence | Finding, *names: str) -> None:
    for name in names:
        force_setattr(owner, name, without_credentials(getattr(owner, name)))


def _plain_fields() -> tuple[str, ...]:
    return tuple(name for name in Finding.__struct_fields__ if name != "remedy")


class CheckWords(Struct, frozen=True):
    """The title of a check, who fixes a problem that it finds, and its ID in earlier versions."""

    title: str
    owner: str = "bai-wizard"
    formerly: str = ""


class Check(Struct, frozen=True):
    """A named, read-only check. Its `words` are loaded on demand, because few checks fail.

    `needs` lists ids of checks that must not have found a problem; otherwise this check is suppressed with the
    reason. `deadline` is in seconds. Findings of a `root_cause` check are listed first. `run` returns one or more
    findings. Shared checks with the same `group` use one lookup; empty means the group of the page.
    """

    id: str
    page: str
    words: Callable[[], CheckWords]
    run: Callable[[Machine, Context], Finding | tuple[Finding, ...]]
    needs: tuple[str, ...] = ()
    deadline: float = CHECK_DEADLINE
    root_cause: bool = False
    needs_root: bool = False
    cost: Cost = "cheap"
    group: str = ""

    @property
    def title(self) -> str:
        """The healthy state that the check verifies."""
        return self.words().title

    @property
    def owner(self) -> str:
        """Who fixes a problem that the check finds: the wizard, or "site"."""
        return self.words().owner

    @property
    def formerly(self) -> str:
        """The id of the check in earlier versions; empty if it had none."""
        return self.words().formerly

    def is_among(self, names: Collection[str]) -> bool:
        """Whether `names` contains the current or a former id of this check."""
        return self.id in names or (self.formerly != "" and self.formerly in names)


class Unsupported(Step, frozen=True, kw_only=True):
    """Blocks with `reason`. With `optional`, the rest of the plan can be applied.

    With `undetermined`, the reason is that something cannot be read, perhaps only by this user. `source_is_gone`: a
    file that was needed to apply it cannot be read; what it has put into effect may still be there.
    """

    kind: ClassVar[str] = "refusal"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("undetermined", "source_is_gone")
    title: str
    reason: str
    undetermined: bool = False
    source_is_gone: bool = False

    def describe(self) -> str:
        return self.title

    def operations(self, view: NodeView) -> Iterator[Operation]:
        raise StateUnknown(self.reason) if self.undetermined else StepBlocked(self.reason)
        yield  # a generator, like in every step


def refusals(findings: Iterable[Finding]) -> tuple[Step, ...]:
    """One step per finding: the rest of the plan can be applied, and the exit code shows that problems remain."""
    return tuple(
        Unsupported(
            id=f"{finding.page}.{finding.id.removeprefix(f'{finding.page}.')}",
            title=finding.title,
            reason=f"{_told(finding)}. {finding.guidance}",
            optional=True,
        )
        for finding in findings
    )


def _told(finding: Finding) -> str:
    return "; ".join(f"{each.where}: {each.what}: {each.found}" for each in finding.evidence) or finding.cause
