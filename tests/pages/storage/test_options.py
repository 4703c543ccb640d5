"""Mount options: layers, refusals, warnings, and the data file itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bai_wizard.pages.storage.options import is_known, judge, merged, name_of, type_of, vendor_options, vendors
from bai_wizard.pages.storage.settings import NfsVolume

TYPES = ("nfs", "cephfs", "lustre", "xfs", "bind")


def test_the_defaults_of_nfs_are_the_ones_promised() -> None:
    assert type_of("nfs").defaults == ("hard", "_netdev", "nofail", "x-systemd.mount-timeout=30")


@pytest.mark.parametrize("kind", TYPES)
def test_no_type_refuses_or_doubts_its_own_defaults(kind: str) -> None:
    judged = judge(kind, type_of(kind).defaults)
    assert (judged.refused, judged.warned) == ((), ())


@pytest.mark.parametrize("vendor", vendors())
def test_vendors_options_are_known_ones(vendor: str) -> None:
    assert judge("nfs", vendor_options(vendor)).warned == ()
    assert vendor in NfsVolume.model_json_schema()["properties"]["vendor"]["enum"]


@pytest.mark.parametrize(
    "option", ["nconnect=8", "proto=rdma", "localports=10.0.0.1-10.0.0.4", "lookupcache=positive"]
)
def test_what_vendors_want_is_not_warned_about(option: str) -> None:
    assert judge("nfs", (option,)) == judge("nfs", ())


def test_a_misspelling_is_told_with_what_was_meant() -> None:
    (said,) = judge("nfs", ("ncconect=8",)).warned
    assert "did you mean `nconnect`?" in said
    (said,) = judge("xfs", ("defautls",)).warned
    assert "did you mean `defaults`?" in said


@pytest.mark.parametrize("option", ["soft", "softerr"])
def test_soft_is_refused(option: str) -> None:
    assert judge("nfs", (option,)).refused


def test_a_key_in_fstab_is_refused() -> None:
    assert judge("cephfs", ("secret=AQD…",)).refused


@pytest.mark.parametrize(
    "layers,result",
    [
        ((("hard", "x=1"), ("x=2",)), ("hard", "x=2")),
        ((("nofail",), ("vers=3",), ("nfsvers=4.2",)), ("nofail", "nfsvers=4.2")),
        ((("rw",), ("ro",)), ("ro",)),
        ((("bind",), ("rbind",)), ("rbind",)),
    ],
)
def test_later_layers_take_the_place_of_earlier_ones(layers: tuple[tuple[str, ...], ...], result: object) -> None:
    assert merged(*layers) == result


@given(some.lists(some.lists(some.sampled_from(["a", "b=1", "b=2", "ro", "rw", "vers=3", "nfsvers=4"]))))
def test_no_name_stands_twice_and_the_last_word_counts(layers: list[list[str]]) -> None:
    result = merged(*layers)
    names = [name_of(option) for option in result]
    assert len(names) == len(set(names))
    flat = [option for layer in layers for option in layer]
    if flat:
        assert flat[-1] in result


def test_systemd_options_are_known_everywhere() -> None:
    assert all(is_known(kind, "x-systemd.requires-mounts-for") for kind in TYPES)
