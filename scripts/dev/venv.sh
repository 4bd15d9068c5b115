#!/bin/sh
# Makes .venv-X.Y: a private virtual environment with the pinned developer tools.
#
#   venv.sh VERSION PYTHON              makes it if it is missing or stale
#   venv.sh --is-ready VERSION PYTHON   only tells, by its exit status
#
# A stamp inside the environment names the interpreter, the place of the repository and the requirements it
# was made from; any other combination makes it anew.
set -eu

only_tell=
if [ "$1" = --is-ready ]; then
    only_tell=1
    shift
fi
version=$1
python=$2
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd -P)
requirements=$root/scripts/requirements-dev.txt
venv=$root/.venv-$version
key="$python|$root|$(cksum <"$requirements")"

if [ "$(cat "$venv/.ready" 2>/dev/null)" = "$key" ] && [ -x "$venv/bin/python" ] && [ -x "$venv/bin/just" ]; then
    exit 0
fi
[ -z "$only_tell" ] || exit 1

# Settings that are meant for the user's own Python and would send ours astray.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_USER __PYVENV_LAUNCHER__

printf 'Preparing .venv-%s with %s (once)\n' "$version" "$python" >&2
log=$root/.dev/venv-$version.log
mkdir -p "$root/.dev"

make_venv() {
    "$python" -m venv --clear "$venv" >"$log" 2>&1
}
if ! make_venv; then
    # Debian and its kin ship the venv module apart from the interpreter.
    "$root/scripts/dev/system-package.sh" "python$version-venv" apt:"python$version-venv" >&2 || :
    if ! make_venv; then
        cat "$log" >&2
        printf 'scripts/just: %s -m venv failed (above). On Debian or Ubuntu: apt-get install python%s-venv\n' \
            "$python" "$version" >&2
        exit 1
    fi
fi
if ! "$venv/bin/python" -m pip install --disable-pip-version-check --quiet \
    --requirement "$requirements" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    printf 'scripts/just: the tools of scripts/requirements-dev.txt could not be installed (above).\n' >&2
    printf 'They come from the Python package index: is the network, or PIP_INDEX_URL, as it should be?\n' >&2
    exit 1
fi
printf '%s' "$key" >"$venv/.ready"
