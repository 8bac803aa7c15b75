# fish completion for `cargo xtask`.
function __cargo_xtask_candidates
    set -l words (commandline -opc)
    set -l found (@XTASK@ completions fish -- $words[3..-1] (commandline -ct) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c cargo -n 'test (count (commandline -opc)) -ge 2; and test (commandline -opc)[2] = xtask' -f -a '(__cargo_xtask_candidates)'
