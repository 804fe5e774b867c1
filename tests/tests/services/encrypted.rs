//! Four services with certificates and tokens, on a PostgreSQL that takes encrypted connections alone.

use crate::world::SOON;
use elanus_proto::transport::{Channel, Dial};
use elanus_scenarios::file;
use elanus_testkit::{Authority, Ended, Pair, Postgres, Server, elanus, get, python, wait_for};
use elanus_trust::{ClientFiles, ClientTls, Source, Tokens, Version};
use elanus_types::{Clock as _, SystemClock};
use prost_reflect::DescriptorPool;
use std::{fs, path::Path};
use tempfile::TempDir;
use tonic::{Code, Status, codegen::http};
use tower::ServiceExt as _;

const TOKEN: &str = "a-token-of-the-services-0123456789";

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// What the processes of a cluster are told.
struct Secured {
    /// Of the services, and of their database.
    inner: Authority,
    /// Of clients and what they connect to.
    outer: Authority,
    postgres: Postgres,
    directory: TempDir,
    settings: Vec<(String, String)>,
}

impl Secured {
    fn new() -> Self {
        let (inner, outer) = (Authority::new().unwrap(), Authority::new().unwrap());
        let postgres = Postgres::start_with_tls(&inner.issue("database").unwrap()).unwrap();
        let directory = TempDir::with_prefix("elanus-shared-").unwrap();
        let tokens = directory.path().join("tokens");
        fs::write(&tokens, TOKEN).unwrap();
        let own = inner.issue("service").unwrap();
        let settings = [
            ("ELANUS_META", format!("{}?sslmode=verify-full&sslrootcert={}", postgres.tls_url(), text(inner.ca()))),
            ("ELANUS_OBJECTS", format!("file://{}", text(directory.path().join("objects")))),
            ("ELANUS_SERVICES_TLS_CERT", text(&own.cert)),
            ("ELANUS_SERVICES_TLS_KEY", text(&own.key)),
            ("ELANUS_SERVICES_TLS_CA", text(inner.ca())),
            ("ELANUS_SERVICES_TOKEN_FILE", text(tokens)),
            ("ELANUS_TLS_MIN_VERSION", "1.3".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { inner, outer, postgres, directory, settings }
    }

    async fn service(&self, service: &'static str, flags: &[&str]) -> Server {
        Server::start_service(service, flags, self.settings.clone()).await.unwrap()
    }

    fn meta(&self) -> &str {
        &self.settings[0].1
    }
}

/// `elanus ctl` with these certificates.
async fn ctl(proxy: &Server, ca: &Path, own: Option<&Pair>, line: &str) -> Ended {
    let (address, ca) = (format!("https://localhost:{}", proxy.listen().port()), text(ca));
    let mut args = vec!["ctl".to_owned(), "--addr".to_owned(), address, "--tls-ca".to_owned(), ca];
    if let Some(own) = own {
        args.extend(["--tls-cert".to_owned(), text(&own.cert), "--tls-key".to_owned(), text(&own.key)]);
    }
    args.extend(line.split(' ').map(str::to_owned));
    elanus(args).await.unwrap()
}

/// The answer of a call that has no message.
async fn status(channel: &Channel, path: &str) -> Status {
    let request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::empty())
        .unwrap();
    let answer = channel.clone().oneshot(request).await.unwrap();
    Status::from_header_map(answer.headers()).unwrap_or_else(|| Status::unknown("no status in the headers"))
}

/// Every call of a service, from its descriptor.
fn calls(service: &str) -> Vec<String> {
    let pool = DescriptorPool::decode(elanus_proto::FILE_DESCRIPTOR_SET).unwrap();
    let service = pool.get_service_by_name(service).unwrap();
    service.methods().map(|method| format!("/{}/{}", service.full_name(), method.name())).collect()
}

async fn every_call_needs_a_token(secured: &Secured, server: &Server, service: &str) {
    let own = secured.inner.issue("operator").unwrap();
    let files = ClientFiles {
        ca: Some(Source::new("ca", secured.inner.ca())),
        identity: Some((Source::new("cert", &own.cert), Source::new("key", &own.key))),
        server_name: None,
        oldest: Version::Tls13,
    };
    let tls = ClientTls::open(files, "name", SystemClock.now_ms() / 1_000).unwrap();
    let address = format!("localhost:{}", server.listen().port());
    let to = |token: Option<&str>| {
        let tokens = token.map(|token| Tokens::given("token", token).unwrap());
        Dial::new(Some(tls.clone()), tokens).to(&address).unwrap()
    };
    let (without, wrong, with) = (to(None), to(Some("another-token-0123456789")), to(Some(TOKEN)));
    let calls = calls(service);
    assert!(calls.len() >= 2, "{calls:?}");
    for call in &calls {
        for channel in [&without, &wrong] {
            let status = status(channel, call).await;
            assert_eq!(status.code(), Code::Unauthenticated, "{call}: {status}");
            assert!(status.message().contains("--services-token-file"), "{status}");
        }
        // Let in: that there is no message is the next thing that is wrong.
        assert_ne!(status(&with, call).await.code(), Code::Unauthenticated, "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pymilvus_works_with_certificates_and_tokens_and_nobody_else_is_let_in() {
    let secured = Secured::new();
    let migrate = async |url: &str| elanus(["migrate", "--meta", url]).await.unwrap();
    let plain = migrate(&format!("{}?sslmode=disable", secured.postgres.tls_url())).await;
    assert!(plain.code == Some(2) && plain.stderr.contains("no encryption"), "{plain:?}");
    let foreign = text(secured.outer.ca());
    let untrusted = migrate(&format!("{}?sslmode=verify-full&sslrootcert={foreign}", secured.postgres.tls_url())).await;
    assert!(untrusted.code == Some(1) && untrusted.stderr.contains("UnknownIssuer"), "{untrusted:?}");
    let migrated = migrate(secured.meta()).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");

    let mut coordinator = secured.service("datacoord", &[]).await;
    let (mut writer, mut reader) = (secured.service("datanode", &[]).await, secured.service("querynode", &[]).await);
    let (front, own) = (secured.outer.issue("front").unwrap(), secured.outer.issue("me").unwrap());
    let (cert, key, ca) = (text(&front.cert), text(&front.key), text(secured.outer.ca()));
    let flags = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    let mut proxy = secured.service("proxy", &flags).await;

    let url = format!("https://localhost:{}", proxy.listen().port());
    let args = [url, ca.clone(), text(&own.cert), text(&own.key)];
    let script = file("python/secure.py");
    eprintln!("{}", python(&script, &args.each_ref().map(String::as_str)).await.unwrap());

    // Connections are made again, as they were.
    for server in [&mut writer, &mut reader] {
        server.kill9().unwrap();
        server.restart().await.unwrap();
    }
    let outer = secured.outer.ca();
    let copied = ctl(&proxy, &outer, Some(&own), "snapshot restore docs before docs_copy --mode copy --wait").await;
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let scrubbed = ctl(&proxy, &outer, Some(&own), "scrub --checksums").await;
    assert_eq!(scrubbed.code, Some(0), "{scrubbed:?}");
    wait_for("everybody is there", SOON, async || {
        let status = ctl(&proxy, &outer, Some(&own), "status").await;
        if status.code == Some(0) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;

    // Nobody comes in at the front without a certificate of the outer authority, or trusts a front that is somebody else's.
    let nobody = ctl(&proxy, &outer, None, "status").await;
    assert!(nobody.code == Some(7) && nobody.stderr.contains("CertificateRequired"), "{nobody:?}");
    let inner = secured.inner.issue("me").unwrap();
    let stranger = ctl(&proxy, &outer, Some(&inner), "status").await;
    assert!(stranger.code == Some(7) && stranger.stderr.contains("UnknownCA"), "{stranger:?}");
    let wrong_front = ctl(&proxy, &secured.inner.ca(), Some(&own), "status").await;
    assert!(wrong_front.stderr.contains("not of an authority that is trusted"), "{wrong_front:?}");
    let address = proxy.url();
    let plain = elanus(["ctl", "--addr", &address, "status"]).await.unwrap();
    assert_eq!(plain.code, Some(7), "{plain:?}");

    for (server, service) in [
        (&coordinator, "elanus.datacoord.v1.DataCoord"),
        (&writer, "elanus.datanode.v1.DataNode"),
        (&reader, "elanus.querynode.v1.QueryNode"),
    ] {
        every_call_needs_a_token(&secured, server, service).await;
        let (_, metrics) = get(server.management(), "/metrics").await.unwrap();
        assert!(metrics.contains("elanus_tls_certificate_expiry_seconds{of=\"listen\"}"), "{metrics}");
    }
    let pause = "/management/datacoord/garbage_collection/pause?pause_seconds=60";
    for server in [&coordinator, &proxy] {
        let (status, body) = get(server.management(), pause).await.unwrap();
        assert!(status == 401 && body.contains("Bearer"), "{status} {body}");
        assert!(!server.log().contains(TOKEN) && !body.contains(TOKEN));
    }
    for server in [&mut proxy, &mut reader, &mut writer, &mut coordinator] {
        server.terminate().await.unwrap();
    }
    drop(secured.directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_shows_a_certificate_and_asks_for_none() {
    let authority = Authority::new().unwrap();
    let pair = authority.issue("front").unwrap();
    let (cert, key) = (text(&pair.cert), text(&pair.key));
    let mut server = Server::start_with(&["--tls-cert", &cert, "--tls-key", &key]).await.unwrap();
    let url = format!("https://localhost:{}", server.listen().port());
    let ca = text(authority.ca());
    eprintln!("{}", python(&file("python/secure.py"), &[&url, &ca]).await.unwrap());
    let scrubbed = ctl(&server, &authority.ca(), None, "scrub --checksums").await;
    assert_eq!(scrubbed.code, Some(0), "{scrubbed:?}");
    // Its name may be another one than that which it is reached by.
    let (address, name) = (format!("https://127.0.0.1:{}", server.listen().port()), "localhost");
    let line = ["ctl", "--addr", &address, "--tls-ca", &ca, "--tls-server-name", name, "status"];
    assert_eq!(elanus(line).await.unwrap().code, Some(0));
    server.terminate().await.unwrap();
}
