//! Tars, layers, images, Debian packages.

use super::files::folder;
use anyhow::Result;
use filetree::{Content, EntryKind, Kind, Node, Spool, Tree, entries_to_tree, read_tar_content, read_tar_stream, write_tar};
use oci::Cache;
use pkgbuild::debian::read_deb;
use sha2::{Digest as _, Sha256};

pub const TAR_WORDS: &[&str] = &[
    "ustar\x0000",
    "ustar  \0",
    "GNU.sparse.map",
    "GNU.sparse.major=1",
    "GNU.sparse.size=",
    "SCHILY.xattr.user.a=",
    "path=",
    "linkpath=",
    "size=",
    "../",
    "/",
    "././@LongLink",
    ".wh..wh..opq",
    ".wh.",
    "\u{0}\u{0}\u{0}",
    "-1",
    "77777777777",
];
pub const IMAGE_WORDS: &[&str] = &[
    "manifest.json",
    "index.json",
    "blobs/sha256/",
    "sha256:",
    "\"layers\":[",
    "\"manifests\":[",
    "\"annotations\":{",
    "null",
    "{}",
    "[]",
    "-1",
    "18446744073709551615",
    "application/vnd.oci.image.index.v1+json",
];

/// Reads every byte of every file; what is read must be as long as announced.
fn use_up(tree: &Tree) -> Result<()> {
    tree.walk(&mut |_, node| {
        let Kind::File { content, .. } = &node.kind else { return Ok(()) };
        let read = std::io::copy(&mut content.open()?, &mut std::io::sink())?;
        assert_eq!(read, content.len(), "a file is not as long as announced");
        Ok(())
    })
}

/// A tar by each of the three ways, then as a tree, and written again.
pub fn tar(input: &[u8]) -> Result<()> {
    let mut spool = Spool::new_in(folder())?;
    let streamed = read_tar_stream(input, &mut spool).and_then(entries_to_tree);
    let ranges = read_tar_content(&Content::from(input.to_vec()))?;
    for (entry, _) in &ranges {
        if let EntryKind::Node(Kind::File { content, .. }) = &entry.kind {
            std::io::copy(&mut content.open()?, &mut std::io::sink())?;
        }
    }
    let tree = streamed?;
    use_up(&tree)?;
    write_tar(&tree, std::io::sink())?;
    Ok(())
}

/// A layer of an image, by way of `docker load`'s archive: the digests are right, whatever the layer holds.
pub fn layer(input: &[u8]) -> Result<()> {
    let mut archive = Tree::new();
    let mut put = |name: &str, bytes: Vec<u8>| archive.insert(name, Node::file(0o644, 0, Content::from(bytes)));
    put("manifest.json", br#"[{"Config":"config.json","RepoTags":["a/b:c"],"Layers":["layer.tar"]}]"#.to_vec())?;
    let id = format!("sha256:{}", "0".repeat(64));
    put(
        "config.json",
        format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{id}"]}}}}"#).into_bytes(),
    )?;
    put("layer.tar", input.to_vec())?;
    image_archive(&write_tar(&archive, Vec::new())?)
}

/// An archive of images: imported into a new cache, and every image read.
pub fn image_archive(input: &[u8]) -> Result<()> {
    let dir = tempfile::tempdir_in(folder())?;
    let cache = Cache::open(dir.path())?;
    let names = cache.import(input, None);
    read_all(&cache)?;
    names.map(drop)
}

fn read_all(cache: &Cache) -> Result<()> {
    let mut result = Ok(());
    for name in cache.list()?.keys() {
        for arch in ["amd64", "arm64"] {
            match cache.find_whole(name, arch).and_then(|image| image.map(|image| use_up(&image.tree()?)).transpose()) {
                Ok(_) => {}
                Err(error) => result = Err(error),
            }
        }
    }
    result
}

pub const DOCUMENTS: &[&str] = &[
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"platform":{"architecture":"amd64","os":"linux"},"annotations":{"org.opencontainers.image.ref.name":"docker.io/a/b:c"}}]}"#,
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[],"annotations":{"a":"b"}}"#,
    r#"{"created":"2023-11-14T22:13:20Z","architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Cmd":["sh"],"WorkingDir":"/x","Labels":{"a":"b"},"ExposedPorts":{"1/tcp":{}}},"rootfs":{"type":"layers","diff_ids":[]},"history":[{"created":"x","created_by":"y"}]}"#,
];

/// A cache in which the input is the list of images, then one in which it is an image's manifest, then its configuration.
pub fn image_documents(input: &[u8]) -> Result<()> {
    let dir = tempfile::tempdir_in(folder())?;
    let blobs = dir.path().join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let put = |bytes: &[u8], kind: &str| -> Result<String> {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(blobs.join(&digest), bytes)?;
        Ok(format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}.v1+json","digest":"sha256:{digest}","size":{}}}"#, bytes.len()))
    };
    let config = put(input, "config")?;
    put(b"{}", "config")?;
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
    let read = |index: &[u8]| -> Result<()> {
        std::fs::write(dir.path().join("index.json"), index)?;
        read_all(&Cache::open(dir.path())?)
    };
    let mut results = vec![read(input)];
    for (kind, bytes) in [("index", input), ("manifest", input), ("manifest", manifest.as_bytes())] {
        let descriptor = put(bytes, kind)?;
        let named = descriptor.replacen('{', r#"{"annotations":{"org.opencontainers.image.ref.name":"docker.io/a/b:c"},"#, 1);
        results.push(read(format!(r#"{{"schemaVersion":2,"manifests":[{named}]}}"#).as_bytes()));
    }
    let first = results.iter().position(Result::is_ok).unwrap_or(0);
    results.swap_remove(first)
}

/// A Debian package.
pub fn deb(input: &[u8]) -> Result<()> {
    let mut spool = Spool::new_in(folder())?;
    let deb = read_deb(&Content::from(input.to_vec()), &mut spool, &|path| !path.ends_with(b"motd"))?;
    let _ = deb.field("Package");
    use_up(&deb.files)
}
