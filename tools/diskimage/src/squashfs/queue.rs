//! Reads and compresses blocks in several threads and writes them in order, with bounded memory. The first error also stops the reader.

use super::{
    Options,
    format::DATA_STORED,
    pieces::Block,
    store::{BlockStore, Form, Row, Source, Written, check},
};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write as _},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

/// Limit of blocks in flight in bytes: keeps all threads busy while one block is slow, or the disk is.
const BLOCK_MEMORY: usize = 32 << 20;
/// Limit of the encoders' own memory in bytes.
const ENCODER_MEMORY: usize = 128 << 20;

/// Locations of all blocks.
pub(super) struct Places {
    /// In the order of sending.
    pub blocks: Vec<Place>,
    /// What a store is to keep of them.
    pub written: Written,
    /// Offset after the last block.
    pub end: u64,
}

/// Location of a block.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub offset: u64,
    /// The size field; 0 is a hole.
    pub size: u32,
}

/// Accepts blocks in order.
pub(super) struct Queue<'q, 'c> {
    jobs: Sender<(usize, Block<'c>)>,
    tickets: &'q Tickets,
    next: AtomicUsize,
}

impl<'c> Queue<'_, 'c> {
    /// Sends a block; returns its index in [`Places::blocks`]. Waits while too many blocks are in flight; fails if the image
    /// cannot be written any more.
    pub(super) fn send(&self, block: Block<'c>) -> Result<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if !self.tickets.take() || self.jobs.send((number, block)).is_err() {
            bail!("the image cannot be written any more");
        }
        Ok(number)
    }
}

/// Limits the blocks in flight; also stops the reader.
struct Tickets {
    left: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Tickets {
    /// Waits for a ticket; `false` after [`Self::stop`].
    fn take(&self) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = self.changed.wait_while(left, |left| *left == Some(0)).unwrap_or_else(PoisonError::into_inner);
        *left = left.map(|left| left - 1);
        left.is_some()
    }

    fn give(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.map(|left| left + 1);
        self.changed.notify_one();
    }

    fn stop(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.changed.notify_all();
    }
}

/// Stops the reader when the writer thread ends for any reason, so that it does not wait forever.
struct StopAtEnd<'t>(&'t Tickets);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A block as it is written.
struct Packed {
    /// None for a hole.
    bytes: Vec<u8>,
    /// Whether they are stored uncompressed.
    stored: bool,
    /// With a store: its key and check (offset and size follow), and the pack from which it came.
    row: Option<(Row, Option<u32>)>,
    /// With a store: where the bytes come from, if that decides them.
    source: Option<Source>,
}

/// A block's number, and the block or why there is none.
type Numbered = (usize, Result<Packed>);

/// Runs `send`, which sends blocks, and writes them to `out` from offset `start` on.
/// Blocks that `store` knows are not compressed.
pub(super) fn run<'c, T>(
    options: &Options,
    store: Option<&BlockStore>,
    out: &mut File,
    start: u64,
    send: impl FnOnce(&Queue<'_, 'c>) -> Result<T>,
) -> Result<(T, Places)> {
    let block_size = options.block_size as usize;
    let threads = options.threads.clamp(1, (ENCODER_MEMORY / options.compressor.memory(options.block_size)).max(1));
    let ahead = BLOCK_MEMORY / block_size;
    let tickets = Tickets { left: Mutex::new(Some(ahead)), changed: Condvar::new() };
    let (jobs, todo) = channel();
    let (packed, done) = channel();
    let todo = Mutex::new(todo);
    std::thread::scope(|scope| {
        let (todo, tickets) = (&todo, &tickets);
        for _ in 0..threads {
            let packed = packed.clone();
            scope.spawn(move || work(todo, &packed, options, store, tickets));
        }
        drop(packed);
        let writer = scope.spawn(move || {
            let _stop = StopAtEnd(tickets);
            write_in_order(&done, out, start, tickets)
        });
        let queue = Queue { jobs, tickets, next: AtomicUsize::new(0) };
        let sent = send(&queue);
        drop(queue);
        let written = writer.join().map_err(|_| anyhow::anyhow!("internal error: the thread that writes the image panicked"))?;
        // A write error is the cause of the reader's error, so it is reported first.
        let places = written?;
        Ok((sent?, places))
    })
}

