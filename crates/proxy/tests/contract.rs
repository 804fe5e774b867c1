//! What a Milvus client is promised, with fakes behind the proxy.

mod fakes;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::Schema,
};
use elanus_proto::{
    common::{KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue, Status},
    datanode::delete_batch::Keys,
    milvus::{self as m, milvus_service_client::MilvusServiceClient, search_request::SearchInput},
    querynode as qn,
    schema::{
        FieldData, FloatArray, IDs, LongArray, ScalarField, StringArray as Texts, VectorField, field_data,
        i_ds::IdField, scalar_field::Data, vector_field,
    },
    transport::Channel,
};
use elanus_segment::{PkColumn, from_ipc, to_ipc};
use fakes::{COLLECTION, Fakes, SNAPSHOT_TS, UPDATED_TS};
use prost::Message as _;
use std::{collections::BTreeMap, sync::Arc};
use tonic::{Request, body::Body};
use tower::{Service as _, ServiceExt as _};

fn scalars(name: &str, data: Data) -> FieldData {
    let field = Some(field_data::Field::Scalars(ScalarField { data: Some(data), valid_data: Vec::new() }));
    FieldData { field_name: name.to_owned(), field, ..FieldData::default() }
}

fn keys(keys: &[i64]) -> FieldData {
    scalars("pk", Data::LongData(LongArray { data: keys.to_vec() }))
}

fn vectors(elements: &[f32]) -> FieldData {
    let data = Some(vector_field::Data::FloatVector(FloatArray { data: elements.to_vec() }));
    let field = Some(field_data::Field::Vectors(VectorField { dim: 2, data, valid_data: Vec::new() }));
    FieldData { field_name: "v".to_owned(), field, ..FieldData::default() }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs.iter().map(|(key, value)| KeyValuePair { key: (*key).into(), value: (*value).into() }).collect()
}

fn insert(collection: &str, fields_data: Vec<FieldData>, num_rows: u32) -> m::InsertRequest {
    m::InsertRequest { collection_name: collection.into(), fields_data, num_rows, ..Default::default() }
}

