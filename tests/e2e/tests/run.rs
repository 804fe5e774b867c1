//! `cargo xtask e2e` and `cargo xtask chaos` themselves, short: they pass, they leave nothing running, they say what is wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_e2e::rolling;
use elanus_testkit::settings;
use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

const E2E: &str = env!("CARGO_BIN_EXE_elanus-e2e");
const CHAOS: &str = env!("CARGO_BIN_EXE_elanus-chaos");
/// One of each kind of process, and the faults that tell most.
const FAULTS: u32 = 13;
const RUN_MAX: Duration = Duration::from_secs(400);

/// A run with its logs below this folder when it fails.
fn start(program: &str, logs: &Path, flags: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.arg("--logs").arg(logs.join("logs")).args(flags).stdin(Stdio::null()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().unwrap()
}

/// What it says until this, or its end.
async fn until(child: &mut Child, text: &str) -> String {
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let mut said = String::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            eprintln!("{line}");
            said.push_str(&line);
            said.push('\n');
            if !text.is_empty() && line.contains(text) {
                break;
            }
        }
    };
    tokio::time::timeout(RUN_MAX, reading).await.expect("the run ends in time");
    said
}

fn addresses(said: &str) -> Vec<SocketAddr> {
    said.split(|c: char| c.is_whitespace() || c == '/' || c == '@').filter_map(|word| word.parse().ok()).collect()
}

#[tokio::test]
async fn e2e_passes_and_leaves_nothing_running_after_ctrl_c() {
    let logs = tempfile::tempdir().unwrap();
    let flags = ["--root", env!("CARGO_MANIFEST_DIR"), "--filter", "quick_start", "--keep"];
    let mut child = start(E2E, logs.path(), &flags);
    let said = until(&mut child, "they run until Ctrl-C").await;
    assert!(said.contains("2 passed, 0 failed") && said.contains("scrub --checksums"), "{said}");
    let addresses = addresses(&said);
    assert_eq!(
        addresses.len(),
        8 * 2 + 3,
        "two of each service with their management, PostgreSQL, S3 and NATS: {said}"
    );
    let listening = |address: &SocketAddr| TcpStream::connect(address).is_ok();
    assert!(addresses.iter().all(listening), "{said}");
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(RUN_MAX, child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(130));
    let left: Vec<_> = addresses.iter().filter(|address| listening(address)).collect();
    assert!(left.is_empty(), "still there: {left:?}");
    assert!(!logs.path().join("logs").exists(), "logs of a run that passed");
}

#[tokio::test]
async fn e2e_says_which_scenarios_there_are() {
    let logs = tempfile::tempdir().unwrap();
    let mut child = start(E2E, logs.path(), &["--root", ".", "--filter", "no such thing"]);
    let said = until(&mut child, "").await;
    assert_eq!(child.wait().await.unwrap().code(), Some(2));
    assert!(said.contains("pymilvus quick_start") && said.contains("rust client snapshots"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing() {
    rolling::restart(None, Path::new(env!("CARGO_TARGET_TMPDIR"))).await.unwrap();
}

#[tokio::test]
async fn d_1_s_1_r_3_g_1_g_2_o_1_hold_after_faults_of_every_server() {
    // Always the same: the instants of faults differ all the same.
    let seed = settings::seed().unwrap().unwrap_or(1);
    let mut child = start(
        CHAOS,
        Path::new(env!("CARGO_TARGET_TMPDIR")),
        &["--faults", &FAULTS.to_string(), "--seed", &seed.to_string()],
    );
    let said = until(&mut child, "").await;
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "{said}");
    assert!(said.contains("everything held") && said.contains(&format!("faults: {FAULTS}")), "{said}");
}
