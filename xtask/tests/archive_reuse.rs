//! The Debian archive changes: what takes nothing from the change is not built again and has the bytes of a clean build; what takes something
//! from it is built again.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Xtask, init, shell};
use filetree::{Content, Node, Tree};
use oci::Cache;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use xshell::cmd;

const PROFILE: &str = "[tree]\nname = \"small\"\nengine = \"native\"\n[packages]\nfolder = \"pkg\"\narchive = \"debian\"\n[templates]\n\
     rootfs = \"images/rootfs.yml.in\"\n[rootfs]\nlimit = 1\n[live]\nparts = [\"efi\"]\n[firmware]\npackage = \"uefi\"\nfiles = []\n";

const ARCHIVE: &str = "ARG CACHE=debian\nFROM ${CACHE} AS cache\nCOPY mirrors /etc/eve-debian/mirrors\nRUN eve-debian-archive.sh\nFROM scratch\n\
     COPY --from=cache /archive/ /\n";

const LOG: &str = "the layers of lfedge/eve-app:";

/// A tree with an archive and a package, and the programs' caches.
struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    /// The package runs `script` in a stage that starts from the archive, whose name is for `@archive@`; none without busybox on this machine.
    fn new(script: &str) -> Option<Self> {
        let Some(busybox) = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.is_file()) else {
            skips::missing("busybox", "busybox-static");
            return None;
        };
        if !dynamic(busybox).is_empty() {
            skips::missing("busybox without libraries", "busybox-static");
            return None;
        }
        let small = Self { folder: tempfile::tempdir().unwrap() };
        small.write("xtask.toml", PROFILE);
        small.write(".gitignore", "/dist\n");
        small.write("pkg/debian/build.yml", "org: lfedge\nimage: eve-debian\n");
        small.write("pkg/debian/Dockerfile", ARCHIVE);
        let pins = [
            small.deb("busybox-static", "1", &[("bin/busybox", fs::read(busybox).unwrap())]),
            small.deb("lib", "1", &[("usr/lib/lib", b"first\n".to_vec())]),
            small.deb("tool", "1", &[("usr/lib/tool", b"tool\n".to_vec())]),
        ];
        small.lock("debian", &pins);
        init(&small.root(), "main", "one");
        let archive = small.xtask("images").args(["show-tag", "debian"]).ok();
        small.write("pkg/app/build.yml", "org: lfedge\nimage: eve-app\nconfig: {\"binds\": [\"/a:/a\"]}\n");
        small.write(
            "pkg/app/Dockerfile",
            &format!(
                "FROM {0} AS target\nENV PKGS lib\nRUN eve-debian-deploy.sh\nFROM --platform=$BUILDPLATFORM {0} AS build\nENV BUILD_PKGS tool\n\
                 RUN eve-debian-deploy.sh\nCOPY --from=target /out/ /out/\nRUN {1}\nFROM scratch\nCOPY --from=build /out/ /\n",
                archive.trim(),
                script.replace("@archive@", archive.trim())
            ),
        );
        small.commit();
        Some(small)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts a package into the folder of downloads; its line of a lock.
    fn deb(&self, name: &str, version: &str, files: &[(&str, Vec<u8>)]) -> String {
        let pack = |files: &[(&str, Vec<u8>)]| {
            let mut tree = Tree::new();
            for (path, bytes) in files {
                tree.insert(path, Node::file(0o755, 7, Content::from(bytes.clone()))).unwrap();
            }
            filetree::write_tar(&tree, Vec::new()).unwrap()
        };
        let control = format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\nDescription: made for a test\n");
        let mut deb = b"!<arch>\n".to_vec();
        for (member, bytes) in
            [("debian-binary", b"2.0\n".to_vec()), ("control.tar", pack(&[("control", control.into_bytes())])), ("data.tar", pack(files))]
        {
            deb.extend(format!("{member:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).into_bytes());
            deb.extend(&bytes);
            deb.resize(deb.len().next_multiple_of(2), b'\n');
        }
        let folder = self.folder.path().join(".cache/eve-xtask/debs");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("new"), &deb).unwrap();
        let sum = common::tool("sha256sum", &[folder.join("new").to_str().unwrap()]);
        let sum = sum.split_whitespace().next().unwrap();
        fs::rename(folder.join("new"), folder.join(format!("{sum}.deb"))).unwrap();
        format!("{name} {version} amd64 {sum} {} main pool/main/{name}_{version}_amd64.deb\n", deb.len())
    }

    fn lock(&self, archive: &str, pins: &[String]) {
        let mut pins = pins.to_vec();
        pins.sort();
        self.write(&format!("pkg/{archive}/mirrors/trixie/amd64.lock"), &pins.concat());
    }

    /// Commits a new archive, and then its tag in the Dockerfile of the package.
    fn renew(&self, pins: &[String]) {
        self.renew_archive("debian", pins);
    }

    /// The same for any archive.
    fn renew_archive(&self, archive: &str, pins: &[String]) {
        self.lock(archive, pins);
        self.commit();
        self.xtask("images").args(["bump", "--commit"]).ok();
    }

    fn commit(&self) {
        let sh = shell(&self.root());
        cmd!(sh, "git add .").run().unwrap();
        cmd!(sh, "git -c user.name=a -c user.email=a@example.org commit -q -m next").run().unwrap();
    }

    fn xtask(&self, cache: &str) -> Xtask {
        let home = self.folder.path();
        let names = [("GIT_AUTHOR_NAME", "n"), ("GIT_AUTHOR_EMAIL", "e@x"), ("GIT_COMMITTER_NAME", "n"), ("GIT_COMMITTER_EMAIL", "e@x")];
        let xtask = names.iter().fold(Xtask::new(&self.root()), |xtask, (name, value)| xtask.env(name, value));
        xtask.env("HOME", home).env("XDG_CACHE_HOME", home.join(".cache")).env("LINUXKIT_CACHE", home.join(cache)).env("ZARCH", "amd64")
    }

    /// Builds the package; its image's digest, and whether the build took the layers of another image.
    fn build(&self, cache: &str, store: &str) -> (String, bool) {
        self.xtask(cache).env("STORE", store).args(["--offline", "pkg", "app"]).ok();
        let tag = self.xtask(cache).args(["show-tag", "app"]).ok();
        let image = Cache::open(&self.folder.path().join(cache)).unwrap().find(tag.trim(), "amd64").unwrap().unwrap();
        (image.digest, self.took_layers())
    }

    /// Whether the last build of the package took layers, as its log says.
    fn took_layers(&self) -> bool {
        let logs = walkdir::WalkDir::new(self.root().join("dist")).into_iter().map(|entry| entry.unwrap().into_path());
        let logs = logs.filter(|path| path.to_string_lossy().contains("app") && path.extension().is_some_and(|ending| ending == "log"));
        let log = logs.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap();
        fs::read_to_string(log).unwrap().contains(LOG)
    }

    /// Makes every record of a build a lie that whoever takes it writes into an image: one more variable.
    fn spoil_records(&self) {
        let records: Vec<PathBuf> =
            fs::read_dir(self.folder.path().join("store/packages")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!records.is_empty());
        for path in records {
            let mut all: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            all.as_array_mut().unwrap().iter_mut().for_each(|record| record["config"]["Env"] = serde_json::json!(["LIE=1"]));
            fs::write(&path, all.to_string()).unwrap();
        }
    }

    /// The image of a build without any cache.
    fn clean_build(&self) -> String {
        let _ = fs::remove_dir_all(self.folder.path().join("clean"));
        let (digest, taken) = self.build("clean", "off");
        assert!(!taken);
        digest
    }

    /// A file of the package's image.
    fn file(&self, name: &str) -> String {
        let tag = self.xtask("images").args(["show-tag", "app"]).ok();
        let image = Cache::open(&self.folder.path().join("images")).unwrap().find(tag.trim(), "amd64").unwrap().unwrap();
        match &image.tree().unwrap().get(name).unwrap().kind {
            filetree::Kind::File { content, .. } => String::from_utf8(content.read_all().unwrap()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn pins(&self) -> Vec<String> {
        let lock = fs::read_to_string(self.root().join("pkg/debian/mirrors/trixie/amd64.lock")).unwrap();
        lock.lines().map(|line| format!("{line}\n")).collect()
    }

    fn store(&self) -> String {
        self.folder.path().join("store").display().to_string()
    }
}

/// The libraries that a program needs.
fn dynamic(program: &Path) -> String {
    let output = Command::new("readelf").arg("-d").arg(program).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter(|line| line.contains("NEEDED")).collect()
}

#[test]
fn a_package_is_built_again_only_if_it_takes_what_changed() {
    // What the archive holds besides is not there for a RUN line, or the result could depend on it.
    let script = "[ ! -e /p??k??es ] && [ -x /bin/busybox ] && ls / >/out/root && cat /out/usr/lib/lib >/out/copy";
    let Some(small) = Small::new(script) else { return };
    let store = small.store();
    let (first, taken) = small.build("images", &store);
    assert!(!taken);
    assert_eq!(first, small.clean_build());
    assert!(small.file("root").lines().all(|name| name != "packages"));

    let other = small.deb("other", "1", &[("usr/bin/other", b"other\n".to_vec())]);
    small.renew(&[small.pins(), vec![other]].concat());
    let (more, taken) = small.build("images", &store);
    assert!(taken);
    assert_eq!(more, small.clean_build(), "the image of a build that took layers is that of a clean build");

    let pins: Vec<String> = small.pins().into_iter().filter(|pin| !pin.starts_with("lib ")).collect();
    let lib = small.deb("lib", "1", &[("usr/lib/lib", b"second\n".to_vec())]);
    small.renew(&[pins, vec![lib]].concat());
    let (changed, taken) = small.build("images", &store);
    assert!(!taken, "the package takes lib, whose file has changed");
    assert_eq!((changed, small.file("copy").as_str()), (small.clean_build(), "second\n"));

    // busybox runs the lines of the Dockerfile, so every package depends on it, though no deploy takes it.
    let pins: Vec<String> = small.pins().into_iter().filter(|pin| !pin.starts_with("busybox-static ")).collect();
    let mut program = fs::read(["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).is_file()).unwrap()).unwrap();
    program.push(0);
    let busybox = small.deb("busybox-static", "2", &[("bin/busybox", program)]);
    small.renew(&[pins, vec![busybox]].concat());
    let (digest, taken) = small.build("images", &store);
    assert!(!taken);
    assert_eq!(digest, small.clean_build());
}

#[test]
fn a_package_of_two_archives_is_built_for_each() {
    for second in ["FROM @other@", "ARG OTHER=@other@\nFROM ${OTHER}"] {
        let Some(small) = Small::new("true") else { return };
        let busybox = small.pins().into_iter().find(|pin| pin.starts_with("busybox-static ")).unwrap();
        let part = |text: &str| small.deb("part", "1", &[("usr/lib/part", text.as_bytes().to_vec())]);
        small.write("pkg/other/build.yml", "org: lfedge\nimage: eve-other\n");
        small.write("pkg/other/Dockerfile", ARCHIVE);
        small.lock("other", &[busybox.clone(), part("first")]);
        small.commit();
        let other = small.xtask("images").args(["show-tag", "other"]).ok();
        let (args, from) = second.split_at(second.find("FROM").unwrap());
        let app = fs::read_to_string(small.root().join("pkg/app/Dockerfile")).unwrap();
        let app = format!("{args}{from} AS second\nENV PKGS part\nRUN eve-debian-deploy.sh\n{app}COPY --from=second /out/ /\n");
        small.write("pkg/app/Dockerfile", &app.replace("@other@", other.trim()));
        small.commit();
        let store = small.store();
        small.build("images", &store);
        small.renew_archive("other", &[busybox.clone(), part("second")]);
        assert!(!small.build("images", &store).1, "{second}");
        assert_eq!(small.file("usr/lib/part"), "second");
        let lib = small.deb("lib", "1", &[("usr/lib/lib", b"other\n".to_vec())]);
        let pins: Vec<String> = small.pins().into_iter().filter(|pin| !pin.starts_with("lib ")).collect();
        small.renew(&[pins, vec![lib]].concat());
        let (digest, taken) = small.build("images", &store);
        assert!(!taken, "{second}");
        assert_eq!((digest, small.file("usr/lib/lib").as_str()), (small.clean_build(), "other\n"));
    }
}

#[test]
fn a_dockerfile_that_reads_the_archive_is_built_for_each() {
    let Some(small) = Small::new("ls /packages/amd64 >/out/list") else { return };
    small.build("images", &small.store());
    let other = small.deb("other", "1", &[("usr/bin/other", b"other\n".to_vec())]);
    small.renew(&[small.pins(), vec![other]].concat());
    let (digest, taken) = small.build("images", &small.store());
    assert!(!taken && small.file("list").contains("other_1_amd64.deb"));
    assert_eq!(digest, small.clean_build());
}

#[test]
fn a_dockerfile_that_writes_the_name_of_the_archive_is_built_for_each() {
    let Some(small) = Small::new("echo @archive@ >/out/name") else { return };
    small.build("images", &small.store());
    let other = small.deb("other", "1", &[("usr/bin/other", b"other\n".to_vec())]);
    small.renew(&[small.pins(), vec![other]].concat());
    let (digest, taken) = small.build("images", &small.store());
    assert!(!taken);
    assert_eq!(small.file("name"), small.xtask("images").args(["show-tag", "debian"]).ok());
    assert_eq!(digest, small.clean_build());
}

#[test]
fn layers_that_are_damaged_or_gone_are_made_again() {
    let Some(small) = Small::new("true") else { return };
    let (store, cache) = (small.store(), small.folder.path().join("images"));
    small.build("images", &store);
    let tag = small.xtask("images").args(["show-tag", "app"]).ok();
    let image = Cache::open(&cache).unwrap().find(tag.trim(), "amd64").unwrap().unwrap();
    let blob = cache.join("blobs/sha256").join(image.layers[0].digest().trim_start_matches("sha256:"));
    let mut bytes = fs::read(&blob).unwrap();
    let last = bytes.len() / 2;
    bytes[last] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let other = small.deb("other", "1", &[("usr/bin/other", b"other\n".to_vec())]);
    small.renew(&[small.pins(), vec![other]].concat());
    let (digest, taken) = small.build("images", &store);
    assert!(!taken);
    assert_eq!(digest, small.clean_build());
}

#[test]
fn force_and_verify_and_another_dockerfile_take_no_layers() {
    let Some(small) = Small::new("true") else { return };
    let store = small.store();
    let (first, _) = small.build("images", &store);
    let other = small.deb("other", "1", &[("usr/bin/other", b"other\n".to_vec())]);
    small.renew(&[small.pins(), vec![other]].concat());
    assert!(small.build("images", &store).1);
    let verify = || small.xtask("images").env("STORE", &store).args(["--offline", "verify", "app"]);
    // verify compares with what the sources give, not with what a record says.
    small.spoil_records();
    assert!(verify().ok().contains("1 packages are what their sources build"));
    small.xtask("images").env("STORE", &store).args(["--offline", "pkg", "--force", "app"]).ok();
    assert!(!small.took_layers());
    assert!(verify().ok().contains("1 packages are what their sources build"));
    // The lie would have been found.
    small.spoil_records();
    let more = small.deb("more", "1", &[("usr/bin/more", b"more\n".to_vec())]);
    small.renew(&[small.pins(), vec![more]].concat());
    let (digest, taken) = small.build("images", &store);
    assert!(taken && digest != first);
    let said = common::texts(&verify().output()).0;
    assert!(said.contains("Env of the configuration: [\"LIE=1\"] instead of "), "{said}");
    let file = small.root().join("pkg/app/Dockerfile");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("RUN true", "RUN echo new >/out/new")).unwrap();
    small.commit();
    assert!(!small.build("images", &store).1);
    assert_eq!(small.file("new"), "new\n");
}
