#!/bin/sh
# Installs one system package where that needs no password.
#
#   system-package.sh WHAT MANAGER:PACKAGE…      e.g. capnp apt:capnproto brew:capnp
#
# Exit status 1, after saying what to install by hand, when it cannot be done.
set -eu

what=$1
shift

manager=
for candidate in apt-get:apt dnf:dnf apk:apk pacman:pacman zypper:zypper brew:brew; do
    if command -v "${candidate%%:*}" >/dev/null 2>&1; then
        manager=${candidate##*:}
        break
    fi
done
package=
for offer; do
    [ "${offer%%:*}" != "$manager" ] || package=${offer#*:}
done

case $manager in
    apt) command="apt-get install -y --no-install-recommends $package" ;;
    dnf) command="dnf install -y $package" ;;
    apk) command="apk add $package" ;;
    pacman) command="pacman -S --noconfirm --needed $package" ;;
    zypper) command="zypper --non-interactive install $package" ;;
    brew) command="brew install $package" ;;
esac
if [ -z "$package" ]; then
    printf '%s is missing, and no package manager that has it was found. Install it by hand, then try again:\n' "$what" >&2
    for offer; do printf '    %-7s %s\n' "${offer%%:*}" "${offer#*:}" >&2; done
    exit 1
fi

prefix=
if [ "$manager" != brew ] && [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        prefix='sudo -n'
    else
        printf '%s is missing and installing it needs a password. Run this, then try again:\n    sudo %s\n' \
            "$what" "$command" >&2
        exit 1
    fi
fi

printf '%s is missing, installing it: %s\n' "$what" "$command" >&2
export DEBIAN_FRONTEND=noninteractive
run() {
    # shellcheck disable=SC2086 # words, on purpose
    $prefix $command </dev/null >&2
}
if [ "$manager" = apt ]; then
    # A fresh machine has no package lists, and old lists name files that are gone.
    $prefix apt-get update -q </dev/null >&2 || :
fi
if ! run; then
    printf '%s could not be installed. Install it by hand, then try again:\n    %s\n' "$what" "$command" >&2
    exit 1
fi
