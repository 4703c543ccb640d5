"""What the doctor looks at in CUDA: what images ask for, and what lies on the node."""

from __future__ import annotations

import re

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.accelerators.check.look import PAGE, nvidia_check
from bai_wizard.pages.accelerators.facts import Card
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.nvidia_versions import branch_of
from bai_wizard.steps.write_file import DropIn

REQUIRED = Subject("nvidia-require-cuda", PAGE, "The driver is new enough for the images that are here")
COMPAT = Subject("nvidia-forward-compat", PAGE, "No library for forward compatibility is in the way")
NVCC = Subject("nvidia-nvcc-missing", PAGE, "An installed CUDA toolkit is found by shells")
RUNTIME = Subject("accelerators.cuda-runtime", PAGE, "CUDA's runtime library can be loaded by the agent")
MOST_IMAGES = 40
VARIABLE = "NVIDIA_REQUIRE_CUDA="
PROFILE = "/etc/profile.d/bai-wizard-cuda.sh"
_CLAUSE = re.compile(r"(cuda|driver|brand|arch)(>=|<=|!=|=|<|>)([\w.]+)")


def required(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """The expression in the images' own environment, as the toolkit evaluates it."""
    if not isinstance(facts.nvml, Known) or not facts.nvml.value.is_healthy:
        return REQUIRED.not_applicable("the driver does not answer; other checks say why")
    images = machine.engine("/images/json")
    if not isinstance(images, list):
        return REQUIRED.not_applicable("no Docker runs on this node")
    cuda, driver = facts.nvml.value.cuda, branch_of(facts.nvml.value.driver)
    evidence = []
    for image in images[:MOST_IMAGES]:
        expression = _requirement(machine, str(image.get("Id", "")))
        if expression and not satisfied(expression, cuda, driver):
            name = str((image.get("RepoTags") or [image.get("Id", "")])[0])
            wanted = next(iter(re.findall(r"cuda>=[\d.]+", expression)), expression)
            evidence.append(
                Evidence(name, "NVIDIA_REQUIRE_CUDA", f"the driver runs CUDA {cuda[0]}.{cuda[1]}", wanted)
            )
    if not evidence:
        return REQUIRED.ok()
    return REQUIRED.warning(
        f"{len(evidence)} images need a newer driver",
        evidence,
        cause="The images are built for a CUDA that this driver does not run.",
        guidance="Take a newer driver branch (accelerators.nvidia.driver), or older tags of these images.",
        risk="NVIDIA_DISABLE_REQUIRE=true only hides it: programs end while they run.",
    )


def _requirement(machine: Machine, image: str) -> str:
    try:
        about = machine.engine(f"/images/{image}/json")
    except CannotTell:
        return ""
    config = (about.get("Config") or {}) if isinstance(about, dict) else {}
    found = [one.removeprefix(VARIABLE) for one in config.get("Env") or () if one.startswith(VARIABLE)]
    return found[0] if found else ""


def satisfied(expression: str, cuda: tuple[int, int], branch: str) -> bool:
    """Alternatives are set apart by blanks, and each one's clauses by commas (libnvidia-container, `nvc --require`).

    The GPU's brand and architecture are taken as fitting: those alternatives are for other drivers, not other GPUs.
    """
    return any(all(_holds(clause, cuda, branch) for clause in one.split(",")) for one in expression.split())


def _holds(clause: str, cuda: tuple[int, int], branch: str) -> bool:
    found = _CLAUSE.fullmatch(clause.strip())
    if found is None:
        return False
    what, operator, text = found.groups()
    if what in ("brand", "arch"):
        return True
    numbers = tuple(int(part) for part in text.split(".") if part.isdigit())
    here: tuple[int, ...] = cuda if what == "cuda" else (int(branch or 0),)
    there = (*numbers, 0, 0)[: len(here)]
    answers = {
        ">=": here >= there, "<=": here <= there, "=": here == there,
        "!=": here != there, "<": here < there, ">": here > there,
    }  # fmt: skip
    return answers[operator]


def compat(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """CUDA's compatibility directory in the loader's path of the host."""
    directory = "/etc/ld.so.conf.d"
    found = []
    for name in machine.names(directory):
        text = machine.text(f"{directory}/{name}") if name.endswith(".conf") else ""
        found += [
            f"{directory}/{name}: {line}" for line in (text or "").split("\n") if "cuda" in line and "compat" in line
        ]
    if not found:
        return COMPAT.ok()
    geforce = [card.model for card in cards if "GeForce" in card.model or card.model.startswith("RTX")]
    return COMPAT.warning(
        "A library for forward compatibility is found before the driver's own",
        [Evidence("loader", one.partition(": ")[0], one.partition(": ")[2], "not there") for one in found],
        cause="cuda-compat was installed on the host, or copied from an image."
        + (f" {geforce[0]} does not support it: programs end with error 804." if geforce else ""),
        guidance="Take the line out, run ldconfig, and update the driver instead.",
    )


def nvcc(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """The toolkit's packages do not touch anybody's PATH. Containers do not need it."""
    compiler = "/usr/local/cuda/bin/nvcc"
    if machine.entry("/usr/local/cuda") is None:
        return NVCC.not_applicable("no CUDA toolkit of NVIDIA's packages on this node")
    profiles = [f"/etc/profile.d/{name}" for name in machine.names("/etc/profile.d") if name.endswith(".sh")]
    if machine.entry("/usr/bin/nvcc") is not None or any(
        "cuda/bin" in (machine.text(path) or "") for path in profiles
    ):
        return NVCC.ok()
    text = (
        "# Written by bai-wizard: the CUDA toolkit for login shells.\nPATH=$PATH:/usr/local/cuda/bin\nexport PATH\n"
    )
    return NVCC.warning(
        "The CUDA toolkit is installed, and login shells do not find nvcc",
        [Evidence("PATH", "/etc/profile.d", "nothing names cuda/bin", compiler)],
        cause="NVIDIA's packages do not edit PATH.",
        guidance="Only for people who compile on the node itself; sessions bring their own.",
        remedy=(DropIn(id="accelerators.cuda-path", path=PROFILE, text=text, why="nvcc for login shells"),),
    )


def runtime(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Loaded for real, in a child; without it the plug-in cuda_open finds no GPU."""
    if "compute" not in context.roles:
        return RUNTIME.not_applicable("no agent runs on this node")
    if isinstance(facts.cudart, Unknown):
        return RUNTIME.cannot_tell(facts.cudart.reason)
    if isinstance(facts.cudart, Known):
        return RUNTIME.ok(Evidence("libcudart", "ldconfig's cache", facts.cudart.value, "any of CUDA 5 to 13"))
    return RUNTIME.problem(
        "Backend.AI's agent cannot load CUDA's runtime library, so it finds no GPU",
        [Evidence("libcudart.so", "ldconfig's cache", "cannot be loaded", "libcudart.so.12, for instance")],
        cause="The library is not installed, or «ldconfig» was not run since.",
        guidance='Apply the accelerators page with cuda_toolkit = "runtime" (the default).',
    )


CHECKS = (
    nvidia_check(RUNTIME, runtime),
    nvidia_check(REQUIRED, required, "nvidia-module-missing"),
    nvidia_check(COMPAT, compat),
    nvidia_check(NVCC, nvcc),
)
