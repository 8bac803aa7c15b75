//! What keeps the guest tight: when a console has a login, and the filters of containers.

use super::{
    common::{repository, tool, wants},
    function,
};
use std::{path::Path, process::Command};

#[test]
fn a_console_has_no_login_when_config_has_a_key_or_cannot_be_read() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = |path: &str| format!("{}{path}", folder.path().display());
    for dir in ["/containers/onboot/003-storage-init", "/run/eve/onboot/003-storage-init", "/config", "/proc"] {
        std::fs::create_dir_all(place(dir)).unwrap();
    }
    std::fs::write(place("/run/eve/onboot/003-storage-init/status"), "0\n").unwrap();
    let refusal = |mounts: &str| {
        std::fs::write(place("/proc/mounts"), mounts).unwrap();
        let text = ["refusal", "has_key"].map(|name| function("pkg/init/rootfs/etc/init.d/001-getty", name)).concat();
        let places = ["/containers/", "/run/", "/config/", "/proc/"];
        let text = places.iter().fold(text, |text, path| text.replace(path, &place(path)));
        tool("busybox", &["ash", "-c", &format!("{}refusal", text.replace("ls /config ", &format!("ls {} ", place("/config"))))])
    };
    let mounted = "/dev/vda4 /config vfat ro 0 0\n";
    let with = |keys: &str| {
        std::fs::write(place("/config/authorized_keys"), keys).unwrap();
        refusal(mounted)
    };
    assert_eq!(refusal(mounted), "", "there is no such file");
    let has_key = format!("{} has a key for ssh\n", place("/config/authorized_keys"));
    if wants("ssh-keygen", "openssh-client") {
        for (kind, bits) in [("ed25519", "256"), ("rsa", "1024"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")] {
            let key = folder.path().join(format!("{kind}-{bits}"));
            tool("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", "", "-C", "me", "-f", key.to_str().unwrap()]);
            let key = std::fs::read_to_string(key.with_extension("pub")).unwrap();
            for good in [format!("# mine\n{key}"), format!("no-pty,command=\"a b\" {key}"), key.replace(" me\n", "\r\n")] {
                assert_eq!(with(&good), has_key, "{good}");
            }
            // A remark, a key that was cut, and one with another name before it.
            for bad in [format!("  # {key}"), key[..key.len() / 2].to_owned(), key.replacen("AAAA", "AAA", 1), key.replacen("s", "S", 2)] {
                assert_eq!(with(&bad), "", "{bad}");
            }
        }
    }
    // Kinds that ssh-keygen makes with a token, or not any more: what the key begins with, as ssh-keygen and dropbear write it.
    for (kind, start) in [
        ("ssh-dss", "AAAAB3NzaC1kc3M"),
        ("sk-ssh-ed25519@openssh.com", "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t"),
        ("sk-ecdsa-sha2-nistp256@openssh.com", "AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20"),
    ] {
        assert_eq!(with(&format!("{kind} {start}{} me\n", "A".repeat(250))), has_key, "{kind}");
        assert_eq!(with(&format!("{kind} {} me\n", "A".repeat(300))), "", "{kind}");
    }
    assert_eq!(with("# none yet\n\n  # ssh-rsa AAAA\nssh-ed25519 AAAA me\nssh-dss AAAAB3NzaC1kc3M me\n"), "");
    assert!(refusal("/dev/vda4 /configuration vfat ro 0 0\n").contains("/config is not mounted"));
    // Root can read everything but a folder.
    std::fs::remove_file(place("/config/authorized_keys")).unwrap();
    std::fs::create_dir(place("/config/authorized_keys")).unwrap();
    assert!(refusal(mounted).contains("cannot be read"));
    // An installer has no storage-init, and nobody waits for it.
    std::fs::remove_dir_all(place("/containers")).unwrap();
    assert_eq!(refusal(""), "");
}

/// A config.json as linuxkit lays it out.
const CONFIG: &str = "{\n    \"root\": {\n        \"path\": \"rootfs\",\n        \"readonly\": true\n    },\n    \"annotations\": {\n        \
                      \"eve.seccomp\": \"service\"\n    },\n    \"linux\": {\n        \"resources\": {}\n    }\n}";

