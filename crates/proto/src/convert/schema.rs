//! Collection schemas: messages of the Milvus API to the types of Elanus and back.
//!
//! Whatever the types cannot hold is refused by name, so that no option of a user is lost in silence.
//! Names, ids and limits of a new collection are the proxy's to check; here they pass as they are.

use super::field::{field_from_proto, field_to_proto};
use crate::schema as proto;
use elanus_types::{
    Failure, FieldId,
    schema::{CollectionSchema, DataType, FieldSchema},
};

/// The message for a schema. The dynamic column is among the fields; a collection's name is not part of its schema.
#[must_use]
pub fn schema_to_proto(name: &str, schema: &CollectionSchema) -> proto::CollectionSchema {
    proto::CollectionSchema {
        name: name.to_owned(),
        description: schema.description.clone(),
        auto_id: schema.primary_key().auto_id,
        fields: schema.fields.iter().map(|field| marked(schema, field)).collect(),
        enable_dynamic_field: schema.enable_dynamic_field,
        ..proto::CollectionSchema::default()
    }
}

fn marked(schema: &CollectionSchema, field: &FieldSchema) -> proto::FieldSchema {
    proto::FieldSchema {
        is_partition_key: schema.partition_key == Some(field.id),
        is_clustering_key: schema.clustering_key == Some(field.id),
        ..field_to_proto(field)
    }
}

/// The schema that a message holds.
///
/// # Errors
/// [`elanus_types::Code::ParameterInvalid`] when the message uses what Elanus does not serve, or has not exactly one primary key.
pub fn schema_from_proto(message: &proto::CollectionSchema) -> Result<CollectionSchema, Failure> {
    for (used, what) in [
        (!message.functions.is_empty(), "functions"),
        (!message.struct_array_fields.is_empty(), "struct array fields"),
        (!message.external_source.is_empty() || !message.external_spec.is_empty(), "external collections"),
        (message.enable_namespace, "namespaces"),
        (!message.file_resource_ids.is_empty(), "file resources"),
    ] {
        if used {
            return Err(Failure::invalid(format!("the schema uses {what}, which are not served")));
        }
    }
    let fields = message.fields.iter().map(field_from_proto).collect::<Result<Vec<_>, _>>()?;
    let mut keys = fields.iter().filter(|field| field.is_primary_key);
    match (keys.next(), keys.next()) {
        (None, _) => return Err(Failure::invalid("primary key is not specified")),
        (Some(one), Some(two)) => {
            let names = format!("{} and {}", one.name, two.name);
            return Err(Failure::invalid(format!("there are more than one primary key: {names}")));
        }
        (Some(_), None) => {}
    }
    let partition_key = partition_key(message, &fields)?;
    let clustering_key = clustering_key(message, &fields)?;
    Ok(CollectionSchema {
        description: message.description.clone(),
        fields,
        enable_dynamic_field: message.enable_dynamic_field,
        partition_key,
        clustering_key,
    })
}

/// The field that routes rows to partitions.
fn partition_key(message: &proto::CollectionSchema, fields: &[FieldSchema]) -> Result<Option<FieldId>, Failure> {
    let Some(field) = only_one("partition key", message, fields, |field| field.is_partition_key)? else {
        return Ok(None);
    };
    let refuse = |why: &str| Err(Failure::invalid(format!("field {}: {why}", field.name)));
    if field.is_primary_key {
        return refuse("the partition key field must not be primary field");
    }
    if !matches!(field.data_type, DataType::Int64 | DataType::VarChar) {
        return refuse("the data type of partition key should be Int64 or VarChar");
    }
    if field.nullable {
        return refuse("partition key field does not support null data");
    }
    Ok(Some(field.id))
}

fn clustering_key(message: &proto::CollectionSchema, fields: &[FieldSchema]) -> Result<Option<FieldId>, Failure> {
    let field = only_one("clustering key", message, fields, |field| field.is_clustering_key)?;
    match field {
        Some(field) if !can_cluster(field.data_type) => {
            Err(Failure::invalid(format!("field {}: its data type cannot be a clustering key", field.name)))
        }
        field => Ok(field.map(|field| field.id)),
    }
}

fn can_cluster(data_type: DataType) -> bool {
    match data_type {
        DataType::Bool | DataType::Json | DataType::Array => false,
        data_type => !data_type.is_vector() || data_type == DataType::FloatVector,
    }
}

