//! How many files this process and its children may have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Images of many layers are read with a file open for each of them. More would make programs slow that close all possible files.
const WANTED: u64 = 8192;

/// Raises the limit of open files, which is 1024 on most machines, as far as this user may. Ignores errors: a build that needs more files
/// says which one it cannot open.
pub fn raise_limit() {
    let now = getrlimit(Resource::Nofile);
    if let Some(current) = raised(now) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: now.maximum });
    }
}

/// The new limit; none if that of now is high enough or may not be raised.
fn raised(now: Rlimit) -> Option<u64> {
    let wanted = now.maximum.map_or(WANTED, |most| most.min(WANTED));
    now.current.filter(|current| *current < wanted).map(|_| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_may() {
        let of = |current, maximum| raised(Rlimit { current, maximum });
        assert_eq!(of(Some(1024), Some(1 << 20)), Some(WANTED));
        assert_eq!(of(Some(1024), None), Some(WANTED));
        assert_eq!(of(Some(1024), Some(4096)), Some(4096));
        assert_eq!(of(Some(1024), Some(1024)), None);
        assert_eq!(of(Some(1 << 20), Some(1 << 20)), None);
        assert_eq!(of(None, None), None);
        raise_limit();
        assert_eq!(raised(getrlimit(Resource::Nofile)), None, "it is as high as it may be");
    }
}
