"""Named answers that try to exhaust the node; at most 1 MiB each, unless the size itself is tested."""

from __future__ import annotations

from collections.abc import Callable

from bai_wizard.answers.source import MAX_VALUES, SIGNS

MIB = 2**20
HEAD = "version = 1\n"
NODE = '[node]\nbackend_ai = "26.4"\n'


def many(line: str, *, head: str = HEAD, tail: str = "", limit: int = MIB, signs: int = MAX_VALUES - 100) -> str:
    """`line` as often as fits into `limit` bytes with `signs` separators; `{n}` in it is a running number."""
    lines: list[str] = []
    size = len(head) + len(tail)
    each = sum(map(line.count, SIGNS))
    while True:
        text = line.replace("{n}", str(len(lines)))
        size += len(text.encode())
        signs -= each
        if size > limit or signs < 0:
            return head + "".join(lines) + tail
        lines.append(text)


def host(number: int) -> str:
    return f'{{ ip = "10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", names = ["h{number}"] }}'


def hosts(count: int) -> str:
    return "[aliases]\nhosts = [\n" + ",\n".join(host(number) for number in range(1, count + 1)) + "\n]\n"


def rows(key: str, row: str) -> str:
    """`key = [ row, row, … ]` after a header that `key` may begin with."""
    return HEAD + f"{key} = [\n" + many(f"{row},\n", head="", limit=MIB - 200) + "]\n"


def dotted(parts: int) -> str:
    return ".".join("a" * parts)


