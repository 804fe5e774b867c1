//! The query vectors of a search, and how near each row's vector is to each of them: one form for each type of vector.

use crate::kernel;
use crate::rows::{RowFile, Vectors, norm_of_bytes, widen_into};
use arrow::array::BinaryArray;
use elanus_segment::vector::{bf16_to_f32, check_sparse, f16_to_f32, first_infinite, sparse_entries, widening, width};
use elanus_types::Failure;
use elanus_types::schema::{DataType, FieldSchema};

/// How near two vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    L2,
    InnerProduct,
    Cosine,
    Hamming,
    Jaccard,
}

/// Query vectors of one search.
#[derive(Debug)]
pub(crate) struct Queries {
    data_type: DataType,
    count: usize,
    /// Bytes of a row's vector, or of a usual one where they differ.
    row_bytes: usize,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Of 32-bit floats, and of 16-bit ones widened: one query after the other, and the length of each.
    Floats {
        dim: usize,
        elements: Vec<f32>,
        norms: Vec<f32>,
    },
    /// Of 8-bit integers or bits.
    Bytes {
        width: usize,
        bytes: Vec<u8>,
        norms: Vec<f32>,
    },
    Sparse(Vec<Vec<(u32, f32)>>),
}

/// Compares the rows of one column with the queries: block by block, every query with every row of a block.
pub(crate) trait Comparer {
    /// Brings the rows of the next block into the form in which they are compared.
    fn load(&mut self, _rows: &[u32]) {}

    /// The distance (less is nearer) of a query to the row at this position of the block; NaN for none.
    fn distance(&self, query: usize, at: usize, row: u32) -> f32;
}

/// What is done with a comparer. Each is a type of its own, so that the compiler sees the innermost loop whole.
pub(crate) trait Compare {
    fn with(self, comparer: impl Comparer);
}

impl Metric {
    /// # Errors
    /// 1100 for one that does not exist, or not for this type of vector.
    pub(crate) fn parse(name: &str, field: &FieldSchema) -> Result<Self, Failure> {
        let name = name.to_ascii_uppercase();
        let served = field.data_type.metrics();
        match name.as_str() {
            _ if !served.contains(&name.as_str()) => {
                let (of, data_type) = (&field.name, field.data_type);
                let text = format!("metric type {name:?} is not served for field {of} of type {data_type:?}");
                Err(Failure::invalid(format!("{text}: use one of {}", served.join(", "))))
            }
            "L2" => Ok(Self::L2),
            "COSINE" => Ok(Self::Cosine),
            "HAMMING" => Ok(Self::Hamming),
            "JACCARD" => Ok(Self::Jaccard),
            _ => Ok(Self::InnerProduct),
        }
    }

    /// True where a smaller score is nearer.
    pub(crate) fn is_distance(self) -> bool {
        matches!(self, Self::L2 | Self::Hamming | Self::Jaccard)
    }

    /// Score and distance turn into each other.
    pub(crate) fn score(self, distance: f32) -> f32 {
        // Adding zero leaves no negative zero, which would sort before the positive one.
        if self.is_distance() { distance } else { 0.0 - distance }
    }
}

