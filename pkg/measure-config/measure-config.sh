#!/bin/busybox ash
# shellcheck shell=dash
#
# Extends PCR 14 with the content of /config, once a boot. What is hashed is a list: `sha256  path` a line, in the order
# of paths, as sha256sum prints it. It is kept in /run/eve/measured-config. The TPM gets one event (TPM2_PCR_Event, which
# extends every bank with the hash of the event's data):
#
#   config sha256:<hash of the list>\n        so PCR 14 of the SHA-256 bank is sha256(32 zeros | sha256(this line))
#   config unknown\n                          if a file cannot be read, or the list cannot be kept
#
# No start leaves PCR 14 or 15 as it was: whoever is root later could extend it with what the key of /persist is sealed to (docs/PERSIST.md). So
# PCR 15 gets `persist unknown` if storage-init has not extended it.
#
# /run/eve/tpm says whether there is a TPM: `yes` or `no`.
#
# measure-config.sh config: PCR 14 alone. storage-init does that before it asks a TPM for the key of /persist.
# measure-config.sh next: prints the value that PCR 14 of the SHA-256 bank gets in a start with /config as it is now.
# shellcheck disable=SC3040 # busybox has pipefail
set -u -o pipefail

CONFIG=/config
RUN=/run/eve
TPM=/sys/class/tpm/tpm0

# What differs from device to device says nothing of the configuration. A name with a line feed is two names, and no file has both.
list_config() (
    cd "$CONFIG" || exit
    find . -type f ! -name tpm_credential ! -name device.cert.pem ! -name device.key.pem \
        ! -name onboard.cert.pem ! -name onboard.key.pem ! -name soft_serial |
        LC_ALL=C sort | while IFS= read -r file; do sha256sum "$file" || exit; done
)

# The SHA-256 of stdin.
digest() {
    sha256sum | cut -c 1-64
}

# extend PCR TEXT
extend() {
    event=$(printf '%s\n' "$2" | xxd -p | tr -d '\n')
    length=$((${#event} / 2))
    # TPM2_PCR_Event: header (tag with sessions, size, code), the PCR, an empty password as authorization, the data.
    command=$(printf '8002%08x0000013c%08x00000009400000090000000000%04x%s' $((10 + 4 + 4 + 9 + 2 + length)) "$1" "$length" "$event")
    # The answer comes over the same open file. Another program may have it for a moment.
    for _ in 1 2 3; do
        answer=$(
            exec 3<> /dev/tpm0
            echo "$command" | xxd -r -p | dd bs=4096 count=1 iflag=fullblock >&3 2>/dev/null
            dd bs=4096 count=1 <&3 2>/dev/null | xxd -p | tr -d '\n'
        )
        case $answer in
            ????????????00000000*) return 0 ;;
        esac
        sleep 1
    done
    echo "the TPM refuses to extend PCR $1: answer ${answer:-none}"
    return 1
}

measure_config() {
    if digest=$(list_config | tee "$RUN/measured-config" | digest); then
        extend 14 "config sha256:$digest" || return
        echo yes > "$RUN/tpm"
        echo "PCR 14 extended with $(wc -l < "$RUN/measured-config") files, sha256:$digest"
    else
        echo "the files of $CONFIG cannot all be read and listed, so PCR 14 is extended with \`config unknown\`"
        ! extend 14 "config unknown" || echo yes > "$RUN/tpm"
        return 1
    fi
}

if [ "${1:-}" = next ]; then
    list=$(list_config | digest) || exit
    event=$(printf 'config sha256:%s\n' "$list" | digest)
    printf '%064d%s' 0 "$event" | xxd -r -p | digest
    exit
fi

mkdir -p "$RUN"
# The device node is always there: whether a TPM is behind it, only sysfs tells.
if [ ! -e "$TPM" ]; then
    echo no > "$RUN/tpm"
    echo "no TPM"
    exit 0
fi
status=0
if [ "$(cat "$RUN/tpm" 2>/dev/null)" = yes ]; then
    echo "storage-init has measured the configuration"
else
    measure_config || status=1
fi
if [ "${1:-}" != config ] && ! grep -q '[1-9A-Fa-f]' "$TPM/pcr-sha256/15"; then
    echo "storage-init has not extended PCR 15, so it is extended with \`persist unknown\`"
    extend 15 "persist unknown"
    status=1
fi
exit "$status"
