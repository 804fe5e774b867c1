//! `elanus-bench`: what Elanus costs. Every figure stands beside a peer or a limit of the machine that is measured in the
//! same run: a figure alone says more about the machine than about Elanus. Started by `cargo xtask bench`; never by CI.
//!
//! What each line means is in `docs/benchmarks.md`.

mod collector;
mod copies;
mod memory;
mod peer;
mod renewal;
mod report;
mod snapshots;
mod statements;
mod wire;
mod world;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use peer::PeerSizes;
use report::{Figure, Report};
use std::path::PathBuf;

/// Measures Elanus.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Args {
    /// Only measurements whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Small sizes: a look at whether everything runs.
    #[arg(long)]
    quick: bool,
    /// How to print.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// A Python with pymilvus, numpy and milvus-lite; without one Elanus is not measured beside milvus-lite.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Used by the measurement of memory, in a process of its own: restores so many files.
    #[arg(long, hide = true, value_name = "FILES")]
    restore_and_tell_memory: Option<i64>,
    /// Used by the measurement of scans, in a process of its own: scans so many keys.
    #[arg(long, hide = true, value_name = "KEYS")]
    scan_and_tell_memory: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// How much to measure.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Files of the collections that are snapshotted and cloned.
    collections: &'static [i64],
    /// Large files to copy: how many, and bytes of each.
    large: (i64, usize),
    /// Small files to copy.
    small: (i64, usize),
    /// Files that are restored while memory is measured.
    memory_files: i64,
    /// Objects in the deletion queue.
    drain: i64,
    /// Keys of a small and a large scan.
    scans: (i64, i64),
    /// Rows to insert and search, and searches.
    rows: usize,
    searches: usize,
    /// Beside milvus-lite.
    peer: PeerSizes,
}

const FULL: Sizes = Sizes {
    collections: &[100, 1_000, 10_000, 100_000],
    large: (64, 64 << 20),
    small: (10_000, 1 << 10),
    memory_files: 100_000,
    drain: 10_000,
    scans: (10_000, 100_000),
    rows: 100_000,
    searches: 200,
    peer: PeerSizes { rows: 100_000, wide_rows: 20_000, searches: 1_000 },
};
const QUICK: Sizes = Sizes {
    collections: &[100, 1_000],
    large: (8, 8 << 20),
    small: (500, 1 << 10),
    memory_files: 1_000,
    drain: 500,
    scans: (500, 2_500),
    rows: 5_000,
    searches: 20,
    peer: PeerSizes { rows: 5_000, wide_rows: 2_000, searches: 50 },
};

#[tokio::main]
async fn main() -> Result<()> {
    statements::listen();
    let args = Args::parse();
    if let Some(files) = args.restore_and_tell_memory {
        return memory::restore_and_tell(files).await;
    }
    if let Some(files) = args.scan_and_tell_memory {
        return collector::scan_and_tell(files).await;
    }
    if cfg!(debug_assertions) && !args.quick {
        bail!("figures of a debug build mean nothing: run cargo xtask bench, which builds for release, or add --quick");
    }
    let sizes = if args.quick { QUICK } else { FULL };
    let wanted = |name: &str| name.contains(&args.filter);
    let mut figures: Vec<Figure> = Vec::new();
    for files in sizes.collections.iter().filter(|_| wanted("snapshot")) {
        figures.extend(snapshots::measure(*files).await?);
    }
    if wanted("gc") {
        for files in sizes.collections {
            figures.extend(collector::drops(*files).await?);
        }
        figures.extend(collector::drain(sizes.drain).await?);
        figures.extend(collector::idle().await?);
        figures.extend(collector::scans(sizes.scans).await?);
        figures.extend(renewal::measure().await?);
    }
    if wanted("copy") {
        figures.extend(copies::measure("large files", sizes.large).await?);
        figures.extend(copies::measure("small files", sizes.small).await?);
    }
    if wanted("memory") {
        figures.extend(memory::measure(sizes.memory_files).await?);
    }
    if wanted("wire") {
        figures.extend(wire::measure(sizes.rows, sizes.searches).await?);
    }
    if let Some(python) = args.python.as_deref().filter(|_| wanted("peer")) {
        figures.extend(peer::measure(python, sizes.peer).await?);
    }
    if figures.is_empty() {
        let filter = &args.filter;
        bail!("no measurement is called {filter}: there are snapshot, gc, copy, memory, wire, and peer with --python");
    }
    let report = Report::of_this_machine(args.quick, figures);
    match args.output {
        Output::Table => report.print_table(),
        Output::Json => report.print_json()?,
    }
    Ok(())
}
