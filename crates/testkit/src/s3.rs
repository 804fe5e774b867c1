//! SeaweedFS as an S3 server that checks signatures, for as long as this process lives. Nothing of it is left when the
//! process ends, however it ends.

use crate::{free_port_pair, http, settings, wait_for};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::OnceCell;

const START_MAX: Duration = Duration::from_secs(60);
/// Somebody else may take a port between the look for it and the start.
const START_ATTEMPTS_MAX: usize = 3;

/// Whoever holds the other end of its standard input is alive: at its end the server is killed and its files removed.
const KEEPER: &str = r#"
dir=$1; shift
start() { "$@" >>"$dir/log" 2>&1 & server=$!; }
start "$@"
while read -r word; do
    case $word in
        kill) kill -9 $server; wait $server; echo killed ;;
        start) start "$@" ;;
    esac
done
kill -9 $server; wait $server; rm -rf "$dir""#;

/// Each bucket has volumes of its own: not seven at once.
const GROWTH: &str = "[master.volume_growth]\ncopy_1 = 1\n";

/// The names of objects are not where their bytes are.
const NAMES: &str = "[leveldb2]\nenabled = true\ndir = \"names\"\n";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3User {
    /// May read, write, list and delete; may not create a bucket.
    Writer,
    /// May read and list.
    Reader,
}

