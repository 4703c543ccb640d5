"""Mount options: layers, refusals, warnings, and the data file."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bai_wizard.pages.fields import hints_of
from bai_wizard.pages.storage.options import is_known, judge, merged, name_of, type_of, vendor_options, vendors
from bai_wizard.pages.storage.settings import FstabVolume, NfsVolume
from tests.settings import RefusedSettings, settings_from

TYPES = ("nfs", "cephfs", "lustre", "weka", "xfs", "bind")


def test_the_defaults_of_nfs_are_the_ones_promised() -> None:
    assert type_of("nfs").defaults == ("hard", "_netdev", "nofail", "x-systemd.mount-timeout=30")


@pytest.mark.parametrize("kind", TYPES)
def test_no_type_refuses_or_doubts_its_own_defaults(kind: str) -> None:
    judged = judge(kind, type_of(kind).defaults)
    assert (judged.refused, judged.warned) == ((), ())


@pytest.mark.parametrize("vendor", vendors())
def test_vendors_options_are_known_ones(vendor: str) -> None:
    assert judge("nfs", vendor_options(vendor)).warned == ()
    assert vendor in get_args(hints_of(NfsVolume)["vendor"])


@pytest.mark.parametrize(
    "option", ["nconnect=8", "proto=rdma", "localports=10.0.0.1-10.0.0.4", "lookupcache=positive"]
)
def test_options_of_vendors_cause_no_warning(option: str) -> None:
    assert judge("nfs", (option,)) == judge("nfs", ())


def test_a_misspelling_is_reported_with_the_nearest_option() -> None:
    (output,) = judge("nfs", ("ncconect=8",)).warned
    assert "did you mean `nconnect`?" in output
    (output,) = judge("xfs", ("defautls",)).warned
    assert "did you mean `defaults`?" in output


@pytest.mark.parametrize("option", ["soft", "softerr"])
def test_soft_is_refused(option: str) -> None:
    assert judge("nfs", (option,)).refused


def test_a_key_in_fstab_is_refused() -> None:
    assert judge("cephfs", ("secret=AQD…",)).refused


@pytest.mark.parametrize("name", ["password", "Password", "PASS"])
def test_a_password_in_fstab_is_refused_in_any_case(name: str) -> None:
    assert judge("cifs", (f"{name}=x",)).refused


# mount.fuse(8) runs what the type or the source names.
RUN_AS_ROOT = (
    "sh#id /vfroot/v fuse defaults",
    "/tmp/x /vfroot/v fuse",
    "python3 /vfroot/v fuse3 defaults",
    "/tmp/x /vfroot/v fuse.sh defaults",
    "x /vfroot/v fuse./tmp/x defaults",
    "x /vfroot/v ext4,fuse.sh defaults",
    "x /vfroot/v f\\165se.sh defaults",
    "h:/ /vfroot/v fuse.sshfs ssh_command=/tmp/x",
    "h:/ /vfroot/v fuse.sshfs allow_other,ProxyCommand=/tmp/x",
    "h:/ /vfroot/v fuse.sshfs PKCS11Provider=/tmp/x.so",
    "h:/ /vfroot/v fuse.sshfs Proxy\\103ommand=/tmp/x",
    "-oProxyCommand=/tmp/x /vfroot/v fuse.sshfs defaults",
    "sshfs#-oProxyCommand=/tmp/x /vfroot/v fuse defaults",
)


@pytest.mark.parametrize("line", RUN_AS_ROOT)
def test_no_line_of_fstab_runs_a_command(line: str) -> None:
    with pytest.raises(RefusedSettings):
        settings_from(FstabVolume, {"name": "v", "type": "fstab", "line": line})


@pytest.mark.parametrize(
    "line",
    [
        "h:/data /vfroot/v fuse.sshfs allow_other,_netdev,reconnect",
        "sshfs#h:/data /vfroot/v fuse allow_other",
        "srv:/v /vfroot/v fuse.glusterfs defaults,_netdev",
        "srv:/v /vfroot/v nfs4 hard 0 0",
        "//srv/v /vfroot/v cifs credentials=/root/c 0 0",
    ],
)
def test_lines_of_fstab_that_people_have_are_allowed(line: str) -> None:
    settings_from(FstabVolume, {"name": "v", "type": "fstab", "line": line})


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
def test_no_option_is_repeated_and_the_last_one_wins(layers: list[list[str]]) -> None:
    result = merged(*layers)
    names = [name_of(option) for option in result]
    assert len(names) == len(set(names))
    flat = [option for layer in layers for option in layer]
    if flat:
        assert flat[-1] in result


def test_systemd_options_are_known_everywhere() -> None:
    assert all(is_known(kind, "x-systemd.requires-mounts-for") for kind in TYPES)
