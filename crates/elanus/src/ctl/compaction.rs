//! `elanus ctl compaction`, and `elanus ctl collection compact`.

use super::{
    Stop,
    output::{Rendered, rfc3339, seconds, size, table},
};
use clap::Subcommand;
use elanus_client::{Client, Compaction, CompactionJob};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compactions of every collection, or of one, oldest first
    #[command(visible_alias = "ls")]
    List {
        /// Only of this collection
        #[arg(long, value_name = "NAME")]
        collection: Option<String>,
    },
    /// What `collection compact` asked for
    Describe {
        /// Its id, as `collection compact` printed it
        #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
        id: i64,
        /// Wait until nothing of it goes on
        #[arg(long)]
        wait: bool,
    },
}

pub(super) async fn execute(client: &Client, command: Command) -> Result<Rendered, Stop> {
    match command {
        Command::List { collection } => Ok(list(&client.compactions().list(collection.as_deref()).await?)),
        Command::Describe { id, wait: false } => Ok(job(&client.compactions().describe(id).await?)),
        Command::Describe { id, wait: true } => waited(client, id).await,
    }
}

/// `elanus ctl collection compact`.
pub(super) async fn start(client: &Client, collection: &str, wait: bool) -> Result<Rendered, Stop> {
    let started = client.compactions().start(collection).await?;
    if wait { waited(client, started.job_id).await } else { Ok(job(&started)) }
}

/// Ctrl-C ends only the wait. What failed is for a script to notice.
async fn waited(client: &Client, id: i64) -> Result<Rendered, Stop> {
    let compactions = client.compactions();
    let ended = tokio::select! {
        ended = compactions.wait(id) => ended?,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("the compaction goes on in the server; follow it: elanus ctl compaction describe {id} --wait");
            return Err(Stop::Interrupted);
        }
    };
    let rendered = job(&ended);
    if ended.compactions.iter().any(|one| one.state == "failed") { Err(Stop::Differs(rendered)) } else { Ok(rendered) }
}

fn job(job: &CompactionJob) -> Rendered {
    let head = match job.compactions.len() {
        0 => format!("compaction {}: there is nothing to compact", job.job_id),
        _ => {
            let going_on = job.compactions.iter().filter(|one| one.ended_ms == 0).count();
            let state = if going_on == 0 { "ended".to_owned() } else { format!("{going_on} go on") };
            format!("compaction {}, {state}\n\n{}", job.job_id, rows(&job.compactions))
        }
    };
    Rendered {
        text: head,
        json: json!({
            "job_id": job.job_id,
            "collection_id": job.collection_id,
            "created_ms": job.created_ms,
            "created_at": rfc3339(job.created_ms),
            "compactions": job.compactions.iter().map(to_json).collect::<Value>(),
        }),
    }
}

fn list(compactions: &[Compaction]) -> Rendered {
    Rendered { text: rows(compactions), json: compactions.iter().map(to_json).collect() }
}

fn rows(compactions: &[Compaction]) -> String {
    let row = |one: &Compaction| {
        let left = |text: String| if one.state == "completed" { text } else { String::new() };
        let why = match (one.reason.as_str(), one.node_id.as_str()) {
            ("", node) => node.to_owned(),
            (reason, _) => reason.to_owned(),
        };
        vec![
            one.id.to_string(),
            one.collection_id.to_string(),
            one.partition_id.to_string(),
            one.shard.to_string(),
            one.state.clone(),
            one.files.to_string(),
            one.rows.to_string(),
            left(one.rows_left.to_string()),
            size(one.bytes),
            left(size(one.bytes_left)),
            seconds(one.created_ms),
            why,
        ]
    };
    table(
        &[
            "ID",
            "COLLECTION",
            "PARTITION",
            "SHARD>",
            "STATE",
            "FILES>",
            "ROWS>",
            "LEFT>",
            "SIZE>",
            "LEFT>",
            "CREATED",
            "NODE OR REASON",
        ],
        compactions.iter().map(row),
    )
}

fn to_json(one: &Compaction) -> Value {
    let completed = one.state == "completed";
    json!({
        "id": one.id,
        "collection_id": one.collection_id,
        "partition_id": one.partition_id,
        "shard": one.shard,
        "job_id": (one.job_id != 0).then_some(one.job_id),
        "state": one.state,
        "attempt": one.attempt,
        "node": (!one.node_id.is_empty()).then_some(&one.node_id),
        "reason": (!one.reason.is_empty()).then_some(&one.reason),
        "created_ms": one.created_ms,
        "created_at": rfc3339(one.created_ms),
        "ended_ms": (one.ended_ms != 0).then_some(one.ended_ms),
        "files": one.files,
        "rows": one.rows,
        "bytes": one.bytes,
        "rows_left": completed.then_some(one.rows_left),
        "bytes_left": completed.then_some(one.bytes_left),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compaction(state: &str) -> Compaction {
        Compaction {
            id: 7,
            collection_id: 3,
            partition_id: 4,
            shard: 1,
            state: state.to_owned(),
            created_ms: 1_700_000_000_000,
            files: 8,
            rows: 100,
            bytes: 4_096,
            rows_left: 90,
            bytes_left: 2_048,
            ..Compaction::default()
        }
    }

    #[test]
    fn what_is_left_is_told_of_what_is_completed() {
        let expected = "\
ID  COLLECTION  PARTITION  SHARD  STATE      FILES  ROWS  LEFT      SIZE      LEFT  CREATED               NODE OR REASON
7   3           4              1  completed      8   100    90  4.00 KiB  2.00 KiB  2023-11-14T22:13:20Z";
        assert_eq!(list(&[compaction("completed")]).text, expected);
        let pending = list(&[compaction("pending")]).json;
        assert_eq!((&pending[0]["rows_left"], &pending[0]["ended_ms"]), (&Value::Null, &Value::Null));
        assert_eq!(list(&[compaction("completed")]).json[0]["rows_left"], 90);
    }

    #[test]
    fn a_job_says_what_goes_on() {
        let of = |compactions| CompactionJob { job_id: 9, collection_id: 3, created_ms: 1, compactions };
        assert_eq!(job(&of(vec![])).text, "compaction 9: there is nothing to compact");
        assert!(job(&of(vec![compaction("pending")])).text.starts_with("compaction 9, 1 go on\n\nID"));
    }
}
