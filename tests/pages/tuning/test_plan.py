"""The plan of tuning: values set and kept; applied, the second plan is empty; undo restores everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard.core.machine import Completed
from bai_wizard.core.operation import Operation
from bai_wizard.core.page import Context, Known, Role
from bai_wizard.core.parse import Unrepresentable, sysctl_line
from bai_wizard.core.state import Entry, Key, Sysctl
from bai_wizard.core.step import Blocked, Plan, StepStatus, Unchanged
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.tuning.boot_sysctl import Assignment, Deciding
from bai_wizard.pages.tuning.plan import PAGE
from bai_wizard.pages.tuning.settings import TuningSettings
from bai_wizard.pages.tuning.sysctl import decide_parameter, desired_values
from bai_wizard.resources.commands import RunCommand
from tests.pages.storage.lifecycle import assert_cycle, plan_of, run, shown
from tests.pages.ubuntu import DOCKER, PROC_1_LIMITS, bai, link, ubuntu
from tests.settings import RefusedSettings, settings_from

PATH = "/etc/sysctl.d/99-backendai.conf"
LIMITS = "/etc/security/limits.d/99-backendai.conf"
# As printed in the manual, the quotes included.
MANUAL = """fs.file-max=2048000
net.core.somaxconn=1024
net.ipv4.tcp_max_syn_backlog=1024
net.ipv4.tcp_slow_start_after_idle=0
net.ipv4.tcp_fin_timeout=10
net.ipv4.tcp_window_scaling=1
net.ipv4.tcp_tw_reuse=1
net.ipv4.tcp_early_retrans=1
net.ipv4.ip_local_port_range="10000 65000"
net.core.rmem_max=16777216
net.core.wmem_max=16777216
net.ipv4.tcp_rmem=4096 12582912 16777216
net.ipv4.tcp_wmem=4096 12582912 16777216
vm.overcommit_memory=1
"""

CONNTRACK = {
    "net.netfilter.nf_conntrack_max": "262144",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait": "60",
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait": "120",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait": "120",
}


def verdict(plan: Plan, step: str) -> StepStatus:
    return next(item.verdict for item in plan.steps if item.step.id == step)


def headlines(plan: Plan) -> list[str]:
    return [change.headline() for item in plan.pending() for change in getattr(item.verdict, "changes", ())]


def settings_in(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.split("\n") if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def applied(machine: SimulatedMachine, directory: Path, table: dict[str, object] | None = None) -> SimulatedMachine:
    plan = plan_of(PAGE, table or {}, machine)
    _, result = run(machine, plan, directory)
    assert result.code() == 0, result
    return machine


def test_a_fresh_node(tmp_path: Path) -> None:
    plan = assert_cycle(PAGE, {}, ubuntu(bai()), tmp_path)
    assert headlines(plan) == [
        f"+ {PATH}  0:0 0644",
        "~ net.ipv4.tcp_slow_start_after_idle  1 → 0  live",
        "~ net.ipv4.tcp_fin_timeout  60 → 10  live",
        "~ net.ipv4.tcp_tw_reuse  2 → 1  live",
        "~ net.core.rmem_max  212992 → 16777216  live",
        "~ net.core.wmem_max  212992 → 16777216  live",
        "~ vm.overcommit_memory  0 → 1  live",
        "~ net.ipv4.ip_local_port_range  32768 60999 → 10000 65000  live",
        "~ net.ipv4.tcp_rmem  4096 131072 6291456 → 4096 12582912 16777216  live",
        "~ net.ipv4.tcp_wmem  4096 16384 4194304 → 4096 12582912 16777216  live",
        "~ fs.inotify.max_user_watches  192536 → 524288  live",
        "~ fs.inotify.max_user_instances  128 → 8192  live",
        "~ net.ipv4.ip_local_reserved_ports   → 30000-32000,38200,39200,40128  live",
        f"+ {LIMITS}  0:0 0644",
    ]
    assert "docker.service does not exist on this node" in shown(plan)


def test_better_values_are_kept_and_reported(tmp_path: Path) -> None:
    machine = applied(ubuntu(bai()), tmp_path)
    text = machine.text(PATH) or ""
    assert "# net.core.somaxconn: kept 4096 (manual: 1024)" in text
    assert "# fs.file-max: kept 9223372036854775807 (manual: 2048000)" in text
    assert "# net.ipv4.tcp_fin_timeout: was 60 (manual: 10)" in text
    active = settings_in(text)
    assert "net.core.somaxconn" not in active
    assert active["net.ipv4.tcp_early_retrans"] == "3"
    assert active["net.ipv4.ip_local_port_range"] == "10000 65000"
    limits = (machine.text(LIMITS) or "").split("\n")
    assert "bai soft nofile 512000" in limits
    assert "# bai hard nofile: kept 524288 (wanted: 512000)" in limits
    assert "# root hard nproc: kept 255960 (wanted: 65536)" in limits


def test_a_better_value_that_no_one_sets_at_boot_is_written_down(tmp_path: Path) -> None:
    """`sysctl -w` by hand: kept, but a comment alone would lose it at the next boot."""
    machine = applied(ubuntu(bai(), sysctl={"net.core.rmem_max": "33554432"}), tmp_path)
    text = machine.text(PATH) or ""
    assert "# net.core.rmem_max: kept 33554432 (manual: 16777216)" in text
    assert settings_in(text)["net.core.rmem_max"] == "33554432"


def test_a_better_value_of_another_file_is_left_to_it(tmp_path: Path) -> None:
    files = {"/etc/sysctl.d/60-site.conf": "net.core.rmem_max = 33554432\n"}
    machine = applied(ubuntu(bai(), files, {"net.core.rmem_max": "33554432"}), tmp_path)
    text = machine.text(PATH) or ""
    assert "# net.core.rmem_max: kept 33554432 of /etc/sysctl.d/60-site.conf (manual: 16777216)" in text
    machine.set_state(Key("file", "/etc/sysctl.d/60-site.conf"), None)
    again = plan_of(PAGE, {}, machine)
    assert not again.is_empty(), "the value would be gone at the next boot"
    assert "+net.core.rmem_max = 16777216" in shown(again)


def test_the_manuals_own_file_is_corrected(tmp_path: Path) -> None:
    """A node set up by hand from the manual: the quoted line was refused, early_retrans switched probes off."""
    live = {key: value for key, value in settings_in(MANUAL).items() if '"' not in value}
    machine = ubuntu(bai(), {PATH: MANUAL}, live)
    assert_cycle(PAGE, {}, machine, tmp_path / "cycle")
    applied(machine, tmp_path)
    text = machine.text(PATH) or ""
    assert '"' not in "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    assert machine.sysctl("net.ipv4.tcp_early_retrans") == Sysctl("3")
    assert machine.sysctl("net.ipv4.ip_local_port_range") == Sysctl("10000 65000")


def test_lines_of_others_in_our_file_stay(tmp_path: Path) -> None:
    other = 'vm.swappiness = 10\nkernel.core_pattern="/tmp/core"\nnet.core.somaxconn=128\n'
    machine = applied(ubuntu(bai(), {PATH: other}), tmp_path)
    active = settings_in(machine.text(PATH) or "")
    assert active["vm.swappiness"] == "10"
    assert active["kernel.core_pattern"] == "/tmp/core", "a quoted value is never left"
    assert active.get("net.core.somaxconn") != "128"
    assert plan_of(PAGE, {}, machine).is_empty()
    machine.set_state(
        Key("file", PATH), Entry("file", 0, 0, 0o644, (machine.text(PATH) or "").encode() + b"vm.x = 1\n")
    )
    assert plan_of(PAGE, {}, machine).is_empty(), "a line added below our part is somebody else's"


def test_values_in_the_answers_are_exact() -> None:
    plan = plan_of(PAGE, {"sysctl": {"net/core/somaxconn": 2048, "vm.swappiness": 10}}, ubuntu(bai()))
    assert "~ net.core.somaxconn  4096 → 2048  live" in headlines(plan)
    assert isinstance(verdict(plan, "tuning.live.vm.swappiness"), Unchanged), "this kernel does not have it"


def test_without_keep_better_the_manual_is_followed_to_the_letter() -> None:
    lines = headlines(plan_of(PAGE, {"keep_better": False}, ubuntu(bai())))
    assert "~ net.core.somaxconn  4096 → 1024  live" in lines


def test_excluded_keys_are_not_touched() -> None:
    machine = ubuntu(bai(), {PATH: "vm.overcommit_memory = 2\n"})
    plan = plan_of(PAGE, {"exclude": ["vm.overcommit_memory"]}, machine)
    assert not any("overcommit" in line for line in headlines(plan))
    assert "-vm.overcommit_memory" not in shown(plan)


def test_reserved_ports_join_those_that_are_reserved(tmp_path: Path) -> None:
    machine = ubuntu(bai(), sysctl={"net.ipv4.ip_local_reserved_ports": "12345,30000-30010"})
    applied(machine, tmp_path, {"reserved_ports": ["auto", "6001", "20000-20010"]})
    assert machine.sysctl("net.ipv4.ip_local_reserved_ports") == Sysctl(
        "12345,20000-20010,30000-32000,38200,39200,40128"
    ), "6001 lies below the range for outgoing connections"


def test_roles_decide_the_reserved_ports() -> None:
    plan = plan_of(PAGE, {}, ubuntu(bai()), Context(roles=("management",)))
    assert "~ net.ipv4.ip_local_reserved_ports   → 10200-10700,16023,18080  live" in headlines(plan)


def test_keys_missing_in_this_kernel_are_skipped_and_reported(tmp_path: Path) -> None:
    machine = ubuntu(bai(), sysctl={"net.ipv4.tcp_tw_reuse": None})
    plan = assert_cycle(PAGE, {}, machine, tmp_path)
    status = verdict(plan, "tuning.live.net.ipv4.tcp_tw_reuse")
    assert status == Unchanged("this kernel does not have it", skipped=True)
    assert "+# net.ipv4.tcp_tw_reuse: this kernel does not have it (manual: 1)" in shown(plan)


def test_keys_of_the_host_are_written_and_count_as_converged(tmp_path: Path) -> None:
    machine = ubuntu(bai(), sysctl={"vm.overcommit_memory": Sysctl("0", writable=False)}, container=True)
    plan = assert_cycle(PAGE, {}, machine, tmp_path)
    status = verdict(plan, "tuning.live.vm.overcommit_memory")
    assert isinstance(status, Unchanged)
    assert status.skipped
    assert "it is set on the host" in status.note
    assert "+vm.overcommit_memory = 1" in shown(plan)


@pytest.mark.parametrize("profile", ["official", "compute", "management"])
def test_every_profile_goes_round(profile: str, tmp_path: Path) -> None:
    machine = ubuntu({**bai(), **DOCKER}, {"/sys/module/nf_conntrack/x": ""}, CONNTRACK)
    plan = assert_cycle(PAGE, {"profile": profile}, machine, tmp_path)
    assert not plan.is_empty()


def test_a_module_is_loaded_for_its_parameters(tmp_path: Path) -> None:
    machine = ubuntu(bai())

    def modprobe(operation: Operation, moment: str) -> None:
        if isinstance(operation, RunCommand) and moment == "after":
            machine.set_state(Key("file", "/sys/module/nf_conntrack/x"), Entry("file", 0, 0, 0o444, b""))
            for key, value in CONNTRACK.items():
                machine.set_state(Key("sysctl", key), Sysctl(value))

    machine.fault = modprobe
    table = {"profile": "compute"}
    plan = plan_of(PAGE, table, machine)
    assert "> load the kernel module nf_conntrack  modprobe -- nf_conntrack" in headlines(plan)
    _, result = run(machine, plan, tmp_path)
    assert result.code() == 0, result
    assert "the kernel module nf_conntrack stays loaded until the next boot" in result.lasting
    assert machine.sysctl("net.netfilter.nf_conntrack_max") == Sysctl("10485760")
    assert plan_of(PAGE, table, machine).is_empty()


def test_profiles_follow_one_another(tmp_path: Path) -> None:
    """What an earlier profile had written is ours and goes; what the node had before us is still known."""
    machine = applied(ubuntu(bai()), tmp_path / "1", {"profile": "management"})
    applied(machine, tmp_path / "2", {"profile": "official", "exclude": ["net.ipv4.tcp_fin_timeout"]})
    text = machine.text(PATH) or ""
    assert "tcp_fin_timeout" not in text
    assert "# net.core.somaxconn: kept 4096 (manual: 1024)" in text
    assert plan_of(PAGE, {"exclude": ["net.ipv4.tcp_fin_timeout"]}, machine).is_empty()


@pytest.mark.parametrize(
    ("table", "roles", "raised"),
    [
        ({}, ("compute",), True),
        ({"profile": "management"}, ("manager", "compute"), True),
        ({}, ("manager",), False),
        ({"exclude": ["fs/inotify/max_user_instances"]}, ("compute",), False),
        ({"sysctl": {"fs.inotify.max_user_instances": 256}}, ("compute",), False),
    ],
    ids=["default profile", "also a manager", "no containers", "excluded", "own value"],
)
def test_nodes_that_run_containers_have_inotify_instances(
    table: dict[str, object], roles: tuple[Role, ...], raised: bool
) -> None:
    lines = headlines(plan_of(PAGE, table, ubuntu(bai()), Context(roles=roles)))
    assert ("~ fs.inotify.max_user_instances  128 → 8192  live" in lines) == raised


def test_many_inotify_watches_of_the_kernel_are_kept() -> None:
    machine = ubuntu(bai(), sysctl={"fs.inotify.max_user_watches": "1048576"})
    assert not any("max_user_watches" in line for line in headlines(plan_of(PAGE, {}, machine)))


NAMESPACE = ("unshare", "--net")


@pytest.mark.parametrize(
    ("answer", "least"),
    [
        (Completed(0, "4096\n8192\n", ""), "8192"),
        (Completed(1, "", "unshare: unshare failed: Operation not permitted"), "1024"),
        (Completed(0, "4096\n", "cat: /proc/sys/net/ipv4/tcp_max_syn_backlog: No such file or directory"), "1024"),
    ],
    ids=["read from the kernel", "a container", "no such parameter"],
)
def test_a_value_that_was_lowered_gets_the_kernels_own_default(answer: Completed, least: str, tmp_path: Path) -> None:
    """It depends on the memory size, so data cannot know it; where the kernel does not tell, the manual's is used."""
    machine = ubuntu(bai(), sysctl={"net.ipv4.tcp_max_syn_backlog": "256"}, looks={NAMESPACE: answer})
    assert f"~ net.ipv4.tcp_max_syn_backlog  256 → {least}  live" in headlines(plan_of(PAGE, {}, machine))
    applied(machine, tmp_path)
    assert f"net.ipv4.tcp_max_syn_backlog = {least}\n" in (machine.text(PATH) or "")