impl S3User {
    /// Access key and secret key.
    #[must_use]
    pub fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::Writer => ("AKWRITER", "the-secret-of-the-writer"),
            Self::Reader => ("AKREADER", "the-secret-of-the-reader"),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct S3Server {
    dir: PathBuf,
    s3: SocketAddr,
    filer: SocketAddr,
    keeper: Mutex<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl S3Server {
    /// The server of this process, for tests that leave it running.
    ///
    /// # Errors
    /// When SeaweedFS is not installed or does not start.
    pub async fn shared() -> Result<&'static Self> {
        static SERVER: OnceCell<S3Server> = OnceCell::const_new();
        SERVER.get_or_try_init(Self::start).await
    }

    /// A server of one's own.
    ///
    /// # Errors
    /// When SeaweedFS is not installed or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    /// A server of one's own that keeps the bytes of objects in this directory, and everything else elsewhere: what happens
    /// when there is no room for more objects.
    ///
    /// # Errors
    /// When SeaweedFS is not installed or does not start.
    pub async fn start_with_volumes_in(volumes: &Path) -> Result<Self> {
        Self::start_with(Some(volumes)).await
    }

    async fn start_with(volumes: Option<&Path>) -> Result<Self> {
        let weed = settings::weed()?;
        for _ in 1..START_ATTEMPTS_MAX {
            if let Ok(server) = Self::launch(&weed, volumes).await {
                return Ok(server);
            }
        }
        Self::launch(&weed, volumes).await
    }

    async fn launch(weed: &Path, volumes: Option<&Path>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("elanus-s3-").tempdir()?.keep();
        fs::write(dir.join("s3.json"), users())?;
        fs::write(dir.join("master.toml"), GROWTH)?;
        fs::write(dir.join("filer.toml"), NAMES)?;
        for own in ["data", "master", "index", "names"] {
            fs::create_dir(dir.join(own))?;
        }
        let volumes = volumes.map_or_else(|| dir.join("data"), Path::to_owned);
        let address = || anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port_pair()?)));
        let (master, volume, filer, s3) = (address()?, address()?, address()?, address()?);
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&dir)
            .arg(weed)
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
            .arg(format!("-master.port={}", master.port()))
            .arg(format!("-volume.port={}", volume.port()))
            .arg(format!("-filer.port={}", filer.port()))
            .arg(format!("-s3.port={}", s3.port()))
            .arg(format!("-dir={}", volumes.display()))
            .args(["-master.dir=master", "-volume.dir.idx=index", "-volume.minFreeSpace=0"])
            // The only master elects itself, after this time.
            .arg("-master.electionTimeout=1s")
            .args(["-s3.config=s3.json", "-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"])
            // Nothing is sent to anybody, and no ports that are not asked for.
            .args(["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .args(["-s3.autoCreateBucket=false", "-master.volumeSizeLimitMB=256", "-volume.max=2000"])
            .current_dir(&dir)
            // Ctrl-C is for the tests: the keeper has to tidy up after them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the S3 server")?;
        let answers = keeper.stdout.take().context("the keeper has no output")?;
        let keeper = Mutex::new(Keeper { child: keeper, answers: BufReader::new(answers) });
        let server = Self { dir, s3, filer, keeper };
        server.ready().await?;
        Ok(server)
    }

    /// Waits until something can be written and the S3 port answers.
    async fn ready(&self) -> Result<()> {
        let ended = wait_for("the S3 server", START_MAX, async || {
            if self.log().contains("Fatal") || self.log().contains("address already in use") {
                return Ok(Err(self.log()));
            }
            let written = http::send("PUT", self.filer, "/ready", "x").await;
            match (written, http::get(self.s3, "/").await) {
                (Ok((201, _)), Ok(_)) => Ok(Ok(())),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        match ended {
            Ok(()) => Ok(()),
            Err(log) => bail!("the S3 server ended instead of being ready:\n{log}"),
        }
    }

    /// Everything that the running server wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// A new, empty bucket.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn bucket(&self) -> Result<String> {
        static BUCKETS: AtomicU32 = AtomicU32::new(0);
        let name = format!("bucket-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
        let (status, body) = http::send("POST", self.filer, &format!("/buckets/{name}/"), "").await?;
        if status != 201 {
            bail!("cannot create a bucket: HTTP {status}: {body}");
        }
        Ok(name)
    }

    /// Where S3 is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.s3
    }

    /// Where S3 is served, as a URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.s3)
    }

    /// What the environment of an `elanus` says that keeps its objects here.
    #[must_use]
    pub fn settings(&self, bucket: &str, root: &str, user: S3User) -> Vec<(String, String)> {
        self.settings_through(self.s3, bucket, root, user)
    }

    /// The same for one that reaches the server at another address: through a [`Link`](crate::Link).
    #[must_use]
    pub fn settings_through(
        &self,
        address: SocketAddr,
        bucket: &str,
        root: &str,
        user: S3User,
    ) -> Vec<(String, String)> {
        let (access, secret) = user.keys();
        let settings = [
            ("ELANUS_OBJECTS", format!("s3://{bucket}/{root}")),
            ("ELANUS_S3_ENDPOINT", format!("http://{address}")),
            ("AWS_ACCESS_KEY_ID", access.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
            // A test asks nobody but this server.
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ];
        settings.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// What an `elanus` is told that keeps its objects here: the same as flags, so that one test can have several.
    #[must_use]
    pub fn flags(&self, bucket: &str, root: &str, user: S3User) -> Vec<String> {
        let (access, secret) = user.keys();
        let (objects, endpoint) = (format!("s3://{bucket}/{root}"), self.endpoint());
        let flags = [
            ("--objects", objects.as_str()),
            ("--s3-endpoint", &endpoint),
            ("--s3-region", "us-east-1"),
            ("--s3-access-key", access),
            ("--s3-secret-key", secret),
        ];
        flags.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect()
    }

    /// Writes an object past S3, as somebody else would.
    ///
    /// # Errors
    /// When the server does not do it.
    pub async fn write(&self, bucket: &str, name: &str, content: &str) -> Result<()> {
        self.past_s3("PUT", bucket, name, content).await
    }

    /// Removes an object past S3, as somebody else would.
    ///
    /// # Errors
    /// When the server does not do it.
    pub async fn remove(&self, bucket: &str, name: &str) -> Result<()> {
        self.past_s3("DELETE", bucket, name, "").await
    }

    async fn past_s3(&self, method: &str, bucket: &str, name: &str, content: &str) -> Result<()> {
        match http::send(method, self.filer, &format!("/buckets/{bucket}/{name}"), content).await? {
            (201 | 204, _) => Ok(()),
            (status, body) => bail!("{method} {bucket}/{name}: HTTP {status}: {body}"),
        }
    }

    /// Ends the server with SIGKILL.
    ///
    /// # Errors
    /// When its keeper is gone.
    pub fn kill9(&self) -> Result<()> {
        let mut keeper = self.keeper();
        keeper.tell("kill")?;
        keeper.answers.read_line(&mut String::new())?;
        Ok(())
    }

    /// Starts the server again after [`S3Server::kill9`]: same data, same addresses. Waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&self) -> Result<()> {
        fs::remove_file(self.dir.join("log"))?;
        self.keeper().tell("start")?;
        self.ready().await
    }

    fn keeper(&self) -> std::sync::MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    fn tell(&mut self, word: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("the keeper has no input")?;
        writeln!(input, "{word}").context("the keeper of the S3 server is gone")
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(keeper.child.stdin.take());
        let _ended = keeper.child.wait();
    }
}

fn users() -> String {
    let user = |user: S3User, actions: &str| {
        let (access, secret) = user.keys();
        format!(
            r#"{{"name": "{user:?}", "credentials": [{{"accessKey": "{access}", "secretKey": "{secret}"}}], "actions": [{actions}]}}"#
        )
    };
    let writer = user(S3User::Writer, r#""Read", "Write", "List", "Tagging""#);
    let reader = user(S3User::Reader, r#""Read", "List""#);
    format!(r#"{{"identities": [{writer}, {reader}]}}"#)
}
