//! `elanus ctl snapshot`.

use super::{
    Stop, inspect, job,
    output::{Rendered, facts, ms_of, number_or_null, rfc3339, seconds, size, table},
    rows, wait,
};
use clap::Subcommand;
use elanus_client::{Client, GcDroppedSnapshot, Pin, RestoreMode, Snapshot};
use serde_json::{Value, json};
use std::time::Duration;

/// For the audit trail.
const ACTOR: &str = "elanus ctl";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take a snapshot: it has every write that was acknowledged before, and none that comes later
    Create {
        collection: String,
        /// New in the collection
        name: String,
        /// Free text
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
    /// Snapshots of a collection, oldest first
    #[command(visible_alias = "ls")]
    List { collection: String },
    /// One snapshot
    Describe { collection: String, name: String },
    /// Drop a snapshot that is not pinned; one that is gone already counts as dropped
    Drop { collection: String, name: String },
    /// Dropped snapshots of a collection that may still come back, newest drop first
    Dropped { collection: String },
    /// Bring a dropped snapshot back, exactly as it was, as long as nothing of it was deleted
    ///
    /// That is at least as long as the server's --gc-drop-tolerance. Pins do not come back.
    #[command(after_long_help = "Example:\n  elanus ctl snapshot undrop docs before-v2 --as before-v2-again")]
    Undrop {
        collection: String,
        /// The one that was dropped last, where several had the name
        name: String,
        /// The one with this id, from `snapshot dropped`
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        id: Option<i64>,
        /// Another name, where the old one is taken
        #[arg(long = "as", value_name = "NAME")]
        new_name: Option<String>,
    },
    /// Keep a snapshot from being dropped, for a time or until it is unpinned
    Pin {
        collection: String,
        name: String,
        /// The pin ends by itself after this time, for example 12h or 7d
        #[arg(long, value_name = "TIME", value_parser = ttl)]
        ttl: Option<Duration>,
    },
    /// End a pin
    Unpin {
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        pin_id: i64,
    },
    /// Look at a snapshot in the object store, without a server
    ///
    /// Reads the snapshot's own objects and nothing else; changes nothing. Ends with exit code 1 when something is missing
    /// or damaged.
    Inspect(inspect::InspectArgs),
    /// Who keeps a snapshot
    Pins { collection: String, name: String },
    /// Read rows as they were at a snapshot, without restoring it
    ///
    /// Also rows that were deleted and partitions that were dropped since; the collection need not be loaded.
    #[command(
        after_long_help = "Example:\n  elanus ctl snapshot query docs before-v2 --filter 'price < 10' --output-fields id,price"
    )]
    Query {
        collection: String,
        name: String,
        #[command(flatten)]
        select: rows::Select,
        /// Fields, separated by commas; * is every one
        #[arg(long, value_name = "FIELDS", value_delimiter = ',', default_value = "*")]
        output_fields: Vec<String>,
        /// Longest list of rows
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=16_384))]
        limit: u32,
    },
    /// Count rows as they were at a snapshot
    Count {
        collection: String,
        name: String,
        #[command(flatten)]
        select: rows::Select,
    },
    /// Restore a snapshot into a new collection
    ///
    /// The new collection becomes visible at once and complete, or not at all. The job goes on in the server when this
    /// command ends; `--wait` only watches it. A clone shares the files of the snapshot, moves no byte and takes moments;
    /// a copy has files of its own.
    #[command(
        after_long_help = "Examples:\n  elanus ctl snapshot restore docs before-v2 docs_v1 --wait\n  elanus ctl snapshot restore docs before-v2 docs_2024 --mode copy --partition y2024 --no-indexes"
    )]
    Restore {
        collection: String,
        name: String,
        /// Name of the new collection
        target: String,
        /// Database of the new collection [default: the one of --db]
        #[arg(long, visible_alias = "target-database", value_name = "NAME")]
        target_db: Option<String>,
        /// How it gets its files [default: what the server is set to]
        #[arg(long, value_name = "MODE", value_parser = crate::restore_mode())]
        mode: Option<RestoreMode>,
        /// Only the rows of this partition; may be given more than once [default: all]
        #[arg(long = "partition", value_name = "NAME")]
        partitions: Vec<String>,
        /// Without the indexes of the snapshot
        #[arg(long)]
        no_indexes: bool,
        /// With a time to live, rows age from when they were written: old ones may expire at once [default: from the restore]
        #[arg(long)]
        keep_ages: bool,
        /// Watch the job until it ended
        #[arg(long)]
        wait: bool,
    },
}

