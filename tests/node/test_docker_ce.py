"""Docker's own apt repository, in a signed copy of small packages that bring Debian's working engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.apt_repository import INHIBITORS, AptRepository, docker_ce, make_key, served
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.docker_answers import apply, done, gateway, is_running, planned, put, run_a_container
from tests.sampling import sampled

KNOWN = "/opt/bai-wizard/bai_wizard/data/docker.toml"
KEYRING = "/etc/apt/keyrings/docker.asc"
SOURCE = "/etc/apt/sources.list.d/docker.sources"
DOCKERS_OWN = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"


made_once: dict[str, AptRepository] = {}


@pytest.fixture
def repository(node: ContainerNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AptRepository, int]]:
    """Docker's packages in two major versions, made once, served."""
    if "made" not in made_once:
        made_once["made"] = AptRepository(tmp_path_factory.mktemp("apt"))
        made_once["made"].publish(docker_ce(node, "28.5.1", "29.1.2"))
    with served(made_once["made"].root) as port:
        yield made_once["made"], port


def docker_table(node: ContainerNode, port: int, extra: str = "") -> str:
    """The answers that take Docker from the copy."""
    url = f"http://{gateway(node)}:{port}"
    return f'[docker]\napt_url = "{url}"\nkey_file = "/root/docker.asc"\n{extra}'


def trust(node: ContainerNode, fingerprint: str, key: str) -> None:
    """The wizard on this node pins the copy's key instead of Docker's, and has it in a file."""
    text = node.read(KNOWN).decode()
    node.write(KNOWN, text.replace(DOCKERS_OWN, fingerprint))
    node.write("/root/docker.asc", key)


def test_the_road_to_a_running_daemon(node: ContainerNode, repository: tuple[AptRepository, int]) -> None:
    made, port = repository
    trust(node, made.fingerprint, made.key)
    put(node, docker_table(node, port))
    output = done(apply(node))
    assert "docker.lists" in output
    assert "bai-wizard" in node.read(INHIBITORS).decode(), "a shutdown waits while packages are installed"
    assert node.run(["stat", "-c", "%U %a", KEYRING], check=True).out.split() == ["root", "644"]
    version = node.run(["dpkg-query", "--show", "--showformat", "${Version}", "docker-ce"], check=True).out
    assert version.startswith("5:29.")
    policy = node.run(["apt-cache", "policy", "docker-ce"], check=True).out
    assert "Candidate: 5:29." in policy
    run_a_container(node)
    done(planned(node), 0)
    put(node, docker_table(node, port), release="26.9")
    done(planned(node), 0)
    done(node.wizard("undo"))
    assert not node.exists(SOURCE)
    assert not node.exists(KEYRING)


@pytest.mark.parametrize("fault", sampled("keys", ["wrong", "missing", "unreadable", "private", "appended"], 1))
def test_keys_that_are_not_the_pinned_one(
    node: ContainerNode, repository: tuple[AptRepository, int], fault: str, tmp_path: Path
) -> None:
    made, port = repository
    trust(node, made.fingerprint, made.key)
    expected = {"wrong": "expected", "missing": "does not exist", "unreadable": "not a text file",
                "private": "does not start with a public key", "appended": "more than one block"}  # fmt: skip
    if fault == "wrong":
        node.write("/root/docker.asc", make_key(tmp_path / "other", "Somebody <else@example.test>")[0])
    elif fault == "appended":
        other = make_key(tmp_path / "other", "Somebody <else@example.test>")[0]
        node.write("/root/docker.asc", made.key + other.replace("PUBLIC KEY BLOCK", "MESSAGE"))
    elif fault == "missing":
        node.run(["rm", "/root/docker.asc"], check=True)
    elif fault == "unreadable":
        node.run(["rm", "/root/docker.asc"], check=True)
        node.run(["mkdir", "/root/docker.asc"], check=True)
    else:
        node.write("/root/docker.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n")
    put(node, docker_table(node, port))
    output = done(apply(node), 3)
    assert "docker.key" in output
    assert expected[fault] in output
    assert not node.exists(SOURCE)
    node.run(["rm", "-rf", "/root/docker.asc"], check=True)
    node.write("/root/docker.asc", made.key)
    done(apply(node))


def test_key_in_place_that_apt_cannot_read_is_put_right(
    node: ContainerNode, repository: tuple[AptRepository, int]
) -> None:
    made, port = repository
    trust(node, made.fingerprint, made.key)
    put(node, docker_table(node, port))
    node.write(KEYRING, made.key, 0o600)
    node.run(["chmod", "700", "/etc/apt/keyrings"], check=True)
    done(apply(node))
    assert node.run(["stat", "-c", "%a", "/etc/apt/keyrings", KEYRING], check=True).out.split() == ["755", "644"]