def test_a_raised_value_that_is_another_kernels_default_is_made_permanent(tmp_path: Path) -> None:
    """4096 is the default of larger nodes; on this one it was set by hand and would be lost at the next boot."""
    looks = {NAMESPACE: Completed(0, "4096\n2048\n", "")}
    machine = ubuntu(bai(), sysctl={"net.ipv4.tcp_max_syn_backlog": "4096"}, looks=looks)
    applied(machine, tmp_path)
    text = machine.text(PATH) or ""
    assert "net.ipv4.tcp_max_syn_backlog = 4096\n" in text
    assert "net.core.somaxconn = " not in text, "the kernel's own needs no line"


class TestOpenFiles:
    def test_the_kernels_limit_is_raised_first(self, tmp_path: Path) -> None:
        table = {"limits": {"nofile": 4194304, "nproc": 65536}}
        plan = assert_cycle(PAGE, table, ubuntu(bai()), tmp_path)
        ids = [item.step.id for item in plan.pending()]
        assert ids.index("tuning.live.fs.nr_open") < ids.index("tuning.limits-file")
        assert "~ fs.nr_open  1048576 → 4194304  live" in headlines(plan)

    def test_a_lower_limit_at_the_next_boot_is_seen(self) -> None:
        machine = ubuntu(bai(), {"/etc/sysctl.d/10-site.conf": "fs.nr_open = 65536\n"})
        text = shown(plan_of(PAGE, {}, machine))
        assert "+fs.nr_open = 1048576" in text, "otherwise the next boot would take the limits from all logins"

    def test_where_it_cannot_be_raised_nothing_is_written(self) -> None:
        machine = ubuntu(bai(), sysctl={"fs.nr_open": Sysctl("65536", writable=False)}, container=True)
        status = verdict(plan_of(PAGE, {}, machine), "tuning.limits-file")
        assert isinstance(status, Blocked)
        assert "the kernel would refuse it" in status.reason


