//! Does what a fault says to the stack, and undoes it. What ended is started again, as a supervisor does.

use super::faults::{Fault, Places, Side, Stop};
use super::world::World;
use crate::stack::Stack;
use anyhow::{Context as _, Result, bail};
use elanus_testkit::{Link, PostgresStop, Signal, Trouble};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// So long after the end of a fault somebody must be served, and everybody must be ready.
const RECOVERY_MAX: Duration = Duration::from_secs(90);
/// A standby takes over after about seven seconds; when the metadata are away as well, later.
const TAKE_OVER_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// A process that cannot start is not started more often than that.
const START_AGAIN: Duration = Duration::from_millis(700);
/// Times that a process may end while it starts, before that is called a failure.
const STARTS_MAX: u32 = 60;
/// Exit code of a program that panicked.
const PANICKED: i32 = 101;

/// The stack under faults.
#[derive(Debug)]
pub struct Victim {
    /// What it is done to.
    pub stack: Stack,
    /// How often a process ended without having been killed, by name and exit code.
    pub ended: BTreeMap<String, u64>,
    started: Vec<(Instant, u32)>,
}

impl Victim {
    /// A stack with links.
    #[must_use]
    pub fn new(stack: Stack) -> Self {
        let started = vec![(Instant::now(), 0); stack.processes.len()];
        Self { stack, ended: BTreeMap::new(), started }
    }

    /// What there is.
    #[must_use]
    pub fn places(&self) -> Places {
        let kinds = self.stack.processes.iter().map(|process| process.kind).collect();
        Places { kinds, can_be_full: self.stack.disk.is_some() }
    }

