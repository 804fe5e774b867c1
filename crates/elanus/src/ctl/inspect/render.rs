//! What an inspection looks like.

use super::super::output::{Rendered, clean, facts, size, table};
use super::{Finding, Inspection, Level};
use elanus_manifest::{FileEntry, ManifestEntry, ManifestRef, SnapshotMetadata};
use elanus_types::PartitionId;
use elanus_types::schema::{CollectionDefinition, DefaultValue, FieldSchema};
use serde_json::{Value, json};
use std::fmt::Write as _;

pub(super) fn render(inspection: &Inspection) -> Rendered {
    Rendered { text: text(inspection), json: to_json(inspection) }
}

fn text(inspection: &Inspection) -> String {
    let Inspection { metadata, entries, findings, .. } = inspection;
    let mut text = summary(inspection);
    let mut section = |name: &str, body: String| {
        let _ = write!(text, "\n\n{name}\n{}", if body.is_empty() { "none" } else { &body });
    };
    section("FIELDS", fields(&metadata.definition));
    section("PARTITIONS", partitions(&metadata.definition));
    section("INDEXES", indexes(&metadata.definition));
    section("MANIFESTS", manifests(&metadata.manifests));
    match entries {
        Some(entries) => section("FILES", files(entries)),
        None => section("FILES", "unknown: the manifests cannot be read".to_owned()),
    }
    if !findings.is_empty() {
        let line = |one: &Finding| format!("{}: {}: {}", one.what, clean(&one.key), clean(&one.why));
        section("PROBLEMS", findings.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    text
}

fn summary(inspection: &Inspection) -> String {
    let Inspection { root, metadata, level, findings, .. } = inspection;
    let SnapshotMetadata { snapshot, definition, totals, .. } = metadata;
    let checked = match level {
        Level::Metadata => "metadata and manifests",
        Level::Presence => "metadata, manifests, presence and size of every file",
        Level::Checksum => "metadata, manifests, checksum of every file",
    };
    let result = match findings.len() {
        0 => "all well".to_owned(),
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    facts(&[
        ("name", snapshot.name.clone()),
        ("id", snapshot.id.to_string()),
        (
            "collection",
            format!("{}.{} (id {})", snapshot.database_name, snapshot.collection_name, snapshot.collection_id),
        ),
        ("state", snapshot.state.to_string()),
        ("created", format!("{} (timestamp {})", snapshot.created_at, snapshot.create_ts)),
        ("description", snapshot.description.clone()),
        ("shards", definition.shards_num.to_string()),
        ("rows", totals.rows.to_string()),
        ("files", totals.files.to_string()),
        ("segments", totals.segments.to_string()),
        ("size", size(i64::try_from(totals.bytes).unwrap_or(i64::MAX))),
        ("object store", root.clone()),
        ("checked", format!("{checked}: {result}")),
    ])
}

fn fields(definition: &CollectionDefinition) -> String {
    let traits = |field: &FieldSchema| {
        let words = [
            (field.is_primary_key, "primary key"),
            (field.auto_id, "auto id"),
            (field.is_dynamic, "dynamic"),
            (field.nullable, "nullable"),
        ];
        let words = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned());
        let element = field.element_type.map(|element| format!("element={}", word(&element)));
        let default = field.default_value.as_ref().map(|value| format!("default={}", default(value)));
        words
            .chain(element)
            .chain(default)
            .chain(field.type_params.iter().map(|(name, value)| format!("{name}={value}")))
            .collect::<Vec<_>>()
    };
    let row = |field: &FieldSchema| {
        vec![field.id.to_string(), field.name.clone(), word(&field.data_type), traits(field).join(", ")]
    };
    table(&["ID>", "NAME", "TYPE", "TRAITS"], definition.schema.fields.iter().map(row))
}

fn default(value: &DefaultValue) -> String {
    match value {
        DefaultValue::Bool(value) => value.to_string(),
        DefaultValue::Int(value) => value.to_string(),
        DefaultValue::Float(value) => value.to_string(),
        DefaultValue::Text(value) => format!("{value:?}"),
    }
}

fn partitions(definition: &CollectionDefinition) -> String {
    table(&["ID>", "NAME"], definition.partitions.iter().map(|one| vec![one.id.to_string(), one.name.clone()]))
}

fn indexes(definition: &CollectionDefinition) -> String {
    if definition.indexes.is_empty() {
        return String::new();
    }
    let rows = definition.indexes.iter().map(|one| {
        let params: Vec<String> = one.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![one.id.to_string(), one.name.clone(), one.field_id.to_string(), params.join(", ")]
    });
    table(&["ID>", "NAME", "FIELD>", "PARAMETERS"], rows)
}

fn manifests(manifests: &[ManifestRef]) -> String {
    if manifests.is_empty() {
        return String::new();
    }
    let row = |one: &ManifestRef| {
        vec![
            one.key.to_string(),
            one.size.to_string(),
            one.entries_added.to_string(),
            one.entries_removed.to_string(),
            one.files.to_string(),
            one.rows.to_string(),
            one.checksum.to_string(),
        ]
    };
    table(&["KEY", "BYTES>", "ADDED>", "REMOVED>", "FILES>", "ROWS>", "CHECKSUM"], manifests.iter().map(row))
}

fn files(entries: &[ManifestEntry]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let partition = |id: PartitionId| if id == PartitionId::ALL { "all".to_owned() } else { id.to_string() };
    let row = |entry: &ManifestEntry, file: &FileEntry| {
        vec![
            file.key.to_string(),
            file.kind.to_string(),
            entry.segment_id.to_string(),
            partition(entry.partition_id),
            entry.rows.to_string(),
            file.size.to_string(),
            file.checksum.to_string(),
        ]
    };
    let rows = entries.iter().flat_map(|entry| entry.files.iter().map(move |file| row(entry, file)));
    table(&["KEY", "KIND", "SEGMENT>", "PARTITION>", "ROWS>", "BYTES>", "CHECKSUM"], rows)
}

/// The metadata as it is, the folded entries, and what was found.
fn to_json(inspection: &Inspection) -> Value {
    let Inspection { root, metadata, entries, level, findings } = inspection;
    let finding = |one: &Finding| json!({"problem": one.what, "key": one.key, "detail": one.why});
    json!({
        "ok": findings.is_empty(),
        "verify": level.as_str(),
        "problems": findings.iter().map(finding).collect::<Value>(),
        "object_store": root.clone(),
        "metadata": metadata,
        "entries": entries,
    })
}

/// The word that the metadata object has for it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        other => format!("{other:?}"),
    }
}
