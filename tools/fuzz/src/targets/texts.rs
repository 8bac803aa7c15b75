//! Texts of Debian's archive, of packages and of images' templates.

use anyhow::Result;
use compose::{Yml, image_references};
use filetree::{Content, Entry, EntryKind, Kind, Meta};
use installer::settings::InstallSettings;
use pkgbuild::{
    build_yml::BuildYml,
    debian::{Index, Lock, Mirrors, SourceLock, Suite, Wanted, compare_versions, sources_of},
    dockerfile::{Dockerfile, expand},
};
use std::{cmp::Ordering, collections::BTreeMap};

pub const DEBIAN_WORDS: &[&str] = &[
    "Package: ",
    "Version: ",
    "Depends: ",
    "Filename: pool/",
    "Size: ",
    "SHA256: ",
    "Provides: ",
    "Source: ",
    "\n ",
    "\n\n",
    "\n .\n",
    "~",
    "|",
    " (>= 1)",
    " [amd64]",
    " <!nocheck>",
    ":any",
    "all",
    "deb http://a/debian bookworm main",
    "Types: deb",
    "URIs: ",
    "Suites: ",
    "License: GPL-2+ or MIT",
    "99999999999999999999",
    "\u{e9}",
];
pub const PACKAGES: &[&str] = &[
    "Package: alpha\nVersion: 1:2.3-4+b1\nArchitecture: amd64\nDepends: beta (>= 0~rc1), gamma | beta:any\nPre-Depends: delta\nSource: alpha-src (1:2.3-4)\nBuilt-Using: gcc-12 (= 12.2-1), golang (= 1)\nDescription: x\n y\n .\n z\nFilename: pool/main/a/alpha/alpha_2.3-4_amd64.deb\nSize: 1234\nSHA256: 3d3fdbe91d4660c873e14b092c213fe81c1da6362daa236eb25d0171eb108744\n\nPackage: beta\nVersion: 1~rc1\nArchitecture: all\nProvides: delta (= 1), epsilon\nFilename: pool/main/b/beta/beta_0_all.deb\nSize: 12\nSHA256: 3d3fdbe91d4660c873e14b092c213fe81c1da6362daa236eb25d0171eb108744\n",
];

/// A mirror's `Packages`, and what relations and versions in it mean.
pub fn packages(input: &[u8]) -> Result<()> {
    let index = Index::read(Suite::Main, input, "Packages")?;
    for package in index.packages.values() {
        sources_of(&package.name, &package.version, package.source.as_deref(), package.built_using.as_deref())?;
    }
    let wanted: Vec<&str> = index.packages.keys().map(String::as_str).collect();
    let wanted = Wanted::parse(&wanted.join("\n"), "packages")?;
    pkgbuild::debian::pin(&wanted, "amd64", &[index], pkgbuild::debian::Prefer::default())?;
    Ok(())
}

pub const LOCKS: &[&str] = &[
    "# a comment\nbusybox-static 1:1.35.0-4+deb12u1+b1 amd64 3d3fdbe91d4660c873e14b092c213fe81c1da6362daa236eb25d0171eb108744 928188 main pool/main/b/busybox/busybox-static_1.35.0-4+deb12u1+b1_amd64.deb libc6\nlibc6 2.36 amd64 0d5f444f594e48c1e16a41d8fc628a09b24c658916a1274025c2330f2a802bed 1 security pool/main/g/glibc/libc6_2.36_amd64.deb\n",
    "acl 2.3.1-3 2eb052bba784a4b873e951b1f91af2abef62e4bf4b83c93f9821eea26f66c8e2 30968 main pool/main/a/acl/acl_2.3.1-3.debian.tar.xz\n",
];

/// A lock of packages or sources, and the list that a person writes.
pub fn lock(input: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(input)?;
    let sources = SourceLock::default().add(text, "a.lock");
    drop(Wanted::parse(text, "packages"));
    let lock = match Lock::parse(text, "a.lock") {
        Ok(lock) => lock,
        Err(error) => return sources.map_err(|_| error),
    };
    let again = Lock::parse(&lock.to_text(""), "a.lock")?;
    assert!(again == lock, "a lock that is written is not read the same");
    lock.closure(&lock.pins.keys().cloned().collect::<Vec<_>>(), &[])?;
    Ok(())
}

pub const APT_SOURCES: &[&str] = &[
    "deb [arch=amd64 signed-by=/x] http://mirror.example/debian bookworm main contrib # c\ndeb-src http://a/debian bookworm main\n",
    "Types: deb deb-src\nURIs: http://mirror.example/debian\n https://b/debian\nSuites: bookworm bookworm-updates\nComponents: main\nEnabled: yes\nSigned-By: /x\n\nTypes: deb\nURIs: http://s/debian-security\nSuites: bookworm-security\n",
];

