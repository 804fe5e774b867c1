//! `elanus ctl job`.

use super::{
    Stop,
    output::{Rendered, facts, number_or_null, rfc3339, seconds, size, table},
    wait,
};
use clap::Subcommand;
use elanus_client::{Client, JobError, JobHistoryLine, RestoreJob};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Restore and detach jobs, newest last; ended ones for some hours
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
    /// What went wrong in its copy tasks, file by file, also where a task was tried again
    Errors {
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        job_id: i64,
    },
    /// What happened to it and to its copy tasks, oldest first
    History {
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        job_id: i64,
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
        Command::Errors { job_id } => errors(&jobs.errors(job_id).await?),
        Command::History { job_id } => history(&jobs.history(job_id).await?),
        Command::Cancel { job_id } => one(&jobs.cancel(job_id).await?),
    })
}

fn is_detach(job: &RestoreJob) -> bool {
    job.kind == "detach"
}

fn source(job: &RestoreJob) -> String {
    if is_detach(job) {
        return "-".to_owned();
    }
    format!("{}.{}@{}", job.source_db_name, job.source_collection_name, job.snapshot_name)
}

fn target(job: &RestoreJob) -> String {
    format!("{}.{}", job.target_db_name, job.target_collection_name)
}

/// `12 of 40`; planning has not counted yet when there is nothing in all.
fn part(done: String, total: i64, all: &str) -> String {
    if total == 0 { done } else { format!("{done} of {all}") }
}

fn copied(job: &RestoreJob) -> String {
    part(size(job.bytes_done), job.bytes_total, &size(job.bytes_total))
}

/// What is done, in a word.
fn mode(job: &RestoreJob) -> &str {
    if is_detach(job) { &job.kind } else { &job.mode }
}

fn is_clone(job: &RestoreJob) -> bool {
    job.mode == "clone"
}

/// What of the bytes is done, in words that fit the mode.
pub(super) fn moved(job: &RestoreJob) -> String {
    if is_clone(job) { format!("shared {}", size(job.bytes_done)) } else { format!("copied {}", copied(job)) }
}

/// Bytes a second since the job was submitted; `None` before the first and where none are moved.
fn rate(job: &RestoreJob) -> Option<i64> {
    let moves = !is_clone(job) && job.bytes_done > 0 && job.elapsed_ms > 0;
    moves.then(|| i64::try_from(i128::from(job.bytes_done) * 1_000 / i128::from(job.elapsed_ms)).unwrap_or(i64::MAX))
}

/// Time until everything is copied, when it goes on as it went so far.
fn left_ms(job: &RestoreJob) -> Option<i64> {
    let rate = rate(job).filter(|rate| *rate > 0 && job.state == "copying")?;
    let left = i128::from((job.bytes_total - job.bytes_done).max(0)) * 1_000 / i128::from(rate);
    i64::try_from(left).ok()
}

