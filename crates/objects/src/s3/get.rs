//! Reading: whole objects, ranges, and checksums of what the store has no checksum of.
//!
//! An answer that breaks off is taken up where it ended: objects never change, and `If-Match` makes sure of it.

use super::bucket::{Bucket, decode, seconds};
use super::failure;
use crate::{Error, ObjectInfo, Result};
use aws_sdk_s3::{
    operation::get_object::GetObjectOutput, operation::head_object::HeadObjectOutput, types::ChecksumMode,
};
use bytes::{Bytes, BytesMut};
use elanus_types::{Checksum, ObjectKey};
use std::ops::Range;

/// Answers that may break off, of one read.
const BREAKS_MAX: u32 = 5;
/// What is reserved for an object at once; a longer one grows as it arrives.
const RESERVED_MAX: u64 = 64 << 20;

/// What HEAD says.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) info: ObjectInfo,
    /// Of all bytes, where the store keeps one.
    pub(super) checksum: Option<Checksum>,
    pub(super) etag: String,
}

pub(super) async fn head(bucket: &Bucket, key: &ObjectKey) -> Result<Head> {
    let _permit = bucket.permit().await;
    let request = bucket.client.head_object().bucket(&bucket.name).key(bucket.name_of(key));
    match request.checksum_mode(ChecksumMode::Enabled).send().await {
        Ok(answer) => described(key, answer),
        Err(error) => match bucket.failed(format!("head {key}"), key, error) {
            Error::NotFound { key } => Err(absent(bucket, key).await),
            error => Err(error),
        },
    }
}

fn described(key: &ObjectKey, answer: HeadObjectOutput) -> Result<Head> {
    let size = answer.content_length().and_then(|size| u64::try_from(size).ok());
    let (Some(size), Some(modified), Some(etag)) = (size, answer.last_modified(), answer.e_tag()) else {
        return Err(Error::transient(format!("head {key}"), "the store did not say its size, time and etag"));
    };
    Ok(Head {
        info: ObjectInfo { key: key.clone(), size, modified_ms: seconds(modified) },
        // CRC-64/NVME exists only over whole objects, whatever parts they were put in.
        checksum: answer.checksum_crc64_nvme().and_then(decode),
        etag: etag.to_owned(),
    })
}

/// HEAD has no body, so "no such object" and "no such bucket" look the same. A get of one byte tells them apart.
async fn absent(bucket: &Bucket, key: ObjectKey) -> Error {
    let request = bucket.client.get_object().bucket(&bucket.name).key(bucket.name_of(&key)).range("bytes=0-0");
    match request.send().await {
        Ok(_) => Error::transient(format!("head {key}"), "it was absent and then there"),
        Err(error) => bucket.failed(format!("head {key}"), &key, error),
    }
}

/// All bytes of an object.
pub(super) async fn get(bucket: &Bucket, key: &ObjectKey) -> Result<Bytes> {
    let _permit = bucket.permit().await;
    Reader::open(bucket, key, format!("get {key}"), None).await?.collect().await
}

/// Exactly these bytes of an object.
pub(super) async fn get_range(bucket: &Bucket, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let _permit = bucket.permit().await;
    let attempt = format!("get bytes {} to {} of {key}", range.start, range.end);
    Reader::open(bucket, key, attempt, Some(range)).await?.collect().await
}

/// CRC-64/NVME of the bytes as they are read, in bounded memory.
pub(super) async fn checksum_by_reading(bucket: &Bucket, key: &ObjectKey) -> Result<Checksum> {
    let _permit = bucket.permit().await;
    let mut reader = Reader::open(bucket, key, format!("checksum {key}"), None).await?;
    let mut digest = crc64fast_nvme::Digest::new();
    while let Some(bytes) = reader.next().await? {
        digest.write(&bytes);
    }
    Ok(Checksum(digest.sum64()))
}

/// Bytes of one object as they arrive.
struct Reader<'a> {
    bucket: &'a Bucket,
    key: &'a ObjectKey,
    attempt: String,
    answer: GetObjectOutput,
    /// What is still to come.
    rest: Range<u64>,
    breaks: u32,
}

impl<'a> Reader<'a> {
    async fn open(bucket: &'a Bucket, key: &'a ObjectKey, attempt: String, range: Option<Range<u64>>) -> Result<Self> {
        let answer = request(bucket, key, &attempt, range.as_ref(), None).await?;
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
        let length = length.ok_or_else(|| Error::transient(&attempt, "the store did not say how much it sends"))?;
        let rest = match range {
            None => 0..length,
            Some(range) if range.end - range.start == length => range,
            Some(_) => {
                let has = answer.content_range().and_then(|range| range.rsplit_once('/')).map_or("?", |(_, size)| size);
                return Err(Error::refused(attempt, format!("it has {has} bytes")));
            }
        };
        Ok(Self { bucket, key, attempt, answer, rest, breaks: 0 })
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.rest.is_empty() {
            let broken = match self.answer.body.next().await {
                Some(Ok(bytes)) if bytes.len() as u64 <= self.rest.end - self.rest.start => {
                    self.rest.start += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Some(Ok(_)) => "more bytes than were asked for".to_owned(),
                Some(Err(error)) => failure::chain(&error),
                None => "the answer ended too early".to_owned(),
            };
            self.take_up(broken).await?;
        }
        Ok(None)
    }

    async fn take_up(&mut self, broken: String) -> Result<()> {
        self.breaks += 1;
        if self.breaks > BREAKS_MAX {
            return Err(Error::transient(&self.attempt, broken));
        }
        tracing::debug!(key = %self.key, %broken, "an answer broke off and is taken up");
        let etag = self.answer.e_tag().map(str::to_owned);
        self.answer = request(self.bucket, self.key, &self.attempt, Some(&self.rest), etag).await?;
        Ok(())
    }

    async fn collect(mut self) -> Result<Bytes> {
        let length = self.rest.end - self.rest.start;
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        if self.rest.is_empty() {
            return Ok(first);
        }
        let mut all = BytesMut::with_capacity(usize::try_from(length.min(RESERVED_MAX)).unwrap_or_default());
        all.extend_from_slice(&first);
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }
}

async fn request(
    bucket: &Bucket,
    key: &ObjectKey,
    attempt: &str,
    range: Option<&Range<u64>>,
    etag: Option<String>,
) -> Result<GetObjectOutput> {
    // S3 counts the last byte in.
    let range = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
    let request = bucket.client.get_object().bucket(&bucket.name).key(bucket.name_of(key));
    let sent = request.set_range(range).set_if_match(etag).send().await;
    sent.map_err(|error| bucket.failed(attempt.to_owned(), key, error))
}
