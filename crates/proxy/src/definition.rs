//! What a user asks a new collection to be, checked and completed: field ids are given here, and the dynamic column is added.

use crate::{ProxyConfig, names, partitions::keyed, properties};
use bytes::Bytes;
use elanus_proto::{convert, datacoord as dc, milvus as m, schema as proto};
use elanus_types::{
    Failure, FieldId,
    schema::{CollectionSchema, ConsistencyLevel, DYNAMIC_FIELD, DataType, DefaultValue, FieldSchema},
};
use prost::Message as _;
use std::collections::BTreeSet;

/// Partitions of a collection with a partition key, where the user names no number.
const KEYED_PARTITIONS: usize = 16;

/// The request to the coordinator for what the user asks.
pub(crate) fn define(
    request: &m::CreateCollectionRequest,
    db_name: String,
    limits: &ProxyConfig,
) -> Result<dc::CreateCollectionRequest, Failure> {
    let mut message = proto::CollectionSchema::decode(request.schema.clone())
        .map_err(|error| Failure::invalid(format!("the collection schema cannot be read: {error}")))?;
    let shards_num = shards(request.shards_num, limits)?;
    if message.fields.len() > limits.fields_max {
        return Err(Failure::invalid(format!("maximum field's number should be limited to {}", limits.fields_max)));
    }
    names::collection(&request.collection_name)?;
    check_field_names(&message.fields)?;
    // Ids in the order that the user gave; whatever ids the request had are not the user's to choose.
    for (field, id) in message.fields.iter_mut().zip(FieldId::FIRST_USER.0..) {
        field.field_id = id;
    }
    let mut schema = complete(convert::schema_from_proto(&message)?);
    check_vectors(&schema, limits)?;
    let partition_names = partitions(&schema, request.num_partitions, limits)?;
    let properties::Change { properties, consistency_level, description, dynamic } =
        properties::of_collection(&request.properties, &schema)?;
    if dynamic.is_some() {
        return Err(Failure::invalid(
            "dynamicfield.enabled of a new collection is what its schema says: set enable_dynamic_field",
        ));
    }
    if let Some(text) = description {
        schema.description = text;
    }
    if ConsistencyLevel::from_number(request.consistency_level).is_none() {
        return Err(Failure::invalid(format!("unknown consistency level {}", request.consistency_level)));
    }
    Ok(dc::CreateCollectionRequest {
        db_name,
        collection_name: request.collection_name.clone(),
        schema: Some(convert::schema_to_proto(&request.collection_name, &schema)),
        shards_num,
        consistency_level: consistency_level.unwrap_or(request.consistency_level),
        properties,
        partition_names,
    })
}

/// A field that a user asks to add to a collection that is there. Its id is given by the coordinator, which also looks at the
/// names and the number of fields once more, as they are then.
pub(crate) fn added_field(
    schema: &CollectionSchema,
    message: Bytes,
    limits: &ProxyConfig,
) -> Result<FieldSchema, Failure> {
    let mut message = proto::FieldSchema::decode(message)
        .map_err(|error| Failure::invalid(format!("the field schema cannot be read: {error}")))?;
    let name = message.name.clone();
    let refuse = |what: &str| Err(Failure::invalid(format!("{what}, field name = {name}")));
    if message.is_dynamic || matches!(name.as_str(), "RowID" | "Timestamp" | "$namespace_id" | DYNAMIC_FIELD) {
        return refuse("not support to add system field");
    }
    names::field(&name)?;
    if message.is_primary_key {
        return refuse("not support to add pk field");
    }
    if message.auto_id {
        return refuse("only primary field can speficy AutoID with true");
    }
    if message.is_partition_key {
        return refuse("not support to add partition key field");
    }
    if message.is_clustering_key {
        return refuse("not support to add clustering key field");
    }
    message.field_id = 0;
    if DataType::from_number(message.data_type).is_some_and(DataType::is_vector) {
        return refuse("not support to add vector field");
    }
    if !message.nullable {
        return refuse("added field must be nullable, please check it");
    }
    if schema.field(&name).is_some() {
        return Err(Failure::invalid(format!("duplicate field name: {name}")));
    }
    if schema.fields.iter().filter(|field| !field.is_dynamic).count() >= limits.fields_max {
        let max = limits.fields_max;
        return Err(Failure::invalid(format!("The number of fields has reached the maximum value {max}")));
    }
    convert::field_from_proto(&message)
}