impl Queries {
    /// Reads `count` query vectors, as they come from a proxy.
    ///
    /// # Errors
    /// 1100 when they are not so many vectors of this field, or an element is no number.
    pub(crate) fn read(field: &FieldSchema, count: usize, bytes: &[u8]) -> Result<Self, Failure> {
        let data_type = field.data_type;
        if data_type == DataType::SparseFloatVector {
            let form = Form::Sparse(read_sparse(count, bytes)?);
            return Ok(Self { data_type, count, row_bytes: 512, form });
        }
        let name = &field.name;
        let Some(width) = width(field).filter(|_| data_type.is_vector()) else {
            return Err(Failure::invalid(format!("field {name} is not a vector: it cannot be searched")));
        };
        if width.checked_mul(count) != Some(bytes.len()) {
            let found = bytes.len() / count.max(1);
            let dim = field.dim().unwrap_or_default();
            let why = format!("vector dimension mismatch: field {name} has dim {dim}, {width} bytes a vector");
            return Err(Failure::invalid(format!("{why}, the query has {found}")));
        }
        let form = match widening(data_type) {
            Some(_) if first_infinite(data_type, bytes).is_some() => floats(1, vec![f32::NAN])?,
            Some(widen) => {
                let mut wide = Vec::with_capacity(bytes.len() / 2);
                widen_into(&mut wide, bytes, widen);
                floats(width / 2, wide)?
            }
            None if data_type == DataType::FloatVector => {
                let numbers = bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number));
                floats(width / 4, numbers.collect())?
            }
            None => {
                let norm = |query: &[u8]| norm_of_bytes(data_type, query, &mut Vec::new());
                Form::Bytes { width, bytes: bytes.to_vec(), norms: bytes.chunks_exact(width).map(norm).collect() }
            }
        };
        Ok(Self { data_type, count, row_bytes: width, form })
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes that the vector of a row has where it is compared.
    pub(crate) fn row_bytes(&self) -> usize {
        if widening(self.data_type).is_some() { self.row_bytes * 2 } else { self.row_bytes }
    }

    /// Gives `compare` what compares the vectors in this column of the file. `None` when it has no such column.
    pub(crate) fn comparer(&self, metric: Metric, file: &RowFile, column: usize, compare: impl Compare) -> Option<()> {
        match &self.form {
            Form::Sparse(queries) => compare.with(SparseRows { queries, rows: file.sparse(column)? }),
            Form::Bytes { width, bytes, norms } => {
                let of = Dense { queries: bytes, width: *width };
                let rows = file.bytes_of(column)?;
                match metric {
                    Metric::Hamming => of.rows(compare, rows, |_, query, _, row| kernel::hamming(query, row)),
                    Metric::Jaccard => of.rows(compare, rows, |_, query, _, row| kernel::jaccard(query, row)),
                    Metric::L2 => of.rows(compare, rows, |_, query, _, row| kernel::squared_distance_i8(query, row)),
                    Metric::InnerProduct => {
                        of.rows(compare, rows, |_, query, _, row| 0.0 - kernel::inner_product_i8(query, row));
                    }
                    Metric::Cosine => {
                        let of_rows = file.norms(column)?;
                        of.rows(compare, rows, |at, query, row_at, row| {
                            let inner = kernel::inner_product_i8(query, row);
                            0.0 - kernel::cosine_of(inner, norms[at], of_rows[row_at as usize])
                        });
                    }
                }
            }
            Form::Floats { dim, elements, norms } => {
                let of = Floats { dense: Dense { queries: elements, width: *dim }, file, column };
                match metric {
                    Metric::L2 => of.rows(compare, |_, query, _, row| kernel::squared_distance(query, row))?,
                    Metric::Cosine => {
                        let of_rows = file.norms(column)?;
                        of.rows(compare, |at, query, row_at, row| {
                            0.0 - kernel::cosine(query, row, norms[at], of_rows[row_at as usize])
                        })?;
                    }
                    _ => of.rows(compare, |_, query, _, row| 0.0 - kernel::inner_product(query, row))?,
                }
            }
        }
        Some(())
    }
}

fn floats(dim: usize, elements: Vec<f32>) -> Result<Form, Failure> {
    if !elements.iter().all(|number| number.is_finite()) {
        return Err(Failure::invalid("a query vector has an element that is not a finite number"));
    }
    let norms = elements.chunks_exact(dim).map(kernel::norm).collect();
    Ok(Form::Floats { dim, elements, norms })
}

