# shellcheck shell=dash
#
# P3 as a LUKS2 volume whose key a TPM has sealed (docs/PERSIST.md). storage-init.sh reads this file, and `eve persist` calls it.
#
# A key is 32 random bytes; its 64 hexadecimal digits are the passphrase of a slot of LUKS. What opens a slot is in a token of LUKS beside it:
#   eve-tpm2      pcrs (`7=HEX 14=HEX 15=HEX`), private, public: the key, sealed to these PCRs with these values
#   eve-recovery  owner (SHA-256 of the public key), encrypted: the key, encrypted to persist_recovery.pem of CONFIG
# The volume's label is P3-new until there is a file system in it.
# shellcheck disable=SC2016,SC2034,SC2154 # texts with `, and variables that the other two scripts set or read

VOLUME=persist
MAPPED=/dev/mapper/$VOLUME
TPM_STATE=/sys/class/tpm/tpm0
CONFIG=/config
CONSOLE=/dev/console
RUN=/run/eve
MEASURE=/measure-config.sh
# No udevd answers here.
export DM_DISABLE_UDEV=1
# The keys are random, so there is nothing to guess that a slow derivation would protect; cryptsetup takes no fewer iterations.
SLOT_OPTIONS='--batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000'
UNLOCK='`eve persist unlock` opens it with the recovery key, then `eve persist reseal` seals it for the next start (docs/PERSIST.md)'
MOUNTS=/proc/1/mounts
# A mark in P3 that nothing in it may be lost, where the superblock of the volume's file system will be: behind the header of LUKS, which cryptsetup
# writes last, after zeros and noise in its place. In blocks of 1 KiB.
UNFINISHED=eve-persist-unfinished
UNFINISHED_AT=16385
ZEROS=0000000000000000000000000000000000000000000000000000000000000000

say() {
    printf '\n%s\n' "$1" > "$CONSOLE"
}

# lock_persist WHY HINT: the end of this start for /persist.
lock_persist() {
    say "EVE-FAILED persist: $1
hint: $2"
    # For ssh, and for `eve status`.
    echo "$1" > "$RUN/persist-locked"
    [ ! -e "$MAPPED" ] || cryptsetup close "$VOLUME"
    fail "/persist is not mounted"
}

# mark_persist TEXT: extends PCR 15, and keeps what it was extended with.
mark_persist() {
    tpm_extend 15 "$1" && { echo "$1" >> "$RUN/measured-persist" || true; }
}

# end_start STATUS: PCR 15 of a start that has opened no volume. While it has the value from before, whoever is root could measure what a key is
# sealed to, and the TPM would give it.
end_start() {
    [ ! -e "$RUN/measured-persist" ] && has_tpm || return 0
    [ "$1" = 0 ] && mark='persist plain' || mark='persist locked'
    mark_persist "$mark" || say "EVE-FAILED persist: PCR 15 was not extended with \`$mark\`: $why"
}

# read_wish FILE: sets `wish`, `pcrs` and `changed` from persist_encryption of CONFIG.
read_wish() {
    wish=no
    pcrs='7 14'
    changed=stop
    [ -e "$1" ] || return 0
    for word in $(tr -d '\r' < "$1" | sed 's/#.*//'); do
        case $word in
            no | tpm | tpm-if-there) wish=$word ;;
            changed=stop | changed=new) changed=${word#*=} ;;
            pcrs=*)
                pcrs=$(echo "${word#*=}" | tr , '\n' | sort -n -u | tr '\n' ' ')
                # PCR 15 is always one of them.
                known=
                for pcr in $pcrs x; do
                    case $pcr in
                        [0-9] | 1[0-4]) known=yes ;;
                        x) [ -n "$known" ] || return 1 ;;
                        *) return 1 ;;
                    esac
                done
                ;;
            *) return 1 ;;
        esac
    done
}

has_tpm() {
    [ "$(cat "$TPM_STATE/tpm_version_major" 2>/dev/null)" = 2 ] && [ -e "$TPM_STATE/pcr-sha256/15" ] && [ -e "$TPM" ]
}

# Both headers, because the second one is taken when the first is damaged.
has_luks() {
    [ "$(head -c 4 "$1")" = LUKS ] || [ "$(dd if="$1" bs=4 skip=4096 count=1 2>/dev/null)" = SKUL ]
}

