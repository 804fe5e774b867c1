//! `elanus standalone`: all services in one process, on embedded parts.
//!
//! Order of the start: command line, both listeners, the guard of the directory, metadata, services. A step that refuses
//! leaves everything as it was.

mod args;
mod ground;
mod milvus_gc;
mod wiring;

pub(crate) use args::StandaloneArgs;

use crate::config::Layers;
use anyhow::anyhow;
use elanus_meta::MetaError;
use elanus_objects::{Ownership, RootError, ownership};
use elanus_runtime::{
    grpc::{self, BindError, GrpcConfig},
    management, shutdown, telemetry,
};
use elanus_types::SystemClock;
use std::{
    io::Write as _,
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wiring::Services;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the process did not start or did not go on, by what has to change.
#[derive(Debug)]
enum StartError {
    /// The command line.
    Usage(anyhow::Error),
    /// The environment: an address, a directory, a version. Nothing was touched.
    Refused(anyhow::Error),
    /// A person must look.
    Failed(anyhow::Error),
}

impl StartError {
    /// The numbers that `--help` promises.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
        }
    }

    fn into_error(self) -> anyhow::Error {
        match self {
            Self::Usage(error) | Self::Refused(error) | Self::Failed(error) => error,
        }
    }

    fn error(&self) -> &anyhow::Error {
        match self {
            Self::Usage(error) | Self::Refused(error) | Self::Failed(error) => error,
        }
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<RootError> for StartError {
    fn from(error: RootError) -> Self {
        match error {
            RootError::Io { .. } => Self::Failed(error.into()),
            _ => Self::Refused(error.into()),
        }
    }
}

impl From<ownership::StartError> for StartError {
    fn from(error: ownership::StartError) -> Self {
        match error {
            ownership::StartError::Refused { .. } => Self::Refused(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<MetaError> for StartError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Newer { .. } | MetaError::Refused(_) => Self::Refused(error.into()),
            MetaError::BadUrl(_) => Self::Usage(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

pub(crate) async fn run(args: StandaloneArgs, layers: &Layers) -> ExitCode {
    match serve(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", layers.explain(&format!("{:#}", error.error())));
            ExitCode::from(error.exit_code())
        }
    }
}

async fn serve(args: &StandaloneArgs) -> Result<(), StartError> {
    let started = Instant::now();
    telemetry::start(&args.log, args.log_format.into()).map_err(|error| StartError::Failed(error.into()))?;
    let plan = args.plan()?;
    if let Some(file) = args.config_file() {
        tracing::info!(file = %file.display(), "configured");
    }
    let listener = grpc::bind(args.listen, "--listen").await?;
    let management_listener = grpc::bind(args.management, "--management").await?;
    let address =
        |listener: &tokio::net::TcpListener| listener.local_addr().map_err(|error| StartError::Failed(error.into()));
    let (listen, manage) = (address(&listener)?, address(&management_listener)?);
    let stop = shutdown::on_signals().map_err(|error| StartError::Failed(error.into()))?;

    let services = Services::start(&plan, Arc::new(SystemClock)).await?;
    let management = services.management(VERSION);
    let stop_management = CancellationToken::new();
    let mut api = tokio::spawn(grpc::serve(listener, services.routes(), GrpcConfig::default(), stop.clone()));
    let probes = tokio::spawn(management::serve(management_listener, management.clone(), stop_management.clone()));
    management.set_ready(true);
    announce(listen, manage, &services.data(), started.elapsed());

    // The API ends before it was asked to only when it failed.
    let ownership = services.ownership().cloned();
    let mut taken_over = None;
    let failed = tokio::select! {
        ended = &mut api => Some(ended),
        () = stop.cancelled() => None,
        () = services.fenced() => {
            taken_over = Some(anyhow!(
                "another elanus took over this metadata, so this one has stopped: nothing that was acknowledged is lost. \
                 Two programs must not run on one metadata store; find the other one before you start this one again"
            ));
            None
        }
        (by, location) = fenced(ownership.as_ref()) => {
            taken_over = Some(anyhow!(
                "stopped, because the root path {location} is now owned by {by}; nothing was deleted or written since this \
                 was noticed. See `elanus ctl root show`"
            ));
            None
        }
    };
    management.set_ready(false);
    stop.cancel();
    let ended = match failed {
        Some(ended) => ended,
        None => api.await,
    };
    services.stop().await;
    stop_management.cancel();
    finish("management", probes).await;
    if let Some(error) = taken_over {
        return Err(StartError::Failed(error));
    }
    match ended {
        Ok(Ok(())) => {
            tracing::info!("stopped");
            Ok(())
        }
        Ok(Err(error)) => Err(StartError::Failed(error.into())),
        Err(_) => Err(StartError::Failed(anyhow!("the gRPC server panicked"))),
    }
}

/// The new owner and the root path, when this process has lost it. Who only reads has nothing to lose.
async fn fenced(ownership: Option<&Ownership>) -> (String, String) {
    match ownership {
        Some(ownership) => (ownership.fenced().await, ownership.status().location),
        None => std::future::pending().await,
    }
}

async fn finish(name: &str, task: JoinHandle<std::io::Result<()>>) {
    match task.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("the {name} server failed: {error}"),
        Err(_) => tracing::warn!("the {name} server panicked"),
    }
}

fn announce(listen: SocketAddr, management: SocketAddr, data: &str, took: Duration) {
    let text = announcement(listen, management, data, took);
    // A closed stdout is no reason not to serve.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn announcement(listen: SocketAddr, management: SocketAddr, data: &str, took: Duration) -> String {
    let mut reach = listen;
    if listen.ip().is_unspecified() {
        reach.set_ip(if listen.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!(
        "elanus {VERSION} is ready on {listen}, data in {data}, management on http://{management} (start took {} ms)\n\
         try: python3 -c 'from pymilvus import MilvusClient; print(MilvusClient(\"http://{reach}\").list_collections())'",
        took.as_millis(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_addresses_and_an_address_that_can_be_reached() {
        let text = announcement(
            ([0, 0, 0, 0], 19_530).into(),
            ([127, 0, 0, 1], 9_091).into(),
            "/data",
            Duration::from_millis(120),
        );
        let expected = format!(
            "elanus {VERSION} is ready on 0.0.0.0:19530, data in /data, management on http://127.0.0.1:9091 (start took 120 ms)\n\
             try: python3 -c 'from pymilvus import MilvusClient; print(MilvusClient(\"http://127.0.0.1:19530\").list_collections())'"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn what_must_change_decides_the_exit_code() {
        let path = || "/d".into();
        assert_eq!(StartError::from(RootError::InUse { path: path() }).exit_code(), 3);
        assert_eq!(StartError::from(RootError::Foreign { path: path() }).exit_code(), 3);
        assert_eq!(StartError::from(MetaError::Newer { found: 9, known: 1 }).exit_code(), 3);
        assert_eq!(StartError::from(MetaError::BadUrl(String::new())).exit_code(), 2);
        assert_eq!(StartError::from(MetaError::Corrupt(String::new())).exit_code(), 1);
    }
}