fn read_sparse(count: usize, mut bytes: &[u8]) -> Result<Vec<Vec<(u32, f32)>>, Failure> {
    let cut = || Failure::invalid("the sparse query vectors are cut off");
    let mut queries = Vec::new();
    for _ in 0..count {
        let (len, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| cut())?;
        let (vector, rest) = rest.split_at_checked(len).ok_or_else(cut)?;
        check_sparse(vector).map_err(|why| Failure::invalid(format!("a query vector is wrong: {why}")))?;
        queries.push(sparse_entries(vector).collect());
        bytes = rest;
    }
    if bytes.is_empty() { Ok(queries) } else { Err(Failure::invalid("there are more query vectors than nq says")) }
}

/// Queries of one width, one after the other.
#[derive(Clone, Copy)]
struct Dense<'a, T> {
    queries: &'a [T],
    width: usize,
}

impl<'a, T: Copy> Dense<'a, T> {
    fn rows(self, compare: impl Compare, rows: Vectors<'a, T>, distance: impl Fn(usize, &[T], u32, &[T]) -> f32) {
        compare.with(DenseRows { of: self, rows, distance });
    }

    fn query(&self, at: usize) -> &'a [T] {
        &self.queries[at * self.width..(at + 1) * self.width]
    }
}

/// Rows that are compared where they lie.
struct DenseRows<'a, T, D> {
    of: Dense<'a, T>,
    rows: Vectors<'a, T>,
    distance: D,
}

impl<T: Copy, D: Fn(usize, &[T], u32, &[T]) -> f32> Comparer for DenseRows<'_, T, D> {
    #[inline(always)]
    fn distance(&self, query: usize, _at: usize, row: u32) -> f32 {
        (self.distance)(query, self.of.query(query), row, self.rows.get(row as usize))
    }
}

/// Queries of floats, for a column of floats of 32 or 16 bits.
struct Floats<'a> {
    dense: Dense<'a, f32>,
    file: &'a RowFile,
    column: usize,
}

impl Floats<'_> {
    fn rows(self, compare: impl Compare, distance: impl Fn(usize, &[f32], u32, &[f32]) -> f32) -> Option<()> {
        let Self { dense: of, file, column } = self;
        match file.schema.fields.get(column)?.data_type {
            DataType::Float16Vector => {
                let rows = file.bytes_of(column)?;
                compare.with(WideRows { of, rows, widen: f16_to_f32, block: Vec::new(), distance });
            }
            DataType::BFloat16Vector => {
                let rows = file.bytes_of(column)?;
                compare.with(WideRows { of, rows, widen: bf16_to_f32, block: Vec::new(), distance });
            }
            _ => of.rows(compare, file.floats(column)?, distance),
        }
        Some(())
    }
}

/// Rows of 16-bit floats, which are widened once for all queries.
struct WideRows<'a, W, D> {
    of: Dense<'a, f32>,
    rows: Vectors<'a, u8>,
    widen: W,
    block: Vec<f32>,
    distance: D,
}

impl<W: Fn(u16) -> f32, D: Fn(usize, &[f32], u32, &[f32]) -> f32> Comparer for WideRows<'_, W, D> {
    fn load(&mut self, rows: &[u32]) {
        self.block.clear();
        rows.iter().for_each(|row| widen_into(&mut self.block, self.rows.get(*row as usize), &self.widen));
    }

    #[inline(always)]
    fn distance(&self, query: usize, at: usize, row: u32) -> f32 {
        let wide = &self.block[at * self.of.width..(at + 1) * self.of.width];
        (self.distance)(query, self.of.query(query), row, wide)
    }
}

/// As in Milvus, a row that has nothing in common with the query is no hit.
struct SparseRows<'a> {
    queries: &'a [Vec<(u32, f32)>],
    rows: &'a BinaryArray,
}

impl Comparer for SparseRows<'_> {
    fn distance(&self, query: usize, _at: usize, row: u32) -> f32 {
        let entries = sparse_entries(self.rows.value(row as usize));
        let product = kernel::inner_product_sparse(self.queries[query].iter().copied(), entries);
        product.filter(|product| *product != 0.0).map_or(f32::NAN, |product| 0.0 - product)
    }
}
