//! A decoded file: rows with what is derived from them, deletes, or an index.

use crate::keys::Keys;
use arrow::array::{AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::Float32Type;
use elanus_meta::model::{FileKind, FileRecord};
use elanus_segment::kernel;
use elanus_segment::vector::widening;
use elanus_segment::{Deletes, Graph, PkColumn, decode_deletes, decode_rows};
use elanus_types::Failure;
use elanus_types::schema::{CollectionSchema, DataType};
use std::error::Error;
use std::sync::{Arc, OnceLock};

/// A decoded file.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Of kind insert.
    Rows(Arc<RowFile>),
    /// Of kind delete.
    Deletes(Arc<Deletes>),
    /// Of kind index.
    Graph(Arc<Graph>),
}

/// Decoded rows.
#[derive(Debug)]
pub(crate) struct RowFile {
    /// What the rows were decoded for.
    pub(crate) schema: Arc<CollectionSchema>,
    /// The columns of the schema in its order, then the hidden one.
    pub(crate) batch: RecordBatch,
    pub(crate) keys: Arc<Keys>,
    /// Lengths of the vectors of each column, once they were needed.
    norms: Vec<OnceLock<Box<[f32]>>>,
}

/// The vectors of one column, one after the other; of a row without vector, any numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectors<'a, T> {
    values: &'a [T],
    width: usize,
}

impl Content {
    /// Decodes a file whose bytes were verified.
    ///
    /// # Errors
    /// When the file is not what its record says; the failure names its key.
    pub(crate) fn decode(
        schema: &Arc<CollectionSchema>,
        record: &FileRecord,
        bytes: bytes::Bytes,
    ) -> Result<Self, Failure> {
        let (content, rows) = match record.kind {
            FileKind::Insert => {
                let file = RowFile::decode(schema, bytes).map_err(|e| damaged(record, &e))?;
                let rows = file.batch.num_rows();
                (Self::Rows(Arc::new(file)), rows)
            }
            FileKind::Delete => {
                let deletes = decode_deletes(schema.primary_key().data_type, bytes).map_err(|e| damaged(record, &e))?;
                let rows = deletes.keys.len();
                (Self::Deletes(Arc::new(deletes)), rows)
            }
            FileKind::Index => {
                let graph = Graph::open(&bytes).map_err(|e| damaged(record, &e))?;
                let rows = graph.head().rows as usize;
                (Self::Graph(Arc::new(graph)), rows)
            }
            FileKind::Manifest => {
                return Err(Failure::internal(format!("file set {} holds no rows to read", record.file_set)));
            }
        };
        if rows as u64 != record.rows {
            let why = format!("{} has {rows} rows where {} were written", named(record), record.rows);
            return Err(Failure::internal(why));
        }
        Ok(content)
    }

    /// Memory that goes when this is dropped.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Rows(file) => {
                let vectors = file.schema.vector_fields().count();
                // The order of the keys and the lengths of vectors are made later, if at all.
                file.batch.get_array_memory_size() + file.batch.num_rows() * (1 + vectors) * size_of::<f32>()
            }
            Self::Deletes(deletes) => {
                let keys = match &deletes.keys {
                    PkColumn::Int(keys) => keys.len() * size_of::<i64>(),
                    PkColumn::Str(keys) => keys.iter().map(|key| size_of::<String>() + key.capacity()).sum(),
                };
                keys + deletes.ts_offsets.len() * size_of::<i64>()
            }
            Self::Graph(graph) => graph.memory_bytes(),
        }
    }

    /// True when somebody else holds it.
    pub(crate) fn is_in_use(&self) -> bool {
        match self {
            Self::Rows(file) => Arc::strong_count(file) > 1,
            Self::Deletes(deletes) => Arc::strong_count(deletes) > 1,
            Self::Graph(graph) => Arc::strong_count(graph) > 1,
        }
    }

    /// True when it was decoded for this schema.
    pub(crate) fn fits(&self, schema: &Arc<CollectionSchema>) -> bool {
        match self {
            Self::Rows(file) => Arc::ptr_eq(&file.schema, schema) || file.schema == *schema,
            Self::Deletes(_) | Self::Graph(_) => true,
        }
    }
}

