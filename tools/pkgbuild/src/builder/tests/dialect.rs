//! Lines whose meaning in BuildKit is not the obvious one, each with BuildKit's result, or refused before a step runs.

use super::*;

/// The result of a build for amd64: `KEY=…` of the variables in the image, and the nodes. The steps that ran do not fail.
fn result(text: &str) -> String {
    let built = build_with(text, "amd64", &[], &Fake::default()).map_err(|error| format!("{text}: {error:#}")).unwrap();
    let env = built.config.env.iter().filter(|pair| !pair.starts_with("PATH=") && !pair.starts_with("ARCH=")).cloned();
    let nodes = list(&built.tree).into_iter().filter(|line| {
        ["Dockerfile", "ran", "etc", "usr 755", "usr/lib 755", "usr/lib/old", "lib 777"].iter().all(|base| !line.starts_with(base))
    });
    env.chain(nodes).collect::<Vec<_>>().join("; ")
}

#[test]
fn lines_mean_what_they_mean_to_buildkit() {
    for (what, text, expected) in [
        ("the owner of WORKDIR", "FROM scratch\nUSER 7:8\nWORKDIR /w/x\n", "w 755 7:8 1000 /; w/x 755 7:8 1000 /"),
        ("a user without a group", "FROM scratch\nUSER 7\nWORKDIR /w\n", "w 755 7:7 1000 /"),
        ("a named user has the group of /etc/passwd", "FROM base\nUSER ada\nWORKDIR /w\n", "w 755 1000:100 1000 /"),
        ("a folder that exists keeps its owner", "FROM scratch\nWORKDIR /w\nUSER 7\nWORKDIR /w\n", "w 755 0:0 1000 /"),
        ("COPY does not heed USER", "FROM scratch\nUSER 7\nCOPY a /a\n", "a 644 0:0 1000 a"),
        ("ARG after ENV", "FROM scratch\nENV V=env\nARG V=arg\nENV B=x$V\n", "V=env; B=xarg"),
        ("ENV after ARG", "FROM scratch\nARG V=arg\nENV V=env\nENV B=x$V\n", "V=env; B=xenv"),
        ("ARG over the ENV of a parent stage", "FROM scratch AS p\nENV V=env\nFROM p\nARG V=arg\nENV B=x$V\n", "V=env; B=xarg"),
        ("an ARG of a parent stage", "FROM scratch AS p\nARG V=arg\nFROM p\nENV B=x$V\n", "B=xarg"),
        ("a stage begins with its image's ENV", "FROM scratch AS p\nENV V=env\nARG V=arg\nFROM p\nENV B=x$V\n", "V=env; B=xenv"),
        ("one ENV uses the values before it", "FROM scratch\nENV A=1\nENV A=2 B=$A\n", "A=2; B=1"),
        ("a here-document with variables", "FROM scratch\nARG V=1\nCOPY <<E /e\n\"$V\" '${V}'\nE\n", "e 644 0:0 1000 \"1\" '1'\n"),
        ("a quoted here-document", "FROM scratch\nARG V=1\nCOPY <<'E' /e\n$V\nE\n", "e 644 0:0 1000 $V\n"),
        ("tabs of a here-document", "FROM scratch\nADD <<-E /e\n\t\tx\n\tE\n", "e 644 0:0 1000 x\n"),
        ("--chmod of a here-document", "FROM scratch\nCOPY --chmod=4755 <<E /e\nx\nE\n", "e 4755 0:0 1000 x\n"),
        ("--chmod with a variable", "FROM scratch\nARG M=700\nCOPY --chmod=$M a /a\n", "a 700 0:0 1000 a"),
        ("COPY follows a link of the stage", "FROM base\nCOPY a /lib/\n", "usr/lib/a 644 0:0 1000 a"),
        ("COPY --link=false, too", "FROM base\nCOPY --link=false a /lib/\n", "usr/lib/a 644 0:0 1000 a"),
        ("COPY --link does not", "FROM base\nCOPY --link a /lib/\n", "lib 755 0:0 1000 /; lib/a 644 0:0 1000 a"),
        (
            "COPY --link over a file",
            "FROM scratch\nCOPY a /x\nCOPY --link dir /x\n",
            "x 755 0:0 1000 /; x/sub 755 0:0 1000 /; x/sub/y 755 0:0 1000 dir/sub/y; x/x 644 0:0 1000 dir/x",
        ),
        ("COPY --link into a folder", "FROM scratch\nWORKDIR /x\nCOPY --link --chown=3:4 a .\n", "x 755 3:4 1000 /; x/a 644 3:4 1000 a"),
        ("ADD of a file", "FROM scratch\nADD a /a\n", "a 644 0:0 1000 a"),
        ("COPY of an archive", "FROM scratch\nCOPY --chmod=600 a.tar /d/\n", "d 755 0:0 1000 /; d/a.tar 600 0:0 1000 \0"),
        ("a byte order mark", "\u{feff}FROM scratch\nENV A=1\n", "A=1"),
        ("ONBUILD of a stage that is not needed", "FROM scratch AS no\nONBUILD RUN x\nHEALTHCHECK NONE\nFROM scratch\nENV A=1\n", "A=1"),
    ] {
        let got = result(text).replace(&"\0".repeat(257), "\0").replace("\0ustar", "\0");
        assert_eq!(got, expected, "{what}: {text}");
    }
}

