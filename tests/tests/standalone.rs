//! The process itself: what it refuses and leaves alone, how it ends, and what it serves beside the Milvus API.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_proto::{
    milvus::{DropCollectionRequest, InsertRequest, QueryRequest},
    schema::{StringArray, field_data::Field, scalar_field::Data},
};
use elanus_scenarios::{
    file,
    milvus::{CallError, Milvus},
    rows::{self, Row},
};
use elanus_testkit::{Ended, Server, Signal, elanus, get, python, wait_for};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tonic::{
    Code, Request,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const WAIT_MAX: Duration = Duration::from_secs(60);

/// Every file under a directory, with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.append(&mut contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

async fn standalone(data: &Path) -> Ended {
    let nowhere = "127.0.0.1:0";
    let data = data.to_str().unwrap();
    elanus(["standalone", "--data", data, "--listen", nowhere, "--management", nowhere]).await.unwrap()
}

#[track_caller]
fn assert_refused(ended: &Ended, says: &str) {
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains(says), "{ended:?}");
    assert_eq!(ended.stdout, "", "nothing is ready");
}

/// A directory with a little data that no process uses.
async fn left_behind() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::start_in(&data).await.unwrap();
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("kept").await.unwrap();
    milvus.insert("kept", &[Row { id: 1, version: 1 }]).await.unwrap();
    server.terminate().await.unwrap();
    (dir, data)
}

#[tokio::test]
async fn a_directory_of_a_newer_version_is_refused_and_untouched() {
    let (_dir, data) = left_behind().await;
    let marker = data.join("_elanus/owner.json");
    let text = fs::read_to_string(&marker).unwrap();
    let newer = text.replacen("\"format_version\": 2", "\"format_version\": 999", 1);
    assert_ne!(newer, text);
    fs::write(&marker, newer).unwrap();
    let before = contents(&data);
    assert_refused(&standalone(&data).await, "was made by a newer elanus (format 999");
    assert_eq!(contents(&data), before);
}

#[tokio::test]
async fn metadata_of_a_newer_version_are_refused_and_untouched() {
    let (_dir, data) = left_behind().await;
    let meta = data.join("meta.db");
    python(&file("python/newer_metadata.py"), &[meta.to_str().unwrap()]).await.unwrap();
    let before = contents(&data);
    assert_refused(&standalone(&data).await, "newer");
    assert_eq!(contents(&data), before);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut rights = fs::metadata(dir.path()).unwrap().permissions();
    rights.set_readonly(true);
    fs::set_permissions(dir.path(), rights).unwrap();
    // Rights do not bind root, but nobody makes directories in /sys.
    let own = fs::write(dir.path().join("probe"), "").is_ok();
    let data = if own { PathBuf::from("/sys/elanus") } else { dir.path().join("data") };
    assert_refused(&standalone(&data).await, "no permission to write to");
    assert!(!data.exists());
}

#[tokio::test]
async fn a_second_process_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let mut server = Server::start().await.unwrap();
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("mine").await.unwrap();
    milvus.insert("mine", &[Row { id: 1, version: 1 }]).await.unwrap();
    assert_refused(&standalone(server.data()).await, "in use by another elanus process");
    milvus.insert("mine", &[Row { id: 2, version: 1 }]).await.unwrap();
    assert_eq!(milvus.query("mine", "id > 0").await.unwrap().len(), 2);
    server.terminate().await.unwrap();
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let mut server = Server::start().await.unwrap();
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("kept").await.unwrap();
    let rows: Vec<Row> = (0..100).map(|id| Row { id, version: 1 }).collect();
    milvus.insert("kept", &rows).await.unwrap();
    server.terminate().await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(milvus.query("kept", "id >= 0").await.unwrap(), rows);
    let starts: Vec<_> =
        server.log().lines().filter_map(|line| Some(line.split_once("(start took")?.1.to_owned())).collect();
    eprintln!("start took {starts:?}");
    server.terminate().await.unwrap();
}

/// Writes new rows until the server does not take them any more; those that it acknowledged.
async fn write(milvus: Milvus, writer: i64, acks: Arc<AtomicUsize>) -> Vec<i64> {
    let mut acked = Vec::new();
    for id in writer * 1_000_000.. {
        match milvus.insert("load", &[Row { id, version: 1 }]).await {
            Ok(_) => acked.push(id),
            Err(CallError::NoAnswer(_)) => break,
            Err(CallError::Refused(why)) if why.code.retriable() => break,
            Err(error) => panic!("{error}"),
        }
        acks.fetch_add(1, Ordering::SeqCst);
    }
    acked
}

async fn d_1_holds_when_asked_to_end_by(signal: Signal) {
    let mut server = Server::start().await.unwrap();
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("load").await.unwrap();
    let acks = Arc::new(AtomicUsize::new(0));
    let mut writers: JoinSet<_> = (1..=4).map(|writer| write(milvus.clone(), writer, Arc::clone(&acks))).collect();
    wait_for("some writes", WAIT_MAX, async || match acks.load(Ordering::SeqCst) {
        30.. => Ok(()),
        few => Err(few),
    })
    .await;
    server.signal(signal).unwrap();
    assert_eq!(server.wait().await.unwrap(), Some(0), "{}", server.log());
    let mut acked = Vec::new();
    while let Some(rows) = writers.join_next().await {
        acked.append(&mut rows.unwrap());
    }
    server.restart().await.unwrap();
    let found: Vec<i64> = milvus.query("load", "id >= 0").await.unwrap().into_iter().map(|row| row.id).collect();
    let lost: Vec<_> = acked.iter().filter(|id| !found.contains(id)).collect();
    assert!(lost.is_empty(), "D-1: {lost:?}");
    assert!(found.len() <= acked.len() + 4, "{} rows of {} acknowledged ones", found.len(), acked.len());
    server.terminate().await.unwrap();
}

