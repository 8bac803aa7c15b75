//! A firmware that is in setup mode, one that is not, and those that refuse.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::fake_tests::{keys, signed};
use std::{cell::RefCell, collections::BTreeMap};

/// A firmware that takes keys as the UEFI specification says, but not those in `refuses`.
struct Fake {
    variables: RefCell<BTreeMap<String, Vec<u8>>>,
    order: RefCell<Vec<String>>,
    refuses: Option<(Variable, ErrorKind)>,
}

impl Fake {
    fn new(mode: &[u8]) -> Self {
        let variables = RefCell::new([(setup_mode_name(), [&[6, 0, 0, 0], mode].concat())].into());
        Self { variables, order: RefCell::default(), refuses: None }
    }
}

impl EfiVariables for Fake {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.variables.borrow().get(name).cloned())
    }

    fn write(&self, name: &str, value: &[u8]) -> io::Result<()> {
        if let Some((_, kind)) = self.refuses.filter(|(variable, _)| variable.efivarfs_name() == name) {
            return Err(kind.into());
        }
        assert_eq!(value[..4], [0x27, 0, 0, 0], "the attributes of a variable that is kept and signed");
        let mut variables = self.variables.borrow_mut();
        if name == Variable::Pk.efivarfs_name() {
            variables.insert(setup_mode_name(), vec![6, 0, 0, 0, 0]);
        }
        variables.insert(name.to_owned(), [&value[..4], list_of_signed(&value[4..]).unwrap()].concat());
        self.order.borrow_mut().push(name.split('-').next().unwrap().to_owned());
        Ok(())
    }
}

/// The root folder of a medium with keys.
fn medium() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    keys(root.path());
    root
}

fn error(result: Result<Enrolment>) -> String {
    format!("{:#}", result.map(drop).unwrap_err())
}

#[test]
fn a_firmware_in_setup_mode_takes_pk_last_and_a_second_time_nothing() {
    let (root, firmware) = (medium(), Fake::new(&[1]));
    let enrolment = Enrolment::prepare(root.path(), &firmware).unwrap();
    assert!(!enrolment.is_done() && firmware.order.borrow().is_empty());
    enrolment.enrol(&firmware).unwrap();
    assert_eq!(*firmware.order.borrow(), ["db", "KEK", "PK"]);
    assert!(Enrolment::prepare(root.path(), &firmware).unwrap().is_done());
    // Another db: of another owner, or with more keys than ours.
    for other in [signed(9), [signed(3), vec![0]].concat()] {
        let value = [&[0x27, 0, 0, 0], list_of_signed(&other).unwrap()].concat();
        firmware.variables.borrow_mut().insert(Variable::Db.efivarfs_name(), value);
        let said = error(Enrolment::prepare(root.path(), &firmware));
        assert!(said.starts_with("the firmware is not in setup mode, and has other keys than this medium: "), "{said}");
    }
}

#[test]
fn what_was_taken_before_a_refusal_is_said() {
    for (variable, kind, wanted) in [
        (
            Variable::Db,
            ErrorKind::PermissionDenied,
            "db: it does not accept the signature, or protects its variables (permission denied); it has taken none of the keys",
        ),
        (Variable::Kek, ErrorKind::StorageFull, "KEK: it has no room for it (no storage space); it has taken db before"),
        (Variable::Pk, ErrorKind::TimedOut, "PK: timed out; it has taken db and KEK before"),
    ] {
        let (root, firmware) = (medium(), Fake { refuses: Some((variable, kind)), ..Fake::new(&[1]) });
        let said = Enrolment::prepare(root.path(), &firmware).unwrap().enrol(&firmware).unwrap_err().to_string();
        assert_eq!(said, format!("the firmware refused {wanted}, and is in setup mode as before"));
        assert_eq!(firmware.read(&setup_mode_name()).unwrap().unwrap()[4], 1);
    }
}

#[test]
fn nothing_is_tried_without_keys_or_without_secure_boot() {
    let root = medium();
    assert!(error(Enrolment::prepare(root.path(), &Fake::new(&[]))).starts_with("the firmware is not in setup mode"), "a damaged variable");
    let none = Fake { variables: RefCell::default(), ..Fake::new(&[1]) };
    assert!(error(Enrolment::prepare(root.path(), &none)).ends_with("has no Secure Boot: it has no variable SetupMode"));
    fs::write(root.path().join(FOLDER).join("KEK.auth"), "text").unwrap();
    let said = error(Enrolment::prepare(root.path(), &Fake::new(&[1])));
    assert!(said.contains("KEK.auth: no signed variable (EFI_VARIABLE_AUTHENTICATION_2)"), "{said}");
    fs::remove_file(root.path().join(FOLDER).join("KEK.auth")).unwrap();
    let said = error(Enrolment::prepare(root.path(), &Fake::new(&[1])));
    assert!(said.starts_with("this medium has no keys (") && said.contains("KEK.auth): make it with --sign"), "{said}");
}

#[test]
fn efivarfs_must_be_there_and_writable() {
    let root = tempfile::tempdir().unwrap();
    let open = |mounts: &str| {
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::write(root.path().join("proc/self/mountinfo"), mounts).unwrap();
        Efivarfs::open(root.path()).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(open("").unwrap_err(), "this machine was not started by UEFI, so there are no variables for keys");
    fs::create_dir_all(root.path().join(EFIVARFS)).unwrap();
    assert!(open("21 1 7:0 / / ro - squashfs /dev/loop0 ro\n").unwrap_err().starts_with("efivarfs is not mounted at /sys/"));
    let mount = |point: &str, superblock: &str| {
        format!("30 21 0:25 / /sys/firmware/efi/efivars {point},nosuid shared:5 - efivarfs efivarfs {superblock}\n")
    };
    for (point, superblock) in [("ro", "rw"), ("rw", "ro")] {
        assert!(open(&mount(point, superblock)).unwrap_err().starts_with("efivarfs is mounted read-only at /sys/"), "{point} {superblock}");
    }
    assert_eq!(open(&mount("rw", "rw")), Ok(()));
    let vars = Efivarfs(root.path().join(EFIVARFS));
    assert_eq!(vars.read("none").unwrap(), None);
    vars.write("one", b"\x06\0\0\0value").unwrap();
    assert_eq!(vars.read("one").unwrap().unwrap(), b"\x06\0\0\0value");
}
