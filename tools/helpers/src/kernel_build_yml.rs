//! `kernel-build-yml`: writes the build.yml of every package with a template for it into the package's folder, where linuxkit reads it.

use anyhow::Result;
use checkout::context::Ctx;
use common::{artifact::write_atomically, display::short};

/// Writes each build.yml whose text has changed.
pub fn write_build_ymls(ctx: &Ctx) -> Result<()> {
    let ymls = ctx.tree()?.generated_ymls()?;
    if ymls.is_empty() {
        eprintln!("nothing to do: no package of {} has a template for its build.yml", ctx.profile.tree.name);
    }
    for (path, text) in ymls {
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if ctx.globals.dry_run {
            println!("write {}", short(&path, &ctx.root));
        } else {
            write_atomically(&path, text.as_bytes())?;
        }
    }
    Ok(())
}
