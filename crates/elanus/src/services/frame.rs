//! The frame of every service: command line, both listeners, the service itself, readiness, and an end in good order.
//!
//! A step that refuses leaves everything as it was.

use super::args::{Process, Traces};
use super::error::StartError;
use super::security::{Demands, Hints, Security};
use super::stores::new_node;
use crate::config::Layers;
use anyhow::anyhow;
use elanus_meta::model::ServiceKind;
use elanus_runtime::{
    grpc::{self, GrpcConfig},
    management::{self, Management},
    shutdown, telemetry,
};
use elanus_types::{Clock, SystemClock};
use std::{
    io::Write as _,
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where a process listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(super) listen: SocketAddr,
    pub(super) management: SocketAddr,
}

/// The flags of a service, and how it starts.
pub(crate) trait Service: Sized {
    /// What runs.
    type Running: Running;
    /// What it is.
    const KIND: ServiceKind;

    /// Of all services.
    fn process(&self) -> Process;

    /// Certificates and tokens, as the command line says it.
    ///
    /// # Errors
    /// What is wrong with the command line.
    fn demands(&self) -> Result<Demands, StartError>;

    /// Refuses what this build cannot be made of, before anything is touched.
    ///
    /// # Errors
    /// What is wrong with the command line.
    fn check(&self) -> Result<(), StartError>;

    /// Starts it.
    ///
    /// # Errors
    /// When it is refused, or fails.
    fn start(
        &self,
        bound: Bound,
        security: &Security,
        clock: Arc<dyn Clock>,
    ) -> impl Future<Output = Result<Self::Running, StartError>> + Send;
}

/// A service that runs.
pub(crate) trait Running: Sized + Send + Sync {
    /// What it serves.
    fn routes(&self) -> Routes;
    /// What it tells on the management port.
    fn management(&self, version: &'static str) -> Management;
    /// Where its data are, for people; empty: it has none.
    fn place(&self) -> String;
    /// Returns when it must end by itself, with why.
    fn lost(&self) -> impl Future<Output = anyhow::Error> + Send;
    /// Others are told to send no more calls; those under way go on.
    fn leave(&self) -> impl Future<Output = ()> + Send;
    /// Ends everything in good order. No call arrives any more.
    fn stop(self) -> impl Future<Output = ()> + Send;
}

/// Refuses what a start refuses for its command line, and for the files of certificates and tokens that it names. Touches
/// nothing.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn check<S: Service>(args: &S) -> anyhow::Result<()> {
    let checked = args.check().and_then(|()| security(args, SystemClock.now_ms()));
    checked.map(drop).map_err(StartError::into_error)
}

fn security<S: Service>(args: &S, now_ms: i64) -> Result<Security, StartError> {
    Security::read(args.demands()?, now_ms)
}

/// Runs a service to its end.
pub(crate) async fn run<S: Service>(args: &S, layers: &Layers) -> ExitCode {
    match serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", layers.explain(&format!("{:#}", error.error())));
            ExitCode::from(error.exit_code())
        }
    }
}

async fn serve<S: Service>(args: &S) -> Result<(), StartError> {
    let started = Instant::now();
    let process = args.process();
    let traces = traces::<S>(&process)?;
    let telemetry = telemetry::start(&process.log, process.log_format, traces.as_ref());
    let telemetry = telemetry.map_err(|error| StartError::Failed(error.into()))?;
    let ended = serve_until_the_end(args, process, started).await;
    telemetry.end().await;
    ended
}

/// Where the traces of this process go.
fn traces<S: Service>(process: &Process) -> Result<Option<telemetry::Traces>, StartError> {
    let traces = process.traces.clone().transpose().map_err(|why| StartError::Usage(anyhow!(why)))?;
    Ok(traces.map(|Traces { endpoint, sample_fraction }| telemetry::Traces {
        endpoint,
        sample_fraction,
        service: format!("elanus-{}", S::KIND.label()),
        instance: new_node(S::KIND).0,
        version: VERSION,
    }))
}

