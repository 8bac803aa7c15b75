#!/bin/bash
# Stands in for the program that it is linked as, while `cargo xtask conformance` records make or us in a checkout: writes the call down
# and does the least that the build needs to go on. The recorder sets:
#   STAND_IN_CALLS    the file of calls: fields that end in NUL; recording/calls.rs reads them
#   STAND_IN_PATH     the PATH with the real programs
#   STAND_IN_TAGS     a folder that keeps the tags of packages; empty when the tree changes
#   STAND_IN_FAIL     a regular expression: a call `PROGRAM ARGUMENTS` that it matches fails
#   STAND_IN_STATE    words: cache-full, vm-exists, vm-invalid, cloud-full, images-known, rootfs-size=BYTES

me=${0##*/}
full_path=$PATH
PATH=$STAND_IN_PATH
shopt -s lastpipe extglob
args=("$@")
input=none
text=
clean_up=()

has_state() { [[ " $STAND_IN_STATE " == *" $1 "* ]]; }
payload() { { printf 'made by a stand-in: %s\n' "$*"; cat /dev/zero; } 2> /dev/null | head -c 4096; }

# Writes the call down: program, folder, kind of standard input, its text, status, number of variables, them, number of arguments, them.
finish() {
    local status=$? names=(ZARCH DOCKER_ARCH_TAG PLATFORM KERNEL_TAG EVE_HASH DEBUG GOBIN CGO_ENABLED BUILDKIT_PROGRESS LINUXKIT_BUILDER_CONFIG)
    local variables=() name
    for name in "${names[@]}"; do [[ -v $name ]] && variables+=("$name=${!name}"); done
    {
        flock 9
        printf '%s\0' "$me" "$PWD" "$input" "$text" "$status" "${#variables[@]}" "${variables[@]}" "${#args[@]}" "${args[@]}" >&9
    } 9>> "$STAND_IN_CALLS"
    [ ${#clean_up[@]} = 0 ] || rm -rf "${clean_up[@]}"
}

# Keeps standard input: the names in a tar, or a short text.
take_input() {
    [ -t 0 ] && return
    local kept
    kept=$(mktemp) && clean_up+=("$kept")
    cat > "$kept"
    if tar -tf "$kept" > /dev/null 2>&1 && [ -s "$kept" ]; then
        input=tar
        text=$(tar -tf "$kept" 2> /dev/null | head -n 400)
    elif [ "$(stat -c %s "$kept")" -lt 16384 ]; then
        input=text
        text=$(tr -d '\0' < "$kept")
    else
        input=bytes
    fi
    taken=$kept
}

# The arguments from the first that is no option; `valued` lists the options that are followed by a value.
positional() {
    local valued=" $1 " word skip=''
    shift
    for word; do
        if [ -n "$skip" ]; then skip=; continue; fi
        case $word in
            -) echo - ;;
            -*=*) ;;
            -*) [[ $valued == *" ${word##*(-)} "* ]] && skip=y ;;
            *) printf '%s\n' "$word" ;;
        esac
    done
}

# The value of an option with one or two dashes.
value_of() {
    local name=$1 last='' word
    shift
    for word; do
        case $last in -"$name"|--"$name") printf '%s' "$word"; return ;; esac
        case $word in -"$name"=*|--"$name"=*) printf '%s' "${word#*=}"; return ;; esac
        last=$word
    done
    return 1
}

docker_run() {
    local image='' interactive='' word places=() wrote=''
    while [ $# -gt 0 ]; do
        word=$1; shift
        case $word in
            -v|--volume) places+=("$1"); shift ;;
            -e|--env|-w|--workdir|-u|--user|--name|--entrypoint|--mount|-p|--network|--platform|--hostname|-h|--env-file|--tmpfs|--device|--cap-add|--security-opt|--label|--pull) shift ;;
            -*) [[ $word == --interactive || $word =~ ^-[a-z]*i[a-z]*$ ]] && interactive=y ;;
            *) image=$word; break ;;
        esac
    done
    [ -n "$interactive" ] && take_input
    case $image in
        */yq:*)
            # The tree's patches are not applied: what is in the ymls is no part of a recording.
            [ -z "$taken" ] || cat "$taken"
            return ;;
        eve-build-*) in_go_builder "${places[@]}" -- "${@: -1}"; return ;;
    esac
    for word in "${places[@]}"; do
        case $word in
            *:/config.img|*:/rootfs.img|*:/output.img|*:/output.iso)
                payload "$word" > "${word%:*}"; wrote=y
                [[ $word == *:/output.img ]] && truncate -s 350M "${word%:*}"
                [[ $word == *:/rootfs.img && $STAND_IN_STATE =~ rootfs-size=([0-9]+) ]] && truncate -s "${BASH_REMATCH[1]}" "${word%:*}" ;;
            *:/output.tar)
                local folder
                folder=$(mktemp -d) && clean_up+=("$folder")
                payload ipxe > "$folder/ipxe.efi"; payload iso > "$folder/installer.iso"
                tar -cf "${word%:*}" -C "$folder" .; wrote=y ;;
        esac
    done
    if [ -z "$wrote" ] && [[ ${image%%:*} == alpine ]]; then payload alpine; fi
    return 0
}

