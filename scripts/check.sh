#!/bin/sh
# Everything that `make check` demands. All of it runs; one failure fails the whole.
set -u
cd "$(dirname "$0")/.."
failed=""

run() {
    heading=$1
    shift
    printf '== %s\n' "$heading"
    .venv/bin/python "$@" || failed="$failed $heading;"
}

run "format" -m ruff format --check --quiet .
run "lint" -m ruff check --quiet --output-format concise .
run "types" -m mypy
run "types of scripts" -m mypy scripts
run "types of the fuzzer" -m mypy fuzz
run "import contracts" -c 'from importlinter.cli import lint_imports_command; lint_imports_command(["--no-logo"])'
run "README and docs/cli.md in step with the code" scripts/check_readme.py

if [ -n "$failed" ]; then
    printf 'check failed:%s\n' "$failed" >&2
    exit 1
fi
echo "check passed"
