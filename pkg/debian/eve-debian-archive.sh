#!/bin/sh
# Makes the archive image's root in /archive, in docker: every package of the lock of release $1, from an older archive in
# /packages where it is there, else from a mirror. `cargo xtask` does the same in process (tools/pkgbuild/src/debian).
# The mirror is DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR, or what apt in this image uses.
set -eu

release=${1:?a release, such as bookworm}
case ${TARGETARCH:-$(uname -m)} in
  amd64 | x86_64) arch=amd64 ;;
  arm64 | aarch64) arch=arm64 ;;
  *) arch=${TARGETARCH:-$(uname -m)} ;;
esac
lock=/etc/eve-debian/mirrors/$release/$arch.lock
to=/archive/packages/$arch

fail() {
  echo "eve-debian-archive.sh: $*" >&2
  exit 1
}

[ -e "$lock" ] || fail "$release is not pinned for $arch: there is no $lock"

# A Debian image has no downloader: busybox is one, and is all that is needed besides.
if ! [ -x /bin/busybox ]; then
  apt-get update -q
  apt-get install -q -y --no-install-recommends busybox-static
fi
run() { /bin/busybox "$@"; }

# The address of apt's mirror whose suite is $1, in either of apt's formats.
apt_mirror() {
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if ! [ -f "$file" ]; then continue; fi
    run awk -v suite="$1" '
      $1 == "deb" { for (at = 2; at < NF; at++) if ($at ~ /^http:/ && $(at + 1) == suite) print $at }
      /^[ \t]*$/ { uri = "" }
      $1 == "URIs:" { uri = $2 }
      $1 == "Suites:" { for (at = 2; at <= NF; at++) if ($at == suite && uri ~ /^http:/) print uri }' "$file"
  done | run head -n 1
}

mirror_of() {
  case $1 in
    security) address=${DEBIAN_SECURITY_MIRROR:-$(apt_mirror "$release-security")} knob=DEBIAN_SECURITY_MIRROR ;;
    *) address=${DEBIAN_MIRROR:-$(apt_mirror "$release")} knob=DEBIAN_MIRROR ;;
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
run ar p "$to/$busybox" data.tar.xz | run unxz -c | run tar -x -f - -C /archive ./bin/busybox
run grep -v '^#' /etc/eve-debian/applets | while read -r name; do
  if [ -n "$name" ]; then run ln -s busybox "/archive/bin/$name"; fi
done