is_unfinished() {
    cmp -s -n 4096 "$1" /dev/zero && [ "$(dd if="$1" bs=1024 skip=$UNFINISHED_AT count=1 2>/dev/null | head -c ${#UNFINISHED})" = $UNFINISHED ]
}

is_mounted() {
    grep -q "^$MAPPED /persist " "$MOUNTS"
}

pcr_now() {
    tr A-F a-f < "$TPM_STATE/pcr-sha256/$1"
}

# next_values [N=HEX…]: the PCRs of `pcrs` with the values that they have in the next start when its turn comes: PCR 14 by what CONFIG has now, PCR 15
# untouched, the others as they are, or as the arguments say.
next_values() {
    next=
    for pcr in $(echo "$pcrs 15" | tr ' ' '\n' | sort -n -u); do
        case $pcr in
            14) value=$("$MEASURE" next) || return 1 ;;
            15) value=$ZEROS ;;
            *) value=$(pcr_now "$pcr") ;;
        esac
        for given in "$@"; do
            [ "${given%%=*}" != "$pcr" ] || value=${given#*=}
        done
        next="$next $pcr=$value"
    done
    echo "${next# }"
}

# changed_pcrs VALUES NOW: the PCRs whose values differ, with what is measured there.
changed_pcrs() {
    for value in $1; do
        case " $2 " in
            *" $value "*) continue ;;
        esac
        case ${value%%=*} in
            7) echo 'PCR 7 (Secure Boot: on or off, its keys, or who signed the system)' ;;
            14) echo 'PCR 14 (the files of CONFIG)' ;;
            *) echo "PCR ${value%%=*}" ;;
        esac
    done | tr '\n' '+' | sed 's/+$//; s/+/, /g'
}

# What /dev/random gives is good as soon as it gives something.
new_key() {
    head -c 32 /dev/random | xxd -p | tr -d '\n'
}

# tokens DEVICE TYPE: their numbers.
tokens() {
    cryptsetup luksDump "$1" | awk -v type="$2" '/^[A-Z]/ { here = /^Tokens:/ } here && $2 == type { sub(":", "", $1); print $1 }'
}

# free_number DEVICE SECTION: the first that is not taken in Keyslots or Tokens.
free_number() {
    cryptsetup luksDump "$1" | awk -v section="$2:" '
        /^[A-Z]/ { here = $1 == section }
        here && /^  [0-9]+:/ { taken[$1 + 0] = 1 }
        END { for (n = 0; n in taken; n++); print n }'
}

# field DEVICE TOKEN NAME
field() {
    cryptsetup token export --token-id "$2" "$1" | sed -n "s/.*\"$3\": *\\[\\{0,1\\}\"\\([^\"]*\\)\".*/\\1/p"
}

# import_token DEVICE SLOT TYPE FIELDS
import_token() {
    printf '{"type":"%s","keyslots":["%s"],%s}' "$3" "$2" "$4" | cryptsetup token import --token-id "$(free_number "$1" Tokens)" "$1"
}

# drop_token DEVICE TOKEN KEY: and the slot that it opens; KEY opens another one.
drop_token() {
    slot=$(field "$1" "$2" keyslots)
    cryptsetup token remove --token-id "$2" "$1" || return 1
    [ -z "$slot" ] || printf %s "$3" | cryptsetup luksKillSlot --batch-mode --key-file - "$1" "$slot"
}

# The key of the open volume, by which slots are added.
volume_key() {
    dmsetup table --showkeys "$VOLUME" | cut -d ' ' -f 5
}

# add_slot DEVICE SLOT KEY
add_slot() {
    # shellcheck disable=SC2086 # options
    volume_key | xxd -r -p | cryptsetup luksAddKey $SLOT_OPTIONS --volume-key-file /dev/stdin --key-slot "$2" --new-keyfile-size 64 \
        "$1" /dev/fd/4 4<<KEY
$3
KEY
}

seal_fields() {
    printf '"pcrs":"%s","private":"%s","public":"%s"' "$1" "$sealed_private" "$sealed_public"
}

open_with() {
    printf %s "$2" | cryptsetup open --type luks2 --disable-keyring --key-file - "$1" "$VOLUME"
}

