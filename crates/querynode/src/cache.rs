//! Decoded files in memory, as many as a budget of bytes allows, least recently used ones first to go. A file in use
//! stays; a file that is wanted by several at once is fetched once. What comes from the store is checked against the
//! metadata before it is decoded.

use crate::cpu::Cpu;
use crate::rows::{Content, RowFile, named};
use elanus_meta::model::FileRecord;
use elanus_objects::{Expected, ObjectStore};
use elanus_segment::{Deletes, Graph};
use elanus_types::schema::CollectionSchema;
use elanus_types::{Failure, FileSetId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, Semaphore};

/// The files of a query node.
#[derive(Debug)]
pub(crate) struct FileCache {
    objects: Arc<dyn ObjectStore>,
    cpu: Cpu,
    fetches: Semaphore,
    slots: Mutex<Slots>,
}

type Cell = Arc<OnceCell<Content>>;

#[derive(Debug)]
struct Slots {
    bytes_max: usize,
    bytes: usize,
    clock: u64,
    by_file: HashMap<FileSetId, Slot>,
    by_use: BTreeMap<u64, FileSetId>,
}

#[derive(Debug)]
struct Slot {
    cell: Cell,
    used: u64,
    /// 0 until the file is there.
    bytes: usize,
}

impl FileCache {
    /// An empty cache. `fetches_max` files are fetched and decoded at a time.
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, cpu: Cpu, bytes_max: usize, fetches_max: usize) -> Self {
        let slots = Slots { bytes_max, bytes: 0, clock: 0, by_file: HashMap::new(), by_use: BTreeMap::new() };
        Self { objects, cpu, fetches: Semaphore::new(fetches_max.max(1)), slots: Mutex::new(slots) }
    }

    /// The rows of an insert file.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub(crate) async fn rows(
        &self,
        schema: &Arc<CollectionSchema>,
        record: &FileRecord,
    ) -> Result<Arc<RowFile>, Failure> {
        match self.content(schema, record).await? {
            Content::Rows(file) => Ok(file),
            Content::Deletes(_) | Content::Graph(_) => {
                Err(Failure::internal(format!("{} holds no rows", named(record))))
            }
        }
    }

    /// The entries of a delete file.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub(crate) async fn deletes(
        &self,
        schema: &Arc<CollectionSchema>,
        record: &FileRecord,
    ) -> Result<Arc<Deletes>, Failure> {
        match self.content(schema, record).await? {
            Content::Deletes(deletes) => Ok(deletes),
            Content::Rows(_) | Content::Graph(_) => {
                Err(Failure::internal(format!("{} holds no deletes", named(record))))
            }
        }
    }

    /// The graph of an index file.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub(crate) async fn graph(
        &self,
        schema: &Arc<CollectionSchema>,
        record: &FileRecord,
    ) -> Result<Arc<Graph>, Failure> {
        match self.content(schema, record).await? {
            Content::Graph(graph) => Ok(graph),
            Content::Rows(_) | Content::Deletes(_) => {
                Err(Failure::internal(format!("{} holds no index", named(record))))
            }
        }
    }

    /// True when reading this file needs no fetch.
    pub(crate) fn has(&self, file: FileSetId) -> bool {
        self.slots().by_file.get(&file).is_some_and(|slot| slot.cell.initialized())
    }

    async fn content(&self, schema: &Arc<CollectionSchema>, record: &FileRecord) -> Result<Content, Failure> {
        let cell = self.slots().take(record.file_set);
        let looked = if cell.initialized() { "hit" } else { "miss" };
        metrics::counter!("elanus_querynode_cache_looks_total", "found" => looked).increment(1);
        // Of those who wait here one fetches; when that one fails or goes away, the next one tries.
        let content = cell.get_or_try_init(|| self.fetch(schema, record)).await.cloned();
        self.slots().put_back(record.file_set, &cell);
        match content? {
            content if content.fits(schema) => Ok(content),
            // It was decoded before a field was added, or is read as of then.
            _ => {
                let content = self.fetch(schema, record).await?;
                self.slots().replace(record.file_set, content.clone());
                Ok(content)
            }
        }
    }

    async fn fetch(&self, schema: &Arc<CollectionSchema>, record: &FileRecord) -> Result<Content, Failure> {
        let [object] = record.objects.as_slice() else {
            let parts = record.objects.len();
            return Err(Failure::internal(format!("file set {} has {parts} objects instead of one", record.file_set)));
        };
        let permit = self.fetches.acquire().await;
        let _permit = permit.map_err(|_| Failure::internal("the cache of this query node was closed"))?;
        let bytes = self.objects.get(&object.key).await.map_err(Failure::from)?;
        metrics::counter!("elanus_querynode_fetched_bytes_total").increment(bytes.len() as u64);
        let (schema, record) = (Arc::clone(schema), record.clone());
        let expected = Expected { size: object.size, checksum: object.checksum };
        let key = object.key.clone();
        let decode = move || {
            expected.verify(&key, &bytes)?;
            Content::decode(&schema, &record, bytes)
        };
        self.cpu.run(decode).await
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn take(&mut self, file: FileSetId) -> Cell {
        self.clock += 1;
        let used = self.clock;
        let slot = self.by_file.entry(file).or_insert_with(|| Slot { cell: Cell::default(), used, bytes: 0 });
        self.by_use.remove(&slot.used);
        slot.used = used;
        self.by_use.insert(used, file);
        Arc::clone(&slot.cell)
    }

    /// Counts what was fetched, or forgets what was not, and makes room.
    fn put_back(&mut self, file: FileSetId, cell: &Cell) {
        if let Some(slot) = self.by_file.get_mut(&file)
            && Arc::ptr_eq(&slot.cell, cell)
        {
            match cell.get() {
                Some(content) if slot.bytes == 0 => {
                    slot.bytes = content.bytes().max(1);
                    self.bytes += slot.bytes;
                }
                Some(_) => {}
                // Held by the map and by the caller: nobody else waits for it.
                None if Arc::strong_count(cell) <= 2 => {
                    self.by_use.remove(&slot.used);
                    self.by_file.remove(&file);
                }
                None => {}
            }
        }
        if self.bytes > self.bytes_max {
            self.make_room();
        }
        metrics::gauge!("elanus_querynode_cache_bytes").set(self.bytes as f64);
        metrics::gauge!("elanus_querynode_cache_bytes_max").set(self.bytes_max as f64);
    }

    /// From now on the file is this; who has it already keeps what it has.
    fn replace(&mut self, file: FileSetId, content: Content) {
        let Some(slot) = self.by_file.get_mut(&file) else { return };
        self.bytes -= slot.bytes;
        slot.bytes = content.bytes().max(1);
        self.bytes += slot.bytes;
        slot.cell = Arc::new(OnceCell::new_with(Some(content)));
    }

    fn make_room(&mut self) {
        let idle = self.by_use.iter().filter(|(_, file)| {
            self.by_file.get(file).is_some_and(|slot| match slot.cell.get() {
                Some(content) => !content.is_in_use(),
                // Its reader went away before the file was there.
                None => Arc::strong_count(&slot.cell) == 1,
            })
        });
        let mut bytes = self.bytes;
        let go: Vec<(u64, FileSetId)> = idle
            .map(|(used, file)| (*used, *file))
            .take_while(|(_, file)| {
                let over = bytes > self.bytes_max;
                bytes -= self.by_file.get(file).map_or(0, |slot| slot.bytes);
                over
            })
            .collect();
        for (used, file) in go {
            self.by_use.remove(&used);
            self.bytes -= self.by_file.remove(&file).map_or(0, |slot| slot.bytes);
        }
    }
}
