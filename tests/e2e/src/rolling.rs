//! A cluster that is restarted one process at a time, under load, from one program to another: `elanus migrate`, then the
//! services, old and new beside each other. What the old ones wrote and took is read, restored and compared by the new ones.

use crate::chaos::{
    SETTINGS,
    load::{self, Load},
    settle,
    world::World,
};
use crate::logs;
use crate::stack::{Stack, Wiring};
use anyhow::{Context as _, Result, bail};
use rand::{SeedableRng as _, rngs::StdRng};
use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// As `--filter` looks for it.
pub const NAME: &str = "rolling restart";
const SEED: u64 = 1;
/// After each restart the load must meet old and new ones beside each other.
const SERVED_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// Restarts all services from `old` to the program that was built with this test; `None`: from that one, too.
///
/// # Errors
/// When a promise is broken, or a process does not start or end; logs are kept below `logs`.
pub async fn restart(old: Option<&Path>, logs: &Path) -> Result<()> {
    let mut stack = Stack::start(Wiring::Direct, old, &SETTINGS).await?;
    let done = upgrade(&mut stack).await;
    if done.is_err() {
        eprintln!("logs: {}", logs::collect(logs, &stack.logs())?.display());
    }
    done
}

async fn upgrade(stack: &mut Stack) -> Result<()> {
    let world = Arc::new(World::new(&stack.proxies()));
    load::prepare(&world).await?;
    let load = Load::start(&world, StdRng::seed_from_u64(SEED))?;
    served(&world, "before the first restart").await?;
    while world.snapshots().is_empty() {
        served(&world, "before the first snapshot").await?;
    }
    stack.migrate(None).await?;
    served(&world, "with a new schema and old services").await?;
    for at in 0..stack.processes.len() {
        let process = &mut stack.processes[at];
        process.server.terminate().await.with_context(|| process.name.clone())?;
        process.server.use_program(None);
        process.server.restart().await.with_context(|| process.name.clone())?;
        let name = stack.processes[at].name.clone();
        served(&world, &format!("after the restart of {name}")).await?;
    }
    load.end(&world).await?;
    let found = settle::settle(&world, stack).await?;
    let (outage, _) = world.longest_outage();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    eprintln!(
        "{} writes, {} without an answer, {} snapshots, {} restores; longest time without service {:.1} s; {found:?}",
        count(&world.met.writes),
        count(&world.met.unknown),
        count(&world.met.snapshots),
        count(&world.met.clones) + count(&world.met.copies),
        outage.as_secs_f32(),
    );
    stack.terminate().await
}

/// Waits until the probe was served some times more.
async fn served(world: &World, when: &str) -> Result<()> {
    let until = Instant::now() + SERVED_MAX;
    let wanted = world.met.reads.load(Ordering::Relaxed) + 3;
    while world.met.reads.load(Ordering::Relaxed) < wanted {
        if Instant::now() > until {
            bail!("nobody was served for {SERVED_MAX:?} {when}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