class TestServices:
    def test_a_drop_in_and_a_restart(self, tmp_path: Path) -> None:
        machine = ubuntu({**bai(), **DOCKER})
        plan = assert_cycle(PAGE, {"services": {"docker": {"nofile": 1048576}}}, machine, tmp_path)
        lines = headlines(plan)
        assert "+ /etc/systemd/system/docker.service.d/50-bai-wizard-limits.conf  0:0 0644" in lines
        assert any(line.startswith("> restart docker.service") for line in lines)
        restart = next(item.step for item in plan.steps if item.step.id == "tuning.restart.docker")
        assert restart.interrupts == ("docker.restart", "gpu.reload")

    def test_higher_limits_of_the_unit_are_not_lowered(self) -> None:
        unit = {"/usr/lib/systemd/system/docker.service": "[Service]\nLimitNOFILE=infinity\n"}
        plan = plan_of(PAGE, {}, ubuntu({**bai(), **DOCKER}, unit))
        assert not any("docker" in line for line in headlines(plan))

    def test_our_drop_in_is_removed_if_others_set_more(self, tmp_path: Path) -> None:
        machine = applied(ubuntu({**bai(), **DOCKER}), tmp_path)
        more = "/etc/systemd/system/docker.service.d/override.conf"
        machine.set_state(Key("file", more), Entry("file", 0, 0, 0o644, b"[Service]\nLimitNOFILE=infinity\n"))
        assert "- /etc/systemd/system/docker.service.d/50-bai-wizard-limits.conf" in headlines(
            plan_of(PAGE, {}, machine)
        )

    def test_a_later_drop_in_that_lowers_it_blocks(self) -> None:
        lower = {"/etc/systemd/system/docker.service.d/99-x.conf": "[Service]\nLimitNOFILE=1024\n"}
        status = verdict(plan_of(PAGE, {}, ubuntu({**bai(), **DOCKER}, lower)), "tuning.service.docker")
        assert isinstance(status, Blocked)
        assert "99-x.conf" in status.reason

    def test_a_service_that_this_run_brings_gets_its_drop_in(self) -> None:
        context = Context(applied=("docker", "tuning"))
        lines = headlines(plan_of(PAGE, {}, ubuntu(bai()), context))
        assert "+ /etc/systemd/system/docker.service.d/50-bai-wizard-limits.conf  0:0 0644" in lines

    def test_soft_and_hard_are_raised_apart(self) -> None:
        unit = {"/usr/lib/systemd/system/docker.service": "[Service]\nLimitNOFILE=1024:4194304\n"}
        assert "+LimitNOFILE=1048576:4194304" in shown(plan_of(PAGE, {}, ubuntu({**bai(), **DOCKER}, unit)))


