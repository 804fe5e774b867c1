//! Elanus beside milvus-lite: the same script of pymilvus, first against the one, then against the other, each alone on the
//! machine in a process of its own. The script is `tests/bench/peer.py`; what its figures mean is in `docs/benchmarks.md`.

use crate::report::Figure;
use anyhow::{Context as _, Result, bail};
use elanus_testkit::{Server, free_port, wait_for};
use serde_json::Value;
use std::{
    fs::File,
    net::TcpStream,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peer.py");
const START_MAX: Duration = Duration::from_secs(120);

/// How much the script does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerSizes {
    /// Rows of 128 dimensions.
    pub(crate) rows: usize,
    /// Rows of 768 dimensions.
    pub(crate) wide_rows: usize,
    /// Searches of each kind, and queries.
    pub(crate) searches: usize,
}

/// What stands where in the answer of the script: the figure, the place, the unit.
const FIGURES: [(&str, &str, &str); 19] = [
    ("insert, 128 dimensions, 1,000 rows a request", "/insert_128", "rows/s"),
    ("insert, 768 dimensions, 1,000 rows a request", "/insert_768", "rows/s"),
    ("flush, and until everything is indexed", "/settle_s", "s"),
    ("search", "/search/qps", "searches/s"),
    ("search, median", "/search/p50_ms", "ms"),
    ("search, p99", "/search/p99_ms", "ms"),
    ("search, recall", "/search/recall", ""),
    ("search, 1 % of the rows pass", "/filtered_1/qps", "searches/s"),
    ("search, 1 % of the rows pass, p99", "/filtered_1/p99_ms", "ms"),
    ("search, 1 % of the rows pass, recall", "/filtered_1/recall", ""),
    ("search, 10 % of the rows pass", "/filtered_10/qps", "searches/s"),
    ("search, 10 % of the rows pass, p99", "/filtered_10/p99_ms", "ms"),
    ("search, 10 % of the rows pass, recall", "/filtered_10/recall", ""),
    ("search, 50 % of the rows pass", "/filtered_50/qps", "searches/s"),
    ("search, 50 % of the rows pass, p99", "/filtered_50/p99_ms", "ms"),
    ("search, 50 % of the rows pass, recall", "/filtered_50/recall", ""),
    ("query by key", "/by_key/qps", "queries/s"),
    ("query by key, p99", "/by_key/p99_ms", "ms"),
    ("memory of a million vectors", "/memory_mib_per_million", "MiB"),
];

/// `python` has pymilvus, numpy and milvus-lite.
pub(crate) async fn measure(python: &Path, sizes: PeerSizes) -> Result<Vec<Figure>> {
    let mut server = Server::start().await?;
    let ours = drive(python, &server.url(), server.pid()?, sizes).await?;
    server.terminate().await?;
    let lite = Lite::start(python).await?;
    let theirs = drive(python, &lite.url(), lite.process.id(), sizes).await?;
    FIGURES.iter().map(|(what, place, unit)| figure(what, place, unit, &ours, &theirs)).collect()
}

fn figure(what: &str, place: &str, unit: &'static str, ours: &Value, theirs: &Value) -> Result<Figure> {
    let number = |all: &Value| all.pointer(place).and_then(Value::as_f64).with_context(|| format!("no {place}: {all}"));
    Ok(Figure::new(format!("peer: {what}"), number(ours)?, unit).beside("milvus-lite", number(theirs)?))
}

async fn drive(python: &Path, url: &str, pid: u32, sizes: PeerSizes) -> Result<Value> {
    let numbers = [pid as usize, sizes.rows, sizes.wide_rows, sizes.searches].map(|number| number.to_string());
    let mut script = tokio::process::Command::new(python);
    let output = script.arg(SCRIPT).arg(url).args(numbers).output().await?;
    if !output.status.success() {
        bail!("the script failed at {url}:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("the script printed something else than figures")
}

/// milvus-lite as a server; ends with its value.
struct Lite {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Lite {
    async fn start(python: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let log = File::create(folder.path().join("log"))?;
        let process = Command::new(python)
            .args(["-m", "milvus_lite", "server", "--port", &port.to_string(), "--data-dir"])
            .arg(folder.path().join("data"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start milvus-lite")?;
        let lite = Self { process, port, _folder: folder };
        wait_for("milvus-lite", START_MAX, async || TcpStream::connect(("127.0.0.1", port))).await;
        Ok(lite)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Lite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
