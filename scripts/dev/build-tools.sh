#!/bin/sh
# Makes sure that what compiling the extension needs is there: a Rust toolchain, a C compiler (for zstd) and
# the Cap'n Proto compiler (the runtime_tracing crate generates code with it).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)

if ! command -v cargo >/dev/null 2>&1 && [ ! -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$here/../../Cargo.toml")
    printf 'cargo is missing: install a Rust toolchain, %s or newer (https://rustup.rs), then try again.\n' \
        "$wanted" >&2
    exit 1
fi
if ! command -v cc >/dev/null 2>&1; then
    if [ "$(uname -s)" = Darwin ]; then
        printf 'A C compiler is missing. Run this, then try again:\n    xcode-select --install\n' >&2
        exit 1
    fi
    "$here/system-package.sh" 'a C compiler (cc)' \
        'apt:gcc libc6-dev' 'dnf:gcc glibc-devel' 'apk:gcc musl-dev' pacman:gcc 'zypper:gcc glibc-devel'
fi
if ! command -v capnp >/dev/null 2>&1; then
    "$here/system-package.sh" "capnp (the Cap'n Proto compiler)" \
        apt:capnproto dnf:capnproto apk:capnproto pacman:capnproto zypper:capnproto brew:capnp
fi

for tool in cc capnp; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        printf '%s was installed but is not on PATH: put it there, then try again.\n' "$tool" >&2
        exit 1
    fi
done