def test_older_source_with_another_key_is_replaced_and_comes_back(
    node: ContainerNode, repository: tuple[AptRepository, int]
) -> None:
    made, port = repository
    trust(node, made.fingerprint, made.key)
    put(node, docker_table(node, port))
    old = "/etc/apt/sources.list.d/docker.list"
    line = f"deb [arch=amd64 signed-by=/usr/share/keyrings/docker.gpg] http://{gateway(node)}:{port}/ trixie stable\n"
    node.write(old, line)
    done(apply(node))
    assert not node.exists(old)
    done(node.wizard("undo"))
    assert node.read(old).decode() == line


def test_source_among_others_is_not_touched(node: ContainerNode, repository: tuple[AptRepository, int]) -> None:
    made, port = repository
    trust(node, made.fingerprint, made.key)
    put(node, docker_table(node, port))
    line = f"deb [signed-by=/k.gpg] http://{gateway(node)}:{port} trixie stable\ndeb http://other.test/ trixie main\n"
    node.write("/etc/apt/sources.list.d/site.list", line)
    output = done(apply(node), 3)
    assert "site.list" in output
    assert node.read("/etc/apt/sources.list.d/site.list").decode() == line


# What is wrong with the repository, and what is said of it. The words for each are tried in tests/pages/docker too.
FAULTS = [
    ("hash", "hash sum mismatch"),
    ("release", "no repository was found at"),
    ("clock", "clock is behind"),
    ("expired", "has passed its expiry date"),
    ("signature", "NO_PUBKEY|not installed|signature is bad|not signed"),
    ("gone", "no connection to"),
]


@pytest.mark.parametrize("fault, cause", sampled("faults of a repository", FAULTS, 1))
def test_faults_of_the_repository_have_a_plain_cause_and_a_second_run_completes(
    node: ContainerNode, tmp_path: Path, fault: str, cause: str
) -> None:
    made = AptRepository(tmp_path)
    made.publish(docker_ce(node))
    trust(node, made.fingerprint, made.key)
    # The machine that the tests run on may have told its nodes not to look at dates.
    node.write("/etc/apt/apt.conf.d/99dates", 'Acquire::Check-Date "true";\nAcquire::Check-Valid-Until "true";\n')
    lists = made.root / "dists/trixie/stable/binary-amd64/Packages"
    release = made.root / "dists/trixie/InRelease"
    if fault == "hash":
        lists.write_text(lists.read_text() + "\n\n")
    elif fault == "release":
        (made.root / "dists/trixie").rename(made.root / "dists/away")
    elif fault == "clock":
        made.sign(date="Sat, 01 Jan 2050 00:00:00 UTC")
    elif fault == "expired":
        made.sign(date="Sat, 01 Jan 2022 00:00:00 UTC", valid_until="Sun, 02 Jan 2022 00:00:00 UTC")
    elif fault == "signature":
        other = AptRepository(tmp_path / "other")
        other.publish(())
        release.write_bytes((other.root / "dists/trixie/InRelease").read_bytes())
    with served(made.root) as port:
        put(node, docker_table(node, 1 if fault == "gone" else port))
        output = done(apply(node), 4)
        assert any(one in output for one in cause.split("|")), output[-3000:]
        if fault == "release":
            (made.root / "dists/away").rename(made.root / "dists/trixie")
        elif fault == "hash":
            lists.write_text(lists.read_text()[:-2])
        made.sign()
        put(node, docker_table(node, port))
        done(apply(node))
    assert node.run(["docker", "version"]).rc == 0


def test_conflicting_packages_are_removed_only_when_requested(
    node_factory: NodeFactory, repository: tuple[AptRepository, int]
) -> None:
    node = node_factory("trixie-docker")
    node.run(["systemctl", "start", "docker"], check=True)
    run_a_container(node)
    made, port = repository
    trust(node, made.fingerprint, made.key)
    put(node, docker_table(node, port))
    output = done(apply(node), 3)
    assert "docker.io, docker-cli" in output
    assert "remove_conflicts" in output
    assert is_running(node)
    put(node, docker_table(node, port, "remove_conflicts = true\n"))
    refused = done(apply(node), 3)
    assert "sleeper" in refused
    done(apply(node, "--yes-interrupt=docker.restart"))
    assert node.run(["dpkg-query", "--show", "docker-ce"]).rc == 0
    assert node.run(["docker", "image", "inspect", "sleeper"]).rc == 0, "images stay"
    assert "packages stay removed" in node.wizard("undo").out
