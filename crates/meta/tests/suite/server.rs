//! One PostgreSQL server for all tests of this process, with one database a test. Nothing of it is left when the process
//! ends, however it ends.

use sqlx::{Connection, PgConnection};
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Whoever holds the other end of its standard input is alive: at its end the server is stopped and its files removed.
const KEEPER: &str = r#"dir=$1; shift; "$@" & server=$!; read -r _; kill -QUIT $server; wait $server; rm -rf "$dir""#;

/// The user `guarded` needs a password.
const ACCESS: &str = "local all guarded scram-sha-256\nlocal all all trust\n";

/// The server of this process.
pub(crate) struct Server {
    dir: PathBuf,
    /// Its standard input is held open for as long as this process lives.
    _keeper: Child,
}

/// A database of its own, gone with this value.
pub(crate) struct Database {
    name: String,
}

impl Server {
    pub(crate) fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("elanus-postgres-").tempdir().unwrap().keep();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            chown(&dir, Some(uid), Some(gid)).unwrap();
        }
        let data = dir.join("data");
        let made = as_user(&program("initdb"), user)
            .args(["--no-sync", "--username=elanus", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--wal-segsize=1", "--pgdata"])
            .arg(&data)
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        fs::write(data.join("pg_hba.conf"), ACCESS).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let keeper = as_user(Path::new("/bin/sh"), user)
            .args(["-c", KEEPER, "keeper"])
            .arg(&dir)
            .arg(program("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&dir)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off"])
            .args(["-c", "max_connections=400", "-c", "shared_buffers=64MB", "-c", "autovacuum=off"])
            .current_dir(&dir)
            // Ctrl-C is for the tests: the keeper has to tidy up after them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { dir, _keeper: keeper };
        server.wait();
        server
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.program("pg_isready").args(["--quiet"]).status().unwrap().success() {
            assert!(
                Instant::now() < until,
                "the server does not start: {}",
                fs::read_to_string(self.dir.join("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A program of PostgreSQL that talks to this server.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.arg("--host").arg(&self.dir).arg("--username=elanus");
        command
    }

    /// A fresh database.
    pub(crate) fn database(&self) -> Database {
        self.database_like("template0")
    }

    fn database_like(&self, template: &str) -> Database {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let made = self.program("createdb").arg("--template").arg(template).arg(&name).output().unwrap();
        assert!(made.status.success(), "createdb: {}", String::from_utf8_lossy(&made.stderr));
        Database { name }
    }
}

impl Database {
    pub(crate) fn url(&self) -> String {
        self.url_of("elanus")
    }

    /// A copy of it; nobody may be connected.
    pub(crate) fn copied(&self) -> Database {
        Server::shared().database_like(&self.name)
    }

    /// As another user, or with a password: `user:password`.
    pub(crate) fn url_of(&self, user: &str) -> String {
        format!("postgres://{user}@localhost/{}?host={}", self.name, Server::shared().dir.display())
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The test is over: whatever is still connected is of no interest.
        let _ended = Server::shared().program("dropdb").args(["--force", "--if-exists"]).arg(&self.name).output();
    }
}

/// Where Debian and others put the programs that are not for every user.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.unwrap().path().join("bin").join(name)).filter(|path| path.is_file()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("PostgreSQL is not installed: apt-get install postgresql"))
}

/// PostgreSQL does not run as root: somebody else who has a name.
fn unprivileged() -> Option<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    if uid.split_whitespace().nth(1) != Some("0") {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = |name: &str| {
        let fields: Vec<&str> = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f[0] == name)?;
        Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
    };
    Some(user("postgres").or_else(|| user("nobody")).expect("a machine has a user nobody"))
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}
