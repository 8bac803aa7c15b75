#!/bin/sh
# Makes the archive image's root in /archive, in docker: every package of the lock for this architecture, from an older archive in
# /packages where it is there, else from a mirror. `cargo xtask` does the same in process (tools/pkgbuild/src/debian).
# The mirror is DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR, or what apt in this image uses.
set -eu

case ${TARGETARCH:-$(uname -m)} in
  amd64 | x86_64) arch=amd64 ;;
  arm64 | aarch64) arch=arm64 ;;
  *) arch=${TARGETARCH:-$(uname -m)} ;;
esac
mirrors=/etc/eve-debian/mirrors
to=/archive/packages/$arch

fail() {
  echo "eve-debian-archive.sh: $*" >&2
  exit 1
}

# An architecture is made from the release that has a lock for it.
set -- "$mirrors"/*/"$arch.lock"
[ -e "$1" ] || fail "no Debian release is pinned for $arch: there is no $1"
[ $# -eq 1 ] || fail "several releases are pinned for $arch: $*"
lock=$1
release=${lock%/*}
release=${release##*/}

# A Debian image has no downloader: busybox is one, and is all that is needed besides.
if ! [ -x /bin/busybox ]; then
  apt-get update -q
  apt-get install -q -y --no-install-recommends busybox-static
fi
run() { /bin/busybox "$@"; }

# The address of apt's mirror of any release's suite with the ending $1, in either of apt's formats: all releases share one pool.
apt_mirror() {
  suites=
  for folder in "$mirrors"/*; do suites="$suites ${folder##*/}$1"; done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if ! [ -f "$file" ]; then continue; fi
    run awk -v suites="$suites " '
      $1 == "deb" { for (at = 2; at < NF; at++) if ($at ~ /^http:/ && index(suites, " " $(at + 1) " ")) print $at }
      /^[ \t]*$/ { uri = "" }
      $1 == "URIs:" { uri = $2 }
      $1 == "Suites:" { for (at = 2; at <= NF; at++) if (index(suites, " " $at " ") && uri ~ /^http:/) print uri }' "$file"
  done | run head -n 1
}

mirror_of() {
  case $1 in
    security) address=${DEBIAN_SECURITY_MIRROR:-$(apt_mirror -security)} knob=DEBIAN_SECURITY_MIRROR ;;
    *) address=${DEBIAN_MIRROR:-$(apt_mirror "")} knob=DEBIAN_MIRROR ;;
  esac
  [ -n "$address" ] || fail "no http mirror is known: --build-arg $knob=http://host/path"
  echo "${address%/}"
}

is_whole() {
  [ -f "$1" ] && echo "$2  $1" | run sha256sum -s -c
}

get() {
  file=$to/${5##*/}
  if is_whole "/packages/$arch/${5##*/}" "$3"; then
    run cp "/packages/$arch/${5##*/}" "$file"
    return
  fi
  address=$(mirror_of "$4") || exit 1
  echo "$1 $2"
  for wait in 1 4 0; do
    if run wget -q -c -O "$file.part" "$address/$5" && is_whole "$file.part" "$3"; then
      run mv "$file.part" "$file"
      return
    fi
    run rm -f "$file.part"
    run sleep "$wait"
  done
  fail "cannot get $1 $2 from the mirror, or it has another digest. When it has left the mirror, build with --build-arg CACHE=an older archive image"
}

run mkdir -p "$to" /archive/bin /archive/tmp
run chmod 1777 /archive/tmp
while read -r name version _ digest _ suite path _; do
  case $name in '' | '#'*) continue ;; esac
  get "$name" "$version" "$digest" "$suite" "$path"
done <"$lock"
{
  echo "# Debian $release, $arch: what this image holds."
  run grep -v '^#' "$lock"
} >"$to/lock"

busybox=$(run awk '$1 == "busybox-static" { sub(".*/", "", $7); print $7 }' "$lock")
[ -n "$busybox" ] || fail "the lock has no busybox-static, which the image runs with"
run ar p "$to/$busybox" data.tar.xz | run unxz -c >/tmp/busybox.tar
if run tar -t -f /tmp/busybox.tar | run grep -q -x './bin/busybox'; then
  run tar -x -f /tmp/busybox.tar -C /archive ./bin/busybox
else
  # From Debian 13 on packages have files below /usr only.
  run tar -x -O -f /tmp/busybox.tar ./usr/bin/busybox >/archive/bin/busybox
  run chmod 0755 /archive/bin/busybox
  run touch "$to/merged-usr"
fi
run grep -v '^#' /etc/eve-debian/applets | while read -r name; do
  if [ -n "$name" ]; then run ln -s busybox "/archive/bin/$name"; fi
done
