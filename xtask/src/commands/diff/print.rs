//! Prints a comparison.

use super::super::visible::visible;
use common::display::size;
use imagefs::{Changed, Comparison, FileChange, Package};

/// How many files are shown without `--files`.
const SHOWN: usize = 20;
/// How many lines of each text are shown.
const LINES: usize = 40;

/// Prints what differs; all files if `all`.
pub(super) fn print(found: &Comparison, all: bool) {
    if found.is_same() {
        println!("no difference");
        return;
    }
    packages("packages", &found.packages);
    packages("Debian packages", &found.debian);
    if let Some((old, new)) = &found.command_line {
        println!("kernel command line:\n  - {}\n  + {}", visible(old), visible(new));
    }
    for (path, lines) in &found.lines {
        println!("{}:", visible(path));
        lines.iter().take(LINES).for_each(|line| println!("  {}", visible(line)));
        if lines.len() > LINES {
            println!("  and {} more lines", lines.len() - LINES);
        }
    }
    files(&found.files, all);
    if !found.not_compared.is_empty() {
        println!("not compared:");
        found.not_compared.iter().for_each(|sentence| println!("  {}", visible(sentence)));
    }
    let (old, new) = found.bytes;
    if (old, new) != (0, 0) {
        println!("size: {} -> {} ({})", size(old), size(new), signed(old, new));
    }
    if let Some((old, new)) = found.stored {
        println!("squashfs: {} -> {} ({})", size(old), size(new), signed(old, new));
    }
}

fn packages(title: &str, packages: &[Package]) {
    if packages.is_empty() {
        return;
    }
    println!("{title}:");
    for Package { name, old, new } in packages {
        let shown = |version: &Option<String>| version.as_deref().map(visible);
        let name = visible(name);
        match (shown(old), shown(new)) {
            (Some(old), Some(new)) => println!("  ~ {name} {old} -> {new}"),
            (Some(old), None) => println!("  - {name} {old}"),
            (None, Some(new)) => println!("  + {name} {new}"),
            (None, None) => {}
        }
    }
}

fn files(files: &[FileChange], all: bool) {
    if files.is_empty() {
        return;
    }
    let count = |kinds: &[Changed]| files.iter().filter(|file| kinds.contains(&file.change)).count();
    println!(
        "files: {} added, {} removed, {} changed, {} with other attributes",
        count(&[Changed::Added]),
        count(&[Changed::Removed]),
        count(&[Changed::Content]),
        count(&[Changed::Attributes])
    );
    let mut shown: Vec<&FileChange> = files.iter().collect();
    if !all && shown.len() > SHOWN {
        shown.sort_by_key(|file| std::cmp::Reverse(file.old_size.max(file.new_size)));
        shown.truncate(SHOWN);
    }
    for file in shown {
        let (sign, sizes) = match file.change {
            Changed::Added => ('+', size(file.new_size)),
            Changed::Removed => ('-', size(file.old_size)),
            Changed::Content => ('~', format!("{} -> {}", size(file.old_size), size(file.new_size))),
            Changed::Attributes => ('m', size(file.new_size)),
        };
        println!("  {sign} {} ({sizes})", visible(&file.path));
    }
    if !all && files.len() > SHOWN {
        println!("  and {} more, all smaller (--files shows all)", files.len() - SHOWN);
    }
}

fn signed(old: u64, new: u64) -> String {
    if new >= old { format!("+{}", size(new - old)) } else { format!("-{}", size(old - new)) }
}
