//! `elanus ctl collection`.

use super::{
    Stop, compaction, confirm, job,
    output::{Rendered, facts, ms_of, rfc3339, seconds, size, table},
    wait,
};
use clap::Subcommand;
use elanus_client::{Client, Collection, Rollback, Statistics};
use elanus_proto::{common::ConsistencyLevel, convert::pairs_to_map, schema};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Collections of the database, by name
    #[command(visible_alias = "ls")]
    List,
    /// One collection with its fields and its size
    Describe { collection: String },
    /// Let a collection hold again what it held at one of its snapshots
    ///
    /// At once and as a whole. What the collection holds now is kept in a new snapshot, whose name is printed: a rollback
    /// to it undoes this one. All snapshots of the collection stay.
    Rollback {
        collection: String,
        snapshot: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Give a collection files of its own, where it shares them with others, as a clone does
    ///
    /// A job copies them in the background; then they take the places of the shared ones at once. Readers see no change.
    /// Snapshots that were taken before keep the shared files until they are dropped.
    Detach {
        collection: String,
        /// Watch the job until it ended
        #[arg(long)]
        wait: bool,
    },
    /// Merge small files of a collection, and leave out the rows that are deleted
    ///
    /// Happens by itself where it is worth it; this does everything that gets better by it. Readers see no change. What a
    /// snapshot holds stays as it is, and snapshots that asked compaction to wait are honoured.
    Compact {
        collection: String,
        /// Wait until it is done
        #[arg(long)]
        wait: bool,
    },
}

async fn detach(client: &Client, collection: &str, wait: bool) -> Result<Rendered, Stop> {
    let submitted = client.collections().detach(collection).await?;
    let job = if wait { wait::until_ended(client, submitted.job_id).await? } else { submitted };
    Ok(job::one(&job))
}

pub(super) async fn execute(client: &Client, command: Command) -> Result<Rendered, Stop> {
    Ok(match command {
        Command::List => list(&client.collections().list().await?),
        Command::Describe { collection } => {
            let detail = client.collections().describe(&collection).await?;
            one(&detail.collection.unwrap_or_default(), &detail.statistics.unwrap_or_default())
        }
        Command::Detach { collection, wait } => detach(client, &collection, wait).await?,
        Command::Compact { collection, wait } => compaction::start(client, &collection, wait).await?,
        Command::Rollback { collection, snapshot, yes } => {
            let what = format!("{collection} goes back to snapshot {snapshot}; later writes leave the collection");
            confirm::confirm(yes, &what, &collection)?;
            rolled_back(&collection, &client.collections().roll_back(&collection, &snapshot).await?)
        }
    })
}

fn rolled_back(collection: &str, done: &Rollback) -> Rendered {
    let (to, safety) = (&done.snapshot_name, &done.safety_snapshot_name);
    Rendered {
        text: format!("{collection} holds what it held at {to}; what it held before is in snapshot {safety}"),
        json: json!({
            "collection_name": collection,
            "collection_id": done.collection_id,
            "snapshot_name": to,
            "safety_snapshot_name": safety,
            "rollback_ts": done.rollback_ts,
            "rolled_back_at": rfc3339(ms_of(done.rollback_ts)),
        }),
    }
}

fn fields(collection: &Collection) -> &[schema::FieldSchema] {
    collection.schema.as_ref().map(|schema| schema.fields.as_slice()).unwrap_or_default()
}

fn data_type(field: &schema::FieldSchema) -> String {
    type_name(field.data_type)
}

/// Of an array.
fn element_type(field: &schema::FieldSchema) -> Option<String> {
    (field.element_type != 0).then(|| type_name(field.element_type))
}

fn type_name(number: i32) -> String {
    let known = schema::DataType::try_from(number).map(|ty| ty.as_str_name().to_owned());
    known.unwrap_or_else(|_| number.to_string())
}

fn default_value(field: &schema::FieldSchema) -> Option<Value> {
    use schema::value_field::Data;
    Some(match field.default_value.as_ref()?.data.as_ref()? {
        Data::BoolData(value) => json!(value),
        Data::IntData(value) => json!(value),
        Data::LongData(value) => json!(value),
        Data::FloatData(value) => json!(value),
        Data::DoubleData(value) => json!(value),
        Data::StringData(value) => json!(value),
        Data::BytesData(value) => json!(String::from_utf8_lossy(value)),
        Data::TimestamptzData(_) | Data::DateData(_) | Data::TimeData(_) => return None,
    })
}

