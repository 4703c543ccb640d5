"""A node with its own kernel: emulated by qemu, controlled over ssh, rebooted and powered off at will."""

import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cache import cache_directory
from tests.node.api import Node
from tests.vm.connection import Connection
from tests.vm.disk import HOSTNAME, WIZARD_SERIAL, RootDisk
from tests.vm.qemu import Qemu, QemuError

# A boot has failed once the console has printed nothing for this long; how long it takes depends on the test machine.
SILENT_SECONDS = 600
# Time limits of tests are meant for a node that is not emulated.
SLOWDOWN = 10
# systemd reports what it starts on the console. Its own time limits (90 s) are too short on a busy test machine.
SYSTEMD = "systemd.show_status=1 systemd.default_device_timeout_sec=30min systemd.default_timeout_start_sec=30min"
SNAPSHOT = "booted"
DETACH = 'setsid -f "$@" >/dev/null 2>&1 </dev/null'


class VirtualMachine(Node):
    """A machine on its own copy of a disk. Everything takes about ten times as long as on the test machine.

    Time limits are therefore multiplied by `SLOWDOWN`; a boot has none as long as the console shows progress.
    """

    def __init__(self, root: RootDisk, wizard: Path, booted: Path | None = None) -> None:
        """Boot it, or continue from ``booted``, a saved disk (see `save`). ``wizard`` is never written to."""
        self.hostname = HOSTNAME
        self._root = root
        self._files = cache_directory() / f"vm-{secrets.token_hex(4)}"
        self._files.mkdir()
        self._wizard = self._files / "wizard.img"
        self._wizard.hardlink_to(wizard)
        self._sockets = Path(tempfile.mkdtemp(prefix="bai-vm-"))
        self.disk = self._files / "disk.qcow2"
        self._extra: list[Path] = []
        self._port = _free_port()
        self._connection = Connection(self._port, self._sockets)
        try:
            if booted is None:
                _make_overlay(root.image, self.disk)
                self._start()
            else:
                shutil.copyfile(booted, self.disk)
                self._go_on()
        except BaseException:
            self.close()
            raise

    def execute(
        self, argv: Sequence[str], data: bytes, timeout: float, user: str | None, env: Mapping[str, str], detach: bool
    ) -> subprocess.CompletedProcess[bytes]:
        words = list(argv)
        if detach:
            words = ["sh", "-c", DETACH, "sh", *words]
        if env:
            words = ["env", *(f"{name}={value}" for name, value in env.items()), *words]
        if user:
            words = ["runuser", "-u", user, "--", *words]
        return self._connection.run(shlex.join(words), data, timeout * SLOWDOWN)

    def wait_for(self, predicate: Callable[[], object], timeout: float = 30, what: str = "a condition") -> None:
        super().wait_for(predicate, timeout * SLOWDOWN, what)

    def ssh_address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def reboot(self) -> None:
        """Reboot cleanly, as ``systemctl reboot`` does, and wait until the machine is up again."""
        before = self._boot()
        self.run(["systemctl", "reboot"], detach=True)
        self._await_boot(before)

    def power_cut(self) -> None:
        """Kill qemu: data not yet written to the disk is lost. Boot again from that disk."""
        self._connection.close()
        self._qemu.kill()
        self._start()

    def add_disk(self, size: str) -> str:
        """Attach an empty disk (``size`` as in ``2G``), now and at every later boot; return its device file."""
        serial = f"extra{len(self._extra)}"
        image = self._files / f"{serial}.qcow2"
        _qemu_img("create", "-q", "-f", "qcow2", str(image), size)
        answer = self._qemu.monitor(f"drive_add 0 if=none,id={serial},file={image},format=qcow2,cache=unsafe")
        if answer != "OK":
            raise QemuError(answer)
        self._qemu.execute("device_add", driver="virtio-blk-pci", drive=serial, serial=serial)
        self._extra.append(image)
        device = f"/dev/disk/by-id/virtio-{serial}"
        self.wait_for(lambda: self.exists(device), 60, device)
        return device

    def save(self) -> None:
        """Keep memory and disk as they are now inside the disk's file, then end; move the file to keep it."""
        self._connection.close()
        if answer := self._qemu.monitor(f"savevm {SNAPSHOT}"):
            raise QemuError(answer)
        self._qemu.execute("quit")
        self._qemu.process.wait()

    def console(self) -> str:
        """Return the output on the serial console since the machine was created."""
        return (self._files / "console.log").read_text(errors="replace")

    def close(self) -> None:
        self._connection.close()
        if hasattr(self, "_qemu"):
            self._qemu.kill()
        shutil.rmtree(self._files, ignore_errors=True)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _start(self) -> None:
        self._qemu = Qemu(self._argv(), self._sockets)
        self._await_boot()

    def _go_on(self) -> None:
        """Continue a saved machine: its clock had stopped, and it does not have this wizard's disk yet."""
        self._qemu = Qemu([*self._argv(), "-loadvm", SNAPSHOT], self._sockets)
        self._connection.open(self._is_stalled())
        # Not `date --set`: that of uutils takes no fractions.
        now = f"import time; time.clock_settime(time.CLOCK_REALTIME, {time.time():.3f})"
        self.run(["python3", "-I", "-c", now], check=True)
        self.run(["systemctl", "start", r"opt-bai\x2dwizard.mount"], check=True)

    def _argv(self) -> list[str]:
        network = f"user,id=net0,hostfwd=tcp:127.0.0.1:{self._port}-:22"
        argv = [
            "qemu-system-x86_64", "-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max",
            "-smp", "2", "-m", "1024",
            "-display", "none", "-vga", "none", "-nodefaults", "-no-user-config",
            "-kernel", str(self._root.kernel), "-initrd", str(self._root.initrd),
            "-append", f"root=/dev/vda rw console=ttyS0 quiet {SYSTEMD}",
            "-chardev", f"file,id=console,path={self._files}/console.log,append=on", "-serial", "chardev:console",
            "-netdev", network, "-device", "virtio-net-pci,netdev=net0,romfile=", "-device", "virtio-rng-pci",
            *_drive("root", self.disk, "qcow2"),
            *_drive(WIZARD_SERIAL, self._wizard, "raw", "readonly=on"),
        ]  # fmt: skip
        for image in self._extra:
            argv += _drive(image.stem, image, "qcow2")
        return argv

    def _await_boot(self, previous: str = "") -> None:
        """Wait until systemd has finished starting units; `previous`: the id of the boot that has to end first."""
        is_stalled = self._is_stalled()
        self._connection.open(is_stalled)
        while self._boot() in ("", previous) or self._state_after_start() not in ("running", "degraded"):
            if is_stalled():
                raise TimeoutError(f"the boot does not make progress: {self.console()[-2000:]}")
            self._connection.open(is_stalled)

    def _state_after_start(self) -> str:
        """Wait until systemd has finished starting units; return its state, or nothing without a connection."""
        return self.run(["systemctl", "is-system-running", "--wait"], timeout=300).out.strip()

    def _is_stalled(self) -> Callable[[], bool]:
        """Return a function that says whether the console has been silent for too long, and raises if qemu ended."""
        size, since = -1, time.monotonic()

        def is_stalled() -> bool:
            nonlocal size, since
            if self._qemu.process.poll() is not None:
                raise QemuError(f"qemu ended: {self._qemu.messages.read_text()[-2000:]}")
            if (now := len(self.console())) != size:
                size, since = now, time.monotonic()
            return time.monotonic() - since > SILENT_SECONDS

        return is_stalled

    def _boot(self) -> str:
        return self.run(["cat", "/proc/sys/kernel/random/boot_id"]).out


def _drive(serial: str, image: Path, kind: str, *more: str) -> list[str]:
    """A disk. ``cache=unsafe`` is safe here: what qemu was given survives its death in this machine's page cache."""
    options = ",".join([f"if=none,id={serial},file={image},format={kind},cache=unsafe", *more])
    return ["-drive", options, "-device", f"virtio-blk-pci,drive={serial},serial={serial}"]


def _make_overlay(base: Path, predicted: Path) -> None:
    _qemu_img("create", "-q", "-f", "qcow2", "-b", str(base), "-F", "raw", str(predicted))


def _qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], stdin=subprocess.DEVNULL, capture_output=True, check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
