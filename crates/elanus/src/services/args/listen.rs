//! What every service has: addresses, a configuration file, a log.

use super::traces::{TraceArgs, Traces};
use super::trust::TrustArgs;
use clap::{Args, ValueEnum};
use elanus_runtime::telemetry::{self, Filter};
use std::{net::SocketAddr, path::PathBuf};

/// Ports where nothing else is said.
#[derive(Clone, Debug, Args)]
pub(in crate::services) struct ListenArgs<const LISTEN: u16, const MANAGEMENT: u16> {
    /// Configuration file: elanus config template. Environment and flags win over it
    #[arg(long, value_name = "FILE", env = "ELANUS_CONFIG")]
    pub(in crate::services) config: Option<PathBuf>,
    /// Address that answers calls: of Milvus clients and `elanus ctl`, or of the other services
    #[arg(long, value_name = "IP:PORT", env = "ELANUS_LISTEN", default_value = here(LISTEN))]
    pub(in crate::services) listen: SocketAddr,
    /// Address of /healthz, /readyz, /metrics, /tasks and /version
    #[arg(long, value_name = "IP:PORT", env = "ELANUS_MANAGEMENT", default_value = here(MANAGEMENT))]
    pub(in crate::services) management: SocketAddr,
    #[command(flatten)]
    trust: TrustArgs,
    /// What is logged: a level, or directives such as info,elanus_meta=debug
    #[arg(long, value_name = "LEVEL", env = "ELANUS_LOG", default_value = "info")]
    log: Filter,
    /// What log lines look like
    #[arg(long, value_name = "FORMAT", env = "ELANUS_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    #[command(flatten)]
    traces: TraceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl From<LogFormat> for telemetry::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// The same for every service.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(in crate::services) config: Option<PathBuf>,
    pub(in crate::services) listen: SocketAddr,
    pub(in crate::services) management: SocketAddr,
    pub(in crate::services) log: Filter,
    pub(in crate::services) log_format: telemetry::Format,
    /// `None`: nothing is traced.
    pub(in crate::services) traces: Option<Result<Traces, String>>,
}

impl<const LISTEN: u16, const MANAGEMENT: u16> ListenArgs<LISTEN, MANAGEMENT> {
    pub(in crate::services) fn process(&self) -> Process {
        let Self { config, listen, management, trust: _, log, log_format, traces } = self.clone();
        Process { config, listen, management, log, log_format: log_format.into(), traces: traces.traces() }
    }

    pub(in crate::services) fn trust(&self) -> &TrustArgs {
        &self.trust
    }
}

/// This machine only: unless it is told otherwise, nobody asks who calls.
fn here(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