fn query(collection: &str, expr: &str, output_fields: &[&str]) -> m::QueryRequest {
    m::QueryRequest {
        collection_name: collection.into(),
        expr: expr.into(),
        output_fields: output_fields.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

fn search(collection: &str, params: &[(&str, &str)]) -> m::SearchRequest {
    let values = vec![[1.0_f32, 2.0].iter().flat_map(|e| e.to_le_bytes()).collect::<Vec<_>>().into()];
    let value = PlaceholderValue { r#type: PlaceholderType::FloatVector.into(), values, ..Default::default() };
    let group = PlaceholderGroup { placeholders: vec![value] }.encode_to_vec();
    m::SearchRequest {
        collection_name: collection.into(),
        search_input: Some(SearchInput::PlaceholderGroup(group.into())),
        search_params: pairs(params),
        nq: 1,
        ..Default::default()
    }
}

/// A batch with the columns of the collection that are named.
fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let all = elanus_segment::arrow_schema(&fakes::schema(false));
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, _)| all.field_with_name(name).expect("a column of the collection").clone())
        .collect();
    let arrays = columns.iter().map(|(_, array)| Arc::clone(array)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

macro_rules! refused {
    ($client:expr, $($call:ident($request:expr) => $code:literal, $fragment:literal;)*) => {$({
        let answer = $client.$call($request).await.expect("a failure travels in the answer").into_inner();
        let status: Status = Failed::status(answer);
        assert_eq!(status.code, $code, "{}: {}", stringify!($call), status.reason);
        assert!(status.reason.contains($fragment), "{}: {}", stringify!($call), status.reason);
        assert_ne!(status.error_code, 0);
    })*};
}

trait Failed {
    fn status(self) -> Status;
}

impl Failed for Status {
    fn status(self) -> Status {
        self
    }
}

macro_rules! failed {
    ($($answer:ident)*) => {$(
        impl Failed for m::$answer {
            fn status(self) -> Status {
                self.status.expect("every answer has a status")
            }
        }
    )*};
}

failed! {
    MutationResult QueryResults SearchResults DescribeCollectionResponse DescribeIndexResponse ListSnapshotsResponse
    RestoreSnapshotResponse PinSnapshotDataResponse GetLoadingProgressResponse DescribeAliasResponse
    GetQuerySegmentInfoResponse ManualCompactionResponse
}

fn names<T: Default>(set: impl FnOnce(&mut T)) -> T {
    let mut request = T::default();
    set(&mut request);
    request
}

#[tokio::test]
async fn a_wrong_request_is_refused_in_the_answer_with_code_and_reason() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let rows = || vec![keys(&[1, 2]), vectors(&[0.0; 4])];
    let long = scalars("note", Data::StringData(Texts { data: vec!["abcdef".into(), "a".into()] }));
    refused! { client,
        describe_collection(names(|r: &mut m::DescribeCollectionRequest| r.collection_name = "x".into()))
            => 100, "can't find collection[database=default][collection=x]";
        describe_collection(m::DescribeCollectionRequest::default()) => 1100, "collection name should not be empty";
        create_alias(names(|r: &mut m::CreateAliasRequest| (r.alias, r.collection_name) = ("1a".into(), "things".into())))
            => 1100, "Invalid collection alias: 1a. the first character of a collection alias must be";
        describe_alias(m::DescribeAliasRequest::default()) => 1100, "collection alias should not be empty";
        create_database(names(|r: &mut m::CreateDatabaseRequest| r.db_name = "a-b".into()))
            => 802, "invalid database name[database=a-b]";
        drop_database(m::DropDatabaseRequest::default()) => 802, "database name should not be empty";
        alter_database(m::AlterDatabaseRequest::default()) => 1100, "no properties or delete keys provided";
        rename_collection(names(|r: &mut m::RenameCollectionRequest| (r.old_name, r.new_name) = ("things".into(), "b c".into())))
            => 1100, "Invalid collection name: b c.";
        rename_collection(names(|r: &mut m::RenameCollectionRequest| {
            (r.old_name, r.new_name, r.new_db_name) = ("things".into(), "b".into(), "1".into());
        })) => 802, "invalid database name[database=1]";
        alter_collection(names(|r: &mut m::AlterCollectionRequest| r.collection_name = "things".into()))
            => 1100, "no properties or delete keys provided";
        alter_collection_field(names(|r: &mut m::AlterCollectionFieldRequest| {
            (r.collection_name, r.field_name) = ("things".into(), "pk".into());
            r.properties = pairs(&[("max_length", "5")]);
        })) => 1100, "field pk: can not modify the maxlength for non-string types";
        alter_collection_field(names(|r: &mut m::AlterCollectionFieldRequest| {
            (r.collection_name, r.field_name) = ("things".into(), "note".into());
            r.properties = pairs(&[("max_length", "65536")]);
        })) => 1100, "the maximum length specified for the field(note) should be in (0, 65535], but got 65536";
        get_query_segment_info(names(|r: &mut m::GetQuerySegmentInfoRequest| r.collection_name = "idle".into()))
            => 101, "collection not loaded[collection=idle]";
        insert(insert("x", rows(), 2)) => 100, "can't find collection";
        insert(names(|r: &mut m::InsertRequest| { *r = insert("things", rows(), 2); r.partition_name = "p".into() }))
            => 200, "partition not found[partition=p]";
        insert(names(|r: &mut m::InsertRequest| { *r = insert("things", rows(), 2); r.schema_timestamp = 5 }))
            => 109, "collection schema mismatch";
        insert(insert("things", rows(), 0)) => 1100, "invalid num_rows: 0";
        insert(insert("things", rows(), 3)) => 1100, "is not equal to passed num_rows (3)";
        insert(insert("things", vec![keys(&[1, 2])], 2)) => 1100, "fieldSchema(v) has no corresponding fieldData";
        insert(insert("things", [rows(), vec![long]].concat(), 2)) => 1100, "field note: row 0: length of varchar";
        insert(insert("auto", rows(), 2)) => 1100, "field pk: auto id is on";
        upsert(names(|r: &mut m::UpsertRequest| { r.collection_name = "auto".into(); r.num_rows = 2 }))
            => 1100, "fieldSchema(pk) has no corresponding fieldData";
        upsert(names(|r: &mut m::UpsertRequest| r.namespace = Some("a".into()))) => 10, "namespaces are not served";
        delete(names(|r: &mut m::DeleteRequest| r.collection_name = "things".into())) => 1100, "expr cannot be empty";
        delete(names(|r: &mut m::DeleteRequest| { r.collection_name = "things".into(); r.expr = "pk ==".into() }))
            => 1100, "cannot parse expression";
        query(query("idle", "pk > 0", &[])) => 101, "collection not loaded[collection=idle]";
        query(names(|r: &mut m::QueryRequest| { *r = query("things", "pk > 0", &[]); r.partition_names = vec!["cold".into()] }))
            => 201, "partition not loaded[partition=cold]";
        query(query("things", "", &["pk"])) => 1100, "empty expression should be used with limit";
        query(query("things", "pk > 0", &["a b"])) => 1100, "parse output field name failed";
        query(query("things", "", &["count(*)", "pk"])) => 1100, "count entities with other output fields";
        search(search("things", &[])) => 1100, "topk not found";
        search(search("things", &[("topk", "0")])) => 1100, "topk [0] is invalid, it should be in range [1, 16384]";
        search(search("things", &[("topk", "1"), ("metric_type", "IP")])) => 1100, "[expected=L2][actual=IP]";
        search(search("things", &[("topk", "1"), ("anns_field", "pk")])) => 1100, "field pk is not a vector field";
        search(search("things", &[("topk", "1"), ("group_by_field", "v")])) => 1100, "unsupported data type FloatVector for group by";
        search(search("things", &[("topk", "1"), ("order_by_fields", "note")])) => 10, "order_by_fields is not served";
        search(search("idle", &[("topk", "1")])) => 101, "collection not loaded";
        load_collection(names(|r: &mut m::LoadCollectionRequest| r.collection_name = "bare".into()))
            => 700, "there is no vector index on field: [v], please create index firstly";
        get_loading_progress(names(|r: &mut m::GetLoadingProgressRequest| r.collection_name = "idle".into()))
            => 101, "collection not loaded";
        drop_index(names(|r: &mut m::DropIndexRequest| { r.collection_name = "things".into(); r.index_name = "v".into() }))
            => 1100, "index cannot be dropped, collection is loaded";
        describe_index(names(|r: &mut m::DescribeIndexRequest| r.collection_name = "bare".into()))
            => 700, "index not found[collection=bare]";
        create_index(names(|r: &mut m::CreateIndexRequest| {
            r.collection_name = "things".into();
            r.field_name = "v".into();
            r.extra_params = pairs(&[("metric_type", "COSINE")]);
        })) => 1100, "at most one distinct index is allowed per field";
        drop_partition(names(|r: &mut m::DropPartitionRequest| r.partition_name = "_default".into()))
            => 1100, "default partition cannot be deleted";
    }
    assert!(fakes.seen().writes.is_empty(), "nothing is written of a request that is refused");
}

#[tokio::test]
async fn snapshot_calls_check_names_then_what_is_missing_then_ranges_then_what_exists() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let create = |name: &str, seconds| m::CreateSnapshotRequest {
        name: name.into(),
        compaction_protection_seconds: seconds,
        collection_name: "x".into(),
        ..Default::default()
    };
    let restore = |name: &str, source: &str, target: &str| m::RestoreSnapshotRequest {
        name: name.into(),
        collection_name: source.into(),
        target_collection_name: target.into(),
        ..Default::default()
    };
    let pin = |name: &str, collection: &str, ttl_seconds| m::PinSnapshotDataRequest {
        name: name.into(),
        collection_name: collection.into(),
        ttl_seconds,
        ..Default::default()
    };
    let drop_it = |name: &str, collection: &str| m::DropSnapshotRequest {
        name: name.into(),
        collection_name: collection.into(),
        ..Default::default()
    };
    refused! { client,
        create_snapshot(create(" ", -1)) => 1100, "snapshot name should be not empty";
        create_snapshot(create("s", -1)) => 1100, "compaction_protection_seconds must be non-negative";
        create_snapshot(create("s", 604_801)) => 1100, "compaction_protection_seconds must not exceed 604800";
        create_snapshot(create("s", 604_800)) => 100, "can't find collection";
        drop_snapshot(drop_it("1s", "")) => 1100, "the first character of snapshot name must be an underscore or letter";
        drop_snapshot(drop_it("s", "")) => 1101, "collection_name is required for drop snapshot";
        drop_snapshot(drop_it("s", "things")) => 2601, "active pins exist";
        list_snapshots(m::ListSnapshotsRequest::default()) => 1101, "collection_name is required for ListSnapshots";
        restore_snapshot(restore("s!", "", "")) => 1100, "snapshot name can only contain";
        restore_snapshot(restore("s", "", "")) => 1101, "collection_name is required";
        restore_snapshot(restore("s", "x", "")) => 1101, "target_collection_name is required";
        restore_snapshot(restore("s", "x", "1t")) => 1100, "the first character of a collection name";
        restore_snapshot(restore("s", "x", "*")) => 100, "can't find collection";
        restore_snapshot(restore("s", "things", "*")) => 1100, "stands for no collection";
        pin_snapshot_data(pin("s", "", -1)) => 1101, "collection_name is required";
        pin_snapshot_data(pin("s", "x", -1)) => 1100, "ttl_seconds must be non-negative";
        pin_snapshot_data(pin("s", "x", 2_592_001)) => 1100, "ttl_seconds exceeds maximum of 2592000";
        unpin_snapshot_data(m::UnpinSnapshotDataRequest::default()) => 1101, "pin_id is required";
    }
    let done = client.restore_snapshot(restore(" padded ", "things", "copy")).await.unwrap().into_inner();
    assert_eq!((done.status.unwrap().code, done.job_id), (0, 77));
    let asked = fakes.seen().restores.pop().unwrap();
    let source = asked.source.unwrap();
    assert_eq!((source.snapshot_name.as_str(), source.collection.unwrap().collection_id), (" padded ", COLLECTION));
    assert_eq!((asked.target_db_name.as_str(), asked.target_collection_name.as_str()), ("default", "copy"));
}