/// apt's lists of mirrors, in both forms.
pub fn apt_sources(input: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(input).into_owned();
    let parse = |name: &str| Mirrors::from_apt_sources(&[(name.to_owned(), text.clone())], None, None);
    parse("a.list")?;
    let mirrors = parse("a.sources")?;
    drop(mirrors.roots(Suite::Security));
    Ok(())
}

pub const RELATIONS: &[&str] = &[
    "libc6 (>= 2.36), a | b:any (<< 1~), c [amd64 !arm64] <!nocheck>\n1:2.3-4+b1\n1.0~rc1-1ubuntu2",
    "alpha (>= 1), alpha:any | beta\n0\n00",
];

/// Three lines: relations between packages, and two versions to be compared.
pub fn debian_words(input: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let (relations, left, right) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let order = compare_versions(left, right);
    assert_eq!(order, compare_versions(right, left).reverse(), "the order of versions is no order");
    assert_eq!(compare_versions(left, left), Ordering::Equal);
    let stanza = format!(
        "Package: alpha\nVersion: 1\nArchitecture: all\nDepends: {relations}\nFilename: pool/main/alpha.deb\nSize: 1\nSHA256: {}\n",
        "0".repeat(64)
    );
    packages(stanza.as_bytes())
}

pub const COPYRIGHTS: &[&str] = &[
    "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: x\n\nFiles: *\nCopyright: 2020 A\nLicense: GPL-2+ with OpenSSL exception or (MIT and BSD-3-clause)\n\nFiles: a/*\nLicense: MIT\n text\n .\n more\n\nLicense: GPL-2+\n On Debian systems see /usr/share/common-licenses/GPL-2.\n",
    "This package is free software; see `/usr/share/common-licenses/GPL-3'.\n",
];

/// The licence in a package's copyright file, as the bill of materials reads it.
pub fn copyright(input: &[u8]) -> Result<()> {
    let file = |path: &str, bytes: &[u8]| Entry {
        path: path.as_bytes().to_vec(),
        meta: Meta::root(0o644, 0),
        kind: EntryKind::Node(Kind::File { content: Content::from(bytes.to_vec()), link: None }),
    };
    let status = b"Package: a\nVersion: 1\nArchitecture: all\nMaintainer: b\n";
    sbom::components(vec![
        file("var/lib/cargo/status.d/a", status),
        file("var/lib/dpkg/status.d/a", status),
        file("usr/share/doc/a/copyright", input),
    ])?;
    drop(sbom::components(vec![file("var/lib/cargo/status.d/a", input), file("var/lib/dpkg/status.d/a", input)]));
    Ok(())
}

pub const DOCKER_WORDS: &[&str] = &[
    "FROM ",
    "FROM scratch\n",
    "RUN ",
    "COPY --from=",
    "COPY --link --chmod=1 ",
    "ENV ",
    "ARG ",
    "WORKDIR ",
    "USER ",
    "ADD https://a/b /c\n",
    "ADD --checksum=",
    "<<EOF\n",
    "EOF\n",
    "<<-\"E\"",
    "\\\n",
    "`",
    "# escape=`\n",
    "# syntax=x\n",
    "${A:-",
    "${A:+",
    "${A##*",
    "}",
    "$",
    "--mount=type=bind,from=",
    "AS ",
    "[\"a\", \"b\"]",
    "ONBUILD ",
    "HEALTHCHECK ",
    "\u{feff}",
];
pub const DOCKERFILES: &[&str] = &[
    "# syntax=docker/dockerfile:1\nARG A=1\nFROM --platform=$BUILDPLATFORM lfedge/eve-debian:abc AS build\nENV PKGS=\"a b\" X=$A\nARG B\nRUN --mount=type=bind,from=other,target=/x a && \\\n  # a comment\n  b\nWORKDIR /w\nUSER 7:8\nCOPY --from=build --chown=1:2 /a /b ./\nADD https://a/b.tar /c\nRUN <<EOF\necho $A\nEOF\nFROM scratch\nCOPY --from=build /out/ /\nENTRYPOINT [\"/a\", \"b\"]\nCMD c d\nLABEL a=b\n",
    "# escape=`\nFROM a\nRUN b `\n c\nENV a b ${c:-${d:+e}} 'f $g' \"h \\\"\"\n",
];

