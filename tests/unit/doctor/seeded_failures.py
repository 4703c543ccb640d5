"""Random secrets of every kind that programs print, in the lines in which they typically occur."""

from __future__ import annotations

import json
import string
from base64 import b64encode

from hypothesis import strategies as st

from bai_wizard.doctor.mask import looks_random

LETTERS = string.ascii_letters + string.digits
BASE64 = LETTERS + "+/"
CRYPT = "./" + LETTERS


def text(alphabet: str, least: int, limit: int | None = None) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=limit or least)


def in_lines(secret: st.SearchStrategy[str], *lines: str) -> st.SearchStrategy[tuple[str, str]]:
    """(secret, line with it): `{}` is where it stands."""
    return st.tuples(secret, st.sampled_from(lines)).map(lambda drawn: (drawn[0], drawn[1].replace("{}", drawn[0])))


password = text(LETTERS + "!%^&*_+-.~?", 10, 24).filter(lambda word: word[0] not in "-*&" and word != "**********")
plain_password = text(LETTERS, 10, 24)
url_password = text(LETTERS + "!$%&*+.~_-", 10, 24).filter(lambda word: "***" not in word)
jwt = st.tuples(text(LETTERS, 20), text(LETTERS, 30), text(LETTERS + "_-", 43)).map(
    lambda parts: f"eyJ{parts[0]}.eyJ{parts[1]}.{parts[2]}"
)
crypted = st.one_of(
    st.tuples(text(CRYPT, 22), text(CRYPT, 43)).map(lambda parts: f"$y$j9T${parts[0]}${parts[1]}"),
    st.tuples(text(CRYPT, 16), text(CRYPT, 86)).map(lambda parts: f"$6${parts[0]}${parts[1]}"),
    text(CRYPT, 53).map(lambda part: f"$2b$12${part}"),
)
docker_auth = st.tuples(plain_password, plain_password).map(
    lambda pair: b64encode(f"{pair[0]}:{pair[1]}".encode()).decode()
)
key_body = st.lists(text(BASE64, 64), min_size=2, max_size=8)
key = st.tuples(st.sampled_from(("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ")), key_body).map(
    lambda parts: "\n".join(
        (f"-----BEGIN {parts[0]}PRIVATE KEY-----", *parts[1], f"-----END {parts[0]}PRIVATE KEY-----")
    )
)
service_token = st.one_of(
    *(text(LETTERS, length).map(head.__add__) for head, length in (
        ("ghp_", 36), ("gho_", 36), ("github_pat_", 40), ("glpat-", 20), ("glrt-", 20), ("hf_", 34), ("xoxb-", 24),
        ("nvapi-", 40), ("dckr_pat_", 27), ("npm_", 36), ("pypi-", 40), ("AIza", 35), ("sk-", 40), ("hvs.", 24),
        ("SWMTKN-1-", 50), ("dop_v1_", 64),
    )),
    st.tuples(text(LETTERS, 22), text(LETTERS, 43)).map(lambda parts: f"SG.{parts[0]}.{parts[1]}"),
    text(string.ascii_uppercase + string.digits, 58).map("AGE-SECRET-KEY-1".__add__),
)  # fmt: skip
aws_key = st.tuples(st.sampled_from(("AKIA", "ASIA")), text(string.ascii_uppercase + string.digits, 16)).map("".join)
aws = text(BASE64, 40).filter(lambda word: any(map(str.isdigit, word)))
# What stands behind a word with only a blank between is taken for a secret where it has letters and digits.
mixed = text(LETTERS, 12, 24).filter(lambda word: any(map(str.isdigit, word)) and any(map(str.isalpha, word)))
old_hash = text(CRYPT, 13)
boot_hash = text("0123456789ABCDEF", 40).map("grub.pbkdf2.sha512.10000.".__add__)
chance = st.binary(min_size=48, max_size=48).map(lambda raw: b64encode(raw).decode()).filter(looks_random)

