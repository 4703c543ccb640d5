"""Debian's docker-registry on this machine, and images of many layers built without an engine."""

import ctypes
import gzip
import hashlib
import io
import json
import random
import shutil
import socket
import ssl
import subprocess
import tarfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 20.0
OCTETS = {"Content-Type": "application/octet-stream"}
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CONFIG = "application/vnd.docker.container.image.v1+json"


@dataclass(frozen=True)
class Blob:
    """Bytes with their SHA-256."""

    data: bytes
    digest: str

    @staticmethod
    def of(data: bytes) -> "Blob":
        return Blob(data, "sha256:" + hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class Image:
    """An image as stored in a registry; `layers` are compressed."""

    config: Blob
    layers: tuple[Blob, ...]
    manifest: Blob


def make_image(
    layers: Sequence[int],
    *,
    architecture: str = "amd64",
    labels: Mapping[str, str] | None = None,
    seed: int = 0,
    files: Mapping[str, bytes] | None = None,
    command: Sequence[str] = ("/hello",),
) -> Image:
    """Build an image with that many incompressible bytes per layer; the first one contains executable `files`."""
    chance = random.Random(seed)
    blobs, diffs = [], []
    for number, size in enumerate(layers):
        content = {f"layer-{number}": chance.randbytes(size)}
        if number == 0:
            content |= dict(files or {})
        tar = _tar(content)
        diffs.append("sha256:" + hashlib.sha256(tar).hexdigest())
        blobs.append(Blob.of(gzip.compress(tar, 1, mtime=0)))
    config = Blob.of(
        json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Labels": dict(labels or {}), "Cmd": list(command)},
                "rootfs": {"type": "layers", "diff_ids": diffs},
                "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
            }
        ).encode()
    )
    manifest = Blob.of(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "size": len(config.data), "digest": config.digest},
                "layers": [{"mediaType": LAYER, "size": len(blob.data), "digest": blob.digest} for blob in blobs],
            }
        ).encode()
    )
    return Image(config, tuple(blobs), manifest)


def save_archive(path: Path, reference: str, image: Image) -> None:
    """Return the image in the format of `docker save`."""
    with tarfile.open(path, "w") as archive:
        names = []
        for blob in image.layers:
            name = f"{blob.digest[7:]}/layer.tar"
            names.append(name)
            _add(archive, name, gzip.decompress(blob.data))
        config = f"{image.config.digest[7:]}.json"
        _add(archive, config, image.config.data)
        _add(
            archive,
            "manifest.json",
            json.dumps([{"Config": config, "RepoTags": [reference], "Layers": names}]).encode(),
        )


@dataclass
class Registry:
    """A running registry. `host` is the address or name that nodes use, with the port."""

    host: str
    port: int
    scheme: str = "http"
    login: tuple[str, str] | None = None
    context: ssl.SSLContext | None = None
    pushed: dict[str, Image] = field(default_factory=dict)

    def push(self, name: str, tag: str, image: Image) -> str:
        """Store an image; return its full reference."""
        for blob in (image.config, *image.layers):
            self._put_blob(name, blob)
        self._request("PUT", f"/v2/{name}/manifests/{tag}", image.manifest.data, {"Content-Type": MANIFEST})
        self.pushed[f"{name}:{tag}"] = image
        return f"{self.host}/{name}:{tag}"

    def push_index(self, name: str, tag: str, images: Mapping[str, Image]) -> str:
        """Store images for several architectures with one tag."""
        entries = []
        for architecture, image in images.items():
            self.push(name, f"{tag}-{architecture}", image)
            entries.append(
                {
                    "mediaType": MANIFEST,
                    "size": len(image.manifest.data),
                    "digest": image.manifest.digest,
                    "platform": {"architecture": architecture, "os": "linux"},
                }
            )
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        self._request("PUT", f"/v2/{name}/manifests/{tag}", index, {"Content-Type": INDEX})
        return f"{self.host}/{name}:{tag}"

    def _put_blob(self, name: str, blob: Blob) -> None:
        location = self._request("POST", f"/v2/{name}/blobs/uploads/", b"", OCTETS)["Location"]
        path = location[location.index("/v2/") :]
        self._request("PUT", f"{path}{'&' if '?' in path else '?'}digest={blob.digest}", blob.data, OCTETS)

    def _request(self, method: str, path: str, data: bytes, headers: dict[str, str]) -> Mapping[str, str]:
        request = urllib.request.Request(
            f"{self.scheme}://127.0.0.1:{self.port}{path}", data=data, method=method, headers=headers
        )
        if self.login:
            request.add_header("Authorization", "Basic " + b64encode(":".join(self.login).encode()).decode())
        handlers: list[Any] = [urllib.request.ProxyHandler({})]
        if self.context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self.context))
        with urllib.request.build_opener(*handlers).open(request, timeout=30) as response:
            return dict(response.headers)


@contextmanager
def running_registry(
    directory: Path,
    address: str,
    *,
    tls: tuple[Path, Path] | None = None,
    name: str = "",
    login: tuple[str, str] | None = None,
) -> Iterator[Registry]:
    """Run a registry that nodes reach at `address` (this machine on their bridge), or by `name` if given.

    `tls` are certificate and key; `login` is user and password.
    """
    port = free_port()
    config = directory / "config.yml"
    text = f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {directory}/store}}\n"
    text += f"http:\n  addr: 0.0.0.0:{port}\n"
    context = None
    if tls:
        text += f"  tls: {{certificate: {tls[0]}, key: {tls[1]}}}\n"
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if login:
        (directory / "htpasswd").write_text(f"{login[0]}:{bcrypt(login[1])}\n")
        text += f"auth:\n  htpasswd: {{realm: test, path: {directory}/htpasswd}}\n"
    config.write_text(text)
    program = shutil.which("docker-registry")
    assert program, "the package docker-registry is not installed"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_for_port(port, process)
            yield Registry(f"{name or address}:{port}", port, "https" if tls else "http", login, context)
        finally:
            process.terminate()
            process.wait(10)


def make_authority(directory: Path, names: Sequence[str]) -> tuple[Path, Path, Path]:
    """Create a private CA, and a certificate and key for `names` (addresses or host names) signed by it."""
    ca, ca_key = directory / "ca.crt", directory / "ca.key"
    certificate, key, request = directory / "server.crt", directory / "server.key", directory / "server.csr"
    extension = directory / "extension"
    alternatives = [f"{'IP' if name.replace('.', '').isdigit() else 'DNS'}:{name}" for name in names]
    extension.write_text(f"subjectAltName={','.join(alternatives)}\n")
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj"]
    for argv in (
        [*new, "/CN=Test CA", "-x509", "-days", "2", "-keyout", str(ca_key), "-out", str(ca)],
        [*new, f"/CN={names[0]}", "-keyout", str(key), "-out", str(request)],
        ["openssl", "x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial",
         "-days", "2", "-extfile", str(extension), "-out", str(certificate)],
    ):  # fmt: skip
        subprocess.run(argv, check=True, capture_output=True)
    return ca, certificate, key


def bcrypt(password: str) -> str:
    """Return a bcrypt hash from the system's libcrypt: the only kind that docker-registry accepts."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt_gensalt.restype = library.crypt.restype = ctypes.c_char_p
    salt = library.crypt_gensalt(b"$2b$", 5, None, 0)
    hashed: bytes = library.crypt(password.encode(), salt)
    return hashed.decode()


def free_port() -> int:
    """Return a port without a listener."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens."""
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit:
        assert process.poll() is None, "the registry ended at once"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the registry did not come up")


def _tar(content: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in content.items():
            _add(archive, name, data, 0o755)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))
