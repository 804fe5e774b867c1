//! The servers and the services of one cluster, each a process. All of it ends with the value.

use anyhow::{Context as _, Result, bail};
use elanus_testkit::{Ended, Link, Mount, Nats, Postgres, S3Server, S3User, Server, elanus, elanus_of, get, wait_for};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// What is started, and how many of each, in this order.
pub const SERVICES: [(&str, usize); 4] = [("datacoord", 2), ("datanode", 2), ("querynode", 2), ("proxy", 2)];

const ROOT: &str = "some/root";
/// The disk of the store, where it can be full: room for everything that a run writes, many times over.
const DISK_MIB: u32 = 256;
const SOON: Duration = Duration::from_secs(60);

/// How the parts reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// Directly.
    Direct,
    /// Through a [`Link`] for each pair, and with a small disk for the objects.
    Links,
}

/// One service.
#[derive(Debug)]
pub struct Process {
    /// `datacoord`, …
    pub kind: &'static str,
    /// `datacoord-0`, …
    pub name: String,
    /// The process.
    pub server: Server,
    /// See [`Wiring::Links`].
    pub links: Option<Links>,
}

/// The connections of one service.
#[derive(Debug)]
pub struct Links {
    /// From everybody who calls it.
    pub inbound: Link,
    /// To the metadata.
    pub postgres: Link,
    /// To the objects.
    pub s3: Link,
    /// To the events.
    pub nats: Link,
}

impl Process {
    /// Where clients and other services reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.links.as_ref().map_or_else(|| self.server.listen(), |links| links.inbound.address())
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

/// See the module. Services end before the servers that they need.
#[derive(Debug)]
pub struct Stack {
    /// The services that were started.
    pub processes: Vec<Process>,
    /// The metadata.
    pub postgres: Postgres,
    /// The objects.
    pub s3: S3Server,
    /// The events.
    pub nats: Nats,
    /// The disk of the objects, where this process may mount one.
    pub disk: Option<Mount>,
    bucket: String,
    wiring: Wiring,
    /// The program that the metadata are of; `None`: the one that was built with this test.
    migrated: Option<PathBuf>,
    _home: TempDir,
}

impl Stack {
    /// Starts PostgreSQL, NATS and the S3 store, makes a bucket, and migrates the metadata. No service is started.
    ///
    /// # Errors
    /// When one of them is not installed or does not start.
    pub async fn servers(wiring: Wiring, program: Option<&Path>) -> Result<Self> {
        let home = TempDir::with_prefix("elanus-e2e-").context("cannot make a directory for the servers")?;
        let postgres = Postgres::start_on_tcp()?;
        let (s3, disk) = store(wiring, home.path()).await?;
        let bucket = s3.bucket().await?;
        let nats = Nats::start().await?;
        let processes = Vec::new();
        let mut stack = Self { processes, postgres, s3, nats, disk, bucket, wiring, migrated: None, _home: home };
        stack.migrate(program).await?;
        Ok(stack)
    }

    /// The same, and starts [`SERVICES`] with these settings.
    ///
    /// # Errors
    /// When something does not start; with its log.
    pub async fn start(wiring: Wiring, program: Option<&Path>, settings: &[(&str, &str)]) -> Result<Self> {
        let mut stack = Self::servers(wiring, program).await?;
        for (kind, count) in SERVICES {
            for number in 0..count {
                let process = stack.process(kind, number, program, settings).await?;
                stack.processes.push(process);
            }
        }
        stack.coordinated().await;
        Ok(stack)
    }

    /// Brings the metadata up to a program; `None`: the one that was built with this test.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn migrate(&mut self, program: Option<&Path>) -> Result<()> {
        self.migrated = program.map(Path::to_owned);
        let ended = self.elanus(&["migrate", "--meta", &self.postgres.url()]).await?;
        if ended.code == Some(0) { Ok(()) } else { bail!("elanus migrate: {ended:?}") }
    }

    /// Runs the program that the metadata are of: a newer one would wait until they are migrated.
    async fn elanus(&self, args: &[&str]) -> Result<Ended> {
        match &self.migrated {
            None => elanus(args).await,
            Some(program) => elanus_of(program, args).await,
        }
    }

