//! The page in a real browser: a script clicks, types and presses keys, and the test compares what it saw. An error on the console fails.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use executor::{StepEnd, TimedRun, TimedStep};
use filetree::{Content, Kind, Meta, Node, Tree};
use imagefs::{Changed, Comparison, FileChange, Owners, Package, Volume};
use report::{ChangeReport, ReportPage, StepRow, bill_of, image_of};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// A file's name that would be a script if the page read it as HTML.
const EVIL: &str = "<img src=x onerror=window.pwned=1>";

fn volume() -> Volume {
    let libc = "Package: libc6\nSource: glibc\nVersion: 2.36-9\nArchitecture: amd64\nDescription: GNU C Library\n";
    let mut tree = Tree::new();
    for (path, content) in [
        ("usr/bin/a", vec![b'a'; 60_000]),
        ("usr/lib/b", vec![b'b'; 20_000]),
        (EVIL, vec![b'c'; 10_000]),
        ("var/lib/dpkg/status.d/libc6", libc.into()),
        ("usr/share/doc/libc6/copyright", "Format: x\n\nFiles: *\nLicense: GPL-2+\n".into()),
        ("var/lib/cargo/status.d/prog", "Package: anyhow\nVersion: 1.0.1\nLicense: MIT\n".into()),
    ] {
        let kind = Kind::File { content: Content::from(content), link: None };
        tree.insert(path, Node { meta: Meta::root(0o644, 0), kind }).unwrap();
    }
    Volume::of_tree("tar", tree).unwrap()
}

fn report() -> ReportPage {
    let step = |id: &str, needs: Vec<usize>, goal| StepRow {
        id: id.to_owned(),
        does: format!("make {id}"),
        due: (id == "live.raw").then(|| "it is new".to_owned()),
        goal,
        needs: needs.into_iter().map(|need| (need, "a reason".to_owned())).collect(),
        outputs: vec![format!("dist/{id}")],
    };
    let mut steps: Vec<StepRow> = (0..10).map(|number| step(&format!("pkg/{number}"), vec![], false)).collect();
    steps.push(step("rootfs.tar", (0..10).collect(), false));
    steps.push(step("config.img", vec![], false));
    steps.push(step("live.raw", vec![10, 11], true));
    let timed = |node: &str, start, seconds, end| TimedStep { node: node.to_owned(), start, seconds, end };
    let runs = vec![TimedRun {
        began: 1_790_000_000,
        jobs: 2,
        seconds: 10.0,
        steps: vec![
            timed("config.img", 0.0, 1.0, StepEnd::Taken),
            timed("rootfs.tar", 0.0, 5.0, StepEnd::Made),
            timed("live.raw", 5.0, 5.0, StepEnd::Failed),
        ],
    }];
    let volume = volume();
    let owners = Owners::of(&volume, None, None).unwrap();
    let mut image = image_of("rootfs.img", &volume, &owners).unwrap();
    // A tar without a yml has no packages: those of an image are put in.
    let total = image.sizes.total.clone();
    image.owners = vec!["docker.io/lfedge/eve-all:1".to_owned()];
    image.sizes.packages = vec![imagefs::Part { name: image.owners[0].clone(), ..total }];
    fn own(entry: &mut report::TreeEntry) {
        entry.o = entry.b.map(|_| 0);
        entry.c.iter_mut().for_each(own);
    }
    own(&mut image.files);
    let found = Comparison {
        packages: vec![Package { name: "lfedge/eve-debug".into(), old: Some("1".into()), new: Some("2".into()) }],
        files: vec![FileChange { path: format!("/{EVIL}"), change: Changed::Added, old_size: 0, new_size: 10 }],
        ..Comparison::default()
    };
    ReportPage {
        title: format!("eve 1.2.3 {EVIL}"),
        target: "live".into(),
        steps,
        runs,
        packages: bill_of(&volume).unwrap(),
        image: Some(image),
        changes: Some(ChangeReport { old: "1.2.2".into(), new: "1.2.3".into(), found }),
        ..ReportPage::default()
    }
}

