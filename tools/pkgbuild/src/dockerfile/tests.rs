#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse(text, "Dockerfile").unwrap()
}

fn items(text: &str) -> Vec<(usize, Instruction)> {
    let file = parse(&format!("FROM scratch\n{text}"));
    file.stages[0].items.iter().map(|item| (item.line, item.instruction.clone())).collect()
}

fn fails(text: &str) -> String {
    format!("{:#}", Dockerfile::parse(text, "pkg/x/Dockerfile").unwrap_err())
}

#[test]
fn stages_args_and_platforms_are_read() {
    let file = parse(
        "# syntax=docker/dockerfile:1\n# a comment\nARG A=1 B\nfrom --platform=$BUILDPLATFORM image:${A} as Build\nRUN x\nFROM build\nFROM scratch\n",
    );
    assert_eq!(file.syntax.as_deref(), Some("docker/dockerfile:1"));
    assert_eq!(file.args[0], Arg { line: 3, name: "A".into(), default: Some("1".into()) });
    assert_eq!((file.args[1].name.as_str(), &file.args[1].default), ("B", &None));
    let stage = &file.stages[0];
    assert_eq!(
        (stage.line, stage.base.as_str(), stage.platform.as_deref(), stage.name.as_deref()),
        (4, "image:${A}", Some("$BUILDPLATFORM"), Some("build"))
    );
    assert_eq!(file.find_stage("BUILD", 1), Some(0));
    assert_eq!(file.find_stage("build", 0), None);
    assert_eq!(file.find_stage("1", 2), Some(1));
    assert_eq!(file.find_stage("7", 2), None);
}

#[test]
fn continuations_lose_their_comments_and_keep_their_spaces() {
    let items = items("RUN a \\\n  # no\n\n   b && \\  \n\tc\nCMD x\n");
    let Instruction::Run(run) = &items[0].1 else { panic!("{items:?}") };
    assert_eq!(run.command, Command::Shell("a    b && \tc".into()));
    assert_eq!((items[0].0, items[1].0), (2, 7));
    // Two escapes at the end are no continuation.
    assert_eq!(self::items("RUN a \\\\\nCMD x\n").len(), 2);
    // Nor is a backslash if another escape character is set.
    let file = parse("# escape=`\nFROM scratch\nRUN a `\n b \\\nCMD c\n");
    assert_eq!(file.stages[0].items.len(), 2);
}

#[test]
fn commands_have_two_forms() {
    let exec = |words: &[&str]| Command::Exec(words.iter().map(|w| (*w).to_owned()).collect());
    assert_eq!(items("ENTRYPOINT []")[0].1, Instruction::Entrypoint(exec(&[])));
    assert_eq!(items("CMD [\"a\", \"b c\"]")[0].1, Instruction::Cmd(exec(&["a", "b c"])));
    assert_eq!(items("CMD [ -f x ] && y")[0].1, Instruction::Cmd(Command::Shell("[ -f x ] && y".into())));
    assert_eq!(items("SHELL [\"/bin/ash\", \"-eo\", \"pipefail\", \"-c\"]").len(), 1);
}

#[test]
fn env_has_two_forms() {
    let env = |pairs: &[(&str, &str)]| Instruction::Env(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect());
    assert_eq!(items("ENV PKGS a b  c=d")[0].1, env(&[("PKGS", "a b  c=d")]));
    assert_eq!(items("ENV A=1 B=\"x y\" C=a\\ b")[0].1, env(&[("A", "1"), ("B", "\"x y\""), ("C", "a\\ b")]));
}

#[test]
fn flags_mounts_and_here_documents_are_read() {
    let items = items(
        "RUN --mount=type=bind,source=/a,target=/b,rw --mount=target=. --network=none cat <<EOF <<-'X'\na $A\nEOF\n\tb\n\tX\nCOPY --link --chown=1:2 --chmod=755 --from=0 <<A /x\nhi\nA\nRUN echo $((1<<2)) <<<x",
    );
    let Instruction::Run(run) = &items[0].1 else { panic!("{items:?}") };
    assert_eq!(run.mounts[0].get(&["target", "dst"]), Some("/b"));
    assert_eq!(run.mounts[0].get(&["rw", "readwrite"]), Some(""));
    assert_eq!(run.flags, [("network".to_owned(), Some("none".to_owned()))]);
    assert_eq!(run.command, Command::Shell("cat <<EOF <<-'X'".into()));
    let bodies: Vec<_> = run.heredocs.iter().map(|h| (h.body.as_str(), h.expand)).collect();
    assert_eq!(bodies, [("a $A\n", true), ("b\n", false)]);
    let Instruction::Copy(copy) = &items[1].1 else { panic!("{items:?}") };
    assert_eq!((copy.chown.as_deref(), copy.chmod.as_deref(), copy.from.as_deref()), (Some("1:2"), Some("755"), Some("0")));
    assert_eq!((copy.sources[0].as_str(), copy.heredocs[0].body.as_str()), ("<<A", "hi\n"));
    assert!(matches!(&items[2].1, Instruction::Run(run) if run.heredocs.is_empty()));
}