#[test]
fn a_filter_goes_into_the_configuration_or_the_container_does_not_start() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let eve = repository().join("pkg/runc/rootfs/usr/lib/eve");
    let (config, program, filter) = (folder.path().join("config.json"), eve.join("confine.awk"), eve.join("seccomp/service.json"));
    let confine = |text: &str, filter: &Path| {
        std::fs::write(&config, text).unwrap();
        let words = ["awk", "-v", &format!("filter={}", filter.display()), "-v", "rootfs=/c/a/rootfs", "-f"];
        let output = Command::new("busybox").args(words).args([&program, &config]).output().unwrap();
        output.status.success().then(|| serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap())
    };
    let made = confine(CONFIG, &filter).unwrap();
    assert_eq!(made["root"], serde_json::json!({ "path": "/c/a/rootfs", "readonly": true }));
    assert!(made["linux"]["seccomp"]["syscalls"][0]["names"].as_array().unwrap().iter().any(|name| name == "mount"), "{made}");
    assert_eq!(confine(CONFIG, Path::new("/nowhere")), None);
    let (flat, other) = (CONFIG.replace("    \"linux\"", "\"linux\""), CONFIG.replace("rootfs", "other"));
    assert_eq!((confine(&flat, &filter), confine(&other, &filter)), (None, None));
}

#[test]
fn an_annotation_that_names_no_filter_refuses_the_container() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let eve = repository().join("pkg/runc/rootfs/usr/lib/eve");
    let script = ["fail", "confine"].map(|name| function("pkg/runc/rootfs/usr/bin/bundle", name)).concat();
    let script = script.replace("/usr/lib/eve", eve.to_str().unwrap());
    let dir = folder.path().display();
    // The folder that runc would read, below the test's.
    let confine = |config: &str| {
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let call =
            format!("dir={dir}; state=$dir/state; run=$dir; name=a\nawk() {{ busybox awk \"$@\"; }}\n{script}confine; echo ${{run#$dir}}");
        let output = Command::new("busybox").args(["ash", "-c", &call]).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        if output.status.success() { Ok(said) } else { Err((output.status.code(), said)) }
    };
    assert_eq!(confine(CONFIG).as_deref(), Ok("/state/bundle\n"));
    assert_eq!(confine(&CONFIG.replace("\"eve.seccomp\": \"service\"", "\"of.another\": \"x\"")).as_deref(), Ok("\n"));
    for wrong in [
        CONFIG.replace("\"service\"", "\"service2\""),
        CONFIG.replace("\"service\"", "\"service_net\""),
        CONFIG.replace("\"service\"", "\"Service\""),
        CONFIG.replace("\"service\"", "\"other\""),
        CONFIG.replace("\"service\"", "\"\""),
        CONFIG.replace("\"service\"", "\"../seccomp/service\""),
        CONFIG.replace("eve.seccomp", "eve.secomp"),
        CONFIG.replace("eve.seccomp", "EVE.seccomp"),
        CONFIG.replace("\": \"service\"", "\":\"service\""),
        CONFIG.replace("\"service\"", "\"service\", \"a\": \"b\""),
        CONFIG.replace("\"service\"", "\"service\",\n        \"eve.seccomp\": \"service\""),
        CONFIG.replace("\"service\"", "\"service\",\n        \"eve.other\": \"x\""),
        CONFIG.replace('\n', ""),
    ] {
        let (status, said) = confine(&wrong).unwrap_err();
        assert!(status == Some(125) && said.starts_with("the annotations of a are to be `eve.seccomp` with"), "{wrong}\n{said}");
    }
}

#[test]
fn the_filter_refuses_each_namespace_of_clone_and_hides_clone3() {
    let text = std::fs::read(repository().join("pkg/runc/rootfs/usr/lib/eve/seccomp/service.json")).unwrap();
    let filter: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let rules = |name: &str| -> Vec<&serde_json::Value> {
        let rules = filter["syscalls"].as_array().unwrap().iter();
        rules.filter(|rule| rule["names"].as_array().unwrap().iter().any(|other| other == name)).collect()
    };
    // ENOSYS: the C library then takes clone, whose flags a filter can read.
    assert_eq!(rules("clone3").iter().map(|rule| rule["errnoRet"].as_u64().unwrap()).collect::<Vec<_>>(), [38]);
    // mnt, cgroup, uts, ipc, user, pid, net: the flags of clone(2).
    for flag in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000_u64] {
        let args = serde_json::json!([{ "index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": flag, "valueTwo": flag }]);
        let refuses = |rule: &&serde_json::Value| rule["args"] == args && rule["errnoRet"] == 1 && rule["action"] == "SCMP_ACT_ERRNO";
        assert_eq!(rules("clone").into_iter().filter(refuses).count(), 1, "{flag:x}");
    }
    assert!(
        rules("clone").iter().all(|rule| rule["args"].as_array().is_some_and(|args| !args.is_empty())),
        "threads and children are made"
    );
}
