//! Shares the serial port of a machine in the background: what it prints goes to every client of a socket, and what they type goes to it.

use super::console::Echo;
use super::terminal::Terminal;
use anyhow::{Context as _, Result};
use child::swtpm;
use std::{
    collections::VecDeque,
    io::{self, PipeWriter, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Number of bytes that a new client sees of what was printed before.
const KEPT: usize = 2048;
/// The longest wait for a client that does not read; then it is dropped, because the machine must not wait.
const PATIENCE: Duration = Duration::from_millis(200);
/// Ctrl-], which leaves a console.
const LEAVE: u8 = 0x1d;

#[derive(Default)]
struct State {
    clients: Vec<UnixStream>,
    kept: VecDeque<u8>,
}

/// The clients of a serial port.
#[derive(Clone, Default)]
pub struct Clients(Arc<Mutex<State>>);

impl Clients {
    /// Passes the machine's bytes to all clients.
    #[must_use]
    pub fn echo(&self) -> Echo {
        let clients = self.clone();
        Arc::new(move |bytes| {
            let mut state = clients.lock();
            state.kept.extend(bytes);
            let surplus = state.kept.len().saturating_sub(KEPT);
            state.kept.drain(..surplus);
            state.clients.retain_mut(|client| {
                let is_read = client.write_all(bytes).is_ok();
                if !is_read {
                    // The thread that reads from it has a copy.
                    let _ = client.shutdown(Shutdown::Both);
                }
                is_read
            });
        })
    }

    /// Accepts clients at `socket` as long as this process lives; `input` is the machine's end of its serial port.
    pub(super) fn serve(&self, socket: &Path, input: PipeWriter) -> Result<()> {
        let listener = swtpm::listen(socket)?;
        let (clients, input) = (self.clone(), Arc::new(Mutex::new(input)));
        thread::spawn(move || clients.accept(&listener, &input));
        Ok(())
    }

    fn accept(&self, listener: &UnixListener, input: &Arc<Mutex<PipeWriter>>) {
        for client in listener.incoming().flatten() {
            let Ok(reader) = client.try_clone() else { continue };
            if client.set_write_timeout(Some(PATIENCE)).is_err() {
                continue;
            }
            self.add(client);
            let input = Arc::clone(input);
            thread::spawn(move || pass(reader, &input));
        }
    }

    /// Shows a client what was printed last, then all that follows.
    fn add(&self, mut client: UnixStream) {
        let mut state = self.lock();
        if client.write_all(state.kept.make_contiguous()).is_ok() {
            state.clients.push(client);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes what a client types to the machine.
fn pass(mut client: UnixStream, input: &Mutex<PipeWriter>) {
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        if input.lock().unwrap_or_else(PoisonError::into_inner).write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// How a visit to a console ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// The user left.
    Left,
    /// The machine ended.
    Ended,
}

/// Connects this terminal to the console at `socket` until Ctrl-] or the machine's end. Without a terminal, passes standard input to the
/// machine and prints until that ends.
pub fn visit(socket: &Path) -> Result<Visit> {
    let stream = UnixStream::connect(socket).with_context(|| format!("cannot connect to the console at {}", socket.display()))?;
    let typed = stream.try_clone().context("cannot copy a socket")?;
    let terminal = Terminal::raw()?;
    // Without a terminal the key is a byte like others.
    let left = terminal.is_some().then(|| Arc::new(AtomicBool::new(false)));
    let has_left = left.clone();
    thread::spawn(move || type_into(io::stdin(), &typed, left.as_deref()));
    let printed = print(stream);
    drop(terminal);
    printed?;
    Ok(if has_left.is_some_and(|left| left.load(Ordering::SeqCst)) { Visit::Left } else { Visit::Ended })
}

/// Passes what the user types to the machine. With `left`, Ctrl-] sets it and closes the connection, which ends the visit.
fn type_into(mut input: impl io::Read, mut stream: &UnixStream, left: Option<&AtomicBool>) {
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = input.read(&mut buffer) {
        let bytes = &buffer[..count];
        let end = left.and_then(|_| bytes.iter().position(|byte| *byte == LEAVE));
        let sent = stream.write_all(&bytes[..end.unwrap_or(count)]);
        if let (Some(left), Some(_)) = (left, end) {
            left.store(true, Ordering::SeqCst);
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        if sent.is_err() {
            return;
        }
    }
    if left.is_none() {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn print(mut stream: UnixStream) -> Result<()> {
    let mut buffer = [0; 4096];
    let mut out = io::stdout();
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        out.write_all(&buffer[..count]).and_then(|()| out.flush()).context("cannot print")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_client_sees_the_port_and_may_type() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("console.sock");
        let clients = Clients::default();
        let echo = clients.echo();
        let (mut typed, input) = io::pipe().unwrap();
        clients.serve(&socket, input).unwrap();
        echo(b"before ");
        let connect = || {
            let mut stream = UnixStream::connect(&socket).unwrap();
            let mut seen = [0; 7];
            stream.read_exact(&mut seen).unwrap();
            assert_eq!(&seen, b"before ");
            stream
        };
        let (mut one, mut two) = (connect(), connect());
        echo(b"after");
        for stream in [&mut one, &mut two] {
            let mut seen = [0; 5];
            stream.read_exact(&mut seen).unwrap();
            assert_eq!(&seen, b"after");
        }
        two.write_all(b"root\n").unwrap();
        let mut seen = [0; 5];
        typed.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"root\n");
        drop(one);
        echo(b"!");
        let mut seen = [0; 1];
        two.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"!");
    }

    #[test]
    fn the_key_that_leaves_closes_the_connection_and_is_not_sent() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let left = AtomicBool::new(false);
        type_into(&b"ls\x1dmore"[..], &ours, Some(&left));
        assert!(left.load(Ordering::SeqCst));
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"ls");
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        type_into(&b"a\x1db"[..], &ours, None);
        drop(ours);
        got.clear();
        theirs.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"a\x1db");
    }
}