# After this the TPM does not give the key again before the next start. A verifier can tell by PCR 15 which volume was opened.
close_seal() {
    opened=$(volume_key)
    [ -n "$opened" ] || { why='the key of the open volume is not known'; return 1; }
    mark_persist "persist sha256:$(printf 'eve-persist %s' "$opened" | sha256sum | cut -c 1-64)"
    status=$?
    opened=
    return "$status"
}

# make_volume DEVICE: what was there is lost. Sets `why` if it fails.
make_volume() {
    check_recovery || return 1
    why="$CONFIG cannot be measured"
    values=$(next_values) || return 1
    # A seal that cannot open would have the next start make the volume anew (changed=new).
    why='PCR 14 has another value than CONFIG alone gives'
    case "$values " in
        "14=$(pcr_now 14) "* | *" 14=$(pcr_now 14) "*) ;;
        14=* | *' 14='*) return 1 ;;
    esac
    key=$(new_key)
    why='the TPM seals no key'
    tpm_seal "$values" "$key" || return 1
    why="$1 cannot be written"
    printf %s "$UNFINISHED" | dd of="$1" bs=1024 seek=$UNFINISHED_AT conv=notrunc,fsync 2>/dev/null || return 1
    # shellcheck disable=SC2086 # options
    why=$(printf %s "$key" | cryptsetup luksFormat $SLOT_OPTIONS --type luks2 --cipher aes-xts-plain64 --key-size 512 --hash sha256 \
        --label P3-new --key-file - "$1" 2>&1) || return 1
    why=$(import_token "$1" 0 eve-tpm2 "$(seal_fields "$values")" 2>&1) || return 1
    why=$(open_with "$1" "$key" 2>&1) || return 1
    key=
    renew_recovery "$1" || return 1
    close_seal
}

# check_recovery: whether persist_recovery.pem of CONFIG, if it is there, is a key. Sets `modulus`, or `why`.
check_recovery() {
    pem=$CONFIG/persist_recovery.pem
    [ -e "$pem" ] || return 0
    modulus=$(modulus_of "$pem")
    why='persist_recovery.pem of CONFIG is no RSA key of 2048 or 3072 bits in a PEM file PUBLIC KEY'
    [ -n "$modulus" ]
}

# renew_recovery DEVICE: a recovery key for the owner that CONFIG names, if the volume has none for that one. Sets `why` if it fails.
renew_recovery() {
    pem=$CONFIG/persist_recovery.pem
    if [ ! -e "$pem" ]; then
        [ -n "$(tokens "$1" eve-recovery)" ] || say "EVE: /persist has no recovery key: CONFIG has no persist_recovery.pem"
        return 0
    fi
    owner=$(public_key_in "$pem" | sha256sum | cut -c 1-64)
    old=$(tokens "$1" eve-recovery)
    for token in $old; do
        [ "$(field "$1" "$token" owner)" != "$owner" ] || return 0
    done
    check_recovery || return 1
    why='the TPM encrypts nothing to persist_recovery.pem'
    key=$(new_key)
    encrypted=$(tpm_encrypt "$modulus" "$(printf %s "$key" | xxd -p | tr -d '\n')") || return 1
    slot=$(free_number "$1" Keyslots)
    why=$(add_slot "$1" "$slot" "$key" 2>&1) || return 1
    why=$(import_token "$1" "$slot" eve-recovery "\"owner\":\"$owner\",\"encrypted\":\"$encrypted\"" 2>&1) || return 1
    for token in $old; do
        drop_token "$1" "$token" "$key"
    done
    key=
}

# open_sealed DEVICE: by one of the keys that the TPM gives. Fails with `why`, and with `refused` if the TPM has said that it gives none of them:
# another failure may be over at the next start. Sets `sealed_to`, the PCRs and values of the seal that has opened.
open_sealed() {
    why='no key of it is sealed to a TPM'
    refused=
    for token in $(tokens "$1" eve-tpm2); do
        values=$(field "$1" "$token" pcrs)
        tpm_unseal "$values" "$(field "$1" "$token" private)" "$(field "$1" "$token" public)"
        case $? in
            0)
                refused=
                sealed_to=" $values"
                if why=$(open_with "$1" "$secret" 2>&1) && close_seal; then
                    secret=
                    return 0
                fi
                secret=
                [ ! -e "$MAPPED" ] || cryptsetup close "$VOLUME"
                return 1
                ;;
            3)
                why="what its key was sealed to has changed: $(changed_pcrs "$values" "$(values_now "$values")")"
                refused=yes
                ;;
            4)
                why='its key was sealed by another TPM, or by this one before it was cleared'
                refused=yes
                ;;
            *)
                refused=
                return 1
                ;;
        esac
    done
    return 1
}

