//! What a reader may use. Whoever uses more is killed, and the input that did it stays in a file.

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// Address space of the process in bytes: readers promise to need no more than the decoder of `xz -9` and some tables.
const MEMORY: u64 = 512 << 20;
/// The largest file that a reader may write, in bytes. Inputs are small, so more is a bomb that nobody stopped.
const FILE: u64 = 256 << 20;
/// Stack of a reader in bytes: that of the threads that build.
const STACK: usize = 2 << 20;
/// Seconds of processor time of one input, unless said otherwise. Not the time on the clock: the machine may be busy with something else.
pub const CPU: u64 = 20;

/// Limits memory and files of this process.
pub fn set() -> Result<()> {
    for (resource, most) in [(Resource::As, MEMORY), (Resource::Fsize, FILE), (Resource::Core, 0)] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).context("cannot limit this process")?;
    }
    Ok(())
}

/// Runs `work` on a thread with as little stack as the threads that build have.
pub fn on_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).context("cannot start a thread")?;
        thread.join().map_err(|payload| anyhow::anyhow!("it panicked: {}", said(payload.as_ref())))
    })
}

fn said(payload: &(dyn std::any::Any + Send)) -> &str {
    payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text")
}

/// Ends the process when one input takes more than so many seconds of processor time. Count up the number for each input.
pub fn watch(inputs: Arc<AtomicU64>, cpu_limit: u64) {
    thread::spawn(move || {
        let (mut last, mut since) = (0, used());
        loop {
            thread::sleep(Duration::from_millis(500));
            let (now, cpu) = (inputs.load(Relaxed), used());
            if now != last {
                (last, since) = (now, cpu);
            } else if cpu.saturating_sub(since) > Duration::from_secs(cpu_limit) {
                eprintln!("one input has taken more than {cpu_limit} seconds of processor time");
                std::process::abort();
            }
        }
    });
}

/// Processor time of this process: fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms; the fields follow the program's name in
/// parentheses.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    Duration::from_millis(behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}
