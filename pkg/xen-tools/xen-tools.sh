#!/bin/busybox ash
# shellcheck shell=dash
#
# Runs xenstored and xenconsoled, and tells xenstored of this domain. /run/eve/xen says that `xl` works. Without Xen below
# (the machine was started with `set_kvm_boot`, say) there is nothing to do, which is no fault.

if [ "$(cat /run/eve/hv)" != xen ]; then
    echo "this system is not Xen's first domain"
    # A child, so that the shell can end on a signal: the first process of a container gets no default actions.
    trap 'exit 0' TERM
    while :; do
        sleep 3600 &
        wait $!
    done
fi

bin=/usr/lib/xen-$(cat /sys/hypervisor/version/major).$(cat /sys/hypervisor/version/minor)/bin
[ -x "$bin/xenstored" ] || { echo "these tools are not of the running Xen's version: there is no $bin"; exit 1; }

trap 'kill "$store" "$console" 2>/dev/null; exit 0' TERM
# xenstored finds the page and the port that it shares with the kernel there.
[ -e /proc/xen/capabilities ] || mount -t xenfs xenfs /proc/xen || { echo "cannot mount xenfs"; exit 1; }
mkdir -p /run/xen /run/xenstored
"$bin/xenstored" --no-fork &
store=$!
waited=0
until xenstore-exists / 2>/dev/null; do
    [ -d "/proc/$store" ] || { echo "xenstored ended"; exit 1; }
    [ "$waited" -lt 300 ] || { echo "xenstored does not answer after 30 s"; exit 1; }
    usleep 100000
    waited=$((waited + 1))
done
"$bin/xen-init-dom0" || { echo "xen-init-dom0 ended with status $?"; exit 1; }
"$bin/xenconsoled" --interactive &
console=$!
: > /run/eve/xen
# Guests lose their consoles without the one and everything without the other: either's end is the service's.
while [ -d "/proc/$store" ] && [ -d "/proc/$console" ]; do
    sleep 5 &
    wait $!
done
rm -f /run/eve/xen
echo "xenstored or xenconsoled ended"
exit 1
