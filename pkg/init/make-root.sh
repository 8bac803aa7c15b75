#!/bin/busybox ash
# shellcheck shell=dash
#
# Adds to /out what files cannot say: a link for each of busybox's applets, and folders that are empty until something
# is mounted on them. The applets are the same on every architecture, so the build machine's busybox is asked.
set -eu
# docker sets it only for a Dockerfile with an ARG of this name; then the files are of 1970.
: "${SOURCE_DATE_EPOCH:=0}"
export LC_ALL=C

cd /out
/bin/busybox mkdir -p bin sbin usr/bin usr/sbin dev proc sys run tmp var root mnt opt
/bin/busybox --list-full | /bin/busybox sort | while read -r applet; do
    case $applet in
        bin/busybox | linuxrc) continue ;;
        # No packages are installed at run time, and half a dpkg is worse than none.
        */dpkg | */dpkg-deb | */rpm | */rpm2cpio) continue ;;
    esac
    # A script of ours goes first.
    [ -e "$applet" ] || /bin/busybox ln -s /bin/busybox "$applet"
done
# Where the kernel looks when it is given no initrd of ours.
/bin/busybox ln -s sbin/init init
/bin/busybox chmod 1777 tmp
/bin/busybox chmod 0700 root
/bin/busybox find . -exec /bin/busybox touch -h -d "@$SOURCE_DATE_EPOCH" {} +
