//! The whole program with its objects in S3, through the real Python client: what a directory can do, a bucket can.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_scenarios::file;
use elanus_testkit::{Authority, S3Server, S3User, Server, elanus, get, python};
use elanus_trust::{Protocol, ServerFiles, ServerTls, Source, TlsListener, Version};
use elanus_types::{Clock as _, SystemClock};
use tokio::net::{TcpListener, TcpStream};

async fn phase(server: &Server, name: &str) {
    let written = python(&file("python/on_s3.py"), &[&server.url(), name]).await;
    eprintln!("{}", written.unwrap());
}

async fn ctl(server: &Server, line: &str) -> String {
    let address = server.url();
    let ended = elanus(["ctl", "--addr", &address].into_iter().chain(line.split(' '))).await.unwrap();
    assert_eq!(ended.code, Some(0), "elanus ctl {line}: {ended:?}");
    ended.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn pymilvus_on_s3_snapshots_restores_and_survives_kill_9() {
    let s3 = S3Server::shared().await.unwrap();
    let bucket = s3.bucket().await.unwrap();
    let settings = s3.settings(&bucket, "some/root", S3User::Writer);
    let mut server = Server::start_with_settings(settings.clone()).await.unwrap();
    phase(&server, "fill").await;
    ctl(&server, "snapshot restore docs before cloned --mode clone --wait").await;
    ctl(&server, "snapshot restore docs before copied --mode copy --wait").await;
    ctl(&server, "scrub --checksums").await;
    let described = ctl(&server, "--output json snapshot describe docs before").await;
    let location = serde_json::from_str::<serde_json::Value>(&described).unwrap()["location"].clone();
    let endpoint = settings_of(&settings, "ELANUS_S3_ENDPOINT");
    let (key, secret) = S3User::Writer.keys();
    let uri = format!("s3://{bucket}/some/root/{}", location.as_str().unwrap());
    let flags = format!("--s3-endpoint {endpoint} --s3-access-key {key} --s3-secret-key {secret} --verify checksum");
    let inspected = ctl(&server, &format!("snapshot inspect {uri} {flags}")).await;
    assert!(inspected.contains("before") && !inspected.contains(secret), "{inspected}");
    server.kill9().unwrap();
    server.restart().await.unwrap();
    phase(&server, "check").await;
    phase(&server, "drop").await;
    ctl(&server, "scrub --checksums").await;
    assert_eq!(get(server.management(), "/healthz").await.unwrap().0, 200);
    assert!(!server.log().contains(S3User::Writer.keys().1), "the log has the secret key");
    server.terminate().await.unwrap();
}

fn settings_of<'s>(settings: &'s [(String, String)], name: &str) -> &'s str {
    &settings.iter().find(|(other, _)| other == name).unwrap().1
}

async fn refused(settings: Vec<(String, String)>) -> String {
    let error = Server::start_with_settings(settings).await.unwrap_err();
    format!("{error:#}")
}

fn with(mut settings: Vec<(String, String)>, name: &str, value: &str) -> Vec<(String, String)> {
    settings.retain(|(other, _)| other != name);
    settings.push((name.to_owned(), value.to_owned()));
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_is_refused_with_what_to_do() {
    let s3 = S3Server::shared().await.unwrap();
    let bucket = s3.bucket().await.unwrap();
    let good = s3.settings(&bucket, "root", S3User::Writer);

    let absent = refused(s3.settings("no-such-bucket", "root", S3User::Writer)).await;
    assert!(absent.contains("create the bucket no-such-bucket"), "{absent}");
    let reader = refused(s3.settings(&bucket, "root", S3User::Reader)).await;
    assert!(reader.contains("Objects on S3"), "{reader}");
    let wrong_key = refused(with(good.clone(), "AWS_SECRET_ACCESS_KEY", "the-secret-is-wrong")).await;
    assert!(wrong_key.contains("check AWS_SECRET_ACCESS_KEY") && !wrong_key.contains("is-wrong"), "{wrong_key}");

    let mut server = Server::start_with_settings(good).await.unwrap();
    server.terminate().await.unwrap();
    // The root path above has what the server made: somebody else's, from there.
    let foreign = refused(s3.settings(&bucket, "", S3User::Writer)).await;
    assert!(foreign.contains("was not made by elanus"), "{foreign}");
}

/// TLS in front of a server that speaks none; its URL.
async fn with_tls(authority: &Authority, behind: String) -> String {
    let pair = authority.issue("s3").unwrap();
    let (cert, key) = (Source::new("cert", &pair.cert), Source::new("key", &pair.key));
    let files = ServerFiles { cert, key, client_ca: None, oldest: Version::Tls12 };
    let tls = ServerTls::open(files, Protocol::Http1, SystemClock.now_ms() / 1_000).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let mut listener = TlsListener::new(listener, tls);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await;
            let behind = behind.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_may_have_a_certificate_of_an_authority_of_ones_own() {
    let s3 = S3Server::shared().await.unwrap();
    let bucket = s3.bucket().await.unwrap();
    let authority = Authority::new().unwrap();
    let endpoint = with_tls(&authority, s3.endpoint().replace("http://", "")).await;
    let settings = with(s3.settings(&bucket, "encrypted", S3User::Writer), "ELANUS_S3_ENDPOINT", &endpoint);
    let unknown = refused(settings.clone()).await;
    assert!(unknown.contains("certificate"), "{unknown}");
    let settings = with(settings, "ELANUS_S3_CA", &authority.ca().display().to_string());
    let mut server = Server::start_with_settings(settings).await.unwrap();
    phase(&server, "fill").await;
    ctl(&server, "scrub --checksums").await;
    server.terminate().await.unwrap();
}
