# Sourced by the other scripts: finds Python 3.11 or newer and keeps .venv up to date. Not run by itself.

cd "$(dirname "$0")/.." || exit 1
ROOT=$(pwd)
VENV="$ROOT/.venv"

find_python() {
    for name in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "Python 3.11 or newer is needed and was not found; install it, or name it: PYTHON=/path/to/python3 $0" >&2
    return 1
}

# Debian keeps what venv needs in a package of its own.
need_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing $package"
        apt-get update -qq && apt-get install -y -qq "$package" >/dev/null && return
    fi
    echo "Python's venv module is not complete; install it: apt-get install $package" >&2
    return 1
}

# say WORDS: one line of progress, with the seconds since the script began.
BEGAN=$(date +%s)
say() {
    printf '[%3d s] %s\n' $(($(date +%s) - BEGAN)) "$*"
}

# Quiet where nobody looks on, else with uv's own progress.
quietly() {
    [ -t 2 ] || printf '%s' -q
}

# install ARGUMENTS: what pip installs with these arguments, by uv, which takes a tenth of the time. Where there is no uv for
# the system, or it does not reach the index that pip is configured for, by pip.
install() {
    uv=$(command -v uv || echo "$VENV/bin/uv")
    [ -x "$uv" ] || "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "uv>=0.8" 2>/dev/null || true
    # shellcheck disable=SC2046 # one word or none
    if [ -x "$uv" ] && "$uv" pip install $(quietly) --python "$VENV/bin/python" "$@"; then
        return 0
    fi
    echo "once more, with pip" >&2
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check "$@"
}

# stamp EXTRAS: what .venv is made of; another one makes it anew.
stamp() {
    echo "$1 $("$python" -c 'import sys; print(sys.version)') $(cksum <pyproject.toml)"
}

# make_venv EXTRAS [lowest]: .venv with the project installed; again only when pyproject.toml or the Python has changed.
# With "lowest" the project's own dependencies are the oldest that pyproject.toml allows, and the tools of the tests new.
make_venv() {
    python=$(find_python) || return 1
    need_venv "$python" || return 1
    wanted=$(stamp "$1")
    stamp="$VENV/.installed$1"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return 0
    fi
    # After an upgrade of the system's Python the old .venv still starts, but has no packages.
    "$VENV/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        say "making $(basename "$VENV"), once, with $("$python" --version)"
        "$python" -m venv --clear "$VENV" || return 1
    }
    say "installing the program and its packages into $(basename "$VENV"), once"
    set -- "$@" ""
    if [ "$2" = lowest ]; then
        "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "uv>=0.8" || return 1
        "$VENV/bin/uv" pip compile -q --resolution lowest-direct --python "$VENV/bin/python" --extra codings \
            pyproject.toml -o "$VENV/lowest.txt" || return 1
    else
        : >"$VENV/lowest.txt"
    fi
    install -c "$VENV/lowest.txt" -e ".$1" || return 1
    echo "$wanted" >"$stamp"
}