# The shell command of a container of the Go builder; only what packs or generates something is done.
in_go_builder() {
    local places=() script word
    while [ "$1" != -- ]; do places+=("$1"); shift; done
    script=$2
    if [[ $script == tar\ * ]]; then
        for word in "${places[@]}"; do
            [[ $word == *:/go/src/* ]] && { word=${word%:z}; (cd "${word%%:*}" && bash -c "$script"); return; }
        done
    fi
    return 0
}

run_docker() {
    while [[ $1 == -* ]]; do case $1 in --context|-c|-H|--host|--config|-l) shift ;; esac; shift; done
    local verb=$1
    [ $# -gt 0 ] && shift
    case $verb in
        run) docker_run "$@" ;;
        container) [ "$1" = run ] && { shift; docker_run "$@"; } ;;
        load) [[ " $* " == *" -i "* || " $* " == *" --input "* ]] || take_input; echo 'Loaded image: stand-in' ;;
        version) echo 24.0.0 ;;
        inspect|pull) has_state images-known || { echo 'Error: No such object' >&2; return 1; } ;;
        image) case $1 in inspect|pull) has_state images-known || return 1 ;; ls) docker_images ;; esac ;;
        images) docker_images ;;
        create) echo 0123456789ab ;;
        build) [ "${*: -1}" = - ] && take_input ;;
    esac
    return 0
}

docker_images() {
    printf '%s\t%s\t%s\n' lfedge/eve-grub new a1 lfedge/eve-grub mid a2 lfedge/eve-grub old a3 lfedge/eve-pillar one b1 lfedge/eve x c1
}

# What `linuxkit pkg show-tag` prints, from git alone: the id of the folder's tree, and for a folder with changes a hash of its files.
package_tag() {
    local folder=$1 yml=$2 given=$3 canonical=$4 path hash template kept arguments=("$1"/lk-build-arg-*)
    [ -f "$folder/$yml" ] || { echo "open $folder/$yml: no such file or directory" >&2; return 1; }
    kept=$STAND_IN_TAGS/${folder//\//%}%$yml%$given%$canonical%${arguments[*]##*/}
    if [ -f "$kept" ]; then echo "$(< "$kept")"; return; fi
    path=$(git -C "$folder" rev-parse --show-prefix)
    hash=${given:-$(git -C "$folder" rev-parse "HEAD:${path%/}")} || return 1
    if [ -z "$given" ] && [ -n "$(git -C "$folder" status --porcelain -- .)" ]; then
        hash=$hash-dirty-$(cd "$folder" && { git ls-files -z; git ls-files -z --others --exclude-standard; } | xargs -0 cat 2> /dev/null | sha256sum | cut -c1-7)
    fi
    field() { sed -n "s/^$1: *//p" "$folder/$yml" | head -n 1 | tr -d "\"' \r"; }
    template=$(field tag)
    [ -n "$template" ] || template='{{.Hash}}'
    local org
    org=$(field org)
    local tag
    tag=${canonical:+docker.io/}${org:-linuxkit}/$(field image):${template//\{\{.Hash\}\}/$hash}
    echo "$tag"
    # Another call may look for it at this moment.
    { echo "$tag" > "$kept.$$" && mv "$kept.$$" "$kept"; } 2> /dev/null || true
}

# Any image: all that is taken out of EVE's.
export_files() {
    local folder name
    folder=$(mktemp -d) && clean_up+=("$folder")
    for name in boot/u-boot.bin bsp-imx/NXP-EULA-LICENSE.txt bsp-imx/imx8m{q_evk,p_pollux,p_epc_r3720}{-flash.bin,-flash.conf,.dtb} EFI/BOOT/BOOT{X64,AA64}.EFI \
        initrd.img ipxe.efi OVMF.fd OVMF_CODE.fd OVMF_VARS.fd kernel installer.img; do
        mkdir -p "$folder/$(dirname "$name")"
        payload "$name" > "$folder/$name"
    done
    tar -cf - -C "$folder" boot bsp-imx EFI initrd.img ipxe.efi OVMF.fd OVMF_CODE.fd OVMF_VARS.fd kernel installer.img
}

run_linuxkit() {
    while [[ $1 == -* ]]; do [[ $1 == -v && $2 =~ ^[0-9]$ ]] && shift; shift; done
    local out folder names=()
    case "$1 $2" in
        version*) echo 'linuxkit version v1.8.1' ;;
        'pkg show-tag'|pkg\ -*)
            # Asked more often than all else, so no other program is started for a tag that is known.
            local yml=build.yml given='' canonical=''
            while [ $# -gt 0 ]; do
                case $1 in
                    -build-yml|--build-yml) yml=$2; shift ;;
                    -hash|--hash) given=$2; shift ;;
                    -org|--org) shift ;;
                    -canonical|--canonical) canonical=y ;;
                    -*|pkg|show-tag) ;;
                    *) names+=("$1") ;;
                esac
                shift
            done
            for folder in "${names[@]}"; do package_tag "$folder" "$yml" "$given" "$canonical" || return 1; done ;;
        pkg\ *) ;;
        build\ *)
            out=$(value_of o "$@")
            positional 'arch o name format input-tar dir size sbom-output' "${@:2}" | mapfile -t names
            [ -f "${names[0]}" ] || { echo "linuxkit build: open ${names[0]}: no such file" >&2; return 1; }
            folder=$(mktemp -d) && clean_up+=("$folder")
            mkdir -p "$folder/boot" "$folder/EFI/BOOT"
            payload kernel > "$folder/boot/kernel"; echo '# grub.cfg' > "$folder/EFI/BOOT/grub.cfg"; echo '{"spdxVersion":"SPDX-2.3"}' > "$folder/sbom.spdx.json"
            tar -cf "${out:--}" --mtime=@1600000000 --sort=name -C "$folder" boot EFI sbom.spdx.json ;;
        'cache export')
            out=$(value_of outfile "$@")
            folder=$(mktemp) && clean_up+=("$folder")
            if [[ $(value_of format "$@") == filesystem ]]; then export_files > "$folder"; else echo '{}' > "$folder.json"; clean_up+=("$folder.json"); tar -cPf "$folder" "$folder.json"; fi
            if [ "${out:--}" = - ]; then cat "$folder"; else cp "$folder" "$out"; fi ;;
        'cache ls')
            if has_state cache-full; then
                for folder in pkg/*/build.yml; do echo "$(package_tag "$PWD/${folder%/build.yml}" build.yml '' y 2> /dev/null) sha256:0"; done
            fi ;;
    esac
    return 0
}

# Writes pkg-deps.mk as the tree's own program does, from FROM and ARG lines.
run_get_deps() {
    local out folder image rest name
    out=$(value_of m "$@") || return 1
    echo '# made by a stand-in' > "$out"
    for folder in pkg/*/; do
        folder=${folder%/}
        [ -f "$folder/Dockerfile" ] || { [ -f "$folder/Dockerfile.in" ] && PATH=$full_path make "./$folder/Dockerfile" > /dev/null 2>&1; }
        [ -f "$folder/Dockerfile" ] || continue
        awk '
            toupper($1) == "ARG" && !from { split($2, pair, "="); gsub(/"/, "", pair[2]); value[pair[1]] = pair[2] }
            toupper($1) == "FROM" { from = 1; word = $2; if (word ~ /^--platform/) word = $3
                for (name in value) { gsub("\\$\\{" name "\\}", value[name], word); gsub("\\$" name, value[name], word) }
                if (word ~ /lfedge\/.*:/) print word }' "$folder/Dockerfile" |
            sed -n 's,.*lfedge/\(eve-\)\?\(.*\):.*,\2,p' | awk '!seen[$0]++' |
            while read -r name; do
                if [ -d "pkg/$name" ] && [ "pkg/$name" != "$folder" ]; then
                    echo "$folder: pkg/$name"
                    echo "${folder#pkg/}-cache-export-docker-load: $name-cache-export-docker-load"
                fi
            done >> "$out"
    done
    if [[ " $* " == *" -r "* ]]; then
        for image in images/out/*.yml; do
            [ -f "$image" ] || continue
            grep -o 'lfedge/eve-[a-z0-9-]*' "$image" | sed 's,lfedge/eve-,,' | sort -u | while read -r rest; do
                if [ -d "pkg/$rest" ]; then echo "$image: pkg/$rest"; fi
            done >> "$out"
        done
    fi
}

run_git() {
    local words=("$@") verb folder
    while [[ ${words[0]} == -* ]]; do case ${words[0]} in -C|-c|--git-dir|--work-tree) words=("${words[@]:1}") ;; esac; words=("${words[@]:1}"); done
    verb=${words[0]}
    case $verb in
        fetch|checkout|merge|commit|push|clone|pull|switch|reset|clean|am|apply|worktree|restore|add) ;;
        tag) [[ " ${words[*]} " == *" -a "* ]] || { trap - EXIT; exec git "$@"; } ;;
        *) trap - EXIT; exec git "$@" ;;
    esac
    if [[ $verb == clone && "${words[*]}" == *http* ]]; then
        folder=${words[-1]}
        git init -q "$folder" && touch "$folder/.stand-in"
        printf 'local-build:\n\tln -sf %s $%s\n' "$(dirname "$STAND_IN_CALLS")/bin/linuxkit" '(LOCAL_TARGET)' > "$folder/Makefile"
        return
    fi
    # We fetch one commit into an empty repository.
    if [[ $verb == fetch && "${words[*]}" == *http* ]]; then
        mkdir -p src/cmd/linuxkit && touch .stand-in
        return
    fi
    [[ $1 == -C && -e $2/.stand-in || $verb == checkout && -e .stand-in ]] && return
    git "$@"
}

# Everything that go would compile is a stand-in, too.
run_go() {
    local out name folder
    case $1 in
        install)
            name=${*: -1}; name=${name%@*}; name=${name##*/}
            folder=${GOBIN:-$HOME/go/bin}; out=$folder/$name ;;
        build) out=$(value_of o "$@") || return 0; folder=$(dirname "$out") ;;
        env) return ;;
        version) echo 'go version go1.99.0 linux/amd64'; return ;;
        tool) if out=$(value_of o "$@"); then echo 'mode: atomic' > "$out"; fi; return ;;
        *) return ;;
    esac
    mkdir -p "$folder" && ln -sf "$(dirname "$STAND_IN_CALLS")/bin/stand-in" "$out"
}