fn ttl(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() {
        Err("a pin lives for more than no time; leave --ttl out for one without end".to_owned())
    } else {
        Ok(time)
    }
}

pub(super) async fn execute(client: &Client, command: Command) -> Result<Rendered, Stop> {
    let snapshots = client.snapshots();
    Ok(match command {
        Command::Create { collection, name, description } => {
            one(&snapshots.create(&collection, &name).description(description).send().await?)
        }
        Command::List { collection } => list(&snapshots.list(&collection).await?),
        Command::Describe { collection, name } => one(&snapshots.describe(&collection, &name).await?),
        Command::Drop { collection, name } => {
            snapshots.drop(&collection, &name).await?;
            Rendered {
                text: format!("snapshot {name} of {collection} is gone"),
                json: json!({"collection_name": collection, "name": name, "dropped": true}),
            }
        }
        Command::Dropped { collection } => dropped(&client.gc().actor(ACTOR).dropped(&collection).await?),
        Command::Undrop { collection, name, id, new_name } => {
            let back = client.gc().actor(ACTOR).undrop(&collection, &name, id, new_name.as_deref()).await?;
            Rendered {
                text: format!("snapshot {} (id {}) of {collection} is back", back.name, back.snapshot_id),
                json: json!({
                    "id": back.snapshot_id,
                    "name": back.name,
                    "collection_name": collection,
                    "create_ts": back.create_ts,
                    "undropped": true,
                }),
            }
        }
        Command::Pin { collection, name, ttl } => {
            let pin = snapshots.pin(&collection, &name);
            let pin_id = if let Some(ttl) = ttl { pin.ttl(ttl) } else { pin }.send().await?;
            Rendered {
                text: format!(
                    "pin {pin_id} keeps snapshot {name} of {collection}; end it with: elanus ctl snapshot unpin {pin_id}"
                ),
                json: json!({"pin_id": pin_id, "collection_name": collection, "name": name}),
            }
        }
        Command::Unpin { pin_id } => {
            snapshots.unpin(pin_id).await?;
            Rendered { text: format!("ended pin {pin_id}"), json: json!({"pin_id": pin_id, "unpinned": true}) }
        }
        Command::Inspect(args) => inspect::execute(&args).await?,
        Command::Pins { collection, name } => pins(&snapshots.pins(&collection, &name).await?),
        Command::Query { collection, name, select, output_fields, limit } => {
            let query = snapshots.query(&collection, &name).filter(select.filter).partitions(select.partitions);
            rows::table_of(&query.rows(output_fields, limit).await?)?
        }
        Command::Count { collection, name, select } => {
            let query = snapshots.query(&collection, &name).filter(select.filter).partitions(select.partitions);
            let count = query.count().await?;
            Rendered { text: count.to_string(), json: json!({"count": count}) }
        }
        Command::Restore { collection, name, target, target_db, mode, partitions, no_indexes, keep_ages, wait } => {
            let mut restore = snapshots.restore(&collection, &name, &target).partitions(&partitions);
            if let Some(mode) = mode {
                restore = restore.mode(mode);
            }
            if no_indexes {
                restore = restore.without_indexes();
            }
            if keep_ages {
                restore = restore.keep_ages();
            }
            if let Some(database) = target_db {
                restore = restore.target_database(database);
            }
            let started = restore.send().await?;
            job::one(&if wait { wait::until_ended(client, started.job_id).await? } else { started })
        }
    })
}

