"""A support bundle contains only what is known to be harmless, yet enough for a diagnosis."""

from __future__ import annotations

import json
import random
import time
from base64 import b64encode
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from bai_wizard.compose import DesiredState
from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Evidence, Finding
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Entry, Key
from bai_wizard.doctor.allowed import Line, allowed, apt_line, dpkg_line, journal_line, vocabulary
from bai_wizard.doctor.bundle import (
    collect,
    has_closed_form,
    read_bundle,
    scan,
    write_bundle,
)
from bai_wizard.doctor.drift import DoctorScope
from bai_wizard.doctor.mask import Masker, find_secrets
from bai_wizard.doctor.search import known_failures, rank
from bai_wizard.engine.lock import StatePaths
from bai_wizard.node.simulated import Environment, SimulatedMachine
from tests.sampling import sampled, seed

APT_LOG = "logs/apt-history.log"
HOST = "gpu-node-17"
ABOUT = DoctorScope(DesiredState({}, (), Context(host=HOST)), {})
CHANCE = random.Random(f"{seed()}:bundle")


def letters(alphabet: str, length: int) -> str:
    return "".join(CHANCE.choice(alphabet) for _ in range(length))


LOWER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
ALNUM = LOWER + LOWER.upper() + DIGITS
VALUES = {
    "word": "sunshine",
    "word with digits": "hunter2",
    "word of ours with digits": "Docker123!",
    "name and year": "Sommer2024",
    "PIN": "48291",
    "long PIN": "90817263",
    "passphrase": "correct-horse-battery-staple",
    "Korean": "비밀번호는대한민국1",
    "German": "Straßenbahnhaltestelle",
    "symbols": "p@$$w0rd^&%x",
    "letters": letters(LOWER, 12),
    "mixed": letters(ALNUM, 16),
    "hexadecimal": letters("0123456789abcdef", 32),
    "long hexadecimal": letters("0123456789abcdef", 64),
    "UUID": str(UUID(int=CHANCE.getrandbits(128))),
    "Base64": b64encode(CHANCE.randbytes(24)).decode(),
    "groups": "-".join(letters(LOWER.upper() + DIGITS, 4) for _ in range(4)),
    "digits in groups": "4716-0923-5518",
    "shopify": "shpat_" + letters("0123456789abcdef", 32),
    "databricks": "dapi" + letters("0123456789abcdef", 32),
}
# Where a passphrase of several ordinary words may stand.
PHRASES = (
    "passphrase: {}", "password = {}", "PASSWORD={}", 'PASSWORD="{}"', "export PW='{}'", "secret\t{}", "secret {}",
    "my password is {}", "the token {} is over", "gpg --passphrase '{}' -d x", "echo {} | sudo -S x",
    "{} | sudo -S x",
    "echo '{}' | passwd --stdin bai", '{{"password": "{}"}}', "password ({})", "password:\n{}", "Kennwort: {}",
    "비밀번호: {}", "비밀번호는 {}", "暗証 {}", "login bai {}", "{} is the password", "expect: send {}", "sudo: {}",
)  # fmt: skip
LINES = (
    "chpasswd <<< bai:{}",
    "echo {} | sudo -S apt-get update",
    "echo 'bai:{}' | chpasswd",
    "curl -uU:{} https://repo.corp/x",
    "curl -u {}: https://api.corp",
    "db.corp:5432:app:bai:{}",
    "az login --service-principal -u app -p {} --tenant t",
    "snmpwalk -v2c -c {} 10.0.0.1",
    "openssl enc -aes-256-cbc -k {} -in a -out b",
    "openssl rsa -passin pass:{}",
    "zip -P {} a.zip a",
    "7z x -p{} a.7z",
    "mc alias set minio http://minio.corp ACCESS {}",
    "smbclient //srv/x -U user%{}",
    "mount.cifs //srv/x /mnt -o user=u,pass={}",
    "<password>{}</password>",
    "<Passwort>{}</Passwort>",
    "비밀번호: {}",
    "암호={} 로 접속합니다",
    "사용자 bai의 비밀번호는 {} 입니다",
    "Kennwort: {}",
    "Das Passwort lautet {} für alle",
    "Geheimnis {} verwendet",
    "CARD_PIN={}",
    "export SIM_PIN='{}'",
    "DB_PW={}",
    "SIGNING_KEY={}",
    "HASH_SALT={}",
    "Password for bai: {}",
    "[sudo] password for bai: {}",
    "Enter PIN {} now",
    'send "{}\\r"',
    "expect -c 'send {}\\n'",
    "mongo -u root -p {} admin",
    "mysql -uroot -p{} db",
    "PGPASSWORD={} psql",
    "FTP: USER bai PASS {}",
    "PASS {}",
    "AUTH PLAIN {}",
    "vault login {}",
    "kubeadm join 10.0.0.1:6443 --token {}",
    "wg set wg0 peer x preshared-key {}",
    "nmcli dev wifi connect corp password {}",
    "wpa_passphrase corp {}",
    "htpasswd -b /etc/x user {}",
    "ldapadd -w {} -D cn=admin",
    "rsync --password-file=/root/{} a b",
    "cp /root/{}.txt /tmp/",
    "/home/bai/{}/notes",
    "cat {}",
    "X-Api-Key: {}",
    "Authorization: {}",
    '{"login": {"user": "bai", "word": "{}"}}',
    "user: bai / {}",
    "login bai {}",
    "{}",
    "set {} as the new one",
    "パスワードは{}です",
    "密码 {}",
    "mot de passe {}",
    "contraseña {}",
    "the key is:\n{}\nkeep it",
)
APT = "Start-Date: 2026-01-01  10:00:00\n{}End-Date: 2026-01-01  10:00:09\n"
INSTALL = "Install: docker-ce:amd64 (5:29.1.2-1~ubuntu.24.04~noble), libslirp0:amd64 (4.7.0-1, automatic)\n"


