//! One process of the program with its log: `elanus standalone` with its data directory, or another service.

use crate::{binary, free_port, get, wait_for};
use anyhow::{Context as _, Result, bail};
use elanus_client::Client;
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(30);
/// Somebody else may take a port between the look for it and the start.
const PORT_ATTEMPTS_MAX: usize = 5;
/// Lines of the log that a failed test shows.
const LOG_LINES_SHOWN: usize = 120;

/// A running server, or one between two lives. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    /// `standalone`, `datacoord`, …
    service: &'static str,
    child: Option<Child>,
    /// `None`: the program that was built with this test.
    program: Option<PathBuf>,
    /// Holds the log, and the data unless the test keeps them elsewhere.
    home: TempDir,
    data: PathBuf,
    /// Environment of the process, beside what this process has.
    settings: Vec<(String, String)>,
    /// Further flags of every start.
    flags: Vec<String>,
    listen: SocketAddr,
    management: SocketAddr,
}

/// How to ask a server to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, as sent by service managers.
    Terminate,
    /// SIGINT, as sent by Ctrl-C.
    Interrupt,
    /// SIGSTOP: it stands still until [`Signal::Continue`].
    Stop,
    /// SIGCONT.
    Continue,
}

impl Server {
    /// Starts a server on free ports in a new directory, and waits until it is ready.
    ///
    /// # Errors
    /// When the program was not built, or ends instead.
    pub async fn start() -> Result<Self> {
        Self::start_with_settings(Vec::new()).await
    }

    /// Starts a server in a new directory with these variables in its environment: what flags and files say otherwise.
    ///
    /// # Errors
    /// When the program was not built, or ends instead.
    pub async fn start_with_settings(settings: Vec<(String, String)>) -> Result<Self> {
        let home = home()?;
        let data = home.path().join("data");
        Self::launch(home, data, &[], settings).await
    }

