"""Which level of the x86-64 instruction set a processor has, by the flags that the kernel shows."""

from __future__ import annotations

from collections.abc import Collection

# As the psABI for x86-64 defines the levels, in the words of /proc/cpuinfo (pni is SSE3, abm has LZCNT).
LEVELS: tuple[tuple[str, frozenset[str]], ...] = (
    ("v2", frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})),
    ("v3", frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"})),
    ("v4", frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})),
)


def x86_level(flags: Collection[str]) -> str:
    """`v4`, `v3`, `v2`, or empty for the baseline. A level counts only with all the levels below it."""
    reached = ""
    for level, needed in LEVELS:
        if not needed <= set(flags):
            break
        reached = level
    return reached


def flags_of(cpuinfo: str) -> tuple[str, ...]:
    """The flags of the first processor in the text of /proc/cpuinfo; none on other architectures."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return tuple(value.split())
    return ()
