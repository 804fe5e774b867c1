//! `cargo xtask chaos`: faults on real servers under load, and what must hold afterwards.
//!
//! * [`oracle`]: what a writer was told, and what may be read then.
//! * [`faults`]: what goes wrong, from a seed.
//! * [`inflict`]: how it is made to go wrong.
//! * [`world`], [`load`]: whoever writes, reads, takes snapshots and restores meanwhile.
//! * [`settle`]: what must hold at the end.

pub mod faults;
pub mod inflict;
pub mod load;
pub mod oracle;
pub mod settle;
pub mod world;

use crate::logs;
use crate::stack::{Stack, Wiring};
use crate::table::table;
use anyhow::{Context as _, Result, ensure};
use inflict::Victim;
use load::Load;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use settle::Found;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::sleep;
use world::World;

/// Of so many faults, one begins before everything has recovered from the one before.
const AT_ONCE: f64 = 0.25;
/// What is dropped is deleted at once: a mistake of the collector shows within the run.
pub const SETTINGS: [(&str, &str); 7] = [
    ("ELANUS_TRASH_RETENTION", "0"),
    ("ELANUS_GC_DROP_TOLERANCE", "0"),
    ("ELANUS_GC_FIRST_RUN_PAUSE", "0"),
    ("ELANUS_COMPACTION_INTERVAL", "2s"),
    // The files are small, and shall be indexed.
    ("ELANUS_INDEX_ROWS_MIN", "20"),
    // Some snapshots are listed before their create is answered, and some after.
    ("ELANUS_SNAPSHOT_LISTED_MAX", "8"),
    ("ELANUS_LOG", "info"),
];

/// Messages that the report shows.
const SAID_MAX: usize = 20;

const HELP: &str = "\
Examples:
  cargo xtask chaos                  200 faults, about 20 minutes
  cargo xtask chaos --faults 12      the first of each sort, about a minute
  cargo xtask chaos --only s3        those of the S3 store
  cargo xtask chaos --seed 7         the faults and requests of an earlier run

Two of each service run on PostgreSQL, NATS and SeaweedFS; every connection between two of them goes through a proxy. Services
and servers are killed, stopped and restarted, connections are cut, refused, stalled and delayed, S3 answers 503, its disk
is full. Meanwhile rows are inserted, replaced and deleted, snapshots are taken, restored by clone and by copy and compared
by content, collections are rolled back, compacted and dropped; what is dropped is deleted at once.

Afterwards every acknowledged row must be there, every committed snapshot must restore to exactly its rows, no job may be
stuck, and the scrub must find nothing. The instants of faults are never quite the same, also with the same seed.

Exit codes:
  0    everything held
  1    something did not: the seed, and a folder with all logs, are printed
  2    the command line is wrong
  130  stopped by Ctrl-C";

/// Faults on real servers under load; then everything that was promised must hold.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "cargo xtask chaos", bin_name = "cargo xtask chaos", after_help = HELP)]
pub struct Args {
    /// How many faults.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub faults: u32,
    /// What faults and requests are chosen from; without it, another one each time.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only faults whose kind has this text, such as "s3" or "kill -9": see the report of a run.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub only: String,
    /// Where logs of a failed run are kept.
    #[arg(long, value_name = "DIR", hide = true)]
    pub logs: PathBuf,
}

/// Runs it; true when everything held.
///
/// # Errors
/// When the servers cannot be started.
pub async fn run(args: &Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(1..1_000_000));
    eprintln!("seed {seed}: {} faults", args.faults);
    let started = Instant::now();
    let mut victim = Victim::new(Stack::start(Wiring::Links, None, &SETTINGS).await?);
    let world = Arc::new(World::new(&victim.stack.proxies()));
    let mut met = BTreeMap::new();
    match attack(&mut victim, &world, args, seed, &mut met).await {
        Ok(found) => {
            eprintln!("\n{}", report(&victim, &world, &met, &found, started.elapsed()));
            eprintln!("everything held (seed {seed})");
            Ok(true)
        }
        Err(error) => {
            let mut logs = victim.stack.logs();
            logs.extend(victim.stack.metrics().await);
            let folder = logs::collect(&args.logs, &logs)?;
            eprintln!("\nFAILED: {error:#}\n\nlogs: {}", folder.display());
            eprintln!("again: cargo xtask chaos --faults {} --seed {seed}", args.faults);
            Ok(false)
        }
    }
}