fn shards(asked: i32, limits: &ProxyConfig) -> Result<i32, Failure> {
    match asked {
        0 => Ok(1),
        1.. if asked <= limits.shards_max => Ok(asked),
        1.. => Err(Failure::invalid(format!("maximum shards's number should be limited to {}", limits.shards_max))),
        _ => Err(Failure::invalid(format!("the number of shards cannot be {asked}"))),
    }
}

/// The partitions that a partition key needs; none where there is no key.
fn partitions(schema: &CollectionSchema, asked: i64, limits: &ProxyConfig) -> Result<Vec<String>, Failure> {
    let max = limits.partitions_max;
    let refuse = |why: String| Err(Failure::invalid(why));
    if schema.partition_key.is_none() {
        return match asked {
            0 => Ok(Vec::new()),
            _ => refuse("num_partitions should only be specified with partition key field enabled".to_owned()),
        };
    }
    let count = match usize::try_from(asked) {
        Ok(0) => KEYED_PARTITIONS,
        Ok(count) if count > max => {
            return refuse(format!("partition number ({count}) exceeds max configuration ({max})"));
        }
        Ok(count) => count,
        Err(_) => {
            return refuse("the specified partitions should be greater than 0 if partition key is used".to_owned());
        }
    };
    Ok((0..count).map(keyed).collect())
}

fn check_field_names(fields: &[proto::FieldSchema]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for field in fields {
        if field.is_dynamic || field.name == DYNAMIC_FIELD {
            return Err(Failure::invalid(format!(
                "Invalid field name: {}. the dynamic field is added by the server",
                field.name
            )));
        }
        names::field(&field.name)?;
        if !seen.insert(field.name.as_str()) {
            return Err(Failure::invalid(format!("duplicated field name {}", field.name)));
        }
    }
    Ok(())
}

fn check_vectors(schema: &CollectionSchema, limits: &ProxyConfig) -> Result<(), Failure> {
    match schema.vector_fields().count() {
        0 => Err(Failure::invalid("schema does not contain vector field")),
        count if count > limits.vector_fields_max => {
            let max = limits.vector_fields_max;
            Err(Failure::invalid(format!("maximum vector field's number should be limited to {max}, got {count}")))
        }
        _ => Ok(()),
    }
}

/// With the dynamic column, as the last one, where the user wants one.
fn complete(mut schema: CollectionSchema) -> CollectionSchema {
    if schema.enable_dynamic_field {
        let last = i64::try_from(schema.fields.len()).unwrap_or(i64::MAX >> 1);
        let id = FieldId(FieldId::FIRST_USER.0 + last);
        schema.fields.push(dynamic_field(id));
    }
    schema
}

fn dynamic_field(id: FieldId) -> FieldSchema {
    FieldSchema {
        description: "dynamic schema".to_owned(),
        is_dynamic: true,
        ..FieldSchema::new(id, DYNAMIC_FIELD, DataType::Json)
    }
}