# values_now VALUES: what the TPM has in the PCRs of this list.
values_now() {
    for value in $1; do
        printf '%s=%s ' "${value%%=*}" "$(pcr_now "${value%%=*}")"
    done
}

# choose_device P3: sets `device`, what is to be mounted: P3 or a volume on it. `fresh` says that nothing in P3 may be lost, and is set when the
# volume is new.
choose_device() {
    device=$1
    read_wish "$CONFIG/persist_encryption" ||
        lock_persist "persist_encryption of CONFIG has the word \`$word\`" 'its words are no, tpm, tpm-if-there, pcrs=7,14, changed=stop, changed=new'
    if [ -z "$fresh" ] && has_luks "$1"; then
        if ! cryptsetup luksDump "$1" | grep -q '^Label:[[:space:]]*P3-new$'; then
            open_volume "$1"
            return
        fi
        # A start ended while it was made.
        fresh=yes
    elif [ -z "$fresh" ] && is_unfinished "$1"; then
        fresh=yes
    fi
    [ "$wish" != no ] || return 0
    if ! has_tpm; then
        [ "$wish" = tpm ] || { say "EVE: no TPM 2.0 with PCRs of SHA-256, so /persist is not encrypted (tpm-if-there)"; return 0; }
        lock_persist 'persist_encryption of CONFIG asks for a TPM, and there is no TPM 2.0 with PCRs of SHA-256' \
            'with tpm-if-there this machine has a /persist that is not encrypted'
    fi
    [ -n "$fresh" ] || lock_persist "persist_encryption of CONFIG says $wish, and $1 has files that are not encrypted" \
        'the word no mounts them; copy them away, then erase P3 (docs/PERSIST.md)'
    measure_config
    make_volume "$1" || lock_persist "/persist cannot be encrypted: $why" 'docs/PERSIST.md has what it takes'
    device=$MAPPED
}

# Without it the TPM's refusal would say nothing of what is in CONFIG.
measure_config() {
    "$MEASURE" config || lock_persist "$CONFIG cannot be measured, or the TPM does not extend PCR 14" \
        'what it said is in /run/eve/onboot/*-storage-init/log'
}

# open_volume P3: sets `device`, or ends the start for /persist.
open_volume() {
    has_tpm || lock_persist 'it is encrypted with a key that a TPM has, and there is no TPM 2.0 with PCRs of SHA-256' "$UNLOCK"
    measure_config
    device=$MAPPED
    if open_sealed "$1"; then
        # With a seal that does not know CONFIG, whoever writes there would get a key of his own.
        case $sealed_to in
            *' 14='*) [ ! -e "$CONFIG/persist_recovery.pem" ] || renew_recovery "$1" || say "EVE: the recovery key of /persist was not renewed: $why" ;;
        esac
        return
    fi
    # A system on trial may be the cause, and the one before it gets the key.
    if [ "$changed" = new ] && [ -n "$refused" ] && ! grep -qw eve_trial /proc/cmdline; then
        say "EVE: /persist is made anew (changed=new): $why"
        make_volume "$1" || lock_persist "/persist cannot be encrypted: $why" 'docs/PERSIST.md has what it takes'
        fresh=yes
        return
    fi
    lock_persist "$why" "$UNLOCK"
}

# The volume has a file system. While it has the label of an unfinished one, no file may come into it.
settle_device() {
    [ "$device" != "$MAPPED" ] || [ -z "$fresh" ] || cryptsetup config --label P3 "$p3" ||
        lock_persist "the label of the volume on $p3 cannot be written" 'the next start makes the volume anew'
}

