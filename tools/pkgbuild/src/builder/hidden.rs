//! Which parts of its surroundings a Dockerfile can see. The packages of the Debian archive are in a stage only while some of them are unpacked,
//! unless the Dockerfile names their folder: so nothing of the archive but what is unpacked decides the image.

use super::{Request, global_args, pattern::matches_name};
use crate::{
    debian::Builtin,
    dockerfile::{Copy, Dockerfile, Instruction, MountFlag, expand},
};
use anyhow::Error;
use filetree::{Kind, Node, Tree};
use std::collections::BTreeMap;

/// The folder of the packages in an archive image and in the stages that start from it.
pub const PACKAGES: &str = "packages";

/// Programs of the archive image that read this folder.
const READERS: [&str; 2] = ["eve-debian-deploy.sh", "eve-debian-archive.sh"];

/// Whether `tree` is that of an archive image for `arch`.
#[must_use]
pub fn is_archive(tree: &Tree, arch: &str) -> bool {
    tree.get(format!("{PACKAGES}/{arch}/lock")).is_some_and(|node| matches!(node.kind, Kind::File { .. }))
}

/// Whether the build may use the folder `/packages` of an archive image otherwise than by a plain `RUN eve-debian-deploy.sh`: its text has the word
/// `packages`, a program that reads the folder is called in another way, a whole stage is copied or mounted, or the image itself starts from
/// an image. If in doubt, it may.
#[must_use]
pub fn sees_packages(request: &Request<'_>) -> bool {
    let look = Look { file: request.dockerfile, args: global_args(request) };
    let text = format!("{:?}", look.file.stages);
    let readers: usize = READERS.iter().map(|name| text.matches(name).count()).sum();
    let all = || look.file.stages.iter().flat_map(|stage| &stage.items).map(|item| &item.instruction);
    readers != all().filter(|instruction| is_plain_builtin(instruction)).count()
        || text.contains(PACKAGES)
        || look.starts_from_image(look.file.stages.len() - 1)
        || (0..look.file.stages.len()).any(|index| look.stage_sees_packages(index))
}

/// Whether the build may copy or mount the Dockerfile itself.
#[must_use]
pub fn sees_dockerfile(file: &Dockerfile) -> bool {
    file.stages.iter().flat_map(|stage| &stage.items).any(|item| match &item.instruction {
        Instruction::Copy(copy) | Instruction::Add(copy) => copy.from.is_none() && copy_covers(copy, "Dockerfile"),
        Instruction::Run(run) => run.mounts.iter().any(|mount| mount.get(&["from"]).is_none() && mount_covers(mount, "Dockerfile")),
        _ => false,
    })
}

fn is_plain_builtin(instruction: &Instruction) -> bool {
    matches!(instruction, Instruction::Run(run) if run.heredocs.is_empty() && Builtin::parse(&run.command.to_string(), &BTreeMap::new()).is_some())
}

struct Look<'a> {
    file: &'a Dockerfile,
    args: BTreeMap<String, String>,
}

impl Look<'_> {
    /// Whether the files of a stage start from those of an image.
    fn starts_from_image(&self, mut index: usize) -> bool {
        loop {
            let Ok(base) = expand(&self.file.stages[index].base, self.file.escape, &|name| self.args.get(name).cloned()) else {
                return true;
            };
            match self.file.find_named(&base, index) {
                Some(stage) => index = stage,
                None => return base != "scratch",
            }
        }
    }

    fn stage_sees_packages(&self, index: usize) -> bool {
        let from_image = |from: &str| self.file.find_stage(from, index).is_none_or(|stage| self.starts_from_image(stage));
        let own = self.starts_from_image(index);
        self.file.stages[index].items.iter().any(|item| match &item.instruction {
            Instruction::Copy(copy) | Instruction::Add(copy) => {
                let whole = copy.from.as_deref().is_some_and(|from| from_image(from) && copy_covers(copy, PACKAGES));
                whole || own && copy.destination.contains('$')
            }
            Instruction::Run(run) => {
                run.mounts.iter().any(|mount| mount.get(&["from"]).is_some_and(from_image) && mount_covers(mount, PACKAGES))
            }
            Instruction::Workdir(path) => own && path.contains('$'),
            _ => false,
        })
    }
}

fn copy_covers(copy: &Copy, name: &str) -> bool {
    let is_heredoc = |word: &String| copy.heredocs.iter().any(|heredoc| heredoc.word == *word);
    copy.sources.iter().any(|word| !is_heredoc(word) && covers(word, name))
}

fn mount_covers(mount: &MountFlag, name: &str) -> bool {
    mount.get(&["type"]).is_none_or(|kind| kind == "bind") && covers(mount.get(&["source", "src"]).unwrap_or("/"), name)
}