fn dropped(snapshots: &[GcDroppedSnapshot]) -> Rendered {
    let row = |one: &GcDroppedSnapshot| {
        vec![
            one.name.clone(),
            one.snapshot_id.to_string(),
            seconds(ms_of(one.create_ts)),
            seconds(one.dropped_ms),
            one.rows.to_string(),
            size(one.bytes),
        ]
    };
    let to_json = |one: &GcDroppedSnapshot| {
        json!({
            "id": one.snapshot_id,
            "name": one.name,
            "create_ts": one.create_ts,
            "created": rfc3339(ms_of(one.create_ts)),
            "dropped_ms": one.dropped_ms,
            "dropped": rfc3339(one.dropped_ms),
            "rows": one.rows,
            "bytes": one.bytes,
        })
    };
    Rendered {
        text: table(&["NAME", "ID", "CREATED", "DROPPED", "ROWS>", "SIZE>"], snapshots.iter().map(row)),
        json: snapshots.iter().map(to_json).collect(),
    }
}

fn list(snapshots: &[Snapshot]) -> Rendered {
    let row = |s: &Snapshot| {
        let created = seconds(ms_of(s.create_ts));
        vec![
            s.name.clone(),
            created,
            counted(s, s.rows.to_string()),
            counted(s, s.files.to_string()),
            counted(s, size(s.bytes)),
            s.live_pins.to_string(),
            s.description.clone(),
        ]
    };
    Rendered {
        text: table(
            &["NAME", "CREATED", "ROWS>", "FILES>", "SIZE>", "PINS>", "DESCRIPTION"],
            snapshots.iter().map(row),
        ),
        json: snapshots.iter().map(to_json).collect(),
    }
}

fn one(s: &Snapshot) -> Rendered {
    let text = facts(&[
        ("name", s.name.clone()),
        ("collection", format!("{}.{} (id {})", s.db_name, s.collection_name, s.collection_id)),
        ("state", s.state.clone()),
        ("created", format!("{} (timestamp {})", seconds(ms_of(s.create_ts)), s.create_ts)),
        ("rows", counted(s, s.rows.to_string())),
        ("files", counted(s, s.files.to_string())),
        ("size", counted(s, size(s.bytes))),
        ("partitions", s.partition_names.join(", ")),
        ("pins", s.live_pins.to_string()),
        ("location", counted(s, s.location.clone())),
        ("description", s.description.clone()),
    ]);
    Rendered { text, json: to_json(s) }
}

/// Whether its files are counted and listed in the bucket: of a large one this comes seconds after its create.
fn is_listed(s: &Snapshot) -> bool {
    s.state != "accepted"
}

fn counted(s: &Snapshot, text: String) -> String {
    if is_listed(s) { text } else { "…".to_owned() }
}

fn to_json(s: &Snapshot) -> Value {
    json!({
        "id": s.id,
        "name": s.name,
        "description": s.description,
        "db_name": s.db_name,
        "collection_name": s.collection_name,
        "collection_id": s.collection_id,
        "state": s.state,
        "create_ts": s.create_ts,
        "created_at": rfc3339(ms_of(s.create_ts)),
        "location": is_listed(s).then_some(&s.location),
        "partition_names": s.partition_names,
        "rows": is_listed(s).then_some(s.rows),
        "files": is_listed(s).then_some(s.files),
        "bytes": is_listed(s).then_some(s.bytes),
        "live_pins": s.live_pins,
    })
}

