#!/bin/busybox ash
# shellcheck shell=dash
#
# Serves ssh on port 22 to the keys of /config/authorized_keys, and to nobody by password. The host's key is made on the
# first boot and stays on /persist, so that clients know the machine again. When /persist is locked, the key is another one for
# this start, and the console shows its fingerprint.

KEY=/persist/debug/ssh_host_ed25519_key
[ ! -e /run/eve/persist-locked ] || KEY=/run/eve/debug/ssh_host_ed25519_key

mkdir -p "${KEY%/*}"
chmod 0700 "${KEY%/*}"
if [ ! -s "$KEY" ]; then
    # Whole or not at all: a boot may be cut short.
    rm -f "$KEY.part"
    dropbearkey -t ed25519 -f "$KEY.part" > /dev/null && mv "$KEY.part" "$KEY"
    [ ! -e /run/eve/persist-locked ] ||
        printf '\nssh: /persist is locked; the host key of this start: %s\n' "$(dropbearkey -y -f "$KEY" | grep Fingerprint)" > /dev/console
fi
if [ -e /config/authorized_keys ]; then
    cp /config/authorized_keys /root/.ssh/authorized_keys
    chmod 0600 /root/.ssh/authorized_keys
else
    echo "no /config/authorized_keys: nobody can log in"
fi
exec dropbear -F -E -s -r "$KEY" -p 22