/// Whether a path or pattern may name `name` at the root, or what it is in. Links need no look: what is hidden is not in the tree.
fn covers(word: &str, name: &str) -> bool {
    let first = word.split('/').find(|part| !part.is_empty() && *part != ".");
    let fits = |first: &str| first == name || first.contains(['\\', '$', '"', '\'']) || matches_name(first.as_bytes(), name.as_bytes());
    first.is_none_or(fits) || word.split('/').any(|part| part == "..")
}

/// Takes the packages out of the tree of an archive image.
pub(super) fn hide(tree: &mut Tree, arch: &str) -> Option<Node> {
    if is_archive(tree, arch) { tree.remove(PACKAGES) } else { None }
}

/// Adds to the error of a RUN from which the packages are hidden how it gets to see them, if the error names their folder.
pub(super) fn explain(error: Error) -> Error {
    let text = format!("{error:#}");
    let is_inside = |last: char| last.is_alphanumeric() || "-_./".contains(last);
    if text.match_indices(&format!("/{PACKAGES}")).all(|(at, _)| text[..at].ends_with(is_inside)) {
        return error;
    }
    error.context(
        "the archive's folder `/packages` is hidden from this RUN\nhint: a RUN sees it if the word `packages` is in an instruction of the Dockerfile, such as ENV ARCHIVE=/packages",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sees(text: &str) -> bool {
        let dockerfile = Dockerfile::parse(text, "Dockerfile").expect("a Dockerfile");
        let (context, none) = (Tree::new(), BTreeMap::new());
        sees_packages(&Request {
            dockerfile: &dockerfile,
            context: &context,
            arch: "amd64",
            build_arch: "amd64",
            build_args: &none,
            source_date_epoch: 0,
            network: false,
            target: None,
        })
    }

    #[test]
    fn packages_are_hidden_unless_the_dockerfile_can_reach_them() {
        let start = "FROM archive AS build\nENV PKGS a\nRUN eve-debian-deploy.sh\n";
        let end = "FROM scratch\nCOPY --from=build /out/ /\n";
        for fine in [
            "",
            "# packages of the archive\n",
            "COPY make.sh /\nRUN [\"/make.sh\"]\n",
            "RUN PKGS=\"$PKGS b\" eve-debian-deploy.sh\n",
            "FROM scratch AS other\nCOPY --from=build /out/ /\nFROM scratch\nCOPY --from=other / /\n",
            "RUN --mount=type=bind,from=build,source=/out,target=/x true\n",
        ] {
            assert!(!sees(&format!("{start}{fine}{end}")), "{fine}");
        }
        for open in [
            "RUN ls /packages\n",
            "ENV WHERE /packages\n",
            "WORKDIR /packages/amd64\n",
            "WORKDIR /$X\n",
            "COPY a /$X\n",
            "RUN eve-debian-deploy.sh && true\n",
            "RUN sh -c eve-debian-deploy.sh\n",
            "ENV TOOL eve-debian-deploy.sh\nRUN $TOOL\n",
            "FROM scratch AS other\nCOPY --from=build / /\n",
            "FROM scratch AS other\nCOPY --from=archive /./ /\n",
            "FROM scratch AS other\nCOPY --from=build /p* /\n",
            "FROM scratch AS other\nCOPY --from=build /out/../x /\n",
            "FROM scratch AS other\nCOPY --from=build $X /\n",
            "RUN --mount=from=build,target=/x true\n",
            "FROM $UNKNOWN AS other\nCOPY --from=other / /\n",
        ] {
            assert!(sees(&format!("{start}{open}{end}")), "{open}");
        }
        assert!(sees(start), "the image is the archive with more in it");
        let by_arch = "FROM build AS image-amd64\nFROM scratch AS image-arm64\nFROM image-${TARGETARCH}\n";
        assert!(sees(&format!("{start}{by_arch}")));
        assert!(!sees(&format!("{start}FROM scratch AS image-amd64\nFROM image-${{TARGETARCH}}\nCOPY --from=build /out/ /\n")));
    }

    #[test]
    fn a_dockerfile_is_seen_by_what_copies_the_whole_context() {
        let sees =
            |line: &str| sees_dockerfile(&Dockerfile::parse(&format!("FROM scratch\n{line}\n"), "Dockerfile").expect("a Dockerfile"));
        for open in
            ["COPY . /", "COPY / /", "COPY Dockerfile /", "COPY D* /", "ADD ./Dockerfile /", "COPY $X /", "RUN --mount=target=/x true"]
        {
            assert!(sees(open), "{open}");
        }
        for fine in [
            "COPY rootfs/ /",
            "COPY a b /",
            "COPY modules* /lists/",
            "COPY --from=x . /",
            "COPY <<a /b\ntext\na",
            "RUN --mount=type=cache,target=/x true",
        ] {
            assert!(!sees(fine), "{fine}");
        }
    }
}
