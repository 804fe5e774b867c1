//! `elanus ctl job`.

use super::{
    Stop,
    output::{Rendered, facts, number_or_null, rfc3339, seconds, size, table},
    wait,
};
use clap::Subcommand;
use elanus_client::{Client, RestoreJob};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Restore jobs, newest last; ended ones for some hours
    #[command(visible_alias = "ls")]
    List {
        /// Only those whose target is in this database
        #[arg(long, value_name = "NAME")]
        target_db: Option<String>,
        /// Only those whose target is called so
        #[arg(long, value_name = "NAME")]
        target: Option<String>,
    },
    /// One job
    Describe {
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        job_id: i64,
        /// Watch it until it ended
        #[arg(long)]
        wait: bool,
    },
    /// Stop a job; what it had done is removed
    Cancel {
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        job_id: i64,
    },
}

pub(super) async fn execute(client: &Client, command: Command) -> Result<Rendered, Stop> {
    let jobs = client.jobs();
    Ok(match command {
        Command::List { target_db, target } => {
            let mut asked = jobs.list();
            if let Some(name) = target_db {
                asked = asked.target_database(name);
            }
            if let Some(name) = target {
                asked = asked.target_collection(name);
            }
            list(&asked.send().await?)
        }
        Command::Describe { job_id, wait: false } => one(&jobs.describe(job_id).await?),
        Command::Describe { job_id, wait: true } => one(&wait::until_ended(client, job_id).await?),
        Command::Cancel { job_id } => one(&jobs.cancel(job_id).await?),
    })
}

fn source(job: &RestoreJob) -> String {
    format!("{}.{}@{}", job.source_db_name, job.source_collection_name, job.snapshot_name)
}

fn target(job: &RestoreJob) -> String {
    format!("{}.{}", job.target_db_name, job.target_collection_name)
}

/// `12 of 40`; planning has not counted yet when there is nothing in all.
fn part(done: String, total: i64, all: &str) -> String {
    if total == 0 { done } else { format!("{done} of {all}") }
}

pub(super) fn copied(job: &RestoreJob) -> String {
    part(size(job.bytes_done), job.bytes_total, &size(job.bytes_total))
}

fn list(jobs: &[RestoreJob]) -> Rendered {
    let row = |job: &RestoreJob| {
        let progress = format!("{} %", job.progress);
        vec![
            job.job_id.to_string(),
            job.state.clone(),
            progress,
            source(job),
            target(job),
            seconds(job.started_ms),
            copied(job),
            job.reason.clone(),
        ]
    };
    Rendered {
        text: table(
            &["ID", "STATE", "PROGRESS>", "SNAPSHOT", "TARGET", "STARTED", "COPIED>", "REASON"],
            jobs.iter().map(row),
        ),
        json: jobs.iter().map(to_json).collect(),
    }
}

pub(super) fn one(job: &RestoreJob) -> Rendered {
    let mut lines = vec![
        ("job", job.job_id.to_string()),
        ("state", format!("{}, {} %", job.state, job.progress)),
        ("snapshot", source(job)),
        ("target", format!("{} (id {})", target(job), job.target_collection_id)),
        ("started", seconds(job.started_ms)),
        ("ended", seconds(job.ended_ms)),
        ("files", part(job.files_done.to_string(), job.files_total, &job.files_total.to_string())),
        ("copied", copied(job)),
    ];
    if !job.reason.is_empty() {
        lines.push(("reason", job.reason.clone()));
    }
    Rendered { text: facts(&lines), json: to_json(job) }
}

fn to_json(job: &RestoreJob) -> Value {
    json!({
        "job_id": job.job_id,
        "state": job.state,
        "progress": job.progress,
        "reason": job.reason,
        "snapshot_name": job.snapshot_name,
        "source_db_name": job.source_db_name,
        "source_collection_name": job.source_collection_name,
        "target_db_name": job.target_db_name,
        "target_collection_name": job.target_collection_name,
        "target_collection_id": job.target_collection_id,
        "files_total": job.files_total,
        "files_done": job.files_done,
        "bytes_total": job.bytes_total,
        "bytes_done": job.bytes_done,
        "started_ms": job.started_ms,
        "started_at": rfc3339(job.started_ms),
        "ended_ms": number_or_null(job.ended_ms),
        "ended_at": rfc3339(job.ended_ms),
    })
}

#[cfg(test)]
pub(super) fn sample() -> RestoreJob {
    RestoreJob {
        job_id: 42,
        snapshot_name: "before-v2".to_owned(),
        source_db_name: "default".to_owned(),
        source_collection_name: "docs".to_owned(),
        target_db_name: "default".to_owned(),
        target_collection_name: "docs_v1".to_owned(),
        target_collection_id: 8,
        state: "copying".to_owned(),
        progress: 25,
        reason: String::new(),
        files_total: 4,
        files_done: 1,
        bytes_total: 4 << 20,
        bytes_done: 1 << 20,
        started_ms: 1_700_000_000_000,
        ended_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_as_a_table() {
        let expected = "\
ID  STATE    PROGRESS  SNAPSHOT                TARGET           STARTED                             COPIED  REASON
42  copying      25 %  default.docs@before-v2  default.docs_v1  2023-11-14T22:13:20Z  1.00 MiB of 4.00 MiB";
        assert_eq!(list(&[sample()]).text, expected);
    }

    #[test]
    fn one_job_in_both_forms() {
        let rendered = one(&sample());
        let expected = "\
job       42
state     copying, 25 %
snapshot  default.docs@before-v2
target    default.docs_v1 (id 8)
started   2023-11-14T22:13:20Z
ended     -
files     1 of 4
copied    1.00 MiB of 4.00 MiB";
        assert_eq!(rendered.text, expected);
        let expected = r#"{"job_id":42,"state":"copying","progress":25,"reason":"","snapshot_name":"before-v2","source_db_name":"default","source_collection_name":"docs","target_db_name":"default","target_collection_name":"docs_v1","target_collection_id":8,"files_total":4,"files_done":1,"bytes_total":4194304,"bytes_done":1048576,"started_ms":1700000000000,"started_at":"2023-11-14T22:13:20.000Z","ended_ms":null,"ended_at":null}"#;
        assert_eq!(rendered.json.to_string(), expected);
    }
}
