//! `make GOAL… VAR=value…`: runs the targets of a make command line, with make's options and exit code.

mod names;
mod variables;

pub use names::{family_command, modern, old_names};

use super::{TREE_TARGET, profile_of, run_line, words::verb_at};
use anyhow::Result;
use child::environment::Environment;
use common::{error::as_make, error::did_you_mean, error::usage};
use plan::Profile;

/// Replaces an old target in `words` by its verb, so that old names work without `make` too.
#[must_use]
pub fn expand_old_name(mut words: Vec<String>) -> Vec<String> {
    let at = verb_at(&words);
    if let Some(goal) = words.get(at) {
        let modern = names::modern(goal, false);
        words.splice(at..=at, modern);
    }
    words
}

/// A make command line.
#[derive(clap::Args)]
pub struct Make {
    /// goals, variables and options of make
    #[arg(value_name = "GOAL|VAR=value|-n|-jN", num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// `make`.
pub fn run_words(environment: &Environment, Make { words }: Make) -> Result<()> {
    run(&[], &words, environment)
}

/// make's own options from `MAKEFLAGS`: a first word of letters, then options such as `-jN`.
fn make_flags(flags: &str) -> Vec<String> {
    let mut options = Vec::new();
    for (at, word) in flags.split_whitespace().take_while(|word| *word != "--").enumerate() {
        if at == 0 && !word.starts_with('-') && !word.contains('=') {
            // Other options concern only make itself.
            options.extend(['n', 'k', 'B'].into_iter().filter(|letter| word.contains(*letter)).map(|letter| format!("-{letter}")));
        } else if word.starts_with("-j") && word[2..].parse::<usize>().is_ok() {
            options.push(word.to_owned());
        }
    }
    options
}

/// The variables of make's command line from `MAKEFLAGS`: after `--`, with `\` before spaces and doubled `$`.
fn make_overrides(flags: &str) -> Vec<String> {
    let Some((_, overrides)) = flags.split_once("-- ") else { return Vec::new() };
    let (mut words, mut word, mut chars) = (Vec::new(), String::new(), overrides.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            '$' => {
                // make doubles `$` for the environment, and the user doubles it to get a `$` instead of a variable.
                for _ in 0..3 {
                    chars.next_if_eq(&'$');
                }
                word.push('$');
            }
            ' ' => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The words after `make`, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    /// xtask's options, which stand before the verb.
    options: Vec<String>,
    goals: Vec<String>,
    assignments: Vec<String>,
    /// The targets and variables to explain; none unless `--help` was given.
    questions: Option<Vec<String>>,
    keep_going: bool,
    /// Whether to read make's variables from `MAKEFLAGS`.
    overrides: bool,
}

/// The variable of lf-edge/eve's Makefile for the number of its jobs.
const CORES: &str = "NCORES";

impl Words {
    /// Adds the value of `NCORES=N` as `-jN`, unless there is a `-j`.
    fn add_cores(&mut self, jobs: Option<&str>) {
        let jobs = jobs.map(str::trim).filter(|jobs| !jobs.is_empty());
        if !self.options.iter().any(|option| option.starts_with("-j")) {
            self.options.extend(jobs.map(|jobs| format!("-j{jobs}")));
        }
    }
}

fn sort(words: &[String]) -> Result<Words> {
    let (mut sorted, mut cores) = (Words::default(), None);
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-n" | "--just-print" | "--dry-run" | "--recon" => sorted.options.push("-n".to_owned()),
            "--" => {}
            "-s" | "--silent" | "--quiet" | "-w" | "--no-print-directory" | "-r" => {}
            "--overrides" => sorted.overrides = true,
            "-k" | "--keep-going" => sorted.keep_going = true,
            "-h" | "--help" => sorted.questions = Some(Vec::new()),
            "-C" | "--directory" => {
                let dir = words.next().ok_or_else(|| usage("make -C needs a folder"))?;
                sorted.options.push(format!("--root={dir}"));
            }
            "-j" => sorted.options.extend(words.next_if(|next| next.parse::<usize>().is_ok()).map(|jobs| format!("-j{jobs}"))),
            _ if word.starts_with("-j") || word.starts_with("--jobs=") => {
                sorted.options.push(format!("-j{}", word.trim_start_matches("--jobs=").trim_start_matches("-j")));
            }
            _ if word.starts_with('-') => {
                return Err(usage(format!(
                    "`{word}` is not a supported option of make\nhint: -n, -s, -k, -jN, -C DIR, --help; instead of -B use `clean`"
                )));
            }
            _ if cores_of(word).is_some() => cores = cores_of(word),
            _ if word.contains('=') => sorted.assignments.extend(assignment(word)?),
            // make builds a repeated goal only once.
            _ if sorted.goals.contains(word) => {}
            _ => sorted.goals.push(word.clone()),
        }
    }
    sorted.add_cores(cores);
    if let Some(questions) = &mut sorted.questions {
        questions.append(&mut sorted.goals);
    }
    Ok(sorted)
}

