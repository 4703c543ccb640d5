"""Which Python for which Backend.AI release: the manual's table, the detailed one, and every valid request."""

import pytest

from bai_wizard.pages.python.versions import UnknownRelease, dotted, last_release, manual_rows, rows, which_python

# The page of the manual, retyped: the data must contain it word for word.
PRINTED = {
    "25.x": ("3.13.x", "2.23.2"),
    "24.03.x ~ 24.09.x": ("3.12.x", "2.21.x"),
    "23.03.x ~ 23.09.x": ("3.11.x", "2.19.x"),
    "22.03.x ~ 22.09.x": ("3.10.x", ""),
    "21.03.x ~ 21.09.x": ("3.8.x", ""),
}


def test_the_printed_table_is_kept_as_printed() -> None:
    assert {row.releases: (row.python, row.pants) for row in manual_rows()} == PRINTED
    assert all(row.rows for row in manual_rows())


def test_rows_follow_each_other_without_overlap() -> None:
    for earlier, later in zip(rows(), rows()[1:], strict=False):
        assert last_release(earlier.last) < later.first, (earlier, later)
        assert earlier.first <= last_release(earlier.last)
    for row in rows():
        assert dotted(row.least).startswith(f"{row.python}."), row
        assert row.source


@pytest.mark.parametrize(
    ("release", "python", "least", "pants"),
    [
        ("21.03.0", "3.8", "3.8.0", ""),
        ("21.03.1", "3.9", "3.9.0", ""),
        ("22.03.2", "3.10", "3.10.0", ""),
        ("22.09.11", "3.10", "3.10.0", "2.16.0"),
        ("23.03.4", "3.11", "3.11.0", "2.19.0"),
        ("24.03.0", "3.12", "3.12.0", "2.21.0"),
        ("24.3.0", "3.12", "3.12.0", "2.21.0"),
        # The manual says 3.13 for the whole of 25.x; the tags up to 25.5.2 say 3.12.8.
        ("25.5.2", "3.12", "3.12.0", "2.23.2"),
        ("25.6.0", "3.13", "3.13.0", "2.23.2"),
        ("25.13.0", "3.13", "3.13.0", "2.27.0"),
        ("26.4.3", "3.13", "3.13.0", "2.29.0"),
        ("26.4.4", "3.13", "3.13.0", "2.32.0"),
        ("26.4.0rc1", "3.13", "3.13.0", "2.29.0"),
        # Calendar versions.
        ("25.6", "3.13", "3.13.0", "2.23.2"),
        ("26.4", "3.13", "3.13.0", "2.32.0"),
        ("24.09", "3.12", "3.12.0", "2.21.0"),
    ],
)
def test_known_releases(release: str, python: str, least: str, pants: str) -> None:
    answer = which_python(release)
    assert (answer.python, dotted(answer.least), answer.certain) == (python, least, True)
    assert answer.rows[-1].pants == pants


@pytest.mark.parametrize("release", ["27.3", "26.10.1", "30.1.2"])
def test_the_future_gets_the_nearest_row_and_is_reported(release: str) -> None:
    answer = which_python(release)
    assert answer.python == rows()[-1].python
    assert not answer.certain
    assert f"Backend.AI {release} is newer than the version table, which ends with 26.9" in answer.note


def test_the_newest_row_is_of_final_releases() -> None:
    for release in ("26.9", "26.9.0", "26.9.6"):
        assert which_python(release).certain
        assert not which_python(release).note


def test_what_upstream_builds_with_is_no_requirement() -> None:
    (row,) = which_python("25.13").rows
    assert row.built == "3.13.7"
    assert which_python("25.13").accepts("3.13.3")


def test_a_month_without_a_release_takes_the_row_before() -> None:
    answer = which_python("24.06")
    assert answer.python == "3.12"
    assert "Backend.AI 24.06 is not in the version table" in answer.note


@pytest.mark.parametrize("release", ["20.09", "19.3.1"])
def test_too_old(release: str) -> None:
    with pytest.raises(UnknownRelease, match="older than the oldest release"):
        which_python(release)


@pytest.mark.parametrize("release", ["", "abc", "v", "26", "26.", ">=25.6", "25.x", "26.4.x.y"])
def test_no_release_at_all(release: str) -> None:
    with pytest.raises(UnknownRelease, match="is not a "):
        which_python(release)


def test_accepts_only_the_minor_version() -> None:
    answer = which_python("25.13")
    assert answer.accepts("3.13.7")
    assert answer.accepts("3.13.17")
    assert not answer.accepts("3.14.0")
    assert not answer.accepts("3.12.20")
