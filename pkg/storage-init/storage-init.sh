#!/bin/busybox ash
# shellcheck shell=dash
#
# Mounts CONFIG read-only at /config and P3 at /persist. On the first boot the disk ends with the image's partitions: then
# IMGB (if there is room for it) and P3, up to the end of the disk, are made here.
#
# /run/eve/persist says `new` or `kept`, /run/eve.persist_type the file system. P3 may be encrypted (encryption.sh).
#
# storage-init.sh COMMAND: what `eve persist` does, see pkg/dom0-ztools.
set -u

# shellcheck source=/dev/null
. /tpm.sh
# shellcheck source=/dev/null
. /encryption.sh

ROOTFS_TYPE=5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6
P3_TYPE=5f24425a-2dfa-11e8-a270-7b663faccc2c
# A disk whose IMGA has the GUID of our images gets their GUIDs for the others, too.
IMGA_UUID=AD6871EE-31F9-4CF3-9E09-6F7A25C30052
IMGB_UUID=AD6871EE-31F9-4CF3-9E09-6F7A25C30053
P3_UUID=AD6871EE-31F9-4CF3-9E09-6F7A25C30059
# Sectors that P3 must have before IMGB gets its share: 256 MiB.
P3_LEAST=524288

fail() {
    echo "$1"
    exit 1
}

# Prints the name of the disk that the running root file system lies on.
root_disk() {
    number=$(awk '$5 == "/hostfs" { print $3; exit }' /proc/self/mountinfo)
    dir=$(readlink -f "/sys/dev/block/$number") || return 1
    # A signed one is read through a device of dm-verity, which lies on the partition.
    for below in "$dir"/slaves/*; do
        [ ! -e "$below/partition" ] || dir=$(readlink -f "$below")
    done
    [ -e "$dir/partition" ] || return 1
    dir=${dir%/*}
    echo "${dir##*/}"
}

# Prints the device of the partition named $1, or with the number $2: one that the kernel learned of without reading the
# table again has no name before the next boot.
find_part() {
    for uevent in "/sys/class/block/$disk"/*/uevent; do
        part=${uevent%/uevent}
        [ -e "$part/partition" ] || continue
        if grep -qx "PARTNAME=$1" "$uevent" || { ! grep -q '^PARTNAME=' "$uevent" && [ "$(cat "$part/partition")" = "$2" ]; }; then
            echo "/dev/${part##*/}"
            return
        fi
    done
}

# Writes an MBR with a protective record alone.
protect() {
    { printf '\0\0\002\0\356\377\377\377\001\0\0\0\377\377\377\377'; head -c 48 /dev/zero; printf '\125\252'; } |
        dd of="/dev/$disk" bs=1 seek=446 conv=notrunc 2>/dev/null
}

# Writes a damaged MBR anew from the GPT, which need not be damaged for that: the record of the ESP, bootable, for boards and BIOSes, and
# the protective one, without which UEFI does not look for a GPT. A disk is left alone whose MBR has a protective record.
repair_mbr() {
    # The signature, and the types of the four records.
    dd if="/dev/$disk" of=/run/eve/mbr bs=512 count=1 2>/dev/null
    set -- "$(od -A n -t x1 -j 510 -N 2 /run/eve/mbr)"
    for at in 450 466 482 498; do
        set -- "$@" "$(od -A n -t x1 -j "$at" -N 1 /run/eve/mbr)"
    done
    case "$*" in
        " 55 aa "*" ee"*) return 0 ;;
    esac
    echo "the MBR of $disk is damaged, and is written anew from the GPT"
    # sgdisk would believe what is left of it, and then not even look at the GPT.
    protect
    repair_table
    if ! sgdisk --hybrid=1:EE "/dev/$disk" > /run/eve/gpt.log 2>&1; then
        echo "sgdisk cannot add the record of the ESP: $(tail -n 1 /run/eve/gpt.log)"
        return 0
    fi
    # Type 0x0c, FAT32, which sgdisk does not know for an ESP.
    printf '\200' | dd of="/dev/$disk" bs=1 seek=446 conv=notrunc 2>/dev/null
    printf '\014' | dd of="/dev/$disk" bs=1 seek=450 conv=notrunc 2>/dev/null
}

# Writes a damaged partition table anew from the other one, so that the next start does not depend on a single table.
repair_table() {
    sgdisk -v "/dev/$disk" > /run/eve/gpt.log 2>&1
    grep -q 'You should repair the disk' /run/eve/gpt.log || return 0
    echo "a partition table of $disk is damaged, and is written anew from the other one"
    # Beside a damaged GPT sgdisk believes an MBR that has more records than the protective one, as ours may have; it gets them back.
    dd if="/dev/$disk" of=/run/eve/mbr bs=512 count=1 2>/dev/null
    protect
    sgdisk -e "/dev/$disk" > /run/eve/gpt.log 2>&1
    dd if=/run/eve/mbr of="/dev/$disk" bs=512 count=1 conv=notrunc 2>/dev/null
    # sgdisk warns of harmless things when it writes.
    sgdisk -v "/dev/$disk" 2>&1 | grep -q 'You should repair the disk' && echo "sgdisk cannot repair it: $(tail -n 1 /run/eve/gpt.log)"
    return 0
}

mount_config() {
    config=$(find_part CONFIG 4)
    [ -n "$config" ] || fail "the disk $disk has no partition CONFIG"
    mount -t vfat -o ro,nosuid,nodev,noexec,iocharset=iso8859-1 "$config" /config || fail "cannot mount $config at /config"
}