/// The value of an assignment to NCORES.
fn cores_of(word: &str) -> Option<&str> {
    split(word).filter(|(name, _)| *name == CORES).map(|(_, value)| value)
}

/// The name and the value of an assignment in any of make's forms: `=`, `:=`, `::=`, `?=`, `+=`.
fn split(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    Some((name.trim_end_matches([':', '?', '+']), value))
}

/// The `VAR=value` word, or none and a warning if the variable has no effect any more.
fn assignment(word: &str) -> Result<Option<String>> {
    let (name, value) = split(word).unwrap_or((word, ""));
    if let Some(why) = variables::retired(name) {
        eprintln!("warning: {name} has no effect any more: {why}");
        return Ok(None);
    }
    Ok(Some(format!("{name}={value}")))
}

/// Fails if an assignment is none of a knob's, and none that all targets of the tree's profile among the goals read.
fn check_names(words: &Words, profile: Option<&Profile>) -> Result<()> {
    let rows: Vec<_> = words.goals.iter().filter_map(|goal| Some(profile?.target(goal)?.0)).collect();
    for word in &words.assignments {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        if knobs::find(name).is_some() || rows.iter().any(|row| row.takes(name)) {
            continue;
        }
        let known = knobs::all().iter().map(|knob| knob.name.as_str());
        let known = known.chain(rows.iter().flat_map(|row| row.variables.keys().map(String::as_str)));
        let hint =
            did_you_mean(name, known).map_or_else(|| "`cargo xtask summary` lists all".to_owned(), |near| format!("did you mean {near}?"));
        return Err(usage(format!("there is no variable {name}\nhint: {hint}")));
    }
    Ok(())
}

/// Runs each goal in `words`, with `globals` (the words before `make`) and all assignments in `words`. Every failure has make's exit code.
pub fn run(globals: &[String], words: &[String], environment: &Environment) -> Result<()> {
    run_goals(globals, words, environment).map_err(as_make)
}

fn run_goals(globals: &[String], words: &[String], environment: &Environment) -> Result<()> {
    let mut words = sort(words)?;
    if let Some(questions) = &words.questions {
        return answer(questions);
    }
    let makes_own = sort(&environment.get("MAKEFLAGS").map_or_else(Vec::new, make_flags))?;
    words.keep_going |= makes_own.keep_going;
    let mut options = [globals, &makes_own.options].concat();
    if words.overrides {
        let set = environment.get("MAKEFLAGS").map_or_else(Vec::new, make_overrides);
        for word in set {
            if let Some(jobs) = cores_of(&word) {
                words.add_cores(Some(jobs).filter(|_| !options.iter().any(|option| option.starts_with("-j"))));
            } else {
                words.assignments.extend(assignment(&word)?);
            }
        }
    }
    options.append(&mut words.options);
    if words.goals.is_empty() {
        words.goals.push("help".to_owned());
    }
    let profile = profile_of(&options, environment).ok();
    check_names(&words, profile.as_ref())?;
    let foreign = profile.as_ref().is_some_and(|profile| profile.packages.published);
    let mut failure = None;
    for goal in &words.goals {
        let verb = match profile.as_ref().and_then(|profile| profile.target(goal)) {
            Some(_) => vec![TREE_TARGET.to_owned(), goal.clone()],
            None => names::modern(goal, foreign),
        };
        let line: Vec<String> = options.iter().cloned().chain(verb).chain(words.assignments.iter().cloned()).collect();
        match run_line(&line, environment, false) {
            Err(error) if words.keep_going => {
                eprint!("{}", common::error::render(&error));
                failure.get_or_insert_with(|| anyhow::anyhow!("`{goal}` failed; because of -k the other targets were built"));
            }
            outcome => outcome?,
        }
    }
    failure.map_or(Ok(()), Err)
}