impl RowFile {
    pub(crate) fn decode(schema: &Arc<CollectionSchema>, bytes: bytes::Bytes) -> Result<Self, elanus_segment::Error> {
        let batch = decode_rows(schema, bytes)?;
        let keys = Arc::new(Keys::of(&batch, &schema.primary_key().name)?);
        let norms = (0..batch.num_columns()).map(|_| OnceLock::new()).collect();
        Ok(Self { schema: Arc::clone(schema), batch, keys, norms })
    }

    /// A column of vectors of 32-bit floats.
    pub(crate) fn floats(&self, column: usize) -> Option<Vectors<'_, f32>> {
        let list = self.batch.column(column).as_fixed_size_list_opt()?;
        let width = usize::try_from(list.value_length()).ok()?;
        let values = list.values().as_primitive_opt::<Float32Type>()?.values();
        Some(Vectors { values: values.get(usize::try_from(list.value_offset(0)).ok()?..)?, width })
    }

    /// A column of vectors of as many bytes each.
    pub(crate) fn bytes_of(&self, column: usize) -> Option<Vectors<'_, u8>> {
        let rows = self.batch.column(column).as_fixed_size_binary_opt()?;
        let width = usize::try_from(rows.value_length()).ok()?;
        Some(Vectors { values: rows.value_data(), width })
    }

    /// A column of sparse vectors.
    pub(crate) fn sparse(&self, column: usize) -> Option<&BinaryArray> {
        self.batch.column(column).as_binary_opt()
    }

    /// The length of each vector of a column of numbers.
    pub(crate) fn norms(&self, column: usize) -> Option<&[f32]> {
        let data_type = self.schema.fields.get(column)?.data_type;
        let cell = self.norms.get(column)?;
        let rows = 0..self.batch.num_rows();
        if data_type == DataType::FloatVector {
            let vectors = self.floats(column)?;
            return Some(cell.get_or_init(|| rows.map(|row| kernel::norm(vectors.get(row))).collect()));
        }
        let vectors = self.bytes_of(column)?;
        let mut wide = Vec::new();
        let norm = |row| norm_of_bytes(data_type, vectors.get(row), &mut wide);
        Some(cell.get_or_init(|| rows.map(norm).collect()))
    }
}

/// The length of a vector of 16-bit floats or 8-bit integers.
pub(crate) fn norm_of_bytes(data_type: DataType, bytes: &[u8], wide: &mut Vec<f32>) -> f32 {
    match widening(data_type) {
        Some(widen) => {
            wide.clear();
            widen_into(wide, bytes, widen);
            kernel::norm(wide)
        }
        None => kernel::inner_product_i8(bytes, bytes).sqrt(),
    }
}

/// Adds the numbers of a vector of 16-bit floats.
#[inline]
pub(crate) fn widen_into(wide: &mut Vec<f32>, bytes: &[u8], widen: impl Fn(u16) -> f32) {
    wide.extend(bytes.as_chunks::<2>().0.iter().map(|bits| widen(u16::from_le_bytes(*bits))));
}

impl<'a, T: Copy> Vectors<'a, T> {
    /// The vector of a row.
    pub(crate) fn get(self, row: usize) -> &'a [T] {
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

/// A file for people who must find it.
pub(crate) fn named(record: &FileRecord) -> String {
    let keys: Vec<&str> = record.objects.iter().map(|object| object.key.as_str()).collect();
    format!("object {}", keys.join(", "))
}

fn damaged(record: &FileRecord, error: &elanus_segment::Error) -> Failure {
    let mut text = format!("{} is damaged: {error}", named(record));
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    Failure::internal(text)
}
