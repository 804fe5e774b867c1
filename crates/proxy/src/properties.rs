//! Settings of databases, collections and fields: text that is kept as it was given. Those that Elanus knows are checked;
//! those that would have to change what it does, and cannot, are refused; all others are kept without effect.

use elanus_proto::{common::KeyValuePair, convert};
use elanus_types::{
    Code, Failure, aging::TTL_PROPERTY, schema::CollectionSchema, schema::ConsistencyLevel, schema::DataType,
};
use std::collections::BTreeMap;

const PROPERTIES_MAX: usize = 256;
const KEY_BYTES_MAX: usize = 255;
const VALUE_BYTES_MAX: usize = 64 << 10;

/// As in Milvus: a hundred years.
const TTL_S: std::ops::RangeInclusive<i64> = -1..=3_155_760_000;
const ISOLATION: &str = "partitionkey.isolation";
/// Properties that stand for parts of the definition.
const CONSISTENCY: &str = "consistency_level";
const DESCRIPTION: &str = "collection.description";
const DYNAMIC: &str = "dynamicfield.enabled";

/// Of these, `true` asks for something that is not done.
const NOT_SERVED: [&str; 5] = [
    "allow_insert_auto_id",
    "database.force.deny.writing",
    "database.force.deny.reading",
    "collection.force.deny.writing",
    "collection.force.deny.reading",
];
const SWITCHES: [&str; 6] = [
    "mmap.enabled",
    "mmap_enabled",
    "lazyload.enabled",
    "collection.autocompaction.enabled",
    "partitionkey.isolation",
    "dynamicfield.enabled",
];

/// What a change of a collection's properties comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) consistency_level: Option<i32>,
    pub(crate) description: Option<String>,
    /// The dynamic field is wanted, or not wanted, where it is the other way.
    pub(crate) dynamic: Option<bool>,
}

/// 1100 unless something is set, or something is removed, but not both.
pub(crate) fn one_kind_of_change(set: &[KeyValuePair], removed: &[String]) -> Result<(), Failure> {
    match (set.is_empty(), removed.is_empty()) {
        (true, true) => Err(Failure::invalid("no properties or delete keys provided")),
        (false, false) => Err(Failure::invalid("cannot provide both DeleteKeys and Properties/ExtraParams")),
        _ => Ok(()),
    }
}

pub(crate) fn of_database(pairs: &[KeyValuePair]) -> Result<BTreeMap<String, String>, Failure> {
    let properties = checked(pairs)?;
    if let Some(max) = properties.get("database.max.collections")
        && max.parse::<u32>().is_err()
    {
        return Err(Failure::invalid(format!("database.max.collections should be a number, got {max}")));
    }
    Ok(properties)
}

/// Properties of a collection that has this schema, when it is made or later.
pub(crate) fn of_collection(pairs: &[KeyValuePair], schema: &CollectionSchema) -> Result<Change, Failure> {
    let mut properties = checked(pairs)?;
    if let Some(ttl) = properties.get(TTL_PROPERTY) {
        let number: i64 =
            ttl.parse().map_err(|_| Failure::invalid("collection TTL is not a valid positive integer"))?;
        if !TTL_S.contains(&number) {
            let (from, to) = (TTL_S.start(), TTL_S.end());
            return Err(Failure::invalid(format!("collection TTL is out of range, expect [{from}, {to}], got {ttl}")));
        }
    }
    if is_on(&properties, ISOLATION) && schema.partition_key.is_none() {
        return Err(Failure::invalid(
            "partition key isolation mode is enabled but no partition key field is set. Please set the partition key first",
        ));
    }
    let dynamic = properties.remove(DYNAMIC).map(|value| value.eq_ignore_ascii_case("true"));
    let dynamic = dynamic.filter(|wanted| *wanted != schema.enable_dynamic_field);
    let level = properties.remove(CONSISTENCY).map(|level| {
        ConsistencyLevel::from_text(&level)
            .map(ConsistencyLevel::number)
            .ok_or_else(|| Failure::invalid(format!("unknown consistency level {level}")))
    });
    let description = properties.remove(DESCRIPTION);
    Ok(Change { consistency_level: level.transpose()?, description, properties, dynamic })
}

