//! `elanus ctl database`.

use super::Stop;
use crate::output::Rendered;
use clap::Subcommand;
use elanus_client::Client;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Databases, the default one first
    #[command(visible_alias = "ls")]
    List,
    /// Create a database
    ///
    /// One that was dropped under this name comes back with what is in its trash.
    Create { name: String },
    /// Drop a database that has no collections
    Drop { name: String },
}

pub(super) async fn execute(client: &Client, command: Command) -> Result<Rendered, Stop> {
    let databases = client.databases();
    Ok(match command {
        Command::List => {
            let names = databases.list().await?;
            Rendered { text: names.join("\n"), json: json!(names) }
        }
        Command::Create { name } => {
            databases.create(&name).await?;
            Rendered { text: format!("created database {name}"), json: json!({"name": name, "created": true}) }
        }
        Command::Drop { name } => {
            databases.drop(&name).await?;
            Rendered { text: format!("dropped database {name}"), json: json!({"name": name, "dropped": true}) }
        }
    })
}
