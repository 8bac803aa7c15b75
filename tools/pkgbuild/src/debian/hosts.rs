//! Connections to hosts by name. Each name is resolved once: a pool of downloads that begins with a hundred requests at the same moment
//! loses packets at a weak resolver, and each lost packet costs five seconds (the C library's timeout).

use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The addresses of the hosts that were resolved so far, by name and port.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    known: Mutex<BTreeMap<(String, u16), Vec<SocketAddr>>>,
}

impl Hosts {
    /// A connection to `host`, a name or an address. Tries all of its addresses, each for at most `patience`.
    pub fn connect(&self, host: &str, port: u16, patience: Duration) -> Result<TcpStream> {
        let addresses = self.addresses(host, port, || Ok((host, port).to_socket_addrs()?.collect()));
        let mut last = None;
        for address in addresses.with_context(|| format!("cannot resolve the host `{host}`"))? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        // The host may have moved: the next attempt resolves it again.
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&(host.to_owned(), port));
        match last {
            Some(error) => Err(error).with_context(|| format!("cannot connect to `{host}` port {port}")),
            None => bail!("the host `{host}` has no address"),
        }
    }

    /// The known addresses, else those that `resolve` returns. Concurrent callers wait for the first.
    fn addresses(&self, host: &str, port: u16, resolve: impl FnOnce() -> io::Result<Vec<SocketAddr>>) -> io::Result<Vec<SocketAddr>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (host.to_owned(), port);
        if let Some(addresses) = known.get(&name) {
            return Ok(addresses.clone());
        }
        let addresses = resolve()?;
        known.insert(name, addresses.clone());
        Ok(addresses)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;
    use std::{net::TcpListener, sync::atomic::AtomicUsize};

    #[test]
    fn a_name_is_resolved_once_for_all_threads() {
        let (hosts, lookups) = (Hosts::default(), AtomicUsize::new(0));
        let resolve = || {
            lookups.fetch_add(1, Relaxed);
            std::thread::sleep(Duration::from_millis(20));
            Ok(vec![SocketAddr::from(([192, 0, 2, 1], 80))])
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(hosts.addresses("mirror.example", 80, resolve).unwrap().len(), 1));
            }
        });
        assert_eq!(lookups.load(Relaxed), 1);
        hosts.addresses("mirror.example", 8080, resolve).unwrap();
        assert_eq!(lookups.load(Relaxed), 2, "the port is a part of the address");
    }

    #[test]
    fn a_host_that_cannot_be_reached_is_resolved_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (hosts, patience) = (Hosts::default(), Duration::from_secs(5));
        hosts.addresses("here.invalid", 80, || Ok(vec![listener.local_addr().unwrap()])).unwrap();
        hosts.connect("here.invalid", 80, patience).unwrap();
        // Nobody listens at port 1. The port of a listener that was dropped would not do: a child that another test starts at that moment
        // holds the listener open until it is replaced by its program.
        hosts.addresses("moved.invalid", 80, || Ok(vec![SocketAddr::from(([127, 0, 0, 1], 1))])).unwrap();
        let error = hosts.connect("moved.invalid", 80, patience).unwrap_err().to_string();
        assert_eq!(error, "cannot connect to `moved.invalid` port 80");
        let error = hosts.connect("moved.invalid", 80, patience).unwrap_err().to_string();
        assert_eq!(error, "cannot resolve the host `moved.invalid`");
    }
}
