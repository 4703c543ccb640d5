"""The handover names what each role needs: services of the release, ports, sudo access, values to enter."""

from __future__ import annotations

import re

import pytest

from bai_wizard import compose
from bai_wizard.answers.load import loads
from bai_wizard.core.machine import Completed
from bai_wizard.core.state import Key, State, Venv, venv_key
from bai_wizard.ui.text.handover import handover
from tests.pages.accelerators.buses import bus
from tests.pages.ubuntu import bai, file, link, ubuntu

SSHD = ("sshd", "-T", "-C", "user=bai,host=localhost,addr=127.0.0.1")
HASH = "$y$j9T$L254YBknBbldvMK7fV7Uk0$dowSmtpmecbZbsMlNFvQLvn0qC5dyiHA9G28.1Aukd5"


def told(
    role: str,
    release: str = "26.4",
    more: str = "",
    sshd: str = "passwordauthentication yes",
    states: dict[Key, State] | None = None,
    cards: str = "none",
) -> str:
    answers = f"version = 1\n[node]\nroles = ['{role}']\nbackend_ai = '{release}'\n{more}"
    sshd_file = {Key("file", "/usr/sbin/sshd"): file("")}
    given = {**bai(), **sshd_file, **(states or {})}
    node = ubuntu(given, looks={SSHD: Completed(0, sshd + "\n", "")}, kernel=bus(cards))
    desired = compose.desired_from_answers(loads(answers, "answers.toml", "n1"))
    return "\n".join(f"{row['title']}: {row['text']}" for row in handover(node, desired))


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("management", ("backend.ai-manager~=26.4.0", "webserver", "app-proxy-coordinator.toml", "2377/tcp", "8100",
                        "50000-60000/tcp")),
        ("compute", ("backend.ai-agent~=26.4.0", "agent.toml", "4789/udp", "watcher", "40128",
                     "kernel-uid = 1100", "/var/run/backend.ai/ipc")),
        ("storage", ("backend.ai-storage-proxy~=26.4.0", "storage-proxy.toml", "xfs_quota", "exascaler")),
    ],
)  # fmt: skip
def test_each_role_gets_its_next_steps(role: str, words: tuple[str, ...]) -> None:
    text = told(role)
    assert [word for word in words if word not in text] == []
    assert ("kernel-uid" in text) == (role == "compute")


def test_a_command_is_shown_once_its_environment_exists() -> None:
    assert "pip install" not in told("compute")
    text = told("compute", states={venv_key("/home/bai/agent/.venv"): Venv("3.13.9", "/x/bin")})
    assert 'as bai: /home/bai/agent/.venv/bin/python -m pip install "backend.ai-agent~=26.4.0"' in text


@pytest.mark.parametrize("root", ["/home/bai/.pyenv", "/opt/pyenv"])
def test_an_environment_of_pyenv_is_found(root: str) -> None:
    made = f"{root}/versions/3.13.9/envs/bai-26.4-agent"
    states: dict[Key, State] = {
        Key("file", "/home/bai/agent/.python-version"): file("bai-26.4-agent\n"),
        Key("file", f"{root}/versions/bai-26.4-agent"): link(made),
        venv_key(made): Venv("3.13.9", "/x/bin"),
    }
    command = f'{made}/bin/python -m pip install "backend.ai-agent~=26.4.0"'
    chosen = f"[python]\nmethod = 'pyenv'\nbase_dir = '{root}'\n"
    assert command in told("compute", states=states, more=chosen)
    assert (command in told("compute", states=states)) == (root == "/home/bai/.pyenv")


def test_a_service_is_started_from_its_environment() -> None:
    assert "start it with" not in told("management")
    states: dict[Key, State] = {venv_key("/home/bai/webserver/.venv"): Venv("3.13.9", "/x/bin")}
    text = told("management", states=states)
    assert "`cd /home/bai/webserver && /home/bai/webserver/.venv/bin/backend.ai web start-server -f" in text
    assert "mgr start-server" not in text, "its environment does not exist yet"


@pytest.mark.parametrize(
    ("cards", "role", "wheels"),
    [
        ("h100x8", "compute", ["backend.ai-accelerator-cuda-open~=26.4.0"]),
        ("mi300x", "compute", ["backend.ai-accelerator-rocm~=26.4.0"]),
        ("rebellions", "compute", ["backend.ai-accelerator-rebellions~=26.4.0"]),
        ("none", "compute", []),
        ("h100x8", "storage", []),
    ],
)
def test_plugins_of_the_cards_on_the_node(cards: str, role: str, wheels: list[str]) -> None:
    text = told(role, cards=cards)
    assert re.findall(r"backend\.ai-accelerator-[^,\s]+", text) == wheels
    assert ("ai.backend.accelerator.cuda_open" in text) == (wheels == ["backend.ai-accelerator-cuda-open~=26.4.0"])


def test_the_app_proxy_of_the_release() -> None:
    assert "backend.ai-wsproxy~=25.12.0" in told("management", "25.12")
    assert "app-proxy-worker.toml" not in told("management", "25.12")
    assert "wsproxy" not in told("management", "25.13").replace("wsproxy (predecessor", "")


@pytest.mark.parametrize(
    ("volume", "backend", "program"),
    [
        ('type = "nfs", source = "f:/v", vendor = "netapp"', "netapp", "XCP"),
        ('type = "nfs", source = "f:/v", vendor = "purestorage"', "purestorage", "RapidFile"),
        ('type = "nfs", source = "f:/v", vendor = "hammerspace"', "hammerspace", "nfs-common"),
        ('type = "cephfs", source = "m:/v"', "cephfs", "ceph-common"),
        ('type = "xfs", device = "/dev/sdb1"', "xfs", "xfsprogs"),
        ('type = "lustre", source = "10.0.0.6@tcp:/v"', "exascaler", "lfs"),
        ('type = "weka", source = "w/v"', "weka", ""),
        ('type = "gpfs"', "gpfs", ""),
        ('type = "beegfs"', "vfs", ""),
        ('type = "nfs", source = "f:/v"', "vfs", ""),
        ('type = "local"', "vfs", ""),
    ],
)
def test_a_volume_names_its_back_end_and_the_programs_beside_the_mount(
    volume: str, backend: str, program: str
) -> None:
    text = told("storage", more=f"[storage]\nvolumes = [{{ name = 'v', {volume} }}]\n")
    assert f'[volume.v]: backend = "{backend}", path = "/vfroot/v"' in text
    (*rows,) = [line for line in text.splitlines() if "Storage proxy: v: the back end" in line]
    assert [program in row for row in rows] == ([True] if program else [])


def test_passwordless_sudo_is_asked_for_only_where_it_is_missing() -> None:
    assert 'set sudo = "nopasswd"' in told("compute")
    assert 'set sudo = "nopasswd"' not in told("compute", more="[account]\nsudo = 'nopasswd'\n")


def test_a_password_that_sshd_rejects() -> None:
    password = f"[account]\npassword_hash = '{HASH}'\n"
    config: dict[Key, State] = {Key("file", "/etc/ssh/sshd_config"): file("UsePAM yes\nPasswordAuthentication no\n")}
    text = told("compute", more=password, sshd="passwordauthentication no", states=config)
    assert "50-cloud-init.conf" in text
    assert "(/etc/ssh/sshd_config:2)" in text
    assert "50-cloud-init.conf" not in told("compute", more=password)
    assert "50-cloud-init.conf" not in told("compute", sshd="passwordauthentication no")