fn consistency(collection: &Collection) -> String {
    let known = ConsistencyLevel::try_from(collection.consistency_level).map(|level| level.as_str_name().to_owned());
    known.unwrap_or_else(|_| collection.consistency_level.to_string())
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn list(collections: &[Collection]) -> Rendered {
    let row = |c: &Collection| {
        let (fields, partitions) = (fields(c).len().to_string(), c.partitions.len().to_string());
        vec![
            c.name.clone(),
            c.id.to_string(),
            yes(c.loaded),
            fields,
            partitions,
            c.indexes.len().to_string(),
            seconds(ms_of(c.created_ts)),
        ]
    };
    Rendered {
        text: table(
            &["NAME", "ID", "LOADED", "FIELDS>", "PARTITIONS>", "INDEXES>", "CREATED"],
            collections.iter().map(row),
        ),
        json: collections.iter().map(to_json).collect(),
    }
}

fn one(c: &Collection, statistics: &Statistics) -> Rendered {
    let head = facts(&[
        ("name", format!("{}.{} (id {})", c.db_name, c.name, c.id)),
        ("aliases", c.aliases.join(", ")),
        ("created", seconds(ms_of(c.created_ts))),
        ("loaded", yes(c.loaded)),
        ("consistency", consistency(c)),
        ("shards", c.shards_num.to_string()),
        ("properties", c.properties.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")),
        ("partitions", c.partitions.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")),
        ("indexes", c.indexes.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ")),
        ("rows", format!("{} (deletes on record: {})", statistics.row_count, statistics.delete_records)),
        (
            "size",
            format!("{} in {} files of {} segments", size(statistics.bytes), statistics.files, statistics.segments),
        ),
    ]);
    let row = |field: &schema::FieldSchema| {
        let mut params: Vec<_> =
            pairs_to_map(&field.type_params).iter().map(|(key, value)| format!("{key}={value}")).collect();
        params.extend(element_type(field).map(|element| format!("element={element}")));
        params.extend(default_value(field).map(|value| format!("default={value}")));
        let traits = [
            (field.is_primary_key, "primary key"),
            (field.auto_id, "auto id"),
            (field.nullable, "nullable"),
            (field.is_dynamic, "dynamic"),
            (field.is_partition_key, "partition key"),
            (field.is_clustering_key, "clustering key"),
        ];
        let traits: Vec<_> = traits.iter().filter_map(|(yes, name)| yes.then_some(*name)).collect();
        vec![field.name.clone(), field.field_id.to_string(), data_type(field), params.join(" "), traits.join(", ")]
    };
    let fields = table(&["FIELD", "ID>", "TYPE", "PARAMETERS", "TRAITS"], fields(c).iter().map(row));
    let mut json = to_json(c);
    json["statistics"] = json!({
        "row_count": statistics.row_count,
        "delete_records": statistics.delete_records,
        "segments": statistics.segments,
        "files": statistics.files,
        "bytes": statistics.bytes,
    });
    Rendered { text: format!("{head}\n\n{fields}"), json }
}

fn to_json(c: &Collection) -> Value {
    let field = |field: &schema::FieldSchema| {
        json!({
            "id": field.field_id,
            "name": field.name,
            "description": field.description,
            "data_type": data_type(field),
            "element_type": element_type(field),
            "default_value": default_value(field),
            "params": pairs_to_map(&field.type_params),
            "primary_key": field.is_primary_key,
            "auto_id": field.auto_id,
            "nullable": field.nullable,
            "dynamic": field.is_dynamic,
            "partition_key": field.is_partition_key,
            "clustering_key": field.is_clustering_key,
        })
    };
    let partitions = c.partitions.iter().map(|p| {
        let created_at = rfc3339(ms_of(p.created_ts));
        json!({"id": p.id, "name": p.name, "created_ts": p.created_ts, "created_at": created_at, "loaded": p.loaded})
    });
    let indexes =
        c.indexes.iter().map(|i| json!({"id": i.id, "name": i.name, "field_id": i.field_id, "params": i.params}));
    json!({
        "id": c.id,
        "name": c.name,
        "aliases": c.aliases,
        "db_id": c.db_id,
        "db_name": c.db_name,
        "loaded": c.loaded,
        "shards_num": c.shards_num,
        "consistency_level": consistency(c),
        "created_ts": c.created_ts,
        "created_at": rfc3339(ms_of(c.created_ts)),
        "updated_ts": c.updated_ts,
        "updated_at": rfc3339(ms_of(c.updated_ts)),
        "properties": c.properties,
        "fields": fields(c).iter().map(field).collect::<Value>(),
        "partitions": partitions.collect::<Value>(),
        "indexes": indexes.collect::<Value>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::{common::KeyValuePair, datacoord::Partition};

    fn collection() -> Collection {
        let id = schema::FieldSchema {
            field_id: 100,
            name: "id".to_owned(),
            is_primary_key: true,
            data_type: 5,
            ..Default::default()
        };
        let dim = KeyValuePair { key: "dim".to_owned(), value: "8".to_owned() };
        let vector = schema::FieldSchema {
            field_id: 101,
            name: "v".to_owned(),
            data_type: 101,
            type_params: vec![dim],
            ..Default::default()
        };
        Collection {
            id: 3,
            db_name: "default".to_owned(),
            name: "docs".to_owned(),
            schema: Some(schema::CollectionSchema { fields: vec![id, vector], ..Default::default() }),
            shards_num: 1,
            consistency_level: 2,
            partitions: vec![Partition { id: 4, name: "_default".to_owned(), ..Default::default() }],
            created_ts: 1_700_000_000_000 << 18,
            loaded: true,
            aliases: vec!["books".to_owned(), "papers".to_owned()],
            ..Default::default()
        }
    }

    #[test]
    fn collections_as_a_table() {
        let expected = "\
NAME  ID  LOADED  FIELDS  PARTITIONS  INDEXES  CREATED
docs  3   yes          2           1        0  2023-11-14T22:13:20Z";
        assert_eq!(list(&[collection()]).text, expected);
    }

    #[test]
    fn one_collection_in_both_forms() {
        let statistics = Statistics { row_count: 10, files: 2, bytes: 2_048, segments: 1, delete_records: 3 };
        let rendered = one(&collection(), &statistics);
        let expected = "\
name         default.docs (id 3)
aliases      books, papers
created      2023-11-14T22:13:20Z
loaded       yes
consistency  Bounded
shards       1
properties
partitions   _default
indexes
rows         10 (deletes on record: 3)
size         2.00 KiB in 2 files of 1 segments

FIELD   ID  TYPE         PARAMETERS  TRAITS
id     100  Int64                    primary key
v      101  FloatVector  dim=8";
        assert_eq!(rendered.text, expected);
        assert_eq!(rendered.json["fields"][1]["params"]["dim"], "8");
        assert_eq!(rendered.json["statistics"]["bytes"], 2_048);
        assert_eq!(rendered.json["created_at"], "2023-11-14T22:13:20.000Z");
    }
}
