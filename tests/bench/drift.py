"""Compare which drifts the dry runs of the wizard, pyinfra and ansible-core detect on the same node.

python -m tests.bench.drift     prints a Markdown table; needs what the node tests need, and a package index for pip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.converged import PYTHON, converge, install_peers
from tests.node.api import Node
from tests.node.container import ContainerNode
from tests.node.engine import running_engine
from tests.node.images import node_image

SYSCTL = "/etc/sysctl.d/99-backendai.conf"
LIMITS = "/etc/security/limits.d/99-backendai.conf"


@dataclass(frozen=True)
class Breakage:
    """A command that breaks a requirement of the manual, now or after the next boot."""

    name: str
    breaks: str


BREAKAGES = (
    Breakage("a live value is another", "sysctl -qw net.ipv4.tcp_fin_timeout=60"),
    Breakage("a later drop-in wins at boot", "echo 'net.ipv4.tcp_fin_timeout=60' > /etc/sysctl.d/zz.conf"),
    Breakage("a later drop-in, the key with slashes", "echo 'net/ipv4/tcp_fin_timeout=60' > /etc/sysctl.d/zz.conf"),
    Breakage("the drop-in was emptied", f": > {SYSCTL}"),
    Breakage("the drop-in is masked by a link to /dev/null", f"ln -sf /dev/null {SYSCTL}"),
    Breakage("the drop-in is a link into the account's home",
             f"mv {SYSCTL} /home/bai/conf && chown bai: /home/bai/conf && ln -s /home/bai/conf {SYSCTL}"),
    Breakage("the drop-in is writable for everybody", f"chmod 666 {SYSCTL}"),
    Breakage("a key stands twice in the drop-in", f"echo net.ipv4.tcp_fin_timeout=60 >> {SYSCTL}"),
    Breakage("limits: a later file lowers them", "echo 'bai hard nofile 1024' > /etc/security/limits.d/zz.conf"),
    Breakage("limits: the file is gone", f"rm {LIMITS}"),
    Breakage("the account has another shell", "usermod -s /bin/false bai"),
    Breakage("the account is not in sudo", "gpasswd -d bai sudo"),
    Breakage("the password is another", "echo bai:something-else | chpasswd"),
    Breakage("the password is locked", "passwd -ql bai"),
    Breakage("the home belongs to root", "chown root:root /home/bai"),
    Breakage("the home is writable for everybody", "chmod 777 /home/bai"),
    Breakage("authorized_keys is writable for everybody", "chmod 666 /home/bai/.ssh/authorized_keys"),
    Breakage(".ssh is writable for the group", "chmod 775 /home/bai/.ssh"),
    Breakage("a key is gone", ": > /home/bai/.ssh/authorized_keys"),
    Breakage("an alias is gone", "sed -i /bai-a01/d /etc/hosts"),
    Breakage("an earlier line shadows an alias", "sed -i '1i 10.9.9.9 bai-m1' /etc/hosts"),
    Breakage("the block of aliases is there twice", "cat /etc/hosts > /root/h && cat /root/h >> /etc/hosts"),
    Breakage("the volume belongs to root", "chown root:root /vfroot/local"),
    Breakage("the volume is open to everybody", "chmod 777 /vfroot/local"),
    Breakage("version.txt has another version", "echo 2 > /vfroot/local/version.txt"),
    Breakage("version.txt is gone", "rm /vfroot/local/version.txt"),
)  # fmt: skip
# Everything that the drifts change, so that each starts from the same node.
KEPT = ("etc/sysctl.d", "etc/security", "etc/passwd", "etc/shadow", "etc/group", "etc/gshadow", "etc/hosts",
        "home/bai", "vfroot")  # fmt: skip
SAVE = f"tar -C / --numeric-owner -cpf /root/before.tar {' '.join(KEPT)}"
REMOVED = " ".join(name for name in KEPT if name != "etc/hosts")  # bind-mounted names cannot be removed
RESTORE = (
    f"cd / && rm -rf {REMOVED} && tar --numeric-owner -xpf /root/before.tar && sysctl -qw net.ipv4.tcp_fin_timeout=10"
)


@dataclass
class Wizard:
    """Detected by planned changes, by a refusal with its reason, or by a new note in the plan."""

    before: str | None = None

    def __call__(self, node: Node) -> str:
        done = node.wizard("--headless", "/root/answers.toml", "--plan", "--detailed-exitcode")
        assert done.rc in (0, 3, 6, 7), done.out + done.err
        if self.before is None:
            self.before = done.out
        noted = "noted" if done.out != self.before else ""
        return {0: noted, 3: "refused", 6: "blocked", 7: "planned"}[done.rc]


def by_pyinfra(node: Node) -> str:
    """Read the table of its dry run; an error counts as detected."""
    done = node.run([*PYTHON, "pyinfra", "--dry", "@local", "/root/peers/deploy.py"], timeout=300)
    output = done.out + done.err
    assert "Detected changes" in output or done.rc, output
    return "failed" if done.rc else "planned" if "(@local)" in output else ""


def by_ansible(node: Node) -> str:
    """`--check` reports changed tasks; a failed task counts as detected."""
    argv = [*PYTHON, "ansible", "playbook", "--check", "-i", "localhost,", "/root/peers/site.yml"]
    done = node.run(argv, timeout=300)
    return "failed" if done.rc else "planned" if "changed=0" not in done.out else ""


by_wizard = Wizard()
TOOLS: dict[str, Callable[[Node], str]] = {
    "bai-wizard --plan": by_wizard, "pyinfra --dry": by_pyinfra, "ansible-playbook --check": by_ansible
}  # fmt: skip


def compare(node: Node) -> list[str]:
    """One row for each drift."""
    node.run(["sh", "-c", SAVE], check=True)
    for name, sees in TOOLS.items():
        assert not sees(node), f"{name} sees something where nothing is broken"
    rows = []
    seen = dict.fromkeys(TOOLS, 0)
    for breakage in BREAKAGES:
        node.run(["sh", "-c", breakage.breaks], check=True)
        cells = []
        for name, sees in TOOLS.items():
            result = sees(node)
            seen[name] += bool(result)
            cells.append(result or "passed over")
        rows.append(f"| {breakage.name} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
        node.run(["sh", "-c", RESTORE], check=True)
    assert not by_wizard(node), "the node was not brought back"
    rows.append(f"| of {len(BREAKAGES)} | {' | '.join(str(count) for count in seen.values())} |")
    return rows


def main() -> None:
    """Create the drifts, run the tools, and print the results."""
    with running_engine() as docker:
        node = ContainerNode(docker, node_image(docker, "trixie"))
        try:
            converge(node)
            install_peers(node)
            print(f"| breakage | {' | '.join(TOOLS)} |\n| --- | --- | --- | --- |")
            print(compare(node)[-1])
        finally:
            node.close()


if __name__ == "__main__":
    main()
