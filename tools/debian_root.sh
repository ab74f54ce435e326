#!/usr/bin/env bash
# Runs a command on this project in a Debian root: for Pythons that this machine does not have.
# Makes the root with debootstrap if it is not there. Needs the rights of root; what it mounts is
# gone when it ends.
#     tools/debian_root.sh FOLDER COMMAND …
set -euo pipefail
root=$(realpath -m "${1:?the folder of the root, outside of the repository}")
shift
suite=forky
packages=python3-venv,python3-dev,gcc,g++,make,ca-certificates # pocketsphinx is compiled

if [ ! -e "$root/.made" ]; then
    scripts=/usr/share/debootstrap/scripts
    [ -e "$scripts/$suite" ] && script=$scripts/$suite || script=$scripts/sid # as forky's will be
    # The empty argument stands for debootstrap's own mirror.
    debootstrap --variant=minbase --include="$packages" "$suite" "$root" "" "$script"
    touch "$root/.made"
fi
mkdir -p "$root/src"
touch "$root/etc/resolv.conf"
exec unshare --mount --pid --fork --kill-child bash -euc '
    root=$1; shift
    mount --bind . "$root/src"
    mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
    mount --bind /etc/ssl/certs "$root/etc/ssl/certs"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    exec chroot "$root" env --chdir=/src "$@"' _ "$root" "$@"
