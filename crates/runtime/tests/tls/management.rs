//! The management port: encrypted or not, and who may change something there.

use crate::world::{now_s, server_files};
use elanus_runtime::{
    Background, grpc,
    management::{self, Management},
};
use elanus_testkit::{Authority, Pair};
use elanus_trust::{Protocol, ServerTls, Tokens};
use elanus_types::SystemClock;
use std::{path::PathBuf, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "0123456789abcdef-management";

async fn serve(tls: Option<ServerTls>, tokens: Option<&str>) -> u16 {
    let tokens = tokens.map(|text| Tokens::given("--services-token", text).unwrap());
    let told = Management::new(Background::new(Arc::new(SystemClock)), "1")
        .change("/pause", |_| Box::pin(async { (200, serde_json::json!("paused")) }))
        .get("/more", |_| Box::pin(async { (200, serde_json::json!("read")) }))
        .demand(tokens);
    let listener = grpc::bind(([127, 0, 0, 1], 0).into(), "--management").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(management::serve(listener, tls, told, CancellationToken::new()));
    port
}

/// The status line.
async fn ask(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    path: &str,
    header: &str,
) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that lets nobody in closes without an answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

async fn plain(port: u16, path: &str, header: &str) -> String {
    ask(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), path, header).await
}

async fn encrypted(port: u16, authority: &Authority, shown: Option<&Pair>, path: &str) -> String {
    let certificate = |path: PathBuf| CertificateDer::from_pem_file(path).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority.ca())).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        Some(pair) => {
            let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
            config.with_client_auth_cert(vec![certificate(pair.cert.clone())], key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await.unwrap();
    ask(stream, path, "").await
}

const OK: &str = "HTTP/1.1 200 OK";
const REFUSED: &str = "HTTP/1.1 401 Unauthorized";

#[tokio::test]
async fn only_who_has_a_token_may_change_something_and_everybody_may_look() {
    let port = serve(None, Some(TOKEN)).await;
    for path in ["/healthz", "/metrics", "/tasks", "/version", "/more"] {
        assert_eq!(plain(port, path, "").await, OK, "{path}");
    }
    for wrong in ["", "authorization: Bearer wrong\r\n", &format!("authorization: Basic {TOKEN}\r\n")] {
        assert_eq!(plain(port, "/pause", wrong).await, REFUSED, "{wrong}");
    }
    assert_eq!(plain(port, "/pause", &format!("authorization: Bearer {TOKEN}\r\n")).await, OK);
    let open = serve(None, None).await;
    assert_eq!(plain(open, "/pause", "").await, OK);
}

#[tokio::test]
async fn it_speaks_tls_and_may_demand_certificates() {
    let authority = Authority::new().unwrap();
    let (pair, own) = (authority.issue("server").unwrap(), authority.issue("client").unwrap());
    let open = |client_ca| ServerTls::open(server_files(&pair, client_ca), Protocol::Http1, now_s()).unwrap();
    let port = serve(Some(open(None)), Some(TOKEN)).await;
    assert_eq!(encrypted(port, &authority, None, "/healthz").await, OK);
    assert_eq!(encrypted(port, &authority, None, "/pause").await, REFUSED);
    assert_ne!(plain(port, "/healthz", "").await, OK, "not without TLS");

    let port = serve(Some(open(Some(authority.ca()))), None).await;
    assert_eq!(encrypted(port, &authority, Some(&own), "/pause").await, OK);
    assert_eq!(encrypted(port, &authority, None, "/healthz").await, "");
}