#[tokio::test]
async fn a_compaction_that_asks_for_what_is_not_there_is_refused() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let of = |set: fn(&mut m::ManualCompactionRequest)| {
        let mut request = m::ManualCompactionRequest { collection_name: "things".into(), ..Default::default() };
        set(&mut request);
        request
    };
    refused! { client,
        manual_compaction(of(|r| r.major_compaction = true)) => 10, "clustering compaction is not supported";
        manual_compaction(of(|r| r.partition_id = 7)) => 10, "compacting a part of a collection";
        manual_compaction(of(|r| r.channel = "c".into())) => 10, "compacting a part of a collection";
        manual_compaction(of(|r| r.segment_ids = vec![7])) => 10, "compacting a part of a collection";
        manual_compaction(of(|r| r.target_size = -7)) => 1100, "target size should not be negative, got -7";
        manual_compaction(of(|r| r.collection_name = "x".into())) => 100, "can't find collection";
        manual_compaction(of(|r| r.collection_name.clear())) => 1100, "collection name should not be empty";
    }
}

#[tokio::test]
async fn a_restore_is_asked_for_mode_partitions_and_indexes_in_the_metadata() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let mut send = async |headers: &[(&'static str, &'static str)]| {
        let mut request = Request::new(m::RestoreSnapshotRequest {
            name: "s".into(),
            collection_name: "things".into(),
            target_collection_name: "copy".into(),
            ..Default::default()
        });
        for (key, value) in headers {
            request.metadata_mut().insert(*key, value.parse().unwrap());
        }
        let status = client.restore_snapshot(request).await.unwrap().into_inner().status.unwrap();
        let asked = fakes.seen().restores.pop();
        (status.code, status.reason, asked.map(|asked| (asked.mode, asked.partition_names, asked.without_indexes)))
    };
    let (mode, partitions, indexes) = ("elanus-restore-mode", "elanus-restore-partitions", "elanus-restore-indexes");
    assert_eq!(send(&[]).await.2, Some((String::new(), vec![], false)), "the coordinator decides");
    let all = send(&[(mode, "copy"), (partitions, "a, b"), (indexes, "false")]).await;
    assert_eq!(all.2, Some(("copy".into(), vec!["a".into(), "b".into()], true)));
    assert_eq!(send(&[(mode, "clone"), (indexes, "true")]).await.2, Some(("clone".into(), vec![], false)));
    for (key, value) in [(mode, "move"), (mode, ""), (partitions, "a,,b"), (partitions, ""), (indexes, "no")] {
        let (code, reason, asked) = send(&[(key, value)]).await;
        assert_eq!((code, asked), (1100, None), "{key}: {value}");
        assert!(reason.contains(key), "{reason}");
    }
}

