"""Secrets of every kind that programs write, made by chance, in the lines in which they turn up."""

from __future__ import annotations

import json
import string
from base64 import b64encode

from hypothesis import strategies as st

LETTERS = string.ascii_letters + string.digits
BASE64 = LETTERS + "+/"
CRYPT = "./" + LETTERS


def text(alphabet: str, least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most or least)


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
    text(LETTERS, 36).map("ghp_".__add__),
    text(LETTERS, 20).map("glpat-".__add__),
    text(LETTERS, 34).map("hf_".__add__),
    text(LETTERS, 24).map("xoxb-".__add__),
    text(LETTERS, 40).map("nvapi-".__add__),
    text(LETTERS, 27).map("dckr_pat_".__add__),
    text(string.ascii_uppercase + string.digits, 16).map("AKIA".__add__),
)
aws = text(BASE64, 40).filter(lambda word: any(map(str.isdigit, word)))

PLANTED = st.one_of(
    in_lines(url_password, "fetching https://alice:{}@harbor.corp/v2/", 'proxy "http://u:{}@10.1.2.3:3128" used'),
    in_lines(jwt, "Authorization: Bearer {}", "got {} from the server", '{"token":"{}"}'),
    in_lines(text(LETTERS + "-._~+/", 20, 40), "authorization: bearer {}", "> Authorization: Basic {}"),
    in_lines(docker_auth, '{"auths": {"harbor.corp": {"auth": "{}"}}}', r'body={\"auth\":\"{}\"}'),
    in_lines(aws, "aws_secret_access_key = {}", "export AWS_SECRET_ACCESS_KEY={}"),
    in_lines(service_token, "using {} now", "token={}", "https://x-access-token:{}@github.com/a/b", "({})"),
    in_lines(crypted, "alice:{}:19000:0:99999:7:::", "usermod -p '{}' bob", "hash {}"),
    in_lines(key, "{}", "the key:\n{}\nends"),
    in_lines(plain_password, "Set-Cookie: sid={}; Path=/", "cookie: a=b; session={}"),
    in_lines(
        password,
        "password={}", "POSTGRES_PASSWORD={}", "password: {}", "db_password='{}'", '"password": "{}"',
        "mysql --password={} -e x", "login --password {} --user x", "client_secret={}", "api-key: {}",
        'E: [passwd = "{}"] refused', r'\"secret\": \"{}\"', "passphrase = {}",
    ),
)  # fmt: skip
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
