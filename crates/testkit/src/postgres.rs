//! A PostgreSQL server of a test's own, which can be stopped as if it had crashed. Gone with this value.

use crate::{Pair, free_port};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
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

/// See the module.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    /// Also the number in the name of its socket.
    port: u16,
    /// It listens on that port, too, for encrypted connections.
    has_tls: bool,
    user: Option<(u32, u32)>,
    server: Option<Child>,
}

impl Postgres {
    /// Starts a server with the database `elanus`.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Result<Self> {
        Self::launch(None)
    }

    /// Starts a server that also listens on 127.0.0.1, for encrypted connections alone ([`Postgres::tls_url`]).
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with_tls(certificate: &Pair) -> Result<Self> {
        Self::launch(Some(certificate))
    }

    fn launch(certificate: Option<&Pair>) -> Result<Self> {
        let dir = TempDir::with_prefix("elanus-postgres-")?;
        let user = unprivileged()?;
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid))?;
        }
        let (has_tls, port) = (certificate.is_some(), certificate.map_or(Ok(5_432), |_| free_port())?);
        let mut postgres = Self { dir, port, has_tls, user, server: None };
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
        let port = self.port.to_string();
        create.arg("--host").arg(self.dir.path()).args(["--port", &port]);
        let created = create.args(["--username=elanus", name]).output()?;
        if !created.status.success() {
            bail!("createdb: {}", String::from_utf8_lossy(&created.stderr));
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
        format!("postgres://elanus@localhost:{}/{database}?host={}", self.port, self.dir.path().display())
    }

    /// The database `elanus` over TCP, which is encrypted; without what the client has to check.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("postgres://elanus@localhost:{}/elanus", self.port)
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
        let listens: &[&str] = match self.has_tls {
            true => &["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"],
            false => &["-c", "listen_addresses="],
        };
        let port = self.port.to_string();
        let server = self
            .program("postgres")?
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.dir.path())
            .args(["-p", &port])
            .args(listens)
            .args(["-c", "shared_buffers=16MB", "-c", "max_connections=300"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.server = Some(server);
        let until = Instant::now() + START_MAX;
        loop {
            let mut ready = self.program("pg_isready")?;
            let asked = ready.args(["--quiet", "--port", &port, "--host"]).arg(self.dir.path()).status()?;
            if asked.success() {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("PostgreSQL does not start");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As a crash: connections are cut, nothing is written any more.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let _ = Command::new("sh").args(["-c", &format!("kill -QUIT {}", server.id())]).status();
        let _ = server.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
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
