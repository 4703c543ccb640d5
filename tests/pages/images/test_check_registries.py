"""Checks of configured registries against a real TLS server on loopback, with a failure at every layer."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Entry, Key, State
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages import network_probes
from bai_wizard.pages.images.checks import CHECKS
from bai_wizard.pages.network_probes import registry_probe as hello

HARBOR = "harbor.corp:443"


class Registry(BaseHTTPRequestHandler):
    """Asks for a login, as most registries do."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests stay quiet."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(host:port, file with its authority) of a registry with a certificate of its own."""
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key", directory / "certificate"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    server = HTTPServer(("127.0.0.1", 0), Registry)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"localhost:{server.server_port}", str(certificate)
    server.shutdown()
    thread.join()
    server.server_close()


def test_its_own_authority_makes_the_difference(served: tuple[str, str]) -> None:
    host, authority = served
    assert hello(host, "", [])[0] == "certificate"
    assert hello(host, "", [authority]) == ("ok", "401")


def test_each_rung_has_its_name() -> None:
    assert hello("registry.invalid", "", [])[0] == "name"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
    assert hello(f"localhost:{port}", "", [])[0] == "connection"
    plain = HTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=plain.handle_request)
    thread.start()
    assert hello(f"localhost:{plain.server_port}", "", [])[0] == "answer"
    thread.join()
    plain.server_close()


def file(path: str, text: str) -> tuple[Key, State]:
    return Key("file", path), Entry("file", 0, 0, 0o600, text.encode())


def findings_of(
    output: dict[str, str], *files: tuple[Key, State], context: Context | None = None
) -> dict[str, Finding]:
    """What the checks find on a node with these files, by what each registry says."""
    looks: dict[tuple[str, ...], Completed] = {
        (sys.executable, "-I", "-S", network_probes.__file__, "registry", host): Completed(0, f"{words}\n", "")
        for host, words in output.items()
    }
    machine = SimulatedMachine(dict(files), Environment(looks=looks))
    findings = [finding for check in CHECKS for finding in run_check(check, machine, context or Context())]
    return {finding.id: finding for finding in findings}


AUTHORITY = file(f"/etc/docker/certs.d/{HARBOR}/ca.crt", "x")


def test_a_node_that_names_no_registry_is_not_accused() -> None:
    assert {finding.result for finding in findings_of({}).values()} == {"not-applicable"}


@pytest.mark.parametrize(
    ("words", "x509", "unreachable"),
    [
        ("ok 401", "ok", "ok"),
        ("certificate self-signed certificate", "problem", "ok"),
        ("clock certificate has expired", "problem", "ok"),
        ("name harbor.corp: Name or service not known", "ok", "problem"),
        ("connection timed out", "ok", "problem"),
        ("answer WRONG_VERSION_NUMBER", "ok", "problem"),
    ],
)
def test_each_rung_is_reported_by_its_own_check(words: str, x509: str, unreachable: str) -> None:
    findings = findings_of({HARBOR: words}, AUTHORITY)
    assert (findings["images.pull-x509"].result, findings["images.registry-unreachable"].result) == (
        x509,
        unreachable,
    )
    for finding in findings.values():
        if finding.result == "problem":
            assert HARBOR in finding.title
            assert finding.evidence[0].what == HARBOR
            assert finding.cause
            assert finding.guidance
    assert ("date" in findings["images.pull-x509"].guidance) == words.startswith("clock")


def test_logins_and_mirrors_name_registries_and_a_login_is_never_shown() -> None:
    login = file("/root/.docker/config.json", json.dumps({"auths": {"https://cr.corp/v2/": {"auth": "c2VjcmV0"}}}))
    daemon = file(
        "/etc/docker/daemon.json", json.dumps({"registry-mirrors": ["https://mirror.corp", "http://plain"]})
    )
    findings = findings_of({"cr.corp": "connection refused", "mirror.corp": "ok 200"}, login, daemon)
    finding = findings["images.registry-unreachable"]
    assert [each.what for each in finding.evidence] == ["cr.corp"]
    assert "c2VjcmV0" not in str(finding)


def test_registries_without_tls_are_not_checked() -> None:
    daemon = file("/etc/docker/daemon.json", json.dumps({"insecure-registries": [HARBOR]}))
    assert findings_of({}, AUTHORITY, daemon)["images.pull-x509"].result == "not-applicable"


def test_a_program_that_cannot_run_reports_nothing() -> None:
    assert {finding.result for finding in findings_of({HARBOR: "what"}, AUTHORITY).values()} == {"cannot-tell"}
