#!/bin/sh
# Unpacks packages of this image's archive: the closure of BUILD_PKGS into the root, that of PKGS into /out. Each variable
# also with an architecture, such as PKGS_arm64. Closures stop at the names in DROP_PKGS. No maintainer script runs.
# `cargo xtask` does the same in process (tools/pkgbuild/src/debian); a test compares the two.
set -eu

# Tests look at another root, and have busybox elsewhere.
root=${EVE_DEBIAN_ROOT:-}
bb=${EVE_DEBIAN_BUSYBOX:-/bin/busybox}
# What is unpacked may replace any tool while it is in use: only this one copy is called.
tmp=$("$bb" mktemp -d "$root/tmp/eve-debian.XXXXXX")
trap '"$bb" rm -rf "$tmp"' EXIT
"$bb" cp "$bb" "$tmp/busybox"
run() { "$tmp/busybox" "$@"; }

fail() {
  echo "eve-debian-deploy.sh: $*" >&2
  exit 1
}

find_archive() {
  set -- "$root"/packages/*/lock
  [ -e "$1" ] || fail "there is no archive in $root/packages"
  [ $# -eq 1 ] || set -- "$root/packages/${TARGETARCH:?several archives are here, and TARGETARCH does not say which}/lock"
  [ -e "$1" ] || fail "there is no archive in $1"
  archive=$(run dirname "$1")
  arch=$(run basename "$archive")
}

# The value of a variable and of its namesake for this architecture.
words_of() {
  eval "echo \${$1:-} \${$1_$arch:-}"
}

# Prints name, digest and file of each package in the closure of the words in $1, in byte order.
closure() {
  run awk -v wanted="$1" -v dropped="$(words_of DROP_PKGS)" '
    /^#/ || NF == 0 { next }
    {
      file = $7
      sub(".*/", "", file)
      line[$1] = $1 " " $4 " " file
      needs[$1] = ""
      for (at = 8; at <= NF; at++) needs[$1] = needs[$1] " " $at
    }
    END {
      count = split(dropped, names, " ")
      for (at = 1; at <= count; at++) seen[names[at]] = 1
      last = split(wanted, queue, " ")
      for (at = 1; at <= last; at++) {
        if (!(queue[at] in line)) {
          print "the Debian archive has no `" queue[at] "`" > "/dev/stderr"
          exit 1
        }
      }
      for (at = 1; at <= last; at++) {
        name = queue[at]
        if (name in seen) continue
        seen[name] = 1
        print line[name]
        count = split(needs[name], names, " ")
        for (next_one = 1; next_one <= count; next_one++) queue[++last] = names[next_one]
      }
    }' "$archive/lock" >"$tmp/unsorted" || fail "cannot find the packages: $1"
  LC_ALL=C run sort "$tmp/unsorted"
}

# A member of a .deb by the beginning of its name, unpacked.
member() {
  found=$(run ar t "$1" | run grep "^$2" | run head -n 1)
  case $found in
    *.tar) run ar p "$1" "$found" ;;
    *.gz) run ar p "$1" "$found" | run gunzip -c ;;
    *.xz) run ar p "$1" "$found" | run unxz -c ;;
    *) fail "$1: no $2, or packed in a way that busybox does not know ($found)" ;;
  esac
}

# Gives each entry of /usr/bin and its like a link in /bin and its like, where programs and the dynamic loader are looked for.
# Links of the folders themselves, as Debian 13 has them, would replace the folders of an image that lies below.
link_from_old_places() {
  for folder in bin sbin lib lib64; do
    for entry in "$into/usr/$folder"/* "$into/usr/$folder"/.[!.]*; do
      name=${entry##*/}
      if ! [ -e "$entry" ] && ! [ -L "$entry" ]; then continue; fi
      # The archive image has links of that name to busybox, which a package's own program replaces.
      if [ -e "$into/$folder/$name" ] && ! [ -L "$into/$folder/$name" ]; then continue; fi
      run mkdir -p "$into/$folder"
      run ln -sfn "../usr/$folder/$name" "$into/$folder/$name"
    done
  done
}

unpack() {
  into=$1
  status=$into/var/lib/dpkg/status.d
  closure "$2" >"$tmp/closure"
  while read -r name digest file; do
    echo "$digest  $archive/$file" | run sha256sum -s -c || fail "$archive/$file is damaged"
    # A pipe hides the failure of its first half: the tar goes through a file.
    member "$archive/$file" data.tar >"$tmp/data.tar" || fail "$archive/$file cannot be unpacked"
    run tar -x -f "$tmp/data.tar" -C "$into" || fail "$archive/$file cannot be unpacked"
    run mkdir -p "$status"
    member "$archive/$file" control.tar >"$tmp/control.tar" || fail "$archive/$file cannot be unpacked"
    control=$(run tar -t -f "$tmp/control.tar" | run grep -x '\(\./\)\?control') || fail "$archive/$file has no control"
    run tar -x -O -f "$tmp/control.tar" "$control" >"$status/$name"
  done <"$tmp/closure"
  if [ -e "$archive/merged-usr" ]; then link_from_old_places; fi
  # What a machine never reads. The same list stands in tools/pkgbuild/src/debian/unpack.rs.
  for name in bash-completion bug doc-base groff info linda lintian locale man zsh; do
    run rm -rf "$into/usr/share/$name"
  done
  if [ -d "$into/usr/share/doc" ]; then
    run find "$into/usr/share/doc" -mindepth 2 -maxdepth 2 ! -name copyright -exec "$tmp/busybox" rm -rf {} +
  fi
  if [ -d "$into/usr/share/ca-certificates" ]; then
    run mkdir -p "$into/etc/ssl/certs"
    run find "$into/usr/share/ca-certificates" -type f -name '*.crt' | LC_ALL=C run sort | run xargs "$tmp/busybox" cat \
      >"$into/etc/ssl/certs/ca-certificates.crt"
  fi
}

find_archive
run mkdir -p "$root/out"
unpack "$root/" "$(words_of BUILD_PKGS)"
unpack "$root/out" "$(words_of PKGS)"
