# Prints a config.json as linuxkit lays it out, with the seccomp filter of the file `filter` and the absolute path `rootfs` of its root: the
# result lies in another folder. Fails when one of the two did not find its place.

/^    "root": \{$/ { in_root = 1 }
in_root && sub(/"path": "rootfs"/, "\"path\": \"" rootfs "\"") { in_root = 0; moved++ }
{ print }
/^    "linux": \{$/ {
    printf "\"seccomp\": "
    while ((getline line < filter) > 0) { print line; lines++ }
    print ","
    filtered++
}

END { exit !(moved == 1 && filtered == 1 && lines > 0) }
