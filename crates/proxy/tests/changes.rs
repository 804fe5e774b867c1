//! Calls that change a part of what is there: some columns of rows, fields, all rows; and what they are refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with tests of other things")]
mod fakes;

use arrow::array::{ArrayRef, AsArray as _, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Float32Type, Int64Type};
use elanus_proto::milvus as m;
use elanus_proto::querynode as qn;
use elanus_proto::schema::{FieldData, LongArray, ScalarField, StringArray as Texts, field_data, scalar_field::Data};
use elanus_segment::{from_ipc, to_ipc};
use fakes::{COLLECTION, Fakes};
use std::sync::Arc;
use tonic::Request;

fn scalars(name: &str, data: Data) -> FieldData {
    let field = Some(field_data::Field::Scalars(ScalarField { data: Some(data), valid_data: Vec::new() }));
    FieldData { field_name: name.to_owned(), field, ..FieldData::default() }
}

fn keys(keys: &[i64]) -> FieldData {
    scalars("pk", Data::LongData(LongArray { data: keys.to_vec() }))
}

fn notes(notes: &[&str]) -> FieldData {
    scalars("note", Data::StringData(Texts { data: notes.iter().map(|note| (*note).to_owned()).collect() }))
}

fn upsert(fields_data: Vec<FieldData>, num_rows: u32) -> m::UpsertRequest {
    let collection_name = "things".to_owned();
    m::UpsertRequest { collection_name, fields_data, num_rows, partial_update: true, ..Default::default() }
}

/// Rows as a query node has them: a key, a vector of which both elements are the key, the note `old`, and a key `a`.
fn present(keys: &[i64]) -> qn::QueryResponse {
    let schema = fakes::schema(false);
    let arrow = elanus_segment::arrow_schema(&schema);
    let fields: Vec<Arc<Field>> = arrow.fields().iter().take(4).cloned().collect();
    let elements: Float32Array = keys.iter().flat_map(|key| [*key as f32; 2]).map(Some).collect();
    let item = Arc::new(Field::new_list_field(arrow::datatypes::DataType::Float32, false));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(keys.to_vec())),
        Arc::new(FixedSizeListArray::new(item, 2, Arc::new(elements), None)),
        Arc::new(StringArray::from(vec![Some("old"); keys.len()])),
        Arc::new(StringArray::from(vec![r#"{"a":1}"#; keys.len()])),
    ];
    let batch = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).unwrap();
    qn::QueryResponse { arrow_ipc: to_ipc(&batch), ..Default::default() }
}

#[tokio::test]
async fn a_partial_upsert_writes_whole_rows_with_what_is_there() {
    let fakes = Fakes::default();
    fakes.seen().query_answers.push_back(present(&[5, 3]));
    // The first row of a key that comes twice does not count.
    let request = upsert(vec![keys(&[3, 5, 3]), notes(&["x", "y", "z"])], 3);
    let done = fakes.client().upsert(request).await.unwrap().into_inner();
    assert_eq!((done.status.unwrap().code, done.upsert_cnt), (0, 3));
    let mut seen = fakes.seen();
    let asked = seen.queries.pop().unwrap();
    let scope = asked.scope.unwrap();
    assert_eq!((scope.collection_id, scope.partition_ids, asked.limit), (COLLECTION, vec![600], -1));
    assert_eq!((scope.filter.as_str(), scope.output_fields.len()), ("pk in {keys}", 4));
    let written = seen.writes.pop().unwrap();
    assert_eq!(written.deletes.len(), 1, "the old rows go in the same commit");
    let rows = from_ipc(written.rows[0].arrow_ipc.clone()).unwrap();
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values().to_vec(), [5, 3]);
    let elements = rows.column(1).as_fixed_size_list().values().clone();
    assert_eq!(elements.as_primitive::<Float32Type>().values().to_vec(), [5.0, 5.0, 3.0, 3.0]);
    assert_eq!(rows.column(2).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["y", "z"]);
    assert_eq!(rows.column(3).as_string::<i32>().value(0), r#"{"a":1}"#);
}

#[tokio::test]
async fn a_new_row_that_lacks_something_is_refused_and_nothing_is_written() {
    let fakes = Fakes::default();
    fakes.seen().query_answers.push_back(present(&[5]));
    let request = upsert(vec![keys(&[5, 6]), notes(&["x", "y"])], 2);
    let status = fakes.client().upsert(request).await.unwrap().into_inner().status.unwrap();
    let text = "fieldSchema(v) has no corresponding fieldData pass in: invalid parameter";
    assert_eq!((status.code, status.reason.as_str()), (1100, text));
    let request = m::UpsertRequest { field_ops: vec![Default::default()], ..upsert(vec![keys(&[5])], 1) };
    let status = fakes.client().upsert(request).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.code, 10, "{}", status.reason);
    assert!(fakes.seen().writes.is_empty());
}

