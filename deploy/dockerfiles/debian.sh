#!/bin/sh
# Builds debian:trixie-slim where no registry can be reached: debian.sh SUITE [MIRROR] > image.tar (as root)
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
suite=$1
shift
debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$@" >&2
cp "$(dirname "$0")/dpkg-excludes" "$root/etc/dpkg/dpkg.cfg.d/docker"
cd "$root"
rm -rf var/lib/apt/lists/* var/cache/apt/* var/cache/debconf/*-old var/lib/dpkg/*-old var/log/* debootstrap \
    usr/share/man/* usr/share/info/* usr/share/locale/* usr/share/lintian/* dev/* run/* tmp/*
find usr/share/doc -type f ! -name copyright -delete
find usr/share/doc -depth -type d -empty -delete
tar --numeric-owner --one-file-system -c .
