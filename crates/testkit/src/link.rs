//! A TCP connection that a test can trouble: whoever connects to a [`Link`] is connected to its target, through it.
//!
//! What it does to connections it does to those that are open and to those that come. Bytes are never changed, lost in the
//! middle or reordered: a connection is late, or it stands still, or it ends.

use anyhow::Result;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, watch},
    task::{JoinHandle, JoinSet},
};

const BUFFER_BYTES: usize = 16 << 10;
/// How long the rest of a request is read that was answered already.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// What S3 says when it has too much to do.
const BUSY_BODY: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code><Message>a test says so</Message></Error>";

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Connections end at once, the open ones first: a process that is gone, or a firewall that says no.
    Refused,
    /// Nothing arrives, on either side, until this ends: a network that is gone.
    Stalled,
    /// Every piece of bytes is so late.
    Late(Duration),
    /// Whoever sends a request over HTTP/1 is answered 503, and nothing reaches the target.
    Busy,
}

/// See the module. Everything that it keeps open ends with this value.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: std::sync::Mutex<Option<SocketAddr>>,
    trouble: watch::Sender<Trouble>,
    /// Connections of an earlier number end.
    cut: watch::Sender<u64>,
    accepted: AtomicU64,
    harmed: AtomicU64,
}

impl Link {
    /// Listens on a port of 127.0.0.1. Must be called inside a runtime.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::free_port()?)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: std::sync::Mutex::default(),
            trouble: watch::Sender::new(Trouble::None),
            cut: watch::Sender::new(0),
            accepted: AtomicU64::new(0),
            harmed: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// A link to there.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        let link = Self::open().await?;
        link.aim(target);
        Ok(link)
    }

    /// Where it leads, from now on. Nobody is connected before.
    pub fn aim(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    /// Where to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is wrong with it.
    pub fn trouble(&self, trouble: Trouble) {
        self.shared.trouble.send_replace(trouble);
        if trouble == Trouble::Refused {
            self.cut();
        }
    }

    /// Ends all connections that are open. New ones are not affected.
    pub fn cut(&self) {
        self.shared.cut.send_modify(|number| *number += 1);
    }

    /// Connections that came so far, and those that ended or were delayed by trouble.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.accepted.load(Ordering::Relaxed), self.shared.harmed.load(Ordering::Relaxed))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(client, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    let before = *cut.borrow_and_update();
    tokio::select! {
        _ = cut.wait_for(|now| *now != before) => shared.harm(),
        // However it ends: both sides see that it did.
        _ended = connect(client, &shared) => {}
    }
}

async fn connect(client: TcpStream, shared: &Shared) -> io::Result<()> {
    if shared.now() == Trouble::Refused {
        shared.harm();
        return Ok(());
    }
    shared.until_it_moves().await;
    let target = *shared.target.lock().unwrap_or_else(PoisonError::into_inner);
    let server = TcpStream::connect(target.ok_or(io::ErrorKind::ConnectionRefused)?).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let to_client = Mutex::new(to_client);
    // One half may be closed before the other; what breaks one breaks both.
    tokio::try_join!(requests(from_client, to_server, &to_client, shared), answers(from_server, &to_client, shared))?;
    Ok(())
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    back: &Mutex<OwnedWriteHalf>,
    shared: &Shared,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        if shared.now() == Trouble::Busy {
            shared.harm();
            let mut back = back.lock().await;
            back.write_all(busy().as_bytes()).await?;
            back.shutdown().await?;
            // A connection that is closed with unread bytes in it is reset, and the answer lost.
            let rest = async {
                while from.read(&mut buffer).await? > 0 {}
                io::Result::Ok(())
            };
            let _bounded = tokio::time::timeout(DRAIN_MAX, rest).await;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        pass(&buffer[..length], &mut to, shared).await?;
    }
}

async fn answers(mut from: OwnedReadHalf, to: &Mutex<OwnedWriteHalf>, shared: &Shared) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        let mut to = to.lock().await;
        if length == 0 {
            return to.shutdown().await;
        }
        pass(&buffer[..length], &mut to, shared).await?;
    }
}

async fn pass(bytes: &[u8], to: &mut OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    shared.until_it_moves().await;
    if let Trouble::Late(by) = shared.now() {
        shared.harm();
        // In order: the next piece is read when this one was sent.
        tokio::time::sleep(by).await;
    }
    to.write_all(bytes).await
}

impl Shared {
    fn now(&self) -> Trouble {
        *self.trouble.borrow()
    }

    fn harm(&self) {
        self.harmed.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns at once when nothing stands still.
    async fn until_it_moves(&self) {
        if self.now() == Trouble::Stalled {
            self.harm();
            // Never an error: the sender is in `self`.
            let _moves = self.trouble.subscribe().wait_for(|now| *now != Trouble::Stalled).await.is_ok();
        }
    }
}

fn busy() -> String {
    let length = BUSY_BODY.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{BUSY_BODY}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ended = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn ask(stream: &mut TcpStream, text: &str) -> io::Result<String> {
        stream.write_all(text.as_bytes()).await?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await?;
        Ok(String::from_utf8(answer).unwrap())
    }

    #[tokio::test]
    async fn a_link_carries_and_is_cut_refused_and_stalled() {
        let link = Link::to(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut stream, "one").await.unwrap(), "one");
        link.trouble(Trouble::Late(Duration::from_millis(1)));
        assert_eq!(ask(&mut stream, "two").await.unwrap(), "two");

        link.trouble(Trouble::Stalled);
        let (bound, moves) = (Duration::from_millis(200), Duration::from_secs(30));
        assert!(tokio::time::timeout(bound, ask(&mut stream, "three")).await.is_err(), "nothing arrives");
        link.trouble(Trouble::None);
        let mut answer = [0; 5];
        tokio::time::timeout(moves, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"three", "and nothing was lost");

        link.trouble(Trouble::Refused);
        assert!(ask(&mut stream, "four").await.is_err());
        let mut second = TcpStream::connect(link.address()).await.unwrap();
        assert!(ask(&mut second, "five").await.is_err());
        link.trouble(Trouble::None);
        let mut third = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut third, "six").await.unwrap(), "six");
        link.cut();
        assert!(ask(&mut third, "seven").await.is_err());
        assert!(link.counts().0 >= 3 && link.counts().1 >= 4, "{:?}", link.counts());
    }

    #[tokio::test]
    async fn a_busy_link_answers_for_its_target() {
        let link = Link::to(echo().await).await.unwrap();
        link.trouble(Trouble::Busy);
        assert_eq!(crate::get(link.address(), "/x").await.unwrap().0, 503);
    }

    #[tokio::test]
    async fn a_link_that_leads_nowhere_ends_what_comes() {
        let link = Link::open().await.unwrap();
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        assert!(ask(&mut stream, "one").await.is_err());
    }
}
