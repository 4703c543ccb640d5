"""Network and trust: what is written where, and whose lines are kept."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from bai_wizard.core.operation import Operation
from bai_wizard.core.state import Entry, Key, Package
from bai_wizard.core.step import Blocked, Plan
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.node.plan import PAGE
from bai_wizard.pages.node.settings import NetworkSettings, ProxySettings
from bai_wizard.pages.node.steps import apt_text
from bai_wizard.resources.commands import RunCommand
from tests.pages.storage.lifecycle import assert_cycle, plan_of, run, shown, undo
from tests.pages.ubuntu import file, link, ubuntu
from tests.settings import RefusedSettings, settings_from
from tests.unit.answers.strategies import plain_of

PROXY = {
    "http": "http://proxy.corp:3128",
    "https": "http://proxy.corp:3128",
    "no_proxy": "localhost,.corp,10.0.0.0/8,git.corp",
}
PEM = "-----BEGIN CERTIFICATE-----\nMIIB{0}\nAAAA\n-----END CERTIFICATE-----\n"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
STORE = "/usr/local/share/ca-certificates"


def headlines(plan: Plan) -> list[str]:
    return [change.headline() for item in plan.pending() for change in getattr(item.verdict, "changes", ())]


def bare(text: str | None) -> str:
    """What is left without an empty section at the end."""
    return (text or "").rstrip().removesuffix("[global]").rstrip()


def node(files: dict[str, str | Entry | None] | None = None) -> SimulatedMachine:
    """A node whose update-ca-certificates works: the bundle consists of the files in the store."""
    machine = ubuntu(files=files)

    def update(operation: Operation, moment: str) -> None:
        if isinstance(operation, RunCommand) and operation.argv[0] == "update-ca-certificates" and moment == "after":
            names = [name for name in machine.names(STORE) if name.endswith(".crt")]
            text = "".join(machine.text(f"{STORE}/{name}") or "" for name in names)
            machine.set_state(Key("file", BUNDLE), file(text))
            for name in machine.names("/etc/ssl/certs"):
                if name.startswith("bai-wizard-"):
                    machine.set_state(Key("file", f"/etc/ssl/certs/{name}"), None)
            for name in names:
                pem = f"/etc/ssl/certs/{name.removesuffix('.crt')}.pem"
                machine.set_state(Key("file", pem), link(f"{STORE}/{name}"))

    machine.fault = update
    return machine


def test_without_answers_nothing_is_planned() -> None:
    assert plan_of(PAGE, {}, ubuntu()).is_empty()


def test_a_proxy(tmp_path: Path) -> None:
    plan = assert_cycle(PAGE, {"proxy": PROXY}, ubuntu(), tmp_path)
    assert headlines(plan) == [
        "+ /etc/apt/apt.conf.d/95bai-wizard-proxy  0:0 0644",
        "~ /etc/environment",
        "+ /etc/gitconfig  0:0 0644",
    ]
    text = shown(plan)
    assert '+Acquire::http::Proxy "http://proxy.corp:3128";' in text
    assert '+Acquire::http::Proxy::git.corp "DIRECT";' in text
    assert '::.corp "DIRECT"' not in text, "apt knows host names only"
    assert "+https_proxy=http://proxy.corp:3128" in text
    assert "+NO_PROXY=localhost,.corp,10.0.0.0/8,git.corp" in text
    assert "+\tproxy = http://proxy.corp:3128" in text


def test_an_empty_desired_takes_our_lines_away(tmp_path: Path) -> None:
    machine = ubuntu()
    run(machine, plan_of(PAGE, {"proxy": PROXY}, machine), tmp_path)
    assert headlines(plan_of(PAGE, {}, machine)) == [
        "- /etc/apt/apt.conf.d/95bai-wizard-proxy",
        "~ /etc/environment",
        "~ /etc/gitconfig",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "http_proxy=http://old:1",
        "export HTTP_PROXY=http://old:1",
        " Http_Proxy='http://old:1' ",
        "A=\\\n\nhttp_proxy=",
    ],
)
def test_variables_of_others_are_left_to_them(line: str) -> None:
    text = shown(plan_of(PAGE, {"proxy": PROXY}, ubuntu(files={"/etc/environment": f"{line}\n"})))
    assert "+http_proxy" not in text
    assert "+HTTP_PROXY" not in text
    assert "+https_proxy=" in text


@pytest.mark.parametrize(
    "line",
    [
        "export HTTP_PROXY = http://old:1",
        "\u00a0http_proxy=x",
        "#http_proxy=x",
        "http_proxy=x\nhttp_proxy",
        "A=b \\\nhttp_proxy=x",
    ],
)
def test_lines_that_logins_do_not_read_are_not_left_to_others(line: str) -> None:
    text = shown(plan_of(PAGE, {"proxy": PROXY}, ubuntu(files={"/etc/environment": f"{line}\n"})))
    assert "+http_proxy=http://proxy.corp:3128" in text


@pytest.mark.parametrize(
    ("text", "version", "is_read"),
    [
        ("A=1\n", "1.7.0-5", True),
        ("A=1\\\n", "1.7.0-5", True),
        ("A=1\\\n", "1.5.3-5ubuntu5", False),
        ("A=1\0\nB=2\n", "1.5.3-5ubuntu5", False),
        ("A=1\0\nB=2\n", "1.7.0-5", True),
        (f"A={'x' * 8190}\n", "1.5.3-5ubuntu5", False),
        (f"# BEGIN bai-wizard\nno_proxy=x\n# END bai-wizard\nA={'x' * 8190}\n", "1.5.3-5ubuntu5", True),
    ],
)
def test_a_proxy_that_logins_would_not_read_is_not_written(text: str, version: str, is_read: bool) -> None:
    node = ubuntu({Key("package", "libpam-modules"): Package(version)}, files={"/etc/environment": text})
    plan = plan_of(PAGE, {"proxy": PROXY}, node)
    assert any("/etc/environment" in line for line in headlines(plan)) == is_read
    reasons = [item.verdict.reason for item in plan.steps if isinstance(item.verdict, Blocked)]
    assert any("backslash" in reason for reason in reasons) != is_read


def test_gits_own_proxy_is_not_changed() -> None:
    files: dict[str, str | Entry | None] = {"/etc/gitconfig": "[user]\n\tproxy = x\n[HTTP]\n\tProxy = http://old:1\n"}
    assert not any("gitconfig" in line for line in headlines(plan_of(PAGE, {"proxy": PROXY}, ubuntu(files=files))))


@pytest.mark.parametrize("names", [("http",), ("https",), ("http", "https")])
def test_a_proxy_with_a_password_is_written_nowhere(names: tuple[str, ...]) -> None:
    secret, plain = "http://me:hunter22@proxy.corp:3128", "http://proxy.corp:3128"
    table = {"proxy": {name: secret if name in names else plain for name in ("http", "https")}}
    plan = plan_of(PAGE, table, ubuntu())
    assert plan.is_empty()
    assert "hunter22" not in shown(plan)
    blocked = [item for item in plan.steps if isinstance(item.verdict, Blocked)]
    assert [(item.step.id, item.step.optional) for item in blocked] == [("node.proxy-password", True)]


class TestTrust:
    def test_certificates_join_the_systems_trust(self, tmp_path: Path) -> None:
        machine = node(
            {"/root/corp ca.crt": PEM.format("x"), "/root/two.pem": PEM.format("y") + "text\n" + PEM.format("z")}
        )
        before = machine.snapshot()
        table = {"ca_certificates": ["/root/corp ca.crt", "/root/two.pem"]}
        plan = plan_of(PAGE, table, machine)
        assert headlines(plan)[:4] == [
            f"+ {STORE}/bai-wizard-corp_ca.crt  0:0 0644",
            f"+ {STORE}/bai-wizard-two-1.crt  0:0 0644",
            f"+ {STORE}/bai-wizard-two-2.crt  0:0 0644",
            "> rebuild the system's list of trusted certificates  update-ca-certificates",
        ]
        done, result = run(machine, plan, tmp_path)
        assert result.code() == 0, result
        assert plan_of(PAGE, table, machine).is_empty()
        assert undo(machine, done, tmp_path).code() == 0
        assert machine.text(BUNDLE) == "", "built anew after the certificates are gone"
        assert machine.snapshot() == before

    def test_an_obsolete_file_is_removed(self, tmp_path: Path) -> None:
        machine = node({"/root/a.crt": PEM.format("a"), "/root/b.crt": PEM.format("b")})
        run(machine, plan_of(PAGE, {"ca_certificates": ["/root/a.crt", "/root/b.crt"]}, machine), tmp_path / "1")
        plan = plan_of(PAGE, {"ca_certificates": ["/root/a.crt"]}, machine)
        assert f"- {STORE}/bai-wizard-b.crt" in headlines(plan)
        run(machine, plan, tmp_path / "2")
        assert "MIIBb" not in (machine.text(BUNDLE) or "")

    def test_a_list_that_someone_built_without_it_is_seen(self, tmp_path: Path) -> None:
        machine = node({"/root/a.crt": PEM.format("a")})
        table = {"ca_certificates": ["/root/a.crt"]}
        run(machine, plan_of(PAGE, table, machine), tmp_path)
        machine.set_state(Key("file", BUNDLE), file(PEM.format("other")))
        assert not plan_of(PAGE, table, machine).is_empty()

    @pytest.mark.parametrize(
        "files, reason",
        [
            ({}, "certificate file /root/a.crt does not exist"),
            ({"/root/a.crt": "-----BEGIN PRIVATE KEY-----\n" + PEM}, "private key"),
            ({"/root/a.crt": Entry("file", 0, 0, 0o644, b"\x30\x82\x01")}, "openssl x509 -inform der"),
            ({"/root/a.crt": PEM, "/usr/sbin/update-ca-certificates": None}, "apt-get install ca-certificates"),
        ],
    )
    def test_refused_with_the_reason(self, files: dict[str, str | Entry | None], reason: str) -> None:
        plan = plan_of(PAGE, {"ca_certificates": ["/root/a.crt"]}, ubuntu(files=files))
        status = plan.steps[0].verdict
        assert isinstance(status, Blocked)
        assert reason in status.reason

    @pytest.mark.parametrize(
        "before, after",
        [
            (None, "[global]\n# BEGIN bai-wizard\ncert = {0}\n# END bai-wizard\n"),
            ("[install]\nx = 1", "[install]\nx = 1\n[global]\n# BEGIN bai-wizard\ncert = {0}\n# END bai-wizard\n"),
            (
                "[global]\nindex-url = x\n[install]\n",
                "[global]\n# BEGIN bai-wizard\ncert = {0}\n# END bai-wizard\nindex-url = x\n[install]\n",
            ),
            ("[global]", "[global]\n# BEGIN bai-wizard\ncert = {0}\n# END bai-wizard\n"),
            ("[global]\ncert: /mine\n", "[global]\ncert: /mine\n"),
        ],
    )
    def test_pip_learns_of_it_inside_its_one_section(self, before: str | None, after: str, tmp_path: Path) -> None:
        machine = node({"/root/a.crt": PEM.format("a"), "/etc/pip.conf": before})
        table = {"ca_certificates": ["/root/a.crt"]}
        run(machine, plan_of(PAGE, table, machine), tmp_path / "1")
        assert machine.text("/etc/pip.conf") == after.format(BUNDLE)
        run(machine, plan_of(PAGE, {}, machine), tmp_path / "2")
        assert bare(machine.text("/etc/pip.conf")) == bare(before)


APT_COMMAND = 'http://127.0.0.1";APT{Update{Pre-Invoke{"cd;id>X"}}};Z"1'


@pytest.mark.parametrize("key", ["http", "https", "no_proxy"])
@pytest.mark.parametrize(
    "value",
    [
        APT_COMMAND,
        'http://p.corp:3128";X',
        "http://p.corp;x:3128",
        "http://p{x}:3128",
        "http://p\\x:3128",
        "http://p$x:3128",
        "http://p`id`:3128",
        "http://p#x:3128",
        "http://p'x:3128",
        "http://p%41:3128",
        'http://u"x@p:3128',
        "http://u;x@p:3128",
        "http://u$(id)@p:3128",
        "http://p\x85q:3128",
        "http://p\u2028q:3128",
        "http://pr\u00f6xy:3128",
    ],
)
def test_no_proxy_breaks_out_of_a_file(key: str, value: str) -> None:
    with pytest.raises(RefusedSettings):
        settings_from(NetworkSettings, {"proxy": {"http": "http://p.corp:3128", key: value}})


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="apt is not installed")
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(plain_of(ProxySettings))
def test_apt_reads_exactly_the_proxies_of_the_answers(tmp_path: Path, table: dict[str, str]) -> None:
    proxies = settings_from(ProxySettings, table)
    wanted = {f"Acquire::{scheme}::Proxy": getattr(proxies, scheme) for scheme in ("http", "https")}
    if any("@" in url for url in wanted.values()):
        return
    file = tmp_path / "apt.conf"
    file.write_text(apt_text(proxies.http, proxies.https, proxies.no_proxy))
    output = subprocess.run(
        ["apt-config", "dump", "--no-empty", "--format", "%f %v%n"],
        env={"APT_CONFIG": str(file), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not output.stderr
    result = dict(line.split(" ", 1) for line in output.stdout.splitlines() if line.startswith("Acquire::http"))
    direct = {key for key, value in result.items() if value == "DIRECT"}
    assert {key: value for key, value in result.items() if key not in direct} == {
        key: value for key, value in wanted.items() if value
    }
    bare = subprocess.run(
        ["apt-config", "dump"], env={"APT_CONFIG": "/dev/null", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    tops = {line.partition("::")[0].partition(" ")[0] for line in bare.stdout.splitlines()}
    assert {line.partition("::")[0].partition(" ")[0] for line in output.stdout.splitlines()} <= tops
