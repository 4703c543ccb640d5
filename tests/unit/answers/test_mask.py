"""No problem quotes a secret, wherever in the file it was written."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bai_wizard.answers.load import loads
from bai_wizard.answers.source import _value_of_secret
from bai_wizard.core.errors import AnswersError

SECRET = "k0rrektes-Pferd"
KEYS = [
    "password",
    "Password",
    "pasword",
    "passwd",
    "pwd",
    "password_hash",
    "secret",
    "api_token",
    "credentials",
    "env",
    '"pass word"',
]
WAYS = [
    '{key} = "{secret}"',
    "{key} = '{secret}'",
    '{key} = """{secret}"""',
    '{key} = """\n{secret}"""',
    '{key} = """\nx = 1\n{secret}\n"""',
    '{key} = ["{secret}"]',
    '{key} = [\n  "{secret}",\n]',
    '{key} = {{ env = "{secret}" }}',
    '{key} = {{ value = "{secret}" }}',
    '{key} = {{ file = "{secret}" }}',
    '{key}.env = "{secret}"',
    '{key} = "{secret}" # {secret} is the password',
    'uid = "x" # the password is {secret}',
    # Not valid TOML.
    "{key} = {secret}",
    '{key} = "{secret}',
    '{key} "{secret}"',
    "{key}: {secret}",
    '{key} = """{secret}',
    '{key} = """\n{secret}\nuid = 3\n',
    '{key} = """\nuid = 3 {secret}\n',
    "{key} = [\n  {secret}\n]",
    '{key} = [\n  "{secret}\n]',
    '{key} = {{ env = "{secret}", }} }}',
    "{key} = '''\nx = {secret}\n''' '''",
]
PLACES = [
    "version = 1\n[account]\n{line}\nuid = 5\n",
    "version = 1\n[account]\nuid = 5\n{line}\n",
    "version = 1\n[account.password]\n{line}\n",
    "{line}\n",
    "version = 1\n[images]\nregistries = [ {{ host = 'http://', {inline} }} ]\nparallel = 0\n",
    "version = 1\n[[images.registries]]\n{line}\nhost = 7\n",
    "version = 1\n[[override]]\nhosts = ['x']\n[override.account]\n{line}\n",
    "version = 1\n[[override]]\nhosts = 'x'\naccount.uid = 3\n{line}\n",
]


@pytest.mark.parametrize("way", WAYS)
@given(location=st.sampled_from(PLACES), key=st.sampled_from(KEYS))
@settings(max_examples=60, deadline=None)
def test_a_secret_is_never_quoted(way: str, location: str, key: str) -> None:
    line = way.format(key=key, secret=SECRET)
    with pytest.raises(AnswersError) as caught:
        loads(location.format(line=line, inline=line), "a.toml", "h")
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown


def test_other_values_are_quoted_because_people_look_for_them() -> None:
    with pytest.raises(AnswersError) as caught:
        loads('version = 1\n[account]\nsudo = "no"\nhome = "bai" # relative\n', "a.toml", "h")
    assert str(caught.value).endswith('    home = "bai" # relative')


def test_addresses_are_quoted_without_their_password() -> None:
    with pytest.raises(AnswersError) as caught:
        loads(f'version = 1\n[python]\nextra_index_urls = ["ftp://me:{SECRET}@pypi.corp"]\n', "a.toml", "h")
    assert str(caught.value).endswith('    extra_index_urls = ["ftp://***@pypi.corp"]')


def test_terminals_are_not_written_to_by_the_file() -> None:
    with pytest.raises(AnswersError) as caught:
        loads('version = 1\n[account]\nsudo = "no"\nhome = "\\u001b[2J\u202e"\n', "a.toml", "h")
    assert "\u202e" not in str(caught.value)


@pytest.mark.parametrize("text", ["password=abc", "token = abc", "x = 1, secret=abc"])
def test_the_value_of_a_secret_begins_right_after_its_sign(text: str) -> None:
    """One character later, a line without blanks would show the first one of the secret."""
    assert text[: _value_of_secret(text)] == text[: text.rindex("=") + 1]
