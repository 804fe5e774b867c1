//! The files of a segment: bytes in, bytes out. Never touches an object store, a clock or the metadata.
//!
//! * [`schema`]: which Arrow column a field is, and the hidden timestamp column that every file has.
//! * [`rows`]: rows as a Parquet file; columns are found by field id, so a renamed or added field is no problem.
//! * [`deletes`]: delete logs, pairs of primary key and timestamp offset.
//! * [`graph`]: indexes of dense vectors.
//! * [`kernel`]: how near vectors are.
//! * [`vector`]: vectors that are bytes: their widths, forms and numbers.
//! * `defaults`: what a row has where it brings no value.
//! * [`pk`]: primary keys and the shard that each belongs to.
//! * [`ipc`]: rows between services.
//! * [`checksum`]: what the metadata keeps of every object.
//!
//! What is decoded may be hostile: it gives rows or an error, never a panic. Whoever has the checksum of a file
//! compares it before decoding; the decoders do not know it.

pub mod checksum;
mod defaults;
pub mod deletes;
mod error;
mod file;
mod footer;
pub mod graph;
pub mod ipc;
pub mod kernel;
mod memory;
pub mod pk;
pub mod rows;
pub mod schema;
pub mod vector;

pub use checksum::{Checksummer, checksum};
pub use defaults::{absent_column, fill_nulls};
pub use deletes::{Deletes, decode_deletes, encode_deletes};
pub use error::Error;
pub use file::{EncodedFile, ROWS_MAX};
pub use graph::{Distances, EncodedGraph, Graph, build_graph};
pub use ipc::{from_ipc, to_ipc};
pub use pk::{PkColumn, PkValue, shard_of, split_by_shard, take_rows};
pub use rows::{RowBatches, RowsWriter, decode_rows, encode_rows, ts_offsets};
pub use schema::{TIMESTAMP_COLUMN, arrow_schema, complete};
