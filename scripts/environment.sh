#!/bin/sh
# Makes .venv hold what a lock file says: scripts/environment.sh runtime|dev
#
# Only wheels with a locked hash are installed: building a source distribution would run code, and fetch
# build tools, that no lock names. `dev` holds all of `runtime`, so both live in one .venv.
# A stamp remembers what was installed, so that the next call is instant.
set -eu
cd "$(dirname "$0")/.."
lock=$1
python=${PYTHON:-python3}

identity() { "$1" -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null; }

require_python() {
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        found=$("$python" --version 2>&1) || found="not there, or does not run"
        echo "BlindAI needs Python 3.11 or newer; $python is $found." >&2
        echo "hint: name another one, as in: make demo PYTHON=python3.13" >&2
        exit 1
    fi
}

# The stamp only saves work, it protects nothing: a checksum is enough.
stamp_of() {
    pwd
    cat "requirements/$1.txt" pyproject.toml scripts/environment.sh | cksum
}

# Another Python asked for by name wants another .venv; without a name, the one that is there will do.
if [ -n "${PYTHON:-}" ] && [ -d .venv ] && [ "$(identity "$python")" != "$(identity .venv/bin/python)" ]; then
    require_python
    rm -f .venv/.installed-*
fi
if [ -x .venv/bin/python ] && [ "$(cat ".venv/.installed-$lock" 2>/dev/null)" = "$(stamp_of "$lock")" ]; then
    exit 0
fi

if ! ls .venv/.installed-* >/dev/null 2>&1 || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    require_python
    echo "Making .venv with $("$python" --version)" >&2
    if ! "$python" -m venv --clear .venv; then
        echo "hint: on Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    fi
fi

echo "Installing requirements/$lock.txt into .venv" >&2
pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
pip install --require-hashes --only-binary :all: --requirement "requirements/$lock.txt"
pip install --no-deps --no-index --no-build-isolation --editable .
if [ "$lock" = dev ]; then
    stamp_of runtime >.venv/.installed-runtime
fi
stamp_of "$lock" >".venv/.installed-$lock"