# Makes the partitions that the image leaves to us.
make_partitions() {
    # The MBR has records beside the protective one, for boards and BIOSes that look for the ESP there.
    dd if="/dev/$disk" of=/run/eve/mbr bs=512 count=1 2>/dev/null
    size=0
    end=0
    imgb=
    for part in "/sys/class/block/$disk"/*/partition; do
        part=${part%/partition}
        start=$(cat "$part/start")
        length=$(cat "$part/size")
        [ "$(cat "$part/partition")" != 2 ] || size=$length
        [ "$(cat "$part/partition")" != 3 ] || imgb=there
        [ $((start + length)) -le "$end" ] || end=$((start + length))
    done
    room=$(($(cat "/sys/class/block/$disk/size") - end))
    ours=$(sgdisk -i 2 "/dev/$disk" | grep -c "$IMGA_UUID")

    set --
    numbers=9
    if [ -z "$imgb" ] && [ "$room" -ge $((size + P3_LEAST)) ]; then
        # First in line, so that P3 begins behind it.
        set -- --new="3:0:+$((size / 2))K" --typecode=3:$ROOTFS_TYPE --change-name=3:IMGB
        [ "$ours" = 0 ] || set -- "$@" --partition-guid=3:$IMGB_UUID
        numbers="3 9"
    fi
    set -- "$@" --new=9:0:0 --typecode=9:$P3_TYPE --change-name=9:P3
    [ "$ours" = 0 ] || set -- "$@" --partition-guid=9:$P3_UUID
    # All at once: sgdisk waits a second each time that it writes. The backup table goes to the end of the disk first.
    sgdisk -e "$@" "/dev/$disk" > /run/eve/sgdisk.log 2>&1 || fail "sgdisk cannot make P3 on $disk: $(tail -n 1 /run/eve/sgdisk.log)"
    dd if=/run/eve/mbr of="/dev/$disk" bs=512 count=1 conv=notrunc 2>/dev/null
    # The disk is in use, so the kernel will not read its table again; it takes single partitions.
    for number in $numbers; do
        partx -a --nr "$number" "/dev/$disk" || fail "the kernel does not take partition $number of $disk"
    done
}

make_persist() {
    mkfs.ext4 -q -F -F -L P3 -O encrypt -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$1" || fail "cannot make a file system on $1"
    state=new
}

# The installer erases the start of a P3 that is to be new. Further on, copies of the superblock of an older file system may remain, and
# e2fsck would bring its files back.
is_erased() {
    cmp -s -n 1048576 "$1" /dev/zero
}

# Prints the device of P3 if the installer put it on a disk of its own (eve_persist_disk).
find_other_p3() {
    for uevent in /sys/class/block/*/uevent; do
        part=${uevent%/uevent}
        { [ -e "$part/partition" ] && grep -qx 'PARTNAME=P3' "$uevent"; } || continue
        # The P3 of another EVE is that one's.
        grep -qsx 'PARTNAME=IMGA' "$(readlink -f "$part")"/../*/uevent || echo "/dev/${part##*/}"
    done | head -n 1
}

mount_persist() {
    state=kept
    p3=$(find_part P3 9)
    # Only the installer makes IMGB without P3: the first boot of a live disk makes both.
    if [ -z "$p3" ] && [ -n "$(find_part IMGB 3)" ]; then
        waited=0
        # A new P3 instead would be found before the real one at every later boot.
        while p3=$(find_other_p3); [ -z "$p3" ]; do
            [ "$waited" -lt 30 ] || fail "P3 was installed on another disk than $disk (eve_persist_disk), and no disk has it"
            sleep 1
            waited=$((waited + 1))
        done
    fi
    fresh=
    if [ -z "$p3" ]; then
        make_partitions
        p3=$(find_part P3 9)
        [ -n "$p3" ] || fail "no P3 on $disk, though it was just made"
        # What was on the medium before is there no more, also for a start after this one.
        dd if=/dev/zero of="$p3" bs=1M count=1 conv=fsync 2>/dev/null || fail "cannot write to $p3"
        fresh=yes
    elif is_erased "$p3"; then
        fresh=yes
    fi
    device=
    choose_device "$p3"
    if [ -n "$fresh" ]; then
        make_persist "$device"
    else
        e2fsck -p "$device"
        status=$?
        # 0: clean, 1 and 2: repaired. What cannot be repaired is made anew, as nobody is there to be asked.
        if [ "$status" -gt 2 ] && ! { e2fsck -y "$device"; [ $? -le 2 ]; }; then
            echo "$device has no ext4 that could be repaired: it is made anew"
            make_persist "$device"
        fi
    fi
    settle_device
    mount -t ext4 -o dirsync,noatime "$device" /persist || fail "cannot mount $device at /persist"
    mkdir -p /persist/status
    echo ext4 > /run/eve.persist_type
    echo "$state" > /run/eve/persist
}

mkdir -p /run/eve
# Whatever way a start ends.
[ $# -gt 0 ] || trap 'end_start $?' EXIT
disk=$(root_disk) || fail "the root file system does not lie on a partition of a disk"
if [ $# -gt 0 ]; then
    p3=$(find_part P3 9)
    [ -n "$p3" ] || p3=$(find_other_p3)
    run_command "${p3:-/dev/null}" "$@"
    exit
fi
repair_mbr
repair_table
mount_config
mount_persist
echo "disk $disk: /config from $config, /persist from $device ($state)"