run_curl() {
    local word out='' last=''
    for word; do [[ $last =~ ^-[a-zA-Z]*o$ ]] && out=$word; last=$word; done
    # A linuxkit that is downloaded is started.
    case $out in
        */linuxkit-*) ln -sf "$(dirname "$STAND_IN_CALLS")/bin/linuxkit" "$out" ;;
        *) payload curl > "${out:-/dev/stdout}" ;;
    esac
}

trap finish EXIT
if [ -n "$STAND_IN_FAIL" ] && [[ "$me $*" =~ $STAND_IN_FAIL ]]; then
    [ -p /dev/stdin ] && cat > /dev/null
    echo "$me: this failure is wanted" >&2
    exit 1
fi
case $me in
    docker) run_docker "$@" ;;
    linuxkit) run_linuxkit "$@" ;;
    get-deps) run_get_deps "$@" ;;
    git) run_git "$@" ;;
    go) run_go "$@" ;;
    curl) run_curl "$@" ;;
    qemu-img) qemu-img "$@" ;;
    qemu-system-*) if [[ "$*" =~ dumpdtb=([^ ]+) ]]; then payload dtb > "${BASH_REMATCH[1]}"; fi ;;
    ssh-keygen) out=$(value_of f "$@"); echo private > "$out"; echo 'ssh-rsa public' > "$out.pub" ;;
    gcloud) if [[ " $* " == *" list "* ]]; then if has_state cloud-full; then echo 'NAME PROJECT FAMILY'; else echo 'Listed 0 items.' >&2; fi; fi ;;
    VBoxManage) if [ "$1" = list ] && has_state vm-exists; then echo '"EVE_Live" {00000000-0000-0000-0000-000000000000}'; fi ;;
    prlctl)
        if [ "$1" = list ]; then
            if has_state vm-exists; then echo '{0000}  stopped  -  EVE_Live'; elif has_state vm-invalid; then echo '{0000}  invalid  -  EVE_Live'; fi
        fi ;;
    go-sources-and-licenses) echo 'golang,example.org/m@v1.0.0,v1.0.0,golang/m.zip' ;;
    sleep|pkill) trap - EXIT ;;
esac
