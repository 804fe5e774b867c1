//! The query vectors of a search, and how near each row's vector is to each of them: one form for each type of vector.

use crate::rows::{RowFile, Vectors, norm_of_bytes, widen_into};
use arrow::array::BinaryArray;
use elanus_segment::kernel;
use elanus_segment::vector::{bf16_to_f32, check_sparse, f16_to_f32, first_infinite, sparse_entries, widening, width};
use elanus_types::Failure;
use elanus_types::graph::GraphMetric;
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
pub(crate) trait Comparer: Send + Sync {
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

    /// The metric of graphs; `None` where there are none.
    pub(crate) fn of_graphs(self) -> Option<GraphMetric> {
        match self {
            Self::L2 => Some(GraphMetric::L2),
            Self::InnerProduct => Some(GraphMetric::Ip),
            Self::Cosine => Some(GraphMetric::Cosine),
            Self::Hamming | Self::Jaccard => None,
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

impl<'a, T: Copy + Send + Sync> Dense<'a, T> {
    fn rows(
        self,
        compare: impl Compare,
        rows: Vectors<'a, T>,
        distance: impl Fn(usize, &[T], u32, &[T]) -> f32 + Send + Sync,
    ) {
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

impl<T: Copy + Send + Sync, D: Fn(usize, &[T], u32, &[T]) -> f32 + Send + Sync> Comparer for DenseRows<'_, T, D> {
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
    fn rows(
        self,
        compare: impl Compare,
        distance: impl Fn(usize, &[f32], u32, &[f32]) -> f32 + Send + Sync,
    ) -> Option<()> {
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

impl<W, D> Comparer for WideRows<'_, W, D>
where
    W: Fn(u16) -> f32 + Send + Sync,
    D: Fn(usize, &[f32], u32, &[f32]) -> f32 + Send + Sync,
{
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Int64Array, RecordBatch};
    use arrow::datatypes::Float32Type;
    use elanus_segment::vector::narrowed;
    use elanus_segment::{arrow_schema, encode_rows};
    use elanus_types::FieldId;
    use elanus_types::schema::CollectionSchema;
    use proptest::prelude::*;
    use std::sync::Arc;

    const DIM: usize = 16;

    fn schema(data_type: DataType) -> CollectionSchema {
        let mut vector = FieldSchema::new(FieldId(101), "v", data_type);
        if data_type != DataType::SparseFloatVector {
            vector.type_params.insert("dim".to_owned(), DIM.to_string());
        }
        let key = FieldSchema { is_primary_key: true, ..FieldSchema::new(FieldId(100), "id", DataType::Int64) };
        CollectionSchema { fields: vec![key, vector], ..CollectionSchema::default() }
    }

    /// A vector in the form in which it is kept, of numbers that every type holds.
    fn stored(data_type: DataType, numbers: &[i8]) -> Vec<u8> {
        let floats = || numbers.iter().map(|number| f32::from(*number));
        match data_type {
            DataType::FloatVector => floats().flat_map(f32::to_le_bytes).collect(),
            DataType::Int8Vector => numbers.iter().map(|number| number.cast_unsigned()).collect(),
            DataType::BinaryVector => numbers[..DIM / 8].iter().map(|number| number.cast_unsigned()).collect(),
            DataType::SparseFloatVector => {
                let places = (0_u32..).zip(floats()).filter(|(_, number)| *number > 0.0);
                places.flat_map(|(place, number)| [place.to_le_bytes(), number.to_le_bytes()].concat()).collect()
            }
            halves => narrowed(halves, &floats().collect::<Vec<_>>()).unwrap().unwrap(),
        }
    }

    fn file(data_type: DataType, rows: &[Vec<i8>]) -> RowFile {
        let cells = rows.iter().map(|row| stored(data_type, row));
        let vectors: ArrayRef = match data_type {
            DataType::FloatVector => {
                let rows = rows.iter().map(|row| Some(row.iter().map(|number| Some(f32::from(*number)))));
                Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, DIM as i32))
            }
            DataType::SparseFloatVector => Arc::new(BinaryArray::from_iter_values(cells)),
            _ => Arc::new(FixedSizeBinaryArray::try_from_iter(cells).unwrap()),
        };
        let schema = schema(data_type);
        let numbers = |from: i64| Arc::new(Int64Array::from_iter_values((from..).take(rows.len()))) as ArrayRef;
        let item = arrow_schema(&schema).field(1).data_type().clone();
        let vectors = arrow::compute::cast(&vectors, &item).unwrap_or(vectors);
        let batch = RecordBatch::try_new(arrow_schema(&schema), vec![numbers(1), vectors, numbers(0)]).unwrap();
        RowFile::decode(&Arc::new(schema.clone()), encode_rows(&schema, &batch).unwrap().bytes).unwrap()
    }

    struct Collect<'a> {
        rows: u32,
        queries: usize,
        found: &'a mut Vec<Vec<f32>>,
    }

    impl Compare for Collect<'_> {
        fn with(self, mut comparer: impl Comparer) {
            // The rows from the last to the first, so that positions and rows differ.
            let rows: Vec<u32> = (0..self.rows).rev().collect();
            comparer.load(&rows);
            for query in 0..self.queries {
                let of = rows.iter().enumerate().map(|(at, row)| comparer.distance(query, at, *row));
                self.found.push(of.rev().collect());
            }
        }
    }

    /// By the definition, in 64 bits; no score where there is none.
    fn expected(data_type: DataType, metric: &str, query: &[i8], row: &[i8]) -> Option<f64> {
        let pairs = || query.iter().zip(row).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let product = |a: &[i8], b: &[i8]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let bits = |count: fn(u8, u8) -> u8| {
            let pairs = query[..DIM / 8].iter().zip(&row[..DIM / 8]);
            pairs.map(|(a, b)| f64::from(count(a.cast_unsigned(), b.cast_unsigned()).count_ones())).sum::<f64>()
        };
        Some(match metric {
            "HAMMING" => bits(|a, b| a ^ b),
            "JACCARD" if bits(|a, b| a | b) == 0.0 => 1.0,
            "JACCARD" => 1.0 - bits(|a, b| a & b) / bits(|a, b| a | b),
            "L2" => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
            "IP" if data_type == DataType::SparseFloatVector => {
                let product = pairs().map(|(a, b)| a.max(0.0) * b.max(0.0)).sum::<f64>();
                return (product != 0.0).then_some(product);
            }
            "IP" => product(query, row),
            _ => {
                let lengths = (product(query, query) * product(row, row)).sqrt();
                if lengths == 0.0 { 0.0 } else { product(query, row) / lengths }
            }
        })
    }

    fn vectors(max: usize) -> impl Strategy<Value = Vec<Vec<i8>>> {
        prop::collection::vec(prop::collection::vec(-4_i8..5, DIM), 1..max)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn every_type_of_vector_is_compared_as_its_metric_is_defined(rows in vectors(30), queries in vectors(4)) {
            for data_type in (0..1_000).filter_map(DataType::from_number).filter(|one| one.is_vector()) {
                let file = file(data_type, &rows);
                let field = &schema(data_type).fields[1];
                let bytes: Vec<u8> = queries.iter().flat_map(|query| {
                    let bytes = stored(data_type, query);
                    let len = u32::try_from(bytes.len()).unwrap().to_le_bytes();
                    if data_type == DataType::SparseFloatVector { [&len[..], &bytes].concat() } else { bytes }
                }).collect();
                let read = Queries::read(field, queries.len(), &bytes).unwrap();
                for name in data_type.metrics() {
                    let metric = Metric::parse(name, field).unwrap();
                    let mut found = Vec::new();
                    let collect = Collect { rows: rows.len() as u32, queries: queries.len(), found: &mut found };
                    read.comparer(metric, &file, 1, collect).unwrap();
                    for (query, found) in queries.iter().zip(&found) {
                        for (row, distance) in rows.iter().zip(found) {
                            let score = (!distance.is_nan()).then(|| f64::from(metric.score(*distance)));
                            let expected = expected(data_type, name, query, row);
                            prop_assert_eq!(score.is_some(), expected.is_some(), "{:?} {}", data_type, name);
                            let (score, expected) = (score.unwrap_or_default(), expected.unwrap_or_default());
                            // Sums of small whole numbers are exact in every type; a quotient is not.
                            let most = if matches!(*name, "COSINE" | "JACCARD") { 1e-6 } else { 0.0 };
                            prop_assert!((score - expected).abs() <= most, "{data_type:?} {name}: {score} {expected}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn queries_that_are_no_vectors_of_the_field_are_refused() {
        for (data_type, count, bytes, text) in [
            (DataType::FloatVector, 1, vec![0; 63], "vector dimension mismatch: field v has dim 16, 64 bytes a vector"),
            (DataType::FloatVector, 1, f32::NAN.to_le_bytes().repeat(16), "not a finite number"),
            (DataType::Float16Vector, 1, 0x7c00_u16.to_le_bytes().repeat(16), "not a finite number"),
            (DataType::BinaryVector, usize::MAX, vec![0; 2], "vector dimension mismatch"),
            (DataType::Int64, 1, vec![0; 8], "field v is not a vector"),
            (DataType::SparseFloatVector, 1, vec![0; 3], "cut off"),
            (DataType::SparseFloatVector, 1, vec![8, 0, 0, 0, 1], "cut off"),
            (DataType::SparseFloatVector, usize::MAX, vec![0; 8], "cut off"),
            (DataType::SparseFloatVector, 1, vec![0; 8], "more query vectors than nq says"),
            (DataType::SparseFloatVector, 1, [&[8, 0, 0, 0][..], &[255; 8]].concat(), "must be less than 2^32-1"),
        ] {
            let failure = Queries::read(&schema(data_type).fields[1], count, &bytes).unwrap_err();
            assert!(failure.message.contains(text), "{} / {text}", failure.message);
        }
        let wrong = Metric::parse("L2", &schema(DataType::BinaryVector).fields[1]).unwrap_err();
        assert!(wrong.message.contains("use one of HAMMING, JACCARD"), "{}", wrong.message);
    }
}