/// Opens `page` in a browser; the element `result` that its script leaves, and the lines on the console.
fn browse(folder: &Path, page: &str) -> (Value, Vec<String>) {
    let file = folder.join("report.html");
    std::fs::write(&file, page).unwrap();
    // Without a sandbox: the page is our own, and containers and root have none. The profile is of this test alone.
    let fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"];
    let output = Command::new("timeout")
        .args(["90", "chromium"])
        .args(fixed)
        .args(["--enable-logging=stderr", "--v=0", "--window-size=1200,900", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .env("HOME", folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = dom.split_once("<pre id=\"result\">").unwrap_or_else(|| panic!("the script did not end:\n{log}")).1;
    let text = text.split_once("</pre>").unwrap().0.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let console = log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    (serde_json::from_str(&text).unwrap(), console)
}

fn has_browser() -> bool {
    std::env::var("PATH").unwrap_or_default().split(':').any(|folder| Path::new(folder).join("chromium").is_file())
}

#[test]
fn what_has_nothing_to_choose_is_not_shown() {
    if !has_browser() {
        return skips::missing("chromium", "chromium");
    }
    let folder = tempfile::tempdir().unwrap();
    let page = ReportPage { runs: vec![], image: None, packages: vec![], changes: None, ..report() };
    let script = "<script>\nconst pre = document.createElement('pre');\npre.id = 'result';\n\
        pre.textContent = JSON.stringify(['treemap-bar', 'treemap', 'run', 'search'].filter((id) => document.getElementById(id).offsetParent));\n\
        document.body.append(pre);\n</script></body>";
    let (shown, console) = browse(folder.path(), &page.to_html().unwrap().replace("</body>", script));
    assert_eq!((shown, console), (json!([]), vec![]));
}

#[test]
fn a_person_folds_zooms_searches_and_sorts_without_an_error() {
    if !has_browser() {
        return skips::missing("chromium", "chromium");
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!("<script>\n{{\n{}}}\n</script></body>", include_str!("actions.js"));
    let (saw, console) = browse(folder.path(), &report().to_html().unwrap().replace("</body>", &script));
    // The script's last line shows that an error on the console would be seen.
    assert!(console.len() == 1 && console[0].contains("the end of the test"), "{console:#?}");

    assert_eq!(saw["folded"], json!(["config.img", "live.raw", "rootfs.tar +10"]));
    assert!(saw["chosen"].as_str().unwrap().contains("make rootfs.tar"), "{saw}");
    assert_eq!((&saw["open"], &saw["foldedAgain"], &saw["overlap"]), (&json!(13), &json!(3), &json!(false)));
    assert_eq!((&saw["left"], &saw["right"]), (&json!("pkg/0, up to date"), &json!("rootfs.tar, up to date")));
    assert_eq!(saw["bars"], json!(["taken 0% 10%", "made 0% 50%", "failed 50% 50%"]));
    assert_eq!(saw["total"], "3 steps, 10 s with 2 at once; one after the other 11 s");
    assert!(saw["inside"].as_str().unwrap().contains(" › lfedge/eve-all:1 "), "{saw}");
    assert!(saw["outside"].as_str().unwrap().starts_with("all packages "), "{saw}");
    let folders = saw["folders"].as_array().unwrap();
    assert!(["usr/bin/a", "var/lib", EVIL].iter().all(|name| folders.contains(&json!(name))), "{saw}");
    assert_eq!(saw["ratio"], 3, "areas are as the sizes: {saw}");
    assert_eq!(saw["changed"], json!(["lfedge/eve-debug12", format!("/{EVIL}added0 B10 B+10 B")]));
    assert_eq!((&saw["searching"], &saw["found"]), (&json!("search"), &json!(["1 of 2 packages", "libc6"])));
    assert_eq!(saw["sorted"], json!(["descending", "libc6", "anyhow"]));
    assert_eq!((&saw["themes"], &saw["section"], &saw["wide"]), (&json!(2), &json!("image"), &json!(false)), "{saw}");
    assert_eq!(saw["pwned"], "undefined");
}
