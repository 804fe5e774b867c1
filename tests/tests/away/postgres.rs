//! A PostgreSQL server of a test's own, which can be stopped as if it had crashed. Gone with this value.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const START_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Postgres {
    dir: TempDir,
    user: Option<(u32, u32)>,
    server: Option<Child>,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let dir = TempDir::with_prefix("elanus-postgres-").unwrap();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut postgres = Self { dir, user, server: None };
        let made = postgres
            .program("initdb")
            .args(["--no-sync", "--username=elanus", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"])
            .arg(postgres.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        postgres.start_again();
        let mut create = postgres.program("createdb");
        create.arg("--host").arg(postgres.dir.path()).args(["--username=elanus", "elanus"]);
        assert!(create.status().unwrap().success(), "createdb");
        postgres
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://elanus@localhost/elanus?host={}", self.dir.path().display())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command.current_dir(self.dir.path());
        command
    }

    pub(crate) fn start_again(&mut self) {
        let server = self
            .program("postgres")
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.dir.path())
            .args(["-c", "listen_addresses=", "-c", "shared_buffers=16MB"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.server = Some(server);
        let until = Instant::now() + START_MAX;
        let ready = || self.program("pg_isready").arg("--quiet").arg("--host").arg(self.dir.path()).status();
        while !ready().unwrap().success() {
            assert!(Instant::now() < until, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As a crash: connections are cut, nothing is written any more.
    pub(crate) fn stop(&mut self) {
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
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin").join(name)));
    let newest = programs.filter(|path| path.is_file()).max();
    newest.unwrap_or_else(|| panic!("PostgreSQL is not installed: apt-get install postgresql"))
}

/// PostgreSQL does not run as root: the owner of its programs' account, or nobody.
fn unprivileged() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    if fs::metadata(Path::new("/proc/self")).unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = |name: &str| {
        let fields: Vec<&str> = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f[0] == name)?;
        Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
    };
    Some(user("postgres").or_else(|| user("nobody")).expect("a machine has a user nobody"))
}
