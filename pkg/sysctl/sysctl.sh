#!/bin/busybox ash
# shellcheck shell=dash
#
# Applies the files of /etc/sysctl.d in the order of names. A key that this kernel does not have is no fault.

status=0
for file in /etc/sysctl.d/*.conf; do
    [ -e "$file" ] || continue
    sysctl -e -q -p "$file" || { echo "$file: not all could be set"; status=1; }
done
exit "$status"