# reseal P3 [N=HEX…]: a key sealed to the PCRs of the next start takes the place of all others; with values, it comes beside them. Sets `outcome`, and
# `why` if it fails.
reseal() {
    p3=$1
    shift
    outcome='not sealed'
    old=$(tokens "$p3" eve-tpm2)
    why="$CONFIG cannot be measured"
    values=$(next_values "$@") || return 1
    key=$(new_key)
    why='the TPM seals no key'
    tpm_seal "$values" "$key" || return 1
    slot=$(free_number "$p3" Keyslots)
    why=$(add_slot "$p3" "$slot" "$key" 2>&1) || return 1
    why=$(import_token "$p3" "$slot" eve-tpm2 "$(seal_fields "$values")" 2>&1) || return 1
    outcome='sealed to the PCRs of the next start'
    stays=
    if [ $# = 0 ]; then
        for token in $old; do
            drop_token "$p3" "$token" "$key" || stays="$stays $token"
        done
    fi
    key=
    why="an older seal cannot be removed, and stays: token$stays of $p3"
    [ -z "$stays" ] || return 1
    renew_recovery "$p3" || { why="the recovery key was not renewed: $why"; return 1; }
}

# tell_state P3
tell_state() {
    if ! has_luks "$1"; then
        echo "encryption  none; CONFIG says $wish"
        return
    fi
    echo "encryption  LUKS2 $(cryptsetup luksUUID "$1"), $([ -e "$MAPPED" ] && echo open || echo locked); CONFIG says $wish"
    for token in $(tokens "$1" eve-tpm2); do
        values=$(field "$1" "$token" pcrs)
        pcrs=$(echo "$values" | sed 's/=[^ ]*//g')
        if ! has_tpm; then
            differs='there is no TPM'
        else
            differs=$(changed_pcrs "$values" "$(next_values)")
        fi
        echo "sealed      to the PCRs $pcrs: ${differs:+does not open at the next start: }${differs:-opens at the next start}"
    done
    for token in $(tokens "$1" eve-recovery); do
        echo "recovery    by the key whose public half has the SHA-256 $(field "$1" "$token" owner)"
    done
}

# check_values N=HEX…: `why` says which one is none of a PCR that is sealed to.
check_values() {
    for given in "$@"; do
        why="\`$given\` is no N=HEX of a PCR of $pcrs, with 64 digits"
        case " $pcrs " in
            *" ${given%%=*} "*) ;;
            *) return 1 ;;
        esac
        printf %s "${given#*=}" | grep -qx '[0-9a-f]\{64\}' || return 1
    done
}

# run_command P3 COMMAND [WORD…]: for `eve persist`.
run_command() {
    p3=$1
    command=$2
    shift 2
    read_wish "$CONFIG/persist_encryption" || fail "persist_encryption of CONFIG has the word \`$word\`"
    [ "$command" = status ] || has_luks "$p3" || fail "/persist is not encrypted"
    case $command in
        status) tell_state "$p3" ;;
        recovery)
            [ -n "$(tokens "$p3" eve-recovery)" ] || fail "/persist has no recovery key"
            for token in $(tokens "$p3" eve-recovery); do
                field "$p3" "$token" encrypted | xxd -r -p | base64
            done
            ;;
        unlock)
            ! is_mounted || fail "/persist is open"
            # It is open already if the mount failed.
            if [ ! -e "$MAPPED" ]; then
                IFS= read -r key || [ -n "$key" ] || fail "eve persist unlock takes the recovery key on stdin"
                said=$(open_with "$p3" "$(printf %s "$key" | tr -d ' \r\t')" 2>&1) || fail "the key does not open /persist: $said"
                key=
                ! has_tpm || close_seal || { cryptsetup close "$VOLUME"; fail "$why"; }
            fi
            e2fsck -p "$MAPPED"
            [ $? -le 2 ] || fail "/persist is open, and its file system is damaged. \`eve persist repair\` repairs what it can, and mounts it"
            ;;
        repair)
            ! is_mounted || fail "/persist is mounted: there is nothing to repair"
            [ -e "$MAPPED" ] || fail "/persist is locked: eve persist unlock comes first"
            e2fsck -y "$MAPPED"
            [ $? -le 2 ] || fail "the file system of /persist cannot be repaired"
            ;;
        reseal)
            [ -e "$MAPPED" ] || fail "/persist is locked: eve persist unlock comes first"
            has_tpm || fail "there is no TPM 2.0 with PCRs of SHA-256"
            outcome='not sealed'
            { check_values "$@" && reseal "$p3" "$@"; } || fail "$outcome: $why"
            tell_state "$p3"
            ;;
    esac
}
