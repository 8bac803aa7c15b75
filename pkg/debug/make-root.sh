#!/bin/busybox ash
# shellcheck shell=dash
#
# Adds to /out a link for each of busybox's applets where no program of another package is, and root's home.
set -eu
# docker sets it only for a Dockerfile with an ARG of this name; then the files are of 1970.
: "${SOURCE_DATE_EPOCH:=0}"
export LC_ALL=C

cd /out
/bin/busybox mkdir -p bin sbin usr/bin usr/sbin root/.ssh tmp
/bin/busybox --list-full | /bin/busybox sort | while read -r applet; do
    case $applet in
        bin/busybox | linuxrc | */dpkg | */dpkg-deb | */rpm | */rpm2cpio) continue ;;
    esac
    [ -e "$applet" ] || [ -L "$applet" ] || /bin/busybox ln -s /bin/busybox "$applet"
done
# Where the image has Xen, the root file system has xl.
/bin/busybox ln -s /hostfs/usr/sbin/xl usr/sbin/xl
/bin/busybox chmod 0700 root root/.ssh
/bin/busybox find . -exec /bin/busybox touch -h -d "@$SOURCE_DATE_EPOCH" {} +