#[tokio::test]
async fn the_database_is_the_messages_then_the_metadatas_then_the_default() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    for (message, metadata, database) in [("a", "b", "a"), ("", "b", "b"), ("", "", "default")] {
        let mut request = Request::new(m::HasCollectionRequest {
            db_name: message.into(),
            collection_name: "things".into(),
            ..Default::default()
        });
        request.metadata_mut().insert("dbname", metadata.parse().unwrap());
        let answer = client.has_collection(request).await.unwrap().into_inner();
        assert_eq!(fakes.seen().databases.pop().unwrap(), database);
        let code = answer.status.unwrap().code;
        assert_eq!((code, answer.value), if database == "default" { (0, true) } else { (800, false) });
    }
}

#[tokio::test]
async fn a_collection_is_described_without_its_dynamic_column() {
    let mut client = Fakes::default().client();
    let request = m::DescribeCollectionRequest { collection_name: "things".into(), ..Default::default() };
    let told = client.describe_collection(request).await.unwrap().into_inner();
    let schema = told.schema.unwrap();
    let fields: Vec<_> = schema.fields.iter().map(|field| (field.field_id, field.name.as_str())).collect();
    assert_eq!(fields, [(100, "pk"), (101, "v"), (102, "note")]);
    assert!(schema.enable_dynamic_field);
    assert_eq!((told.shards_num, told.consistency_level, told.num_partitions), (2, 2, 2));
    assert_eq!((told.update_timestamp, told.collection_id), (UPDATED_TS, COLLECTION));
}