/// Parameters of a field that may change after it was made.
pub(crate) fn of_field(
    schema: &CollectionSchema,
    name: &str,
    pairs: &[KeyValuePair],
    removed: &[String],
) -> Result<Change, Failure> {
    let field = schema.field(name).filter(|field| !field.is_dynamic);
    let field = field.ok_or_else(|| Failure::invalid(format!("field {name} does not exist in collection")))?;
    let mut change = Change::default();
    for (key, value) in checked(pairs)? {
        match key.as_str() {
            "max_length" if ![Some(field.data_type), field.element_type].contains(&Some(DataType::VarChar)) => {
                return Err(Failure::invalid(format!(
                    "field {name}: can not modify the maxlength for non-string types"
                )));
            }
            "max_length" if !value.parse().is_ok_and(|max: u32| (1..=65_535).contains(&max)) => {
                return Err(Failure::invalid(format!(
                    "the maximum length specified for the field({name}) should be in (0, 65535], but got {value} instead"
                )));
            }
            "max_capacity" if field.data_type != DataType::Array => {
                return Err(Failure::invalid(format!(
                    "field {name}: can not modify the maxcapacity for non-array types"
                )));
            }
            "max_capacity" if !value.parse().is_ok_and(|max: u32| (1..=4_096).contains(&max)) => {
                return Err(Failure::invalid(format!(
                    "the maximum capacity specified for a Array should be in (0, 4096], but got {value} instead: field {name}"
                )));
            }
            "max_length" | "max_capacity" | "mmap.enabled" => {
                change.properties.insert(key, value);
            }
            "field.description" => change.description = Some(value),
            _ => return Err(Failure::invalid(format!("{key} does not allow update in collection field param"))),
        }
    }
    match removed.iter().find(|key| key.as_str() != "mmap.enabled") {
        Some(key) => Err(Failure::invalid(format!("{key} is not allowed to drop in collection field param"))),
        None => Ok(change),
    }
}

/// Parameters of an index that may change after it was defined.
pub(crate) fn of_index(pairs: &[KeyValuePair], removed: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let set = checked(pairs)?;
    let allowed = |key: &str| matches!(key, "mmap.enabled" | "indexoffsetcache.enabled");
    match set.keys().chain(removed).find(|key| !allowed(key)) {
        Some(key) => Err(Failure::invalid(format!("{key} is not configable index property"))),
        None => Ok(set),
    }
}

