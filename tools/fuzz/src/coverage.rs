//! Which branches an input reached, and which numbers were compared on the way. The compiler inserts the calls of this file into every
//! crate when it is told to (`-Cpasses=sancov-module`, see `xtask/src/commands/fuzz.rs`); without that there are no counters, and inputs
//! are mutated blindly. Source of the interface: clang's documentation of SanitizerCoverage.
#![allow(unsafe_code, reason = "the interface is C's")]

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Ranges of the counters, one byte per branch: start and length.
static RANGES: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called by each instrumented crate at the start of the program.
///
/// # Safety
/// The compiler passes the limits of a range of counters that lives as long as the program.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let mut ranges = RANGES.lock().unwrap_or_else(PoisonError::into_inner);
    let range = (start as usize, stop as usize - start as usize);
    // Crates share a range that the linker joined.
    if range.1 > 0 && !ranges.contains(&range) {
        ranges.push(range);
    }
}

/// How many different pairs of compared numbers are kept.
const KEPT: usize = 128;
static PAIRS: [(AtomicU64, AtomicU64); KEPT] = [const { (AtomicU64::new(0), AtomicU64::new(0)) }; KEPT];
static NEXT: AtomicUsize = AtomicUsize::new(0);

fn compared(left: u64, right: u64) {
    // Equal numbers teach nothing, and bytes are found by chance.
    if left != right && left.max(right) > 255 {
        let (a, b) = &PAIRS[NEXT.fetch_add(1, Relaxed) % KEPT];
        a.store(left, Relaxed);
        b.store(right, Relaxed);
    }
}

#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_cmp1(_: u8, _: u8) {}
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_const_cmp1(_: u8, _: u8) {}
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_cmp2(left: u16, right: u16) {
    compared(left.into(), right.into());
}
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_const_cmp2(left: u16, right: u16) {
    compared(left.into(), right.into());
}
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_cmp4(left: u32, right: u32) {
    compared(left.into(), right.into());
}
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_const_cmp4(left: u32, right: u32) {
    compared(left.into(), right.into());
}
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_cmp8(left: u64, right: u64) {
    compared(left, right);
}
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_const_cmp8(left: u64, right: u64) {
    compared(left, right);
}
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_switch(_: u64, _: *mut u64) {}

/// A pair of different numbers that were compared lately.
pub fn pair(random: &mut fastrand::Rng) -> Option<(u64, u64)> {
    let (left, right) = &PAIRS[random.usize(..KEPT)];
    let pair = (left.load(Relaxed), right.load(Relaxed));
    (pair.0 != pair.1).then_some(pair)
}

/// The branches that any input has reached, with a rough count.
#[derive(Default)]
pub struct Reached {
    seen: Vec<u8>,
}

impl Reached {
    /// Forgets what the program did before the next input.
    pub fn reset() {
        each(|_, counter| *counter = 0);
    }

    /// Whether the last input reached a branch that none before it did, or reached one more often by an order of magnitude.
    pub fn add(&mut self) -> bool {
        let mut new = false;
        each(|number, counter| {
            if *counter == 0 {
                return;
            }
            // 1, 2, 3, 4–7, 8–15, 16–31, 32–127, 128–255.
            let class = 1
                << match *counter {
                    0..=3 => *counter - 1,
                    4..=7 => 3,
                    8..=15 => 4,
                    16..=31 => 5,
                    32..=127 => 6,
                    _ => 7,
                };
            if self.seen.len() <= number {
                self.seen.resize(number + 1, 0);
            }
            new |= self.seen[number] & class == 0;
            self.seen[number] |= class;
        });
        new
    }

    /// The number of branches reached, or `None` without instrumentation.
    pub fn count(&self) -> Option<usize> {
        let instrumented = !RANGES.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        instrumented.then(|| self.seen.iter().filter(|classes| **classes != 0).count())
    }
}

fn each(mut visit: impl FnMut(usize, &mut u8)) {
    let mut number = 0;
    for (start, len) in RANGES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        // SAFETY: the compiler's range lives as long as the program, and a lost update by another thread only loses a count.
        let counters = unsafe { std::slice::from_raw_parts_mut(*start as *mut u8, *len) };
        for counter in counters {
            visit(number, counter);
            number += 1;
        }
    }
}
