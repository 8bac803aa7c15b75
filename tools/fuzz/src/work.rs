//! One run of one target.

use crate::{coverage::Reached, limits, mutate::mutate, seeds, targets::FuzzTarget};
use anyhow::{Context as _, Result};
use fastrand::Rng;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    panic,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// A run.
pub struct Work {
    pub reader: &'static FuzzTarget,
    pub length: Length,
    pub seed: u64,
    /// Seconds of processor time for one input.
    pub cpu: u64,
    /// Folder for inputs that break the reader.
    pub findings: PathBuf,
}

/// When a run ends.
#[derive(Clone, Copy)]
pub enum Length {
    Tries(u64),
    Seconds(u64),
}

/// The place of the last panic of any thread, and what it said.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

impl Work {
    /// Reads all seeds, then damaged ones. Returns whether nothing broke; an input that kills the process stays in `TARGET-current`.
    pub fn run(&self) -> Result<bool> {
        let mut corpus = seeds::of(self.reader)?;
        let kept = self.findings.join("corpus").join(self.reader.name);
        for entry in fs::read_dir(&kept).into_iter().flatten() {
            corpus.push(fs::read(entry?.path())?);
        }
        fs::create_dir_all(&self.findings).with_context(|| format!("cannot make {}", self.findings.display()))?;
        let current = self.findings.join(format!("{}-current", self.reader.name));
        let file = File::create(&current).with_context(|| format!("cannot write {}", current.display()))?;
        limits::set()?;
        let inputs = Arc::new(AtomicU64::new(1));
        limits::watch(Arc::clone(&inputs), self.cpu);
        panic::set_hook(Box::new(|info| {
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let text = text.unwrap_or("?");
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{place}: {text}"));
        }));
        let mut state =
            State { work: self, inputs, file, random: Rng::with_seed(self.seed), reached: Reached::default(), broken: BTreeSet::new() };
        let (tries, broken) = limits::on_small_stack(|| state.all(&mut corpus, &kept))??;
        fs::remove_file(&current)?;
        let branches = state.reached.count().map_or_else(String::new, |count| format!(", {count} branches, {} inputs kept", corpus.len()));
        println!("{}: {tries} inputs{branches}, {broken} findings", self.reader.name);
        Ok(broken == 0)
    }
}

struct State<'w> {
    work: &'w Work,
    inputs: Arc<AtomicU64>,
    file: File,
    random: Rng,
    reached: Reached,
    /// Places of panics that were reported.
    broken: BTreeSet<String>,
}

impl State<'_> {
    /// Number of inputs, and of different findings.
    fn all(&mut self, corpus: &mut Vec<Vec<u8>>, kept: &std::path::Path) -> Result<(u64, usize)> {
        for seed in corpus.iter() {
            self.one(seed)?;
            self.reached.add();
        }
        let began = Instant::now();
        let mut tries = 0;
        let words: Vec<&[u8]> = self.work.reader.words.iter().map(|word| word.as_bytes()).collect();
        while match self.work.length {
            Length::Tries(most) => tries < most,
            Length::Seconds(seconds) => began.elapsed() < Duration::from_secs(seconds),
        } {
            tries += 1;
            let (base, other) = (self.random.usize(..corpus.len()), self.random.usize(..corpus.len()));
            let mut input = mutate(&corpus[base], &corpus[other], &words, &mut self.random);
            if let Some(repair) = self.work.reader.repair.filter(|_| self.random.u8(..8) > 0) {
                repair(&mut input);
            }
            self.one(&input)?;
            if self.reached.add() {
                fs::create_dir_all(kept)?;
                fs::write(kept.join(format!("{:016x}", digest(&input))), &input)?;
                corpus.push(input);
            }
        }
        Ok((tries, self.broken.len()))
    }

    fn one(&mut self, input: &[u8]) -> Result<()> {
        self.inputs.fetch_add(1, Relaxed);
        self.file.set_len(input.len() as u64)?;
        self.file.write_all_at(input, 0)?;
        Reached::reset();
        let read = self.work.reader.read;
        // An error is an answer; only the program's end is a finding.
        let outcome = panic::catch_unwind(|| drop(read(input)));
        let said = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of another thread may have been caught by the reader.
        let Some(said) = said.or_else(|| outcome.err().map(|_| "a panic".to_owned())) else { return Ok(()) };
        let place = said.split(": ").next().unwrap_or_default().to_owned();
        if self.broken.insert(place) {
            let name = self.work.findings.join(format!("{}-{:016x}", self.work.reader.name, digest(input)));
            fs::write(&name, input).with_context(|| format!("cannot write {}", name.display()))?;
            println!("{}: {said}\n  input: {}", self.work.reader.name, name.display());
        }
        Ok(())
    }
}

/// FNV-1a: names of files, nothing more.
fn digest(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
