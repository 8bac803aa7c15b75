#![allow(clippy::unwrap_used)]

mod dialect;

use super::*;
use filetree::{Content, Kind, Meta, Node};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Mutex};

const EPOCH: i64 = 1000;

/// Has one image, `base`, and records the steps it is asked to run.
#[derive(Default)]
struct Fake {
    steps: Mutex<Vec<Step>>,
}

fn base_tree() -> Tree {
    let mut tree = Tree::new();
    let file = |text: &str| Node::file(0o644, 5, Content::from(text));
    tree.insert("etc/passwd", file("root:x:0:0::/:/bin/sh\nada:x:1000:100::/:/bin/sh\n")).unwrap();
    tree.insert("etc/group", file("root:x:0:\nusers:x:100:\n")).unwrap();
    tree.insert("usr/lib/old", file("old")).unwrap();
    tree.insert("lib", Node { meta: Meta::root(0o777, 5), kind: Kind::Symlink(b"usr/lib".to_vec()) }).unwrap();
    tree
}

impl BuildHost for Fake {
    fn base_image(&self, reference: &str, arch: &str) -> Result<(Config, Tree)> {
        match reference {
            "base" => {
                let env = vec!["PATH=/bin".to_owned(), format!("ARCH={arch}")];
                Ok((Config { env, entrypoint: vec!["/old".into()], cmd: vec!["arg".into()], ..Config::default() }, base_tree()))
            }
            "archive" => {
                let mut tree = base_tree();
                tree.insert(format!("packages/{arch}/lock"), Node::file(0o644, 5, Content::from("")))?;
                Ok((Config::default(), tree))
            }
            "trigger" => {
                let other = BTreeMap::from([("OnBuild".to_owned(), serde_json::json!(["RUN x"]))]);
                Ok((Config { other, ..Config::default() }, Tree::new()))
            }
            _ => bail!("the image `{reference}` is not in the cache"),
        }
    }

    fn builtin(&self, step: &Step, stage: &mut Tree) -> Result<bool> {
        if step.command == "builtin" {
            stage.insert(format!("out/{}", step.arch), Node::file(0o644, 5000, Content::from("made")))?;
        }
        Ok(step.command == "builtin")
    }

    fn can_execute(&self, arch: &str) -> bool {
        arch == "amd64"
    }

    fn run(&self, step: &Step, stage: &mut Tree) -> Result<()> {
        self.steps.lock().unwrap().push(step.clone());
        match step.command.as_str() {
            "miss" => bail!("ls: /packages/amd64: No such file or directory"),
            "break" => bail!("/usr/lib/packages/x.c:1: error"),
            _ => {}
        }
        // Every step numbers its hard links from 1.
        let link = Node { meta: Meta::root(0o600, 9999), kind: Kind::File { content: Content::from(step.place.as_str()), link: Some(1) } };
        stage.insert(format!("{}/a", step.place), link.clone())?;
        stage.insert(format!("{}/b", step.place), link)?;
        stage.insert("ran", Node::file(0o600, 9999, Content::from("x")))
    }
}

fn context() -> Tree {
    let mut tree = Tree::new();
    for (path, mode) in [("a", 0o644), ("b.txt", 0o644), ("run.sh", 0o755), ("dir/x", 0o644), ("dir/sub/y", 0o755), ("dir2/z", 0o644)] {
        tree.insert(path, Node::file(mode, EPOCH, Content::from(path))).unwrap();
    }
    tree.insert("link", Node { meta: Meta::root(0o777, EPOCH), kind: Kind::Symlink(b"dir/x".to_vec()) }).unwrap();
    tree.insert("a.tar", Node::file(0o644, EPOCH, Content::from([&[0; 257][..], b"ustar"].concat()))).unwrap();
    tree.insert("escape", Node { meta: Meta::root(0o777, EPOCH), kind: Kind::Symlink(b"../../etc/shadow".to_vec()) }).unwrap();
    tree
}

fn build_with(text: &str, arch: &str, args: &[(&str, &str)], env: &Fake) -> Result<Built> {
    let dockerfile = Dockerfile::parse(text, "Dockerfile")?;
    let build_args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = Request {
        dockerfile: &dockerfile,
        context: &context(),
        arch,
        build_arch: "amd64",
        build_args: &build_args,
        source_date_epoch: EPOCH,
        network: false,
        target: None,
    };
    build(&request, env)
}