/// `make --help [TARGET|VARIABLE…]`.
fn answer(questions: &[String]) -> Result<()> {
    if questions.is_empty() {
        println!(
            "`make TARGET… VAR=value…` runs `cargo xtask make TARGET… VAR=value…`. The targets and their commands:\n\n{}",
            names::all()
        );
        println!("`cargo xtask make --help TARGET|VARIABLE` explains one; docs/reference/knobs.md lists the variables.");
    }
    for name in questions {
        let Some(text) = names::describe(name).or_else(|| variables::describe(name)) else {
            let known = super::verbs().map(|verb| verb.name).chain(old_names()).chain(knobs::all().iter().map(|knob| knob.name.as_str()));
            let hint = did_you_mean(name, known)
                .map_or_else(|| "`cargo xtask make --help` lists all".to_owned(), |near| format!("did you mean {near}?"));
            return Err(usage(format!("`{name}` is neither a target nor a variable\nhint: {hint}")));
        };
        println!("{text}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(line: &str) -> Result<Words> {
        sort(&line.split('|').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_words_of_make_are_sorted() {
        let words = sorted("-j4|pkg/pillar|live|HV=xen|-n|SSH_PROXY=-L1:a:1 -L2:b:2|run").expect("sorted");
        assert_eq!(words.options, ["-j4", "-n"]);
        assert_eq!(words.goals, ["pkg/pillar", "live", "run"]);
        assert_eq!(words.assignments, ["HV=xen", "SSH_PROXY=-L1:a:1 -L2:b:2"]);
        assert_eq!(sorted("--help|HV").expect("sorted").questions, Some(vec!["HV".to_owned()]));
        assert_eq!(sorted("CROSS=1|live").expect("sorted").assignments, Vec::<String>::new());
        let unknown = check_names(&sorted("HVV=xen").expect("sorted"), None).expect_err("refused").to_string();
        assert!(unknown.contains("did you mean HV?"), "{unknown}");
        let eve = Profile::named("eve", std::path::Path::new("/tree"));
        for (line, refused) in [("semgrep|SEMGREP_BASELINE=a", false), ("live|SEMGREP_BASELINE=a", true), ("eden|TEST_ALL=1", false)] {
            let said = check_names(&sorted(line).expect("sorted"), Some(&eve)).map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(said.starts_with("there is no variable SEMGREP_BASELINE\nhint: "), refused, "{line}: {said}");
            assert_eq!(said.is_empty(), !refused, "{line}: {said}");
        }
        assert_eq!(sorted("NCORES=4|live").expect("sorted").options, ["-j4"]);
        assert_eq!(sorted("NCORES=4|-j2|live").expect("sorted").options, ["-j2"]);
        assert_eq!(sorted("NCORES=|live").expect("sorted"), sorted("live").expect("sorted"));
        for word in ["NCORES:=8", "NCORES::=8", "NCORES?=8", "NCORES+=8", "NCORES= 8"] {
            assert_eq!(sorted(&format!("{word}|live")).expect("sorted").options, ["-j8"], "{word}");
        }
        assert!(sorted("--frobnicate").expect_err("refused").to_string().contains("not a supported option of make"));
    }

    #[test]
    fn old_names_work_without_make_too() {
        let words = ["--root", "d", "-n", "run-live", "--tpm"].map(str::to_owned).to_vec();
        assert_eq!(expand_old_name(words).join(" "), "--root d -n run --tpm");
    }

    #[test]
    fn the_flags_of_make_are_parsed() {
        assert_eq!(make_flags("n -j4 --jobserver-auth=3,4 -- HV=xen"), ["-n", "-j4"]);
        assert_eq!(make_flags(" -j2"), ["-j2"]);
        assert_eq!(make_flags("knsw"), ["-n", "-k"]);
        assert!(sorted("-B|live").expect_err("refused").to_string().contains("clean"));
        let words = make_overrides(r#" -- G= H=x\ --\ y F=a\\b E=a$$$$b D=it's C=a"b B=x;echo\ I A=a\ b"#);
        assert_eq!(words, ["G=", "H=x -- y", r"F=a\b", "E=a$b", "D=it's", "C=a\"b", "B=x;echo I", "A=a b"]);
        assert!(make_overrides("n -j4").is_empty());
        assert!(make_flags("").is_empty());
    }
}
