//! A PostgreSQL server of a test's own, which can be stopped as if it had crashed. Gone with this value.

use crate::{Pair, free_port};
use anyhow::{Context as _, Result, bail};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const START_MAX: Duration = Duration::from_secs(60);
/// Where nobody connects over TCP, this is only a part of the name of the socket.
const PORT: u16 = 5432;

/// See the module.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    user: Option<(u32, u32)>,
    server: Option<Child>,
    /// `None`: only a socket in its directory.
    tcp: Option<SocketAddr>,
    /// Over TCP there are encrypted connections alone.
    has_tls: bool,
}

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresStop {
    /// Clients are disconnected, transactions rolled back, everything is written: `pg_ctl stop -m fast`.
    Fast,
    /// Nothing is written any more, and the next start recovers: `-m immediate`.
    Immediate,
    /// SIGKILL to the first process; those of its clients find out by themselves.
    Kill,
}

impl Postgres {
    /// Starts a server with the database `elanus`.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Result<Self> {
        Self::launch(None, None)
    }

    /// The same, reached over TCP on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub fn start_on_tcp() -> Result<Self> {
        Self::launch(Some(free_address()?), None)
    }

    /// Starts a server that also listens on 127.0.0.1, for encrypted connections alone ([`Postgres::tls_url`]).
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with_tls(certificate: &Pair) -> Result<Self> {
        Self::launch(Some(free_address()?), Some(certificate))
    }

    fn launch(tcp: Option<SocketAddr>, certificate: Option<&Pair>) -> Result<Self> {
        let dir = TempDir::with_prefix("elanus-postgres-")?;
        let user = unprivileged()?;
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid))?;
        }
        let mut postgres = Self { dir, user, server: None, tcp, has_tls: certificate.is_some() };
        let made = postgres
            .program("initdb")?
            .args(["--no-sync", "--username=elanus", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"])
            .arg(postgres.data())
            .output()?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        if let Some(certificate) = certificate {
            postgres.take(certificate)?;
        }
        postgres.start_again()?;
        postgres.create_database("elanus")?;
        Ok(postgres)
    }

    /// Creates an empty database.
    ///
    /// # Errors
    /// When it is there already.
    pub fn create_database(&self, name: &str) -> Result<()> {
        let mut create = self.program("createdb")?;
        let host = create.arg("--host").arg(self.dir.path()).args(["--port", &self.port().to_string()]);
        let created = host.args(["--username=elanus", name]).output()?;
        if !created.status.success() {
            bail!("createdb: {}", String::from_utf8_lossy(&created.stderr));
        }
        Ok(())
    }

    /// Executes what `pg_dump` wrote.
    ///
    /// # Errors
    /// When a statement of it fails.
    pub fn load(&self, database: &str, dump: &Path) -> Result<()> {
        let mut psql = self.program("psql")?;
        let host = psql.arg("--host").arg(self.dir.path()).args(["--port", &self.port().to_string()]);
        let quiet = host.args(["--username=elanus", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", database]);
        let loaded = quiet.stdin(File::open(dump)?).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
        if !loaded.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&loaded.stderr));
        }
        Ok(())
    }

    /// The database `elanus`, for `--meta`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("elanus")
    }

    /// A database, for `--meta`.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        match self.tcp {
            Some(address) if !self.has_tls => Self::url_at(address, database),
            _ => format!("postgres://elanus@localhost:{}/{database}?host={}", self.port(), self.dir.path().display()),
        }
    }

    /// The database `elanus` over TCP, which is encrypted; without what the client has to check.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("postgres://elanus@localhost:{}/elanus", self.port())
    }

    /// PostgreSQL reads no key that others can read, or that is not its own.
    fn take(&self, certificate: &Pair) -> Result<()> {
        let files = [(&certificate.cert, "server.crt"), (&certificate.key, "server.key")];
        for (from, to) in files.map(|(from, to)| (from, self.data().join(to))) {
            fs::copy(from, &to)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600))?;
            if let Some((uid, gid)) = self.user {
                chown(&to, Some(uid), Some(gid))?;
            }
        }
        fs::write(self.data().join("pg_hba.conf"), "local all all trust\nhostssl all all 127.0.0.1/32 trust\n")?;
        Ok(())
    }

    /// A database of a server that is reached there.
    #[must_use]
    pub fn url_at(address: SocketAddr, database: &str) -> String {
        format!("postgres://elanus@{address}/{database}")
    }

    /// Where it listens; `None`: only on a socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Everything that it wrote to its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn port(&self) -> u16 {
        self.tcp.map_or(PORT, |address| address.port())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn program(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(program(name)?);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command.current_dir(self.dir.path());
        Ok(command)
    }

    /// Starts it again after [`Postgres::stop`].
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<()> {
        let until = Instant::now() + START_MAX;
        self.server = Some(self.spawn()?);
        loop {
            let mut ready = self.program("pg_isready")?;
            let ready =
                ready.arg("--quiet").arg("--host").arg(self.dir.path()).args(["--port", &self.port().to_string()]);
            if ready.status()?.success() {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("PostgreSQL does not start:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
            // After a SIGKILL it refuses to start until the last process of the one before has found out.
            if self.server.as_mut().is_some_and(|server| matches!(server.try_wait(), Ok(Some(_)))) {
                self.server = Some(self.spawn()?);
            }
        }
    }

    fn spawn(&self) -> Result<Child> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let listen =
            format!("listen_addresses={}", self.tcp.map(|address| address.ip().to_string()).unwrap_or_default());
        let ssl: &[&str] = if self.has_tls { &["-c", "ssl=on"] } else { &[] };
        let server = self
            .program("postgres")?
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.dir.path())
            .args(["-p", &self.port().to_string(), "-c", &listen])
            .args(ssl)
            .args(["-c", "shared_buffers=16MB", "-c", "max_connections=400"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(server)
    }

    /// As a crash: connections are cut, nothing is written any more.
    pub fn stop(&mut self) {
        self.stop_by(PostgresStop::Immediate);
    }

    /// Stops it in a way of one's choice, and waits for its end.
    pub fn stop_by(&mut self, how: PostgresStop) {
        let Some(mut server) = self.server.take() else { return };
        let signal = match how {
            PostgresStop::Fast => "INT",
            PostgresStop::Immediate => "QUIT",
            PostgresStop::Kill => "KILL",
        };
        let _ = Command::new("sh").args(["-c", &format!("kill -{signal} {}", server.id())]).status();
        let _ = server.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)))
}

/// Where Debian and others put the programs that are not for every user.
fn program(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin").join(name)));
    let newest = programs.filter(|path| path.is_file()).max();
    newest.context("PostgreSQL is not installed: apt-get install postgresql")
}

/// PostgreSQL does not run as root: the owner of its programs' account, or nobody.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt as _;
    if fs::metadata(Path::new("/proc/self"))?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let user = |name: &str| {
        let fields: Vec<&str> = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f[0] == name)?;
        Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
    };
    Ok(Some(user("postgres").or_else(|| user("nobody")).context("this machine has no user nobody")?))
}
