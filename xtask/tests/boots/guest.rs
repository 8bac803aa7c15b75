//! What a running machine says of itself: what listens, which processes run as root with which powers, and the settings of its kernel. The
//! tables of docs/GUEST.md are written from that, and compared with it.

use crate::common::{machine::Machine, repository};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// Where the tables stand in the page.
const PAGE: &str = "docs/GUEST.md";
const BEGIN: &str = "<!-- The tables begin: XTASK_BLESS=1 writes them from a running machine (xtask/tests/boots/guest.rs). -->\n";
const END: &str = "<!-- The tables end. -->\n";

/// Prints what the machine has, in sections. What runs for a moment only is younger than the five seconds of the wait.
const QUESTIONS: &str = r#"
sleep 5
echo "== self"; echo "$PPID"
echo "== uptime"; cut -d ' ' -f 1 /proc/uptime
echo "== status"; awk '{ print FILENAME, $0 }' /proc/[0-9]*/status
echo "== stat"; awk '{ print FILENAME, $0 }' /proc/[0-9]*/stat
echo "== cgroup"; awk '{ print FILENAME, $0 }' /proc/[0-9]*/cgroup
echo "== root"; awk '$5 == "/" { print FILENAME, $6 }' /proc/[0-9]*/mountinfo
echo "== names"; for dir in /proc/[0-9]*; do echo "$dir/ $(readlink $dir/ns/net) $(readlink $dir/ns/ipc) $(readlink $dir/ns/pid)"; done
echo "== sockets"; cd /proc/net; awk '{ print FILENAME, $0 }' tcp tcp6 udp udp6 raw raw6 packet unix
echo "== files"; ls -l /proc/[0-9]*/fd 2>/dev/null | grep -E '^/proc|socket:'
echo "== onboot"; for file in /hostfs/containers/onboot/*/config.json; do echo "$file $(tr -d '\n' < $file)"; done
echo "== sysctl"; grep -h '^[a-z]' /hostfs/etc/sysctl.d/*.conf | while IFS=' =' read -r key value; do
    echo "$key $value $(cat /proc/sys/$(echo $key | tr . /))"; done
echo "== kernel"; cat /proc/cmdline /sys/kernel/security/lockdown; dmesg | grep -E 'Unknown kernel command line|auto-init'
echo "== writable"; for name in dhcpcd newlogd watchdog; do cd /proc/$(cat /run/eve/services/$name/pid)/root
    find proc -name '[0-9]*' -prune -o -type f -perm -200 -print | while read -r file; do
        if true 2>/dev/null >> $file; then echo "$name ${file#proc}"; fi; done; done
echo "== end"
"#;

/// All capabilities of the kernel, in the order of their bits.
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Words that the kernel's command line must have, because the page says so.
const KERNEL_WORDS: &[&str] =
    &["slab_nomerge", "init_on_free=1", "page_alloc.shuffle=1", "iommu.strict=1", "debugfs=off", "lockdown=integrity"];

/// The answers, a list of lines for each section.
struct Answers(BTreeMap<String, Vec<String>>);

impl Answers {
    fn of(text: &str) -> Self {
        let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut name = "";
        for line in text.lines() {
            match line.strip_prefix("== ") {
                Some(new) => name = new,
                None => sections.entry(name.to_owned()).or_default().push(line.to_owned()),
            }
        }
        assert!(text.ends_with("== end\n"), "{text}");
        Self(sections)
    }

    fn lines(&self, section: &str) -> &[String] {
        self.0.get(section).unwrap_or_else(|| panic!("the machine says nothing of {section}"))
    }

    /// The lines of a section about processes: number of the process, and what comes behind the file's name.
    fn processes(&self, section: &str) -> impl Iterator<Item = (u32, &str)> {
        self.lines(section).iter().filter_map(|line| {
            let (file, rest) = line.strip_prefix("/proc/")?.split_once(' ')?;
            Some((file.split('/').next()?.parse().ok()?, rest))
        })
    }
}

/// A process, by the fields of its files in /proc.
#[derive(Default)]
struct Process {
    name: String,
    parent: u32,
    user: String,
    capabilities: String,
    most_capabilities: String,
    seccomp: bool,
    no_new_privileges: bool,
    age: f64,
    container: String,
    readonly: bool,
    own: Vec<&'static str>,
}

fn processes(answers: &Answers) -> BTreeMap<u32, Process> {
    let mut found: BTreeMap<u32, Process> = BTreeMap::new();
    for (id, line) in answers.processes("status") {
        let process = found.entry(id).or_default();
        let (key, value) = line.split_once(':').unwrap();
        let value = value.trim();
        match key {
            "Name" => value.clone_into(&mut process.name),
            "PPid" => process.parent = value.parse().unwrap(),
            "Uid" => process.user = if value.starts_with("0\t") { "root".to_owned() } else { value.replace('\t', " ") },
            "CapEff" => process.capabilities = capabilities(value),
            "CapBnd" => process.most_capabilities = capabilities(value),
            "Seccomp" => process.seccomp = value != "0",
            "NoNewPrivs" => process.no_new_privileges = value == "1",
            _ => {}
        }
    }
    let uptime: f64 = answers.lines("uptime")[0].parse().unwrap();
    for (id, line) in answers.processes("stat") {
        // The 22nd field, in hundredths of a second; the name may have blanks.
        let started: f64 = line.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
        found.entry(id).or_default().age = uptime - started / 100.0;
    }
    for (id, line) in answers.processes("cgroup") {
        found.entry(id).or_default().container =
            line.strip_prefix("0::/eve/services/").map_or("(the system)".to_owned(), |name| name.split('/').next().unwrap().to_owned());
    }
    for (id, line) in answers.processes("root") {
        found.entry(id).or_default().readonly = line.split(',').any(|option| option == "ro");
    }
    let init: Vec<&str> = answers.processes("names").find(|(id, _)| *id == 1).unwrap().1.split(' ').collect();
    for (id, line) in answers.processes("names") {
        let own = ["network", "ipc", "pid"].into_iter().zip(line.split(' ')).zip(&init);
        found.entry(id).or_default().own = own.filter(|((_, its), inits)| its != *inits).map(|((kind, _), _)| kind).collect();
    }
    found
}

/// A mask of capabilities in words.
fn capabilities(mask: &str) -> String {
    let mask = u64::from_str_radix(mask, 16).unwrap();
    let names: Vec<&str> = CAPABILITIES.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| *name).collect();
    assert_eq!(mask.count_ones() as usize, names.len(), "{mask:x}");
    match names.len() {
        0 => "none".to_owned(),
        count if count == CAPABILITIES.len() => "all".to_owned(),
        _ => names.join(", "),
    }
}

fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

fn list(words: &[&str]) -> String {
    if words.is_empty() { "–".to_owned() } else { words.join(", ") }
}

/// Whether the process `id` is that process, or below it.
fn is_below(all: &BTreeMap<u32, Process>, mut id: u32, top: u32) -> bool {
    while id != top {
        match all.get(&id) {
            Some(process) if process.parent != 0 => id = process.parent,
            _ => return false,
        }
    }
    true
}

/// A row for each set of powers in each container, with the programs that have it.
fn processes_table(answers: &Answers) -> String {
    let all = processes(answers);
    let session: u32 = answers.lines("self")[0].parse().unwrap();
    let mut rows: BTreeMap<Vec<String>, BTreeSet<&str>> = BTreeMap::new();
    for (id, process) in &all {
        // A kernel thread is a child of process 2.
        if *id == 2 || process.parent == 2 || process.age < 4.0 || is_below(&all, *id, session) {
            continue;
        }
        assert_eq!(process.capabilities, process.most_capabilities, "{} could gain capabilities", process.name);
        let powers = [
            process.container.clone(),
            process.user.clone(),
            process.capabilities.clone(),
            yes(process.no_new_privileges).to_owned(),
            yes(process.seccomp).to_owned(),
            yes(process.readonly).to_owned(),
            list(&process.own),
        ];
        rows.entry(powers.to_vec()).or_default().insert(&process.name);
    }
    let mut text =
        "| service | programs | user | capabilities | no new privileges | seccomp | read-only root | own namespaces |\n".to_owned();
    text += "|---|---|---|---|---|---|---|---|\n";
    for (powers, programs) in rows {
        let programs: Vec<String> = programs.into_iter().map(|name| format!("`{name}`")).collect();
        writeln!(text, "| {} | {} | {} |", powers[0], programs.join(", "), powers[1..].join(" | ")).unwrap();
    }
    text
}

/// The containers that have ended when the machine is ready, by their configuration.
fn onboot_table(answers: &Answers) -> String {
    let mut text =
        "| onboot | user | capabilities | no new privileges | seccomp | read-only root | own namespaces |\n|---|---|---|---|---|---|---|\n"
            .to_owned();
    for line in answers.lines("onboot") {
        let (file, json) = line.split_once(' ').unwrap();
        let config: serde_json::Value = serde_json::from_str(json).unwrap();
        let name = file.split('/').nth_back(1).unwrap().split_once('-').unwrap().1;
        let bounding = config["process"]["capabilities"]["bounding"].as_array();
        let names: Vec<&str> = bounding.into_iter().flatten().map(|name| name.as_str().unwrap().strip_prefix("CAP_").unwrap()).collect();
        let names = match names.len() {
            0 => "none".to_owned(),
            count if count == CAPABILITIES.len() => "all".to_owned(),
            _ => names.join(", "),
        };
        let own = config["linux"]["namespaces"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap());
        let own: Vec<&str> = own.filter(|kind| *kind != "mount").collect();
        let user = if config["process"]["user"]["uid"] == 0 { "root" } else { "another" };
        let flags = [
            config["process"]["noNewPrivileges"] == true,
            config["annotations"]["eve.seccomp"].is_string(),
            config["root"]["readonly"] == true,
        ];
        writeln!(text, "| {name} | {user} | {names} | {} | {} |", flags.map(yes).join(" | "), list(&own)).unwrap();
    }
    text
}

/// The programs that have a socket open, by its number. One of a session has the session's number, too.
fn owners(answers: &Answers) -> BTreeMap<&str, BTreeSet<String>> {
    let all = processes(answers);
    let session: u32 = answers.lines("self")[0].parse().unwrap();
    let (mut found, mut id): (BTreeMap<&str, BTreeSet<String>>, u32) = (BTreeMap::new(), 0);
    for line in answers.lines("files") {
        if let Some(rest) = line.strip_prefix("/proc/") {
            id = rest.split('/').next().unwrap().parse().unwrap();
        } else if let Some(socket) = line.split("socket:[").nth(1)
            && let Some(process) = all.get(&id).filter(|_| !is_below(&all, id, session))
        {
            found.entry(socket.trim_end_matches(']')).or_default().insert(process.name.clone());
        }
    }
    found
}

/// What takes connections or packets.
fn sockets_table(answers: &Answers) -> String {
    let owners = owners(answers);
    let program = |inode: &str| {
        let names = owners.get(inode).into_iter().flatten().map(|name| format!("`{name}`"));
        Some(names.collect::<Vec<_>>().join(", ")).filter(|names| !names.is_empty()).unwrap_or("the kernel".to_owned())
    };
    let mut rows = BTreeSet::new();
    for line in answers.lines("sockets") {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (inode, address) = match words[..] {
            [_, "sl" | "sk" | "Num", ..] => continue,
            // The state 0A is LISTEN.
            ["tcp" | "tcp6", _, local, _, "0A", _, _, _, _, _, inode, ..] => (inode, port(local)),
            ["udp" | "udp6", _, local, _, _, _, _, _, _, _, inode, ..] => (inode, port(local)),
            ["raw" | "raw6", _, local, _, _, _, _, _, _, _, inode, ..] => {
                (inode, format!("protocol {}", local.rsplit(':').next().unwrap()))
            }
            ["packet", .., inode] => (inode, format!("protocol {}", words[4])),
            // The flag 10000 is that of a socket that accepts connections; a datagram socket (type 0002) with a name takes packets.
            ["unix", _, _, _, flags, kind, _, inode, path] if flags == "00010000" || kind == "0002" => (inode, format!("`{path}`")),
            _ => continue,
        };
        rows.insert(format!("| {} | {} | {address} |\n", program(inode), words[0]));
    }
    format!("| program | kind | address |\n|---|---|---|\n{}", rows.into_iter().collect::<String>())
}

/// `0100007F:0016`: the kernel's hexadecimal address, and the port.
fn port(local: &str) -> String {
    let (address, port) = local.rsplit_once(':').unwrap();
    let address = if address.bytes().all(|digit| digit == b'0') { "any address".to_owned() } else { format!("address {address}") };
    format!("port {} of {address}", u16::from_str_radix(port, 16).unwrap())
}

/// Settings that the kernel did not take would be promised by the page only.
fn check_kernel(answers: &Answers) {
    for line in answers.lines("sysctl") {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.len() == 3 && words[1] == words[2], "a setting of /etc/sysctl.d, what it should be, and what it is: {line}");
    }
    assert!(answers.lines("sysctl").len() > 30);
    let kernel = answers.lines("kernel");
    let page = std::fs::read_to_string(repository().join(PAGE)).unwrap();
    for word in KERNEL_WORDS {
        assert!(kernel[0].split(' ').any(|given| given == *word), "{word}: {}", kernel[0]);
        assert!(page.contains(&format!("`{word}`")), "{word} is not on the page");
        let name = word.split('=').next().unwrap();
        assert!(!kernel.iter().any(|line| line.contains("Unknown kernel") && line.contains(name)), "the kernel does not know {word}");
    }
    assert_eq!(kernel[1], "none [integrity] confidentiality");
    let cleared = |line: &String| line.contains("heap alloc:on, heap free:on");
    assert!(kernel.iter().any(cleared), "{kernel:?}");
}

/// Files of /proc need no capability to be written to, unless they ask for it themselves: /proc/mtrr for SYS_ADMIN, /proc/pressure for
/// SYS_RESOURCE. The rest must be out of reach of a service.
fn check_files(answers: &Answers) {
    for name in ["dhcpcd", "newlogd", "watchdog"] {
        let files = answers.lines("writable").iter().filter_map(|line| line.strip_prefix(name)).map(str::trim_start);
        let (asks, open): (Vec<&str>, Vec<&str>) = files.partition(|file| *file == "/mtrr" || file.starts_with("/pressure/"));
        // These are found in each kernel, so the search worked.
        assert!(asks.len() > 1, "{name}: {asks:?}");
        assert!(open.is_empty(), "{name} may write to files of /proc: {open:?}");
    }
}

/// Asks a machine, whose CONFIG has a key and `set_getty`, and compares it with the page.
pub fn check(machine: &Machine) {
    let text = String::from_utf8(machine.answer(QUESTIONS)).unwrap();
    std::fs::write(crate::common::scratch().join("guest-answers"), &text).unwrap();
    let answers = Answers::of(&text);
    check_kernel(&answers);
    check_files(&answers);
    let tables = format!("{}\n{}\n{}", sockets_table(&answers), processes_table(&answers), onboot_table(&answers));
    let path = repository().join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (old, after) = rest.split_once(END).unwrap();
    if std::env::var_os("XTASK_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}\n{tables}\n{END}{after}")).unwrap();
    } else {
        assert_eq!(format!("\n{tables}\n"), old, "XTASK_BLESS=1 writes {PAGE}");
    }
}

/// With a key in CONFIG nobody gets in without it: neither by ssh nor on a console.
pub fn check_logins(machine: &Machine) {
    for method in ["none", "password", "keyboard-interactive", "none,password,keyboard-interactive"] {
        let mut ssh = machine.ssh_command("true");
        let options = [format!("PreferredAuthentications={method}"), "PubkeyAuthentication=no".to_owned()];
        // ssh takes the first of several options, so these stand before those of the command.
        let rest: Vec<_> = ssh.get_args().map(std::ffi::OsStr::to_owned).collect();
        ssh = std::process::Command::new("ssh");
        ssh.args(options.iter().flat_map(|option| ["-o", option])).args(rest).stdin(std::process::Stdio::null());
        let output = ssh.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("Permission denied (publickey)"), "{method}: {said}");
    }
    let console = machine.console();
    assert!(console.contains("no login on the consoles: /config/authorized_keys has a key for ssh"), "{console}");
    assert!(!console.contains("login:"), "{console}");
    machine.ssh("! ps -o comm | grep -q getty");
}
