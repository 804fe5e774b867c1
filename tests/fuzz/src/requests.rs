//! Requests that are right, from which almost right ones are made. They fill the [world](crate::world), too.

use elanus_proto::{
    common::{KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue},
    milvus as m,
    schema::{
        ArrayArray, BoolArray, CollectionSchema, DataType, DoubleArray, FieldData, FieldSchema, FloatArray, IntArray,
        JsonArray, LongArray, ScalarField, SparseFloatArray, StringArray, TemplateValue, VectorField,
        field_data::Field, scalar_field::Data, template_value::Val, vector_field::Data as Vector,
    },
};
use prost::Message;

/// The collection that every run begins with.
pub const COLLECTION: &str = "c";
const ROWS: u32 = 6;

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value: value.to_owned() }
}

/// A field of every kind: name, type, element type, setting.
const FIELDS: [(&str, DataType, DataType, &str); 16] = [
    ("id", DataType::Int64, DataType::None, ""),
    ("b", DataType::Bool, DataType::None, ""),
    ("i8", DataType::Int8, DataType::None, ""),
    ("i16", DataType::Int16, DataType::None, ""),
    ("i32", DataType::Int32, DataType::None, ""),
    ("f", DataType::Float, DataType::None, ""),
    ("d", DataType::Double, DataType::None, ""),
    ("t", DataType::VarChar, DataType::None, "max_length=64"),
    ("j", DataType::Json, DataType::None, ""),
    ("al", DataType::Array, DataType::Int64, "max_capacity=4"),
    ("at", DataType::Array, DataType::VarChar, "max_capacity=4,max_length=8"),
    ("v", DataType::FloatVector, DataType::None, "dim=4"),
    ("h", DataType::Float16Vector, DataType::None, "dim=4"),
    ("k", DataType::Int8Vector, DataType::None, "dim=4"),
    ("y", DataType::BinaryVector, DataType::None, "dim=8"),
    ("z", DataType::SparseFloatVector, DataType::None, ""),
];

fn field(name: &str, data_type: DataType, element: DataType, settings: &str) -> FieldSchema {
    FieldSchema {
        name: name.to_owned(),
        data_type: data_type.into(),
        element_type: element.into(),
        is_primary_key: name == "id",
        nullable: matches!(name, "d" | "t"),
        type_params: settings
            .split(',')
            .filter_map(|setting| setting.split_once('='))
            .map(|(key, value)| pair(key, value))
            .collect(),
        ..FieldSchema::default()
    }
}

/// Creates a collection with a field of every kind.
#[must_use]
pub fn create_collection(name: &str) -> m::CreateCollectionRequest {
    let fields = FIELDS.map(|(name, data_type, element, settings)| field(name, data_type, element, settings)).to_vec();
    let schema =
        CollectionSchema { name: name.to_owned(), fields, enable_dynamic_field: true, ..CollectionSchema::default() };
    m::CreateCollectionRequest {
        collection_name: name.to_owned(),
        schema: schema.encode_to_vec().into(),
        shards_num: 2,
        ..Default::default()
    }
}

/// An index for each of its vectors.
#[must_use]
pub fn create_indexes() -> Vec<m::CreateIndexRequest> {
    let metrics = [("v", "L2"), ("h", "COSINE"), ("k", "IP"), ("y", "HAMMING"), ("z", "IP")];
    let index = |(field, metric): (&str, &str)| m::CreateIndexRequest {
        collection_name: COLLECTION.to_owned(),
        field_name: field.to_owned(),
        index_name: if field == "v" { "i".to_owned() } else { format!("i_{field}") },
        extra_params: vec![pair("index_type", "AUTOINDEX"), pair("metric_type", metric)],
        ..Default::default()
    };
    metrics.map(index).to_vec()
}

/// Rows of it.
#[must_use]
pub fn insert() -> m::InsertRequest {
    m::InsertRequest {
        collection_name: COLLECTION.to_owned(),
        fields_data: columns(),
        num_rows: ROWS,
        ..Default::default()
    }
}

