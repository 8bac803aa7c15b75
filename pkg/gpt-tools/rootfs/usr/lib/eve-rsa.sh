# shellcheck shell=dash
#
# Checks signatures with busybox, which has all that this takes: eve-verify uses it for updates, and the initrd of a signed image for the
# root file system.

# is_signed MODULUS DIGEST SIGNATURE: whether SIGNATURE is that of a text with the SHA-256 DIGEST by the RSA key with this modulus and the
# exponent 65537 (PKCS #1 v1.5). All are hexadecimal digits in capitals. The whole number that a right signature gives is made here and
# compared, so there is no padding to read.
is_signed() {
    [ ${#1} -ge 512 ] && [ ${#3} -eq ${#1} ] || return 1
    # 00 01, FF bytes, 00, the DER of SHA-256's name, the digest.
    padding=$(printf "%$((${#1} - 108))s" '' | tr ' ' F)
    right=0001${padding}003031300D060960864801650304020105000420$2
    answer=$(printf '%s\n' "ibase=16" "n=$1" "s=$3" "t=s" "for (i=0; i<10; i=i+1) { t=(t*t)%n }" "(s<n)*((t*s)%n==$right)" |
        BC_LINE_LENGTH=0 busybox bc 2>/dev/null)
    [ "$answer" = 1 ]
}
