//! Manifests as Avro object container files. The same entries give the same bytes, so a repeated write repeats its checksum.
//!
//! The header says how many entries follow: a container file that was cut between two blocks looks whole to Avro.

use crate::{Error, FORMAT_VERSION, ManifestEntry};
use apache_avro::{Codec, DeflateSettings, Reader, Schema, Writer, from_value};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

const WHAT: &str = "a manifest";
const VERSION_KEY: &str = "elanus.format_version";
const ENTRIES_KEY: &str = "elanus.entries";
/// Between blocks of a manifest, for readers that start in the middle; Avro asks for 16 bytes and no more.
const MARKER: [u8; 16] = *b"elanus\0manifest\n";
/// Most entries of one manifest.
const ENTRIES_MAX: usize = 1 << 20;
/// Most memory that one block or one value of a manifest may ask for.
const ALLOCATION_BYTES_MAX: usize = 64 << 20;

const SCHEMA_TEXT: &str = include_str!("manifest.avsc");
static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse_str(SCHEMA_TEXT).expect("the schema beside this file is Avro"));

/// The Avro schema of an entry.
#[must_use]
pub fn schema() -> &'static Schema {
    &SCHEMA
}

/// Writes a manifest.
///
/// # Errors
/// When there are more entries than a manifest may have, or a number is above 2^63 - 1.
pub fn encode_manifest(entries: &[ManifestEntry]) -> Result<Vec<u8>, Error> {
    if entries.len() > ENTRIES_MAX {
        return Err(Error::write(WHAT, format!("{} entries where it may have {ENTRIES_MAX}", entries.len())));
    }
    write(entries).map_err(|e| Error::write(WHAT, e))
}

fn write(entries: &[ManifestEntry]) -> Result<Vec<u8>, apache_avro::Error> {
    let mut writer = Writer::builder()
        .schema(schema())
        .codec(Codec::Deflate(DeflateSettings::default()))
        .marker(MARKER)
        .writer(header(entries.len()))
        .has_header(true)
        .build()?;
    for entry in entries {
        writer.append_ser(entry)?;
    }
    writer.into_inner()
}

/// The header as Avro lays it out. The library's own has its keys in another order each time.
fn header(entries_num: usize) -> Vec<u8> {
    let pairs = [
        ("avro.schema", SCHEMA_TEXT),
        ("avro.codec", "deflate"),
        (VERSION_KEY, &FORMAT_VERSION.to_string()),
        (ENTRIES_KEY, &entries_num.to_string()),
    ];
    let mut header = b"Obj\x01".to_vec();
    put_length(&mut header, pairs.len());
    for text in pairs.into_iter().flat_map(|(key, value)| [key, value]) {
        put_length(&mut header, text.len());
        header.extend_from_slice(text.as_bytes());
    }
    put_length(&mut header, 0);
    header.extend_from_slice(&MARKER);
    header
}

/// A length as an Avro long: doubled, because the lowest bit is the sign, then 7 bits per byte, lowest first.
fn put_length(out: &mut Vec<u8>, len: usize) {
    let mut rest = len << 1;
    while rest > 0x7f {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Reads a manifest. Fields that this version does not know are ignored.
///
/// # Errors
/// When the bytes are no manifest, end early, or are of a newer format.
pub fn decode_manifest(bytes: &[u8]) -> Result<Vec<ManifestEntry>, Error> {
    // The reader has assertions. No bytes are known that break one, but a damaged object must fail its own request only.
    catch_unwind(AssertUnwindSafe(|| read(bytes))).unwrap_or_else(|_| Err(Error::damaged(WHAT, "the reader panicked")))
}

fn read(bytes: &[u8]) -> Result<Vec<ManifestEntry>, Error> {
    let damaged = |e: apache_avro::Error| Error::damaged(WHAT, e);
    apache_avro::util::max_allocation_bytes(ALLOCATION_BYTES_MAX);
    let reader = Reader::new(bytes).map_err(damaged)?;
    let number = |key: &str| {
        let text = reader.user_metadata().get(key).and_then(|text| std::str::from_utf8(text).ok());
        text.and_then(|text| text.parse::<u32>().ok()).ok_or_else(|| Error::damaged(WHAT, format!("no {key}")))
    };
    let version = number(VERSION_KEY)?;
    if version > FORMAT_VERSION {
        return Err(Error::TooNew { what: WHAT, found: version });
    }
    let entries_num = number(ENTRIES_KEY)? as usize;
    if entries_num > ENTRIES_MAX {
        return Err(Error::damaged(WHAT, format!("{entries_num} entries where it may have {ENTRIES_MAX}")));
    }
    if !is_finite(reader.writer_schema()) {
        return Err(Error::damaged(WHAT, "its schema names a type instead of spelling it"));
    }
    let is_own = reader.writer_schema() == schema();
    let mut entries = Vec::new();
    for value in reader.take(entries_num + 1) {
        let value =
            value.and_then(|value| if is_own { Ok(value) } else { value.resolve(schema()) }).map_err(damaged)?;
        entries.push(from_value(&value).map_err(damaged)?);
    }
    if entries.len() != entries_num {
        return Err(Error::damaged(WHAT, format!("it does not have the {entries_num} entries that its header says")));
    }
    Ok(entries)
}

/// False for a schema in which a type is named: a type can contain itself only by its name, and a value of such a type
/// may have no end.
fn is_finite(schema: &Schema) -> bool {
    match schema {
        Schema::Ref { .. } => false,
        Schema::Array(array) => is_finite(&array.items),
        Schema::Map(map) => is_finite(&map.types),
        Schema::Union(union) => union.variants().iter().all(is_finite),
        Schema::Record(record) => record.fields.iter().all(|field| is_finite(&field.schema)),
        _ => true,
    }
}
