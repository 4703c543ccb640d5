"""Every place where the package opens, creates, renames or removes a path, and why it is safe as root.

A new call fails the test until it is in the table under a reason that holds. What the operator names is written
by `node/user_files.py` only, and read by `node/safe_path.py` where root obeys it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import bai_wizard

PACKAGE = Path(bai_wizard.__file__).parent
METHODS = {
    "open",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "mkdir",
    "touch",
    "symlink_to",
    "hardlink_to",
}
OF_OS = {"open", "mkdir", "makedirs", "chmod", "chown", "lchown", "symlink", "link", "truncate", "rename", "renames",
         "replace", "unlink", "remove", "removedirs", "rmdir", "mkfifo", "mknod", "utime", "setxattr"}  # fmt: skip
FUNCTIONS = {"open", "open_foreign", "copyfile", "copy", "copy2", "copytree", "move", "rmtree", "mkdtemp", "mkstemp",
             "NamedTemporaryFile", "TemporaryDirectory", "TemporaryFile"}  # fmt: skip

# Reason → module → calls: the function with its first argument; `at` where it is relative to an open directory.
TABLE: dict[str, dict[str, tuple[str, ...]]] = {
    "a device of the system, which root alone can replace": {"cli.py": ("open(os.devnull)", "os.open(os.devnull)")},
    "a directory of the wizard's own below /var or /run, which root alone can change": {
        "offline/use_bundle.py": (
            "(private / 'packages' / INDEX).write_text(_index(manifest))",
            "(private / MANIFEST).write_text(manifest.text())",
            "(private / above).mkdir()",
            "(private / part).mkdir()",
            "mkdtemp()",
            "os.open(target)",
            "shutil.rmtree(old)",
            "shutil.rmtree(private)",
        ),
        # Without root, below the user's own cache directory.
        "offline/fetch_bundle.py": ("directory.mkdir()", "os.open(path)", "target.parent.mkdir()"),
        "core/debug_log.py": ("os.open(path)",),
        "engine/launch.py": (
            "os.open(run.log)",
            "rmtree(run.path)",
        ),
        "engine/prune.py": (
            "os.rename(run.path)",
            "removed.mkdir()",
            "rmtree(above / 'proofs')",
            "rmtree(removed)",
        ),
        "engine/directory.py": ("rmtree(run.path)", "run.backup.mkdir()", "run.path.mkdir()"),
        "engine/durable.py": ("os.open(path)", "os.open(temporary)", "os.replace(temporary)"),
        "engine/records.py": ("os.open(path.with_name(COUNT))",),
        "engine/journal.py": ("os.open(self._path)",),
        "engine/lock.py": (
            "os.open(paths.lock)",
            "os.open(paths.runs)",
            "os.chmod(path)",
            "path.mkdir()",
        ),
        "engine/events.py": (
            "os.open(path)",
            "os.rename(path)",
        ),
        "node/cache.py": (
            "open(descriptor)",
            "open(f'{path}.new')",
            "os.chmod(f'{path}.new')",
            "os.chmod(walked)",
            "os.mkdir(walked)",
            "os.open(f'{kept}.new')",
            "os.rename(f'{kept}.new')",
            "os.rename(f'{path}.new')",
            "os.unlink(f'{directory}/{other}')",
            "os.chown(path)",
            "os.mkdir(path)",
            "os.rmdir(directory)",
            "os.rmdir(path)",
        ),
        "node/passwords.py": ("os.open(path)", "path.parent.mkdir()"),
        "node/package_tool.py": (
            "os.open(path)",
            "os.open(directory / 'lock')",
            "location.mkdir()",
            "location.parent.mkdir()",
        ),
        "node/download.py": (
            "open(self._validator)",
            "os.open(self.name)",
            "os.rename(self.name)",
            "os.unlink(name)",
        ),
        "resources/downloads.py": ("open(machine.prefix + path)", "os.rmdir(directory)"),
    },
    "a name below an open directory that a walk reached, or an open descriptor": {
        "offline/collect.py": ("os.chown(f'/proc/self/fd/{descriptor}')", "os.open(name) at"),
        "node/regular.py": (
            "os.chown(new) at",
            "os.mkdir(new) at",
            "os.open('.') at",
            "os.open(name) at",
            "os.open(new) at",
            "os.rename(new) at",
            "os.rmdir(name) at",
            "os.rmdir(temporary(name)) at",
            "os.symlink(target) at",
            "os.unlink(name) at",
            "os.unlink(temporary(name)) at",
        ),
        "node/files.py": ("os.open(name) at",),
        "resources/pythons.py": ("open(descriptor)", "os.open(name) at"),
        "node/user_files.py": (
            "os.mkdir(name) at",
            "os.open(name) at",
            "os.open(new) at",
            "os.rename(name) at",
            "os.rename(new) at",
            "os.unlink(new) at",
        ),
        "node/safe_path.py": (
            "os.open(name) at",
            "os.open(self._root)",
        ),
        "resources/trees_apply.py": (
            "os.chown(f'/proc/self/fd/{here}')",
            "os.chown(name) at",
            "os.open('.') at",
            "os.open(name) at",
        ),
    },
    "/proc, /sys or /dev": {
        "doctor/run.py": ("open(name)",),
        "engine/lock.py": ("BOOT_ID.read_text('ascii')",),
        "node/passwords.py": ("os.open(os.devnull)",),
        "engine/launch.py": ("(process / 'cmdline').read_bytes()",),
        "resources/local.py": ("open_foreign(self.prefix + path)",),
        "resources/packages_apply.py": ("Path(f'/proc/{pid}/comm').read_text()",),
        "resources/sysctl.py": (
            "open(path)",
            "os.open(path)",
            "open_foreign(path)",
        ),
        "node/files.py": ("open('/proc/self/uid_map')",),
        "node/safe_path.py": ("os.open(f'/proc/self/fd/{parent.directory}')",),
        "node/hardware.py": ("open(f'/sys/class/net/{name}/operstate')",),
        "node/mounts.py": ("open('/proc/self/mountinfo')", "open_foreign(f'{root}/proc/self/mountinfo')"),
        "resources/mounts.py": ("open_foreign(path)",),
        "own_code.py": ("open('/proc/self/maps')",),
        "ui/saving.py": ("open(f'/proc/{pid}/stat')",),
    },
    "the wizard's own data and code": {
        "answers/schema.py": ("COMMITTED.read_text()", "COMMITTED.write_text(compose())"),
        "offline/collect.py": ("(tree / name).read_text()", "path.read_bytes()", "script.read_bytes()"),
        "data/__init__.py": ("open(os.path.join(os.path.dirname(__file__), name))",),
        "doctor/allowed.py": ("(own / 'data' / 'log-words.txt').read_text()", "path.read_text()"),
        "node/cache.py": ("open(path)",),
        "node/demo.py": ("(resources.files('bai_wizard.data') / 'demo' / f'{name}.toml').read_text('utf-8')",),
        "pages/accelerators/nvidia/__init__.py": (
            "files('bai_wizard.data').joinpath('keys/nvidia-container-toolkit.asc').read_text()",
        ),
        "ui/fleet/page.py": ("files('bai_wizard.ui.fleet').joinpath('page.html').read_text()",),
        "pages/docker/packages.py": ("files('bai_wizard.data').joinpath('keys/docker.asc').read_text()",),
        "pages/python/versions.py": ("open(os.path.join(os.path.dirname(data.__file__), 'python-catalogue.json'))",),
    },
    "a fixed name below /etc, /run or /var, in directories of root alone": {
        "resources/users.py": ("os.open(path)", "os.unlink(f'{directory}/{name}')"),
        "node/docker.py": ("open(pid_file)",),
        "resources/packages_apply.py": (
            "os.open(path)",
            "os.utime(Path(machine.root, LISTS))",
        ),
        "node/accounts.py": ("open_foreign(self._root + path)",),
        "resources/packages.py": ("open_foreign(f'{self._updates_path}/{name}')", "open_foreign(self._path)"),
        "trusted_path.py": ("open(path)",),
    },
    "a new directory or file of this process alone": {
        "engine/signature.py": (
            "TemporaryDirectory(prefix='bai-wizard-signature-')",
            "Path(private, 'approvers').write_bytes(allowed)",
            "Path(private, 'signature').write_bytes(signed)",
        ),
        "core/debug_log.py": ("mkstemp(prefix='bai-wizard-debug-')",),
        "doctor/bundle.py": ("tarfile.open(fileobj=packed)",),
        "node/package_tool.py": (
            "(location / 'lists/partial').mkdir()",
            "(location / 'sources.list').write_text(f'deb [trusted=yes] {apt_directory(directory)} ./\\n')",
            "TemporaryDirectory(prefix='bai-wizard-apt-')",
        ),
        "resources/images_apply.py": ("TemporaryFile()",),
        "ui/tui/keeper.py": ("NamedTemporaryFile('w')",),
        "ui/tui/widgets/log.py": ("tempfile.NamedTemporaryFile('w')", "os.unlink(path)"),
        "session.py": ("mkdtemp(prefix='bai-wizard-demo-')", "rmtree(directory)"),
    },
    "in a child with the ids of the account whose directory it is": {
        "resources/pythons_apply.py": (
            "open(file)",
            "open(mark)",
            "os.makedirs(path)",
            "os.mkdir(work)",
            "os.open(dirname(path))",
            "os.rename(path)",
            "os.unlink(mark)",
            "shutil.rmtree(work)",
            "shutil.rmtree(f'{work}/cut')",
            "os.chmod(target)",
            "os.makedirs(target)",
            "os.replace(ours)",
            "os.unlink(target)",
            "shutil.rmtree(existing)",
            "os.unlink(f'{directory}/{name}')",
        ),
        "resources/trees_apply.py": (
            "os.mkdir(aside) at",
            "os.open('list') at",
            "os.open(aside) at",
            "os.rename(name) at",
            "os.rmdir(aside) at",
            "os.unlink('list') at",
            "os.unlink(path)",
            "shutil.rmtree(name) at",
            "shutil.rmtree(path)",
        ),
        "pages/storage/volume_probes.py": ("os.open(first)", "os.rename(first)", "os.unlink(made)"),
        "ui/saving.py": ("os.open(directory)", "os.open(name) at", "os.unlink(name) at"),
        "node/cache.py": (
            "os.unlink(entry.path)",
            "shutil.rmtree(entry.path)",
        ),
    },
    "below a bundle that is being made: `place_of` refused all but root and the invoking user": {
        "offline/packages.py": (
            "(files / 'partial').mkdir()",
            "(self._state / 'sources' / name).write_text(text)",
            "(state / 'status').write_bytes(like.status)",
            "(state / part).mkdir()",
            "self._key(key.path).write_bytes(pinned_key(key.text.encode(), key.fingerprint))",
            "shutil.rmtree(directory / STATE)",
            "location.mkdir()",
        ),
        "offline/collect.py": (
            "TemporaryDirectory(prefix='bai-wizard-wheels-')",
            "directory.mkdir()",
            "location.mkdir()",
            "open(partial)",
            "shutil.copyfile(new / name)",
            "shutil.copyfile(wheel)",
            "target.parent.mkdir()",
            "tarfile.open(fileobj=stream)",
        ),
        "offline/manifest.py": ("os.replace(partial)", "partial.write_text(text)", "path.open('rb')"),
    },
    "named by the operator: root refuses it where others can change it": {
        "answers/secrets.py": ("Trust().open(path)", "Trust().open(argv[0])"),
        "engine/signature.py": ("Trust().open(path)",),
        "answers/source.py": ("Trust().open(path)", "os.open(path)"),
        "offline/collect.py": ("trust.open(wizard)",),
        "offline/needs.py": ("Path(file).read_text()",),
        "compose.py": ("trust.open(f'{prefix}{path}')",),
    },
    "named by the operator: used only with the sha256 that the answers or the manifest name": {
        "offline/manifest.py": ("os.open('.') at", "os.open(part) at", "os.open(location)"),
        "offline/packages.py": ("shutil.copyfile(file)",),
        "node/regular.py": ("os.open(f'/proc/self/fd/{result}')", "os.open(path) at"),
    },
    "named by the operator: its content is shown and obeyed by nothing": {
        "offline/packages.py": (
            "file.read_text()",
            "status.read_bytes()",
        ),
        "offline/collect.py": ("shutil.copyfile(source)",),
        "node/regular.py": ("os.open(path)",),
    },
    "not a file": {
        "ui/tui/app.py": ("main.open(main.page)",),
        "ui/tui/runs.py": ("self.open(run)",),
        "ui/tui/screens/main.py": ("self.open(page)", "wizard(self).open()"),
        "ui/tui/screens/runs.py": ("runs.open(run)",),
    },
}


def calls(tree: ast.AST) -> Iterator[str]:
    """Every call of a module that names a path, as the table writes it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _names_a_path(node.func):
            given = {word.arg or "": ast.unparse(word.value) for word in node.keywords}
            words = [f"{name}={given[name]}" for name in ("path", "file", "fileobj", "prefix") if name in given]
            first = ast.unparse(node.args[0]) if node.args else ", ".join(words)
            is_relative = any(name.endswith("dir_fd") and text != "None" for name, text in given.items())
            yield f"{ast.unparse(node.func)}({first}){' at' if is_relative else ''}"


