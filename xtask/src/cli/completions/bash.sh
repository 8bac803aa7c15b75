# bash completion for `cargo xtask`; source it after cargo's own.
_cargo_xtask() {
    if [[ ${COMP_WORDS[1]} != xtask ]]; then
        if declare -F _cargo >/dev/null; then _cargo "$@"; fi
        return
    fi
    local word=${COMP_WORDS[COMP_CWORD]} line
    if [[ $word == [=:] ]]; then word=; fi
    COMPREPLY=()
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        if [[ $line == "$word"* ]]; then COMPREPLY+=("$line"); fi
    done < <(@XTASK@ completions bash -- "${COMP_WORDS[@]:2:COMP_CWORD-1}" 2>/dev/null)
    # What follows `HV=` stands directly behind it.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -o default -F _cargo_xtask cargo
