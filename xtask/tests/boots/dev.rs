//! The loop of a person who edits: a machine in the background takes changed packages while it runs.

use crate::common::{
    Xtask, clone_tree,
    machine::{LIMIT, free_port, ready, turn},
    scratch, texts, wants,
};
use std::{fs, path::PathBuf, time::Duration};

const NAME: &str = "dev-test";

/// A tree of its own, whose machine is ended however the test ends.
struct Edited(PathBuf);

impl Edited {
    fn xtask(&self, words: &[&str]) -> Xtask {
        Xtask::new(&self.0).env("ZARCH", "amd64").args(words)
    }

    /// Puts a line after the first one of a script.
    fn edit(&self, script: &str, line: &str) {
        let path = self.0.join(script);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replacen('\n', &format!("\n{line}\n"), 1)).unwrap();
    }
}

impl Drop for Edited {
    fn drop(&mut self) {
        let _ = self.xtask(&["stop", "--now", NAME]).output();
    }
}

#[test]
fn a_changed_package_runs_in_a_machine_that_goes_on() {
    if !ready("qemu-system-x86_64") || !wants("ssh", "openssh-client") {
        return;
    }
    let root = scratch().join("dev");
    let _ = fs::remove_dir_all(&root);
    clone_tree(&root);
    let tree = Edited(root);
    // "taken from the store", if this test ran here before.
    assert!(tree.xtask(&["dev"]).ok().contains(": dist/amd64/dev/live.qcow2"));
    let port = free_port().to_string();
    let _turn = turn();
    let run = ["run", "--background", "--name", NAME, "--memory", "1024", "--ssh-port", &port, "--until", "EVE-READY", "--timeout", LIMIT];
    assert!(tree.xtask(&run).ok().starts_with(&format!("{NAME} runs in the background: process ")));
    assert_eq!(texts(&tree.xtask(&["dev"]).output()).0, "", "nothing has changed");

    tree.edit("pkg/dhcpcd/dhcpcd.sh", "echo the edited one");
    // The ssh server that the change comes by.
    tree.edit("pkg/debug/rootfs/usr/bin/ssh.sh", "echo the edited one");
    tree.edit("pkg/sysctl/sysctl.sh", "# the edited one");
    let (said, notes) = texts(&tree.xtask(&["dev"]).output());
    assert!(
        said.contains("\ndhcpcd: 1 file replaced, runs again (") && said.contains("\ndebug: 1 file replaced, runs again ("),
        "{said}\n{notes}"
    );
    assert!(notes.contains("pkg/sysctl needs a new image: it runs only while the machine boots\n"), "{notes}");
    for service in ["dhcpcd", "debug"] {
        let line = format!(" {service}: the edited one\n");
        let is_there = || tree.xtask(&["log", service]).ok().contains(&line);
        // A line goes through the machine's collector of logs first.
        assert!(is_there() || (0..20).any(|_| (std::thread::sleep(Duration::from_secs(2)), is_there()).1), "{service}");
    }

    // dhcpcd's script is the first process of its namespace and handles no TERM, so it would run on.
    let ends = "read -r pid < $state/pid; end-service dhcpcd; left=100; while [ -d /proc/$pid ]; do left=$((left - 1)); [ $left != 0 ] || exit 1; \
                usleep 100000; done";
    let ends = ends.replace("$state", "/run/eve/services/dhcpcd");
    tree.xtask(&["ssh", &format!("nsenter -t 1 -m -- sh -c '{ends}'")]).ok();

    // A file that is gone in the package is gone in the container; an unknown package is an error.
    fs::write(tree.0.join("pkg/debug/rootfs/etc/mark"), "here").unwrap();
    tree.xtask(&["dev", "debug"]).ok();
    assert_eq!(tree.xtask(&["ssh", "cat /etc/mark"]).ok(), "here");
    fs::remove_file(tree.0.join("pkg/debug/rootfs/etc/mark")).unwrap();
    tree.xtask(&["dev", "pkg/debug"]).ok();
    tree.xtask(&["ssh", "test ! -e /etc/mark"]).ok();
    let (code, error) = tree.xtask(&["dev", "debugg"]).fails();
    assert!(code == 2 && error.contains("pkg/debugg is not in the image\nhint: did you mean `debug`?"), "{error}");

    // What does not run is said, and what was there before is put back all the same.
    let script = tree.0.join("pkg/dhcpcd/dhcpcd.sh");
    let good = fs::read(&script).unwrap();
    tree.edit("pkg/dhcpcd/dhcpcd.sh", "echo it ends; exit 7");
    let (_, error) = tree.xtask(&["dev"]).fails();
    assert!(error.contains("cannot replace the service dhcpcd") && error.contains("last exit status 7: it ends"), "{error}");
    assert!(
        error.contains("hint: cargo xtask") && error.contains(" dhcpcd shows what it printed") && !error.contains("command: "),
        "{error}"
    );
    fs::write(&script, good).unwrap();
    assert!(tree.xtask(&["dev"]).ok().contains("\ndhcpcd: "));

    let (here, back) = (tree.0.join("dist/folder"), tree.0.join("dist/back"));
    fs::create_dir_all(&here).unwrap();
    fs::write(here.join("file"), "copied").unwrap();
    tree.xtask(&["cp", here.to_str().unwrap(), ":/persist/"]).ok();
    tree.xtask(&["cp", ":/persist/folder/file", back.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(back).unwrap(), "copied");
    assert_eq!(tree.xtask(&["stop"]).ok(), format!("{NAME}: switched off\n"));
}
