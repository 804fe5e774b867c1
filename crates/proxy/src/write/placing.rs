//! To which partitions rows go: to the one that is named, or where the partition key says.

use crate::backend::Collection;
use arrow::array::RecordBatch;
use elanus_proto::datanode as dn;
use elanus_segment::{PkColumn, take_rows, to_ipc};
use elanus_types::{Failure, PartitionId};

/// Where the rows of a request go.
#[derive(Debug)]
pub(super) enum Placing {
    /// To this partition.
    Named(i64),
    /// To the partition at the position that the hash of a row's key says. Rows are there for ever, so neither the hash
    /// nor the number of partitions of a collection ever changes.
    ByKey { field: String, partitions: Vec<i64> },
}

impl Placing {
    /// 200 for an unknown partition; 1100 when one is named although the collection has a partition key.
    pub(super) fn of(collection: &Collection, partition_name: &str) -> Result<Self, Failure> {
        let Some(key) = collection.schema.partition_key() else {
            return Ok(Self::Named(collection.partition(partition_name)?.id));
        };
        collection.requires_no_partition_names(!partition_name.is_empty())?;
        let partitions = (0..collection.info.partitions.len())
            .map(|position| collection.partition(&crate::partitions::keyed(position)).map(|partition| partition.id));
        Ok(Self::ByKey { field: key.name.clone(), partitions: partitions.collect::<Result<_, _>>()? })
    }

    /// The partitions in which an upsert deletes: a row whose key changed was in another one.
    pub(super) fn deletes_in(&self) -> i64 {
        match self {
            // As in Milvus: a row of the same key in another partition stays.
            Self::Named(partition_id) => *partition_id,
            Self::ByKey { .. } => PartitionId::ALL.0,
        }
    }

    /// One batch a partition.
    pub(super) fn batches(&self, batch: &RecordBatch) -> Result<Vec<dn::RowBatch>, Failure> {
        let (field, partitions) = match self {
            Self::Named(partition_id) => {
                return Ok(vec![dn::RowBatch { partition_id: *partition_id, arrow_ipc: to_ipc(batch) }]);
            }
            Self::ByKey { field, partitions } => (field, partitions),
        };
        let internal = |error: elanus_segment::Error| Failure::internal(error.to_string());
        let keys = PkColumn::from_batch(batch, field).map_err(internal)?;
        let partitions_num = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        keys.rows_by_shard(partitions_num)
            .into_iter()
            .map(|(position, rows)| {
                let partition = usize::try_from(position.0).ok().and_then(|position| partitions.get(position));
                let partition_id = *partition.ok_or_else(|| Failure::internal("a row has no partition"))?;
                let rows = take_rows(batch, &rows).map_err(internal)?;
                Ok(dn::RowBatch { partition_id, arrow_ipc: to_ipc(&rows) })
            })
            .collect()
    }
}