#[tokio::test]
async fn an_insert_is_one_commit_with_all_columns() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let mut note = scalars("note", Data::StringData(Texts { data: vec!["hi".into()] }));
    note.valid_data = vec![false, true];
    let done = client.insert(insert("auto", vec![vectors(&[1.0, 2.0, 3.0, 4.0]), note], 2)).await.unwrap().into_inner();
    assert_eq!((done.status.unwrap(), done.insert_cnt, done.timestamp), (Status::default(), 2, 123));
    let given = IDs { id_field: Some(IdField::IntId(LongArray { data: vec![9_000, 9_001] })) };
    assert_eq!((done.i_ds, done.succ_index), (Some(given), vec![0, 1]));

    let write = fakes.seen().writes.pop().unwrap();
    assert_eq!((write.collection_id, write.rows.len(), write.rows[0].partition_id), (COLLECTION, 1, 600));
    let rows = from_ipc(write.rows[0].arrow_ipc.clone()).unwrap();
    let columns: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(columns, ["pk", "v", "note", "$meta"]);
    assert_eq!(rows.column_by_name("note").unwrap().null_count(), 1);
}

#[tokio::test]
async fn an_upsert_deletes_older_rows_and_keeps_the_last_of_each_key() {
    let fakes = Fakes::default();
    let request = m::UpsertRequest {
        collection_name: "things".into(),
        fields_data: vec![keys(&[5, 6, 5]), vectors(&[0.0, 0.0, 1.0, 1.0, 2.0, 2.0])],
        num_rows: 3,
        schema_timestamp: UPDATED_TS,
        ..Default::default()
    };
    let done = fakes.client().upsert(request).await.unwrap().into_inner();
    assert_eq!((done.status.unwrap().code, done.upsert_cnt), (0, 3));
    let write = fakes.seen().writes.pop().unwrap();
    let rows = from_ipc(write.rows[0].arrow_ipc.clone()).unwrap();
    assert_eq!(PkColumn::from_batch(&rows, "pk").unwrap(), PkColumn::Int(vec![6, 5]));
    assert!(matches!(&write.deletes[0].keys, Some(Keys::Int64Keys(keys)) if keys.values == [5, 6, 5]));
}

#[tokio::test]
async fn a_delete_by_keys_reads_nothing_and_one_by_a_filter_reads_the_keys_first() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let delete =
        |expr: &str| m::DeleteRequest { collection_name: "idle".into(), expr: expr.into(), ..Default::default() };
    let done = client.delete(delete("pk in [3, 4]")).await.unwrap().into_inner();
    assert_eq!((done.delete_cnt, done.i_ds), (2, None));
    let write = fakes.seen().writes.pop().unwrap();
    assert_eq!((write.rows.len(), write.deletes[0].partition_id), (0, -1));

    let found = batch(&[("pk", Arc::new(Int64Array::from(vec![8, 9, 10])))]);
    let answer = qn::QueryResponse { arrow_ipc: to_ipc(&found), count: 3, read_ts: 7 };
    fakes.seen().query_answers.push_back(answer);
    let done = client.delete(delete("note == \"x\"")).await.unwrap().into_inner();
    assert_eq!((done.status.unwrap().code, done.delete_cnt, done.timestamp), (0, 3, 123));
    let write = fakes.seen().writes.pop().unwrap();
    assert!(matches!(&write.deletes[0].keys, Some(Keys::Int64Keys(keys)) if keys.values == [8, 9, 10]));
}

