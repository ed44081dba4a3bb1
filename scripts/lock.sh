#!/bin/sh
# Refreshes requirements/*.txt: the newest versions that pyproject.toml allows, for every platform and
# every Python from 3.11 on, with hashes, naming no index.
set -eu
cd "$(dirname "$0")/.."

compile() {
    lock=$1
    shift
    echo "requirements/$lock.txt" >&2
    .venv/bin/python -m uv pip compile --quiet --universal --upgrade --python-version 3.11 \
        --generate-hashes --no-emit-index-url --no-header "$@" \
        --output-file "requirements/$lock.txt" pyproject.toml requirements/build.in >/dev/null
    { echo "# Made by \`make lock\` from pyproject.toml; do not edit."; cat "requirements/$lock.txt"; } >"requirements/$lock.tmp"
    mv "requirements/$lock.tmp" "requirements/$lock.txt"
}

compile runtime --extra server
# Tests must run what users run: the runtime versions bind the development environment.
compile dev --extra server --extra dev --constraint requirements/runtime.txt
