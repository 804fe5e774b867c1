//! Files that are almost right, and every reader of files: rows, delete logs, indexes, rows between services, manifests, metadata
//! of snapshots, the marker of an owner.
//!
//! A checksum would refuse all of them before they are read. The readers are tried without it: whoever can write to the bucket
//! can write a checksum too, and a restore reads what another cluster wrote.

use crate::{Finding, chance::Chance, watch::Watch, world::World};
use bytes::Bytes;
use elanus_manifest::{decode_manifest, decode_metadata};
use elanus_objects::ownership::Marker;
use elanus_segment::{Graph, RowBatches, build_graph, complete, decode_deletes, decode_rows, from_ipc, to_ipc};
use elanus_types::graph::{GraphMetric, GraphSpec};
use elanus_types::schema::{CollectionSchema, DataType};
use std::{
    error::Error,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// FZ-2, of all readers together, on a machine that is busy with something else.
const WITHIN: Duration = Duration::from_secs(300);
/// FZ-3, for a start: what Avro may take for a block.
const BYTES_MAX: usize = 96 << 20;
/// FZ-3, for each byte of a file: zstd makes 128 KiB of four bytes.
const BYTES_MAX_OF_ONE: usize = 40_000;

/// Files as the services wrote them, by what they are.
#[derive(Debug)]
pub struct Corpus {
    schema: CollectionSchema,
    files: Vec<(String, Bytes)>,
}

impl Corpus {
    /// Lets the services write one of each kind.
    ///
    /// # Errors
    /// When they do not.
    pub async fn written() -> Result<Self, Box<dyn Error>> {
        let world = World::start().await?;
        let mut files = world.files().await?;
        let of = |end: &str| files.iter().find(|(key, _)| key.contains(end)).map(|(_, bytes)| bytes.clone());
        let metadata = of("/metadata/").ok_or("no metadata of a snapshot was written")?;
        let schema = decode_metadata(&metadata)?.definition.schema;
        let rows = decode_rows(&schema, of("insert_log/").ok_or("no rows were written")?)?;
        of("delta_log/").ok_or("no delete log was written")?;
        of("/manifests/").ok_or("no manifest was written")?;
        let field = schema.fields.iter().find(|field| field.data_type == DataType::FloatVector);
        let field = field.ok_or("no field has vectors of floats")?;
        let column = rows.column_by_name(&field.name).ok_or("the rows have no vectors")?;
        let spec = GraphSpec { metric: GraphMetric::L2, degree: 8, candidates: 16 };
        let graph = build_graph(field, spec, column, || true)?.ok_or("the graph was not built")?;
        files.push(("a graph".to_owned(), graph.bytes));
        files.push(("rows between services".to_owned(), to_ipc(&rows)));
        files.push(("a marker".to_owned(), serde_json::to_vec(&Marker::new(uuid::Uuid::nil()))?.into()));
        Ok(Self { schema, files })
    }

    /// Each file as it is, through its reader. How many.
    ///
    /// # Errors
    /// When one is refused.
    pub fn is_read(&self) -> Result<usize, Finding> {
        for (name, bytes) in &self.files {
            if !self.read_all(bytes).contains(&true) {
                return Err(Finding(format!("{name} is refused as it was written")));
            }
        }
        Ok(self.files.len())
    }

    /// Spoils a file by this seed and gives it to all readers. How many took it for whole.
    ///
    /// # Errors
    /// The promise that was broken, with the bytes.
    pub fn run(&self, seed: u64) -> Result<usize, Finding> {
        let mut chance = Chance::new(seed);
        let (name, bytes) = &self.files[chance.below(self.files.len())];
        let bytes = if chance.once_in(50) {
            chance.bytes(300)
        } else {
            let mut bytes = bytes.to_vec();
            chance.spoil(&mut bytes);
            bytes
        };
        self.read(&Bytes::from(bytes)).map_err(|found| Finding(format!("seed {seed}, {name}: {}", found.0)))
    }

    /// Gives these bytes to all readers. How many took them for whole.
    ///
    /// # Errors
    /// The promise that was broken, with the bytes.
    pub fn read(&self, bytes: &Bytes) -> Result<usize, Finding> {
        let watch = Watch::start();
        let read = catch_unwind(AssertUnwindSafe(|| self.read_all(bytes)));
        let ended = watch.end(WITHIN, BYTES_MAX + bytes.len() * BYTES_MAX_OF_ONE);
        let read = match (ended, read) {
            (Ok(()), Ok(read)) => read,
            (Err(found), _) => return Err(shown(found, bytes)),
            (Ok(()), Err(_)) => return Err(shown(Finding("FZ-1: a reader panicked".to_owned()), bytes)),
        };
        Ok(read.iter().filter(|whole| **whole).count())
    }

    fn read_all(&self, bytes: &Bytes) -> [bool; 9] {
        let whole = decode_rows(&self.schema, bytes.clone());
        let by_batches = RowBatches::open(&self.schema, bytes.clone(), 3);
        [
            // What was read can be sent on.
            whole.is_ok_and(|rows| from_ipc(to_ipc(&rows)).is_ok()),
            by_batches.is_ok_and(|batches| batches.take(1_000).all(|batch| batch.is_ok())),
            decode_deletes(DataType::Int64, bytes.clone()).is_ok(),
            decode_deletes(DataType::VarChar, bytes.clone()).is_ok(),
            from_ipc(bytes.clone()).map(|rows| complete(&self.schema, &rows)).is_ok(),
            decode_manifest(bytes).is_ok(),
            decode_metadata(bytes).is_ok(),
            Marker::read(bytes).is_ok(),
            Graph::open(bytes).is_ok_and(|graph| is_searched(&graph)),
        ]
    }
}

/// Also a graph that was spoilt must end a search, and name no row that it does not have.
fn is_searched(graph: &Graph) -> bool {
    let rows = graph.head().rows;
    let mut distances = |of: &[u32], to: &mut Vec<f32>| to.extend(of.iter().map(|row| (row % 7) as f32));
    let even = |row: u32| row.is_multiple_of(2);
    graph.near(&mut distances, 20, None).is_ok_and(|found| found.iter().all(|(_, row)| *row < rows))
        && graph.near(&mut distances, 20, Some(&even)).is_ok_and(|found| found.iter().all(|(_, row)| even(*row)))
}

fn shown(found: Finding, bytes: &[u8]) -> Finding {
    let mut text = found.0 + "\n";
    let _ = bytes.iter().try_for_each(|byte| write!(text, "{byte:02x}"));
    Finding(text)
}