def machine_with(text: str) -> SimulatedMachine:
    """A node with this text in every source that a bundle is made of."""
    lines = text.split("\n")
    head = f"2026-01-01T10:00:00+0000 {HOST} "
    units = ("dockerd[711]", "kernel", "systemd[1]", "sudo[99]", "sshd[5]")
    journal = "".join(f"{head}{unit}: {line}\n" for line in lines for unit in units) + text + "\n"
    apt = APT.format(
        f"Commandline: {lines[0]}\nRequested-By: {text} (1000)\n{text}\nInstall: {text}\nError: {text}\n"
    )
    dpkg = f"2026-01-01 10:00:00 conffile /etc/{text} keep\n{text}\n2026-01-01 10:00:00 status {text}\n"

    def file(data: str) -> Entry:
        return Entry("file", 0, 0, 0o644, data.encode())

    return SimulatedMachine(
        {
            Key("user", "bai"): Account("bai", 1000, 1000, text.replace(":", " "), "/home/bai", "/bin/sh"),
            Key("file", "/var/log/apt/history.log"): file(apt),
            Key("file", "/var/log/dpkg.log"): file(dpkg),
            Key("file", f"/home/bai/{text}".replace("\n", "")): file(text),
            Key("file", "/etc/docker/daemon.json"): file(json.dumps({"log-opts": {"tag": text}})),
        },
        Environment(host=HOST, looks={("journalctl",): Completed(0, journal, "")}),
    )


