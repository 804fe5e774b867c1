//! A NATS server with JetStream of a test's own, which can be killed and started again on its port and its store. Gone with
//! this value.

use crate::{free_port, settings, wait_for};
use anyhow::{Context as _, Result, bail};
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

const START_MAX: Duration = Duration::from_secs(60);
/// Somebody else may take a port between the look for it and the start.
const START_ATTEMPTS_MAX: usize = 3;

/// See the module.
#[derive(Debug)]
pub struct Nats {
    dir: TempDir,
    port: u16,
    flags: Vec<String>,
    server: Option<Child>,
}

impl Nats {
    /// Starts a server on a free port of this machine, with an empty store.
    ///
    /// # Errors
    /// When there is no NATS server to start, or it does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// As [`Nats::start`], with further flags of the server.
    ///
    /// # Errors
    /// As [`Nats::start`].
    pub async fn start_with(flags: &[&str]) -> Result<Self> {
        let mut nats = Self::not_started(flags)?;
        for _ in 1..START_ATTEMPTS_MAX {
            match nats.start_again().await {
                Err(error) if error.to_string().contains("address already in use") => nats.port = free_port()?,
                ended => return ended.map(|()| nats),
            }
        }
        nats.start_again().await.map(|()| nats)
    }

    /// A server that has its address and does not run yet.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn not_started(flags: &[&str]) -> Result<Self> {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Ok(Self { dir: TempDir::with_prefix("elanus-nats-")?, port: free_port()?, flags, server: None })
    }

    /// Starts it, again after [`Nats::kill9`] or [`Nats::stop`]: same port, same store.
    ///
    /// # Errors
    /// When it does not start; with its log.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.server.is_some() {
            bail!("the NATS server runs already");
        }
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let server = Command::new(settings::nats()?)
            .args(["--addr", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--jetstream", "--store_dir"])
            .arg(self.dir.path().join("store"))
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the NATS server")?;
        self.server = Some(server);
        let address = self.address();
        let ended = wait_for("the NATS server to greet", START_MAX, async || {
            if let Some(status) = self.ended() {
                return Ok(Err(status));
            }
            match greeting(address).await {
                Ok(text) if text.contains("\"jetstream\":true") => Ok(Ok(())),
                Ok(text) => Err(text),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        match ended {
            Ok(()) => Ok(()),
            Err(status) => bail!("the NATS server ended ({status}):\n{}", self.log()),
        }
    }

    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        let status = self.server.as_mut()?.try_wait().ok().flatten()?;
        self.server = None;
        Some(status)
    }

    /// Ends it with SIGKILL.
    pub fn kill9(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Ends it with SIGTERM, in good order.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", server.id())]).status();
            let _ = server.wait();
        }
    }

    /// Ends it and removes what it kept: the next start has an empty store.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub fn wipe(&mut self) -> Result<()> {
        self.kill9();
        Ok(std::fs::remove_dir_all(self.dir.path().join("store"))?)
    }

    /// For `--events-url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Everything that it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

/// The line that the server sends first.
async fn greeting(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let mut bytes = vec![0; 4_096];
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut bytes)).await??;
    Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill9();
    }
}