def _names_a_path(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in FUNCTIONS
    if not isinstance(function, ast.Attribute):
        return False
    owner = ast.unparse(function.value)
    if owner == "os":
        return function.attr in OF_OS
    if owner in ("shutil", "tempfile"):
        return function.attr != "which"
    return function.attr in METHODS


def test_every_path_that_is_opened_by_name_is_in_the_table() -> None:
    lines = {(module, call) for modules in TABLE.values() for module, listed in modules.items() for call in listed}
    result = {
        (str(path.relative_to(PACKAGE)), call)
        for path in PACKAGE.rglob("*.py")
        for call in calls(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert result - lines == set(), "not in the table: give each a reason that holds when root runs it"
    assert lines - result == set(), "in the table, but no longer in the package"


def test_only_one_module_writes_files_named_by_the_operator() -> None:
    """And what is named and obeyed, or pinned, is opened by those that judge it."""
    writes = ("write_text", "write_bytes", "mkdir", "rename", "replace", "unlink", "chmod", "symlink")
    for reason, modules in TABLE.items():
        if reason.startswith("named by the operator"):
            listed = [call for each in modules.values() for call in each]
            assert not [call for call in listed if any(f"{word}(" in call for word in writes)], reason


def test_the_search_finds_known_examples() -> None:
    source = """
open("a"); Path("b").write_text(""); os.open("c", 0, dir_fd=d); os.mkdir("e", dir_fd=None); shutil.which("f")
tarfile.open(fileobj=g); NamedTemporaryFile(prefix="h"); text.replace("i", "j"); os.replace("k", "l"); os.fdopen(3)
"""
    assert sorted(calls(ast.parse(source))) == [
        "NamedTemporaryFile(prefix='h')",
        "Path('b').write_text('')",
        "open('a')",
        "os.mkdir('e')",
        "os.open('c') at",
        "os.replace('k')",
        "tarfile.open(fileobj=g)",
    ]