#[test]
fn the_variables_of_a_step_are_those_of_the_last_line() {
    let fake = Fake::default();
    build_with("FROM base AS p\nENV V=env\nARG V=arg W=w\nRUN one\nFROM p\nRUN two\n", "amd64", &[], &fake).unwrap();
    let steps = fake.steps.into_inner().unwrap();
    let seen: Vec<_> = steps.iter().map(|step| (step.env["V"].as_str(), step.env["W"].as_str())).collect();
    assert_eq!(seen, [("arg", "w"), ("env", "w")]);
}

#[test]
fn what_is_refused_is_refused_before_the_first_step() {
    let nested = "${B:-".repeat(3000) + &"}".repeat(3000);
    let deep = "x/".repeat(30_000);
    let head = "FROM base\nRUN step\n";
    for (what, line, message) in [
        ("HEALTHCHECK", "HEALTHCHECK CMD x", "HEALTHCHECK is not supported"),
        ("HEALTHCHECK NONE", "HEALTHCHECK NONE", "HEALTHCHECK is not supported"),
        ("ONBUILD", "ONBUILD RUN x", "ONBUILD is not supported"),
        ("ADD of an archive", "ADD a.tar /", "ADD cannot unpack the archive `a.tar`"),
        ("ADD of an archive by a variable", "ARG N=a\nADD $N.tar /", "ADD cannot unpack the archive `a.tar`"),
        ("ADD of an archive by a pattern", "ADD *.tar /", "ADD cannot unpack the archive `a.tar`"),
        ("ADD of a URL", "ADD https://example.org/x /", "ADD of the URL `https://example.org/x` is not supported"),
        ("ADD of a repository", "ADD git@example.org:x.git /", "ADD of the URL `git@example.org:x.git` is not supported"),
        ("ADD --checksum", "ADD --checksum=sha256:0 a /", "ADD --checksum is not supported"),
        ("COPY --parents", "COPY --parents a /", "COPY --parents is not supported"),
        ("a symbolic --chmod", "COPY --chmod=u+x a /", "--chmod=u+x is not supported"),
        ("RUN --security", "RUN --security=insecure x", "RUN --security=insecure is not supported"),
        ("RUN --network=host", "RUN --network=host x", "RUN --network=host is not supported"),
        ("RUN --mount=type=secret", "RUN --mount=type=secret,id=x x", "RUN --mount=type=secret is not supported"),
        ("an interpreter of a here-document", "RUN <<E\n#!/bin/x\nE", "RUN with a `#!` line in its here-document is not supported"),
        ("RUN as a user", "USER ada\nRUN x", "RUN as the user `ada` is not supported"),
        ("variables in one another", &format!("ARG V={nested}"), "nests more than 100 variables in one another"),
    ] {
        let fake = Fake::default();
        let error = format!("{:#}", build_with(&format!("{head}{line}\n"), "amd64", &[], &fake).unwrap_err());
        assert!(error.starts_with("Dockerfile:3: ") || error.starts_with("Dockerfile:4: "), "{what}: {error}");
        assert!(error.contains(message), "{what}: {error}");
        assert_eq!(fake.steps.into_inner().unwrap().len(), 0, "{what}");
    }
    for line in [format!("WORKDIR /{deep}"), format!("COPY a /{deep}"), format!("COPY --link a {deep}")] {
        let error = fails(&format!("FROM scratch\n{line}\n"));
        assert!(error.starts_with("Dockerfile:2: ") && error.ends_with("bytes, more than Linux's limit of 4096"), "{error}");
    }
    // A path that grows from stage to stage.
    let half = "x/".repeat(1500);
    let error = fails(&format!("FROM scratch AS s\nWORKDIR /{half}\nFROM scratch\nCOPY --from=s / /{half}\n"));
    assert!(error.starts_with("Dockerfile:4: ") && error.ends_with("bytes, more than Linux's limit of 4096"), "{error}");
}

#[test]
fn the_ignore_file_of_the_dockerfile_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let names = |files: &[(&str, &str)]| {
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let tree = read_context(folder.path(), EPOCH, &|_| true).unwrap();
        list(&tree).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&[("a", ""), ("b", ""), (".dockerignore", "\u{feff}a\n # b\n")]), ".dockerignore b");
    assert_eq!(names(&[("Dockerfile.dockerignore", "*\n!a\n")]), "a");
    assert_eq!(names(&[("Dockerfile.dockerignore", "")]), ".dockerignore Dockerfile.dockerignore a b");
}
