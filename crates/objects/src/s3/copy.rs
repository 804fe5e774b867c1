//! Copies that the store makes itself. The source is checked before, the copy by what the store says of it.

use super::bucket::{Bucket, decode, seconds};
use super::config::PARTS_MAX;
use super::get::{self, Head};
use super::parts::{self, Part, Upload};
use super::{Created, failure};
use crate::{Error, Expected, Found, ObjectInfo, Result};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedPart};
use elanus_types::ObjectKey;

pub(super) async fn copy(bucket: &Bucket, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
    let attempt = format!("copy {from} to {to}");
    let source = match get::head(bucket, from).await {
        Ok(source) => source,
        Err(absent @ Error::NotFound { .. }) => return accept_copy(bucket, to, expected).await?.ok_or(absent),
        Err(error) => return Err(error),
    };
    verify(from, expected, &source)?;
    let created = if expected.size > bucket.limits.copy_bytes_max {
        in_parts(bucket, from, to, &attempt, expected, &source).await?
    } else {
        at_once(bucket, from, to, &attempt, &source).await?
    };
    match created {
        Created::Now { checksum, .. } if !parts::same(checksum, expected) => {
            Err(Error::transient(attempt, "the store says that the copy has another checksum"))
        }
        Created::Now { modified_ms: Some(modified_ms), .. } => {
            Ok(ObjectInfo { key: to.clone(), size: expected.size, modified_ms })
        }
        Created::Now { modified_ms: None, .. } | Created::Before => {
            let copied = accept_copy(bucket, to, expected).await?;
            copied.ok_or_else(|| Error::transient(attempt, "a copy was there and is gone"))
        }
    }
}

fn verify(key: &ObjectKey, expected: Expected, head: &Head) -> Result<()> {
    expected.verify_size(key, head.info.size)?;
    if parts::same(head.checksum, expected) {
        return Ok(());
    }
    let found = Found { size: head.info.size, checksum: head.checksum };
    Err(Error::Corrupt { key: key.clone(), expected, found })
}

/// The copy that is there, `None` when there is nothing.
async fn accept_copy(bucket: &Bucket, to: &ObjectKey, expected: Expected) -> Result<Option<ObjectInfo>> {
    match get::head(bucket, to).await {
        Ok(found) if found.info.size == expected.size && parts::same(found.checksum, expected) => Ok(Some(found.info)),
        Ok(_) => Err(Error::Exists { key: to.clone() }),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names have only characters that need no escape here.
fn source_name(bucket: &Bucket, from: &ObjectKey) -> String {
    format!("{}/{}", bucket.name, bucket.name_of(from))
}

async fn at_once(bucket: &Bucket, from: &ObjectKey, to: &ObjectKey, attempt: &str, source: &Head) -> Result<Created> {
    let send = async |condition: Option<&str>| {
        let _permit = bucket.permit().await;
        let request = bucket.client.copy_object().bucket(&bucket.name).key(bucket.name_of(to));
        let request = request.copy_source(source_name(bucket, from)).copy_source_if_match(&source.etag);
        let request = request.set_if_none_match(condition.map(str::to_owned));
        // A source that was put without this checksum has it in its copy.
        let request = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
        request.customize().config_override(bucket.patient()).send().await
    };
    let mut sent = send(Some("*")).await;
    if sent.as_ref().is_err_and(failure::is_not_implemented) {
        // A store that has no condition on copies: a look takes its place. Keys are never given twice.
        match get::head(bucket, to).await {
            Ok(_) => return Ok(Created::Before),
            Err(Error::NotFound { .. }) => sent = send(None).await,
            Err(error) => return Err(error),
        }
    }
    match sent {
        Ok(answer) => {
            let result = answer.copy_object_result();
            Ok(Created::Now {
                checksum: result.and_then(|result| result.checksum_crc64_nvme()).and_then(decode),
                modified_ms: result.and_then(|result| result.last_modified()).map(seconds),
            })
        }
        Err(error) if failure::is_precondition(&error) => Ok(Created::Before),
        Err(error) => Err(bucket.failed(attempt.to_owned(), from, error)),
    }
}

async fn in_parts(
    bucket: &Bucket,
    from: &ObjectKey,
    to: &ObjectKey,
    attempt: &str,
    expected: Expected,
    source: &Head,
) -> Result<Created> {
    let cut = parts::cut(expected.size, bucket.limits.copy_part_bytes, PARTS_MAX);
    let copied =
        parts::create(bucket, to, attempt, expected, cut, |upload, part| copy_part(upload, part, from, source));
    copied.await
}

async fn copy_part(upload: Upload<'_>, part: Part, from: &ObjectKey, source: &Head) -> Result<CompletedPart> {
    let Upload { bucket, key, attempt, id } = upload;
    let _permit = bucket.permit().await;
    let request = bucket.client.upload_part_copy().bucket(&bucket.name).key(bucket.name_of(key)).upload_id(&*id);
    let request = request.copy_source(source_name(bucket, from)).copy_source_if_match(&source.etag);
    let range = format!("bytes={}-{}", part.bytes.start, part.bytes.end - 1);
    let request = request.part_number(part.number).copy_source_range(range);
    let sent = request.customize().config_override(bucket.patient()).send().await;
    let answer = sent.map_err(|error| bucket.failed(attempt.to_owned(), from, error))?;
    let result = answer.copy_part_result();
    Ok(parts::completed(part.number, result.and_then(|r| r.e_tag()), result.and_then(|r| r.checksum_crc64_nvme())))
}
