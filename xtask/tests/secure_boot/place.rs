//! A small tree that can be signed, and the folders of a person who does.

use super::common::{Xtask, repository, small_tree::small_tree};
use std::{fs, path::PathBuf};

/// A tree, and a person's folders.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.root()).unwrap();
        small_tree(&place.root());
        // What a signed initrd holds besides; the program that makes the device says what it was given.
        let open = fs::read_to_string(repository().join("pkg/verity/open")).unwrap();
        let rsa = fs::read_to_string(repository().join("pkg/gpt-tools/rootfs/usr/lib/eve-rsa.sh")).unwrap();
        let profile = fs::read_to_string(place.root().join("xtask.toml")).unwrap();
        for (name, text) in [
            ("xtask.toml", profile.replace("[rootfs]\n", "[rootfs]\nverity = \"verity\"\n").as_str()),
            ("pkg/verity/build.yml", "org: lfedge\nimage: eve-verity\n"),
            ("pkg/verity/Dockerfile", "FROM scratch\nCOPY files/ /\n"),
            ("pkg/verity/files/verity/open", &open),
            ("pkg/verity/files/verity/eve-rsa.sh", &rsa),
            ("pkg/verity/files/verity/dm-create", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"),
            ("pkg/verity/files/usr/share/doc/libc6-dev/copyright", "of the C library"),
        ] {
            let path = place.root().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        place
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    pub fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn xtask(&self, words: &[&str]) -> Xtask {
        let home = self.at("home");
        Xtask::new(&self.root()).env("HOME", &home).env("XDG_CACHE_HOME", format!("{home}/cache")).args(words)
    }

    /// A file with an EFI program.
    pub fn program(&self, name: &str, size: usize) -> String {
        let file = self.at(name);
        fs::write(&file, program(size)).unwrap();
        file
    }
}

/// A PE32+ program with headers of 0x200 bytes and one section of `size` bytes.
pub fn program(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; 0x200];
    let length = u32::try_from(size).unwrap();
    let fields: [(usize, &[u8]); 11] = [
        (0, b"MZ"),
        (0x3c, &[0x40]),
        (0x40, b"PE\0\0\x64\x86\x01"),
        (0x54, &[0xf0, 0, 0x2e, 2]),
        (0x58, &[0x0b, 2]),
        (0x58 + 32, &[0, 0x10, 0, 0, 0, 2]),
        (0x58 + 56, &[0, 0, 1, 0, 0, 2]),
        (0x58 + 68, &[10]),
        (0x58 + 108, &[16]),
        (0x148, b".text"),
        (0x148 + 8, &[length.to_le_bytes(), 0x1000_u32.to_le_bytes(), length.to_le_bytes(), 0x200_u32.to_le_bytes()].concat()),
    ];
    for (at, value) in fields {
        bytes[at..at + value.len()].copy_from_slice(value);
    }
    bytes.extend((0..size).map(|index| u8::try_from(index % 251).unwrap()));
    bytes
}