fn built(text: &str) -> Built {
    build_with(text, "amd64", &[], &Fake::default()).unwrap()
}

fn fails(text: &str) -> String {
    format!("{:#}", build_with(text, "arm64", &[], &Fake::default()).unwrap_err())
}

/// One line per node: `path mode uid:gid mtime what`.
fn list(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    tree.walk(&mut |path, node| {
        let what = match &node.kind {
            Kind::Dir(_) => "/".to_owned(),
            Kind::File { content, .. } => String::from_utf8_lossy(&content.read_all()?).into_owned(),
            Kind::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
            _ => "?".to_owned(),
        };
        let Meta { mode, uid, gid, mtime, .. } = node.meta;
        lines.push(format!("{} {mode:o} {uid}:{gid} {mtime} {what}", String::from_utf8_lossy(path)));
        Ok(())
    })
    .unwrap();
    lines.split_off(1)
}

/// Names of the nodes that `COPY` puts into an empty stage.
fn copied(instructions: &str) -> String {
    let names: Vec<String> = list(&built(&format!("FROM scratch\n{instructions}\n")).tree)
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    names.join(" ")
}

#[test]
fn copy_puts_things_where_docker_puts_them() {
    for (instructions, names) in [
        ("COPY a /x", "x"),
        ("COPY a /x/", "x x/a"),
        ("COPY a b.txt /x/", "x x/a x/b.txt"),
        ("COPY a /", "a"),
        ("COPY a .", "a"),
        ("WORKDIR /w\nCOPY a .", "w w/a"),
        ("WORKDIR /w\nCOPY a x", "w w/x"),
        ("WORKDIR /w\nWORKDIR v\nCOPY a ../x/", "w w/v w/x w/x/a"),
        ("COPY dir /x", "x x/sub x/sub/y x/x"),
        ("COPY dir/ /x/", "x x/sub x/sub/y x/x"),
        ("COPY dir dir2 /x/", "x x/sub x/sub/y x/x x/z"),
        ("COPY dir* /x/", "x x/sub x/sub/y x/x x/z"),
        ("COPY *.txt none* /x/", "x x/b.txt"),
        ("COPY none* /x/", ""),
        ("COPY d?r/[x] /", "x"),
        ("COPY dir/sub/../x /y", "y"),
        ("COPY link /x", "x"),
        ("COPY [\"a\", \"/x y/\"]", "x x"),
        ("COPY a /x\nCOPY b.txt /x", "x"),
        ("COPY <<one <<two /x/\n1\none\n2\ntwo", "x x/one x/two"),
    ] {
        assert_eq!(copied(instructions), names, "{instructions}");
    }
    let everything = built("FROM scratch\nCOPY . /all\n");
    assert!(list(&everything.tree).contains(&"all/escape 777 0:0 1000 -> ../../etc/shadow".to_owned()));
}

#[test]
fn copy_keeps_and_changes_metadata_as_docker_does() {
    let tree = built(
        "FROM base AS one\nCOPY --chown=7:8 --chmod=500 dir /deep/er\nCOPY --chown=ada dir/x /by-user\nCOPY --chown=root:users a /by-group\nCOPY link /through\nFROM base\nCOPY --from=one /deep /deep\nCOPY --from=0 /by* /\nCOPY run.sh /lib/\nCOPY a /lib/old\n",
    );
    let lines = list(&tree.tree);
    for line in [
        "deep 755 0:0 1000 /",
        "deep/er 755 7:8 1000 /",
        "deep/er/x 500 7:8 1000 dir/x",
        "deep/er/sub 500 7:8 1000 /",
        "by-user 644 1000:100 1000 dir/x",
        "by-group 644 0:100 1000 a",
        "lib 777 0:0 5 -> usr/lib",
        "usr/lib/run.sh 755 0:0 1000 run.sh",
        "usr/lib/old 644 0:0 1000 a",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} is not in {lines:#?}");
    }
    // An existing folder keeps its metadata as the destination, and takes the source's below it.
    let tree = built("FROM scratch AS s\nCOPY --chmod=700 dir /from/dir\nFROM scratch\nCOPY dir /to/dir\nCOPY --from=s /from /to\n").tree;
    assert!(list(&tree).contains(&"to/dir 755 0:0 1000 /".to_owned()));
    let tree =
        built("FROM scratch AS s\nCOPY --chmod=700 dir /from/dir\nFROM scratch\nCOPY dir /to/dir\nCOPY --from=s /from/dir /to/dir\n").tree;
    assert!(list(&tree).contains(&"to/dir/sub 700 0:0 1000 /".to_owned()));
    assert!(list(&tree).contains(&"to/dir 755 0:0 1000 /".to_owned()));
}

