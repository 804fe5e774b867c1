//! The binary refuses to start where it must, says why, and touches nothing.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

const WAIT_MAX: Duration = Duration::from_secs(30);

fn elanus() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elanus"));
    command.env_clear();
    command
}

fn standalone(data: &Path) -> Command {
    let mut command = elanus();
    command.args(["standalone", "--listen", "127.0.0.1:0", "--management", "127.0.0.1:0", "--data"]).arg(data);
    command
}

struct Refusal {
    code: Option<i32>,
    stderr: String,
}

fn refused(command: &mut Command) -> Refusal {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(String::from_utf8(stdout).unwrap(), "", "nothing is ready");
    Refusal { code: status.code(), stderr: String::from_utf8(stderr).unwrap() }
}

/// A running server; killed at the end of the test.
struct Server {
    child: Child,
    ready: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        Self::start_with(data, Stdio::null())
    }

    fn start_with(data: &Path, stderr: Stdio) -> Self {
        let mut child = standalone(data).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            sender.send(line).unwrap();
        });
        let mut server = Self { child, ready: String::new() };
        server.ready = receiver.recv_timeout(WAIT_MAX).unwrap();
        assert!(server.ready.contains(" is ready on 127.0.0.1:"), "{}", server.ready);
        server
    }

    fn address(&self, before: &str) -> String {
        let rest = self.ready.split_once(before).unwrap().1;
        rest.split([' ', ',']).next().unwrap().to_owned()
    }

    fn ctl(&self, line: &str) -> Output {
        let address = self.address("ready on ");
        elanus().args(["ctl", "--addr", &address]).args(line.split(' ')).output().unwrap()
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address("management on http://")).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn terminate(&mut self) -> Option<i32> {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        self.ended()
    }

    fn ended(&mut self) -> Option<i32> {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(asked.elapsed() < WAIT_MAX, "did not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_port_in_use_is_named_with_its_flag_and_nothing_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--management"] {
        let mut command = elanus();
        let other = if flag == "--listen" { "--management" } else { "--listen" };
        command.args(["standalone", flag, &address, other, "127.0.0.1:0", "--data"]).arg(&data);
        let refusal = refused(&mut command);
        assert_eq!(refusal.code, Some(3), "{}", refusal.stderr);
        assert!(refusal.stderr.contains(&address) && refusal.stderr.contains(flag), "{}", refusal.stderr);
    }
    assert!(!data.exists());
}

#[test]
fn a_foreign_directory_is_refused_and_untouched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let refusal = refused(&mut standalone(dir.path()));
    assert_eq!(refusal.code, Some(3), "{}", refusal.stderr);
    assert!(refusal.stderr.contains("was not made by elanus"), "{}", refusal.stderr);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_this_build_has_not_is_refused_and_nothing_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (flag, url) in [("--objects", "gs://b"), ("--events-url", "kafka://h")] {
        let refusal = refused(standalone(&data).args([flag, url]));
        assert_eq!(refusal.code, Some(2), "{}", refusal.stderr);
        assert!(refusal.stderr.contains("not supported by this build"), "{}", refusal.stderr);
        assert!(!refusal.stderr.contains("secret"), "{}", refusal.stderr);
    }
    assert!(!data.exists());
}

#[test]
fn a_server_whose_metadata_another_coordinator_took_over_stops_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = dir.path().join("log");
    let mut server = Server::start_with(&data, fs::File::create(&log).unwrap().into());
    let owner: serde_json::Value = serde_json::from_slice(&fs::read(data.join("_elanus/owner.json")).unwrap()).unwrap();
    let url = format!("sqlite://{}", data.join("meta.db").display());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let clock = Arc::new(elanus_types::SystemClock);
        let meta = elanus_meta::Meta::open(&url, owner["cluster_id"].as_str().unwrap(), clock).await.unwrap();
        meta.take_over(&elanus_types::NodeId("another".to_owned())).await.unwrap();
        meta.close().await;
    });
    // It has nothing to write, and finds out all the same: by the lease of the coordination, or when it renews the marker.
    assert_eq!(server.ended(), Some(1));
    let said = fs::read_to_string(&log).unwrap();
    let says = ["another elanus took over this metadata", "is now owned by a later process of this cluster"];
    assert!(says.iter().any(|text| said.contains(text)), "{said}");
}