    /// Does it, waits as long as it lasts, and undoes it.
    ///
    /// # Errors
    /// When a process does not do what it must: start, or end.
    pub async fn inflict(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Kill(service, down) => self.kill(&[service], down).await?,
            Fault::KillActive(down) => {
                let active = self.active().await?;
                self.kill(&[active], down).await?;
            }
            Fault::KillKind(kind, down) => {
                let all = self.stack.of(kind);
                self.kill(&all, down).await?;
            }
            Fault::Terminate(service) => self.terminate(service).await?,
            Fault::Pause(service, time) => {
                self.signal(service, Signal::Stop)?;
                sleep(time).await;
                self.signal(service, Signal::Continue)?;
            }
            Fault::PauseActive => self.pause_active().await?,
            Fault::Postgres(stop, down) => {
                let how = match stop {
                    Stop::Fast => PostgresStop::Fast,
                    Stop::Immediate => PostgresStop::Immediate,
                    Stop::Kill => PostgresStop::Kill,
                };
                // It waits without giving way.
                tokio::task::block_in_place(|| self.stack.postgres.stop_by(how));
                sleep(down).await;
                tokio::task::block_in_place(|| self.stack.postgres.start_again())?;
            }
            Fault::KillS3(down) => {
                self.stack.s3.kill9()?;
                sleep(down).await;
                self.stack.s3.restart().await?;
            }
            Fault::KillNats(down) => {
                self.stack.nats.kill9();
                sleep(down).await;
                self.stack.nats.start_again().await?;
            }
            Fault::Cut(service, side) => self.link(service, side)?.cut(),
            Fault::Refuse(service, side, time) => self.trouble(service, side, Trouble::Refused, time).await?,
            Fault::Stall(service, side, time) => self.trouble(service, side, Trouble::Stalled, time).await?,
            Fault::Late(service, side, time, by) => self.trouble(service, side, Trouble::Late(by), time).await?,
            Fault::Busy(time) => {
                let links = || self.stack.processes.iter().filter_map(|process| process.links.as_ref());
                links().for_each(|links| links.s3.trouble(Trouble::Busy));
                sleep(time).await;
                links().for_each(|links| links.s3.trouble(Trouble::None));
            }
            Fault::Full(time) => {
                let disk = self.stack.disk.as_ref().context("there is no disk that can be full")?;
                let filler = disk.fill("filler")?;
                sleep(time).await;
                std::fs::remove_file(filler)?;
            }
        }
        Ok(())
    }

    /// Waits until the probe was served after now, and every process is ready.
    ///
    /// # Errors
    /// When that takes too long, or a process cannot be started.
    pub async fn recovered(&mut self, world: &World) -> Result<()> {
        let since = Instant::now();
        loop {
            let away = self.supervise()?;
            if away == 0 && world.last_served() > since {
                return Ok(());
            }
            if since.elapsed() > RECOVERY_MAX {
                let waiting = world.waiting();
                bail!(
                    "nobody was served for {RECOVERY_MAX:?} after the fault ended ({waiting}), or {away} processes are not there"
                );
            }
            sleep(LOOK).await;
        }
    }

    /// Starts what ended, as a supervisor does; how many are away.
    fn supervise(&mut self) -> Result<usize> {
        let mut away = 0;
        for at in 0..self.stack.processes.len() {
            let process = &mut self.stack.processes[at];
            if let Some(code) = process.server.ended_with() {
                let code = code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
                *self.ended.entry(format!("{} with {code}", process.kind)).or_default() += 1;
                if code == PANICKED.to_string() {
                    bail!("{} panicked: see its log", process.name);
                }
            }
            let (last, starts) = &mut self.started[at];
            if process.server.is_started() {
                if last.elapsed() > START_AGAIN * 4 {
                    *starts = 0;
                }
                continue;
            }
            away += 1;
            if last.elapsed() > START_AGAIN {
                *starts += 1;
                if *starts > STARTS_MAX {
                    bail!("{} was started {STARTS_MAX} times and does not stay", process.name);
                }
                process.server.begin()?;
                *last = Instant::now();
            }
        }
        Ok(away)
    }

    fn signal(&mut self, service: usize, signal: Signal) -> Result<()> {
        let server = &mut self.stack.processes[service].server;
        // It may have ended by itself meanwhile.
        if server.is_started() { server.signal(signal) } else { Ok(()) }
    }

    fn link(&self, service: usize, side: Side) -> Result<&Link> {
        let links = self.stack.processes[service].links.as_ref().context("the stack has no links")?;
        Ok(match side {
            Side::Inbound => &links.inbound,
            Side::Postgres => &links.postgres,
            Side::S3 => &links.s3,
            Side::Nats => &links.nats,
        })
    }

    async fn trouble(&self, service: usize, side: Side, trouble: Trouble, time: Duration) -> Result<()> {
        let link = self.link(service, side)?;
        link.trouble(trouble);
        sleep(time).await;
        link.trouble(Trouble::None);
        Ok(())
    }

    async fn kill(&mut self, services: &[usize], down: Duration) -> Result<()> {
        for &service in services {
            let process = &mut self.stack.processes[service];
            if let Some(code) = process.server.ended_with() {
                *self.ended.entry(format!("{} with {code:?}", process.kind)).or_default() += 1;
            }
            if process.server.is_started() {
                process.server.kill9()?;
            }
        }
        sleep(down).await;
        self.supervise().map(drop)
    }

    async fn terminate(&mut self, service: usize) -> Result<()> {
        let process = &mut self.stack.processes[service];
        if process.server.ended_with().is_none() && process.server.is_started() {
            process.server.signal(Signal::Terminate)?;
            let code = process.server.wait().await?;
            // 1: it found out meanwhile that another coordinator took over.
            if code != Some(0) && !(process.kind == "datacoord" && code == Some(1)) {
                bail!("{} ended with {code:?} after SIGTERM", process.name);
            }
        }
        self.supervise().map(drop)
    }

    /// The active coordinator, once there is one.
    async fn active(&mut self) -> Result<usize> {
        let since = Instant::now();
        loop {
            self.supervise()?;
            match self.stack.active().await {
                Ok(at) => return Ok(at),
                Err(status) if since.elapsed() > TAKE_OVER_MAX => bail!("no coordinator is active: {status}"),
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    async fn pause_active(&mut self) -> Result<()> {
        let paused = self.active().await?;
        self.signal(paused, Signal::Stop)?;
        let since = Instant::now();
        let mut successor = Err("nobody looked".to_owned());
        while since.elapsed() < TAKE_OVER_MAX {
            successor = self.stack.active().await;
            if successor.as_ref().is_ok_and(|&at| at != paused) {
                break;
            }
            sleep(LOOK).await;
        }
        self.signal(paused, Signal::Continue)?;
        match successor {
            Ok(at) if at != paused => Ok(()),
            other => bail!("nobody took over from a coordinator that stands still: {other:?}"),
        }
    }
}
