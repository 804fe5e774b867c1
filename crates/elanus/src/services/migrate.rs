//! `elanus migrate`: brings the schema of a metadata store up to this program.

use super::error::StartError;
use crate::config::Layers;
use crate::root;
use clap::Args;
use elanus_meta::Meta;
use elanus_types::SystemClock;
use std::{io::Write as _, path::PathBuf, process::ExitCode, sync::Arc};
use uuid::Uuid;

const HELP: &str = "\
Examples:
  elanus migrate --meta postgres://elanus@db/elanus
  elanus migrate --meta postgres://elanus@db/elanus --check

Run it before the services of a new version start, and before the first start of all. Services of the version before go
on meanwhile, and afterwards: a migration only adds. Services check the schema when they start. `elanus standalone`
migrates by itself.

Exit codes:
  0  the schema is this program's
  1  something failed; with --check: migrations are missing
  2  the command line is wrong
  3  refused: a newer elanus has migrated it";

/// Bring the metadata store up to this version
#[derive(Clone, Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct MigrateArgs {
    /// Configuration file: elanus config template. Environment and flags win over it
    #[arg(long, value_name = "FILE", env = "ELANUS_CONFIG")]
    config: Option<PathBuf>,
    /// Metadata store: postgres://USER:PASSWORD@HOST/DATABASE or sqlite:///PATH
    #[arg(long, value_name = "URL", env = "ELANUS_META", hide_env_values = true)]
    meta: Option<String>,
    /// Say what is missing, and change nothing
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) async fn migrate(args: &MigrateArgs, layers: &Layers) -> ExitCode {
    match execute(args).await {
        Ok((text, ok)) => {
            // A closed stdout is no reason to fail.
            let _ = writeln!(std::io::stdout().lock(), "{text}");
            if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {}", layers.explain(&format!("{:#}", error.error())));
            ExitCode::from(error.exit_code())
        }
    }
}

async fn execute(args: &MigrateArgs) -> Result<(String, bool), StartError> {
    let url = root::checked_meta_url(args.meta.as_deref()).map_err(StartError::Usage)?;
    let before = Meta::schema_version(&url).await?;
    if before.found == Some(before.known) {
        return Ok((format!("the metadata has schema version {}: nothing to do", before.known), true));
    }
    let found = before.found.map_or("none".to_owned(), |version| version.to_string());
    if args.check {
        return Ok((format!("the metadata has schema version {found}, this program needs {}", before.known), false));
    }
    let known = Meta::look(&url).await?.map(root::view).transpose()?;
    let cluster_id = known.map_or_else(Uuid::new_v4, |view| view.cluster_id).to_string();
    Meta::open(&url, &cluster_id, Arc::new(SystemClock)).await?.close().await;
    Ok((format!("the metadata of cluster {cluster_id}: schema version {found} -> {}", before.known), true))
}