#[test]
fn a_server_tells_its_health_answers_ctl_keeps_its_directory_and_ends_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::start(&data);
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(server.get("/readyz").starts_with("HTTP/1.1 200"));
    assert!(server.get("/tasks").contains("outbox.relay"));

    let refusal = refused(&mut standalone(&data));
    assert_eq!(refusal.code, Some(3), "{}", refusal.stderr);
    assert!(refusal.stderr.contains("in use by another elanus process"), "{}", refusal.stderr);

    let listed = server.ctl("--output json collection list");
    assert_eq!((listed.status.code(), listed.stdout.as_slice()), (Some(0), b"[]\n".as_slice()), "{listed:?}");
    let absent = server.ctl("collection describe nothing");
    let stderr = String::from_utf8(absent.stderr).unwrap();
    assert_eq!((absent.status.code(), absent.stdout.len()), (Some(4), 0), "{stderr}");
    assert!(stderr.contains("nothing") && stderr.contains("(code 100)"), "{stderr}");
    let scrubbed = server.ctl("--output json scrub --checksums");
    assert_eq!(scrubbed.status.code(), Some(0), "{scrubbed:?}");

    assert_eq!(server.terminate(), Some(0));
    assert_eq!(server.ctl("collection list").status.code(), Some(7));
    assert_eq!(Server::start(&data).terminate(), Some(0), "the directory is free again");
}

#[test]
fn certificates_and_tokens_that_cannot_be_used_are_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let authority = elanus_testkit::Authority::new().unwrap();
    let (good, other) = (authority.issue("good").unwrap(), authority.issue("other").unwrap());
    let ended = authority.issue_for("ended", &["localhost"], 2021).unwrap();
    let (short, locked) = (dir.path().join("short"), dir.path().join("no-such-file"));
    fs::write(&short, "short").unwrap();
    let pair = |cert: &Path, key: &Path| ["--tls-cert".into(), cert.to_owned(), "--tls-key".into(), key.to_owned()];
    for (flags, says) in [
        (pair(&good.cert, &other.key).to_vec(), "--tls-key: "),
        (pair(&ended.cert, &ended.key).to_vec(), "days ago; issue a new one"),
        (pair(&locked, &good.key).to_vec(), "cannot be read: No such file"),
        (pair(&good.cert, &short).to_vec(), "has no private key"),
        (vec!["--services-token-file".into(), short.clone()], "a token has 5 characters"),
        (vec!["--services-token".into(), "secret".into()], "--services-token: a token has 6 characters"),
        (vec!["--management-tls".into(), "on".into()], "--management-tls: give --tls-cert"),
        (vec!["--tls-min-version".into(), "1.1".into()], "[possible values: 1.2, 1.3]"),
    ] {
        let refusal = refused(standalone(&data).args(&flags));
        assert!(refusal.code == Some(2) && refusal.stderr.contains(says), "{says}: {}", refusal.stderr);
        assert!(!refusal.stderr.contains("secret"), "{}", refusal.stderr);
    }
    assert!(!data.exists());

    // The same from a file, with its line; and without a start.
    let file = dir.path().join("elanus.toml");
    let (cert, key) = (good.cert.display(), other.key.display());
    fs::write(&file, format!("[tls]\nserverPemPath = \"{cert}\"\nserverKeyPath = \"{key}\"\n")).unwrap();
    let at = format!("{}:3: tls.serverKeyPath: ", file.display());
    for command in [&["standalone"] as &[&str], &["config", "check"], &["config", "check", "standalone"]] {
        let refusal = refused(elanus().args(command).arg("--config").arg(&file));
        assert!(refusal.code == Some(2) && refusal.stderr.contains(&at), "{}", refusal.stderr);
    }
    let flags = ["--services-tls-cert", &good.cert.display().to_string(), "--services-tls-key", &key.to_string()];
    let ca = authority.ca().display().to_string();
    let stores = ["--meta", "postgres://h/d", "--objects", "s3://bucket/r", "--services-tls-ca", &ca];
    for service in ["datacoord", "datanode", "querynode"] {
        let refusal = refused(elanus().args(["config", "check", service]).args(flags).args(stores));
        assert!(refusal.code == Some(2) && refusal.stderr.contains("--services-tls-key: "), "{}", refusal.stderr);
    }
}
