//! Objects in parts: begun, filled by several requests at a time, ended under a condition, aborted when anything fails.
//!
//! What is not ended is no object. A process that dies in between leaves an upload behind, which costs money and is
//! found and aborted by age ([`super::uploads`]).

use super::bucket::{Bucket, decode, encode};
use super::{Created, failure};
use crate::{Error, Expected, Result};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use elanus_types::{Checksum, ObjectKey};
use futures::{StreamExt, TryStreamExt, stream};
use std::{ops::Range, sync::Arc};

/// One upload that was begun.
#[derive(Clone)]
pub(super) struct Upload<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) key: &'a ObjectKey,
    pub(super) attempt: &'a str,
    pub(super) id: Arc<str>,
}

/// A part and the bytes of the object that it has.
pub(super) struct Part {
    /// From 1.
    pub(super) number: i32,
    pub(super) bytes: Range<u64>,
}

/// Cuts `size` bytes into parts of `part_bytes`, or of more so that there are no more than S3 takes.
pub(super) fn cut(size: u64, part_bytes: u64, parts_max: u64) -> impl Iterator<Item = Part> {
    let length = part_bytes.max(size.div_ceil(parts_max)).max(1);
    (1..)
        .zip((0..size).step_by(usize::try_from(length).unwrap_or(usize::MAX)))
        .map(move |(number, start)| Part { number, bytes: start..size.min(start.saturating_add(length)) })
}

/// Creates `key` from parts. `fill` sends one part and gives what S3 wants to hear of it at the end.
pub(super) async fn create<'a, F>(
    bucket: &'a Bucket,
    key: &'a ObjectKey,
    attempt: &'a str,
    expected: Expected,
    parts: impl Iterator<Item = Part>,
    fill: impl Fn(Upload<'a>, Part) -> F,
) -> Result<Created>
where
    F: Future<Output = Result<CompletedPart>>,
{
    let upload = begin(bucket, key, attempt).await?;
    let filled =
        stream::iter(parts).map(|part| fill(upload.clone(), part)).buffer_unordered(bucket.limits.parts_at_once);
    let ended = match filled.try_collect::<Vec<_>>().await {
        Ok(parts) => end(&upload, expected, parts).await,
        Err(error) => Err(error),
    };
    // Whatever went wrong, and also when the object was there already: the parts are of no use.
    if !matches!(ended, Ok(Created::Now { .. })) {
        abort(bucket, key, &upload.id).await.unwrap_or_else(|error| {
            tracing::warn!(%key, %error, "an unfinished upload is left for the scan");
        });
    }
    ended
}

pub(super) async fn begin<'a>(bucket: &'a Bucket, key: &'a ObjectKey, attempt: &'a str) -> Result<Upload<'a>> {
    let _permit = bucket.permit().await;
    let request = bucket.client.create_multipart_upload().bucket(&bucket.name).key(bucket.name_of(key));
    let request = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
    let answer = request.send().await.map_err(|error| bucket.failed(attempt.to_owned(), key, error))?;
    let id = answer.upload_id().ok_or_else(|| Error::transient(attempt, "the store gave the upload no id"))?;
    Ok(Upload { bucket, key, attempt, id: id.into() })
}

async fn end(upload: &Upload<'_>, expected: Expected, mut parts: Vec<CompletedPart>) -> Result<Created> {
    let Upload { bucket, key, attempt, id } = upload;
    parts.sort_by_key(CompletedPart::part_number);
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let mut condition = Some("*".to_owned());
    loop {
        let _permit = bucket.permit().await;
        let request = bucket.client.complete_multipart_upload().bucket(&bucket.name).key(bucket.name_of(key));
        let request = request.upload_id(&**id).multipart_upload(parts.clone()).set_if_none_match(condition.clone());
        let request = request.checksum_type(ChecksumType::FullObject).checksum_crc64_nvme(encode(expected.checksum));
        match request.customize().config_override(bucket.patient()).send().await {
            Ok(answer) => {
                let checksum = answer.checksum_crc64_nvme().and_then(decode);
                return Ok(Created::Now { checksum, modified_ms: None });
            }
            Err(error) if failure::is_precondition(&error) => return Ok(Created::Before),
            // Ended by an attempt whose answer was lost, or aborted by the scan: what is there will tell.
            Err(error) if matches!(failure::code_of(&error), Some((_, "NoSuchUpload"))) => return Ok(Created::Before),
            // Keys are never given twice: who gets here is a repeat, and brings the same bytes.
            Err(error) if condition.is_some() && failure::is_not_implemented(&error) => condition = None,
            Err(error) => return Err(bucket.failed((*attempt).to_owned(), key, error)),
        }
    }
}

/// Forgets an upload and its parts; an absent one is success.
pub(super) async fn abort(bucket: &Bucket, key: &ObjectKey, id: &str) -> Result<()> {
    let _permit = bucket.permit().await;
    let request = bucket.client.abort_multipart_upload().bucket(&bucket.name).key(bucket.name_of(key)).upload_id(id);
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error) if matches!(failure::code_of(&error), Some((_, "NoSuchUpload"))) => Ok(()),
        Err(error) => Err(bucket.failed(format!("abort the upload of {key}"), key, error)),
    }
}

/// What S3 wants to hear of a part at the end.
pub(super) fn completed(number: i32, etag: Option<&str>, checksum: Option<&str>) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(etag.map(str::to_owned))
        .set_checksum_crc64_nvme(checksum.filter(|text| decode(text).is_some()).map(str::to_owned))
        .build()
}

/// Refuses what the store says it has stored when it is something else.
pub(super) fn same(found: Option<Checksum>, expected: Expected) -> bool {
    found.is_none_or(|found| found == expected.checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_every_byte_once_and_are_not_too_many() {
        let parts = |size, part_bytes, max| {
            cut(size, part_bytes, max).map(|part| (part.number, part.bytes)).collect::<Vec<_>>()
        };
        assert_eq!(parts(0, 5, 10), []);
        assert_eq!(parts(5, 5, 10), [(1, 0..5)]);
        assert_eq!(parts(11, 5, 10), [(1, 0..5), (2, 5..10), (3, 10..11)]);
        assert_eq!(parts(11, 5, 2), [(1, 0..6), (2, 6..11)]);
        let five_tib = 5 << 40;
        let many: Vec<_> = cut(five_tib, 128 << 20, 10_000).collect();
        assert!(many.len() <= 10_000 && many.last().unwrap().bytes.end == five_tib);
    }
}
