#!/bin/busybox ash
# shellcheck shell=dash
#
# Extends PCR 14 with the content of /config, once a boot. What is hashed is a list: `sha256  path` a line, in the order
# of paths, as sha256sum prints it. It is kept in /run/eve/measured-config. The TPM gets one event (TPM2_PCR_Event, which
# extends every bank with the hash of the event's data):
#
#   config sha256:<hash of the list>\n        so PCR 14 of the SHA-256 bank is sha256(32 zeros | sha256(this line))
#
# /run/eve/tpm says whether there is a TPM: `yes` or `no`. storage-init calls this script before it asks a TPM for the key of /persist.
#
# measure-config.sh next: prints the value that PCR 14 of the SHA-256 bank gets in a start with /config as it is now.
set -eu

PCR=0000000e

# What differs from device to device says nothing of the configuration.
list_config() {
    cd /config
    find . -type f ! -name tpm_credential ! -name device.cert.pem ! -name device.key.pem \
        ! -name onboard.cert.pem ! -name onboard.key.pem ! -name soft_serial |
        LC_ALL=C sort | while read -r file; do sha256sum "$file"; done
}

# The SHA-256 of stdin.
digest() {
    sha256sum | cut -c 1-64
}

if [ "${1:-}" = next ]; then
    event=$(printf 'config sha256:%s\n' "$(list_config | digest)" | digest)
    printf '%064d%s' 0 "$event" | xxd -r -p | digest
    exit 0
fi

mkdir -p /run/eve
if [ -e /run/eve/tpm ]; then
    echo "storage-init has measured the configuration"
    exit 0
fi
# The device node is always there: whether a TPM is behind it, only sysfs tells.
if [ ! -e /sys/class/tpm/tpm0 ]; then
    echo no > /run/eve/tpm
    echo "no TPM"
    exit 0
fi
list_config > /run/eve/measured-config
digest=$(digest < /run/eve/measured-config)

event=$(printf 'config sha256:%s\n.' "$digest" | xxd -p | tr -d '\n')
# The dot kept the line feed through $(…).
event=${event%2e}
length=$((${#event} / 2))

# TPM2_PCR_Event: header (tag with sessions, size, code), the PCR, an empty password as authorization, the data.
command=$(printf '8002%08x0000013c%s00000009400000090000000000%04x%s' $((10 + 4 + 4 + 9 + 2 + length)) "$PCR" "$length" "$event")

# The answer comes over the same open file.
exec 3<> /dev/tpm0
echo "$command" | xxd -r -p > /run/eve/tpm-command
dd if=/run/eve/tpm-command bs=4096 count=1 >&3 2>/dev/null
answer=$(dd bs=4096 count=1 <&3 2>/dev/null | xxd -p | tr -d '\n')
rm -f /run/eve/tpm-command
case $answer in
    ????????????00000000*) ;;
    *) echo "the TPM refuses to extend PCR 14: answer $answer"; exit 1 ;;
esac
echo yes > /run/eve/tpm
echo "PCR 14 extended with $(wc -l < /run/eve/measured-config) files, sha256:$digest"
