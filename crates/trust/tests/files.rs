//! Files that can be used, files that cannot, and files that change while a process runs.

use elanus_testkit::{Authority, Pair};
use elanus_trust::{ClientFiles, ClientTls, Found, Protocol, ServerFiles, ServerTls, Source, Version};
use std::fs;

/// In the middle of 2026.
const NOW_S: i64 = 1_782_000_000;
/// The first second of 2099.
const END_OF_2098_S: i64 = 4_070_908_800;

fn of(pair: &Pair) -> ServerFiles {
    ServerFiles {
        cert: Source::new("--tls-cert", &pair.cert),
        key: Source::new("--tls-key", &pair.key),
        client_ca: None,
        oldest: Version::Tls12,
    }
}

fn open(files: ServerFiles) -> Result<ServerTls, String> {
    ServerTls::open(files, Protocol::Http2, NOW_S).map_err(|error| error.to_string())
}

#[test]
fn a_good_pair_is_taken_and_says_when_it_ends() {
    let authority = Authority::new().unwrap();
    let good = authority.issue("good").unwrap();
    let tls = open(of(&good)).unwrap();
    assert_eq!(tls.watch().not_after_s(), Some(END_OF_2098_S));
    assert!(!tls.demands_certificates());
    let mutual = ServerFiles { client_ca: Some(Source::new("--tls-client-ca", authority.ca())), ..of(&good) };
    assert!(open(mutual).unwrap().demands_certificates());
}

#[test]
fn every_bad_file_is_named_with_its_flag_and_what_would_be_right() {
    let authority = Authority::new().unwrap();
    let (good, other) = (authority.issue("good").unwrap(), authority.issue("other").unwrap());
    let old = authority.issue_for("old", &["localhost"], 2021).unwrap();
    let file = |name: &str, text: &[u8]| {
        fs::write(authority.path(name), text).unwrap();
        authority.path(name)
    };
    let (empty, noise) = (file("empty", b""), file("noise", b"\xff\x00 not PEM"));
    let torn = file("torn", &fs::read(&good.cert).unwrap()[..200]);
    let not_der = file("not-der", b"-----BEGIN CERTIFICATE-----\nbm90IERFUg==\n-----END CERTIFICATE-----\n");
    let long = file("long", &vec![b'x'; (1 << 20) + 1]);
    let locked =
        file("locked", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nbm90IERFUg==\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let cert = |path: &std::path::Path| ServerFiles { cert: Source::new("--tls-cert", path), ..of(&good) };
    let key = |path: &std::path::Path| ServerFiles { key: Source::new("--tls-key", path), ..of(&good) };
    let ca =
        |path: &std::path::Path| ServerFiles { client_ca: Some(Source::new("--tls-client-ca", path)), ..of(&good) };
    for (files, flag, says) in [
        (cert("/no/such.pem".as_ref()), "--tls-cert", "cannot be read"),
        (cert(&empty), "--tls-cert", "has no certificate"),
        (cert(&noise), "--tls-cert", "has no certificate"),
        (cert(&good.key), "--tls-cert", "has no certificate"),
        (cert(&torn), "--tls-cert", "PEM"),
        (cert(&not_der), "--tls-cert", "cannot be read"),
        (cert(&long), "--tls-cert", "longer than 1 MiB"),
        (of(&old), "--tls-cert", "ended"),
        (key("/no/such.key".as_ref()), "--tls-key", "cannot be read"),
        (key(&empty), "--tls-key", "has no private key"),
        (key(&good.cert), "--tls-key", "has no private key"),
        (key(&locked), "--tls-key", "without a passphrase"),
        (key(&other.key), "--tls-key", "is not the key of the certificate"),
        (ca(&empty), "--tls-client-ca", "has no certificate"),
        (ca(&good.key), "--tls-client-ca", "has no certificate"),
        (ca(&not_der), "--tls-client-ca", "cannot be used"),
        (ca("/no/such.ca".as_ref()), "--tls-client-ca", "cannot be read"),
    ] {
        let error = open(files).unwrap_err();
        assert!(error.starts_with(&format!("{flag}: /")) && error.contains(says), "{says}: {error}");
    }
    let early = ServerTls::open(of(&good), Protocol::Http2, 0).unwrap_err().to_string();
    assert!(early.contains("not valid yet"), "{early}");
}

#[test]
fn a_client_is_as_strict_about_its_own_files() {
    let authority = Authority::new().unwrap();
    let (good, other) = (authority.issue("good").unwrap(), authority.issue("other").unwrap());
    let files = |cert: &Pair, key: &Pair, name: &str| ClientFiles {
        ca: Some(Source::new("--tls-ca", authority.ca())),
        identity: Some((Source::new("--tls-cert", &cert.cert), Source::new("--tls-key", &key.key))),
        server_name: Some(name.to_owned()),
        oldest: Version::Tls12,
    };
    let open = |files| ClientTls::open(files, "--tls-server-name", NOW_S).map_err(|error| error.to_string());
    assert_eq!(open(files(&good, &good, "db.example")).unwrap().watch().not_after_s(), Some(END_OF_2098_S));
    assert!(open(files(&good, &other, "127.0.0.1")).unwrap_err().starts_with("--tls-key: /"));
    assert!(open(files(&good, &good, "no name")).unwrap_err().starts_with("--tls-server-name: this is no name"));
    let nobody = ClientFiles { ca: None, identity: None, ..files(&good, &good, "x") };
    assert_eq!(open(nobody).unwrap().watch().not_after_s(), None, "those that the system trusts");
}

#[test]
fn tr_2_a_new_pair_is_taken_as_a_whole_and_half_of_one_changes_nothing() {
    let authority = Authority::new().unwrap();
    let (used, next) = (authority.issue("used").unwrap(), authority.issue_for("next", &["localhost"], 2090).unwrap());
    let tls = open(of(&used)).unwrap();
    let watch = tls.watch();
    assert_eq!(watch.look(NOW_S), Found::Same);

    fs::copy(&next.cert, &used.cert).unwrap();
    assert_eq!(watch.look(NOW_S), Found::Unsettled, "the key may follow");
    let Found::Bad(error) = watch.look(NOW_S) else { panic!("half of a pair was taken") };
    assert!(error.to_string().contains("is not the key of the certificate"), "{error}");
    assert_eq!(watch.not_after_s(), Some(END_OF_2098_S), "TR-1");
    fs::copy(&next.key, &used.key).unwrap();
    assert_eq!(watch.look(NOW_S), Found::Changed);
    assert!(watch.not_after_s() < Some(END_OF_2098_S));

    let ended = authority.issue_for("ended", &["localhost"], 2021).unwrap();
    used.replace_by(&ended).unwrap();
    assert_eq!((watch.look(NOW_S), matches!(watch.look(NOW_S), Found::Bad(_))), (Found::Unsettled, true));
    fs::remove_file(&used.key).unwrap();
    assert_eq!((watch.look(NOW_S), matches!(watch.look(NOW_S), Found::Bad(_))), (Found::Unsettled, true));
    used.replace_by(&next).unwrap();
    assert_eq!(watch.look(NOW_S), Found::Same, "what is in force is there again");
}