fn is_on(properties: &BTreeMap<String, String>, key: &str) -> bool {
    properties.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn checked(pairs: &[KeyValuePair]) -> Result<BTreeMap<String, String>, Failure> {
    if pairs.len() > PROPERTIES_MAX {
        return Err(Failure::invalid(format!("{} properties, at most {PROPERTIES_MAX} are taken", pairs.len())));
    }
    let properties = convert::pairs_to_map(pairs);
    for (key, value) in &properties {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let shown: String = key.chars().take(KEY_BYTES_MAX).collect();
            let text = format!("the name of a property should have 1 to {KEY_BYTES_MAX} bytes: {shown:?}");
            return Err(Failure::invalid(text));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(Failure::invalid(format!("property {key}: at most {VALUE_BYTES_MAX} bytes are taken")));
        }
        let is_switch = ["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word));
        if SWITCHES.contains(&key.as_str()) && !is_switch {
            return Err(Failure::invalid(format!(
                "invalid property value [{value}] of {key}, it should be true or false"
            )));
        }
        if NOT_SERVED.contains(&key.as_str()) && !value.eq_ignore_ascii_case("false") {
            return Err(Failure::new(Code::Unimplemented, format!("the property {key} is not served")));
        }
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
        pairs.iter().map(|(key, value)| KeyValuePair { key: (*key).into(), value: (*value).into() }).collect()
    }

    #[test]
    fn properties_that_are_parts_of_the_definition_are_told_apart() {
        let given = [("collection.ttl.seconds", "-1"), ("consistency_level", "strong"), ("my.own", "x")];
        let change = of_collection(&pairs(&given), &CollectionSchema::default()).unwrap();
        assert_eq!((change.consistency_level, change.description), (Some(0), None));
        assert_eq!(change.properties.keys().collect::<Vec<_>>(), ["collection.ttl.seconds", "my.own"]);
        let given = [("collection.description", "new"), ("consistency_level", "3"), ("dynamicfield.enabled", "False")];
        let change = of_collection(&pairs(&given), &CollectionSchema::default()).unwrap();
        assert_eq!((change.consistency_level, change.description.as_deref()), (Some(3), Some("new")));
        assert!(change.properties.is_empty() && change.dynamic.is_none());
        let change = of_collection(&pairs(&[("dynamicfield.enabled", "True")]), &CollectionSchema::default()).unwrap();
        assert_eq!((change.dynamic, change.properties.len()), (Some(true), 0));
    }

    #[test]
    fn bad_settings_are_refused_by_their_name() {
        for (key, value, code, fragment) in [
            ("collection.ttl.seconds", "-2", 1100, "collection TTL is out of range, expect [-1, 3155760000], got -2"),
            ("collection.ttl.seconds", "soon", 1100, "collection TTL is not a valid positive integer"),
            ("mmap.enabled", "perhaps", 1100, "mmap.enabled, it should be true or false"),
            ("partitionkey.isolation", "true", 1100, "no partition key field is set"),
            ("consistency_level", "Certain", 1100, "unknown consistency level Certain"),
            ("dynamicfield.enabled", "yes", 1100, "dynamicfield.enabled, it should be true or false"),
            ("allow_insert_auto_id", "true", 10, "allow_insert_auto_id is not served"),
            ("", "x", 1100, "1 to 255 bytes"),
        ] {
            let failure = of_collection(&pairs(&[(key, value)]), &CollectionSchema::default()).unwrap_err();
            assert_eq!(failure.code.number(), code, "{key}");
            assert!(failure.message.contains(fragment), "{} / {fragment}", failure.message);
        }
        assert!(of_database(&pairs(&[("database.max.collections", "many")])).is_err());
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        assert!(of_database(&pairs(&[("a", &long)])).is_err());
        assert!(of_database(&vec![KeyValuePair::default(); PROPERTIES_MAX + 1]).is_err());
        assert!(of_index(&pairs(&[("mmap.enabled", "true")]), &[]).is_ok());
        assert!(of_index(&pairs(&[("M", "3")]), &[]).is_err() && of_index(&[], &["metric_type".to_owned()]).is_err());
        assert!(one_kind_of_change(&pairs(&[("a", "b")]), &["c".to_owned()]).is_err());
        assert!(one_kind_of_change(&[], &[]).is_err());
    }

    #[test]
    fn what_may_change_of_a_field_goes_by_its_type() {
        use elanus_types::{FieldId, schema::FieldSchema};
        let field = |name: &str, data_type, element_type| FieldSchema {
            element_type,
            ..FieldSchema::new(FieldId(100), name, data_type)
        };
        let fields = vec![
            field("number", DataType::Int64, None),
            field("text", DataType::VarChar, None),
            field("numbers", DataType::Array, Some(DataType::Int64)),
            field("texts", DataType::Array, Some(DataType::VarChar)),
        ];
        let schema = CollectionSchema { fields, ..CollectionSchema::default() };
        let change = |name: &str, key: &str, value: &str| of_field(&schema, name, &pairs(&[(key, value)]), &[]);
        for (name, key) in
            [("text", "max_length"), ("texts", "max_length"), ("texts", "max_capacity"), ("numbers", "max_capacity")]
        {
            assert_eq!(change(name, key, "12").unwrap().properties, [(key.to_owned(), "12".to_owned())].into());
            assert!(change(name, key, "0").unwrap_err().message.contains(name), "{name} {key}");
        }
        for (name, key) in [("number", "max_length"), ("numbers", "max_length"), ("text", "max_capacity")] {
            assert!(change(name, key, "12").unwrap_err().message.starts_with(&format!("field {name}: can not modify")));
        }
        assert!(change("texts", "max_capacity", "4097").is_err() && change("text", "max_length", "65536").is_err());
    }
}
