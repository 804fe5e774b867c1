//! Creating objects from bytes: never over an object that is there.

use super::bucket::{Bucket, ServerClock, encode};
use super::config::PARTS_MAX;
use super::parts::{self, Part, Upload};
use super::{Created, failure, get};
use crate::{Error, Expected, ObjectInfo, Result, checksum_of};
use aws_sdk_s3::types::CompletedPart;
use bytes::Bytes;
use elanus_types::ObjectKey;

pub(super) async fn put(bucket: &Bucket, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
    let expected = Expected::of(&bytes);
    let attempt = format!("put {key}");
    let created = if expected.size > bucket.limits.put_bytes_max {
        in_parts(bucket, key, &attempt, expected, bytes).await?
    } else {
        at_once(bucket, key, &attempt, expected, bytes).await?
    };
    match created {
        Created::Now { modified_ms: Some(modified_ms), .. } => {
            Ok(ObjectInfo { key: key.clone(), size: expected.size, modified_ms })
        }
        Created::Now { modified_ms: None, .. } | Created::Before => {
            accept_repeat(bucket, key, &attempt, expected).await
        }
    }
}

async fn at_once(bucket: &Bucket, key: &ObjectKey, attempt: &str, expected: Expected, bytes: Bytes) -> Result<Created> {
    let clock = ServerClock::default();
    let _permit = bucket.permit().await;
    let request = bucket.client.put_object().bucket(&bucket.name).key(bucket.name_of(key)).if_none_match("*");
    let request = request.checksum_crc64_nvme(encode(expected.checksum)).body(bytes.into());
    match request.customize().interceptor(clock.clone()).send().await {
        Ok(_) => Ok(Created::Now { checksum: Some(expected.checksum), modified_ms: clock.now_ms() }),
        Err(error) if failure::is_precondition(&error) => Ok(Created::Before),
        Err(error) => Err(bucket.failed(attempt.to_owned(), key, error)),
    }
}

async fn in_parts(
    bucket: &Bucket,
    key: &ObjectKey,
    attempt: &str,
    expected: Expected,
    bytes: Bytes,
) -> Result<Created> {
    let cut = parts::cut(expected.size, bucket.limits.put_part_bytes, PARTS_MAX);
    parts::create(bucket, key, attempt, expected, cut, |upload, part| send_part(upload, part, &bytes)).await
}

async fn send_part(upload: Upload<'_>, part: Part, bytes: &Bytes) -> Result<CompletedPart> {
    let Upload { bucket, key, attempt, id } = upload;
    let too_long = |_| Error::refused(attempt, "it does not fit into memory");
    let start = usize::try_from(part.bytes.start).map_err(too_long)?;
    let bytes = bytes.slice(start..usize::try_from(part.bytes.end).map_err(too_long)?);
    let checksum = encode(checksum_of(&bytes));
    let _permit = bucket.permit().await;
    let request = bucket.client.upload_part().bucket(&bucket.name).key(bucket.name_of(key)).upload_id(&*id);
    let request = request.part_number(part.number).checksum_crc64_nvme(&checksum).body(bytes.into());
    let answer = request.send().await.map_err(|error| bucket.failed(attempt.to_owned(), key, error))?;
    Ok(parts::completed(part.number, answer.e_tag(), Some(&checksum)))
}

/// Success when the object under `key` has these bytes.
async fn accept_repeat(bucket: &Bucket, key: &ObjectKey, attempt: &str, expected: Expected) -> Result<ObjectInfo> {
    let found = match get::head(bucket, key).await {
        Ok(found) => found,
        Err(Error::NotFound { .. }) => return Err(Error::transient(attempt, "an object was there and is gone")),
        Err(error) => return Err(error),
    };
    let same = found.info.size == expected.size
        && match found.checksum {
            Some(checksum) => checksum == expected.checksum,
            None => get::checksum_by_reading(bucket, key).await? == expected.checksum,
        };
    if same { Ok(found.info) } else { Err(Error::Exists { key: key.clone() }) }
}
