//! Writes one gzip member (RFC 1952) from pieces that several threads deflate. Each piece ends on a byte boundary and refers to
//! no other piece, so together they form one deflate stream.

use super::Stream;
use anyhow::{Context as _, Result, anyhow};
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::{
    io::Write,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

/// Size of a piece in bytes.
const PIECE: u64 = 256 << 10;
/// Number of finished pieces that each thread may queue.
const AHEAD: usize = 16;
const LEVEL: u32 = 6;
/// No name, no time; OS is Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// An empty stored block with the final bit.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];

struct Piece {
    deflated: Vec<u8>,
    crc: Crc,
}

/// Compresses all of `stream`; returns the number of bytes written.
pub(super) fn write(stream: &Stream<'_>, threads: usize, progress: &dyn Fn(u64, u64), out: &mut dyn Write) -> Result<u64> {
    let pieces = stream.len.div_ceil(PIECE);
    let threads = usize::try_from(pieces)?.min(threads).clamp(1, 64);
    std::thread::scope(|scope| {
        // Thread n of N compresses every N-th piece into its own queue, which bounds memory and keeps the order.
        let queues: Vec<Receiver<Result<Piece>>> = (0..threads)
            .map(|thread| {
                let (send, receive) = sync_channel(AHEAD);
                scope.spawn(move || deflate_every(stream, thread as u64, threads, &send));
                receive
            })
            .collect();
        write_in_order(&queues, pieces, stream.len, progress, out)
    })
}

fn write_in_order(
    queues: &[Receiver<Result<Piece>>],
    pieces: u64,
    len: u64,
    progress: &dyn Fn(u64, u64),
    out: &mut dyn Write,
) -> Result<u64> {
    let mut written = 0;
    let mut put = |bytes: &[u8]| {
        written += bytes.len() as u64;
        out.write_all(bytes).context("cannot write the archive")
    };
    put(&HEADER)?;
    let mut crc = Crc::new();
    for number in 0..pieces {
        let queue = &queues[usize::try_from(number % queues.len() as u64)?];
        let piece = queue.recv().map_err(|_| anyhow!("internal error: a compression thread panicked"))??;
        put(&piece.deflated)?;
        crc.combine(&piece.crc);
        progress(((number + 1) * PIECE).min(len), len);
    }
    put(&LAST_BLOCK)?;
    put(&crc.sum().to_le_bytes())?;
    // Length modulo 2^32 (RFC 1952).
    put(&len.to_le_bytes()[..4])?;
    out.flush().context("cannot write the archive")?;
    Ok(written)
}

fn deflate_every(stream: &Stream<'_>, first: u64, step: usize, queue: &SyncSender<Result<Piece>>) {
    let mut deflate = Compress::new(Compression::new(LEVEL), false);
    let mut buffer = Vec::new();
    for at in (first * PIECE..stream.len).step_by(step * usize::try_from(PIECE).expect("a piece fits in memory")) {
        buffer.resize(usize::try_from(PIECE.min(stream.len - at)).expect("a piece fits in memory"), 0);
        let piece = stream.read(&mut buffer, at).and_then(|()| {
            let mut crc = Crc::new();
            crc.update(&buffer);
            let deflated = if is_flat(&buffer) { store(&buffer) } else { compress(&mut deflate, &buffer)? };
            Ok(Piece { deflated, crc })
        });
        let broken = piece.is_err();
        // The receiver is dropped after a write error.
        if queue.send(piece).is_err() || broken {
            return;
        }
    }
}

/// Whether all byte values are about equally frequent: such data is compressed already (a squashfs).
fn is_flat(bytes: &[u8]) -> bool {
    let mut counts = [0_u64; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    // For random bytes, the sum of squares is n²/256 + n.
    let (n, squares) = (bytes.len() as u64, counts.iter().map(|count| count * count).sum::<u64>());
    n >= 64 << 10 && squares * 256 * 64 < n * n * 65
}

fn store(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    for part in bytes.chunks(0xffff) {
        let len = u16::try_from(part.len()).expect("a stored block has at most 65535 bytes");
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn compress(deflate: &mut Compress, bytes: &[u8]) -> Result<Vec<u8>> {
    deflate.reset();
    let mut out = Vec::with_capacity(bytes.len() / 2 + 1024);
    loop {
        let read = usize::try_from(deflate.total_in())?;
        let status = deflate.compress_vec(&bytes[read..], &mut out, FlushCompress::Sync).context("cannot compress")?;
        let all = usize::try_from(deflate.total_in())? == bytes.len();
        // Output is complete only if there is spare room in the buffer.
        if all && (out.len() < out.capacity() || status == Status::BufError) {
            return Ok(out);
        }
        out.reserve(out.capacity() / 2);
    }
}