#[tokio::test]
async fn d_1_sigterm_under_load_ends_in_good_order() {
    d_1_holds_when_asked_to_end_by(Signal::Terminate).await;
}

#[tokio::test]
async fn d_1_ctrl_c_under_load_ends_in_good_order() {
    d_1_holds_when_asked_to_end_by(Signal::Interrupt).await;
}

#[tokio::test]
async fn help_shows_examples() {
    for line in ["--help", "standalone --help", "ctl --help", "ctl snapshot restore --help"] {
        let ended = elanus(line.split(' ')).await.unwrap();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("  elanus "), "no example in {line}:\n{}", ended.stdout);
    }
    let ended = elanus(["--version"]).await.unwrap();
    assert!(ended.stdout.starts_with("elanus "), "{ended:?}");
    let ended = elanus(["standalone", "--no-such-flag"]).await.unwrap();
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn a_call_that_is_not_served_is_unimplemented() {
    let server = Server::start().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel(&server).await);
    grpc.ready().await.unwrap();
    let path = "/milvus.proto.milvus.MilvusService/CreateResourceGroup".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<DropCollectionRequest, DropCollectionRequest>::default();
    let status = grpc.unary(Request::new(DropCollectionRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
}

#[tokio::test]
async fn health_and_reflection_answer() {
    let server = Server::start().await.unwrap();
    let channel = channel(&server).await;
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status, 1);

    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::iter([ask])).await.unwrap();
    let answer = answers.get_mut().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["milvus.proto.milvus.MilvusService", "elanus.admin.v1.Admin", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }

    for (path, says) in [("/healthz", "OK"), ("/readyz", "OK"), ("/version", "elanus"), ("/tasks", "restore.check")] {
        let (status, body) = get(server.management(), path).await.unwrap();
        assert!(status == 200 && body.contains(says), "{path}: {status} {body}");
    }
}

#[tokio::test]
async fn an_insert_of_16_mib_is_taken() {
    const TEXT: usize = 65_000;
    let server = Server::start().await.unwrap();
    let milvus = Milvus::at(&server.url());
    let mut schema = rows::schema("large");
    schema.fields[2].type_params[0].value = TEXT.to_string();
    milvus.create_collection_of(schema).await.unwrap();
    let rows: Vec<Row> = (0..270).map(|id| Row { id, version: 1 }).collect();
    let mut columns = rows::columns(&rows);
    let Some(Field::Scalars(texts)) = &mut columns[2].field else { panic!("texts are scalars") };
    texts.data = Some(Data::StringData(StringArray { data: rows.iter().map(|_| "x".repeat(TEXT)).collect() }));
    let request = InsertRequest {
        collection_name: "large".to_owned(),
        fields_data: columns,
        num_rows: 270,
        ..Default::default()
    };
    let answer = milvus.raw().insert(request).await.unwrap().into_inner();
    assert_eq!((answer.status.unwrap().code, answer.insert_cnt), (0, 270));
    let request = QueryRequest {
        collection_name: "large".to_owned(),
        expr: "id >= 0".to_owned(),
        output_fields: vec!["text".to_owned()],
        ..Default::default()
    };
    let answer = milvus.raw().query(request).await.unwrap().into_inner();
    let Some(Field::Scalars(texts)) = &answer.fields_data[0].field else { panic!("{:?}", answer.status) };
    let Some(Data::StringData(texts)) = &texts.data else { panic!("not texts") };
    assert_eq!(texts.data.iter().map(String::len).sum::<usize>(), 270 * TEXT);
}

/// What a wire between a client and the server saw.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    /// Packets, about, from the client.
    sent: AtomicUsize,
    /// Connections that the server closed.
    closed: AtomicUsize,
}

/// Passes connections on to the server and counts; its address.
async fn wire(server: &Server, seen: Arc<Seen>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (listener.local_addr().unwrap(), server.listen());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            seen.connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(pass(client, TcpStream::connect(target).await.unwrap(), Arc::clone(&seen)));
        }
    });
    format!("http://{address}")
}

async fn pass(client: TcpStream, server: TcpStream, seen: Arc<Seen>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(bytes @ 1..) = from_client.read(&mut buffer).await {
            counted.sent.fetch_add(1, Ordering::SeqCst);
            to_server.write_all(&buffer[..bytes]).await.unwrap();
        }
    });
    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    seen.closed.fetch_add(1, Ordering::SeqCst);
}

#[tokio::test]
async fn a_client_may_ping_every_second_without_a_call() {
    let server = Server::start().await.unwrap();
    let seen = Arc::new(Seen::default());
    let endpoint = Endpoint::from_shared(wire(&server, Arc::clone(&seen)).await).unwrap();
    let second = Duration::from_secs(1);
    let endpoint =
        endpoint.http2_keep_alive_interval(second).keep_alive_timeout(second * 5).keep_alive_while_idle(true);
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    health.check(HealthCheckRequest::default()).await.unwrap();
    let before = seen.sent.load(Ordering::SeqCst);
    wait_for("five pings without a call", WAIT_MAX, async || match seen.sent.load(Ordering::SeqCst) - before {
        5.. => Ok(()),
        few => Err(few),
    })
    .await;
    health.check(HealthCheckRequest::default()).await.unwrap();
    let (connections, closed) = (seen.connections.load(Ordering::SeqCst), seen.closed.load(Ordering::SeqCst));
    assert_eq!((connections, closed), (1, 0), "the server closed the connection");
}
