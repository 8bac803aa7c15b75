#!/bin/busybox ash
# shellcheck shell=dash
#
# Follows the ring of the system's log (it is in shared memory, so this needs the host's IPC namespace) into
# /persist/newlog/current. A file of 1 MiB becomes log.<seconds>.gz, and the newest 16 of these are kept.

DIR=/persist/newlog
SIZE=1048576
KEEP=16

rotate() {
    gzip -c "$DIR/current" > "$DIR/.part" && mv "$DIR/.part" "$DIR/log.$(date +%s).gz"
    : > "$DIR/current"
    find "$DIR" -name 'log.*.gz' | sort -r | tail -n +$((KEEP + 1)) | while read -r old; do
        rm -f "$old"
    done
}

mkdir -p "$DIR"
# What this boot has logged already comes along once, not after every start of this service.
follow=-f
if [ ! -e /run/eve/newlog/began ]; then
    follow=-F
    : > /run/eve/newlog/began
fi
: >> "$DIR/current"
written=$(wc -c < "$DIR/current")
logread "$follow" | while IFS= read -r line; do
    printf '%s\n' "$line" >> "$DIR/current"
    written=$((written + ${#line} + 1))
    if [ "$written" -ge "$SIZE" ]; then
        rotate
        written=0
    fi
done
