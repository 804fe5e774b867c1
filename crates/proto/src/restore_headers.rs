//! gRPC metadata of the Milvus call `RestoreSnapshot`: what Elanus can do beyond its message. A bad value is refused with
//! code 1100; without the keys the whole snapshot is restored, in the way that the coordinator is set to.

/// `clone` or `copy`.
pub const MODE: &str = "elanus-restore-mode";
/// Names of partitions with a comma between them: only their rows are restored.
pub const PARTITIONS: &str = "elanus-restore-partitions";
/// `false`: the target has no indexes. `true` is the default.
pub const INDEXES: &str = "elanus-restore-indexes";
/// Of a collection with a time to live: `restore`, the default: its rows begin to age with the restore; `write`: they age from
/// when they were written, so old ones may expire at once.
pub const AGES: &str = "elanus-restore-ages";
