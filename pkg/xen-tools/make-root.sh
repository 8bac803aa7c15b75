#!/bin/busybox ash
# shellcheck shell=dash
#
# Takes out of /out what nothing here can run (Python's, QEMU's, and the tests of Xen's own developers), and adds busybox's
# applets where no program of a package is, and the folders that Xen's programs expect.
set -eu
# docker sets it only for a Dockerfile with an ARG of this name; then the files are of 1970.
: "${SOURCE_DATE_EPOCH:=0}"
export LC_ALL=C

cd /out
xen=usr/lib/xen-4.17
/bin/busybox rm -rf "$xen/lib" "$xen/boot" "$xen/bin/oxenstored" "$xen"/bin/*pygrub* "$xen"/bin/*legacy* "$xen"/bin/verify-* "$xen"/bin/test-* \
    "$xen/bin/xenpvnetboot" "$xen/bin/xen-kdd" "$xen/bin/xendomains" etc/init.d etc/default etc/xen/oxenstored.conf etc/xen/xlexample.* \
    usr/share/python3 usr/share/pixmaps usr/bin/pygrub usr/bin/xenalyze usr/bin/xencons usr/bin/xencov_split usr/bin/xentrace_format \
    usr/sbin/oxenstored usr/sbin/xen-kdd usr/sbin/xen usr/sbin/gdbsx
# Debian's hotplug scripts need bash; those in scripts/ replace the two for disks and bridges.
/bin/busybox rm -rf etc/xen/scripts
/bin/busybox mkdir -p bin sbin usr/bin usr/sbin boot config persist tmp root run var/lib/xen/dump var/log/xen
/bin/busybox ln -s /run var/run
/bin/busybox ln -s /run/lock var/lock
/bin/busybox --list-full | /bin/busybox sort | while read -r applet; do
    case $applet in
        bin/busybox | linuxrc | */dpkg | */dpkg-deb | */rpm | */rpm2cpio) continue ;;
    esac
    [ -e "$applet" ] || [ -L "$applet" ] || /bin/busybox ln -s /bin/busybox "$applet"
done
/bin/busybox find . -exec /bin/busybox touch -h -d "@$SOURCE_DATE_EPOCH" {} +
