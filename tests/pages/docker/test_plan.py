"""The plan of the docker page on simulated nodes: applied, the second plan is empty; undo restores everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.core.codec import SHOWN
from bai_wizard.core.page import Absent, Context, Known, Unknown
from bai_wizard.core.state import Account, Entry, Key, Package, Unit
from bai_wizard.core.step import Blocked, Pending, Plan
from bai_wizard.node.demo import demo_machine
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.docker import packages as catalogue
from bai_wizard.pages.docker.packages import incompatible, version_pattern
from bai_wizard.pages.docker.plan import PAGE, steps
from bai_wizard.pages.docker.probe import DockerFacts, Engine
from bai_wizard.pages.docker.settings import DockerSettings
from bai_wizard.pages.node_state import System
from tests.pages.docker.nodes import node as with_engine
from tests.pages.storage.lifecycle import plan_of, run, shown, undo
from tests.settings import settings_from

CONTEXT = Context(host="gpu01", backend_ai="26.4")
BAI = Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash")
NOBLE = System("ubuntu", "Ubuntu 24.04.3 LTS", "noble", "amd64")
OS_RELEASE = Entry("file", 0, 0, 0o644, b"ID=ubuntu\nVERSION_CODENAME=noble\n")
FRESH = DockerFacts(Known(NOBLE), Unknown("not asked"), is_filled=Known(False), networks=Known(("10.20.30.0/24",)))
RUNNING = Engine("26.1.5", driver="overlay2", data_root="/var/lib/docker", images=3, containers=2, running=2)
PODMAN = Known(replace(RUNNING, product="podman"))


def node(name: str = "bare") -> SimulatedMachine:
    """A demo node with the account, and without waiting."""
    machine = demo_machine(name, delay=0)
    machine.set_state(Key("user", "bai"), BAI)
    return machine


def settings(**table: Any) -> DockerSettings:
    return settings_from(DockerSettings, table)


def texts(table: dict[str, Any], facts: DockerFacts = FRESH, context: Context = CONTEXT) -> dict[str, Any]:
    """The steps by id."""
    return {step.id: step for step in steps(settings(**table), facts, context)}


def refusals(plan: Plan) -> dict[str, str]:
    return {item.step.id: item.verdict.reason for item in plan.steps if isinstance(item.verdict, Blocked)}


def test_bare_node_then_nothing_then_undone(tmp_path: Path) -> None:
    machine = node()
    before = machine.snapshot()
    plan = plan_of(PAGE, {}, machine, CONTEXT)
    assert not plan.blocked(), shown(plan)
    done, result = run(machine, plan, tmp_path)
    assert result.code() == 0, result
    again = plan_of(PAGE, {}, machine, CONTEXT)
    assert again.is_empty(), shown(again)
    undo(machine, done, tmp_path)
    after = machine.snapshot()
    stays = {key for key in after if key.kind in ("package", "unit", "group")}
    assert {key: state for key, state in after.items() if key not in stays} == {
        key: state for key, state in before.items() if key not in stays
    }


def test_a_pin_with_an_older_reason_is_rewritten_or_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = node()
    with monkeypatch.context() as older:
        older.setattr("bai_wizard.pages.docker.packages.WHY_HOLD", "pulls fail with «denied»")
        done, result = run(machine, plan_of(PAGE, {}, machine, CONTEXT), tmp_path)
    assert result.code() == 0, result
    plan = plan_of(PAGE, {}, machine, CONTEXT)
    assert [item.step.id for item in plan.pending()] == ["docker.pin"], shown(plan)
    assert undo(machine, done, tmp_path).code() == 0
    assert machine.entry("/etc/apt/preferences.d/bai-docker") is None


def test_plan_of_a_bare_node_is_complete() -> None:
    plan = plan_of(PAGE, {}, node(), CONTEXT)
    message = shown(plan)
    for name in (
        *catalogue.docker_ce().names,
        "add bai to group docker",
        "/etc/docker/daemon.json",
        "Signed-By:",
    ):
        assert name in message
    packages = next(item for item in plan.steps if item.step.id == "docker.packages")
    assert isinstance(packages.verdict, Pending)
    assert packages.verdict.known_after == "docker.lists"


def test_configuration_comes_before_the_first_start_and_after_an_engine_that_is_here() -> None:
    order = list(texts({}))
    assert order.index("docker.config") < order.index("docker.packages")
    here = replace(FRESH, packages=(("docker-ce", "5:28.5.1-1~x"), ("docker-ce-cli", "5:28.5.1-1~x")))
    order = list(texts({}, here))
    assert order.index("docker.config") > order.index("docker.packages")


@pytest.mark.parametrize(
    "version, wanted",
    [
        ("", ""),
        ("27", "5:27.*"),
        ("28.5", "5:28.5.*"),
        ("28.5.1", "5:28.5.1*"),
        ("5:28.5.1-1~ubuntu.24.04~noble", "5:28.5.1-1~ubuntu.24.04~noble"),
    ],
)
def test_versions_are_only_those_that_were_asked_for(version: str, wanted: str) -> None:
    """Not every suite has Docker 28, and its last version is a year old."""
    assert version_pattern(settings(version=version), "docker-ce") == wanted


@pytest.mark.parametrize(
    "release, concerned",
    [
        ("26.4", False), ("26.4.10", True), ("26.4.11", False), ("26.4.16", False), ("26.8.3", True), ("26.8", True),
        ("26.5.2", True), ("25.18", True), ("26.9", False), ("26.9.0", False), ("26.10.1", False), ("27.3", False),
        ("", False), ("main", False),
    ],
)  # fmt: skip
def test_releases_that_lack_the_fix_for_local_registries(release: str, concerned: bool) -> None:
    assert (incompatible(release) is not None) == concerned


def test_a_pin_keeps_the_major_version_and_gives_the_reason() -> None:
    pin = texts({"version": "28"})["docker.pin"]
    text = pin.text(pin.version)
    assert "Pin: version 5:28.*" in text
    assert "changed on purpose only" in text
    assert text.count("Package: docker-ce docker-ce-cli\n") == 2
    held = texts({"hold": False})["docker.pin"]
    machine = node("finished")
    assert [change.verb for change in held.inspect(machine).changes] == ["remove"], (
        "an earlier run's pin would hold it"
    )
    machine.set_state(Key("file", "/etc/apt/preferences.d/bai-docker"), None)
    assert held.inspect(machine).kind == "unchanged"
    exact = texts({"version": "28.5.1"})
    assert exact["docker.pin"].version == "5:28.*"
    assert exact["docker.packages"].versions == ("5:28.5.1*", "5:28.5.1*", "")
    newer = replace(FRESH, packages=(("docker-ce", "5:29.1.2-1~x"), ("docker-ce-cli", "5:29.1.2-1~x")))
    assert texts({}, newer)["docker.pin"].version == "5:29.*", "what runs is never taken back"
    assert texts({}, newer)["docker.packages"].versions == ("", "", "")


def test_an_engine_with_a_known_fault_is_reported_and_left() -> None:
    lts = replace(CONTEXT, backend_ai="26.4.10")
    ours = texts({}, FRESH, lts)["docker.service"]
    assert not ours.warnings()
    here = replace(FRESH, packages=(("docker-ce", "5:29.1.2-1~x"),), local_images=("stable/python:3.9",))
    for made in (texts({}, here, lts), texts({"source": "keep"}, here, lts), texts({"version": "29"}, here, lts)):
        (result,) = made["docker.service"].warnings()
        assert result not in made["docker.service"].describe()
        assert "backend.ai#14264" in result
        assert "stable/python:3.9" in result
        assert "26.4.11 or 26.9" in result
    for release in ("26.9", "26.4", "26.4.11"):
        assert not texts({}, here, replace(CONTEXT, backend_ai=release))["docker.service"].warnings()
    assert not texts({}, replace(here, local_images=()), lts)["docker.service"].warnings()
    assert not texts({"source": "distro"}, replace(FRESH, offered="28.2"), lts)["docker.service"].warnings()


def test_facts_shown_for_a_running_engine() -> None:
    result = dict(PAGE.now(PAGE.probe(with_engine(), settings(), CONTEXT)))
    assert result["Free below /var/lib/docker"].endswith(" GB")
    assert "Free below /var/lib/containerd" not in result
    result = dict(PAGE.now(PAGE.probe(with_engine(info={"Driver": "overlayfs"}), settings(), CONTEXT)))
    assert result["Free below /var/lib/containerd"].endswith(" GB"), "layers lie there, whatever data-root says"


def test_a_users_engine_is_reported_in_addition_to_the_systems() -> None:
    machine = with_engine({"file:/run/user/1000/docker.sock": Entry("other", 1000, 1000, 0o660)})
    result = dict(PAGE.now(PAGE.probe(machine, settings(), CONTEXT)))
    assert result["Rootless Docker"] == "of user 1000; Backend.AI uses the system-wide engine"
    assert "28.5.1" in result["Docker"]
    assert "Rootless Docker" not in dict(PAGE.now(PAGE.probe(with_engine(), settings(), CONTEXT)))


@pytest.mark.parametrize(
    "codename, os, plugins",
    [
        ("noble", "ubuntu", ("docker-buildx", "docker-compose-v2")),
        ("trixie", "debian", ("docker-buildx", "docker-compose")),
        ("bookworm", "debian", ()),
    ],
)
def test_the_distributions_packages_by_release(codename: str, os: str, plugins: tuple[str, ...]) -> None:
    facts = replace(FRESH, system=Known(System(os, os, codename, "amd64")))
    made = texts({"source": "distro"}, facts)
    assert (made["docker.plugins"].names if "docker.plugins" in made else ()) == plugins
    assert "docker.source" not in made


def test_source_by_system_and_mirror() -> None:
    ours = texts({})["docker.source"]
    assert (ours.uri, ours.suite) == ("https://download.docker.com/linux/ubuntu", "noble")
    debian = replace(FRESH, system=Known(System("debian", "Debian 13", "trixie", "arm64")))
    assert "linux/debian" in texts({}, debian)["docker.source"].uri
    assert "Architectures: arm64" in texts({}, debian)["docker.source"].text()
    other = replace(FRESH, system=Known(System("debian", "Debian 13", "trixie", "riscv64")))
    assert "serves amd64 and arm64" in texts({}, other)["docker.source"].reason
    mirror = texts({"apt_url": "https://mirror.corp/docker/"})["docker.source"]
    assert mirror.uri == "https://mirror.corp/docker"
    odd = replace(FRESH, system=Known(System("ubuntu", "Mint", "wilma", "amd64")))
    assert "wilma" in texts({}, odd)["docker.source"].reason
    assert texts({"apt_url": "https://m.corp/x"}, odd)["docker.source"].suite == "wilma"


CE = tuple((name, "5:28.5.1-1~x") for name in catalogue.docker_ce().names)


@pytest.mark.parametrize(
    "facts, table, step, message",
    [
        (
            {"packages": (("docker.io", "26.1"), ("runc", "1.1"))},
            {},
            "docker.conflicts",
            "docker.io, runc cannot coexist",
        ),
        (
            {"packages": (("docker-ce", "5:28"),)},
            {"source": "distro"},
            "docker.conflicts",
            "docker-ce cannot coexist",
        ),
        (
            {"packages": (("containerd", "1.7"),), "kubernetes": "kubelet"},
            {"remove_conflicts": True},
            "docker.conflicts",
            "kubelet runs on this node",
        ),
        ({"snap": True}, {}, "docker.conflicts", "installed as a snap"),
        ({"snap": True}, {"source": "keep"}, "docker.snap", "a different daemon.json"),
        ({"engine": PODMAN}, {}, "docker.podman", "link /run/docker.sock"),
        ({"engine": PODMAN, "packages": (("podman-docker", "5"),)}, {}, "docker.podman", "remove_conflicts = true"),
        (
            {"engine": PODMAN, "packages": (("podman-docker", "5"),)},
            {"source": "keep"},
            "docker.podman",
            "link /run/docker.sock",
        ),
        ({"engine": Known(replace(RUNNING, rootless=True))}, {}, "docker.rootless", "rootless"),
        ({"system": Unknown("openSUSE is neither Ubuntu nor Debian")}, {}, "docker.system", "openSUSE"),
        ({"is_filled": Known(True)}, {"data_root": "/data"}, "docker.config", "no longer be visible"),
        ({"is_filled": Unknown("needs root")}, {"data_root": "/data"}, "docker.config", "there may be images"),
        (
            {},
            {"address_pools": [{"base": "10.20.0.0/16", "size": 24}]},
            "docker.config",
            "10.20.0.0/16 overlaps the network 10.20.30.0/24",
        ),
        ({}, {"data_root": "/data", "data_root_must_be_mount": True}, "docker.config", "system disk"),
        ({"key": Unknown("/k.asc: permission denied")}, {"key_file": "/k.asc"}, "docker.key", "permission denied"),
    ],
)
def test_refusals_and_their_reasons(facts: dict[str, Any], table: dict[str, Any], step: str, message: str) -> None:
    made = texts(table, replace(FRESH, **facts))
    result = made[step]
    assert message in (getattr(result, "reason", "") or getattr(result, "missing", ""))


def test_podman_on_dockers_socket_is_removed_on_request_and_its_data_ignored() -> None:
    machine = with_engine(
        {"package:docker-ce": None, "package:podman-docker": Package("5.4.2"), "file:/etc/os-release": OS_RELEASE},
        info={"DockerRootDir": "/var/lib/containers/storage", "Driver": "overlay", "Images": 7},
        engine={"/version": {"Version": "5.4.2", "Components": [{"Name": "Podman Engine"}]}},
    )
    facts = PAGE.probe(machine, settings(), CONTEXT)
    assert (facts.data_root, facts.is_filled) == ("/var/lib/docker", Known(False))
    made = texts({"remove_conflicts": True, "data_root": "/data"}, facts)
    assert made["docker.conflicts"].names == ("podman-docker",)
    assert "data-root" in made["docker.config"].wanted


def test_conflicts_that_are_allowed_are_removed_for_good_and_ask_for_consent() -> None:
    facts = replace(FRESH, packages=(("docker.io", "26.1"), ("containerd", "1.7")))
    made = texts({"remove_conflicts": True}, facts)["docker.conflicts"]
    assert made.names == ("docker.io", "containerd")
    assert made.for_good
    assert made.interrupts == ("docker.restart",)
    assert "docker.conflicts" not in texts({}, replace(FRESH, packages=(*CE, ("runc", "1.1"))))


def test_keep_without_an_engine_is_refused() -> None:
    assert "no engine to keep" in refusals(plan_of(PAGE, {"source": "keep"}, node(), CONTEXT))["docker.keep"]


def test_users_are_the_account_unless_named() -> None:
    assert texts({})["docker.users"].accounts == ("bai",)
    assert texts({"users": ["ops", "ci"]})["docker.users"].accounts == ("ops", "ci")
    machine = node()
    machine.set_state(Key("user", "bai"), None)
    assert "[account]" in refusals(plan_of(PAGE, {}, machine, CONTEXT))["docker.users"]


def test_image_store_is_chosen_on_fresh_nodes_only() -> None:
    def store(facts: DockerFacts, release: str, **table: Any) -> Any:
        made = texts(table, facts, replace(CONTEXT, backend_ai=release))["docker.config"]
        return json.loads(made.wanted).get("features", {}).get("containerd-snapshotter")

    here = replace(FRESH, packages=CE, is_filled=Known(True), engine=Known(RUNNING))
    assert store(FRESH, "26.4") is False
    assert store(FRESH, "26.9") is False
    assert store(FRESH, "") is False
    assert store(here, "26.4") is None
    assert store(replace(here, is_filled=Known(False)), "26.9", image_store="containerd") is True
    assert store(FRESH, "26.9", image_store="overlay2") is False
    assert store(here, "26.4", image_store="overlay2") is False, "where it is already, nothing is refused"


@pytest.mark.parametrize(
    "facts, store, message",
    [
        ({"engine": Known(RUNNING)}, "containerd", "the store overlay2 has images"),
        ({"engine": Known(replace(RUNNING, driver="overlayfs"))}, "overlay2", "the store containerd has images"),
        ({"daemon_json": Known('{"features": {"containerd-snapshotter": true}}')}, "overlay2", "store containerd"),
        ({"daemon_json": Known("[]")}, "overlay2", "the store in use is unknown"),
        ({"is_filled": Unknown("needs root")}, "containerd", "the store in use is unknown"),
    ],
)
def test_images_do_not_vanish_with_another_store(facts: dict[str, Any], store: str, message: str) -> None:
    here = replace(FRESH, **{"packages": CE, "is_filled": Known(True), "engine": Unknown("is down"), **facts})
    assert message in texts({"image_store": store}, here)["docker.config"].reason


def test_hand_written_logging_overrides_defaults_but_not_answers() -> None:
    machine = node()
    written = Entry("file", 0, 0, 0o644, b'{"log-driver": "journald"}\n')
    machine.set_state(Key("file", "/etc/docker/daemon.json"), written)
    assert "json-file" not in shown(plan_of(PAGE, {}, machine, CONTEXT))
    wished = shown(plan_of(PAGE, {"log": {"max_size": "50m"}}, machine, CONTEXT))
    assert '"max-size": "50m"' in wished
    flag = Entry("file", 0, 0, 0o644, b"[Service]\nExecStart=/usr/bin/dockerd --log-driver=journald\n")
    machine.set_state(Key("file", "/etc/docker/daemon.json"), None)
    machine.set_state(Key("file", "/etc/systemd/system/docker.service.d/site.conf"), flag)
    assert not plan_of(PAGE, {}, machine, CONTEXT).blocked(), "a flag wins as well: Docker would not start with both"


@pytest.mark.parametrize(
    "before, log, after",
    [
        (
            {"log-driver": "json-file", "log-opts": {"max-size": "9m", "labels": "x"}},
            {"driver": "journald"},
            {"log-driver": "journald", "log-opts": {}},
        ),
        (
            {"log-driver": "fluentd", "log-opts": {"fluentd-address": "x:1"}},
            {"driver": "local", "max_file": 3},
            {"log-driver": "local", "log-opts": {"max-size": "100m", "max-file": "3"}},
        ),
        ({"log-opts": {"max-size": "9m"}}, {"driver": "journald"}, {"log-driver": "journald", "log-opts": {}}),
        (
            {"log-opts": {"labels": "x"}},
            {"max_size": "5m"},
            {"log-driver": "json-file", "log-opts": {"labels": "x", "max-size": "5m", "max-file": "5"}},
        ),
        (
            {"log-driver": "journald", "log-opts": {"tag": "x"}},
            {"driver": "journald"},
            {"log-driver": "journald", "log-opts": {"tag": "x"}},
        ),
        ({}, {"driver": "journald"}, {"log-driver": "journald"}),
    ],
)
def test_options_of_logs_do_not_outlive_their_driver(
    before: dict[str, Any], log: dict[str, Any], after: dict[str, Any]
) -> None:
    """Docker does not start with an option that the driver does not know."""
    machine = node("finished")
    text = json.dumps(before).encode()
    machine.set_state(Key("file", "/etc/docker/daemon.json"), Entry("file", 0, 0, 0o644, text))
    step = texts({"log": log}, PAGE.probe(machine, settings(), CONTEXT))["docker.config"]
    for operation in step.operations(machine):
        machine.apply(operation)
    result = json.loads(machine.text("/etc/docker/daemon.json") or "")
    assert {key: result[key] for key in ("log-driver", "log-opts") if key in result} == after


def test_proxy_drop_in_is_quoted_and_hides_a_password_from_others() -> None:
    context = replace(CONTEXT, proxy_http="http://u:p%40x@proxy:3128", no_proxy="10.0.0.0/8, .corp")
    drop, login = texts({}, FRESH, context)["docker.proxy"], texts({}, FRESH, context)["docker.proxy-login"]
    assert "p%40x" not in drop.text
    assert f"EnvironmentFile=-{login.path}" in drop.text
    assert login.text.reveal() == 'HTTP_PROXY="http://u:p%40x@proxy:3128"\n'
    assert login.path in texts({}, FRESH, context)["docker.restart"].reads
    (written,) = login.operations(node())
    assert (written.mode, written.secret) == (0o600, True)
    before = dict.fromkeys(written.keys())
    (change,) = written.inverse(before).changes(written.after(before))
    assert change.before is None, "undo would show the login"
    assert "p%40x" not in repr(SHOWN.encode(login))
    assert 'Environment="NO_PROXY=10.0.0.0/8,.corp,localhost,127.0.0.0/8,::1,gpu01"' in drop.text
    assert texts({})["docker.restart"].reads == ("/etc/docker/daemon.json",)
    assert drop.path in texts({}, FRESH, context)["docker.restart"].reads


def test_registry_authority_has_to_be_a_certificate() -> None:
    def made(fact: Any) -> Any:
        return texts({}, replace(FRESH, registry_ca=(("harbor.corp:443", fact),)))[
            "docker.registry-ca.harbor.corp:443"
        ]

    pem = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"
    assert made(Known(pem)).path == "/etc/docker/certs.d/harbor.corp:443/ca.crt"
    assert made(Known(pem)).inspect(node()).kind == "pending"
    assert "no PEM certificate" in made(Known("hello")).inspect(node()).reason
    assert "permission" in made(Unknown("permission denied")).inspect(node()).reason
    assert "not exist" in made(Absent()).inspect(node()).reason
    both = texts({}, replace(FRESH, registry_ca=(("harbor.corp:443", Known(pem)),)))
    assert both["docker.registry-ca.harbor.corp"].text == pem, "images are mostly called without the port of TLS"


def test_a_lost_restart_is_seen_again(tmp_path: Path) -> None:
    machine = node()
    run(machine, plan_of(PAGE, {}, machine, CONTEXT), tmp_path)
    assert plan_of(PAGE, {}, machine, CONTEXT).is_empty()
    machine.set_state(Key("file", "/etc/docker/daemon.json"), machine.entry("/etc/docker/daemon.json"))
    plan = plan_of(PAGE, {}, machine, CONTEXT)
    assert [item.step.id for item in plan.pending()] == ["docker.restart"]


def test_upgrades_ask_for_consent_only_where_an_engine_runs() -> None:
    assert texts({})["docker.packages"].interrupts == ()
    here = replace(FRESH, packages=(("docker-ce", "5:28.5.1-1~x"),))
    assert texts({}, here)["docker.packages"].interrupts == ("docker.restart",)
    assert texts({}, here)["docker.plugins"].interrupts == ()
    assert texts({}, here)["docker.service"].interrupts == ()


@pytest.mark.parametrize(
    "now, config, asks",
    [
        (True, '{"live-restore": true}', False),
        (True, "{}", True),
        (False, '{"live-restore": true}', True),
        (True, "[]", True),
        (True, "{", True),
    ],
)
def test_containers_that_outlive_the_daemon_need_no_consent(now: bool, config: str, asks: bool) -> None:
    facts = replace(FRESH, packages=CE, engine=Known(replace(RUNNING, live_restore=now)), daemon_json=Known(config))
    made = texts({}, facts)
    assert bool(made["docker.restart"].interrupts) is asks
    assert made["docker.packages"].interrupts == ("docker.restart",), "an upgrade is another matter"


def test_packages_that_are_here_are_not_upgraded() -> None:
    machine = node("finished")
    machine.set_state(Key("package", "containerd.io"), Package("1.6.0"))
    plan = plan_of(PAGE, {}, machine, CONTEXT)
    assert "docker.packages" not in [item.step.id for item in plan.pending()], shown(plan)


def test_a_kept_engine_can_listen_without_a_socket_unit() -> None:
    """Starting a socket unit whose service runs already is refused by systemd."""
    off = with_engine({"file:/etc/os-release": OS_RELEASE, "unit:docker.socket": Unit("disabled", "inactive", 0.0)})
    for machine in (off, with_engine({"file:/etc/os-release": OS_RELEASE})):
        plan = plan_of(PAGE, {"source": "keep"}, machine, CONTEXT)
        assert not plan.blocked(), shown(plan)
        assert "docker.socket" not in [item.step.id for item in plan.pending()], shown(plan)
    fresh = texts({})["docker.socket"]
    assert (fresh.enabled, fresh.active, fresh.if_running) == (True, None, False)


def test_an_engine_without_a_package_is_not_a_first_start() -> None:
    machine = with_engine({"file:/etc/os-release": OS_RELEASE, "package:docker-ce": None})
    plan = plan_of(PAGE, {"source": "keep"}, machine, CONTEXT)
    assert "max-download-attempts" not in shown(plan)
    restart = next(item.step for item in plan.steps if item.step.id == "docker.restart")
    assert restart.before == "", "it gets its configuration back as it was"  # type: ignore[attr-defined]


def test_a_masked_service_is_not_argued_with() -> None:
    masked = with_engine({"file:/etc/os-release": OS_RELEASE, "unit:docker.service": Unit("masked", "inactive", 0.0)})
    assert (
        "systemctl unmask docker.service"
        in refusals(plan_of(PAGE, {"source": "keep"}, masked, CONTEXT))["docker.service"]
    )


@pytest.mark.parametrize(
    "unit, message", [("snap.microk8s.daemon-kubelite", "microk8s"), ("k3s-agent", "k3s"), ("kubelet", "kubelet")]
)
def test_kubernetes_by_its_units(unit: str, message: str) -> None:
    machine = with_engine({f"file:/etc/systemd/system/{unit}.service": Entry("file", 0, 0, 0o644, b"")})
    assert PAGE.probe(machine, settings(), CONTEXT).kubernetes == message


def test_a_data_directory_that_leads_into_the_system_is_refused() -> None:
    """dockerd would change the mode of /etc (M3)."""
    machine = node()
    machine.set_state(Key("file", "/srv/x"), Entry("link", 0, 0, 0o777, target="/etc"))
    step = texts({"data_root": "/srv/x"}, FRESH)["docker.config"]
    assert "leads to /etc, which is a directory of the operating system" in step.inspect(machine).reason
    assert step.inspect(node()).kind == "pending"


@pytest.mark.parametrize("unit", ["docker.service", "docker.socket", "containerd.service"])
def test_a_unit_that_was_masked_before_is_refused_before_anything_is_installed(unit: str) -> None:
    machine = node()
    machine.set_state(Key("unit", unit), Unit("masked", "inactive"))
    plan = plan_of(PAGE, {}, machine, CONTEXT)
    assert f"systemctl unmask {unit}" in refusals(plan)["docker.masked"]
    assert not plan.pending()
