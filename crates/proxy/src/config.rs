//! Limits of the proxy. The defaults are those of Milvus.

/// What a request may ask for at most.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// Shards of a collection.
    pub shards_max: i32,
    /// Fields of a collection, the dynamic column not counted.
    pub fields_max: usize,
    /// Vector fields of a collection.
    pub vector_fields_max: usize,
    /// Partitions of a collection.
    pub partitions_max: usize,
    /// Rows of one answer and the rows skipped before them.
    pub result_window_max: i64,
    /// Query vectors of one search.
    pub nq_max: i64,
    /// Bytes of one JSON value.
    pub json_bytes_max: usize,
    /// Keys that a delete by expression reads in one call.
    pub delete_page_rows: i64,
    /// Seconds that a snapshot may ask compaction to wait.
    pub snapshot_protection_s_max: i64,
    /// Seconds that a pin may live, when it is not to live until it is unpinned.
    pub pin_ttl_s_max: i64,
    /// Users who may give others a new password without knowing the old one.
    pub super_users: Vec<String>,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            shards_max: 16,
            fields_max: 64,
            vector_fields_max: 10,
            partitions_max: 1_024,
            result_window_max: 16_384,
            nq_max: 16_384,
            json_bytes_max: 64 << 10,
            delete_page_rows: 1_000_000,
            snapshot_protection_s_max: 7 * 24 * 3_600,
            pin_ttl_s_max: 30 * 24 * 3_600,
            super_users: Vec::new(),
        }
    }
}