#[tokio::test]
async fn what_a_collection_needs_is_not_dropped_and_functions_are_not_served() {
    use m::alter_collection_schema_request::{
        Action, AddRequest, DropRequest, FieldInfo, action::Op, drop_request::Identifier,
    };
    let fakes = Fakes::default();
    let dropping = |identifier| Op::DropRequest(DropRequest { identifier: Some(identifier), ..Default::default() });
    let by_name = |name: &str| dropping(Identifier::FieldName(name.to_owned()));
    let info = FieldInfo { index_name: "i".to_owned(), ..Default::default() };
    for (op, code, text) in [
        (Some(by_name("pk")), 1100, "field pk cannot be dropped: it is the primary key: invalid parameter"),
        (Some(by_name("v")), 1100, "field v cannot be dropped: a collection needs a vector field"),
        (Some(by_name("$meta")), 1100, "field $meta cannot be dropped: it is the dynamic field"),
        (Some(by_name("none")), 1100, "field not found[field=none]"),
        (Some(dropping(Identifier::FieldId(7))), 1100, "field not found[field=7]"),
        (Some(dropping(Identifier::FunctionName("f".to_owned()))), 10, "functions are not served"),
        (Some(Op::AddRequest(AddRequest::default())), 1100, "give one field to add"),
        (
            Some(Op::AddRequest(AddRequest { field_infos: vec![info], ..Default::default() })),
            10,
            "then create the index",
        ),
        (None, 1100, "neither adds nor drops"),
    ] {
        let collection_name = "things".to_owned();
        let request =
            m::AlterCollectionSchemaRequest { collection_name, action: Some(Action { op }), ..Default::default() };
        let answer = fakes.client().alter_collection_schema(request).await.unwrap().into_inner();
        let status = answer.alter_status.unwrap();
        assert!(status.code == code && status.reason.contains(text), "{} {}: {text}", status.code, status.reason);
    }
}

#[tokio::test]
async fn there_is_one_replica_in_one_group() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let of = |name: &str, with_shard_nodes| m::GetReplicasRequest {
        collection_name: name.to_owned(),
        with_shard_nodes,
        ..Default::default()
    };
    let replicas = client.get_replicas(of("things", true)).await.unwrap().into_inner().replicas;
    let [replica] = replicas.as_slice() else { panic!("{replicas:?}") };
    assert_eq!((replica.partition_ids.as_slice(), replica.node_ids.as_slice()), (&[600][..], &[1][..]));
    assert_eq!((replica.shard_replicas.len(), replica.shard_replicas[0].node_ids.as_slice()), (2, &[1][..]));
    let status = client.get_replicas(of("idle", false)).await.unwrap().into_inner().status.unwrap();
    assert_eq!((status.code, status.reason.as_str()), (101, "collection not loaded[collection=idle]"));
    let listed = client.list_resource_groups(m::ListResourceGroupsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.resource_groups, ["__default_resource_group"]);
    let other = m::DescribeResourceGroupRequest { resource_group: "x".to_owned(), ..Default::default() };
    let status = client.describe_resource_group(other).await.unwrap().into_inner().status.unwrap();
    assert_eq!((status.code, status.reason.as_str()), (300, "resource group not found[rg=x]"));
    let load = m::LoadCollectionRequest {
        collection_name: "idle".to_owned(),
        resource_groups: vec!["x".to_owned()],
        ..Default::default()
    };
    assert_eq!(client.load_collection(load).await.unwrap().into_inner().code, 300);
}

#[tokio::test]
async fn a_database_that_is_no_text_is_not_taken_for_the_default_one() {
    let fakes = Fakes::default();
    let mut request =
        Request::new(m::DescribeCollectionRequest { collection_name: "things".to_owned(), ..Default::default() });
    request.metadata_mut().insert("dbname", tonic::metadata::MetadataValue::try_from(&b"\xc3\xbc"[..]).unwrap());
    let status = fakes.client().describe_collection(request).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.code, 800, "{}", status.reason);
    assert_ne!(fakes.seen().databases.pop().unwrap(), "default");
}

/// Found by `fz_4` (seed 1045): what stood before the wrong name was flushed.
#[tokio::test]
async fn nothing_is_flushed_when_one_of_the_names_is_wrong() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let target = |of: &[&str]| m::FlushAllTarget { collection_names: names(of), ..Default::default() };
    let all = |flush_targets| m::FlushAllRequest { flush_targets, ..Default::default() };
    let some = |of: &[&str]| m::FlushRequest { collection_names: names(of), ..Default::default() };

    let refused = client.flush_all(all(vec![target(&["things"]), target(&["nothing"])])).await.unwrap().into_inner();
    assert_eq!(refused.status.unwrap().code, 100);
    let refused = client.flush(some(&["things", "nothing"])).await.unwrap().into_inner();
    assert_eq!(refused.status.unwrap().code, 100);
    assert!(fakes.seen().flushed.is_empty());

    let done = client.flush_all(all(vec![target(&["things"]), target(&["things"])])).await.unwrap().into_inner();
    let counts: Vec<_> = done.flush_results.iter().map(|result| result.collection_results.len()).collect();
    assert_eq!((done.status.unwrap().code, counts), (0, vec![1, 1]));
    assert_eq!(fakes.seen().flushed, [COLLECTION; 2]);
}