#[test]
fn variables_expand_as_docker_does() {
    let lookup = |name: &str| match name {
        "A" => Some("1".to_owned()),
        "E" => Some(String::new()),
        _ => None,
    };
    for (word, value) in [
        ("$A-${A}", "1-1"),
        ("$NO|${NO}", "|"),
        ("${A:-x}${NO:-x}${E:-x}${E-x}", "1xx"),
        ("${A:+y}${NO:+y}${E:+y}${E+y}", "yy"),
        ("${NO:-${A}b}", "1b"),
        ("\\$A", "$A"),
        ("'$A'", "$A"),
        ("\"$A 'x' \\\"\\n\"", "1 'x' \"\\n"),
        ("a\\ b$", "a b$"),
        ("$A_x$Ax", ""),
        ("${NO:-'}'}", "}"),
    ] {
        assert_eq!(expand(word, '\\', &lookup).unwrap(), value, "{word}");
    }
    for (word, message) in [
        ("${A", "`${A` has no closing `}`"),
        ("'a", "`'a` has no closing `'`"),
        ("${NO:?is needed}", "`${NO:?is needed}`: NO: is needed"),
        ("${A%x}", "`${A%x}`: `${A%…}` is not supported"),
        ("${}", "`${}` contains `${` without a variable name"),
    ] {
        assert_eq!(expand(word, '\\', &lookup).unwrap_err().to_string(), message, "{word}");
    }
}

#[test]
fn bad_files_are_refused_with_file_and_line() {
    for (text, message) in [
        ("", "pkg/x/Dockerfile: there is no FROM instruction"),
        ("\nRUN x\n", "pkg/x/Dockerfile:2: the first instruction must be FROM; only ARG may precede it"),
        ("FROM a\nCOPPY b c\n", "pkg/x/Dockerfile:2: `COPPY` is not a Dockerfile instruction\nhint: did you mean COPY?"),
        ("FROM a\n\nFROBNICATE b\n", "pkg/x/Dockerfile:3: `FROBNICATE` is not a Dockerfile instruction"),
        ("FROM a b\n", "pkg/x/Dockerfile:1: FROM needs IMAGE or IMAGE AS NAME, not `a b`"),
        ("FROM --arch=x a\n", "pkg/x/Dockerfile:1: FROM has no flag --arch"),
        ("FROM a AS 1x\n", "pkg/x/Dockerfile:1: invalid stage name `1x`: it must start with a letter; letters, digits, - _ . may follow"),
        ("FROM a\nCOPY b\n", "pkg/x/Dockerfile:2: COPY b needs a source and a destination"),
        ("FROM a\nENV A\n", "pkg/x/Dockerfile:2: ENV A has no value"),
        ("FROM a\nENV A=1 B\n", "pkg/x/Dockerfile:2: ENV: `B` does not have the form NAME=value\nhint: quote values that contain spaces"),
        ("FROM a\nSHELL sh\n", "pkg/x/Dockerfile:2: SHELL needs a JSON array such as [\"/bin/sh\", \"-c\"], not `sh`"),
        ("FROM a\nRUN <<EOF\nx\n", "pkg/x/Dockerfile:2: the end of the here-document `EOF` is missing"),
        ("# escape=x\nFROM a\n", "pkg/x/Dockerfile:1: the escape character must be \\ or `, not `x`"),
        ("FROM a\nWORKDIR\n", "pkg/x/Dockerfile:2: WORKDIR needs an argument"),
    ] {
        assert_eq!(fails(text), message);
    }
}

/// Parses every Dockerfile below `pkg/` of the checkout `EVE_CHECKOUT`.
#[test]
#[ignore = "needs EVE_CHECKOUT, a checkout of lf-edge/eve"]
fn all_dockerfiles_of_eve_parse() {
    let root = std::path::PathBuf::from(std::env::var("EVE_CHECKOUT").unwrap()).join("pkg");
    let mut count = 0;
    for entry in walkdir::WalkDir::new(&root) {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().is_file() && name.starts_with("Dockerfile") && !entry.path().components().any(|c| c.as_os_str() == "vendor") {
            Dockerfile::read(entry.path(), &entry.path().display().to_string()).unwrap();
            count += 1;
        }
    }
    assert!(count > 0);
    eprintln!("{count} files");
}
