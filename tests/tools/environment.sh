# Sourced by ./run and ./test: makes the virtual environment once and leaves its interpreter in $python.
# Wants $checkout (absolute) and $extra ("" or "[dev]"). Quiet when all is well; ends the shell with 3 when it cannot.

venv=${BAI_WIZARD_VENV:-$checkout/.venv}
python=$venv/bin/python
stamp=$venv/bai-wizard.stamp

# Words of the stamp: hash of pyproject.toml, the checkout, what is installed ("run" or "dev").
wanted=$(sha256sum <"$checkout/pyproject.toml")
wanted="${wanted%% *} $checkout"

environment_is_ready() {
    [ -x "$python" ] && [ -r "$stamp" ] || return 1
    IFS= read -r found <"$stamp" || return 1
    [ "$found" = "$wanted dev" ] || { [ -z "$extra" ] && [ "$found" = "$wanted run" ]; }
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

# Runs a command silently; shows what it said only if it fails.
quietly() {
    said=$("$@" 2>&1) && return
    printf '%s\n' "$said" >&2
    return 1
}

# Installs by a command of pip's or uv's. They run programs that they unpack, which a hardened /tmp (noexec) forbids:
# so they unpack where the environment's own programs have to run anyway.
install_by() {
    mkdir -p "$venv/tmp" && quietly env TMPDIR="$venv/tmp" "$@"
    set -- $?
    rm -rf "$venv/tmp"
    return "$1"
}

# The pip inside a wheel that a distribution's package left behind (python3-pip-whl).
pip_from_wheel() {
    for wheel in /usr/share/python-wheels/pip-*.whl; do
        [ -f "$wheel" ] && install_by env PYTHONPATH="$wheel" "$python" -m pip install --quiet pip && return
    done
    return 1
}

# Every known way to install into an environment that has no pip of its own (Ubuntu's Python has no ensurepip).
install_without_pip() {
    if command -v uv >/dev/null 2>&1; then
        install_by uv pip install --quiet --compile-bytecode --python "$python" --editable "$checkout$extra"
    elif "$base" -m pip --version >/dev/null 2>&1; then
        install_by "$base" -m pip --python "$python" install --quiet --editable "$checkout$extra"
    elif pip_from_wheel; then
        install_with_pip
    else
        refuse 'this Python cannot make an environment. Try: sudo apt-get install python3-venv'
    fi
}

install_with_pip() {
    install_by "$python" -m pip install --quiet --disable-pip-version-check --editable "$checkout$extra"
}

make_environment() {
    find_python
    [ -t 2 ] && printf 'bai-wizard: first start, preparing %s ...\n' "$venv" >&2
    rm -f "$stamp"
    if "$python" -m pip --version >/dev/null 2>&1 || "$base" -m venv --clear "$venv" >/dev/null 2>&1; then
        install_with_pip
    else
        quietly "$base" -m venv --clear --without-pip "$venv" && install_without_pip
    fi || refuse "the environment $venv could not be made; the reason stands above"
    "$python" -m compileall -q "$checkout/bai_wizard" >&2 || refuse 'the package does not compile'
    if [ -n "$extra" ]; then echo "$wanted dev"; else echo "$wanted run"; fi >"$stamp"
}

# Two first starts at once: the second waits for the first (where util-linux has flock). The lock is on the checkout.
prepare_environment() {
    exec 9<"$checkout"
    command -v flock >/dev/null 2>&1 && flock 9
    environment_is_ready || make_environment
    exec 9<&-
}

environment_is_ready || prepare_environment