fn pins(pins: &[Pin]) -> Rendered {
    let owner = |pin: &Pin| if pin.job_id == 0 { pin.owner.clone() } else { format!("restore job {}", pin.job_id) };
    let expires = |pin: &Pin| if pin.expires_ms == 0 { "never".to_owned() } else { seconds(pin.expires_ms) };
    let row = |pin: &Pin| vec![pin.id.to_string(), seconds(pin.created_ms), expires(pin), owner(pin)];
    let to_json = |pin: &Pin| {
        json!({
            "id": pin.id,
            "owner": pin.owner,
            "job_id": number_or_null(pin.job_id),
            "created_ms": pin.created_ms,
            "created_at": rfc3339(pin.created_ms),
            "expires_ms": number_or_null(pin.expires_ms),
            "expires_at": rfc3339(pin.expires_ms),
        })
    };
    Rendered {
        text: table(&["ID", "CREATED", "EXPIRES", "OWNER"], pins.iter().map(row)),
        json: pins.iter().map(to_json).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            id: 7,
            name: "before-v2".to_owned(),
            description: "before the import".to_owned(),
            collection_id: 3,
            collection_name: "docs".to_owned(),
            db_name: "default".to_owned(),
            create_ts: 1_700_000_000_123 << 18,
            state: "committed".to_owned(),
            location: "c/snapshots/3/metadata/7-x.json".to_owned(),
            partition_names: vec!["_default".to_owned(), "p".to_owned()],
            rows: 1_000,
            files: 4,
            bytes: 5 << 20,
            live_pins: 1,
        }
    }

    #[test]
    fn snapshots_as_a_table() {
        let expected = "\
NAME       CREATED               ROWS  FILES      SIZE  PINS  DESCRIPTION
before-v2  2023-11-14T22:13:20Z  1000      4  5.00 MiB     1  before the import";
        assert_eq!(list(&[snapshot()]).text, expected);
        assert_eq!(list(&[]).json, json!([]));
    }

    #[test]
    fn what_is_not_counted_yet_is_not_told_as_nothing() {
        let accepted = Snapshot { state: "accepted".to_owned(), rows: 0, files: 0, bytes: 0, ..snapshot() };
        let expected = "\
NAME       CREATED               ROWS  FILES  SIZE  PINS  DESCRIPTION
before-v2  2023-11-14T22:13:20Z     …      …     …     1  before the import";
        assert_eq!(list(std::slice::from_ref(&accepted)).text, expected);
        for field in ["rows", "files", "bytes", "location"] {
            assert_eq!(to_json(&accepted)[field], Value::Null, "{field}");
        }
    }

    #[test]
    fn one_snapshot_in_both_forms() {
        let rendered = one(&snapshot());
        let expected = "\
name         before-v2
collection   default.docs (id 3)
state        committed
created      2023-11-14T22:13:20Z (timestamp 445644800032243712)
rows         1000
files        4
size         5.00 MiB
partitions   _default, p
pins         1
location     c/snapshots/3/metadata/7-x.json
description  before the import";
        assert_eq!(rendered.text, expected);
        let expected = r#"{"id":7,"name":"before-v2","description":"before the import","db_name":"default","collection_name":"docs","collection_id":3,"state":"committed","create_ts":445644800032243712,"created_at":"2023-11-14T22:13:20.123Z","location":"c/snapshots/3/metadata/7-x.json","partition_names":["_default","p"],"rows":1000,"files":4,"bytes":5242880,"live_pins":1}"#;
        assert_eq!(rendered.json.to_string(), expected);
    }

    #[test]
    fn pins_tell_whose_they_are_and_when_they_end() {
        let user = Pin { id: 1, owner: "backup".to_owned(), created_ms: 1_700_000_000_000, expires_ms: 0, job_id: 0 };
        let of_job = Pin { id: 2, owner: String::new(), expires_ms: 1_700_000_060_000, job_id: 9, ..user.clone() };
        let rendered = pins(&[user, of_job]);
        let expected = "\
ID  CREATED               EXPIRES               OWNER
1   2023-11-14T22:13:20Z  never                 backup
2   2023-11-14T22:13:20Z  2023-11-14T22:14:20Z  restore job 9";
        assert_eq!(rendered.text, expected);
        assert_eq!(rendered.json[0]["expires_at"], Value::Null);
        assert_eq!(rendered.json[1]["job_id"], 9);
    }
}