#[test]
fn hard_links_survive_and_stay_apart() {
    let mut tree = Tree::new();
    let file = Node { meta: Meta::root(0o644, 1), kind: Kind::File { content: Content::from("x"), link: Some(3) } };
    tree.insert("d/a", file.clone()).unwrap();
    tree.insert("d/b", file).unwrap();
    let mut out = Tree::new();
    let mut links = copy::Links::default();
    let source = copy::find_sources(&tree, "/d", "it").unwrap().remove(0);
    copy::copy_to(&mut out, &source, "one", false, copy::Changes::default(), &mut links).unwrap();
    copy::copy_to(&mut out, &source, "two", false, copy::Changes::default(), &mut links).unwrap();
    let link = |path: &str| match &out.get(path).unwrap().kind {
        Kind::File { link, .. } => link.unwrap(),
        _ => 0,
    };
    assert_eq!((link("one/a"), link("two/a")), (link("one/b"), link("two/b")));
    assert_ne!(link("one/a"), link("two/a"));
}

#[test]
fn hard_links_of_two_steps_are_not_one() {
    let tree = built("FROM base\nRUN x\nRUN y\nFROM scratch\nCOPY --from=0 /Dockerfile* /\nRUN z\n").tree;
    let bytes = filetree::write_tar(&tree, Vec::new()).unwrap();
    let mut spool = filetree::Spool::new_in(&std::env::temp_dir()).unwrap();
    let again = filetree::entries_to_tree(filetree::read_tar_stream(&bytes[..], &mut spool).unwrap()).unwrap();
    assert_eq!(list(&again), list(&tree));
    let tree = built("FROM base\nRUN x\nRUN y\n").tree;
    let text = |path: &str| list(&tree).into_iter().find(|line| line.starts_with(path)).unwrap();
    assert!(text("Dockerfile:2/b").ends_with("Dockerfile:2") && text("Dockerfile:3/a").ends_with("Dockerfile:3"));
    let bytes = filetree::write_tar(&tree, Vec::new()).unwrap();
    let mut spool = filetree::Spool::new_in(&std::env::temp_dir()).unwrap();
    let again = filetree::entries_to_tree(filetree::read_tar_stream(&bytes[..], &mut spool).unwrap()).unwrap();
    assert_eq!(list(&again), list(&tree));
}

#[test]
fn configuration_is_inherited_and_overridden_as_docker_does() {
    let config = built(
        "FROM base\nENV A=1 B=$A PATH=/x:$PATH\nENV C ${A} b\nWORKDIR /w\nENTRYPOINT [\"/e\"]\nLABEL x=\"$A y\"\nEXPOSE 80\nUSER ada\n",
    )
    .config;
    assert_eq!(config.env, ["PATH=/x:/bin", "ARCH=amd64", "A=1", "B=", "C=1 b"]);
    assert_eq!((config.entrypoint.as_slice(), config.cmd.as_slice()), (&["/e".to_owned()][..], &[][..]));
    assert_eq!((config.working_dir.as_str(), config.user.as_str()), ("/w", "ada"));
    assert_eq!(config.labels, BTreeMap::from([("x".into(), "1 y".into())]));
    assert!(config.exposed_ports.contains_key("80/tcp"));
    let config = built("FROM base AS a\nCMD [\"c\"]\nENTRYPOINT [\"/e\"]\nFROM a\nSHELL [\"/bin/ash\", \"-c\"]\nCMD hello $X\n").config;
    assert_eq!(
        (config.entrypoint, config.cmd),
        (vec!["/e".to_owned()], vec!["/bin/ash".to_owned(), "-c".to_owned(), "hello $X".to_owned()])
    );
    let config = built("FROM base\nENTRYPOINT []\n").config;
    assert!(config.entrypoint.is_empty() && config.cmd.is_empty());
    let scratch = built("FROM scratch\n");
    assert_eq!(scratch.config.env, [format!("PATH={PATH}")]);
    assert!(list(&scratch.tree).is_empty());
}

