"""Signed plans: only what an approver has signed is applied, and the run records who it was. With real ssh-keygen."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.core.errors import PreflightError
from bai_wizard.engine.directory import all_runs
from bai_wizard.engine.signature import LARGEST, NAMESPACE, signer_of
from bai_wizard.exit_codes import ExitCode
from tests.unit.engine.test_plan_file import written
from tests.unit.engine.test_run_selection import FIRST, Seat
from tests.unit.engine.test_run_selection import seat as seat

pytestmark = pytest.mark.needs_root

PLAN = b'{"format": "bai-wizard-plan"}\n'


class Signers:
    """Keys of people, and a list of those who may approve."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.approvers = directory / "approvers"
        self.approvers.touch(0o644)
        for name in ("kim", "eve"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(directory / name)]
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)

    def key(self, name: str) -> str:
        return (self.directory / f"{name}.pub").read_text().strip()

    def allow(self, line: str) -> None:
        with self.approvers.open("a") as file:
            file.write(line + "\n")

    def sign(self, name: str, data: bytes, namespace: str = NAMESPACE) -> Path:
        """The signature of `data` by a person."""
        file = self.directory / "signed"
        file.write_bytes(data)
        result = self.directory / "signed.sig"
        result.unlink(missing_ok=True)
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(self.directory / name), str(file)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        return result


@pytest.fixture
def signers(tmp_path: Path) -> Signers:
    """Kim may approve, Eve may not."""
    directory = tmp_path / "keys"
    directory.mkdir(0o755)
    signers = Signers(directory)
    signers.allow(f"kim@corp.example {signers.key('kim')}")
    return signers


def verify(signers: Signers, signature: Path, data: bytes = PLAN) -> str:
    return signer_of(data, "plan.json", str(signature), str(signers.approvers))


@pytest.mark.parametrize(
    ("principals", "name"),
    [
        ("kim@corp.example", "kim@corp.example"),
        ("kim,admins", "kim"),
        ("*@corp.example", "*@corp.example"),
        ('kim valid-after="20200101"', "kim"),
        ('kim namespaces="git,bai-wizard-plan"', "kim"),
    ],
)
def test_the_signer_is_named(signers: Signers, principals: str, name: str) -> None:
    signers.approvers.write_text(f"# on call\n\neve {signers.key('eve')}\n{principals} {signers.key('kim')}\n")
    assert verify(signers, signers.sign("kim", PLAN)) == name


@pytest.mark.parametrize(
    ("by", "namespace", "signed", "listed", "reason"),
    [
        ("eve", NAMESPACE, PLAN, "kim", "No principal matched"),
        ("kim", "bai-wizard-release", PLAN, "kim", "namespace"),
        ("kim", "git", PLAN, "kim", "namespace"),
        ("kim", NAMESPACE, PLAN + b" ", "kim", "incorrect signature"),
        ("kim", NAMESPACE, b"", "kim", "incorrect signature"),
        ("kim", NAMESPACE, PLAN, 'kim valid-before="20200101"', "expired"),
        ("kim", NAMESPACE, PLAN, 'kim namespaces="git"', ""),
        ("kim", NAMESPACE, PLAN, "!kim", ""),
    ],
)
def test_other_signatures_are_refused(
    signers: Signers, by: str, namespace: str, signed: bytes, listed: str, reason: str
) -> None:
    signers.approvers.write_text(f"{listed} {signers.key('kim')}\n")
    with pytest.raises(PreflightError, match=r"plan\.json is not signed by anyone in") as caught:
        verify(signers, signers.sign(by, signed, namespace))
    assert reason in str(caught.value)


def writable(signers: Signers, signature: Path) -> None:
    signers.approvers.chmod(0o666)


def of_someone_else(signers: Signers, signature: Path) -> None:
    os.chown(signers.approvers, 4242, 4242)


def replaceable(signers: Signers, signature: Path) -> None:
    signers.directory.chmod(0o777)


