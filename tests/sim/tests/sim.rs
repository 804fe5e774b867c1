//! The simulation, from seeds. A few in CI, 200 with `ELANUS_TEST_FULL=1`; `cargo xtask sim --seeds N --from S` runs others.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and may say where it is")]

use elanus_sim::{Outcome, run};
use elanus_testkit::settings;
use std::{collections::BTreeMap, thread, time::Instant};

/// Seeds that failed once: they always run. With the change of an operation a seed means another run; it stays all the same.
const REGRESSIONS: &str = include_str!("regressions.txt");

/// What a run that proves something has met: name, and how often in ten seeds at least.
const LEAST: &[(&str, u64)] = &[
    ("runs to the end", 10),
    ("insert: done", 50),
    ("upsert: done", 50),
    ("delete: done", 10),
    ("create-snapshot: done", 40),
    ("create-snapshot: refused", 1),
    ("drop-snapshot: done", 5),
    ("pin: done", 5),
    ("rollback: done", 5),
    ("restore by copy: completed", 10),
    ("restore by clone: completed", 5),
    ("drop-collection: done", 2),
    ("trash-restore: done", 1),
    ("detach: done", 5),
    ("compact: done", 10),
    ("compaction: completed", 50),
    ("compaction: void", 1),
    ("gc-run: done", 10),
    ("gc-pause: done", 3),
    ("gc-hold: done", 3),
    ("gc-undo: done", 1),
    ("an object is deleted", 100),
    ("the bucket is empty at the end", 10),
    ("query: done", 40),
    ("query-inside: done", 40),
    ("starts", 20),
    ("fault: a process is killed", 5),
    ("fault: a process stands still", 5),
    ("fault: two coordinators overlap", 5),
    ("fault: an event is lost", 10),
    ("fault: ErrorAfter of a transaction", 5),
    ("fault: a request to the object store arrives late", 2),
];

fn regressions() -> Vec<u64> {
    let lines = REGRESSIONS.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().unwrap()).collect()
}

/// Two at a time; in the order of the seeds.
fn run_all(seeds: &[u64]) -> Vec<(u64, Outcome)> {
    let half = |first: usize| -> Vec<(u64, Outcome)> {
        seeds.iter().skip(first).step_by(2).map(|seed| (*seed, run(*seed))).collect()
    };
    let (mut outcomes, others) = thread::scope(|scope| {
        let others = scope.spawn(|| half(1));
        (half(0), others.join().unwrap())
    });
    outcomes.extend(others);
    outcomes.sort_by_key(|(seed, _)| *seed);
    outcomes
}

fn failed(seed: u64, outcome: &Outcome, why: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("sim-{seed}.trace"));
    std::fs::write(&file, outcome.trace.join("\n")).unwrap();
    format!(
        "seed {seed}: {why}\n  trace: {}\n  repeat: cargo xtask sim --seeds 1 --from {seed}\n  \
         keep: add {seed} to tests/sim/tests/regressions.txt",
        file.display()
    )
}

#[test]
fn d_1_s_1_s_2_s_3_r_1_r_2_r_3_r_4_o_1_g_1_g_2_i_1_to_9_hold_for_every_seed() {
    let (from, count) = settings::sim_seeds().unwrap();
    let seeds: Vec<u64> = regressions().into_iter().chain(from..from + count).collect();
    let started = Instant::now();
    let mut met: BTreeMap<String, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    for (seed, outcome) in run_all(&seeds) {
        if let Some(why) = &outcome.broken {
            let text = failed(seed, &outcome, why);
            println!("{text}");
            failures.push(text);
        }
        for (what, count) in outcome.met {
            *met.entry(what).or_default() += count;
        }
    }
    println!("{} seeds in {:.1?}:", seeds.len(), started.elapsed());
    for (what, count) in &met {
        println!("{count:>8} {what}");
    }
    assert!(failures.is_empty(), "{} of {} seeds failed:\n{}", failures.len(), seeds.len(), failures.join("\n"));
    for (what, least) in LEAST {
        let least = least * count / 10;
        let found = met.get(*what).copied().unwrap_or_default();
        assert!(found >= least, "a simulation without it proves nothing: {what}, {found} of at least {least}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let seed = 1_000_001;
    let (first, second) = (run(seed), run(seed));
    let differs = first.trace.iter().zip(&second.trace).position(|(a, b)| a != b);
    let at = differs.or((first.trace.len() != second.trace.len()).then_some(first.trace.len().min(second.trace.len())));
    if let Some(at) = at {
        let around =
            |outcome: &Outcome| outcome.trace[at.saturating_sub(5)..].iter().take(8).cloned().collect::<Vec<_>>();
        panic!("seed {seed}: line {at}\n{}\nor\n{}", around(&first).join("\n"), around(&second).join("\n"));
    }
    assert!(first.trace.len() > 1_000, "{} lines", first.trace.len());
}