fn work(
    todo: &Mutex<Receiver<(usize, Block<'_>)>>,
    packed: &Sender<Numbered>,
    options: &Options,
    store: Option<&BlockStore>,
    tickets: &Tickets,
) {
    struct StopOnPanic<'t>(&'t Tickets);
    impl Drop for StopOnPanic<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.stop();
            }
        }
    }
    let _stop = StopOnPanic(tickets);
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, block)) = job else { return };
        let result = match store {
            Some(store) => look_up(&block, options, store),
            None => block.read().and_then(|bytes| bytes.map_or(Ok(HOLE), |bytes| compress(bytes, options))),
        };
        if packed.send((number, result)).is_err() {
            return;
        }
    }
}

/// A hole.
const HOLE: Packed = Packed { bytes: Vec::new(), stored: false, row: None, source: None };

fn compress(block: Vec<u8>, options: &Options) -> Result<Packed> {
    Ok(match options.compressor.compress(&block, options.block_size)? {
        Some(bytes) => Packed { bytes, ..HOLE },
        None => Packed { bytes: block, stored: true, ..HOLE },
    })
}

/// Takes the block's compressed form from the store, or makes it. Reads the block if the store does not know its source.
fn look_up(block: &Block<'_>, options: &Options, store: &BlockStore) -> Result<Packed> {
    let source = block.source(options);
    let row = |key, check, pack| Some((Row { key, check, offset: 0, size: 0 }, pack));
    match source.and_then(|source| store.key_of(&source)) {
        Some(None) => return Ok(Packed { source, ..HOLE }),
        Some(Some(key)) => {
            if let Some((Form::Smaller(bytes, check), pack)) = store.find(&key) {
                return Ok(Packed { bytes, stored: false, row: row(key, check, Some(pack)), source });
            }
        }
        None => {}
    }
    let Some(bytes) = block.read()? else { return Ok(Packed { source, ..HOLE }) };
    let key = BlockStore::key(&options.compressor, options.block_size, &bytes);
    Ok(match store.find(&key) {
        Some((Form::Smaller(bytes, check), pack)) => Packed { bytes, stored: false, row: row(key, check, Some(pack)), source },
        Some((Form::AsItIs(check), pack)) => Packed { bytes, stored: true, row: row(key, check, Some(pack)), source },
        None => {
            let new = compress(bytes, options)?;
            Packed { row: row(key, check(&key, if new.stored { &[] } else { &new.bytes }), None), source, ..new }
        }
    })
}

fn write_in_order(done: &Receiver<Numbered>, out: &mut File, start: u64, tickets: &Tickets) -> Result<Places> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let mut waiting = BTreeMap::new();
    let mut places = Places { blocks: Vec::new(), written: Written::default(), end: start };
    while let Ok((number, result)) = done.recv() {
        waiting.insert(number, result);
        while let Some(result) = waiting.remove(&places.blocks.len()) {
            let Packed { bytes, stored, row, source } = result?;
            out.write_all(&bytes).context("cannot write the image")?;
            let length = u32::try_from(bytes.len())?;
            let size = length | if stored { DATA_STORED } else { 0 };
            places.blocks.push(Place { offset: places.end, size });
            places.written.sources.extend(source.map(|source| (source, row.as_ref().map(|(row, _)| row.key))));
            places.written.rows.extend(row.map(|(row, pack)| (Row { offset: places.end, size, ..row }, pack)));
            places.end += u64::from(length);
            tickets.give();
        }
    }
    out.flush().context("cannot write the image")?;
    Ok(places)
}
