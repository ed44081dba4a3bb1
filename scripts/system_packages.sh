#!/bin/sh
# What tests/system needs of the system: haproxy, from the distribution's packages.
#
# It never fails a run: what could not be installed is skipped by the tests that need it, which say so;
# with CI=true they fail instead.
set -u
packages="haproxy"
log=$(mktemp) || exit 0
trap 'rm -f "$log"' EXIT

say() { echo "test-system: $*" >&2; }

# Debian keeps haproxy in a folder that only root's PATH names.
present() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

missing=""
for package in $packages; do
    present "$package" || missing="$missing $package"
done
missing=${missing# }
[ -n "$missing" ] || exit 0

skipped="tests of $missing are skipped"
if ! present apt-get; then
    say "$missing is not installed and there is no apt-get: $skipped"
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif present sudo && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    say "$missing is not installed and this is neither root nor allowed to be: $skipped"
    exit 0
fi

# -k: a package manager that waits for another one's lock does not heed the first signal.
# What apt starts is not asked anything, and no service is left running behind the tests.
apt() {
    timeout -k 5 "$1" $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -qq -o DPkg::Lock::Timeout=20 -o Acquire::Retries=1 "$2" ${3:+--no-install-recommends -y} ${3:-} \
        >>"$log" 2>&1 </dev/null
}

# Lists first only if they turn out to be needed: on most machines they are there.
if apt 60 install "$missing" || { apt 30 update && apt 60 install "$missing"; }; then
    say "installed $missing"
else
    why=$(tail -n 1 "$log" | cut -c 1-200)
    say "$missing could not be installed (${why:-too slow}): $skipped"
fi
exit 0