CASES: dict[str, Callable[[], str | bytes]] = {
    # Dotted keys: tomllib needs memory that grows with the square of their parts.
    "a dotted key of 10,000 parts": lambda: HEAD + dotted(10_000) + " = 1\n",
    "a dotted key of 400,000 parts": lambda: HEAD + dotted(400_000) + " = 1\n",
    "a dotted key of 17 parts": lambda: HEAD + dotted(17) + " = 1\n",
    "a dotted header of 20,000 parts": lambda: HEAD + f"[{dotted(20_000)}]\n",
    "a dotted array header of 20,000 parts": lambda: HEAD + f"[[{dotted(20_000)}]]\n",
    "quoted parts": lambda: HEAD + ".".join(['"a"'] * 15_000) + " = 1\n",
    "literal parts with blanks": lambda: HEAD + " . ".join(["'a'"] * 9_000) + " = 1\n",
    "deep keys in an inline table": lambda: HEAD + f"x = {{ {dotted(20_000)} = 1 }}\n",
    "deep keys on many lines": lambda: many(dotted(16)[:-1] + "{n} = 1\n"),
    "deep keys below deep headers": lambda: many(f"[{dotted(16)[:-1]}{{n}}]\n{dotted(16)} = 1\n"),
    "deep keys behind a quote in a comment": lambda: HEAD + "# it's\n" + dotted(10_000) + " = 1\n",
    "deep keys behind a text of several lines": lambda: (
        HEAD + 'x = """\n\\""" # \\"""\n"""\n' + dotted(10_000) + " = 1"
    ),
    "deep keys behind an unclosed text": lambda: HEAD + "x = '''\n" + dotted(10_000) + " = 1",
    # Many of something.
    "too many tables": lambda: many("[t{n}]\n", signs=MIB),
    "too many keys": lambda: many("k{n}=1\n", signs=MIB),
    "tables": lambda: many("[t{n}]\n"),
    "nested tables": lambda: many("[a.b.c.d.e.f.g.h.t{n}]\n"),
    "arrays of tables": lambda: many("[[a]]\n"),
    "nested arrays of tables": lambda: many("[[a]]\n[[a.b]]\n[[a.b.c]]\n"),
    "keys": lambda: many("k{n}=1\n"),
    "keys of a table": lambda: many("k{n}=1\n", head=HEAD + "[tuning]\n"),
    "keys with escapes": lambda: many('"\\u0061{n}"=1\n', head=HEAD + "[tuning]\n"),
    "unknown tables near a known one": lambda: many("[accoun{n}]\n"),
    "wrong elements": lambda: rows("[node]\nroles", '"compte{n}"'),
    "the same element again and again": lambda: rows("[docker]\nusers", '"u"'),
    "different elements": lambda: rows("[docker]\nusers", '"u{n}"'),
    "empty lists of names": lambda: (
        HEAD + "[aliases]\nhosts = [" + many('{ip="10.0.0.{n}",names=[]},\n', head="", limit=MIB - 99) + "]\n"
    ),
    "hosts": lambda: HEAD + hosts(2000),
    "kernel parameters": lambda: many('"net.k{n}"="1"\n', head=HEAD + "[tuning.sysctl]\n"),
    "wrong kernel parameters": lambda: many('"net{n}"=nan\n', head=HEAD + "[tuning.sysctl]\n"),
    "services": lambda: many("s{n}={nofile=1024}\n", head=HEAD + "[tuning.services]\n"),
    "volumes": lambda: (
        HEAD + "[storage]\nvolumes=[" + many('{name="v{n}",type="local"},\n', head="", limit=MIB - 99) + "]"
    ),
    "ignored checks": lambda: many('c{n}="x"\n', head=HEAD + "[doctor.ignore]\n"),
    "reasons": lambda: many(f'c{{n}}="{"x" * 4000}\t"\n', head=HEAD + "[doctor.ignore]\n"),
    "blanks as reasons": lambda: many(f'c{{n}}="{" " * 4000}\t"\n', head=HEAD + "[doctor.ignore]\n"),
    "newlines": lambda: HEAD + "\n" * (MIB - 99),
    "carriage returns": lambda: HEAD + "\r\n" * (MIB // 2 - 99),
    "comments": lambda: many("#\n"),
    "rulers": lambda: many("# " + "=" * 70 + "\n"),
    "secret words": lambda: many("# pw pw pw pw pw pw pw pw pw pw pw pw\n", tail="x"),
    "secret words on a line": lambda: HEAD + "# " + "pw " * 20_000 + "\nx",
    "lines without a key": lambda: HEAD + "x = [\n" + many("1,\n", head="", limit=MIB // 2) + "?",
    "dots without a sign": lambda: HEAD + "x" + ".x" * 14 + "\n" + "a" * 60_000 + "\n",
    "half a key": lambda: HEAD + "-" * 65_000 + " 1\n",
    "comment signs": lambda: HEAD + "#" * 65_000 + "\n?",
    "a quoted key on a long line": lambda: HEAD + '"' + "a" * 65_000 + '" 1\n',
    # Problems on one line.
    "problems on one line": lambda: HEAD + "account={" + ",".join(f"k{n}=1" for n in range(7000)) + "}\n",
    "problems on one line of 1 MiB": lambda: HEAD + "account={" + ",".join(f"k{n}=1" for n in range(80_000)) + "}\n",
    "conflicts on one line": lambda: (
        HEAD + "[docker]\nusers=[" + ",".join(['"u"'] * 15_000) + "]\nregistry_mirrors=[" + '"u",' * 15_000 + "]\n"
    ),
    "secret problems on one line": lambda: (
        HEAD + "account={" + ",".join(f"password{n}=1" for n in range(4000)) + "}\n"
    ),
    # Depth.
    "brackets": lambda: HEAD + "x = " + "[" * 60_000,
    "brackets on lines": lambda: HEAD + "x = " + "[\n" * 50_000 + "]\n" * 50_000,
    "closed brackets": lambda: HEAD + "x = " + "[" * 400 + "]" * 400 + "\n",
    "brackets in a known key": lambda: HEAD + "[node]\nroles = " + "[" * 300 + "]" * 300 + "\n",
    "33 brackets": lambda: HEAD + "x = " + "[" * 33 + "]" * 33 + "\n",
    "inline tables": lambda: HEAD + "x = " + "{a=" * 9_000 + "1" + "}" * 9_000 + "\n",
    "inline tables in a known key": lambda: HEAD + "[tuning]\nsysctl = " + "{a=" * 300 + "1" + "}" * 300 + "\n",
    # Values.
    "a text of 1 MiB": lambda: HEAD + NODE + '[account]\nsudo="no"\nhome = """/' + "a" * (MIB - 200) + '"""\n',
    "a text of many lines": lambda: HEAD + '[account]\nhome = """/' + "a\\\n" * (MIB // 3 - 99) + '"""\n',
    "escapes": lambda: HEAD + 'x = """' + "\\u0041\\\n" * (MIB // 9) + '"""\n',
    "quotes in a text": lambda: HEAD + "x = '''" + "''\n" * (MIB // 3 - 99) + "'''\n",
    "backslashes": lambda: HEAD + 'x = """' + "\\\\\n" * (MIB // 3 - 99) + '"""\n',
    "backslashes on a line that is not closed": lambda: HEAD + "a" + ".a" * 15 + '\nx = "' + '\\"' * 32_000,
    "an unclosed text": lambda: HEAD + 'x = """' + "\n" * (MIB - 99),
    "a decimal number": lambda: HEAD + "x = " + "9" * 60_000 + "\n",
    "a hexadecimal version": lambda: "version = 0x" + "f" * 60_000 + "\n",
    "a hexadecimal uid": lambda: HEAD + "[account]\nuid = 0x" + "f" * 60_000 + "\n",
    "hexadecimal numbers": lambda: (
        HEAD + "x = [" + many("0x" + "f" * 60_000 + ",\n", head="", limit=MIB - 99) + "]\n"
    ),
    "a binary number of 300 bits": lambda: HEAD + "[tuning.sysctl]\n'net.x' = 0b" + "1" * 300 + "\n",
    "a long float": lambda: HEAD + "[account]\nuid = 1." + "0" * 60_000 + "e9\n",
    "not a number": lambda: "version = nan\n[account]\nuid = inf\n",
    "odd dates": lambda: "version = 0000-01-01\n[account]\nuid = 9999-12-31T23:59:60Z\n",
    "a date as version": lambda: "version = 9999-12-31T23:59:59.999999999+23:59\n[account]\nuid = 00:00:00\n",
    "a surrogate": lambda: HEAD + '[account]\nusername = "\\ud800"\n',
    "a key of 60 kB": lambda: HEAD + "[account]\n" + "k" * 60_000 + " = 1\n",
    "a table of 60 kB": lambda: HEAD + f"[{'k' * 60_000}]\n",
    "keys of 60 kB": lambda: many('"' + "a\\n" * 20_000 + '{n}" = 1\n', head=HEAD + "[account]\n"),
    "a pattern for paths": lambda: HEAD + '[python]\nbase_dir = "' + "/.." * 20_000 + '/\t"\n',
    "ssh keys": lambda: (
        HEAD
        + "[account]\nsudo='no'\nauthorized_keys=["
        + many(f'"{"ssh-ed25519 " + "A" * 44 + " "}{{n}}{"ssh-ed25519 AAAA " * 400}\t",\n', head="", limit=MIB - 99)
        + "]\n"
    ),
    "mount options": lambda: (
        HEAD
        + "[storage]\nvolumes=[\n"
        + many(
            '{name="v{n}",type="nfs",source="s:/e",options="' + ",".join(f"o{k}" for k in range(800)) + '"},\n',
            head="",
            limit=MIB - 99,
        )
        + "]\n"
    ),
    "sources of Lustre": lambda: (
        HEAD
        + "[storage]\nvolumes=[\n"
        + many('{name="v{n}",type="lustre",source="' + "a," * 2000 + '"},\n', head="", limit=MIB - 99)
        + "]\n"
    ),
    "sources of Ceph": lambda: (
        HEAD
        + "[storage]\nvolumes=[\n"
        + many('{name="v{n}",type="cephfs",source="a@' + "." * 4000 + '"},\n', head="", limit=MIB - 99)
        + "]\n"
    ),
    "images": lambda: (
        HEAD + "[images]\npull=[\n" + many('"' + "a-_." * 1000 + '{n}",\n', head="", limit=MIB - 99) + "]\n"
    ),
    "networks": lambda: HEAD + '[docker]\naddress_pools=[{base="10.0.0.0/' + "9" * 60_000 + '",size=24}]\n',
    # Overrides.
    "overrides": lambda: many('[[override]]\nhosts=["h{n}"]\n'),
    "2000 overrides over large tables": lambda: (
        HEAD + hosts(2000) + "".join(f'[[override]]\nhosts=["h{n}"]\naliases.own_name="move"\n' for n in range(2000))
    ),
    "2000 overrides for this host": lambda: many('[[override]]\nhosts=["*"]\n[override.node]\n', limit=60_000),
    "50 overrides for this host": lambda: (
        HEAD
        + hosts(1900)
        + "".join('[[override]]\nhosts=["*"]\n[override.aliases]\nown_name="move"\n' for n in range(50))
    ),
    "patterns": lambda: HEAD + "[[override]]\nhosts=[" + many('"*{n}",\n', head="", limit=MIB - 99) + "]\n",
    "2000 patterns": lambda: (
        HEAD + "[[override]]\nhosts=[" + ",".join(f'"*a*b*c?[a-z]{n}"' for n in range(2000)) + "]"
    ),
    "a pattern of 60 kB": lambda: HEAD + "[[override]]\nhosts=[" + '"' + "*a" * 30_000 + '"]\n',
    "a pattern of stars": lambda: HEAD + '[[override]]\nhosts=["' + "*a" * 120 + '"]\n',
    "a pattern with an open class": lambda: (
        HEAD + '[[override]]\nhosts=["[z-a]", "[!", "[]", "[[:alpha:]]", "[^a]"]\n'
    ),
    "hosts of an override": lambda: (
        HEAD + "[[override]]\nhosts=[" + many('"h{n}",\n', head="", limit=MIB // 2) + "]\nnode.bad=1\n"
    ),
    "wrong overrides": lambda: many('[[override]]\nhosts=["h{n}"]\n[override.nod]\nrole=1\n', limit=90_000),
    # Bytes.
    "nothing": lambda: b"",
    "zeros": lambda: b"\0" * MIB,
    "a byte order mark": lambda: b"\xef\xbb\xbfversion = 1\n",
    "UTF-16": lambda: "version = 1\n".encode("utf-16"),
    "bytes that are not UTF-8": lambda: b"version = 1 # \xff\n" * 1000,
    "a surrogate in UTF-8": lambda: b"version = 1 # \xed\xa0\x80\n",
    "control characters": lambda: b"version = 1\n\x1b]52;c;\x07[account]\n",
    "line separators": lambda: "version = 1\n# \u2028\u2029\x85\n[account]\nuid\u2028= 1\n",
    "a lone carriage return": lambda: b"version = 1\r[account]\ruid = 1\r",
    "larger than 1 MiB": lambda: "#" * 60 + "\n" + "# x\n" * MIB,
}
