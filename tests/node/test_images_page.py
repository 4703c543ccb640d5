"""The images page with real registries: pulls, bad networks, logins, CAs, archives, undo."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bai_wizard.pages.docker.plan import DOWNLOAD_ATTEMPTS
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.docker_answers import apply, done, gateway, planned, put
from tests.node.registry import Image, Registry, make_authority, make_image, running_registry, save_archive
from tests.node.registry_proxy import Weather, bad_network
from tests.sampling import sampled

KEEP = '[docker]\nsource = "keep"\nhold = false\n'
LABELS = {"ai.backend.kernelspec": "1", "ai.backend.role": "COMPUTE"}
MANY_LAYERS = [150_000] * 24


@pytest.fixture
def node(node_factory: NodeFactory) -> ContainerNode:
    """A node whose engine runs already."""
    node = node_factory("trixie-docker")
    node.run(["systemctl", "start", "docker"], check=True)
    return node


@pytest.fixture
def registry(node: ContainerNode, tmp_path: Path) -> Iterator[Registry]:
    """A plain registry on this machine."""
    with running_registry(tmp_path, gateway(node)) as result:
        yield result


def tables(*images: str, insecure: str, extra: str = "") -> tuple[str, str]:
    """Docker with the registry allowed, and the images."""
    listed = ", ".join(f'"{image}"' for image in images)
    return (
        KEEP + f'insecure_registries = ["{insecure}"]\n',
        f'[images]\nstarter = "none"\npull = [{listed}]\n{extra}',
    )


def ids(node: ContainerNode) -> dict[str, str]:
    """Image ids by reference."""
    shown = node.run(
        ["docker", "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"], check=True
    ).out
    return dict(line.split() for line in shown.splitlines())


def test_images_are_pulled_in_parallel_verified_and_undone_alone(node: ContainerNode, registry: Registry) -> None:
    images = [make_image([200_000, 100_000 + number], labels=LABELS, seed=number) for number in range(4)]
    references = [registry.push(f"stable/one{number}", "1", image) for number, image in enumerate(images)]
    both = make_image([50_000], seed=9)
    references.append(
        registry.push_index("stable/both", "1", {"amd64": both, "arm64": make_image([60_000], architecture="arm64")})
    )
    node.run(["sh", "-c", "tar -c /etc/hostname | docker import - mine:1"], check=True)
    exact = make_image([70_000], seed=8)
    pinned = f"{registry.push('stable/exact', '1', exact)}@{exact.manifest.digest}"
    put(node, *tables(*references, pinned, insecure=registry.host))
    shown = done(planned(node), 7)
    assert "MB compressed" in shown
    output = done(apply(node))
    assert "kernelspec=1, role=COMPUTE" in output
    result = ids(node)
    for reference, image in zip(references, [*images, both], strict=True):
        assert result[reference] == image.config.digest
    assert exact.config.digest in result.values()
    assert done(planned(node), 0)
    again = registry.push("stable/again", "1", images[0])
    put(node, *tables(again, insecure=registry.host))
    assert "already present under another name" in done(planned(node), 7)
    node.run(["docker", "create", "--name", "user", references[0], "/hello"], check=True)
    undone = node.wizard("undo")
    assert undone.rc == 4
    assert "is used by user" in undone.out
    assert set(ids(node)) == {"mine:1", references[0]}


def test_progress_counts_bytes_and_reports_layers(node: ContainerNode, registry: Registry) -> None:
    image = make_image([2_000_000] * 6)
    weather = Weather(rate=4_000_000)
    with bad_network(registry.port, weather) as port:
        host = f"{gateway(node)}:{port}"
        registry.push("stable/slow", "1", image)
        put(node, *tables(f"{host}/stable/slow:1", insecure=host))
        events = [json.loads(line) for line in done(apply(node, "--json")).splitlines() if line.startswith("{")]
    lines = [event for event in events if event.get("step") == "images.pull" and event.get("total")]
    size = sum(len(layer.data) for layer in image.layers)
    assert lines[-1]["done"] == lines[-1]["total"] == size
    assert [event["done"] for event in lines] == sorted(event["done"] for event in lines)
    assert any("MB/s" in event["text"] and " left" in event["text"] for event in lines)
    assert any("of 6 layers" in event["text"] for event in lines)


def test_twenty_interruptions_only_repeat_the_broken_layer(node: ContainerNode, registry: Registry) -> None:
    """The installed engine retries layers so often that an interrupted layer does not restart the pull."""
    # The engine waits five seconds before it asks again: all at once, so that the waits are at once too.
    attempts = {"max-download-attempts": DOWNLOAD_ATTEMPTS, "max-concurrent-downloads": len(MANY_LAYERS)}
    node.write("/etc/docker/daemon.json", json.dumps(attempts))
    node.run(["systemctl", "restart", "docker"], check=True)
    chance = random.Random(20)
    image = make_image(MANY_LAYERS, seed=3)
    registry.push("stable/cut", "1", image)
    # All of them break layers: the image's small configuration is not what takes long to come again.
    weather = Weather(cuts=[chance.randrange(1, 140_000) for _ in range(20)], spared=100_000)
    with bad_network(registry.port, weather) as port:
        host = f"{gateway(node)}:{port}"
        put(node, *tables(f"{host}/stable/cut:1", insecure=host))
        done(apply(node))
        assert ids(node)[f"{host}/stable/cut:1"] == image.config.digest
    assert sum(weather.broken.values()) == 20
    for layer in image.layers:
        tries = 1 + weather.broken[layer.digest]
        assert weather.requests[layer.digest] == tries, "asked for again when it was broken, and never else"
        assert len(layer.data) <= weather.sent[layer.digest] <= tries * len(layer.data)


def test_a_stop_in_the_middle_ends_with_this_image_and_resume_continues(
    node: ContainerNode, registry: Registry
) -> None:
    """An engine forgets the layers of a pull that is cut, so what is under way comes to its end."""
    images = {f"stable/long{number}": make_image([1_000_000] * 3, seed=number) for number in range(2)}
    for name, image in images.items():
        registry.push(name, "1", image)
    weather = Weather(rate=1_000_000)
    with bad_network(registry.port, weather) as port:
        host = f"{gateway(node)}:{port}"
        first, second = (f"{host}/{name}:1" for name in images)
        put(node, *tables(first, second, insecure=host, extra="parallel = 1\n"))
        script = "bai-wizard --headless /root/answers.toml >/root/out 2>&1; echo $? >/root/code"
        node.run(["sh", "-c", script], detach=True)
        node.wait_for(lambda: sum(weather.sent.values()) > 500_000, 120, "a part of the image")
        node.kill(json.loads(node.read("/run/bai-wizard/current.json"))["pid"], "TERM")
        node.wait_for(lambda: node.read_or_empty("/root/code"), 60, "the end of the run")
        assert node.read("/root/code").strip() == b"130", node.read("/root/out").decode()[-2000:]
        assert set(ids(node)) == {first}
        weather.rate = 0
        done(node.wizard("resume"))
        assert set(ids(node)) == {first, second}
    layers = [layer for image in images.values() for layer in image.layers]
    assert all(weather.sent[layer.digest] == len(layer.data) for layer in layers)


def test_a_registry_that_turns_away_is_tried_again(node: ContainerNode, registry: Registry) -> None:
    for status in (429, 503):
        registry.push(f"stable/busy{status}", "1", make_image([1000], seed=status))
        weather = Weather(refusals=7, refusal=status)
        with bad_network(registry.port, weather) as port:
            host = f"{gateway(node)}:{port}"
            put(node, *tables(f"{host}/stable/busy{status}:1", insecure=host))
            done(apply(node))
            assert f"{host}/stable/busy{status}:1" in ids(node)
        assert weather.refusals < 0, "all of them were said"


def test_a_daemon_that_is_restarted_while_it_pulls_is_waited_for(node: ContainerNode, registry: Registry) -> None:
    image = make_image([1_000_000] * 4)
    registry.push("stable/slow", "1", image)
    weather = Weather(rate=700_000)
    with bad_network(registry.port, weather) as port:
        host = f"{gateway(node)}:{port}"
        put(node, *tables(f"{host}/stable/slow:1", insecure=host))
        script = "bai-wizard --headless /root/answers.toml >/root/out 2>&1; echo $? >/root/code"
        node.run(["sh", "-c", script], detach=True)
        node.wait_for(lambda: sum(weather.sent.values()) > 700_000, 120, "a part of the image")
        node.run(["systemctl", "restart", "docker"], check=True)
        weather.rate = 0
        node.wait_for(lambda: node.read_or_empty("/root/code"), 120, "the end of the run")
    output = node.read("/root/out").decode()
    assert node.read("/root/code").strip() == b"0", output[-2000:]
    assert "retrying" in output
    assert ids(node)[f"{host}/stable/slow:1"] == image.config.digest


def test_a_missing_image_stops_the_plan_before_any_change(node: ContainerNode, registry: Registry) -> None:
    registry.push("stable/there", "1", make_image([1000]))
    put(node, *tables(f"{registry.host}/stable/there:2", insecure=registry.host))
    output = done(apply(node), 3)
    assert "does not have this image" in output
    assert ids(node) == {}
    put(node, *tables(f"{registry.host}/stable/there:1", insecure=registry.host))
    done(apply(node))


def test_an_image_for_another_architecture(node: ContainerNode, registry: Registry) -> None:
    arm, amd = make_image([1000], architecture="arm64"), make_image([1000])
    reference = registry.push("stable/arm", "1", arm)
    put(node, *tables(reference, insecure=registry.host))
    output = done(apply(node), 3)
    assert "available for linux/arm64, but this node is linux/amd64" in output
    registry.push_index("stable/arm", "1", {"arm64": arm, "amd64": amd})
    done(apply(node))
    assert ids(node)[reference] == amd.config.digest


@pytest.mark.parametrize("password", sampled("registry logins", ["right", "wrong", "none"], 2))
def test_a_registry_with_a_password_and_a_private_authority(
    node: ContainerNode, tmp_path: Path, password: str
) -> None:
    address = gateway(node)
    ca, certificate, key = make_authority(tmp_path, [address])
    node.write("/root/ca.crt", ca.read_bytes())
    node.write("/root/registry.password", "very secret word\n" if password != "wrong" else "another word\n", 0o600)
    with running_registry(tmp_path, address, tls=(certificate, key), login=("bob", "very secret word")) as registry:
        reference = registry.push("stable/closed", "1", make_image([1000]))
        login = f'host = "{registry.host}", ca_file = "/root/ca.crt"'
        if password != "none":
            login += ', username = "bob", password = { file = "/root/registry.password" }'
        put(
            node,
            KEEP,
            f'[images]\nstarter = "none"\npull = ["{reference}"]\nregistries = [ {{ {login} }} ]\n',
        )
        output = done(apply(node), 0 if password == "right" else 3)
        if password == "right":
            assert reference in ids(node)
            assert node.run(["test", "-e", "/root/.docker/config.json"]).rc != 0
        else:
            assert "the registry requires a login" in output
            assert ids(node) == {}
        if password == "wrong":
            node.write("/root/registry.password", "very secret word\n", 0o600)
            done(apply(node))
            assert reference in ids(node)
        assert "very secret word" not in output
        completed = node.run(
            ["grep", "-rl", "very secret word", "/var/lib/bai-wizard", "/run/bai-wizard", "/etc", "/var/log"]
        )
        assert completed.out == ""


def test_an_authority_that_no_one_named(node: ContainerNode, tmp_path: Path) -> None:
    address = gateway(node)
    ca, certificate, key = make_authority(tmp_path, [address])
    with running_registry(tmp_path, address, tls=(certificate, key)) as registry:
        reference = registry.push("stable/tls", "1", make_image([1000]))
        put(node, KEEP, f'[images]\nstarter = "none"\npull = ["{reference}"]\n')
        assert "certificate is not trusted" in done(planned(node), 7)
        output = done(apply(node), 4)
        assert "docker.registry_ca" in output
        node.write("/root/ca.crt", ca.read_bytes())
        put(
            node,
            KEEP + f'registry_ca = {{ "{registry.host}" = "/root/ca.crt" }}\n',
            f'[images]\nstarter = "none"\npull = ["{reference}"]\n',
        )
        done(apply(node))
        assert reference in ids(node)


def test_no_room_is_reported_beforehand_and_while_it_happens(node_factory: NodeFactory, tmp_path: Path) -> None:
    node = node_factory("trixie-docker", tmpfs={"/small": "size=24m"})
    node.write("/etc/docker/daemon.json", '{"data-root": "/small/docker"}\n')
    node.run(["systemctl", "start", "docker"], check=True)
    with running_registry(tmp_path, gateway(node)) as registry:
        reference = registry.push("stable/large", "1", make_image([9_000_000] * 3))
        put(node, *tables(reference, insecure=registry.host))
        assert "/small, which contains /small/docker" in done(apply(node), 3)
        # The unpacked size of a layer of zeros cannot be known in advance.
        hollow = make_image([1000], files={"noughts": bytes(40_000_000)})
        reference = registry.push("stable/hollow", "1", hollow)
        put(node, *tables(reference, insecure=registry.host))
        assert "the disk is full. Free some space below Docker's data directory" in done(apply(node), 4)
        assert ids(node) == {}
        node.run(["mount", "-o", "remount,size=96m", "/small"], check=True)
        done(apply(node))
        assert ids(node)[reference] == hollow.config.digest


def test_an_archive_for_a_node_without_registry(node: ContainerNode, tmp_path: Path) -> None:
    image: Image = make_image([5000, 6000], labels=LABELS)
    save_archive(tmp_path / "image.tar", "cr.backend.ai/stable/python:9", image)
    data = (tmp_path / "image.tar").read_bytes()
    node.write("/srv/image.tar", data)
    from hashlib import sha256

    digest = sha256(data).hexdigest()

    def table(sum: str) -> str:
        return f'[images]\nstarter = "none"\narchives = [ {{ file = "/srv/image.tar", sha256 = "{sum}" }} ]\n'

    put(node, KEEP, table("0" * 64))
    assert "is not the expected file" in done(apply(node), 4)
    assert ids(node) == {}
    put(node, KEEP, table(digest))
    done(apply(node))
    assert ids(node) == {"cr.backend.ai/stable/python:9": image.config.digest}
    assert done(planned(node), 0)
    done(node.wizard("undo"))
    assert ids(node) == {}


def test_own_registry_under_the_canonical_names(node: ContainerNode, registry: Registry) -> None:
    """The starter set rewritten; what the own registry does not have of it is left out and said."""
    image = make_image([1000])
    name = "python:3.13-ubuntu24.04-amd64"
    registry.push("bai/stable/python", "3.13-ubuntu24.04-amd64", image)
    put(
        node,
        KEEP + f'insecure_registries = ["{registry.host}"]\n',
        f'[images]\nregistry = "{registry.host}/bai"\nretag = true\n',
    )
    output = done(apply(node), 6)
    assert "sftp-server:24.04-ubuntu24.04" in output
    assert ids(node) == {
        f"{registry.host}/bai/stable/{name}": image.config.digest,
        f"cr.backend.ai/stable/{name}": image.config.digest,
    }
    done(node.wizard("undo"))
    assert ids(node) == {}