fn columns() -> Vec<FieldData> {
    FIELDS.iter().map(|(name, data_type, ..)| column(name, *data_type)).chain([dynamic()]).collect()
}

fn dynamic() -> FieldData {
    FieldData { is_dynamic: true, field_name: "$meta".to_owned(), ..column("j", DataType::Json) }
}

fn column(name: &str, data_type: DataType) -> FieldData {
    let ints = || (0..ROWS as i32).collect::<Vec<_>>();
    let longs = || (0..i64::from(ROWS)).collect::<Vec<_>>();
    let floats = |count: u32| (0..ROWS * count).map(|n| n as f32 / 2.0).collect::<Vec<_>>();
    let texts = || (0..ROWS).map(|n| format!("a{n}")).collect::<Vec<_>>();
    let array = |row: u32| match name {
        "al" => Data::LongData(LongArray { data: vec![i64::from(row), 1] }),
        _ => Data::StringData(StringArray { data: vec!["a".to_owned(); row as usize % 3] }),
    };
    let bytes = |width: u32| (0..ROWS * width).map(|n| n as u8 & 0x3f).collect::<Vec<u8>>().into();
    let scalars = |data| Field::Scalars(ScalarField { data: Some(data), ..ScalarField::default() });
    let vectors = |dim, data| Field::Vectors(VectorField { dim, data: Some(data), ..VectorField::default() });
    let values = match data_type {
        DataType::Bool => scalars(Data::BoolData(BoolArray { data: vec![true; ROWS as usize] })),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => scalars(Data::IntData(IntArray { data: ints() })),
        DataType::Int64 => scalars(Data::LongData(LongArray { data: longs() })),
        DataType::Float => scalars(Data::FloatData(FloatArray { data: floats(1) })),
        DataType::Double => scalars(Data::DoubleData(DoubleArray { data: vec![0.5; ROWS as usize] })),
        DataType::VarChar => scalars(Data::StringData(StringArray { data: texts() })),
        DataType::Json => {
            let documents = (0..ROWS).map(|n| format!("{{\"a\":{n},\"x\":[1,{{\"y\":null}}]}}").into());
            scalars(Data::JsonData(JsonArray { data: documents.collect() }))
        }
        DataType::Array => {
            let rows = (0..ROWS).map(|row| ScalarField { data: Some(array(row)), ..ScalarField::default() });
            let element = if name == "al" { DataType::Int64 } else { DataType::VarChar };
            scalars(Data::ArrayData(ArrayArray { data: rows.collect(), element_type: element.into() }))
        }
        DataType::FloatVector => vectors(4, Vector::FloatVector(FloatArray { data: floats(4) })),
        DataType::Float16Vector => vectors(4, Vector::Float16Vector(bytes(8))),
        DataType::Int8Vector => vectors(4, Vector::Int8Vector(bytes(4))),
        DataType::BinaryVector => vectors(8, Vector::BinaryVector(bytes(1))),
        _ => {
            let contents = (0..ROWS).map(|row| sparse(row).into()).collect();
            vectors(100, Vector::SparseFloatVector(SparseFloatArray { contents, dim: 100 }))
        }
    };
    FieldData { r#type: data_type.into(), field_name: name.to_owned(), field: Some(values), ..FieldData::default() }
}

fn sparse(row: u32) -> Vec<u8> {
    let entry = |place: u32| [place.to_le_bytes(), 1.5_f32.to_le_bytes()].concat();
    [entry(row), entry(row + 50)].concat()
}

/// A search of a vector field.
#[must_use]
pub fn search(field: &str) -> m::SearchRequest {
    let (kind, vector) = match field {
        "v" => (PlaceholderType::FloatVector, [1.0_f32; 4].iter().flat_map(|n| n.to_le_bytes()).collect()),
        "h" => (PlaceholderType::Float16Vector, vec![0x11; 8]),
        "k" => (PlaceholderType::Int8Vector, vec![1; 4]),
        "y" => (PlaceholderType::BinaryVector, vec![0x0f]),
        _ => (PlaceholderType::SparseFloatVector, sparse(1)),
    };
    let values = vec![vector.into(); 2];
    let group = PlaceholderValue { tag: "$0".to_owned(), r#type: kind.into(), values, element_level: false };
    m::SearchRequest {
        collection_name: COLLECTION.to_owned(),
        dsl: "i8 >= {x}".to_owned(),
        dsl_type: 1,
        expr_template_values: [("x".to_owned(), TemplateValue { val: Some(Val::Int64Val(1)) })].into(),
        search_input: Some(m::search_request::SearchInput::PlaceholderGroup(
            PlaceholderGroup { placeholders: vec![group] }.encode_to_vec().into(),
        )),
        search_params: vec![
            pair("anns_field", field),
            pair("topk", "3"),
            pair("params", "{\"ef\": 8}"),
            pair("round_decimal", "-1"),
        ],
        output_fields: vec!["id".to_owned(), "*".to_owned()],
        nq: 2,
        ..Default::default()
    }
}

fn query() -> m::QueryRequest {
    m::QueryRequest {
        collection_name: COLLECTION.to_owned(),
        expr: "(i8 + 1 > 2 or t like \"a%\") and array_contains(al, 1) and j[\"a\"] in [1, 2, 3] and id != 4"
            .to_owned(),
        output_fields: vec!["*".to_owned()],
        query_params: vec![pair("limit", "4"), pair("offset", "1")],
        ..Default::default()
    }
}

/// Every request that is filled by hand, as method and message. The others are made from their descriptors.
#[must_use]
pub fn written() -> Vec<(&'static str, Vec<u8>)> {
    let name = || COLLECTION.to_owned();
    let upsert = m::UpsertRequest {
        collection_name: name(),
        fields_data: columns(),
        num_rows: ROWS,
        partial_update: false,
        ..Default::default()
    };
    let mut partial = upsert.clone();
    partial.partial_update = true;
    partial.fields_data.truncate(3);
    let hybrid = m::HybridSearchRequest {
        collection_name: name(),
        requests: vec![search("v"), search("z")],
        rank_params: vec![pair("strategy", "rrf"), pair("params", "{\"k\": 60}"), pair("limit", "3")],
        output_fields: vec!["t".to_owned()],
        ..Default::default()
    };
    let delete =
        m::DeleteRequest { collection_name: name(), expr: "id in [1, 2] and i8 > 0".to_owned(), ..Default::default() };
    let restore = m::RestoreSnapshotRequest {
        name: "s".to_owned(),
        collection_name: name(),
        target_collection_name: "c3".to_owned(),
        ..Default::default()
    };
    let add = m::AddCollectionFieldRequest {
        collection_name: name(),
        schema: FieldSchema { nullable: true, ..field("late", DataType::Int32, DataType::None, "") }
            .encode_to_vec()
            .into(),
        ..Default::default()
    };
    let alter = m::AlterCollectionRequest {
        collection_name: name(),
        properties: vec![pair("collection.ttl.seconds", "3600"), pair("mmap.enabled", "true")],
        ..Default::default()
    };
    let mut all = vec![
        ("CreateCollection", create_collection("c2").encode_to_vec()),
        ("Insert", insert().encode_to_vec()),
        ("Insert", insert().encode_to_vec()),
        ("Upsert", upsert.encode_to_vec()),
        ("Upsert", partial.encode_to_vec()),
        ("HybridSearch", hybrid.encode_to_vec()),
        ("Query", query().encode_to_vec()),
        ("Query", query().encode_to_vec()),
        ("Delete", delete.encode_to_vec()),
        ("RestoreSnapshot", restore.encode_to_vec()),
        ("AddCollectionField", add.encode_to_vec()),
        ("AlterCollection", alter.encode_to_vec()),
        ("CreateIndex", create_indexes().swap_remove(0).encode_to_vec()),
    ];
    all.extend(["v", "h", "k", "y", "z"].map(|field| ("Search", search(field).encode_to_vec())));
    all
}
