#!/bin/busybox ash
# shellcheck shell=dash
#
# Gives the hypervisor the name that GRUB's settings have for it: xen.gz for multiboot2, xen.efi for xen_hypervisor.
set -eu
# docker sets it only for a Dockerfile with an ARG of this name; then the files are of 1970.
: "${SOURCE_DATE_EPOCH:=0}"

case $TARGETARCH in
    amd64) from=xen-4.17-amd64.gz to=xen.gz ;;
    arm64) from=xen-4.17-arm64.efi to=xen.efi ;;
    *) echo "no Xen for $TARGETARCH" >&2; exit 1 ;;
esac
/bin/busybox mkdir -p /out/boot
/bin/busybox cp "/boot/$from" "/out/boot/$to"
/bin/busybox find /out -exec /bin/busybox touch -h -d "@$SOURCE_DATE_EPOCH" {} +