def missing(signers: Signers, signature: Path) -> None:
    signature.unlink()


def huge(signers: Signers, signature: Path) -> None:
    os.truncate(signature, LARGEST + 1)


def directory(signers: Signers, signature: Path) -> None:
    signature.unlink()
    signature.mkdir()


def garbage(signers: Signers, signature: Path) -> None:
    signature.write_bytes(b"-----BEGIN SSH SIGNATURE-----\n\xff\0\n-----END SSH SIGNATURE-----\n")


def empty(signers: Signers, signature: Path) -> None:
    signers.approvers.write_bytes(b"")


@pytest.mark.parametrize("spoil", [writable, of_someone_else, replaceable, missing, huge, directory, garbage, empty])
def test_files_that_others_can_change_and_broken_ones_are_refused(
    signers: Signers, spoil: Callable[[Signers, Path], None]
) -> None:
    signature = signers.sign("kim", PLAN)
    spoil(signers, signature)
    with pytest.raises(PreflightError):
        verify(signers, signature)


def test_without_ssh_keygen_the_package_is_named(signers: Signers, monkeypatch: pytest.MonkeyPatch) -> None:
    signature = signers.sign("kim", PLAN)
    monkeypatch.setattr("bai_wizard.node.run_as.program_path", lambda: str(signers.directory))
    with pytest.raises(PreflightError, match="openssh-client"):
        verify(signers, signature)


def test_where_there_are_approvers_only_signed_plans_are_applied(seat: Seat, signers: Signers) -> None:
    file = written(seat, FIRST)
    own = seat.paths.root / "etc/bai-wizard/approvers"
    own.parent.mkdir(parents=True)
    own.write_bytes(signers.approvers.read_bytes())
    before = seat.machine.snapshot()
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    seat.says("plan.json.sig cannot be read")
    assert seat.main("apply", str(file), "--approvers", str(signers.directory / "eve.pub")) == ExitCode.PREFLIGHT
    seat.says("--approvers cannot replace them")
    assert (
        seat.main("apply", str(file), "--signature", str(signers.sign("eve", file.read_bytes())))
        == ExitCode.PREFLIGHT
    )
    seat.says("not signed by anyone", "nothing was changed")
    assert (seat.machine.snapshot(), all_runs(seat.paths)) == (before, [])
    file.with_name("plan.json.sig").write_bytes(signers.sign("kim", file.read_bytes()).read_bytes())
    assert seat.main("apply", str(file)) == ExitCode.OK, seat.messages
    (run,) = all_runs(seat.paths)
    assert run.metadata["approval"]["signed_by"] == "kim@corp.example"


def test_where_it_cannot_be_told_whether_there_are_approvers_a_signature_is_required(seat: Seat) -> None:
    file = written(seat, FIRST)
    (seat.paths.root / "etc").mkdir(exist_ok=True)
    (seat.paths.root / "etc/bai-wizard").write_text("not a directory\n")
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    assert all_runs(seat.paths) == []


def test_elsewhere_a_signature_is_checked_against_the_given_list(seat: Seat, signers: Signers) -> None:
    file = written(seat, FIRST)
    signature = str(signers.sign("kim", file.read_bytes()))
    assert seat.main("apply", str(file), "--signature", signature) == ExitCode.PREFLIGHT
    seat.says("--signature needs a list of approvers")
    words = ("--signature", signature, "--approvers", str(signers.approvers))
    assert seat.main("apply", str(file), *words) == ExitCode.OK, seat.messages


def test_a_plan_file_cannot_name_its_signer(seat: Seat) -> None:
    file = written(seat, FIRST)
    file.write_text(json.dumps({**json.loads(file.read_text()), "signed_by": "kim@corp.example"}))
    assert seat.main("apply", str(file)) == ExitCode.OK, seat.messages
    assert all_runs(seat.paths)[0].metadata["approval"]["signed_by"] == ""