/// A Dockerfile, the images it names, and its words with variables.
pub fn dockerfile(input: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(input)?;
    drop(expand(text, '\\', &|name| (name.len() < 2).then(|| "value".to_owned())));
    let file = Dockerfile::parse(text, "Dockerfile")?;
    let _ = file.images_with(&BTreeMap::from([("A".to_owned(), "b".to_owned())]));
    drop(file.remote_sources(&[("TARGETARCH", "amd64")]));
    Ok(())
}

pub const YML_WORDS: &[&str] = &[
    "\n  ",
    "- ",
    ": ",
    "&a ",
    "*a",
    "<<: *a",
    "|\n  ",
    ">-\n  ",
    "? ",
    "!!binary ",
    "---\n",
    "...\n",
    "# ",
    "[",
    "]",
    "{",
    "}",
    "\"\\x00\"",
    "null",
    "~",
    "0x10",
    "1e400",
    "\t",
    "\u{feff}",
    "\u{2028}",
];
pub const YMLS: &[&str] = &[
    "kernel:\n  image: a/kernel:1\n  cmdline: \"rootdelay=3\"\ninit:\n  - a/init:1\nonboot:\n  - name: x\n    image: a/x:1\n    command: [\"/a\", \"b\"]\n    binds:\n      - /a:/b\nservices:\n  - name: y\n    image: a/y:1\n    cgroupsPath: /eve/y\n    oomScoreAdj: -999\n    capabilities: [all]\nfiles:\n  - path: /etc/a\n    contents: 'x'\n    mode: \"0644\"\n  - path: b\n    directory: true\n  - path: c\n    symlink: d\ntrust:\n  org: [a]\n",
    "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n",
];

/// A yml of linuxkit.
pub fn yml(input: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(input)?;
    drop(image_references(&Yml::parse(text, "a.yml")?));
    Ok(())
}

pub const BUILD_YMLS: &[&str] = &[
    "org: lfedge\nimage: eve-x\narches: [amd64, arm64]\nnetwork: true\nextra-sources:\n  - a:b\nbuildArgs:\n  - A=b\ndepends:\n  docker-images:\n    list: [a/b:c]\n    target-dir: x\nconfig:\n  binds: [/a:/b]\n  capabilities: [all]\n  net: host\n",
];

/// A package's build.yml.
pub fn build_yml(input: &[u8]) -> Result<()> {
    let yml = BuildYml::parse(std::str::from_utf8(input)?, "build.yml")?;
    yml.sources()?;
    Ok(())
}

pub const YQ_WORDS: &[&str] = &[
    ".services",
    "[] ",
    "select(.name == \"x\")",
    " | ",
    " |= ",
    " + ",
    "map(",
    "del(",
    "env(HV)",
    "test(\"(a*)*b\")",
    "with(",
    "to_entries",
    "\\(.a)",
    "..",
    "// ",
    "as $a",
    "if . then . else . end",
    "(((((((",
    "[-1]",
    "[1:2]",
    "9223372036854775807",
    "\0",
];
pub const YQS: &[&str] = &[
    ".services[] |= select(.name != \"x\") | .init += [\"a\"] | del(.onboot[] | select(.name == \"y\"))\0services:\n- name: x\n  image: b\n- name: z\ninit: [c]\nonboot:\n- name: y\n",
    "(.a | select(. == \"b\")) = \"c\" | .d = {\"e\": [1, true, null]}\0a: b\n",
];

/// A program of jq's dialect, a NUL, and a yml to which it is applied.
pub fn yq(input: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(input)?;
    let (program, yaml) = text.split_once('\0').unwrap_or((text, "a: [1, {b: c}]\n"));
    let value = ymlpatch::read(yaml);
    let made = ymlpatch::apply(program, yaml)?;
    value?;
    ymlpatch::read(&made)?;
    Ok(())
}

pub const GRUB_WORDS: &[&str] = &[
    "eve_install_disk=",
    "set_global ",
    "set ",
    "if ",
    "fi",
    "menuentry 'a' {",
    "}",
    ";",
    "#",
    "'",
    "\"",
    "\\",
    "$",
    "eve_nuke_disks=",
    "eve_install_skip_config",
    "\n",
];
pub const GRUB_CFGS: &[&str] = &[
    "quiet eve_install_disk=sda eve_persist_disk=sdb eve_reboot_after_install\nset_global eve_nuke_disks \"sda,sdb\"\nif [ a = b ]; then\n  set_global x y # c\nfi\nset eve_soft_serial='1 2'\n",
];

/// The installer's words: the first line is the kernel's command line, the others grub.cfg.
pub fn install_words(input: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(input);
    let (cmdline, grub_cfg) = text.split_once('\n').unwrap_or((&text, ""));
    InstallSettings::read(cmdline, grub_cfg)?;
    Ok(())
}
