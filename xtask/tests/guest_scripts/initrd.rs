//! Which root file system the initrd takes: by the variable of the firmware, or as a file on a medium.

use super::{call_in, common::wants};
use std::path::Path;

#[test]
fn the_initrd_believes_only_a_variable_that_is_not_kept() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("LoaderDevicePartUUID");
    let id = "ad6871ee-31f9-4cf3-9e09-6f7a25c30052";
    let name: Vec<u8> = id.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let finds = |id: &str| {
        let call = format!("[ \"$(partuuid_in {})\" = \"{id}\" ]", file.display());
        call_in(Path::new(""), "pkg/kernel/initrd/init", &["partuuid_in"], &call)
    };
    for (attributes, found) in [(6_u32, id), (7, ""), (2, ""), (0x8000_0006, "")] {
        std::fs::write(&file, [&attributes.to_le_bytes(), &name[..]].concat()).unwrap();
        assert!(finds(found), "{attributes:#x}");
    }
    std::fs::write(&file, [6, 0]).unwrap();
    assert!(finds(""));
}

#[test]
fn an_installer_that_came_from_no_partition_is_looked_for_as_a_file() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let chooses = |root: &str, rootimg: &str, variable: &str, wanted: &str| {
        let call = format!(
            "loader_partition() {{ echo {variable}; }}; fail() {{ root=FAILED rootimg=; }}; root={root} rootimg={rootimg}; choose_root; [ \"$root:$rootimg\" = {wanted} ]"
        );
        call_in(Path::new(""), "pkg/kernel/initrd/init", &["choose_root"], &call)
    };
    assert!(chooses("LoaderDevicePartUUID", "/file", "1-2", "PARTUUID=1-2:"), "a disk");
    assert!(chooses("LoaderDevicePartUUID", "/file", "", ":/file"), "an ISO");
    assert!(chooses("LoaderDevicePartUUID", "", "1-2", "PARTUUID=1-2:"), "a machine");
    assert!(chooses("LoaderDevicePartUUID", "", "", "FAILED:"), "no unified kernel image");
    assert!(chooses("PARTUUID=3", "/file", "1-2", "PARTUUID=3:/file") && chooses("''", "/file", "1-2", ":/file"), "not signed");
}
