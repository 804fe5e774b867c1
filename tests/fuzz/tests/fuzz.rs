//! Hostile input, from seeds. Some in CI; `cargo xtask fuzz --seconds N --from S` runs as many others as fit into a time.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and may say where it is")]

use elanus_fuzz::{Finding, calls, files::Corpus, watch};
use elanus_testkit::settings;
use std::time::{Duration, Instant};

/// Seeds of a run in CI: worlds of 150 requests each, and files.
const WORLDS: u64 = 12;
const FILES: u64 = 30_000;

/// After so many nothing more is looked for.
const FINDINGS_MAX: u64 = 10;

/// Runs seeds: so many, or for as long as somebody asked.
fn seeds(count: u64, mut run: impl FnMut(u64) -> Result<(), Finding>) -> u64 {
    let (from, time) = settings::fuzz().unwrap();
    let started = Instant::now();
    let (mut done, mut found) = (0, 0);
    for seed in from.. {
        let enough = time.map_or(done >= count, |time| started.elapsed() >= time);
        if enough || found == FINDINGS_MAX {
            break;
        }
        if let Err(Finding(text)) = run(seed) {
            println!("{text}\nrepeat: cargo xtask fuzz --from {seed} --seconds 1\n");
            found += 1;
        }
        done += 1;
    }
    assert_eq!(found, 0, "findings, which are above");
    println!("{done} seeds from {from} on in {:.1?}", started.elapsed());
    done
}

#[test]
fn fz_1_to_fz_4_hold_for_every_request() {
    let _alone = watch::alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut met = calls::Met::new();
    let done = seeds(WORLDS, |seed| runtime.block_on(calls::run(seed, &mut met)));
    for (what, count) in &met {
        println!("{count:>8} {what}");
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
    // Requests that are all refused at the door would prove nothing.
    for service in ["MilvusService", "DataCoord", "DataNode", "QueryNode", "Admin"] {
        let of = |word: &str| met.get(&format!("{service}: {word}")).copied().unwrap_or_default();
        assert!(done < 10 || of("refused") > 0, "{service}: {met:?}");
        assert!(done < 10 || service != "MilvusService" || of("done") > 100, "{met:?}");
    }
}

#[test]
fn fz_1_to_fz_3_hold_for_every_file() {
    let _alone = watch::alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let corpus = runtime.block_on(Corpus::written()).unwrap();
    runtime.shutdown_timeout(Duration::from_secs(5));
    println!("{} files", corpus.is_read().unwrap());
    let mut whole = 0;
    let done = seeds(FILES, |seed| {
        whole += u64::from(corpus.run(seed)? > 0);
        Ok(())
    });
    println!("{whole} were taken for whole");
    assert!(done < 1_000 || (whole > 0 && whole < done), "{whole} of {done}");
}
