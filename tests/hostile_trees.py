"""Trees of a node with several damaged files, as left by a broken disk, another tool or another user."""

# ruff: noqa: E501 - a table of files

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

HOME = "/home/bai"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhvc3RpbGV0cmVlaG9zdGlsZXRyZWVob3N0aWxldHI bai@work"

# A small, partly set up Ubuntu node with the paths that probes, steps and checks read.
FILES: dict[str, str] = {
    "/etc/passwd": f"root:x:0:0:root:/root:/bin/bash\nbai:x:1100:1100::{HOME}:/bin/bash\neve:x:1200:1200::/home/eve:/bin/sh\n",
    "/etc/group": "root:x:0:\nsudo:x:27:bai\ndocker:x:998:bai\nbai:x:1100:\n",
    "/etc/shadow": "root:*:19000:0:99999:7:::\nbai:!:19000:0:99999:7:::\n",
    "/etc/gshadow": "root:*::\nbai:!::\n",
    "/etc/subuid": "bai:100000:65536\n",
    "/etc/login.defs": "UID_MIN 1000\nUID_MAX 60000\nHOME_MODE 0750\nENCRYPT_METHOD YESCRYPT\n",
    "/etc/adduser.conf": "FIRST_UID=1000\nDIR_MODE=0750\n",
    "/etc/shells": "/bin/sh\n/bin/bash\n",
    "/etc/hostname": "gpu01\n",
    "/etc/hosts": "127.0.0.1 localhost\n127.0.1.1 gpu01\n10.20.30.10 bai-m1 # management\n::1 localhost ip6-localhost\n",
    "/etc/cloud/cloud.cfg": "manage_etc_hosts: true\n",
    "/etc/cloud/templates/hosts.debian.tmpl": "127.0.1.1 {{fqdn}} {{hostname}}\n",
    "/var/lib/cloud/instance/cloud-config.txt": "#cloud-config\nmanage_etc_hosts: localhost\n",
    "/etc/resolv.conf": "nameserver 127.0.0.53\noptions edns0\n",
    "/run/systemd/resolve/resolv.conf": "nameserver 10.0.0.2\n",
    "/etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\nVERSION_CODENAME=noble\n',
    "/etc/environment": 'PATH="/usr/bin:/bin"\nhttp_proxy=http://proxy:3128\n',
    "/etc/environment.d/50-corp.conf": "no_proxy=.corp\n",
    "/etc/gitconfig": "[http]\n\tproxy = http://proxy:3128\n",
    "/etc/default/locale": "LANG=C.UTF-8\n",
    "/etc/default/docker": 'DOCKER_OPTS="--dns 8.8.8.8"\n',
    "/etc/profile": "# nothing\n",
    "/etc/profile.d/corp.sh": "export DOCKER_API_VERSION=1.41\n",
    "/etc/bash.bashrc": "# nothing\n",
    "/etc/fstab": "UUID=0a / ext4 defaults 0 1\nsrv:/v /vfroot/vol1 nfs4 hard,_netdev 0 0\n",
    "/etc/ufw/ufw.conf": "ENABLED=yes\n",
    "/etc/docker/daemon.json": json.dumps(
        {"log-driver": "json-file", "registry-mirrors": ["https://m"], "data-root": "/var/lib/docker",
         "default-address-pools": [{"base": "10.9.0.0/16", "size": 24}], "insecure-registries": ["10.0.0.0/8"],
         "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}}}, indent=2),
    "/etc/docker/certs.d/harbor.corp/ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "/root/.docker/config.json": '{"auths": {"harbor.corp": {"auth": "dTpw"}}, "proxies": {"default": {}}}\n',
    f"{HOME}/.docker/config.json": '{"auths": {}, "credsStore": "pass"}\n',
    "/etc/containerd/config.toml": 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n',
    "/etc/systemd/system/docker.service.d/limits.conf": "[Service]\nLimitNOFILE=1024\nEnvironment=HTTP_PROXY=http://p\n",
    "/usr/lib/systemd/system/docker.service": "[Unit]\n[Service]\nExecStart=/usr/bin/dockerd -H fd://\n",
    "/etc/systemd/system.conf": "[Manager]\nDefaultLimitNOFILE=1024:524288\n",
    "/etc/systemd/timesyncd.conf": "[Time]\nNTP=ntp.corp\n",
    "/etc/sysctl.conf": "vm.swappiness = 10\n",
    "/etc/sysctl.d/99-backendai.conf": "net.core.somaxconn = 1024\nvm.max_map_count=65530\n",
    "/usr/lib/sysctl.d/50-default.conf": "-net.ipv4.conf.all.rp_filter = 2\nkernel.sysrq = 0x01b6\n",
    "/etc/security/limits.conf": "* soft nofile 1024\n@docker hard nproc unlimited\n",
    "/etc/security/limits.d/99-backendai.conf": "root hard nofile 512000\n1000:1200 - nproc 65536\n",
    "/etc/pam.d/common-session": "session required pam_limits.so\n",
    "/etc/pam.d/common-password": "password requisite pam_pwquality.so retry=3\n",
    "/etc/pam.d/sshd": "@include common-session\n",
    "/etc/sudoers": "Defaults env_reset\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n",
    "/etc/sudoers.d/90-cloud": "bai ALL=(ALL) NOPASSWD:ALL\n",
    "/etc/pip.conf": "[global]\nindex-url = http://devpi/simple\n",
    f"{HOME}/.config/pip/pip.conf": "[global]\nextra-index-url = http://x/simple\n",
    f"{HOME}/.ssh/authorized_keys": KEY + "\n",
    f"{HOME}/.bashrc": "export PATH\n",
    f"{HOME}/.profile": 'export PYENV_ROOT="$HOME/.pyenv"\n',
    f"{HOME}/.python-version": "3.12.4\n",
    f"{HOME}/manager/.python-version": "3.12.4\n",
    f"{HOME}/manager/.venv/pyvenv.cfg": "home = /usr/bin\nversion = 3.12.4\n",
    f"{HOME}/.static-python/versions/3.12.4/lib/python3.12/os.py": "\n",
    f"{HOME}/.pyenv/versions/3.12.4/bin/python3": "#!/bin/false\n",
    "/var/lib/dpkg/status": "".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n"
        for name, version in (("docker-ce", "5:27.1.1-1~ubuntu.24.04~noble"), ("sudo", "1.9.15"), ("libc6", "2.39"),
                              ("nvidia-driver-570-server-open", "570.1-0"), ("nvidia-container-toolkit", "1.17.0-1"))),
    "/var/lib/dkms/nvidia/570.1/6.8.0-45-generic/x86_64/log/make.log": "error: implicit declaration\n",
    "/etc/apt/sources.list": "deb http://archive.ubuntu.com/ubuntu noble main\n",
    "/etc/apt/sources.list.d/docker.sources": "Types: deb\nURIs: https://download.docker.com/linux/ubuntu\nSuites: noble\n"
    "Components: stable\nSigned-By: /etc/apt/keyrings/docker.asc\n",
    "/etc/apt/keyrings/docker.asc": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
    "/etc/apt/preferences.d/corp": "Package: docker-ce\nPin: version 5:27.*\nPin-Priority: 1001\n",
    "/etc/apt/apt.conf.d/20auto-upgrades": 'APT::Periodic::Unattended-Upgrade "1";\n',
    "/run/reboot-required": "*** System restart required ***\n",
    "/run/reboot-required.pkgs": "linux-image-6.8.0-45-generic\nlibc6\n",
    "/etc/netplan/50-cloud-init.yaml": "network:\n  version: 2\n",
    "/etc/backend.ai/manager.toml": "[db]\n",
    "/usr/local/share/ca-certificates/corp.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "/etc/ssl/certs/ca-certificates.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "/etc/modprobe.d/blacklist.conf": "blacklist nouveau\n",
    "/etc/modules-load.d/99-backendai.conf": "br_netfilter\n",
    "/etc/tmpfiles.d/bai-wizard-huge-pages.conf": "w /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages - - - - 4\n",
    "/etc/cdi/nvidia.yaml": "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: all\n  hostPath: /dev/nvidia0\n",
    "/proc/self/mountinfo": "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "40 21 0:40 / /vfroot/vol1 rw shared:2 - nfs4 srv:/v rw,vers=4.2\n",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 9654\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: avx2 fma bmi2\n",
    "/proc/stat": "cpu 1 2 3\nbtime 1800000000\n",
    "/proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 nouveau.modeset=0 hugepagesz=1G hugepages=4\n",
    "/proc/swaps": "Filename Type Size Used Priority\n/swap.img file 8388604 0 -2\n",
    "/proc/1/limits": "Limit Soft Hard Units\nMax open files            1024                 524288               files\n",
    "/proc/1/comm": "systemd\n",
    "/proc/77/comm": "dockerd\n",
    "/proc/77/limits": "Limit Soft Hard Units\nMax open files            1024                 524288               files\n",
    "/proc/77/status": "Name:\tdockerd\nPPid:\t1\n",
    "/proc/77/stat": "77 (dockerd) S 1 77 77 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 1 0 12345 1 1\n",
    "/proc/77/cmdline": "/usr/bin/dockerd\0",
    "/proc/net/route": "Iface\tDestination\tGateway\neth0\t00000000\t011E140A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
    "/proc/net/ipv6_route": f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200 lo\n",
    "/proc/sys/kernel/osrelease": "6.8.0-45-generic\n",
    "/proc/sys/kernel/arch": "x86_64\n",
    "/proc/sys/kernel/hostname": "gpu01\n",
    "/proc/sys/vm/max_map_count": "65530\n",
    "/proc/sys/vm/swappiness": "60\n",
    "/proc/sys/fs/nr_open": "1048576\n",
    "/proc/sys/fs/file-max": "9223372036854775807\n",
    "/proc/sys/net/core/somaxconn": "4096\n",
    "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "/proc/sys/net/ipv4/ip_local_reserved_ports": "6000,8081-8090\n",
    "/proc/sys/net/ipv4/ip_forward": "1\n",
    "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.1  Release\n",
    "/proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: NVIDIA H100\n",
    "/sys/module/nvidia/version": "570.1\n",
    "/sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "/sys/bus/pci/devices/0000:01:00.0/device": "0x2330\n",
    "/sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n",
    "/sys/bus/pci/devices/0000:01:00.0/subsystem_vendor": "0x10de\n",
    "/sys/bus/pci/devices/0000:01:00.0/subsystem_device": "0x16c1\n",
    "/sys/class/net/eth0/mtu": "1450\n",
    "/sys/class/net/docker0/mtu": "1500\n",
    "/sys/class/dmi/id/sys_vendor": "Supermicro\n",
    "/sys/class/dmi/id/product_name": "SYS-821GE\n",
    "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "4\n",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "/lib/modules/6.8.0-45-generic/modules.dep": "updates/dkms/nvidia.ko.zst:\n",
    "/boot/config-6.8.0-45-generic": 'CONFIG_CC_VERSION_TEXT="x86_64-linux-gnu-gcc-13 (Ubuntu 13.2.0) 13.2.0"\n',
    "/usr/share/misc/pci.ids": "10de  NVIDIA Corporation\n\t2330  GH100 [H100 SXM5 80GB]\n",
    "/vfroot/local/version.txt": "3\n",
    "/usr/bin/dockerd": "", "/usr/bin/docker": "", "/usr/bin/nvidia-smi": "", "/boot/vmlinuz-6.8.0-45-generic": "",
}  # fmt: skip
DIRECTORIES = ("/run/systemd/system", "/tmp", "/var/lib/docker", "/etc/skel", "/usr/local/bin", "/home/eve")

Damage = Callable[[Path, random.Random], None]


def cleared(path: Path) -> None:
    """Remove whatever is at `path` without following links."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _content(make: Callable[[bytes, random.Random], bytes]) -> Damage:
    def damage(path: Path, chance: random.Random) -> None:
        old = path.read_bytes() if path.is_file() else b""
        cleared(path)
        path.write_bytes(make(old, chance))

    return damage


def _fixed(content: bytes | str) -> Damage:
    data = content.encode() if isinstance(content, str) else content
    return _content(lambda _old, _chance: data)


def missing(path: Path, _chance: random.Random) -> None:
    """The path does not exist."""
    cleared(path)


def fifo(path: Path, _chance: random.Random) -> None:
    """A FIFO without a writer: opening it blocks."""
    cleared(path)
    os.mkfifo(path)


def directory(path: Path, _chance: random.Random) -> None:
    """A directory with content."""
    cleared(path)
    path.mkdir()
    (path / "x").write_bytes(b"")


def _linked(target: str) -> Damage:
    def damage(path: Path, _chance: random.Random) -> None:
        cleared(path)
        path.symlink_to(target)

    return damage


def parent_is_file(path: Path, _chance: random.Random) -> None:
    """A file in place of the parent directory."""
    cleared(path.parent)
    path.parent.write_bytes(b"not a directory\n")


def parent_holds_odd_names(path: Path, _chance: random.Random) -> None:
    """Names next to the file that are not UTF-8, not a version, or a number with too many digits."""
    for name in (b"\xff\xfe.conf", b"a\nb.conf", b"99999" * 40, "٣.٣.٣".encode(), b"-x.list", b"\x1b[2J.sources"):
        (os.fsencode(path.parent) + b"/" + name).decode(errors="surrogateescape")
        with open(os.fsencode(path.parent) + b"/" + name, "wb") as file:
            file.write(b"x = 1\n")


def _flipped(old: bytes, chance: random.Random) -> bytes:
    data = bytearray(old)
    for _ in range(min(len(data), chance.randrange(1, 12))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


TOKENS = (
    "nan", "inf", "-inf", "-1", "0", "1e309", "9" * 5000, "٣", "²", "0x", "''", '"', "\\", "/", "..", "relative", "",
    "\x00", "\udcff", "\ud800", "\u2028", ":", "=", "[", "{", "$(id)", "%s", "*", "65536" * 20, "4294967296", "true",
    "null", "::", "999.999.999.999", "1/0", "18446744073709551616", "\x1b]0;x\x07", "~", "@", "#", "\t", "\r",
)  # fmt: skip


def _word(old: bytes, chance: random.Random) -> bytes:
    """One or more words or numbers replaced with extreme ones."""
    text = old.decode(errors="surrogateescape")
    for _ in range(chance.randrange(1, 5)):
        separator = chance.choice((" ", "\n", ":", "=", '"', ",", ".", "-", "/", "\t"))
        words = text.split(separator)
        words[chance.randrange(len(words))] = chance.choice(TOKENS)
        text = separator.join(words)
    return text.encode(errors="surrogatepass") if "\ud800" in text else text.encode(errors="surrogateescape")


def _repeated(old: bytes, chance: random.Random) -> bytes:
    """One line repeated thousands of times."""
    lines = old.split(b"\n") or [b""]
    return (chance.choice(lines) + b"\n") * chance.choice((2, 70_000))


def _retyped(old: bytes, chance: random.Random) -> bytes:
    """In JSON, a value of another type; elsewhere unusual words."""
    try:
        document = json.loads(old)
    except ValueError:
        return _word(old, chance)
    if not isinstance(document, dict | list) or not document:
        return _word(old, chance)
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = chance.choice(keys)
        if not (isinstance(place[key], dict | list) and place[key]) or chance.random() < 0.4:
            break
        place = place[key]
    place[key] = chance.choice(
        (None, True, -1, 1e308, 10**30, "", "\ud800", "\x1b[2J", [], [1], [None], [[]], {}, {"a": []}, [{}], "1/0")
    )
    return json.dumps(document).encode()


DAMAGES: dict[str, Damage] = {
    "missing": missing,
    "FIFO": fifo,
    "directory": directory,
    "parent is a file": parent_is_file,
    "odd names beside it": parent_holds_odd_names,
    "link to itself": lambda path, _chance: _linked(path.name)(path, _chance),
    "link to nothing": _linked("/nowhere/at/all"),
    "link to /dev/zero": _linked("/dev/zero"),
    "link to /dev/full": _linked("/dev/full"),
    "link to a directory": _linked("/proc"),
    "empty": _fixed(""),
    "nulls": _fixed(bytes(4096)),
    "garbage": _content(lambda _old, chance: chance.randbytes(chance.choice((1, 7, 4096)))),
    "not UTF-8": _content(lambda old, _chance: old.replace(b"a", b"\xff\xfe", 2) + b"caf\xe9\n"),
    "byte order mark": _content(lambda old, _chance: b"\xef\xbb\xbf" + old),
    "UTF-16": _content(lambda old, _chance: old.decode(errors="replace").encode("utf-16")),
    "carriage returns": _content(lambda old, _chance: old.replace(b"\n", b"\r\n")),
    "no end of line": _content(lambda old, _chance: old.rstrip(b"\n")),
    "deep": _fixed("[" * 200_000),
    "deep object": _fixed('{"a":' * 100_000 + "1" + "}" * 100_000),
    "long number": _fixed('{"n": ' + "9" * 5000 + "}\n"),
    "line ends": _fixed("\n" * 70_000),
    "blanks": _content(lambda old, _chance: old + b" \t" * 100_000 + b"x"),
    "one long line": _fixed("a" * (8 << 20)),
    "too large": _fixed(b"a = 1\n" * 1_500_000),
    "many keys": _content(lambda _old, _chance: json.dumps({f"k{n}": n for n in range(60_000)}).encode()),
    "escapes": _fixed("\x1b]52;c;cm0=\x07\x9b2J\u202e\n"),
    "torn": _content(lambda old, chance: old[: chance.randrange(len(old) + 1)]),
    "zeroed": _content(lambda old, chance: old[: (cut := chance.randrange(len(old) + 1))] + bytes(len(old) - cut)),
    "flipped": _content(_flipped),
    "repeated": _content(_repeated),
    "odd words": _content(_word),
    "odd words again": _content(_word),
    "odd words once more": _content(_word),
    "retyped": _content(_retyped),
}

# By path: extreme but valid content, which general damage does not produce.
SPECIAL: dict[str, tuple[str, ...]] = {
    "/etc/passwd": (
        "bai:x:1100:1100::relative:/bin/bash\n",
        "bai:x:1100:1100:::\n",
        "bai:x:1100:1100::/:\n",
        "bai:x:1100:1100::/../..:/bin/bash\n",
        "bai:x:1100:1100::/home/\x00bai:/bin/bash\n",
        f"bai:x:1100:1100::/{'x' * 300}:/bin/bash\n",
        f"bai:x:1100:1100::/home{'/x' * 5000}:/bin/bash\n",
        f"bai:x:{'9' * 5000}:1100::/home/bai:/bin/bash\n",
        "bai:x:4294967296:-1::/home/bai:/bin/bash\n",
        "bai:x:١١٠٠:1100::/home/bai:/bin/bash\n",
        "bai:x:1100:1100:" + "c" * 4_000_000 + ":/home/bai:/bin/bash\n",
        "".join(f"u{n}:x:{n}:{n}::/home/u{n}:/bin/sh\n" for n in range(200_000)),
        "root:x:0:0:root:relative:/bin/bash\nbai:x:1100:0::/root:/bin/bash\n",
    ),
    "/etc/group": (
        f"docker:x:{'9' * 5000}:\n",
        "docker:x:998:" + ",".join(f"u{n}" for n in range(300_000)) + "\n",
        "bai:x:1100:\n" * 100_000,
    ),
    "/etc/shadow": (f"bai:!:{'9' * 5000}:::::\n", "bai:$y$:-1:::::\n", "bai\n" * 100_000),
    "/proc/cpuinfo": ("processor\n\n", ":\n:\n", "flags : " + "a " * 1_000_000 + "\n", "processor : 0\n\n" * 50_000),
    "/etc/os-release": ("ID=\nVERSION_ID=\n", "ID=debian\nVERSION_ID=x.y\n", f"ID=ubuntu\nVERSION_ID={'9' * 5000}\n",
                        "ID=ubuntu\nVERSION_ID=24\n", "ID=ubuntu\nVERSION_ID=24.04.\n", "ID=debian\n", "ID=ubuntu\nVERSION_ID=²\n"),
    "/etc/docker/daemon.json": (
        "[]", "null", "1", '"x"', "{}", '{"a": 1, "a": 2}', '{"n": NaN, "m": Infinity}', '{"log-opts": []}',
        '{"default-address-pools": {}}', '{"default-address-pools": [1]}', '{"runtimes": []}', '{"hosts": {}}',
        '{"insecure-registries": {"a": 1}}', '{"registry-mirrors": 7}', '{"data-root": []}', '{"data-root": "relative"}',
        '{"data-root": "/"}', '{"data-root": "/a\\u0000b"}', '{"data-root": "\\ud800"}', '{"exec-opts": [1, null]}',
        '{"default-ulimits": {"nofile": 1}}', '{"default-address-pools": [{"base": "x", "size": "y"}]}',
        '{"mtu": ' + "9" * 4000 + "}", '{"mtu": 1e999}', '{"bip": "999.1.1.1/99"}', '{"features": [], "cdi-spec-dirs": 1}',
        '{"runtimes": {"nvidia": 1}, "default-runtime": {}}', '{"dns": [[]], "log-driver": null, "log-opts": null}',
    ),
    "/root/.docker/config.json": ("[]", '{"auths": []}', '{"auths": {"a": 1}}', '{"auths": {"a": {"auth": "é"}}}',
                                  '{"credHelpers": 1}', '{"proxies": []}', '{"proxies": {"default": 1}}'),
    f"{HOME}/.docker/config.json": ("[]", '{"auths": []}', '{"auths": {"a": 1}}', '{"proxies": {"default": {"a": 1}}}'),
    "/proc/self/mountinfo": (
        "x\n", "21 1 8:1 / relative rw - ext4 /dev/sda1 rw\n", "21 1 8:1 / \\777\\000 rw - ext4 \\377 rw\n",
        "".join(f"{n} 1 0:{n} / /m/{n} rw - tmpfs tmpfs rw\n" for n in range(30_000)),
        "21 1 : / / rw -  x y\n",
    ),
    "/proc/net/route": ("Iface\neth0 zz zz\n", "Iface\neth0\t1\t2\n", "eth0 00000000 ffffffffffff 1 0 0 0 0\n"),
    "/proc/net/ipv6_route": ("0\n", "zz 00 zz 00 zz ffffffff lo\n"),
    "/proc/sys/net/ipv4/ip_local_port_range": ("", "1\n", "a b\n", "1 2 3\n", f"{'9' * 5000} 1\n"),
    "/proc/sys/net/ipv4/ip_local_reserved_ports": ("-\n", "1-\n", "x,y\n", "0-99999999999\n", "5-1\n", f"1-{'9' * 12}\n"),
    "/proc/sys/vm/max_map_count": ("x\n", "9" * 5000, "-1\n", "²\n"),
    "/proc/sys/fs/nr_open": ("x\n", "9" * 5000, "\n"),
    "/proc/sys/kernel/osrelease": ("", "..\n", "../../etc\n", "a/b\n", "6\n", "9" * 5000, "\x00\n"),
    "/proc/1/limits": ("Max open files x y files\n", "Max open files\n", f"Max open files {'9' * 5000} 1 files\n"),
    "/proc/77/limits": ("Max open files x y files\n", "Max open files\n", f"Max open files {'9' * 5000} 1 files\n"),
    "/proc/77/stat": ("77 (\n", "77 (a) b) S\n", "x\n"),
    "/proc/77/status": ("PPid: x\n", f"PPid: {'9' * 5000}\n", "PPid:\t77\n"),
    "/proc/swaps": ("x\n\n\n", "Filename\n/swap\n"),
    "/proc/stat": ("btime\n", "btime x\n", f"btime {'9' * 5000}\n", "btime 1e400\n"),
    "/sys/class/net/eth0/mtu": ("x\n", "9" * 5000, "-1\n", "²\n"),
    "/sys/class/net/docker0/mtu": ("x\n", "", "٣\n"),
    "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": ("x\n", "9" * 5000, "-1\n"),
    "/sys/bus/pci/devices/0000:01:00.0/vendor": ("x\n", "0x\n", "9" * 5000),
    "/sys/bus/pci/devices/0000:01:00.0/class": ("x\n", "", "0xffffffffffffffff\n"),
    "/etc/hosts": (
        "::ffff:999 x\n", "1.2.3.4\n", "fe80::1%\u00e9 x\n", "10.0.0.1 " + "a " * 300_000 + "\n",
        "".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} h{n}\n" for n in range(60_000)),
        "# BEGIN bai-wizard\n", "# END bai-wizard\n", "# BEGIN bai-wizard\n10.0.0.1 a\n# BEGIN bai-wizard\n",
        "# BEGIN bai-wizard\n# END bai-wizard\n" * 3000,
    ),
    "/etc/environment": ("\n" * 70_000 + "x", "export " * 50_000, "a" * 300_000 + " =", " " * 100_000 + "\n" * 10_000),
    "/etc/fstab": ("x\n", "a b\n", "srv:/v relative nfs4\n", "srv:/v /vfroot/vol1 nfs4 " + "a," * 100_000 + " x y\n",
                   "\\777 \\000 \\1 \\\n", "".join(f"s:/{n} /m/{n} nfs d 0 0\n" for n in range(50_000))),
    "/etc/sysctl.d/99-backendai.conf": ("=\n", "..=1\n", "a/../b=1\n", "vm.max_map_count=" + "9" * 5000 + "\n",
                                        "*=1\n", "net.*.x=1\n", "".join(f"a.b{n}=1\n" for n in range(100_000)), "/=1\n"),
    "/etc/security/limits.conf": ("* soft nofile x\n", "* - - -\n", ": hard nofile 1\n", "9:9:9 - nofile 1\n",
                                  f"* hard nofile {'9' * 5000}\n", f"{'9' * 5000}: - nofile 1\n", "% hard nofile ²\n"),
    "/etc/security/limits.d/99-backendai.conf": (f"* hard nofile {'9' * 5000}\n", "* hard nofile -9\n",
                                                 "* hard nofile 1\n" * 100_000),
    "/etc/login.defs": ("UID_MIN x\n", f"UID_MIN {'9' * 5000}\n", "HOME_MODE 9\n", "UID_MIN\n"),
    "/etc/sudoers": ("@includedir\n", "\\\n" * 50_000, " " * 200_000 + "\n", "\n" * 70_000 + "x",
                     "bai ALL=" + " NOPASSWD:" * 20_000 + "\n", "#includedir " + " " * 100_000 + "x\n"),
    "/etc/sudoers.d/90-cloud": ("bai ALL=" + " NOPASSWD:" * 20_000 + "\n", "bai" + " " * 100_000 + "\n", "\n" * 70_000),
    f"{HOME}/.ssh/authorized_keys": ("ssh-rsa " + "A" * 3_000_000 + "\n", ("ssh-" + "a" * 1000 + " ") * 3000,
                                     "ssh-rsa\n" * 200_000, "ssh-" + "a" * 1_000_000, " " * 300_000),
    "/etc/pip.conf": ("x\n", "[global\n", "[a]\n[a]\n", "[global]\nindex-url = %(x)s\n", "[global]\na\n = 1\n",
                      "[global]\nx = 1\nx = 2\n"),
    f"{HOME}/.config/pip/pip.conf": ("x\n", "[global\n", "[a]\n[a]\n", "[global]\nindex-url = %(x)s\n"),
    f"{HOME}/.python-version": ("..\n", "9" * 5000, "3.12.²\n", "a" * 100_000),
    f"{HOME}/manager/.python-version": ("..\n", "9" * 5000, "\x00\n"),
    f"{HOME}/manager/.venv/pyvenv.cfg": ("home\n", "version = ²\n", f"version = {'9' * 5000}\n", "home = relative\n"),
    "/var/lib/dpkg/status": ("Package: docker-ce\n", "Package: docker-ce\nStatus: install ok installed\nVersion: ²\n\n",
                             f"Package: docker-ce\nStatus: install ok installed\nVersion: {'9' * 5000}.1\n\n",
                             "Package: docker-ce\nStatus: x\n\n" * 50_000, "Package: docker-ce\n" * 100_000,
                             "Package: docker-ce\nStatus: install ok installed\nVersion: :::---\n\n"),
    "/etc/apt/sources.list": ("deb\n", "deb [\n", "deb [a=b] \n", "deb http://[x y z\n", "deb " + "[ " * 100_000 + "\n",
                              "deb http://[::1 noble main\n", "deb http://x:99999999/ noble main\n"),
    "/etc/apt/sources.list.d/docker.sources": ("URIs:\n", ":\n", " x\n", "URIs: http://[x\nSuites: y\nTypes: deb\n",
                                               "URIs: " + "http://a " * 50_000 + "\nSuites: " + "b " * 1000 + "\n"),
    "/etc/apt/preferences.d/corp": ("Pin-Priority: x\n", "Package: *\nPin: version " + "*" * 50_000 + "\n"),
    "/etc/cloud/cloud.cfg": ("manage_etc_hosts: [\n", "manage_etc_hosts" + " " * 200_000 + "\n", "&a [*a]\n"),
    "/etc/systemd/system/docker.service.d/limits.conf": ("LimitNOFILE\n", f"[Service]\nLimitNOFILE={'9' * 5000}\n",
                                                         "[Service]\nLimitNOFILE=x:y:z\n", "[Service]\n" + "\\\n" * 50_000),
    "/etc/systemd/system.conf": (f"[Manager]\nDefaultLimitNOFILE={'9' * 5000}\n", "DefaultLimitNOFILE=1:x\n"),
    "/etc/containerd/config.toml": ("version = \n", "a." * 30_000 + "b = 1\n", "[" * 100_000, "disabled_plugins = 1\n"),
    "/etc/cdi/nvidia.yaml": ("- path: " + "x" * 1_000_000 + "\n", "hostPath:" + " " * 200_000 + "\n", "\n" * 70_000),
    "/etc/resolv.conf": ("nameserver\n", "nameserver x\n", "nameserver 999.1.1.1\n", "nameserver fe80::1%eth0\n"),
    "/boot/config-6.8.0-45-generic": ('CONFIG_CC_VERSION_TEXT="' + "1" * 300_000 + "\n", f'CONFIG_CC_VERSION_TEXT="{"9" * 5000}.1"\n'),
    "/proc/driver/nvidia/version": ("NVRM version: " + "9" * 5000 + ".1\n", "NVRM version: ²\n", "570" * 100_000),
    "/sys/module/nvidia/version": ("²\n", "9" * 5000, "570.²\n", "x\n"),
    "/proc/cmdline": ("hugepages=²\n", f"hugepages={'9' * 5000}\n", "=" * 200_000),
    "/vfroot/local/version.txt": ("²\n", "9" * 5000, "\x00\n"),
    "/etc/default/locale": ("LANG=\n", "LANG=" + "'" * 200_000 + "\n"),
}  # fmt: skip

EVERY_PAGE = """version = 1
[node]
roles = ["compute"]
backend_ai = "26.4"
[network]
proxy = { http = "http://127.0.0.1:9", https = "http://127.0.0.1:9", no_proxy = "localhost" }
[account]
username = "bai"
uid = 1100
gid = 1100
sudo = "nopasswd"
authorized_keys = ["KEY"]
[docker]
source = "docker-ce"
registry_mirrors = ["https://mirror.corp"]
insecure_registries = ["10.1.0.0/16"]
[tuning]
sysctl = { "vm.max_map_count" = 1048576 }
reserved_ports = ["auto"]
services = { docker = { nofile = 1048576 } }
[python]
version = "auto"
index_url = "http://127.0.0.1:9/simple"
venvs = [{ service = "manager" }]
[aliases]
own_name = "keep"
hosts = [{ ip = "10.20.30.10", names = ["bai-m1"] }]
[storage]
volumes = [{ name = "local", type = "local" }, { name = "vol1", type = "nfs", source = "127.0.0.1:/v" }]
[accelerators.nvidia]
driver = "auto"
[images]
starter = "none"
""".replace("KEY", KEY)


def make_tree(root: Path) -> None:
    """Create the undamaged tree."""
    for name in DIRECTORIES:
        (root / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    python = root / f"{HOME}/manager/.venv/bin/python".lstrip("/")
    python.parent.mkdir(parents=True)
    python.symlink_to("/usr/bin/false")
    for path in (root / HOME.lstrip("/"), *(root / HOME.lstrip("/")).rglob("*")):
        os.chown(path, 1100, 1100, follow_symlinks=False)


def damage_tree(root: Path, chance: random.Random) -> list[str]:
    """Damage one to six files, half of them with content specific to the file; return what was done."""
    done = []
    for name in chance.sample(sorted(FILES), chance.randrange(1, 7)):
        path = root / name.lstrip("/")
        if not path.parent.is_dir():
            continue
        special = SPECIAL.get(name, ())
        if special and chance.random() < 0.5:
            number = chance.randrange(len(special))
            _fixed(special[number].encode(errors="surrogateescape"))(path, chance)
            done.append(f"{name}: special {number}")
        else:
            kind = chance.choice(sorted(DAMAGES))
            DAMAGES[kind](path, chance)
            done.append(f"{name}: {kind}")
        if path.is_relative_to(root / HOME.lstrip("/")) and os.path.lexists(path):
            os.chown(path, 1100, 1100, follow_symlinks=False)
    return done
