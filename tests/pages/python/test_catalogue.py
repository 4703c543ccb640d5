"""The catalog is complete for every row of the version table and can be read by uv."""

import json
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from bai_wizard.pages.python.probe import LEVELS, flags_of, x86_level
from bai_wizard.pages.python.versions import Build, NoBuild, Row, builds, choose_build, number_of, parse_builds, rows
from bai_wizard.resources.local import LocalMachine

DATA = files("bai_wizard.data").joinpath("python-catalogue.json")


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("row", rows(), ids=lambda row: row.releases)
def test_every_row_of_the_table_has_a_build(row: Row, arch: str) -> None:
    build = choose_build(row.python, arch, least=row.least)
    assert number_of(build.version) >= row.least
    assert build.arch == arch
    assert build.level == ""


def test_every_entry_is_whole() -> None:
    assert len(str(DATA.read_text())) < 2_000_000
    paths = set()
    for build in builds():
        assert len(build.sha256) == 64, build
        assert build.file.startswith(f"cpython-{build.version}+{build.date}-{build.arch}"), build
        assert build.file.endswith(f"-unknown-linux-gnu-{build.flavour}.tar.gz"), build
        assert build.address() == build.url, build
        paths.add(build.place)
    assert len(paths) == len(builds())
    assert {build.level for build in builds()} == {"", "v2", "v3", "v4"}
    assert min(number_of(build.version)[:2] for build in builds()) == (3, 8)


def test_uv_reads_the_catalog_unchanged(tmp_path: Path) -> None:
    from uv import find_uv_bin

    argv = [find_uv_bin(), "python", "list", "--all-versions", "--all-arches", "--only-downloads", "--output-format",
            "json", "--offline", "--no-config", "--python-downloads-json-url", str(DATA)]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, check=True, cwd=tmp_path)
    assert {entry["key"] for entry in json.loads(done.stdout)} == {build.key for build in builds()}


def test_the_newest_patch_is_taken_and_the_flavour_gives_way() -> None:
    newest = choose_build("3.13", "x86_64")
    assert number_of(newest.version) == max(
        number_of(build.version) for build in builds() if build.version.startswith("3.13.") and build.arch == "x86_64"
    )
    assert newest.flavour == "install_only_stripped", "no unstripped hash is known for it"
    assert choose_build("3.13.2", "x86_64").flavour == "install_only"
    assert choose_build("3.13.2", "x86_64", flavour="install_only_stripped").flavour == "install_only_stripped"
    assert choose_build("3.12", "x86_64", level="v3").key.endswith("-linux-x86_64_v3-gnu")


def test_a_missing_build_is_reported_with_the_available_ones() -> None:
    with pytest.raises(NoBuild, match=r"no build of Python 3\.10\.1 for x86_64 exists; there are .*3\.10\.14"):
        choose_build("3.10.1", "x86_64")
    with pytest.raises(NoBuild, match="nor of its minor version"):
        choose_build("3.7", "x86_64")
    with pytest.raises(NoBuild, match="no builds for riscv64"):
        choose_build("3.13", "riscv64")
    with pytest.raises(NoBuild, match=r"the newest build of Python 3\.8 is 3\.8\.20, at least 3\.8\.99"):
        choose_build("3.8", "aarch64", least=(3, 8, 99))


def test_a_mirror_replaces_the_releases() -> None:
    build = choose_build("3.13.2", "x86_64")
    assert build.address("http://mirror.corp/pbs/") == (
        "http://mirror.corp/pbs/20250317/cpython-3.13.2%2B20250317-x86_64-unknown-linux-gnu-install_only.tar.gz"
    )
    (again,) = parse_builds(
        json.dumps({build.key: {**json.loads(build.entry())[build.key], "flavour": build.flavour}})
    )
    assert again == build


def test_levels_need_the_levels_below() -> None:
    v2, v3, v4 = (needed for _, needed in LEVELS)
    assert x86_level({"sse2"}) == ""
    assert x86_level(v2) == "v2"
    assert x86_level(v2 | v3) == "v3"
    assert x86_level(v2 | v3 | v4) == "v4"
    assert x86_level(v2 | v4) == "v2", "AVX-512 without AVX2 is no level"
    assert flags_of("processor\t: 0\nflags\t\t: fpu sse2\n\nprocessor\t: 1\nflags\t\t: other\n") == ("fpu", "sse2")
    assert flags_of("processor\t: 0\nFeatures\t: fp asimd\n") == ()


def test_the_kernels_flags_give_the_level_that_py_cpuinfo_gives() -> None:
    """The file is read in no time; py-cpuinfo takes seconds and is the judge of the names in it."""
    machine = LocalMachine()
    quick = x86_level(flags_of(machine.kernel_text("/proc/cpuinfo") or ""))
    assert quick == x86_level(machine.hardware("processor").flags)


def test_build_names() -> None:
    build = Build("k", "3.12.1", "20240107", "x86_64", "", "install_only", "https://h/a%2Bb.tar.gz", "0" * 64)
    assert (build.file, build.released) == ("a+b.tar.gz", "2024-01-07")
