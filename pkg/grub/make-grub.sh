#!/bin/busybox ash
# shellcheck shell=dash
#
# Makes the EFI program of GRUB in /out from the modules in /grub/<cpu>-efi, with /embedded.cfg inside. What grub-mkimage
# embeds itself is read by a parser without `if`, so it only calls for the real thing, which lies on a disk in memory.
set -eu
# docker sets it only for a Dockerfile with an ARG of this name; then the files are of 1970.
: "${SOURCE_DATE_EPOCH:=0}"

modules="
    part_gpt part_msdos fat squash4 ext2 iso9660
    normal configfile linux chain boot search search_fs_file search_label search_fs_uuid
    test echo regexp probe cat ls true sleep reboot halt minicmd read smbios loadenv
    serial terminal efi_gop all_video gfxterm
    memdisk tar tpm gzio xzio lzopio loopback net efinet tftp http
"

case $TARGETARCH in
    # linuxefi starts the kernel through its EFI stub: only then does Linux take over the TPM's event log.
    amd64) platform=x86_64-efi name=BOOTX64.EFI more="linuxefi multiboot2 efi_uga" ;;
    arm64) platform=arm64-efi name=BOOTAA64.EFI more="fdt xen_boot" ;;
    riscv64) platform=riscv64-efi name=BOOTRISCV64.EFI more="fdt" ;;
    *) echo "no GRUB for $TARGETARCH" >&2; exit 1 ;;
esac

/bin/busybox mkdir -p /out /memdisk
/bin/busybox cp /embedded.cfg /memdisk/embedded.cfg
/bin/tar -C /memdisk --format=ustar --numeric-owner --owner=0 --group=0 --mode=0644 --mtime="@$SOURCE_DATE_EPOCH" -cf /memdisk.tar embedded.cfg
# If that comes back, GRUB reads grub.cfg in its prefix; there is none in memory, so it shows its prompt. The one beside this program on an
# ESP is a root file system's.
printf '%s\n' 'configfile (memdisk)/embedded.cfg' 'set prefix=(memdisk)' > /first.cfg
# Without shim, GRUB refuses to start programs under Secure Boot unless it is told to leave their check to the firmware.
# shellcheck disable=SC2086 # lists of words
grub-mkimage --disable-shim-lock -O "$platform" -d "/grub/$platform" -c /first.cfg -m /memdisk.tar -p /EFI/BOOT -o "/out/$name" $modules $more

# The slots of a new machine: the system is in A, and B is empty. GRUB wants 1024 bytes, filled up with `#`.
/bin/busybox awk 'BEGIN {
    text = "# GRUB Environment Block\nORDER=A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n"
    while (length(text) < 1024) text = text "#"
    printf "%s", text
}' > /out/grubenv

/bin/busybox chmod 0644 "/out/$name" /out/grubenv
/bin/busybox touch -d "@$SOURCE_DATE_EPOCH" "/out/$name" /out/grubenv