/// Whole seconds.
fn span(ms: i64) -> String {
    let seconds = u64::try_from(ms).unwrap_or_default().div_ceil(1_000);
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

fn list(jobs: &[RestoreJob]) -> Rendered {
    let row = |job: &RestoreJob| {
        let progress = format!("{} %", job.progress);
        vec![
            job.job_id.to_string(),
            job.state.clone(),
            mode(job).to_owned(),
            progress,
            source(job),
            target(job),
            seconds(job.started_ms),
            if is_clone(job) { "-".to_owned() } else { copied(job) },
            job.reason.clone(),
        ]
    };
    Rendered {
        text: table(
            &["ID", "STATE", "MODE", "PROGRESS>", "SNAPSHOT", "TARGET", "STARTED", "COPIED>", "REASON"],
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
        ("mode", mode(job).to_owned()),
        ("partitions", if job.partition_names.is_empty() { "all".to_owned() } else { job.partition_names.join(", ") }),
        ("indexes", if job.without_indexes { "no" } else { "yes" }.to_owned()),
        ("started", seconds(job.started_ms)),
        ("ended", seconds(job.ended_ms)),
        ("files", part(job.files_done.to_string(), job.files_total, &job.files_total.to_string())),
        if is_clone(job) { ("shared", size(job.bytes_done)) } else { ("copied", copied(job)) },
    ];
    if let Some(rate) = rate(job) {
        lines.push(("rate", format!("{}/s", size(rate))));
    }
    if let Some(left) = left_ms(job) {
        lines.push(("left", span(left)));
    }
    if !job.reason.is_empty() {
        lines.push(("reason", job.reason.clone()));
    }
    Rendered { text: facts(&lines), json: to_json(job) }
}

fn to_json(job: &RestoreJob) -> Value {
    json!({
        "job_id": job.job_id,
        "kind": job.kind,
        "state": job.state,
        "progress": job.progress,
        "reason": job.reason,
        "snapshot_name": job.snapshot_name,
        "source_db_name": job.source_db_name,
        "source_collection_name": job.source_collection_name,
        "target_db_name": job.target_db_name,
        "target_collection_name": job.target_collection_name,
        "target_collection_id": job.target_collection_id,
        "mode": job.mode,
        "partition_names": job.partition_names,
        "with_indexes": !job.without_indexes,
        "files_total": job.files_total,
        "files_done": job.files_done,
        "bytes_total": job.bytes_total,
        "bytes_done": job.bytes_done,
        "started_ms": job.started_ms,
        "started_at": rfc3339(job.started_ms),
        "ended_ms": number_or_null(job.ended_ms),
        "ended_at": rfc3339(job.ended_ms),
        "elapsed_ms": job.elapsed_ms,
        "bytes_per_s": rate(job),
        "left_ms": left_ms(job),
    })
}

fn errors(errors: &[JobError]) -> Rendered {
    let row = |error: &JobError| {
        let key = if error.key.is_empty() { "-" } else { &error.key };
        let task = format!("{}/{}", error.task_id, error.generation);
        vec![seconds(error.at_ms), task, error.task_state.clone(), key.to_owned(), error.reason.clone()]
    };
    let to_json = |error: &JobError| {
        json!({
            "at_ms": error.at_ms,
            "at": rfc3339(error.at_ms),
            "task_id": error.task_id,
            "generation": error.generation,
            "task_state": error.task_state,
            "key": if error.key.is_empty() { Value::Null } else { error.key.clone().into() },
            "reason": error.reason,
        })
    };
    Rendered {
        text: table(&["AT", "TASK/CLAIM", "TASK NOW", "FILE", "REASON"], errors.iter().map(row)),
        json: errors.iter().map(to_json).collect(),
    }
}

fn history(lines: &[JobHistoryLine]) -> Rendered {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let row = |line: &JobHistoryLine| {
        vec![
            rfc3339(line.at_ms).unwrap_or_default(),
            if line.task_id == 0 { "job".to_owned() } else { format!("task {}", line.task_id) },
            line.event.clone(),
            or_dash(&line.from_state),
            line.to_state.clone(),
            line.detail.clone(),
        ]
    };
    let to_json = |line: &JobHistoryLine| {
        json!({
            "at_ms": line.at_ms,
            "at": rfc3339(line.at_ms),
            "task_id": number_or_null(line.task_id),
            "event": line.event,
            "from_state": line.from_state,
            "to_state": line.to_state,
            "detail": line.detail,
        })
    };
    Rendered {
        text: table(&["AT", "OF", "EVENT", "FROM", "TO", "DETAIL"], lines.iter().map(row)),
        json: lines.iter().map(to_json).collect(),
    }
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
        mode: "copy".to_owned(),
        partition_names: Vec::new(),
        without_indexes: false,
        elapsed_ms: 2_000,
        kind: "restore".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_as_a_table() {
        let expected = "\
ID  STATE    MODE  PROGRESS  SNAPSHOT                TARGET           STARTED                             COPIED  REASON
42  copying  copy      25 %  default.docs@before-v2  default.docs_v1  2023-11-14T22:13:20Z  1.00 MiB of 4.00 MiB";
        assert_eq!(list(&[sample()]).text, expected);
    }

    #[test]
    fn one_job_in_both_forms() {
        let rendered = one(&sample());
        let expected = "\
job         42
state       copying, 25 %
snapshot    default.docs@before-v2
target      default.docs_v1 (id 8)
mode        copy
partitions  all
indexes     yes
started     2023-11-14T22:13:20Z
ended       -
files       1 of 4
copied      1.00 MiB of 4.00 MiB
rate        512.00 KiB/s
left        6s";
        assert_eq!(rendered.text, expected);
        let expected = r#"{"job_id":42,"kind":"restore","state":"copying","progress":25,"reason":"","snapshot_name":"before-v2","source_db_name":"default","source_collection_name":"docs","target_db_name":"default","target_collection_name":"docs_v1","target_collection_id":8,"mode":"copy","partition_names":[],"with_indexes":true,"files_total":4,"files_done":1,"bytes_total":4194304,"bytes_done":1048576,"started_ms":1700000000000,"started_at":"2023-11-14T22:13:20.000Z","ended_ms":null,"ended_at":null,"elapsed_ms":2000,"bytes_per_s":524288,"left_ms":6000}"#;
        assert_eq!(rendered.json.to_string(), expected);
    }
    #[test]
    fn a_clone_moves_no_bytes_and_a_job_that_ended_has_no_time_left() {
        let clone = RestoreJob {
            mode: "clone".to_owned(),
            state: "completed".to_owned(),
            bytes_done: 4 << 20,
            partition_names: vec!["a".to_owned(), "b".to_owned()],
            without_indexes: true,
            ..sample()
        };
        let text = one(&clone).text;
        assert!(text.contains("shared      4.00 MiB") && !text.contains("rate") && !text.contains("copied"), "{text}");
        assert!(text.contains("partitions  a, b\nindexes     no"), "{text}");
        assert_eq!(moved(&clone), "shared 4.00 MiB");
        assert_eq!(moved(&sample()), "copied 1.00 MiB of 4.00 MiB");
        let done = RestoreJob { state: "completed".to_owned(), ..sample() };
        assert_eq!((rate(&done), left_ms(&done)), (Some(512 << 10), None));
        let fresh = RestoreJob { bytes_done: 0, ..sample() };
        assert_eq!((rate(&fresh), left_ms(&fresh)), (None, None));
        let slow = RestoreJob { bytes_done: 1, elapsed_ms: 9_999, ..sample() };
        assert_eq!((rate(&slow), left_ms(&slow)), (Some(0), None));
    }

    #[test]
    fn a_detach_has_no_snapshot() {
        let detach = RestoreJob {
            kind: "detach".to_owned(),
            snapshot_name: String::new(),
            source_collection_name: "docs_v1".to_owned(),
            ..sample()
        };
        let text = one(&detach).text;
        assert!(text.contains("snapshot    -\ntarget      default.docs_v1 (id 8)\nmode        detach\n"), "{text}");
    }

    #[test]
    fn errors_and_history_as_tables() {
        let error = |key: &str| JobError {
            at_ms: 1_700_000_000_000,
            task_id: 7,
            generation: 2,
            task_state: "pending".to_owned(),
            key: key.to_owned(),
            reason: "checksum differs".to_owned(),
        };
        let rendered = errors(&[error("c/insert_log/1"), error("")]);
        let expected = "\
AT                    TASK/CLAIM  TASK NOW  FILE            REASON
2023-11-14T22:13:20Z  7/2         pending   c/insert_log/1  checksum differs
2023-11-14T22:13:20Z  7/2         pending   -               checksum differs";
        assert_eq!(rendered.text, expected);
        assert_eq!((&rendered.json[0]["key"], &rendered.json[1]["key"]), (&json!("c/insert_log/1"), &Value::Null));

        let line = |task_id, from: &str| JobHistoryLine {
            at_ms: 1_700_000_000_000,
            task_id,
            event: "submit".to_owned(),
            from_state: from.to_owned(),
            to_state: "pending".to_owned(),
            detail: "x".to_owned(),
        };
        let expected = "\
AT                        OF      EVENT   FROM     TO       DETAIL
2023-11-14T22:13:20.000Z  job     submit  -        pending  x
2023-11-14T22:13:20.000Z  task 7  submit  copying  pending  x";
        assert_eq!(history(&[line(0, ""), line(7, "copying")]).text, expected);
    }
}