def bundle_of(root: Path, text: str, run: str = "20260101T000000Z-abcd") -> dict[str, str]:
    """The contents of a bundle of a node where this text is everywhere."""
    directory = root / "var/lib/bai-wizard/runs" / run
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").write_text('{"kind": "apply"}')
    kinds = ("log", "progress", "finished", "started")
    events = [{"v": 1, "t": "2026-01-01T10:00:00.000000Z", "run": run, "id": 1, "kind": kind, "text": text,
               "step": "docker.engine", "level": "info", "data": {"lasting": [text], text: text}}
              for kind in kinds]  # fmt: skip
    (directory / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    step = {"step": "docker.engine", "describe": text, "outcome": "failed", "text": text, "effect": "now"}
    (directory / "result.json").write_text(json.dumps({"version": 1, "code": 4, "steps": [step], "lasting": [text]}))
    finding = Finding(
        "docker.engine", "problem", text, "docker", (Evidence(text, text, text, text),), text, text, text
    )
    contents, _ = collect(machine_with(text), StatePaths(root), ABOUT, [finding])
    scan(contents)
    return contents


@pytest.mark.parametrize("line", sampled("bundle lines", LINES, 8))
def test_no_secret_passes_in_any_source(line: str, tmp_path: Path) -> None:
    """All values at once, a line each: every line of a log is judged by itself."""
    everything = "\n".join(
        bundle_of(tmp_path, "\n".join(line.replace("{}", value) for value in VALUES.values())).values()
    )
    passed = [kind for kind, value in VALUES.items() if value in everything or json.dumps(value)[1:-1] in everything]
    assert not passed, passed


@pytest.mark.parametrize("line", LINES)
def test_no_secret_passes_the_vocabulary(line: str) -> None:
    for kind, value in VALUES.items():
        text = line.replace("{}", value)
        assert value not in allowed(text)[0], kind


@pytest.mark.parametrize(
    "line",
    ["zip -P 471 a", "7z x -p471 a", "zip -P471 a", "mongo -p 4711", "PIN: 471", "PIN 4711", "CARD_PIN=4711",
     "echo 471 | sudo -S x", "Password for bai: 4711", "비밀번호 4711", "Kennwort 4711", "token 471", "send 4711",
     "login bai 4711", "pw=471"],
)  # fmt: skip
def test_a_short_number_is_not_an_exception(line: str) -> None:
    assert "471" not in allowed(line)[0]


def test_no_common_password_is_in_the_vocabulary() -> None:
    chosen = "sunshine welcome letmein dragon monkey qwerty football iloveyou princess superman batman"
    chosen += " geheim passwort kennwort schatz hallo ficken admin toor changeme trustno hockey"
    assert not vocabulary().intersection(chosen.split())


@pytest.mark.parametrize("count", [1000])
def test_a_bundle_never_refuses_itself(count: int, tmp_path: Path) -> None:
    """The ids of runs are random; the names in the bundle are not made of them."""
    for number in range(count):
        clock = f"{number % 24:02}{number % 60:02}{number % 59:02}"
        run = f"202601{number % 28 + 1:02}T{clock}Z-{CHANCE.getrandbits(16):04x}"
        masker = Masker([(run, "run")])
        value = {"run": run, "text": f"Run {run} has begun; see /var/lib/bai-wizard/runs/{run}/events.jsonl"}
        text = json.dumps(masker.value(value, "runs/1/events.jsonl"))
        assert run not in text
        scan({"runs/1/events.jsonl": text + "\n"})
    for secret in ("info", "docker", "2026", "lines", "left", "true", "changed", "version", "runs"):
        Secret(secret)
    contents = bundle_of(tmp_path, "Loading containers: done.", "20260128T235958Z-f00d")
    assert not any("f00d" in name for name in contents)
    write_bundle(str(tmp_path / "b.tar.gz"), contents)
    assert read_bundle(str(tmp_path / "b.tar.gz")).findings[0].result == "problem"


def test_apt_actions_are_kept_without_command_lines() -> None:
    lines = [*INSTALL.splitlines(), "Error: Sub-process /usr/bin/dpkg returned an error code (1)"]
    for line in lines:
        assert apt_line(line) == line
    masker = Masker([])
    assert masker.log(lines, APT_LOG, partial(has_closed_form, APT_LOG)) == "\n".join(lines) + "\n"
    for line in ("Commandline: apt-get install -y docker-ce", "Requested-By: bai (1000)", "Install: a b c", " x"):
        assert apt_line(line) is None
    assert dpkg_line("2026-01-01 10:00:00 status installed docker-ce:amd64 5:29.1.2-1~ubuntu.24.04~noble")
    assert dpkg_line("2026-01-01 10:00:00 configure libc6:amd64 2.39-0ubuntu8 <none>")
    assert not dpkg_line("2026-01-01 10:00:00 conffile /etc/secret keep")


def test_a_package_name_is_not_a_secret(tmp_path: Path) -> None:
    """`passwd:amd64 1:4.13` looks like a password in a configuration."""
    line = "Upgrade: passwd:amd64 (1:4.13+dfsg1-1+b1, 1:4.13+dfsg1-1+deb12u1)"
    text = Masker([]).log([line, "Error: x password=hunter2"], APT_LOG, partial(has_closed_form, APT_LOG))
    assert text.split("\n")[0] == line
    assert "hunter2" not in text
    write_bundle(str(tmp_path / "b.tar.gz"), {APT_LOG: text})


def test_parameters_of_the_kernel_keep_their_numbers() -> None:
    masker = Masker([])
    facts = {"tuning": {"net.ipv4.tcp_rmem": "4096\t131072\t6291456", "logins: nofile": "1048576 : unlimited"}}
    assert masker.value(facts) == facts
    evidence = {"what": "fs.file-max", "where": "/proc/sys", "found": "9223372036854775807", "expected": "1048576"}
    assert masker.value({**evidence, "what": "fs.nr_open"}) == {**evidence, "what": "fs.nr_open"}
    assert allowed("net.ipv4.ip_local_port_range = 10000 65000") == ("net.ipv4.ip_local_port_range = 10000 65000", 0)
    assert "48291" not in masker.value({"what": "PIN", "found": "48291"})["found"]
    assert masker.value({"t": "2026-01-01T10:00:00.000000Z"}) == {"t": "2026-01-01T10:00:00.000000Z"}


def test_a_run_with_packages_is_in_the_bundle_as_it_was(tmp_path: Path) -> None:
    text = "Setting up docker-ce (5:29.1.2-1~ubuntu.24.04~noble) ..."
    contents = bundle_of(tmp_path, text)
    assert json.loads(contents["runs/1/events.jsonl"].split("\n")[0])["text"] == text
    assert "dockerd: " + text in contents["logs/docker.log"]
    assert "sudo" not in contents["logs/docker.log"]
    assert "lines omitted]" in contents["logs/docker.log"]


@pytest.mark.parametrize(
    "line",
    [
        'time="2026-01-01T10:00:00.123456789+09:00" level=error msg="failed to start daemon: driver not supported"',
        "docker.service: Main process exited, code=exited, status=1/FAILURE",
        "[   12.345678] NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.",
        "Out of memory: Killed process 4711 (python3) total-vm:12345kB",
        "Setting up linux-modules-nvidia-580-server-open-6.8.0-45-generic (6.8.0-45.45) ...",
        "nfs: server host-1 not responding, timed out",
        "x509: certificate signed by unknown authority",
        "level=error msg=\"Handler for POST /v1.47/images/create returned error: authentication required\"",
    ],
)  # fmt: skip
def test_lines_that_a_diagnosis_needs_stay_whole(line: str) -> None:
    assert allowed(line) == (line, 0)


def test_every_known_failure_is_still_found() -> None:
    for failure in known_failures():
        for text in failure.texts:
            output = text.replace("<", "").replace(">", "")
            masked = Line(output)
            assert failure.id in [match.failure.id for match in rank(masked.text)], masked.text


def test_a_line_of_the_journal_is_kept_by_its_unit() -> None:
    head = "2026-01-01T10:00:00+0000 gpu01"
    assert journal_line(f"{head} kernel: x") == "2026-01-01T10:00:00+0000 kernel: x"
    assert journal_line(f"{head} sudo[7]: bai : COMMAND=/bin/sh -c x") is None
    assert journal_line("-- Boot 0123456789abcdef --") is None


def test_hostile_lines_are_masked_in_time() -> None:
    """A line of 200 kB takes less than a second, whatever it is made of."""
    chunks = ("a.", "a", "a@", "a.a@", "aB1/", "1.", "1.1.1.1", ":", "a:", "-", '"', "\\", "://a@", "://",
              "password ",
              "password=", "docker login ", " -u a", "=", "/", "a=b=", "-----BEGIN PRIVATE KEY-----", "%5c", "비밀",
              "ey", "Bearer ", "token: ", " ", "0:", "a-", "_", "[", "***", "***=")  # fmt: skip
    masker = Masker([("gpu01.corp.example", "host"), ("a.a", "host")])
    for chunk in chunks:
        begun = time.process_time()
        masker.text(chunk * (200_000 // len(chunk)))
        assert time.process_time() - begun < 1, chunk


@pytest.mark.parametrize("line", PHRASES)
def test_a_passphrase_of_ordinary_words_is_hidden(line: str) -> None:
    """Words that are shown elsewhere, in an order that no known message has."""
    known = sorted(word for word in vocabulary() if word.isalpha() and len(word) > 4)
    shown = Masker().text(line.format(""))
    for _ in range(40):
        words = [word for word in CHANCE.sample(known, 5) if word not in line.lower() and word not in shown]
        text = line.format(" ".join(words))
        for masked in (Masker().text(text), Masker().log(text.split("\n"), "x")):
            assert not [word for word in words if word in masked.split()], f"{text!r} -> {masked!r}"


KEYWORDS = sorted(word for word in vocabulary() if any(find_secrets(f"{word} is the token x7q")))


@pytest.mark.parametrize("line", PHRASES)
@pytest.mark.parametrize("word", [*KEYWORDS, "Bearer", "--password", "http://a:b@c", "password=x7q", "pwd='a b'"])
def test_a_passphrase_is_hidden_whatever_is_masked_in_it(line: str, word: str) -> None:
    """A word of the passphrase that marks the next one as a secret must not mask what marks the whole passphrase."""
    shown = Masker().text(line.format(""))
    for text in (f"mounts adapter {word}", f"{word} mounts adapter", f"mounts {word} adapter"):
        for masked in (Masker().text(line.format(text)), Masker().log(line.format(text).split("\n"), "x")):
            assert not {"mounts", "adapter"} & set(masked.split()), f"{text!r} -> {masked!r}"
    assert "mounts" not in shown
    assert "adapter" not in shown


@pytest.mark.parametrize("first", ["expired", "denied", "required", "incorrect"])
def test_a_passphrase_that_begins_like_a_known_message_is_hidden(first: str) -> None:
    assert first not in Masker().text(f"my password is {first} driver thresholds grows")
