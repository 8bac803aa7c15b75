//! Resolves volume names: the source of a bind or bind mount that is no absolute path is a volume's name.

use crate::yml::{Settings, Volume};
use anyhow::{Context as _, Result, bail};

/// The settings with each volume's name replaced by its mount point. A writable mount of a read-only volume is an error.
pub(crate) fn with_volumes(settings: &Settings, volumes: &[Volume]) -> Result<Settings> {
    let mut settings = settings.clone();
    for mount in settings.mounts.iter_mut().flatten().filter(|mount| mount.kind == "bind" && !mount.source.starts_with('/')) {
        let may_write = mount.options.iter().find(|option| ["rw", "ro"].contains(&option.as_str())).is_none_or(|option| option == "rw");
        mount.source = folder(&mount.source, may_write, volumes)?;
    }
    for bind in [&mut settings.binds, &mut settings.binds_add].into_iter().flatten().flatten() {
        let (source, rest) = bind.split_once(':').unwrap_or((bind.as_str(), ""));
        if source.starts_with('/') {
            continue;
        }
        let may_write = rest.split(':').nth(1) != Some("ro");
        *bind = format!("{}:{rest}", folder(source, may_write, volumes)?);
    }
    Ok(settings)
}

fn folder(name: &str, may_write: bool, volumes: &[Volume]) -> Result<String> {
    let volume = volumes.iter().find(|volume| volume.name == name).with_context(|| format!("the yml defines no volume `{name}`"))?;
    if volume.readonly && may_write {
        bail!("the volume `{name}` is read-only, but the container mounts it writable\nhint: add the option `ro`");
    }
    Ok(format!("/containers/volumes/{name}/merged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_folders_and_read_only_stays() {
        let volumes = [Volume { name: "v".into(), readonly: true, ..Volume::default() }];
        let bind = |text: &str| Settings { binds: Some(vec![text.to_owned()]), ..Settings::default() };
        assert_eq!(
            with_volumes(&bind("v:/data:ro"), &volumes).expect("bind").binds.expect("binds"),
            ["/containers/volumes/v/merged:/data:ro"]
        );
        let refused = |text: &str| format!("{:#}", with_volumes(&bind(text), &volumes).map(|_| ()).expect_err("refused"));
        let message = refused("v:/data");
        assert!(
            message.contains("the volume `v` is read-only, but the container mounts it writable\nhint: add the option `ro`"),
            "{message}"
        );
        let message = refused("w:/data");
        assert!(message.contains("the yml defines no volume `w`"), "{message}");
        assert_eq!(with_volumes(&bind("/w:/data"), &volumes).expect("bind").binds.expect("binds"), ["/w:/data"]);
    }
}
