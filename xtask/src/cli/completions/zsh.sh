#compdef cargo
# zsh completion for `cargo xtask`; source it after compinit.
_cargo_xtask() {
    if [[ ${words[2]} != xtask ]]; then
        (( $+functions[_cargo] )) && _cargo "$@"
        return
    fi
    local line
    local -a texts shown
    while IFS= read -r line; do
        texts+=("${line%%$'\t'*}")
        shown+=("${line%%$'\t'*}  ${line#*$'\t'}")
    done < <(@XTASK@ completions zsh -- "${(@)words[3,CURRENT]}" 2>/dev/null)
    if (( ${#texts} == 0 )); then
        _files
    elif [[ ${texts[1]} == *[=/] ]]; then
        # What follows `HV=` or a folder stands directly behind it.
        compadd -S '' -ld shown -a texts
    else
        compadd -ld shown -a texts
    fi
}
compdef _cargo_xtask cargo
