//! Stores on the server of this process.

use elanus_objects::{S3Config, S3Location, S3Store, s3::S3Limits};
use elanus_testkit::{S3Server, S3User};
use elanus_types::ObjectKey;

pub(crate) fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

/// Bytes that show when a part is missing or comes twice.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}

/// How to reach this root path in a new bucket.
pub(crate) async fn config(root: Option<&str>) -> S3Config {
    let server = S3Server::shared().await.unwrap();
    config_of(server, &server.bucket().await.unwrap(), root, S3User::Writer)
}

pub(crate) fn config_of(server: &S3Server, bucket: &str, root: Option<&str>, user: S3User) -> S3Config {
    let (access, secret) = user.keys();
    let location = S3Location { bucket: bucket.to_owned(), root: root.map(key) };
    S3Config::new(location, Some(server.endpoint()), S3Config::static_credentials(access, secret, None))
}

/// Small enough that a test can have objects of many parts.
pub(crate) fn small_parts() -> S3Limits {
    const MIB: u64 = 1 << 20;
    S3Limits {
        put_bytes_max: 6 * MIB,
        put_part_bytes: 5 * MIB,
        copy_bytes_max: 6 * MIB,
        copy_part_bytes: 5 * MIB,
        ..S3Limits::default()
    }
}

pub(crate) fn store(config: S3Config) -> S3Store {
    S3Store::new(config).unwrap()
}
