# shellcheck shell=dash
#
# The commands of a TPM 2.0 that sealing a key takes, in hexadecimal digits: structures by Part 2 of the TCG's TPM Library, commands by Part 3.
# A secret is in variables and pipes only: printf is part of the shell, so none is on a command line.
#
# tpm_seal PCRS PUBLIC... keep no object in the TPM: the storage key is made anew from the owner's seed each time, always the same.
# shellcheck disable=SC2034 # encryption.sh reads `why`, `secret` and what is sealed
# PCRS is a list such as `7=HEX 14=HEX`: PCRs of the SHA-256 bank, in ascending order, with the values that open the seal.

TPM=/dev/tpmrm0
# An empty password: TPM_RS_PW, no nonce, no attributes, no HMAC, and the size of that before it (Part 1, 19.4).
TPM_PASSWORD=00000009400000090000000000
# The template of the storage key: ECC, SHA-256, fixedTPM fixedParent sensitiveDataOrigin userWithAuth noDA restricted decrypt, no policy, AES-128
# in CFB mode, no scheme, NIST P-256, no KDF, no unique value (Part 2, 12.2.4).
TPM_STORAGE_KEY=0023000b00030472000000060080004300100003001000000000

# at FROM COUNT: bytes of the answer.
at() {
    printf %s "$answer" | cut -c $(($1 * 2 + 1))-$((($1 + $2) * 2))
}

