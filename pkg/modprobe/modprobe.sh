#!/bin/busybox ash
# shellcheck shell=dash
#
# modprobe.sh [MODULE…]: loads the driver of every device on every bus, then the modules named. There is no udev here that would
# do the first. One that does not exist on this architecture, or finds no hardware, is no fault.

pass=0
before=
# A driver may bring devices to light that need drivers: three passes reach the end of any bus that we know.
while [ "$pass" -lt 3 ]; do
    aliases=$(cat /sys/bus/*/devices/*/modalias 2>/dev/null | sort -u)
    [ "$aliases" != "$before" ] || break
    # shellcheck disable=SC2086 # an alias is a word without blanks
    modprobe -a -q $aliases 2>/dev/null
    before=$aliases
    pass=$((pass + 1))
done
for module in "$@"; do
    modprobe -q "$module" 2>/dev/null || echo "no $module here"
done
exit 0
