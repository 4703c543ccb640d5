"""How fast the python page is, on a container node: environments against venv and pip, hashing while streaming.

python -m tests.bench.python_speed        prints seconds and ratios as JSON; needs what the node tests need.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from bai_wizard.machine.download import Source, fetch
from tests.node.container import ContainerNode
from tests.node.engine import running_engine
from tests.node.images import node_image
from tests.node.pythons import HEADLESS, newest, prepare
from tests.pages.python.crooked import Manners, serving

if TYPE_CHECKING:
    from tests.node.api import Node

SERVICES = ("manager", "agent", "storage-proxy", "webserver", "app-proxy")
BODY_SIZE = 60_000_000


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def environments(node: Node) -> dict[str, float]:
    """Five environments: by the wizard (its whole run, with planning and verification), and by venv and pip."""
    answers = node.read("/root/answers.toml").decode()
    node.write("/root/answers.toml", answers.replace("venvs = [  ]", "venvs = []"))
    assert node.wizard(*HEADLESS).rc == 0
    python = f"/home/bai/.static-python/versions/{newest().version}/bin/python3"
    listed = ", ".join(f'{{ service = "{service}" }}' for service in SERVICES)
    node.write("/root/answers.toml", answers.replace("venvs = [  ]", f"venvs = [ {listed} ]"))

    def wizard() -> None:
        done = node.wizard(*HEADLESS)
        assert done.rc == 0, done.out + done.err

    def plain() -> None:
        script = "set -e; " + "; ".join(
            f"{python} -m venv /home/bai/plain-{service} && /home/bai/plain-{service}/bin/pip install -q -U pip"
            " setuptools wheel"
            for service in SERVICES
        )
        node.run(["runuser", "-u", "bai", "--", "sh", "-c", script], check=True, timeout=600)

    ours, theirs = seconds(wizard), seconds(plain)
    converged = seconds(lambda: node.wizard(*HEADLESS))
    return {"wizard": ours, "venv and pip": theirs, "times faster": theirs / ours, "converged run": converged}


def hashing() -> dict[str, float]:
    """One download whose hash is taken on the way, and one that is read again for it."""
    manners = Manners(b"\x1f\x8b" + random.Random(1).randbytes(BODY_SIZE))
    with tempfile.TemporaryDirectory() as directory, serving(manners) as url:
        path = Path(directory) / "a.tar.gz"
        source = Source(f"{url}/a.tar.gz", manners.sha256)
        streaming = min(seconds(lambda: fetch(source, str(path))) for _ in range(5))

        def afterwards() -> None:
            import urllib.request

            with urllib.request.urlopen(source.url) as answer, path.open("wb") as file:
                while data := answer.read(1 << 18):
                    file.write(data)
            assert sha256(path.read_bytes()).hexdigest() == manners.sha256

        return {"while streaming": streaming, "afterwards": min(seconds(afterwards) for _ in range(5))}


def main() -> None:
    """Measures and prints."""
    results = {"hash of 60 MB": hashing()}
    with running_engine() as docker:
        node = ContainerNode(docker, node_image(docker, "trixie"))
        try:
            prepare(node, newest(), venvs="")
            results["five environments"] = environments(node)
        finally:
            node.close()
    rounded = {name: {key: round(value, 2) for key, value in pairs.items()} for name, pairs in results.items()}
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
