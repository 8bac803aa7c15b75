#!/bin/busybox ash
# shellcheck shell=dash
#
# Called by udhcpc with what happened, and the lease in variables. /run/eve/dhcp/<interface> holds the lease while there is
# one; /etc/resolv.conf is put together from all of them.
# shellcheck disable=SC2154 # interface, ip, mask, router, dns, domain are udhcpc's

LEASES=/run/eve/dhcp

write_resolv_conf() {
    sed -n -e 's/^domain=\(..*\)/search \1/p' "$LEASES"/* 2>/dev/null | sort -u
    sed -n -e 's/^dns=//p' "$LEASES"/* 2>/dev/null | tr ' ' '\n' | grep . | awk '!seen[$0]++ { print "nameserver " $0 }'
}

case $1 in
    deconfig)
        rm -f "$LEASES/$interface"
        ip addr flush dev "$interface"
        ip link set "$interface" up
        ;;
    bound | renew)
        ip addr flush dev "$interface"
        ip addr add "$ip/${mask:-24}" broadcast "${broadcast:-+}" dev "$interface"
        # The interface with the lowest index is preferred.
        metric=$((100 + $(cat "/sys/class/net/$interface/ifindex")))
        for gateway in $router; do
            ip route add default via "$gateway" dev "$interface" metric "$metric"
        done
        {
            echo "address=$ip/${mask:-24}"
            echo "router=$router"
            echo "dns=$dns"
            echo "domain=$domain"
        } > "$LEASES/.$interface"
        mv "$LEASES/.$interface" "$LEASES/$interface"
        ;;
    *) exit 0 ;;
esac
# The file is a bind mount: it is written to, never replaced.
write_resolv_conf > /tmp/resolv.conf
cat /tmp/resolv.conf > /etc/resolv.conf
