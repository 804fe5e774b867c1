//! A PostgreSQL server of a test's own, which can be stopped as if it had crashed. Gone with this value.

use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
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
    user: Option<(u32, u32)>,
    server: Option<Child>,
}

impl Postgres {
    /// Starts a server with the database `elanus`.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Result<Self> {
        let dir = TempDir::with_prefix("elanus-postgres-")?;
        let user = unprivileged()?;
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid))?;
        }
        let mut postgres = Self { dir, user, server: None };
        let made = postgres
            .program("initdb")?
            .args(["--no-sync", "--username=elanus", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"])
            .arg(postgres.data())
            .output()?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
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
        let created = create.arg("--host").arg(self.dir.path()).args(["--username=elanus", name]).output()?;
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
        format!("postgres://elanus@localhost/{database}?host={}", self.dir.path().display())
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
        let server = self
            .program("postgres")?
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.dir.path())
            .args(["-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", "max_connections=300"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.server = Some(server);
        let until = Instant::now() + START_MAX;
        loop {
            let asked = self.program("pg_isready")?.arg("--quiet").arg("--host").arg(self.dir.path()).status()?;
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