def test_settings_of_the_design_are_understood() -> None:
    settings_from(TuningSettings, {"limits": {"nofile": 512000, "nproc": 65536}, "reserved_ports": ["auto"]})


def test_our_masked_file_blocks() -> None:
    status = verdict(plan_of(PAGE, {}, ubuntu(bai(), {PATH: link("/dev/null")})), "tuning.sysctl-file")
    assert isinstance(status, Blocked)


def test_a_low_process_limit_is_raised(tmp_path: Path) -> None:
    low = PROC_1_LIMITS.replace("255960               255960 ", "7000                 7000   ")
    machine = applied(ubuntu(bai(), kernel={"/proc/1/limits": low}), tmp_path)
    assert "bai hard nproc 65536" in (machine.text(LIMITS) or "")


@pytest.mark.parametrize(
    "key, value",
    [
        ("kernel.core_pattern", "|/tmp/x"),
        ("kernel.core_pattern", " |/tmp/x"),
        ("kernel/core_pattern", "|/tmp/x"),
        ("kernel.modprobe", "/tmp/x"),
        ("kernel/modprobe", "/tmp/x"),
        ("kernel.hotplug", "/tmp/x"),
        ("kernel.poweroff_cmd", "/tmp/x"),
        ("fs.binfmt_misc.register", ":x:E::sh::/tmp/x:OC"),
    ],
)
def test_no_kernel_parameter_starts_a_program(key: str, value: str) -> None:
    with pytest.raises(RefusedSettings):
        settings_from(TuningSettings, {"sysctl": {key: value}})
    with pytest.raises(Unrepresentable):
        sysctl_line(key, value)


def test_a_pattern_for_core_files_is_allowed() -> None:
    TuningSettings(sysctl={"kernel.core_pattern": "/var/crash/core.%e.%p"})


@pytest.mark.parametrize(("other", "has_line"), [(None, False), ("1024", True), ("8192", False)])
def test_a_default_that_is_kept_needs_a_line_where_another_file_sets_it(other: str | None, has_line: bool) -> None:
    """Without ours, the other file would lower the kernel's own default at the next boot."""
    wanted = next(each for each in desired_values(TuningSettings()) if each.key == "net.core.somaxconn")
    name, text = "10-other.conf", f"net.core.somaxconn = {other}"
    line = Assignment(f"/etc/sysctl.d/{name}", name, 1, "net/core/somaxconn", other, text)
    deciding = None if other is None else Deciding(line, other)
    decision = decide_parameter(replace(wanted, value="1024"), Known(Sysctl("4096")), deciding, None)
    assert decision.has_line is has_line