/// The dynamic column of a collection that got it later: rows that are there have no keys in it.
pub(crate) fn late_dynamic_field() -> FieldSchema {
    FieldSchema { default_value: Some(DefaultValue::Text("{}".to_owned())), ..dynamic_field(FieldId::NONE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::common::KeyValuePair;

    fn field(name: &str, data_type: DataType, params: &[(&str, &str)]) -> proto::FieldSchema {
        proto::FieldSchema {
            name: name.to_owned(),
            data_type: data_type.number(),
            is_primary_key: name == "pk",
            type_params: params.iter().map(|(k, v)| KeyValuePair { key: (*k).into(), value: (*v).into() }).collect(),
            ..proto::FieldSchema::default()
        }
    }

    fn request(
        change: impl FnOnce(&mut m::CreateCollectionRequest, &mut proto::CollectionSchema),
    ) -> m::CreateCollectionRequest {
        let mut schema = proto::CollectionSchema {
            fields: vec![field("pk", DataType::Int64, &[]), field("v", DataType::FloatVector, &[("dim", "4")])],
            ..proto::CollectionSchema::default()
        };
        let mut request = m::CreateCollectionRequest { collection_name: "things".to_owned(), ..Default::default() };
        change(&mut request, &mut schema);
        request.schema = schema.encode_to_vec().into();
        request
    }

    #[test]
    fn fields_get_ids_in_their_order_and_the_dynamic_column_comes_last() {
        let request = request(|request, schema| {
            schema.enable_dynamic_field = true;
            schema.fields[0].field_id = 900;
            request.consistency_level = 2;
        });
        let defined = define(&request, "default".to_owned(), &ProxyConfig::default()).unwrap();
        let fields = defined.schema.unwrap().fields;
        let ids: Vec<_> = fields.iter().map(|field| (field.field_id, field.name.as_str(), field.is_dynamic)).collect();
        assert_eq!(ids, [(100, "pk", false), (101, "v", false), (102, "$meta", true)]);
        assert_eq!((defined.shards_num, defined.consistency_level), (1, 2));
    }

    #[test]
    fn a_definition_that_cannot_be_is_refused_with_its_reason() {
        type Change = fn(&mut m::CreateCollectionRequest, &mut proto::CollectionSchema);
        let table: [(Change, &str); 10] = [
            (|r, _| r.collection_name.clear(), "collection name should not be empty"),
            (|r, _| r.shards_num = 17, "maximum shards's number should be limited to 16"),
            (|r, _| r.shards_num = -1, "the number of shards cannot be -1"),
            (|r, _| r.num_partitions = 4, "num_partitions should only be specified with partition key"),
            (|r, _| r.consistency_level = 9, "unknown consistency level 9"),
            (|_, s| s.fields.truncate(1), "schema does not contain vector field"),
            (|_, s| s.fields[1].name = "pk".to_owned(), "duplicated field name pk"),
            (|_, s| s.fields[1].name = "$meta".to_owned(), "Invalid field name: $meta"),
            (|_, s| s.fields[0].is_primary_key = false, "primary key is not specified"),
            (
                |_, s| {
                    let template = s.fields[1].clone();
                    let more = (0..63).map(|n| proto::FieldSchema { name: format!("f{n}"), ..template.clone() });
                    s.fields.extend(more);
                },
                "maximum field's number should be limited to 64",
            ),
        ];
        for (change, fragment) in table {
            let failure = define(&request(change), "default".to_owned(), &ProxyConfig::default()).unwrap_err();
            assert_eq!(failure.code.number(), 1100, "{fragment}");
            assert!(failure.message.contains(fragment), "{} / {fragment}", failure.message);
        }
    }

    #[test]
    fn a_field_that_cannot_be_added_is_refused_with_its_name() {
        type Change = fn(&mut proto::FieldSchema);
        let there = proto::CollectionSchema {
            fields: vec![field("pk", DataType::Int64, &[]), field("v", DataType::FloatVector, &[("dim", "4")])],
            ..proto::CollectionSchema::default()
        };
        let there = complete(convert::schema_from_proto(&there).unwrap());
        let add = |change: Change, fields_max: usize| {
            let mut message = proto::FieldSchema { nullable: true, ..field("late", DataType::Int64, &[]) };
            change(&mut message);
            let limits = ProxyConfig { fields_max, ..ProxyConfig::default() };
            added_field(&there, message.encode_to_vec().into(), &limits)
        };
        assert_eq!(add(|f| f.field_id = 77, 64).unwrap().id, FieldId(0));
        let table: [(Change, usize, &str); 11] = [
            (|f| f.nullable = false, 64, "added field must be nullable, please check it, field name = late"),
            (|f| f.is_primary_key = true, 64, "not support to add pk field, field name = late"),
            (|f| f.is_partition_key = true, 64, "not support to add partition key field, field name = late"),
            (|f| f.is_clustering_key = true, 64, "not support to add clustering key field, field name = late"),
            (|f| f.auto_id = true, 64, "AutoID with true, field name = late"),
            (|f| f.data_type = 101, 64, "not support to add vector field, field name = late"),
            (|f| f.name = "$meta".to_owned(), 64, "not support to add system field, field name = $meta"),
            (|f| f.name = "v".to_owned(), 64, "duplicate field name: v"),
            (|f| f.name = "1x".to_owned(), 64, "Invalid field name"),
            (|f| f.data_type = 21, 64, "field late: type param max_length should be specified"),
            (|_| {}, 2, "The number of fields has reached the maximum value 2"),
        ];
        for (change, fields_max, text) in table {
            let failure = add(change, fields_max).unwrap_err();
            assert_eq!(failure.code.number(), 1100);
            assert!(failure.message.contains(text), "{} / {text}", failure.message);
        }
    }
}
