#!/bin/busybox ash
# shellcheck shell=dash
#
# Makes the two files that linuxkit takes from a kernel image, both the same bytes for the same packages:
#   /out/kernel      the kernel
#   /out/kernel.tar  lib/modules with the listed modules and all that they need, boot/initrd.img, and the Debian packages'
#                    records and licences
# and a file for those who boot without a disk:
#   /out/initrd.img  the same as boot/initrd.img
#
# Input: /linux (the unpacked kernel package), /initrd (its files but the modules), /lists, TARGETARCH, SOURCE_DATE_EPOCH.
set -eu
# docker sets it only for a Dockerfile with an ARG of this name; then the files are of 1970.
: "${SOURCE_DATE_EPOCH:=0}"
export LC_ALL=C

# Debian's busybox prefers its own applets to other programs, so GNU cpio and tar are called by their paths.
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s

version=$(ls /linux/lib/modules)
from=/linux/lib/modules/$version

# Prints the paths of the modules that the lists name, and of those that they depend on, below the version's folder.
# A line of a list is a module's name, or a folder with all below it; `#` starts a comment. What is built into the
# kernel needs no file; a name that is neither is a mistake in the list.
closure() {
    sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$@" | awk -v dep="$from/modules.dep" -v builtin="$from/modules.builtin" '
        function name(path) { sub(/.*\//, "", path); sub(/\.ko.*$/, "", path); gsub(/-/, "_", path); return path }
        function take(path,   n, i, list) {
            if (path in taken) return
            taken[path] = 1
            n = split(needs[path], list, " ")
            for (i = 1; i <= n; i++) take(list[i])
            print path
        }
        BEGIN {
            while ((getline line < dep) > 0) {
                path = line; sub(/:.*/, "", path)
                rest = line; sub(/^[^:]*:/, "", rest)
                needs[path] = rest; file[name(path)] = path
            }
            while ((getline line < builtin) > 0) inside[name(line)] = 1
        }
        /\/$/ {
            found = 0
            for (path in needs) if (index(path, $0) == 1) { take(path); found = 1 }
            if (!found) { print "no module below " $0 > "/dev/stderr"; bad = 1 }
            next
        }
        {
            wanted = name($0)
            if (wanted in file) take(file[wanted])
            else if (!(wanted in inside)) { print "no module " $0 > "/dev/stderr"; bad = 1 }
        }
        END { exit bad }'
}

# Copies modules (paths on stdin) into the tree $1 and writes modules.dep and its kin for them.
install_modules() {
    root=$1
    to=$root/lib/modules/$version
    mkdir -p "$to"
    cp "$from/modules.order" "$from/modules.builtin" "$from/modules.builtin.modinfo" "$to/"
    (cd "$from" && /bin/cpio --quiet -pdm "$to")
    # Debian 13 packs each module; what contains them here is packed as a whole.
    find "$to" -name '*.ko.xz' -exec unxz {} +
    depmod -b "$root" "$version"
    # depmod writes lines in the order in which the file system lists folders.
    for table in dep alias symbols; do
        sort -o "$to/modules.$table" "$to/modules.$table"
    done
}

# The clock, the umask and the order in folders must not be seen in what is packed.
settle() {
    find "$1" -type d -exec chmod 0755 {} +
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# Prints the folders (names on stdin) as entries of a newc archive. cpio would write their link counts, which differ between
# file systems.
pack_folders() {
    inode=0
    while read -r name; do
        name=${name#./}
        inode=$((inode + 1))
        size=$((${#name} + 1))
        printf '070701%08X%08X' "$inode" $((0040755))
        printf '%08X' 0 0 2 "$SOURCE_DATE_EPOCH" 0 0 0 0 0 "$size" 0
        printf '%s' "$name"
        head -c $((1 + (4 - (110 + size) % 4) % 4)) /dev/zero
    done
}

pack_initrd() {
    settle /initrd
    (
        cd /initrd
        find . -type d | sort | pack_folders
        find . ! -type d | sort | /bin/cpio --quiet -o -H newc --reproducible -R 0:0
    ) | gzip -9 -n > "$1"
}

depmod -b /linux "$version"

mkdir -p /initrd/dev /initrd/proc /initrd/sys /initrd/newroot /out /tree/boot
closure /lists/modules-initrd "/lists/modules-initrd-$TARGETARCH" > /found.list
sort -u /found.list > /initrd.list
install_modules /initrd < /initrd.list
# The first stage loads by name and alias only: what the other tables hold would be dead weight in every boot.
(cd "/initrd/lib/modules/$version" && rm -f ./*.bin modules.order modules.builtin modules.builtin.modinfo modules.devname modules.symbols)
chmod 0755 /initrd/init /initrd/bin/busybox
pack_initrd /tree/boot/initrd.img

closure /lists/modules "/lists/modules-$TARGETARCH" /lists/modules-initrd "/lists/modules-initrd-$TARGETARCH" > /found.list
sort -u /found.list > /modules.list
install_modules /tree < /modules.list

# What the files come from: cargo xtask sbom reads these.
for root in /linux /busybox; do
    (cd "$root" && find usr/share/doc var/lib/dpkg/status.d | /bin/cpio --quiet -pdm /tree)
done

settle /tree
# On riscv64 it is not packed, and an EFI program all the same.
[ "$TARGETARCH" = riscv64 ] && kernel=vmlinux || kernel=vmlinuz
cp "/linux/boot/$kernel-$version" /out/kernel
cp /tree/boot/initrd.img /out/initrd.img
chmod 0644 /out/kernel /out/initrd.img /tree/boot/initrd.img
/bin/tar -C /tree --format=gnu --sort=name --numeric-owner --owner=0 --group=0 -cf /out/kernel.tar boot lib usr var
touch -d "@$SOURCE_DATE_EPOCH" /out/kernel /out/kernel.tar /out/initrd.img
echo "kernel $version: $(wc -l < /modules.list) modules, $(wc -c < /out/kernel.tar) bytes; initrd: $(wc -l < /initrd.list) modules, $(wc -c < /tree/boot/initrd.img) bytes"