#[test]
fn arguments_have_docker_precedence() {
    let label = |text: &str, args: &[(&str, &str)]| {
        let built = build_with(&format!("{text}\nLABEL v=\"$V|$W\"\n"), "arm64", args, &Fake::default()).unwrap();
        built.config.labels["v"].clone()
    };
    assert_eq!(label("ARG V=g\nFROM scratch", &[]), "|");
    assert_eq!(label("ARG V=g\nFROM scratch\nARG V\nARG W=$V-x", &[]), "g|g-x");
    assert_eq!(label("ARG V=g\nFROM scratch\nARG V=s", &[]), "s|");
    assert_eq!(label("ARG V=g\nFROM scratch\nARG V=s W", &[("V", "b"), ("W", "c")]), "b|c");
    assert_eq!(label("FROM scratch\nARG V=s\nENV V=e\nARG V=t", &[("V", "b")]), "b|");
    assert_eq!(label("FROM scratch\nLABEL x=y", &[("V", "b")]), "|");
    assert_eq!(label("FROM scratch\nARG TARGETARCH\nARG BUILDPLATFORM\nENV V=$TARGETARCH W=$BUILDPLATFORM", &[]), "arm64|linux/amd64");
    assert_eq!(label("FROM scratch AS a\nARG V=1\nFROM a\nARG SOURCE_DATE_EPOCH\nENV W=$SOURCE_DATE_EPOCH", &[]), "1|1000");
    assert_eq!(label("ARG A=ba\nARG B=${A}se\nFROM $B\nENV V=$ARCH", &[]), "arm64|");
    assert_eq!(label("FROM --platform=$BUILDPLATFORM base\nENV V=$ARCH", &[]), "amd64|");
    assert_eq!(label("ARG CACHE=none\nFROM $CACHE\nENV V=1", &[("CACHE", "scratch")]), "1|");
}

#[test]
fn only_needed_stages_are_built() {
    let text = "FROM missing AS unused\nRUN x\nFROM scratch AS a\nCOPY a /a\nFROM scratch AS b\nCOPY --from=a /a /b\nFROM scratch\nCOPY --from=b /b /c\n";
    assert_eq!(list(&built(text).tree), ["c 644 0:0 1000 a"]);
    let file = Dockerfile::parse(&format!("{text}COPY --from=tools:1 / /\nRUN y\n"), "Dockerfile").unwrap();
    let image = |reference: &str, on_build_machine| crate::dockerfile::ImageUse { reference: reference.into(), on_build_machine };
    assert_eq!(file.images(), [image("tools:1", false)]);
    let file = Dockerfile::parse("ARG T=x\nFROM --platform=$BUILDPLATFORM t:$T AS t\nFROM u\nCOPY --from=t / /\n", "Dockerfile").unwrap();
    assert_eq!(file.images(), [image("t:x", true), image("u", false)]);
}

#[test]
fn run_gets_its_surroundings_and_its_files_get_the_epoch() {
    let fake = Fake::default();
    let text = "FROM scratch AS t\nCOPY dir /d\nFROM base\nARG X=1\nARG Y=2\nENV Y=3\nWORKDIR /w\nRUN --mount=type=bind,from=t,source=/d,target=m --mount=type=cache,target=/c --network=none a && \\\n  b\nRUN [\"x\", \"$X\"]\nRUN <<EOF\none\nEOF\nRUN cat <<A >/f\n$X\nA\n";
    let built = build_with(text, "amd64", &[("http_proxy", "p"), ("Z", "4")], &fake).unwrap();
    assert!(list(&built.tree).contains(&"ran 600 0:0 1000 x".to_owned()));
    assert!(list(&built.tree).contains(&"etc/passwd 644 0:0 5 root:x:0:0::/:/bin/sh\nada:x:1000:100::/:/bin/sh\n".to_owned()));
    let steps = fake.steps.into_inner().unwrap();
    let argv: Vec<Vec<&str>> = steps.iter().map(|step| step.argv.iter().map(String::as_str).collect()).collect();
    assert_eq!(
        argv,
        [vec!["/bin/sh", "-c", "a &&   b"], vec!["x", "$X"], vec!["/bin/sh", "-c", "one\n"], vec!["/bin/sh", "-c", "cat <<A >/f\n$X\nA\n"]]
    );
    let step = &steps[0];
    let env: Vec<String> = step.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["ARCH=amd64", "HOME=/root", "PATH=/bin", "X=1", "Y=3", "http_proxy=p"]);
    assert_eq!((step.place.as_str(), step.workdir.as_str(), step.network), ("Dockerfile:8", "/w", false));
    assert_eq!(step.mounts.iter().map(|mount| mount.target.as_str()).collect::<Vec<_>>(), ["/w/m", "/c"]);
    assert!(matches!(&step.mounts[0].kind, MountKind::Bind { node, writable: false } if node.children().unwrap().contains_key(&b"x"[..])));
}