async fn attack(
    victim: &mut Victim,
    world: &Arc<World>,
    args: &Args,
    seed: u64,
    met: &mut BTreeMap<String, u64>,
) -> Result<Found> {
    let mut rng = StdRng::seed_from_u64(seed);
    let places = victim.places();
    let faults = faults::plan(args.faults as usize, &args.only, &places, &mut rng);
    ensure!(!faults.is_empty(), "no fault has {:?} in its kind", args.only);
    load::prepare(world).await?;
    let mut load = Load::start(world, StdRng::from_rng(&mut rng))?;
    let began = Instant::now();
    for (number, fault) in faults.into_iter().enumerate() {
        let kind = fault.kind(&places);
        world.happens(&kind);
        let at = Instant::now();
        victim.inflict(fault).await.with_context(|| format!("fault {}: {fault:?}", number + 1))?;
        *met.entry(kind.clone()).or_default() += 1;
        let at_once = rng.random_bool(AT_ONCE);
        if !at_once {
            victim.recovered(world).await.with_context(|| format!("after fault {}: {fault:?}", number + 1))?;
        }
        eprintln!(
            "{:>6.1} s  {:>3}  {kind} ({:.1} s)",
            began.elapsed().as_secs_f32(),
            number + 1,
            at.elapsed().as_secs_f32()
        );
        load.goes_on()?;
        sleep(Duration::from_millis(rng.random_range(0..1_000))).await;
    }
    world.happens("nothing");
    victim.recovered(world).await.context("after the last fault")?;
    load.end(world).await?;
    settle::settle(world, &victim.stack).await
}

fn report(victim: &Victim, world: &World, met: &BTreeMap<String, u64>, found: &Found, took: Duration) -> String {
    let rows = |counts: &BTreeMap<String, u64>| -> Vec<Vec<String>> {
        counts.iter().map(|(name, count)| vec![name.clone(), count.to_string()]).collect()
    };
    let said: Vec<Vec<String>> =
        world.said().into_iter().take(SAID_MAX).map(|(text, times)| vec![times.to_string(), text]).collect();
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (outage, after) = world.longest_outage();
    let counts = &world.met;
    let operations = [
        ("writes acknowledged", of(&counts.writes)),
        ("writes refused", of(&counts.refused)),
        ("outcomes unknown, all requests", of(&counts.unknown)),
        ("unknown writes that were done", found.unknown[0]),
        ("unknown writes that were not", found.unknown[1]),
        ("snapshots taken", of(&counts.snapshots)),
        ("snapshots dropped", of(&counts.snapshot_drops)),
        ("unknown snapshots that are there", found.unsure as u64),
        ("restores by clone compared", of(&counts.clones)),
        ("restores by copy compared", of(&counts.copies)),
        ("rollbacks compared", of(&counts.rollbacks)),
        ("reads of the probe compared", of(&counts.reads)),
        ("compactions asked for", of(&counts.compactions)),
        ("collections dropped", of(&counts.drops)),
        ("rows at the end", found.rows as u64),
        ("snapshots at the end", found.snapshots as u64),
        ("objects at the end, all right", found.objects.unsigned_abs()),
        ("objects written after they were given up", found.late as u64),
    ];
    let operations = operations.map(|(name, count)| vec![name.to_owned(), count.to_string()]);
    let total: u64 = met.values().sum();
    let harmed: u64 = victim
        .stack
        .processes
        .iter()
        .filter_map(|process| process.links.as_ref())
        .map(|links| {
            [&links.inbound, &links.postgres, &links.s3, &links.nats].map(|link| link.counts().1).iter().sum::<u64>()
        })
        .sum();
    format!(
        "{}\n\n{}\n\n{}\n\n{}\n\nfaults: {total}; connections cut, refused or delayed: {harmed}\nlongest time without service: {:.1} s, after: {after}\nin {:.0} s",
        table(&["fault", "times"], &rows(met)),
        table(&["what", "times"], &operations),
        table(&["ended by itself, and was started again", "times"], &rows(&victim.ended)),
        table(&["times", "clients were told"], &said),
        outage.as_secs_f32(),
        took.as_secs_f32(),
    )
}
