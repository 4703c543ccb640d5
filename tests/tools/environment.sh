# Sourced by ./run and ./test: creates the virtual environment once and sets $python to its interpreter.
# Requires $checkout (absolute) and $group (a dependency group of pyproject.toml to install as well: "" or "dev").
# Prints nothing on success; exits with 3 on failure.

venv=${BAI_WIZARD_VENV:-$checkout/.venv}
python=$venv/bin/python
stamp=$venv/bai-wizard.stamp

# Names, versions and hashes of everything that is installed; see tests/tools/pin_requirements.py.
requirements=$checkout/requirements${group:+-$group}.txt
# Words of the stamp: hash of what describes the environment, the checkout, what is installed ("run" or "dev").
wanted=$(cat "$checkout/pyproject.toml" "$checkout/requirements.txt" "$checkout/requirements-dev.txt" | sha256sum)
wanted="${wanted%% *} $checkout"

environment_is_ready() {
    [ -x "$python" ] && [ -r "$stamp" ] || return 1
    IFS= read -r found <"$stamp" || return 1
    [ "$found" = "$wanted dev" ] || { [ -z "$group" ] && [ "$found" = "$wanted run" ]; }
}

refuse() {
    printf 'bai-wizard: %s\n' "$1" >&2
    exit 3
}

find_python() {
    for base in "${BAI_WIZARD_PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    done
    refuse 'needs Python 3.11 or newer. Try: sudo apt-get install python3'
}

# Run a command silently; show its output only if it fails.
quietly() {
    output=$("$@" 2>&1) && return
    printf '%s\n' "$output" >&2
    return 1
}

# Install with a command of pip or uv. They run programs that they unpack, which a hardened /tmp (noexec) forbids:
# unpack them in the environment, where programs must be able to run anyway.
install_by() {
    mkdir -p "$venv/tmp" && quietly env TMPDIR="$venv/tmp" "$@"
    set -- $?
    rm -rf "$venv/tmp"
    return "$1"
}

# Install pip from the wheel of a distribution package (python3-pip-whl).
pip_from_wheel() {
    for wheel in /usr/share/python-wheels/pip-*.whl; do
        [ -f "$wheel" ] && install_by env PYTHONPATH="$wheel" "$python" -m pip install --quiet pip && return
    done
    return 1
}

# Install exactly the pinned requirements, then the checkout, with a command of pip or uv. The build backend is one of
# the requirements; it finds its program by PATH.
install_checkout() {
    install_by "$@" --require-hashes --requirement "$requirements" &&
        install_by env PATH="$venv/bin:$PATH" "$@" --no-deps --no-build-isolation --editable "$checkout"
}

# uv does not read pip's settings: a mirror, or a directory for installing offline.
pip_has_settings() {
    [ -n "${PIP_INDEX_URL:-}${PIP_FIND_LINKS:-}${PIP_NO_INDEX:-}${PIP_CONFIG_FILE:-}" ] || [ -e /etc/pip.conf ] ||
        [ -e "${XDG_CONFIG_HOME:-${HOME:-}/.config}/pip/pip.conf" ] || [ -e "${HOME:-}/.pip/pip.conf" ]
}

# Try every known way to install, also into an environment without pip (Ubuntu's Python has no ensurepip).
install_environment() {
    if "$python" -m pip --version >/dev/null 2>&1 && { pip_has_settings || ! command -v uv >/dev/null 2>&1; }; then
        install_with_pip
    elif command -v uv >/dev/null 2>&1; then
        install_checkout uv pip install --quiet --compile-bytecode --python "$python"
    elif "$base" -m pip --version >/dev/null 2>&1; then
        install_checkout "$base" -m pip --python "$python" install --quiet
    elif pip_from_wheel; then
        install_with_pip
    else
        refuse 'this Python cannot create a virtual environment. Try: sudo apt-get install python3-venv'
    fi
}

install_with_pip() {
    install_checkout "$python" -m pip install --quiet --disable-pip-version-check
}

# Check the code that pip is about to run as root; ./test does not check it.
refuse_foreign_code() {
    [ -z "$group" ] && [ "$(id -u)" = 0 ] || return 0
    "$base" -I -c '
import sys
sys.path.append(sys.argv[1])
from bai_wizard.own_code import foreign_code_of_root
refusal = foreign_code_of_root(*sys.argv[2:])
sys.exit("bai-wizard: " + refusal if refusal else None)
' "$checkout" "$checkout/pyproject.toml" "$requirements" "$checkout/README.md" "$checkout/LICENSE" || exit 3
}

make_environment() {
    find_python
    refuse_foreign_code
    [ -t 2 ] && printf 'bai-wizard: first start, preparing %s ...\n' "$venv" >&2
    rm -f "$stamp"
    {
        "$python" -m pip --version >/dev/null 2>&1 || "$base" -m venv --clear "$venv" >/dev/null 2>&1 ||
            quietly "$base" -m venv --clear --without-pip "$venv"
    } && install_environment || refuse "the environment $venv could not be created; see the messages above"
    "$python" -m compileall -q "$checkout/bai_wizard" >&2 || refuse 'the package does not compile'
    if [ -n "$group" ]; then echo "$wanted dev"; else echo "$wanted run"; fi >"$stamp"
}

# If two first starts run at once, the second waits for the first (if flock of util-linux is installed). The lock is on
# the checkout.
prepare_environment() {
    exec 9<"$checkout"
    command -v flock >/dev/null 2>&1 && flock 9
    environment_is_ready || make_environment
    exec 9<&-
}

environment_is_ready || prepare_environment