#[test]
fn built_in_steps_work_for_every_architecture() {
    let built =
        build_with("FROM scratch AS c\nRUN builtin\nFROM scratch\nCOPY --from=c /out/ /\n", "arm64", &[], &Fake::default()).unwrap();
    assert_eq!(list(&built.tree), ["arm64 644 0:0 1000 made"]);
}

#[test]
fn what_is_not_understood_is_an_error_with_file_and_line() {
    let linuxkit = "\nhint: build it with docker: `--engine linuxkit`";
    for (text, message) in [
        ("FROM none:1\n", "Dockerfile:1: FROM none:1: the image `none:1` is not in the cache".to_owned()),
        ("FROM trigger\n", format!("Dockerfile:1: FROM trigger: ONBUILD instructions of the image are not supported{linuxkit}")),
        ("FROM ${NO}\n", "Dockerfile:1: FROM ${NO} names no image: a variable is empty".to_owned()),
        ("FROM --platform=windows/amd64 scratch\n", "Dockerfile:1: --platform=windows/amd64 is not supported: it must be linux/ARCHITECTURE".to_owned()),
        ("FROM scratch\nCOPY none /x\n", "Dockerfile:2: COPY none /x: `none` does not exist in the context".to_owned()),
        ("FROM scratch\nCOPY escape /x\n", "Dockerfile:2: COPY escape /x: `escape` does not exist in the context".to_owned()),
        ("FROM scratch AS s\nFROM scratch\nCOPY --from=s /a /x\n", "Dockerfile:3: COPY /a /x: `/a` does not exist in `s`".to_owned()),
        ("FROM scratch\nCOPY --from=later /a /x\n", "Dockerfile:2: --from=later: the image `later` is not in the cache".to_owned()),
        ("FROM scratch\nCOPY a b.txt /x\n", "Dockerfile:2: COPY with several sources needs a destination that ends with `/`, not `/x`".to_owned()),
        ("FROM scratch\nCOPY --chmod=u+x a /x\n", "Dockerfile:2: --chmod=u+x is not supported\nhint: use an octal number such as 755".to_owned()),
        ("FROM scratch\nCOPY --chown=eve a /x\n", "Dockerfile:2: --chown=eve: `eve` is not in the stage's /etc/passwd".to_owned()),
        ("FROM scratch\nCOPY --parents a /x\n", format!("Dockerfile:2: COPY --parents is not supported{linuxkit}")),
        (
            "FROM base\nCOPY dir /d/lib/\nCOPY --from=base /usr /lib/\nCOPY dir2 /lib/x\nFROM base\nCOPY --from=0 /d /\n",
            "Dockerfile:6: COPY /d /: the folder `/lib` would replace a symbolic link to `usr/lib`\nhint: copy its content to the link's target with a separate COPY".to_owned(),
        ),
        ("FROM scratch\nCOPY a /x\nCOPY dir /x\n", "Dockerfile:3: COPY dir /x: `/x` is a file, not a folder".to_owned()),
        ("FROM scratch\nCOPY a /x\nWORKDIR /x/y\n", "Dockerfile:3: WORKDIR /x/y: a parent of `/x/y` is not a folder".to_owned()),
        ("FROM scratch\nADD https://example.org/x /x\n", format!("Dockerfile:2: ADD of the URL `https://example.org/x` is not supported{linuxkit}")),
        ("FROM scratch\nRUN --mount=type=ssh,target=/s x\n", format!("Dockerfile:2: RUN --mount=type=ssh is not supported{linuxkit}")),
        ("FROM scratch\nRUN --security=insecure x\n", format!("Dockerfile:2: RUN --security=insecure is not supported{linuxkit}")),
        ("FROM scratch\nONBUILD RUN x\n", format!("Dockerfile:2: ONBUILD is not supported{linuxkit}")),
        ("FROM scratch\nHEALTHCHECK CMD x\n", format!("Dockerfile:2: HEALTHCHECK is not supported{linuxkit}")),
        ("FROM --platform=$BUILDPLATFORM scratch\nUSER ada\nRUN x\n", format!("Dockerfile:3: RUN as the user `ada` is not supported{linuxkit}")),
        (
            "FROM scratch\n\nRUN x\n",
            "Dockerfile:3: this RUN executes programs for arm64, but this machine is amd64\nhint: a stage that only makes files can start with FROM --platform=$BUILDPLATFORM".to_owned(),
        ),
        ("FROM scratch\nWORKDIR ${A\n", "Dockerfile:2: `${A` has no closing `}`".to_owned()),
    ] {
        assert_eq!(fails(text), message, "{text}");
    }
}