    /// As [`Server::start`], with these flags besides.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with(flags: &[&str]) -> Result<Self> {
        let home = home()?;
        let data = home.path().join("data");
        Self::launch(home, data, flags, Vec::new()).await
    }

    /// Starts a server on this data directory.
    ///
    /// # Errors
    /// When the program was not built, or ends instead.
    pub async fn start_in(data: &Path) -> Result<Self> {
        Self::start_in_with(data, &[]).await
    }

    /// Starts a server on this data directory, with further flags.
    ///
    /// # Errors
    /// When the program was not built, or ends instead.
    pub async fn start_in_with(data: &Path, flags: &[&str]) -> Result<Self> {
        Self::launch(home()?, data.to_owned(), flags, Vec::new()).await
    }

    /// Starts another service than standalone, on free ports, with these flags and these variables in its environment.
    ///
    /// # Errors
    /// When the program was not built, or ends instead.
    pub async fn start_service(service: &'static str, flags: &[&str], settings: Vec<(String, String)>) -> Result<Self> {
        let home = home()?;
        let data = home.path().join("none");
        Self::launch_service(service, home, data, flags, settings, None).await
    }

    /// As [`Server::start_service`], of another program than the one that was built with this test.
    ///
    /// # Errors
    /// When the program cannot be started, or ends instead.
    pub async fn start_service_of(
        program: &Path,
        service: &'static str,
        flags: &[&str],
        settings: Vec<(String, String)>,
    ) -> Result<Self> {
        let home = home()?;
        let data = home.path().join("none");
        Self::launch_service(service, home, data, flags, settings, Some(program.to_owned())).await
    }

    /// From the next start on this is the program; `None`: the one that was built with this test.
    pub fn use_program(&mut self, program: Option<&Path>) {
        self.program = program.map(Path::to_owned);
    }

    async fn launch(home: TempDir, data: PathBuf, flags: &[&str], settings: Vec<(String, String)>) -> Result<Self> {
        Self::launch_service("standalone", home, data, flags, settings, None).await
    }

    async fn launch_service(
        service: &'static str,
        home: TempDir,
        data: PathBuf,
        flags: &[&str],
        settings: Vec<(String, String)>,
        program: Option<PathBuf>,
    ) -> Result<Self> {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut server =
            Self { service, child: None, program, home, data, settings, flags, listen: nowhere, management: nowhere };
        for _ in 1..PORT_ATTEMPTS_MAX {
            server.move_to_free_ports()?;
            match server.restart().await {
                Err(error) if error.to_string().contains("in use by another process") => {}
                ended => return ended.map(|()| server),
            }
        }
        server.move_to_free_ports()?;
        server.restart().await.map(|()| server)
    }

    fn move_to_free_ports(&mut self) -> Result<()> {
        self.listen.set_port(free_port()?);
        self.management.set_port(free_port()?);
        Ok(())
    }

    /// Starts the server again after its end: same directory, same addresses. Waits until it is ready.
    ///
    /// # Errors
    /// When it ends instead; with its log.
    pub async fn restart(&mut self) -> Result<()> {
        self.begin()?;
        self.ready().await
    }

    /// Starts the server again and does not wait.
    ///
    /// # Errors
    /// When it runs already, or the program was not built.
    pub fn begin(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the server runs already");
        }
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let program = self.program.clone().map_or_else(binary::path, Ok)?;
        let mut command = Command::new(program);
        command.arg(self.service);
        if self.service == "standalone" {
            command.args(["--data".as_ref(), self.data.as_os_str()]);
        }
        let child = command
            .args(["--listen", &self.listen.to_string()])
            .args(["--management", &self.management.to_string()])
            .args(&self.flags)
            .env("RUST_BACKTRACE", "1")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the server")?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it is ready after [`Server::begin`].
    ///
    /// # Errors
    /// When it ends instead; with its log.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn ready(&mut self) -> Result<()> {
        let ended = wait_for("the server to be ready", START_MAX, async || {
            if let Some(status) = self.ended() {
                return Ok(Err(status));
            }
            match get(self.management, "/readyz").await {
                Ok((200, _)) => Ok(Ok(())),
                Ok((status, body)) => Err(format!("HTTP {status}: {body}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        match ended {
            Ok(()) => Ok(()),
            Err(status) => bail!("the server ended instead of being ready ({status}):\n{}", self.log_end()),
        }
    }

    /// True while the process runs, as far as is known: see [`Server::ended_with`].
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// How the process ended, if it did. It is gone then.
    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(status)
    }

    /// The exit code, once the process has ended by itself (`Some(None)`: by a signal); `None` while it runs.
    pub fn ended_with(&mut self) -> Option<Option<i32>> {
        self.ended().map(|status| status.code())
    }

    /// Ends the process with SIGKILL: nothing of it runs after that, nothing was finished before.
    ///
    /// # Errors
    /// When it does not run, also because it ended by itself.
    pub fn kill9(&mut self) -> Result<()> {
        if let Some(status) = self.ended() {
            bail!("the server ended by itself ({status}):\n{}", self.log_end());
        }
        let mut child = self.child.take().context("the server does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Ends the process with SIGTERM and checks that it ends in good order.
    ///
    /// # Errors
    /// When it does not run, or its exit code is not 0.
    pub async fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::Terminate)?;
        let code = self.wait().await?;
        if code != Some(0) {
            bail!("the server ended with {code:?} instead of 0:\n{}", self.log_end());
        }
        Ok(())
    }

    /// Sends a signal and does not wait.
    ///
    /// # Errors
    /// When the server does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Interrupt => "INT",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        let pid = self.pid()?;
        // The shell has `kill` built in, on every machine that has a shell.
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status()?;
        if !status.success() {
            bail!("cannot send SIG{name} to {pid}");
        }
        Ok(())
    }

    /// The number of the process.
    ///
    /// # Errors
    /// When the server does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("the server does not run")?.id())
    }

    /// Waits for the end of the process; its exit code.
    ///
    /// # Errors
    /// When the server does not run.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn wait(&mut self) -> Result<Option<i32>> {
        if self.child.is_none() {
            bail!("the server does not run");
        }
        let status = wait_for("the end of the server", STOP_MAX, async || self.ended().ok_or("it runs")).await;
        Ok(status.code())
    }

    /// A client of the calls for operators.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.url()).await?)
    }

    /// Where the Milvus API is served, as clients take it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Where the Milvus API is served.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where health and tasks are told.
    #[must_use]
    pub fn management(&self) -> SocketAddr {
        self.management
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Everything that the processes of this server wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where it is.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.home.path().join("log")
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

/// Not the data directory itself: a log in it would be a foreign file.
fn home() -> Result<TempDir> {
    TempDir::with_prefix("elanus-test-").context("cannot make a directory for a server")
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            let _ = self.kill9();
        }
        if std::thread::panicking() {
            eprintln!("── end of the log of the {} at {}\n{}\n──", self.service, self.listen, self.log_end());
        }
    }
}