    async fn process(
        &self,
        kind: &'static str,
        number: usize,
        program: Option<&Path>,
        further: &[(&str, &str)],
    ) -> Result<Process> {
        let links = match self.wiring {
            Wiring::Direct => None,
            Wiring::Links => {
                let postgres = self.postgres.address().context("PostgreSQL listens on a socket only")?;
                Some(Links {
                    inbound: Link::open().await?,
                    postgres: Link::to(postgres).await?,
                    s3: Link::to(self.s3.address()).await?,
                    nats: Link::to(self.nats.address()).await?,
                })
            }
        };
        let mut settings = self.settings(links.as_ref());
        settings.extend(further.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let advertise = links.as_ref().map(|links| links.inbound.address().to_string());
        let flags: Vec<&str> = advertise.iter().flat_map(|address| ["--advertise", address.as_str()]).collect();
        let server = match program {
            None => Server::start_service(kind, &flags, settings).await?,
            Some(program) => Server::start_service_of(program, kind, &flags, settings).await?,
        };
        if let Some(links) = &links {
            links.inbound.aim(server.listen());
        }
        Ok(Process { kind, name: format!("{kind}-{number}"), server, links })
    }

    /// What a service is told about the servers.
    fn settings(&self, links: Option<&Links>) -> Vec<(String, String)> {
        let (s3, meta, nats) = match links {
            None => (self.s3.address(), self.postgres.url(), self.nats.address()),
            Some(links) => {
                let meta = Postgres::url_at(links.postgres.address(), "elanus");
                (links.s3.address(), meta, links.nats.address())
            }
        };
        let mut settings = self.s3.settings_through(s3, &self.bucket, ROOT, S3User::Writer);
        settings.push(("ELANUS_META".to_owned(), meta));
        settings.push(("ELANUS_EVENTS_URL".to_owned(), format!("nats://{nats}")));
        settings
    }

    /// Waits until a coordinator is active.
    pub async fn coordinated(&self) {
        wait_for("an active coordinator", SOON, async || self.active().await).await;
    }

    /// The name of the active coordinator, as the metadata has it.
    ///
    /// # Errors
    /// What is there instead.
    pub async fn active(&self) -> Result<usize, String> {
        let status = self.status().await.map_err(|error| format!("{error:#}"))?;
        let services = status["services"].as_array().map(Vec::as_slice).unwrap_or_default();
        let active = services.iter().find(|service| service["state"] == "active");
        let address = active.and_then(|active| active["address"].as_str()).unwrap_or_default();
        let at = self.processes.iter().position(|process| process.address().to_string() == address);
        at.ok_or_else(|| format!("{status:#}"))
    }

    /// What `elanus ctl status` says from the metadata, whoever is away.
    ///
    /// # Errors
    /// When the metadata are away.
    pub async fn status(&self) -> Result<serde_json::Value> {
        let ended = self.elanus(&["ctl", "status", "--meta", &self.postgres.url(), "--output", "json"]).await?;
        serde_json::from_str(&ended.stdout).with_context(|| format!("{ended:?}"))
    }

    /// Processes of one kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> Vec<usize> {
        (0..self.processes.len()).filter(|&at| self.processes[at].kind == kind).collect()
    }

    /// Where clients connect to.
    #[must_use]
    pub fn proxies(&self) -> Vec<String> {
        self.of("proxy").into_iter().map(|at| self.processes[at].url()).collect()
    }

    /// What everything wrote, by name.
    #[must_use]
    pub fn logs(&self) -> Vec<(String, String)> {
        let services = self.processes.iter().map(|process| (process.name.clone(), process.server.log()));
        let servers = [("postgres", self.postgres.log()), ("s3", self.s3.log()), ("nats", self.nats.log())];
        services.chain(servers.map(|(name, log)| (name.to_owned(), log))).collect()
    }

    /// The metrics and the tasks of every service that answers.
    pub async fn metrics(&self) -> Vec<(String, String)> {
        let mut pages = Vec::new();
        for process in &self.processes {
            for page in ["metrics", "tasks"] {
                if let Ok((_, text)) = get(process.server.management(), &format!("/{page}")).await {
                    pages.push((format!("{}-{page}", process.name), text));
                }
            }
        }
        pages
    }

    /// Ends the services in good order, the coordinators last.
    ///
    /// # Errors
    /// When one ends with another exit code than 0.
    pub async fn terminate(&mut self) -> Result<()> {
        for process in self.processes.iter_mut().rev() {
            process.server.terminate().await.with_context(|| process.name.clone())?;
        }
        Ok(())
    }
}

async fn store(wiring: Wiring, home: &Path) -> Result<(S3Server, Option<Mount>)> {
    if wiring == Wiring::Direct {
        return Ok((S3Server::start().await?, None));
    }
    let volumes: PathBuf = home.join("volumes");
    std::fs::create_dir(&volumes)?;
    let disk = Mount::small(DISK_MIB, &volumes);
    Ok((S3Server::start_with_volumes_in(&volumes).await?, disk))
}