# Kind of `doctor.secrets` → secrets of that kind in lines as programs write them.
BY_KIND: dict[str, st.SearchStrategy[tuple[str, str]]] = {
    "private key": in_lines(key, "{}", "the key:\n{}\nends"),
    "password in a URL": in_lines(
        url_password, "fetching https://alice:{}@harbor.corp/v2/", 'proxy "http://u:{}@10.1.2.3:3128" used',
        "postgresql://bai:{}@db.corp:5432/x",
    ),
    "header": in_lines(
        text(LETTERS + "-._~+/", 20, 40), "> Authorization: Basic {}", "Proxy-Authorization: {}",
        "Authorization: BackendAI signMethod=HMAC-SHA256, credential=AKIA:{}",
    ),
    "cookie": in_lines(plain_password, "Set-Cookie: sid={}; Path=/", "cookie: a=b; session={}"),
    "bearer token": in_lines(text(LETTERS + "-._~+/", 20, 40), "authorization: bearer {}", "sent bearer {} to it"),
    "JWT": in_lines(jwt, "Authorization: Bearer {}", "got {} from the server", '{"token":"{}"}'),
    "crypt hash": st.one_of(
        in_lines(crypted, "alice:{}:19000:0:99999:7:::", "usermod -p '{}' bob", "hash {}"),
        in_lines(old_hash, "alice:{}:19000:0:99999:7:::"),
        in_lines(boot_hash, "password_pbkdf2 root {}"),
    ),
    "AWS key": in_lines(aws_key, "as {} now", "?X-Amz-Credential={}%2F20260101"),
    "service token": in_lines(
        service_token, "using {} now", "token={}", "https://x-access-token:{}@github.com/a/b", "({})",
        "docker swarm join --token {} 10.0.0.1:2377",
    ),
    "URL with a key": in_lines(
        plain_password, "GET https://x.blob.corp/c?sv=2020&sig={}&se=2026", "POST https://hooks.slack.com/services/T0/B0/{}"
    ),
    "named secret in quotes": st.one_of(in_lines(
        password, "db_password='{}'", '"password": "{}"', 'E: [passwd = "{}"] refused', r'\"secret\": \"{}\"',
        r'body={\"auth\":\"{}\"}',
    ), in_lines(docker_auth, '{"auths": {"harbor.corp": {"auth": "{}"}}}')),
    "named secret": st.one_of(
        in_lines(
            password, "password={}", "POSTGRES_PASSWORD={}", "password: {}", "client_secret={}", "api-key: {}",
            "passphrase = {}", "GET /x?password={}",
        ),
        in_lines(aws, "aws_secret_access_key = {}", "export AWS_SECRET_ACCESS_KEY={}", "AccountName=x;AccountKey={}",
                 "mount -o name=admin,secret={}"),
    ),
    "option": in_lines(password, "mysql --password={} -e x", "login --password {} --user x"),
    "option of a program": in_lines(
        plain_password, "sshpass -p {} ssh x", "docker login -u alice -p {} harbor.corp", "redis-cli -a {} ping",
        "ipmitool -I lanplus -U admin -P {} power", "ldapsearch -D cn=x -w {} -b dc=x", "smbclient -U a -p '{}'",
    ),
    "option of a database": in_lines(plain_password, "mysql -uroot -p{} db", "mysqldump -p{} -B x"),
    "login in an option": in_lines(mixed, "curl -u alice:{} https://x/", "curl --proxy-user 'u:{}' -I x"),
    "login for chpasswd": in_lines(plain_password, "bai:{} | chpasswd", "echo 'bai:{}' | sudo chpasswd"),
    "secret in a configuration": in_lines(
        plain_password, "machine harbor.corp login alice password {}", "requirepass {}", "bindpw {}", 'rootpw "{}"'
    ),
    "secret after a keyword": in_lines(mixed, "password {} refused", "the token {} is over", "community {}"),
    "SSH key": in_lines(text(BASE64, 68).map("AAAAC3NzaC1lZDI1NTE5AAAA".__add__), "ssh-ed25519 {} ops@corp", "<{}>"),
    "random letters": in_lines(chance, "saw {} there", "[{}]"),
}  # fmt: skip
PLANTED = st.one_of(*BY_KIND.values())
NOISE = st.sampled_from(
    (
        "Nov 23 10:00:01 gpu01 systemd[1]: Started docker.service - Docker Application Container Engine.",
        "level=info msg=\"Loading containers: done.\"",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 pulled",
        "Unpacking docker-ce (5:29.1.2-1~ubuntu.24.04~noble) over (5:28.0.1-1) ...",
        "net.ipv4.ip_local_port_range = 10000 65000",
        "",
    )
)  # fmt: skip


@st.composite
def logs(draw: st.DrawFn) -> tuple[str, tuple[str, ...]]:
    """(log, the secrets in it)."""
    planted = draw(st.lists(PLANTED, min_size=1, max_size=4))
    lines: list[str] = []
    for _, line in planted:
        lines += [*draw(st.lists(NOISE, max_size=3)), line]
    return "\n".join(lines) + "\n", tuple(secret for secret, _ in planted)


def pieces(secret: str) -> list[str]:
    """What must not be found: the secret, each line of a key, also as JSON writes it."""
    lines = [line for line in secret.splitlines() if not line.startswith("-----")]
    return [form for line in lines for form in (line, json.dumps(line)[1:-1])]


def without(log: str, secrets: tuple[str, ...]) -> str:
    """The ordinary words of the log, without its secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        log = log.replace(secret, " ")
    return log