/// The field that has a mark, which one field of a collection may have.
fn only_one<'f>(
    what: &str,
    message: &proto::CollectionSchema,
    fields: &'f [FieldSchema],
    has: impl Fn(&proto::FieldSchema) -> bool,
) -> Result<Option<&'f FieldSchema>, Failure> {
    let mut marked = message.fields.iter().zip(fields).filter(|(field, _)| has(field)).map(|(_, field)| field);
    match (marked.next(), marked.next()) {
        (Some(one), Some(two)) => {
            let names = format!("{}, {}", one.name, two.name);
            Err(Failure::invalid(format!("there are more than one {what}, field name = {names}")))
        }
        (found, _) => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::KeyValuePair;
    use elanus_types::{Code, schema::DefaultValue};
    use std::collections::BTreeMap;

    fn field(id: i64, name: &str, data_type: DataType, params: &[(&str, &str)]) -> FieldSchema {
        FieldSchema {
            id: FieldId(id),
            name: name.to_owned(),
            description: format!("{name}!"),
            data_type,
            is_primary_key: name == "pk",
            auto_id: false,
            is_dynamic: name == "$meta",
            nullable: name == "note",
            element_type: None,
            default_value: None,
            type_params: params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        }
    }

    fn schema() -> CollectionSchema {
        CollectionSchema {
            description: "things".to_owned(),
            fields: vec![
                field(100, "pk", DataType::Int64, &[]),
                field(101, "vector", DataType::FloatVector, &[("dim", "8")]),
                field(102, "note", DataType::VarChar, &[("max_length", "20")]),
                field(103, "$meta", DataType::Json, &[]),
            ],
            enable_dynamic_field: true,
            ..CollectionSchema::default()
        }
    }

    #[test]
    fn a_schema_comes_back_as_it_went() {
        assert_eq!(schema_from_proto(&schema_to_proto("things", &schema())).unwrap(), schema());
        let mut keyed = schema();
        keyed.fields[2].nullable = false;
        keyed.fields[2].default_value = Some(DefaultValue::Text("none".to_owned()));
        (keyed.partition_key, keyed.clustering_key) = (Some(FieldId(102)), Some(FieldId(101)));
        assert_eq!(schema_from_proto(&schema_to_proto("things", &keyed)).unwrap(), keyed);
    }

    #[test]
    fn what_is_not_served_is_refused_by_the_name_of_the_field() {
        type Break = fn(&mut proto::CollectionSchema);
        let table: [(Break, &str); 18] = [
            (|s| s.fields[2].data_type = 26, "field note: data type Timestamptz is not served"),
            (|s| s.fields[2].data_type = 9999, "field note: data type 9999 is not served"),
            (|s| s.fields[2].is_partition_key = true, "field note: partition key field does not support null data"),
            (|s| s.fields[0].is_partition_key = true, "field pk: the partition key field must not be primary field"),
            (|s| s.fields[1].is_partition_key = true, "field vector: the data type of partition key should be Int64"),
            (|s| s.fields[3].is_clustering_key = true, "field $meta: its data type cannot be a clustering key"),
            (
                |s| (0..2).for_each(|n| s.fields[n].is_clustering_key = true),
                "more than one clustering key, field name = pk, vector",
            ),
            (
                |s| {
                    let data = Some(proto::value_field::Data::BoolData(true));
                    s.fields[2].default_value = Some(proto::ValueField { data });
                },
                "field note: type (VarChar) of field (note) is not equal to the type(DataType_Bool) of default_value",
            ),
            (|s| s.fields[1].nullable = true, "field vector: a nullable vector"),
            (|s| s.fields[1].type_params.clear(), "field vector: type param dim"),
            (|s| s.fields[1].type_params[0].value = "1".to_owned(), "range 2 ~ 32768"),
            (
                |s| s.fields[2].type_params[0].value = "65536".to_owned(),
                "should be in (0, 65535], but got 65536 instead",
            ),
            (|s| s.fields[2].is_primary_key = true, "field note: primary key field does not support null"),
            (|s| s.fields[0].is_primary_key = false, "primary key is not specified"),
            (
                |s| s.fields[0].data_type = 4,
                "field pk: the data type of primary key should be Int64 or VarChar, not Int32",
            ),
            (|s| s.fields[2].auto_id = true, "only the primary key"),
            (|s| s.functions.push(proto::FunctionSchema::default()), "functions"),
            (
                |s| {
                    let pair = KeyValuePair { key: "enable_match".to_owned(), value: "True".to_owned() };
                    s.fields[2].type_params.push(pair);
                },
                "text match",
            ),
        ];
        for (spoil, text) in table {
            let mut message = schema_to_proto("things", &schema());
            spoil(&mut message);
            let failure = schema_from_proto(&message).unwrap_err();
            assert_eq!(failure.code, Code::ParameterInvalid);
            assert!(failure.message.contains(text), "{} / {text}", failure.message);
        }
    }
}