# sized HEX: a TPM2B, which has its length before it.
sized() {
    printf '%04x%s' $((${#1} / 2)) "$1"
}

# sized_at FROM: the TPM2B of the answer that begins there, with its length.
sized_at() {
    at "$1" $((2 + 0x$(at "$1" 2)))
}

# What is sent and what comes go over the same open file. A shell whose `exec` cannot open it would end.
tpm_open() {
    why="$TPM does not open"
    (exec 3<> "$TPM") 2>/dev/null && exec 3<> "$TPM"
}

# tpm_call TAG CODE BODY: sets `answer`. 1: `why` says what went wrong. 3: the PCRs are not those of the policy. 4: what was loaded is not from this
# TPM, or from before its owner's seed was changed.
tpm_call() {
    printf '%s%08x%s%s' "$1" $((10 + ${#3} / 2)) "$2" "$3" | xxd -r -p | dd bs=4096 count=1 iflag=fullblock >&3 2>/dev/null
    answer=$(dd bs=4096 count=1 <&3 2>/dev/null | xxd -p | tr -d '\n')
    # TPM_RC (Part 2, 6.6.3): TPM_RC_POLICY_FAIL for the first session; TPM_RC_INTEGRITY of the first parameter. TPM_RC_PCR_CHANGED (0x128) says only
    # that some PCR was extended meanwhile.
    case $(at 6 4) in
        00000000) return 0 ;;
        0000099d) return 3 ;;
        000001df) return 4 ;;
        '') why="the TPM does not answer to the command 0x$2" ;;
        *) why="the TPM refuses the command 0x$2 with the code 0x$(at 6 4)" ;;
    esac
    return 1
}

# TPM2_FlushContext. The resource manager of /dev/tpmrm0 does it at the end as well, a TPM alone does not.
tpm_flush() {
    kept=$answer
    tpm_call 8001 00000165 "$1"
    answer=$kept
}

# The list of PCRs in a policy: one bank, SHA-256, with a bit for each of 24 PCRs (TPML_PCR_SELECTION).
tpm_selection() {
    bits=0
    for pcr in $1; do
        bits=$((bits | 1 << ${pcr%%=*}))
    done
    printf '00000001000b03%02x%02x%02x' $((bits & 255)) $((bits >> 8 & 255)) $((bits >> 16 & 255))
}

# sha256 HEX
sha256() {
    printf %s "$1" | xxd -r -p | sha256sum | cut -c 1-64
}

# What TPM2_PolicyPCR makes of a new session: SHA-256 of 32 zeros, its code, the selection and the digest of the values (Part 3, 23.7).
tpm_policy() {
    values=
    for pcr in $1; do
        values=$values${pcr#*=}
    done
    sha256 "$(printf '%064d' 0)0000017f$(tpm_selection "$1")$(sha256 "$values")"
}

# TPM2_CreatePrimary under the owner: sets `parent`.
tpm_storage_key() {
    tpm_call 8002 00000131 "40000001${TPM_PASSWORD}000400000000$(sized $TPM_STORAGE_KEY)000000000000" || return
    parent=$(at 10 4)
}

# tpm_seal PCRS SECRET: sets `sealed_private` and `sealed_public`, which only this TPM opens, and only with these values.
tpm_seal() {
    tpm_open || return 1
    tpm_storage_key || return
    # A data object (KEYEDHASH): fixedTPM fixedParent noDA, so its policy is the only way to it; no scheme, no unique value.
    template=0008000b00000412$(sized "$(tpm_policy "$1")")00100000
    # TPM2_Create. The secret is the data of the sensitive part, behind an empty password.
    tpm_call 8002 00000153 "$parent$TPM_PASSWORD$(sized "0000$(sized "$2")")$(sized "$template")000000000000" || { tpm_flush "$parent"; return 1; }
    sealed_private=$(sized_at 14)
    sealed_public=$(sized_at $((14 + ${#sealed_private} / 2)))
    tpm_flush "$parent"
}

# tpm_unseal PCRS PRIVATE PUBLIC: sets `secret`. The values of PCRS are those of the TPM now.
tpm_unseal() {
    tpm_open || return 1
    tpm_storage_key || return
    # TPM2_Load
    tpm_call 8002 00000157 "$parent$TPM_PASSWORD$2$3"
    status=$?
    object=$(at 10 4)
    tpm_flush "$parent"
    [ "$status" = 0 ] || return "$status"
    # TPM2_StartAuthSession: neither salted nor bound, a nonce of 16 bytes, TPM_SE_POLICY, no encryption, SHA-256.
    tpm_call 8001 00000176 "4000000740000007$(sized "$(head -c 16 /dev/urandom | xxd -p)")0000010010000b" || { tpm_flush "$object"; return 1; }
    session=$(at 10 4)
    # TPM2_PolicyPCR with the values of now, then TPM2_Unseal, which ends the session if it succeeds.
    tpm_call 8001 0000017f "${session}0000$(tpm_selection "$1")" &&
        tpm_call 8002 0000015e "${object}00000009${session}0000000000"
    status=$?
    secret=
    if [ "$status" = 0 ]; then
        secret=$(sized_at 14 | cut -c 5-)
    else
        tpm_flush "$session"
    fi
    tpm_flush "$object"
    return "$status"
}

# tpm_extend PCR TEXT: TPM2_PCR_Event, which extends each bank with the digest of the text and a line feed.
tpm_extend() {
    tpm_open || return 1
    event=$(printf '%s\n' "$2" | xxd -p | tr -d '\n')
    tpm_call 8002 0000013c "$(printf %08x "$1")$TPM_PASSWORD$(sized "$event")"
}

# public_key_in FILE: the DER in the first PEM `PUBLIC KEY`.
public_key_in() {
    tr -d '\r' < "$1" | sed -n '/^-----BEGIN PUBLIC KEY-----$/,/^-----END PUBLIC KEY-----$/{/^-----END/q;/^-----/!p;}' | base64 -d 2>/dev/null
}

# modulus_of FILE: the modulus of an RSA key of 2048 or 3072 bits with the exponent 65537; nothing of any other key.
modulus_of() {
    der=$(public_key_in "$1" | xxd -p | tr -d '\n')
    # SubjectPublicKeyInfo: rsaEncryption, and a bit string with the two numbers of the key.
    for head in 30820122300d06092a864886f70d01010105000382010f003082010a0282010100 \
        308201a2300d06092a864886f70d01010105000382018f003082018a0282018100; do
        rest=${der#"$head"}
        [ "$rest" = "$der" ] || [ "${rest%0203010001}" = "$rest" ] || echo "${rest%0203010001}"
    done
}

# tpm_encrypt MODULUS SECRET: prints the secret encrypted to the RSA key (OAEP with SHA-256, no label), as `openssl pkeyutl -decrypt` takes it.
tpm_encrypt() {
    tpm_open || return 1
    # TPM2_LoadExternal: a public key with decrypt and userWithAuth, no scheme, the usual exponent; under no hierarchy.
    template=0001000b00020040000000100010$(printf %04x $((${#1} * 4)))00000000$(sized "$1")
    tpm_call 8001 00000167 "0000$(sized "$template")40000007" || return 1
    object=$(at 10 4)
    # TPM2_RSA_Encrypt
    tpm_call 8001 00000174 "$object$(sized "$2")0017000b0000"
    status=$?
    tpm_flush "$object"
    [ "$status" != 0 ] || sized_at 10 | cut -c 5-
    return "$status"
}