async fn serve_until_the_end<S: Service>(args: &S, process: Process, started: Instant) -> Result<(), StartError> {
    args.check()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let security = security(args, clock.now_ms())?;
    if let Some(file) = &process.config {
        tracing::info!(file = %file.display(), "configured");
    }
    let listener = grpc::bind(process.listen, "--listen").await?;
    let management_listener = grpc::bind(process.management, "--management").await?;
    let bound = Bound { listen: address(&listener)?, management: address(&management_listener)? };
    let stop = shutdown::on_signals().map_err(|error| StartError::Failed(error.into()))?;

    let service = args.start(bound, &security, Arc::clone(&clock)).await?;
    let management = security.watch(service.management(VERSION), clock);
    tracing::info!(listen = %bound.listen, "{}", security.summary());
    let (tls, tokens) = (security.listen.clone(), security.demanded.clone());
    let config = GrpcConfig { tls, tokens, ..GrpcConfig::default() };
    let stop_management = CancellationToken::new();
    let stop_api = CancellationToken::new();
    let mut api = tokio::spawn(grpc::serve(listener, service.routes(), config, stop_api.clone()));
    let (tls, stop_probes) = (security.management.clone(), stop_management.clone());
    let probes = tokio::spawn(management::serve(management_listener, tls, management.clone(), stop_probes));
    management.set_ready(true);
    announce(S::KIND, bound, security.hints(), &service.place(), started.elapsed());

    // The API ends before it was asked to only when it failed.
    let (mut failed, mut lost) = (None, None);
    tokio::select! {
        ended = &mut api => failed = Some(ended),
        () = stop.cancelled() => {}
        error = service.lost() => lost = Some(error),
    };
    management.set_ready(false);
    if failed.is_none() && lost.is_none() {
        service.leave().await;
    }
    stop_api.cancel();
    let ended = match failed {
        Some(ended) => ended,
        None => api.await,
    };
    service.stop().await;
    stop_management.cancel();
    finish("management", probes).await;
    if let Some(error) = lost {
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

fn address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Failed(error.into()))
}

async fn finish(name: &str, task: JoinHandle<std::io::Result<()>>) {
    match task.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("the {name} server failed: {error}"),
        Err(_) => tracing::warn!("the {name} server panicked"),
    }
}

fn announce(kind: ServiceKind, bound: Bound, hints: Hints, place: &str, took: Duration) {
    let text = announcement(kind, bound, hints, place, took);
    // A closed stdout is no reason not to serve.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn announcement(kind: ServiceKind, bound: Bound, hints: Hints, place: &str, took: Duration) -> String {
    let Hints { scheme, management: management_scheme, options } = hints;
    let Bound { listen, management } = bound;
    let name = if kind == ServiceKind::Standalone { String::new() } else { format!(" {}", kind.label()) };
    let data = if place.is_empty() { String::new() } else { format!(", data in {place}") };
    let took = took.as_millis();
    let ready = format!(
        "elanus {VERSION}{name} is ready on {listen}{data}, management on {management_scheme}://{management} (start took {took} ms)"
    );
    if !matches!(kind, ServiceKind::Standalone | ServiceKind::Proxy) {
        return ready;
    }
    let mut reach = listen;
    if listen.ip().is_unspecified() {
        reach.set_ip(if listen.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let client = format!("MilvusClient(\"{scheme}://{reach}\"{options})");
    format!("{ready}\ntry: python3 -c 'from pymilvus import MilvusClient; print({client}.list_collections())'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_addresses_and_an_address_that_can_be_reached() {
        let bound = Bound { listen: ([0, 0, 0, 0], 19_530).into(), management: ([127, 0, 0, 1], 9_091).into() };
        let plain = Hints { scheme: "http", management: "http", options: "" };
        let text = |kind, place| announcement(kind, bound, plain, place, Duration::from_millis(120));
        let expected = format!(
            "elanus {VERSION} is ready on 0.0.0.0:19530, data in /data, management on http://127.0.0.1:9091 (start took 120 ms)\n\
             try: python3 -c 'from pymilvus import MilvusClient; print(MilvusClient(\"http://127.0.0.1:19530\").list_collections())'"
        );
        assert_eq!(text(ServiceKind::Standalone, "/data"), expected);
        let expected = format!(
            "elanus {VERSION} datanode is ready on 0.0.0.0:19530, data in s3://b, management on http://127.0.0.1:9091 (start \
             took 120 ms)"
        );
        assert_eq!(text(ServiceKind::DataNode, "s3://b"), expected);
        let hints = Hints { scheme: "https", management: "https", options: ", server_pem_path=\"ca.pem\"" };
        let encrypted = announcement(ServiceKind::Proxy, bound, hints, "", Duration::ZERO);
        assert!(encrypted.contains("management on https://127.0.0.1:9091"), "{encrypted}");
        assert!(
            encrypted.contains("MilvusClient(\"https://127.0.0.1:19530\", server_pem_path=\"ca.pem\")"),
            "{encrypted}"
        );
        assert!(text(ServiceKind::Proxy, "").contains("elanus") && !text(ServiceKind::Proxy, "").contains("data in"));
    }
}