#[tokio::test]
async fn a_query_gives_the_key_always_and_typed_columns_also_without_rows() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let none = batch(&[
        ("note", Arc::new(StringArray::from(Vec::<Option<&str>>::new()))),
        ("$meta", Arc::new(StringArray::from(Vec::<&str>::new()))),
        ("pk", Arc::new(Int64Array::from(Vec::<i64>::new()))),
    ]);
    fakes.seen().query_answers.push_back(qn::QueryResponse { arrow_ipc: to_ipc(&none), count: 0, read_ts: 7 });
    let found = client.query(query("things", "pk > 5", &["note", "color"])).await.unwrap().into_inner();
    assert_eq!((found.output_fields, found.session_ts), (vec!["note".to_owned(), "color".into(), "pk".into()], 7));
    let columns: BTreeMap<_, _> =
        found.fields_data.iter().map(|f| (f.field_name.as_str(), (f.r#type, f.is_dynamic))).collect();
    assert_eq!(columns, [("$meta", (23, true)), ("note", (21, false)), ("pk", (5, false))].into());
    assert!(
        found.fields_data.iter().all(|f| matches!(&f.field, Some(field_data::Field::Scalars(s)) if s.data.is_some()))
    );
    let asked = fakes.seen().queries.pop().unwrap();
    let scope = asked.scope.unwrap();
    assert_eq!(scope.output_fields, ["note", "$meta", "pk"]);
    assert_eq!((asked.limit, scope.partition_ids, scope.read_ts), (-1, vec![600], 0));

    fakes.seen().query_answers.push_back(qn::QueryResponse { count: 12, ..Default::default() });
    let counted = client.query(query("things", "", &["count(*)"])).await.unwrap().into_inner();
    assert_eq!((counted.fields_data[0].field_name.as_str(), counted.fields_data[0].r#type), ("count(*)", 5));
    assert_eq!(counted.fields_data[0].field, keys(&[12]).field);
}

#[tokio::test]
async fn a_search_takes_the_only_vector_field_and_the_metric_of_its_index() {
    let fakes = Fakes::default();
    let hits = batch(&[
        ("pk", Arc::new(Int64Array::from(vec![8, 9]))),
        ("note", Arc::new(StringArray::from(vec![Some("x"), None]))),
    ]);
    let scores = vec![0.123_456, 2.5];
    let answer = qn::SearchResponse { topks: vec![2], scores, arrow_ipc: to_ipc(&hits), read_ts: 7 };
    fakes.seen().search_answers.push_back(answer);
    let mut request =
        search("things", &[("topk", "3"), ("offset", "1"), ("round_decimal", "3"), ("params", r#"{"radius":9}"#)]);
    request.output_fields = vec!["note".into()];
    let found = fakes.client().search(request).await.unwrap().into_inner();
    assert_eq!(found.status, Some(Status::default()));
    let results = found.results.unwrap();
    assert_eq!((results.num_queries, results.topks, results.scores), (1, vec![2], vec![0.123, 2.5]));
    assert_eq!(results.ids.unwrap().id_field, Some(IdField::IntId(LongArray { data: vec![8, 9] })));
    assert_eq!((results.primary_field_name.as_str(), results.output_fields), ("pk", vec!["note".to_owned()]));
    assert_eq!((results.fields_data.len(), &results.fields_data[0].valid_data), (1, &vec![true, false]));
    let asked = fakes.seen().searches.pop().unwrap();
    assert_eq!((asked.vector_field.as_str(), asked.metric_type.as_str()), ("v", "L2"));
    assert_eq!((asked.nq, asked.limit, asked.offset, asked.radius, asked.queries.len()), (1, 3, 1, Some(9.0), 8));
}

#[tokio::test]
async fn a_hybrid_search_asks_once_and_ranks_what_comes() {
    let fakes = Fakes::default();
    let found = |keys: Vec<i64>, scores: Vec<f32>| qn::SearchResponse {
        topks: vec![i64::try_from(keys.len()).expect("few")],
        scores,
        arrow_ipc: to_ipc(&batch(&[("pk", Arc::new(Int64Array::from(keys)))])),
        read_ts: 7,
    };
    fakes.seen().search_answers.extend([found(vec![1, 2], vec![0.5, 0.75]), found(vec![2, 3], vec![0.1, 0.2])]);
    let request = |rank: &[(&str, &str)], searches: Vec<m::SearchRequest>| m::HybridSearchRequest {
        collection_name: "things".into(),
        requests: searches,
        rank_params: pairs(rank),
        ..Default::default()
    };
    let one = |expr: &str| m::SearchRequest { dsl: expr.into(), ..search("", &[("topk", "5")]) };
    let rrf = [("strategy", "rrf"), ("params", r#"{"k": 60}"#), ("limit", "2"), ("offset", "0")];
    let mut client = fakes.client();
    let answer = client.hybrid_search(request(&rrf, vec![one("pk > 0"), one("")])).await.unwrap().into_inner();
    assert_eq!(answer.status, Some(Status::default()));
    let results = answer.results.unwrap();
    assert_eq!(results.ids.unwrap().id_field, Some(IdField::IntId(LongArray { data: vec![2, 1] })));
    assert_eq!((results.topks, results.scores.len(), answer.session_ts), (vec![2], 2, 7));
    {
        let seen = fakes.seen();
        let filters: Vec<_> =
            seen.searches.iter().map(|s| s.scope.as_ref().expect("a scope").filter.as_str()).collect();
        assert_eq!(filters, ["pk > 0", ""]);
    }
    for (request, fragment) in [
        (request(&rrf, vec![]), "minimum of ann search requests is 1"),
        (request(&rrf[..2], vec![one("")]), "limit not found"),
        (request(&[("strategy", "best"), ("limit", "1")], vec![one("")]), "unsupported rank type best"),
        (request(&rrf, vec![search("", &[("topk", "0")])]), "topk [0] is invalid"),
    ] {
        let status = client.hybrid_search(request).await.unwrap().into_inner().status.unwrap();
        assert_eq!(status.code, 1100);
        assert!(status.reason.contains(fragment), "{}", status.reason);
    }
}

#[tokio::test]
async fn pages_of_an_iterator_are_read_at_its_timestamp_and_by_position() {
    let fakes = Fakes::default();
    let hits = batch(&[("pk", Arc::new(Int64Array::from(vec![8, 9])))]);
    let scores = vec![0.5, 0.5];
    let answer = qn::SearchResponse { topks: vec![2], scores, arrow_ipc: to_ipc(&hits), read_ts: 70 };
    fakes.seen().search_answers.push_back(answer);
    let mut request = search(
        "things",
        &[
            ("topk", "2"),
            ("iterator", "True"),
            ("search_iter_v2", "True"),
            ("search_iter_batch_size", "2"),
            ("search_iter_last_bound", "16400.0"),
        ],
    );
    request.guarantee_timestamp = 70;
    let found = fakes.client().search(request).await.unwrap().into_inner();
    let next = found.results.unwrap().search_iterator_v2_results.unwrap();
    assert!(!next.token.is_empty());
    assert_eq!((next.last_bound, found.session_ts), (16_402.0, 70));
    let asked = fakes.seen().searches.pop().unwrap();
    assert_eq!((asked.offset, asked.limit, asked.scope.unwrap().read_ts), (16_400, 2, 70));
}

#[tokio::test]
async fn a_read_inside_a_snapshot_sees_what_was_then_loaded_or_not() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let counted = |read_ts| qn::QueryResponse { count: 3, read_ts, ..Default::default() };
    let ask = |snapshot: &'static str, partitions: &[&str]| {
        let mut request = query("idle", "", &["count(*)"]);
        request.partition_names = partitions.iter().map(|name| (*name).to_owned()).collect();
        let mut request = Request::new(request);
        request.metadata_mut().insert("elanus-snapshot", snapshot.parse().expect("text"));
        request
    };

    fakes.seen().query_answers.push_back(counted(SNAPSHOT_TS));
    let answer = client.query(ask("old", &["dropped"])).await.expect("an answer").into_inner();
    assert_eq!((answer.status.expect("a status").code, answer.session_ts), (0, SNAPSHOT_TS));
    {
        let seen = fakes.seen();
        let scope = seen.queries[0].scope.as_ref().expect("a scope");
        assert_eq!((scope.read_ts, scope.partition_ids.as_slice()), (SNAPSHOT_TS, &[605][..]));
    }
    fakes.seen().query_answers.push_back(counted(SNAPSHOT_TS));
    for (snapshot, partitions, code, text) in [
        ("none", &[][..], 2600, "snapshot not found"),
        ("lost", &[][..], 2600, "snapshot not found"),
        ("old", &["cold"][..], 200, "partition not found[partition=cold]"),
        ("a b", &[][..], 1100, "snapshot name can only contain"),
        ("", &[][..], 1100, "snapshot name should be not empty"),
    ] {
        let status = client.query(ask(snapshot, partitions)).await.expect("an answer").into_inner().status;
        let status = status.expect("a status");
        assert_eq!(status.code, code, "{snapshot}: {}", status.reason);
        assert!(status.reason.contains(text), "{}", status.reason);
    }

    // The snapshot had no index: the search says by which metric.
    let in_snapshot = |params: &[(&str, &str)]| {
        let mut request = Request::new(search("idle", params));
        request.metadata_mut().insert("elanus-snapshot", "old".parse().expect("text"));
        request
    };
    let status = client.search(in_snapshot(&[("topk", "1")])).await.expect("an answer").into_inner().status;
    assert!(status.expect("a status").reason.contains("give a metric_type"));
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![4]));
    fakes.seen().search_answers.push_back(qn::SearchResponse {
        topks: vec![1],
        scores: vec![0.5],
        arrow_ipc: to_ipc(&batch(&[("pk", keys)])),
        read_ts: SNAPSHOT_TS,
    });
    let found = client.search(in_snapshot(&[("topk", "1"), ("metric_type", "ip")])).await.expect("an answer");
    assert_eq!(found.into_inner().status.expect("a status").code, 0);
    assert_eq!(fakes.seen().searches[0].metric_type, "IP");
    assert_eq!(fakes.seen().searches[0].scope.as_ref().expect("a scope").read_ts, SNAPSHOT_TS);
}

#[tokio::test]
async fn a_snapshot_is_never_written() {
    let fakes = Fakes::default();
    let mut client = fakes.client();
    let mut request = Request::new(insert("things", vec![keys(&[1]), vectors(&[1.0, 2.0])], 1));
    request.metadata_mut().insert("elanus-snapshot", "old".parse().expect("text"));
    let status = client.insert(request).await.expect("an answer").into_inner().status.expect("a status");
    assert!(status.code == 1100 && status.reason.contains("a snapshot cannot be changed"), "{}", status.reason);
    assert!(fakes.seen().writes.is_empty());
}

#[tokio::test]
async fn what_is_already_so_is_a_success() {
    let fakes = Fakes::default();
    let mut client: MilvusServiceClient<Channel> = fakes.client();
    let gone = m::DropCollectionRequest { collection_name: "x".into(), ..Default::default() };
    assert_eq!(client.drop_collection(gone).await.unwrap().into_inner(), Status::default());
    let same = m::CreateIndexRequest {
        collection_name: "things".into(),
        field_name: "v".into(),
        extra_params: pairs(&[("metric_type", "L2")]),
        ..Default::default()
    };
    assert_eq!(client.create_index(same).await.unwrap().into_inner(), Status::default());
    let there = m::CreatePartitionRequest {
        collection_name: "things".into(),
        partition_name: "cold".into(),
        ..Default::default()
    };
    assert_eq!(client.create_partition(there).await.unwrap().into_inner(), Status::default());
    let index = m::DescribeIndexRequest { collection_name: "things".into(), ..Default::default() };
    let index = client.describe_index(index).await.unwrap().into_inner().index_descriptions.remove(0);
    assert_eq!((index.index_name.as_str(), index.field_name.as_str(), index.state), ("v", "v", 3));
    assert_eq!((index.total_rows, index.indexed_rows, index.pending_index_rows), (42, 42, 0));
}

#[tokio::test]
async fn a_call_that_is_not_served_is_unimplemented() {
    let request = http::Request::post("/milvus.proto.milvus.MilvusService/CalcDistance")
        .header("content-type", "application/grpc")
        .body(Body::empty());
    let mut channel = Fakes::default().channel();
    let answer = channel.ready().await.unwrap().call(request.unwrap()).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "12");
}
