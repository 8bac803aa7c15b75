//! `completions SHELL`: prints a completion script, generated from the tables of verbs and knobs.

use super::verbs;
use anyhow::Result;
use child::environment::Environment;

/// The shell for the script.
#[derive(clap::Args)]
pub struct Completions {
    /// the shell
    #[arg(value_name = "SHELL", value_parser = ["bash"], default_value = "bash")]
    shell: String,
}

/// `completions`.
pub fn run(_: &Environment, Completions { shell }: Completions) -> Result<()> {
    debug_assert_eq!(shell, "bash");
    let names: Vec<&str> = verbs().map(|verb| verb.name).collect();
    let flags: Vec<String> = knobs::all().iter().map(|knob| format!("--{}", knob.flag)).collect();
    println!(
        "# bash completion for `cargo xtask`: source it after cargo's own.\n\
         _cargo_xtask() {{\n\
         \x20   local word=${{COMP_WORDS[COMP_CWORD]}}\n\
         \x20   if [[ ${{COMP_WORDS[1]}} == xtask ]]; then\n\
         \x20       local verb=2\n\
         \x20       while [[ $verb -lt $COMP_CWORD && ${{COMP_WORDS[verb]}} == -* ]]; do ((verb++)); done\n\
         \x20       if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"{}\" -- \"$word\"))\n\
         \x20       elif [[ $verb -eq $COMP_CWORD ]]; then COMPREPLY=($(compgen -W \"{}\" -- \"$word\"))\n\
         \x20       elif [[ ${{COMP_WORDS[verb]}} == @(pkg|show-tag|bump) ]]; then COMPREPLY=($(compgen -W \"$(ls pkg 2>/dev/null)\" -- \"$word\")); fi\n\
         \x20   elif declare -F _cargo >/dev/null; then _cargo \"$@\"; fi\n\
         }}\n\
         complete -o default -F _cargo_xtask cargo",
        flags.join(" "),
        names.join(" ")
    );
    Ok(())
}
