//! File contents: cut into blocks, compressed by several threads, written in order. Small files are packed together into
//! fragment blocks, as mksquashfs does by default: a file of more than one block keeps its last one to itself.

use super::{
    Options,
    dedup::Contents,
    format::{DATA_STORED, NONE32},
};
use anyhow::{Context as _, Result};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Read as _, Write as _},
    sync::{
        Condvar, Mutex, PoisonError,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
};

/// Blocks under way at a time, for each thread: enough to keep all busy while one waits for its turn to be written.
const AHEAD: usize = 8;

/// Where the data went.
pub(super) struct Data {
    /// Each distinct content.
    pub files: Vec<Stored>,
    /// Position and size field of each fragment block.
    pub fragments: Vec<(u64, u32)>,
    /// Position behind the last block.
    pub end: u64,
}

/// Where one content went.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Position of its first block.
    pub start: u64,
    /// Size field of each block; 0 is a hole.
    pub sizes: Vec<u32>,
    /// Bytes that are holes.
    pub sparse: u64,
    /// Its fragment block's number, or none.
    pub fragment: u32,
    /// Its place in the fragment block.
    pub offset: u32,
}

/// What a block is part of: the number of its job, or a hole.
#[derive(Clone, Copy)]
enum Block {
    Job(usize),
    Hole,
}

struct Plan {
    blocks: Vec<Block>,
    fragment: u32,
    offset: u32,
    sparse: u64,
}

/// A limit on blocks under way, so that memory is bounded when one block is slow.
struct Tickets {
    left: Mutex<usize>,
    back: Condvar,
}

impl Tickets {
    fn take(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        while *left == 0 {
            left = self.back.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        *left -= 1;
    }

    fn give(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.back.notify_one();
    }
}

type Packed = (usize, Result<(Vec<u8>, bool)>);

/// Compresses and writes all contents from position `start` of `out` on.
pub(super) fn write(contents: &Contents<'_>, options: &Options, out: &mut File, start: u64) -> Result<Data> {
    let threads = options.threads.max(1);
    let tickets = Tickets { left: Mutex::new(threads * AHEAD), back: Condvar::new() };
    let (jobs, todo) = sync_channel::<(usize, Vec<u8>)>(threads * AHEAD);
    let (packed, done) = channel::<Packed>();
    let todo = Mutex::new(todo);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let packed = packed.clone();
            scope.spawn(|| compress(&todo, packed, options));
        }
        drop(packed);
        let tickets = &tickets;
        let writer = scope.spawn(move || write_in_order(done, out, start, tickets));
        let mut producer = Producer { options, jobs, tickets, next: 0, fragment: Vec::new(), fragments: Vec::new() };
        let plans = producer.run(contents);
        let fragments = std::mem::take(&mut producer.fragments);
        drop(producer);
        let written = writer.join().map_err(|_| anyhow::anyhow!("the squashfs writer broke"))?;
        // A file that could not be read is the cause; that the writer then stopped is not.
        let plans = plans?;
        let (places, end) = written?;
        let files = plans.into_iter().map(|plan| stored(&plan, &places)).collect();
        Ok(Data { files, fragments: fragments.iter().map(|job| places[*job]).collect(), end })
    })
}

fn stored(plan: &Plan, places: &[(u64, u32)]) -> Stored {
    let first = plan.blocks.iter().find_map(|block| match block {
        Block::Job(job) => Some(places[*job].0),
        Block::Hole => None,
    });
    let sizes = plan.blocks.iter().map(|block| match block {
        Block::Job(job) => places[*job].1,
        Block::Hole => 0,
    });
    Stored { start: first.unwrap_or(0), sizes: sizes.collect(), sparse: plan.sparse, fragment: plan.fragment, offset: plan.offset }
}

struct Producer<'p> {
    options: &'p Options,
    jobs: SyncSender<(usize, Vec<u8>)>,
    tickets: &'p Tickets,
    next: usize,
    fragment: Vec<u8>,
    fragments: Vec<usize>,
}

impl Producer<'_> {
    fn run(&mut self, contents: &Contents<'_>) -> Result<Vec<Plan>> {
        let mut plans = Vec::with_capacity(contents.distinct.len());
        for (content, path) in &contents.distinct {
            let plan = self.file(content).with_context(|| format!("cannot read `{path}` of the tree"))?;
            plans.push(plan);
        }
        self.flush_fragment();
        Ok(plans)
    }

    fn file(&mut self, content: &filetree::Content) -> Result<Plan> {
        let block_size = self.options.block_size as usize;
        let mut reader = content.open()?;
        let mut plan = Plan { blocks: Vec::new(), fragment: NONE32, offset: 0, sparse: 0 };
        let mut left = content.len();
        if left < block_size as u64 {
            let length = usize::try_from(left)?;
            if self.fragment.len() + length > block_size {
                self.flush_fragment();
            }
            plan.fragment = u32::try_from(self.fragments.len())?;
            plan.offset = u32::try_from(self.fragment.len())?;
            reader.read_to_end(&mut self.fragment)?;
            return Ok(plan);
        }
        while left > 0 {
            let length = usize::try_from(left.min(block_size as u64))?;
            let mut block = vec![0; length];
            reader.read_exact(&mut block)?;
            left -= length as u64;
            if block.iter().all(|byte| *byte == 0) {
                plan.blocks.push(Block::Hole);
                plan.sparse += length as u64;
            } else {
                plan.blocks.push(Block::Job(self.send(block)));
            }
        }
        Ok(plan)
    }

    fn flush_fragment(&mut self) {
        if !self.fragment.is_empty() {
            let block = std::mem::take(&mut self.fragment);
            let job = self.send(block);
            self.fragments.push(job);
        }
    }

    fn send(&mut self, block: Vec<u8>) -> usize {
        self.tickets.take();
        // Nobody listens any more only when the run has failed already; the writer's error says why.
        let _ = self.jobs.send((self.next, block));
        self.next += 1;
        self.next - 1
    }
}

fn compress(todo: &Mutex<Receiver<(usize, Vec<u8>)>>, packed: Sender<Packed>, options: &Options) {
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, block)) = job else { return };
        let result = options.compressor.compress(&block, options.block_size).map(|smaller| match smaller {
            Some(bytes) => (bytes, false),
            None => (block, true),
        });
        if packed.send((number, result)).is_err() {
            return;
        }
    }
}

/// Position and size field of each block, and the position behind the last one.
type Places = (Vec<(u64, u32)>, u64);

fn write_in_order(done: Receiver<Packed>, out: &mut File, start: u64, tickets: &Tickets) -> Result<Places> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let mut waiting = BTreeMap::new();
    let mut places = Vec::new();
    let mut end = start;
    let mut failure = None;
    for (number, result) in done {
        waiting.insert(number, result);
        while let Some(result) = waiting.remove(&places.len()) {
            let written = result.and_then(|(bytes, stored)| {
                out.write_all(&bytes).context("cannot write the image")?;
                Ok((u32::try_from(bytes.len())?, stored))
            });
            tickets.give();
            match written {
                Ok((length, stored)) => {
                    places.push((end, length | if stored { DATA_STORED } else { 0 }));
                    end += u64::from(length);
                }
                Err(error) => {
                    // The rest is taken and dropped, so that nobody waits for a ticket for ever.
                    places.push((end, 0));
                    failure.get_or_insert(error);
                }
            }
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    out.flush().context("cannot write the image")?;
    Ok((places, end))
}
