//! Every kind of client against every kind of server.

use crate::world::{Served, call, client, dial, mutual, now_s, serve, serve_tls, server_files};
use elanus_proto::transport::{Dial, was_not_sent};
use elanus_runtime::grpc::GrpcConfig;
use elanus_testkit::Authority;
use elanus_trust::{Protocol, ServerFiles, ServerTls, Version};
use std::sync::Arc;
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject as _},
        version::{TLS12, TLS13},
    },
};
use tower::ServiceExt as _;

#[tokio::test]
async fn both_sides_show_their_certificates_by_name_and_by_address() {
    let authority = Authority::new().unwrap();
    let (served, own) = (serve_tls(&mutual(&authority)).await, authority.issue("client").unwrap());
    let good = dial(client(&authority, Some(&own), None));
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(call(&good, host, &served).await, Ok(()), "{host}");
    }
}

async fn refused(dial: &Dial, served: &Served, says: &str) {
    let error = call(dial, "127.0.0.1", served).await.unwrap_err();
    assert!(error.contains(says), "{says:?} is not in {error:?}");
}

#[tokio::test]
async fn whoever_is_not_trusted_is_not_talked_to_and_is_told_why() {
    let (ours, theirs) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (own, foreign) = (ours.issue("client").unwrap(), theirs.issue("client").unwrap());
    let served = serve_tls(&mutual(&ours)).await;
    refused(&dial(client(&ours, None, None)), &served, "CertificateRequired (the server demands a certificate)").await;
    refused(&dial(client(&ours, Some(&foreign), None)), &served, "does not trust the certificate").await;
    // So it is known that nothing was done, and another server may be asked.
    let channel = dial(client(&ours, None, None)).to(&format!("localhost:{}", served.port)).unwrap();
    let request = tonic::codegen::http::Request::new(tonic::body::Body::empty());
    assert!(was_not_sent(&channel.oneshot(request).await.unwrap_err()));
    refused(&dial(client(&theirs, Some(&own), None)), &served, "not of an authority that is trusted").await;
    // Not encrypted: the server answers nothing that could be understood.
    refused(&Dial::default(), &served, "").await;
    let ended = ours.issue_for("ended", &["localhost"], 2021).unwrap();
    let files = elanus_trust::ClientFiles {
        identity: Some((
            elanus_trust::Source::new("--tls-cert", &ended.cert),
            elanus_trust::Source::new("--tls-key", &ended.key),
        )),
        ca: Some(elanus_trust::Source::new("--tls-ca", ours.ca())),
        ..elanus_trust::ClientFiles::default()
    };
    // It was good when this client started.
    let long_running = elanus_trust::ClientTls::open(files, "--tls-server-name", 1_590_000_000).unwrap();
    refused(&dial(long_running), &served, "CertificateExpired").await;
    // And nobody is kept out by all that.
    assert_eq!(call(&dial(client(&ours, Some(&own), None)), "localhost", &served).await, Ok(()));

    let plain = serve(GrpcConfig::default()).await;
    refused(&dial(client(&ours, Some(&own), None)), &plain, "is it TLS that is spoken at this port?").await;
    assert_eq!(call(&Dial::default(), "localhost", &plain).await, Ok(()));
}

#[tokio::test]
async fn a_certificate_of_another_machine_or_of_another_time_is_refused() {
    let authority = Authority::new().unwrap();
    let elsewhere = authority.issue_for("elsewhere", &["db.internal"], 2099).unwrap();
    let tls = ServerTls::open(server_files(&elsewhere, None), Protocol::Http2, now_s()).unwrap();
    let served = serve_tls(&tls).await;
    refused(&dial(client(&authority, None, None)), &served, "not valid for name").await;
    // Unless it is said which name it has.
    let named = dial(client(&authority, None, Some("db.internal")));
    assert_eq!(call(&named, "127.0.0.1", &served).await, Ok(()));

    let ended = authority.issue_for("ended", &["127.0.0.1"], 2021).unwrap();
    // It was good when this server started.
    let tls = ServerTls::open(server_files(&ended, None), Protocol::Http2, 1_590_000_000).unwrap();
    let served = serve_tls(&tls).await;
    refused(&dial(client(&authority, None, None)), &served, "expired").await;
}

#[tokio::test]
async fn the_oldest_version_is_what_was_said() {
    let authority = Authority::new().unwrap();
    let pair = authority.issue("server").unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.ca()).unwrap()).unwrap();
    let roots = Arc::new(roots);
    let connects = async |served: &Served, version: &'static SupportedProtocolVersion| {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        let stream = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await.is_ok()
    };
    for (oldest, expected) in [(Version::Tls12, [true, true]), (Version::Tls13, [false, true])] {
        let files = ServerFiles { oldest, ..server_files(&pair, None) };
        let served = serve_tls(&ServerTls::open(files, Protocol::Http2, now_s()).unwrap()).await;
        assert_eq!([connects(&served, &TLS12).await, connects(&served, &TLS13).await], expected, "{oldest:?}");
    }
}

#[tokio::test]
async fn clients_that_say_nothing_hold_up_nobody() {
    let authority = Authority::new().unwrap();
    let (served, own) = (serve_tls(&mutual(&authority)).await, authority.issue("client").unwrap());
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(("127.0.0.1", served.port)).await.unwrap());
    }
    let good = dial(client(&authority, Some(&own), None));
    assert_eq!(call(&good, "localhost", &served).await, Ok(()));
    // Connected, and not cut off by the others.
    let mut byte = [0];
    assert!(tokio::time::timeout(std::time::Duration::ZERO, silent[0].read(&mut byte)).await.is_err());
}
