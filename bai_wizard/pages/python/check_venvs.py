"""Checks of the environments and of pip: that they work without being activated, and trust the right certificates."""

from __future__ import annotations

import json

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.finding import Check, Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.python.look import finding, found_interpreters
from bai_wizard.pages.python.operator import as_operator
from bai_wizard.pages.python.probe import environments, home_of

TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
TLS = """
import json, os, ssl
paths = ssl.get_default_verify_paths()
count = len(ssl.create_default_context().get_ca_certs())
print(json.dumps([count, paths.cafile or paths.openssl_cafile, os.path.isdir(paths.capath or "")]))
"""


def _venvs(machine: Machine, context: Context) -> Finding:
    id, title = "venv-broken", "The virtual environments work"
    home = home_of(machine, context)
    evidence = []
    there = environments(machine, home)
    if not there:
        return finding(id, "not-applicable", title, cause=f"no environments below {home}")
    for service, fact in there:
        path = f"{home}/{service}/.venv"
        if isinstance(fact, Unknown):
            return finding(id, "cannot-tell", title, cause=fact.reason)
        assert isinstance(fact, Known)
        if not fact.value.version:
            gone = f"{fact.value.home} is gone"
            evidence.append(Evidence("its Python", f"{path}/bin/python", gone, "a program that runs"))
            continue
        done = as_operator(machine, context, (f"{path}/bin/python", "-I", "-B", "-c", "import pip"))
        if done.code != 0:
            said = (done.err or done.out).strip()[-200:]
            evidence.append(Evidence("import pip", f"{path}/bin/python", said, "it works"))
    if not evidence:
        return finding(id, "ok", title)
    return finding(
        id,
        "problem",
        "A virtual environment does not work",
        evidence=tuple(evidence),
        cause="Its Python was moved, removed or replaced, or the environment's directory was moved.",
        guidance="Bring the interpreter back, or move the environment away (what was installed stands in its lib/) "
        "and run the python page: it makes a new one.",
        risk="Packages that were installed by hand are not in the new one.",
    )


def _ensurepip(machine: Machine, context: Context) -> Finding:
    id, title = "venv-ensurepip", "The system's Python can make virtual environments"
    libraries = [name for name in machine.names("/usr/lib") if name.startswith("python3.")]
    lacking = [name for name in libraries if "ensurepip" not in machine.names(f"/usr/lib/{name}")]
    if not lacking:
        return finding(id, "ok", title)
    own = [found for found in found_interpreters(machine, context) if found.version]
    if own:
        return finding(id, "ok", title, cause="not needed: the account has its own interpreter")
    return finding(
        id,
        "warning",
        "The system's Python cannot make virtual environments",
        evidence=tuple(Evidence("ensurepip", f"/usr/lib/{name}", "missing", "there") for name in lacking),
        cause="Debian and Ubuntu keep it in a package of its own.",
        guidance="Let the python page make the environments, which does not need it; or install python3-venv.",
    )


def _managed(machine: Machine, context: Context) -> Finding:
    id, title = "pip-externally-managed", "pip installs into environments and not into the system"
    home = home_of(machine, context)
    evidence = []
    for path in ("/etc/pip.conf", f"{home}/.config/pip/pip.conf", f"{home}/.pip/pip.conf"):
        for line in (machine.text(path) or "").splitlines():
            if line.replace("_", "-").strip().startswith("break-system-packages") and "true" in line.lower():
                evidence.append(Evidence(line.strip(), path, "on", "not set"))
    for service, _ in environments(machine, home):
        library = f"{home}/{service}/.venv/lib"
        for name in machine.names(library):
            if "EXTERNALLY-MANAGED" in machine.names(f"{library}/{name}"):
                evidence.append(Evidence("mark", f"{library}/{name}", "EXTERNALLY-MANAGED", "none in an environment"))
    if not evidence:
        return finding(id, "ok", title)
    return finding(
        id,
        "warning",
        "pip is told to change the system's Python, or refuses an environment",
        evidence=tuple(evidence),
        cause="Somebody worked around «externally-managed-environment» instead of using the environment's own pip.",
        guidance="Use the environment's pip by its whole path (~/SERVICE/.venv/bin/python -m pip), and take "
        "break-system-packages out of pip's configuration.",
    )


def _certificates(machine: Machine, context: Context) -> Finding:
    id, title = "python-tls-ca", "The interpreters trust the system's certificates"
    there = [found for found in found_interpreters(machine, context) if found.version]
    if not there:
        return finding(id, "not-applicable", title, cause="no interpreters in the account's home")
    evidence = []
    for found in there:
        done = as_operator(machine, context, (found.program, "-I", "-B", "-c", TLS))
        if done.code != 0:
            continue  # that it does not run is the business of other checks
        count, file, has_directory = json.loads(done.out)
        if not count and not has_directory:
            evidence.append(Evidence("certificates", found.program, f"none: looks in {file}", TRUSTED))
    if not evidence:
        return finding(id, "ok", title)
    return finding(
        id,
        "problem",
        "Python does not trust your certificates",
        evidence=tuple(evidence),
        cause="The build looks for certificates where its own build machine kept them; a proxy that signs traffic "
        "anew is then not trusted either.",
        guidance=f"Set SSL_CERT_FILE={TRUSTED} and PIP_CERT to the same in the services' units. An authority of your "
        "own goes into network.ca_certificates.",
        risk="Trust only an authority whose fingerprint you have compared.",
    )


CHECKS: tuple[Check, ...] = (
    Check("venv-broken", "python", "The virtual environments work", _venvs, deadline=30.0, needs_root=True),
    Check("venv-ensurepip", "python", "The system's Python can make virtual environments", _ensurepip),
    Check("pip-externally-managed", "python", "pip installs into environments and not into the system", _managed),
    Check("python-tls-ca", "python", "The interpreters trust the system's certificates", _certificates, deadline=20.0,
          needs_root=True),
)  # fmt: skip
