//! `elanus ctl trash`.

use super::{
    Stop, confirm,
    output::{Rendered, ms_of, rfc3339, seconds, size, table},
};
use clap::Subcommand;
use elanus_client::{Client, Collection, InTrash, TrashedCollection};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Dropped collections that can be brought back, in the order of their drops
    #[command(visible_alias = "ls")]
    List,
    /// Bring a dropped collection back, with its snapshots and pins
    #[command(after_long_help = "Example:\n  elanus ctl trash restore docs --as docs_again")]
    Restore {
        /// Its name, or its id where several had the name
        collection: String,
        /// Another name, where the old one is taken
        #[arg(long = "as", value_name = "NAME")]
        new_name: Option<String>,
    },
    /// End the way back for a dropped collection: it is neither listed nor restored any more
    Purge {
        /// Its name, or its id where several had the name
        collection: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn execute(client: &Client, command: Command) -> Result<Rendered, Stop> {
    let trash = client.trash();
    Ok(match command {
        Command::List => list(&trash.list().await?),
        Command::Restore { collection, new_name } => {
            restored(&trash.restore(which(&collection), new_name.as_deref()).await?)
        }
        Command::Purge { collection, yes } => {
            let mut found = trash.list().await?;
            found.retain(|one| match which(&collection) {
                InTrash::Id(id) => one.id == id,
                InTrash::Name(name) => one.name == name,
            });
            let purged = match found.as_slice() {
                [one] => {
                    let of = format!("dropped collection {} (id {}), {} rows", one.name, one.id, one.rows);
                    let what = format!("{of}: with its {} snapshots it cannot come back any more", one.snapshots);
                    confirm::confirm(yes, &what, &one.name)?;
                    trash.purge(InTrash::Id(one.id)).await?
                }
                // The server says why not.
                _ => trash.purge(which(&collection)).await?,
            };
            Rendered {
                text: format!("{} (id {}) cannot be brought back any more", purged.name, purged.id),
                json: json!({"id": purged.id, "name": purged.name, "purged": true}),
            }
        }
    })
}

/// No name of a collection begins with a digit.
fn which(text: &str) -> InTrash<'_> {
    text.parse().map_or(InTrash::Name(text), InTrash::Id)
}

fn list(collections: &[TrashedCollection]) -> Rendered {
    let row = |one: &TrashedCollection| {
        vec![
            one.name.clone(),
            one.id.to_string(),
            seconds(ms_of(one.dropped_ts)),
            seconds(one.until_ms),
            one.rows.to_string(),
            size(one.bytes),
            one.snapshots.to_string(),
        ]
    };
    let columns = ["NAME", "ID", "DROPPED", "UNTIL", "ROWS>", "SIZE>", "SNAPSHOTS>"];
    Rendered { text: table(&columns, collections.iter().map(row)), json: collections.iter().map(to_json).collect() }
}

fn to_json(one: &TrashedCollection) -> Value {
    json!({
        "id": one.id,
        "name": one.name,
        "db_name": one.db_name,
        "dropped_ts": one.dropped_ts,
        "dropped_at": rfc3339(ms_of(one.dropped_ts)),
        "until_ms": one.until_ms,
        "until": rfc3339(one.until_ms),
        "rows": one.rows,
        "bytes": one.bytes,
        "snapshots": one.snapshots,
    })
}

fn restored(one: &Collection) -> Rendered {
    Rendered {
        text: format!("{}.{} (id {}) is back", one.db_name, one.name, one.id),
        json: json!({"id": one.id, "name": one.name, "db_name": one.db_name, "loaded": one.loaded, "restored": true}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trash_as_a_table() {
        let one = TrashedCollection {
            id: 3,
            db_name: "default".to_owned(),
            name: "docs".to_owned(),
            dropped_ts: 1_700_000_000_000 << 18,
            until_ms: 1_700_086_400_000,
            snapshots: 2,
            rows: 10,
            bytes: 2_048,
        };
        let rendered = list(&[one]);
        let expected = "\
NAME  ID  DROPPED               UNTIL                 ROWS      SIZE  SNAPSHOTS
docs  3   2023-11-14T22:13:20Z  2023-11-15T22:13:20Z    10  2.00 KiB          2";
        assert_eq!(rendered.text, expected);
        assert_eq!(rendered.json[0]["until"], "2023-11-15T22:13:20.000Z");
    }

    #[test]
    fn a_number_is_an_id() {
        assert_eq!(
            (which("17"), which("docs"), which("_1")),
            (InTrash::Id(17), InTrash::Name("docs"), InTrash::Name("_1"))
        );
    }
}
