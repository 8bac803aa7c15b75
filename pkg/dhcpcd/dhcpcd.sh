#!/bin/busybox ash
# shellcheck shell=dash
#
# Runs busybox's DHCP client on every Ethernet interface that has hardware behind it, as interfaces come; lease.sh does what a
# lease says. It starts a client again that ended.

# After a restart of this service the clients are gone, whatever these say. /tmp is a new one then.
rm -f /run/eve/dhcp/*

while :; do
    for net in /sys/class/net/eth*; do
        [ -e "$net/device" ] || continue
        interface=${net##*/}
        pid=$(cat "/tmp/$interface.pid" 2>/dev/null)
        if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then
            ip link set "$interface" up
            udhcpc -f -S -R -i "$interface" -s /lease.sh -t 5 -T 2 -A 5 &
            echo $! > "/tmp/$interface.pid"
        fi
    done
    sleep 2
done