#[test]
fn a_context_is_the_same_under_every_umask() {
    let dir = tempfile::tempdir().unwrap();
    let read = |file_mode: u32, dir_mode: u32| {
        let folder = dir.path().join(format!("{file_mode:o}"));
        fs::create_dir_all(folder.join("sub/deep")).unwrap();
        for (name, mode) in [("a", file_mode), ("sub/run", file_mode | 0o100), ("sub/deep/x.o", file_mode)] {
            fs::write(folder.join(name), name).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::hard_link(folder.join("a"), folder.join("b")).unwrap();
        fs::write(folder.join(".dockerignore"), "**/*.o\nout\n!out/keep\n").unwrap();
        fs::create_dir_all(folder.join("out")).unwrap();
        fs::write(folder.join("out/keep"), "k").unwrap();
        fs::write(folder.join("out/drop"), "d").unwrap();
        std::os::unix::fs::symlink("a", folder.join("link")).unwrap();
        fs::set_permissions(folder.join("sub"), fs::Permissions::from_mode(dir_mode)).unwrap();
        fs::write(folder.join("sub/ignored.swp"), "s").unwrap();
        let keep = |path: &Path| !path.ends_with("ignored.swp");
        let mut tree = read_context(&folder, EPOCH, &keep).unwrap();
        add_source(&mut tree, &folder.join("sub"), "/extra", EPOCH, &keep).unwrap();
        (list(&tree), filetree::write_tar(&tree, Vec::new()).unwrap())
    };
    let wide = read(0o664, 0o775);
    assert_eq!(wide, read(0o600, 0o700));
    let names: Vec<&str> = wide.0.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            ".dockerignore",
            "a",
            "b",
            "extra",
            "extra/deep",
            "extra/deep/x.o",
            "extra/run",
            "link",
            "out",
            "out/keep",
            "sub",
            "sub/deep",
            "sub/run"
        ]
    );
    assert!(wide.0.contains(&"sub/run 755 0:0 1000 sub/run".to_owned()));
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    let mut tree = filetree::Tree::new();
    let error = add_source(&mut tree, &link, "h", EPOCH, &|_: &Path| true).unwrap_err().to_string();
    assert!(error.contains("/link` is neither a folder nor a file\nhint: ") && tree.get("h").is_none(), "{error}");
}

#[test]
fn a_run_that_misses_the_hidden_packages_is_told_the_way_out() {
    let fails = |base: &str, script: &str, more: &str| {
        let text = format!("FROM {base} AS build\n{more}RUN {script}\nFROM scratch\nCOPY --from=build /out /\n");
        format!("{:#}", build_with(&text, "amd64", &[], &Fake::default()).unwrap_err())
    };
    let said = fails("archive", "miss", "");
    assert!(said.contains("hint: a RUN sees it if the word `packages` is in an instruction of the Dockerfile, such as ENV "), "{said}");
    for (base, script, more) in [("archive", "break", ""), ("base", "miss", ""), ("archive", "miss", "ENV ARCHIVE=/packages\n")] {
        let said = fails(base, script, more);
        assert!(!said.contains("hint: "), "{said}");
    }
}
