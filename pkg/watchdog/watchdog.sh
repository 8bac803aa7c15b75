#!/bin/busybox ash
# shellcheck shell=dash
#
# Feeds /dev/watchdog every 10 s; when that ends, the hardware starts the machine again after 60 s. Without a watchdog there
# is nothing to do, which is no fault.

# The device node is always there: whether a driver is behind it, only sysfs tells.
if [ ! -e /sys/class/misc/watchdog ]; then
    echo "no watchdog in this machine"
    # A child, so that the shell can end on a signal: the first process of a container gets no default actions.
    trap 'exit 0' TERM
    while :; do
        sleep 3600 &
        wait $!
    done
fi
exec watchdog -F -t 10 -T 60 /dev/watchdog
