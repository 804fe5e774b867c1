//! Collections, fields and indexes as users define them, in the words of Milvus.

use crate::{FieldId, IndexId, PartitionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of the column that holds the keys of a dynamic field.
pub const DYNAMIC_FIELD: &str = "$meta";
/// Name of the partition that every collection has.
pub const DEFAULT_PARTITION: &str = "_default";
/// Name of the database that always exists.
pub const DEFAULT_DATABASE: &str = "default";

/// Milvus data types that Elanus can name. `number()` is the wire contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DataType {
    /// true or false
    Bool,
    /// 8-bit integer
    Int8,
    /// 16-bit integer
    Int16,
    /// 32-bit integer
    Int32,
    /// 64-bit integer
    Int64,
    /// 32-bit IEEE 754
    Float,
    /// 64-bit IEEE 754
    Double,
    /// UTF-8 text of at most `max_length` bytes
    VarChar,
    /// A JSON document
    Json,
    /// `dim` 32-bit IEEE 754 numbers
    FloatVector,
}

impl DataType {
    const ALL: [(Self, i32); 10] = [
        (Self::Bool, 1),
        (Self::Int8, 2),
        (Self::Int16, 3),
        (Self::Int32, 4),
        (Self::Int64, 5),
        (Self::Float, 10),
        (Self::Double, 11),
        (Self::VarChar, 21),
        (Self::Json, 23),
        (Self::FloatVector, 101),
    ];

    /// The number in `schema.DataType`.
    #[must_use]
    pub fn number(self) -> i32 {
        Self::ALL.into_iter().find_map(|(ty, number)| (ty == self).then_some(number)).unwrap_or_default()
    }

    /// The type with this number, when Elanus serves it.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(ty, n)| (n == number).then_some(ty))
    }

    /// True for vectors.
    #[must_use]
    pub fn is_vector(self) -> bool {
        matches!(self, Self::FloatVector)
    }
}

/// One field of a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldSchema {
    /// Kept by restore, never reused in a collection.
    pub id: FieldId,
    /// What users call it.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// What its values are.
    pub data_type: DataType,
    /// The field that names a row; exactly one, int64 or varchar.
    #[serde(default)]
    pub is_primary_key: bool,
    /// Primary keys are given by the server.
    #[serde(default)]
    pub auto_id: bool,
    /// The column of a dynamic field, [`DYNAMIC_FIELD`].
    #[serde(default)]
    pub is_dynamic: bool,
    /// May be absent in a row.
    #[serde(default)]
    pub nullable: bool,
    /// `dim`, `max_length`, … as given.
    #[serde(default)]
    pub type_params: BTreeMap<String, String>,
}

impl FieldSchema {
    /// Number of elements of a vector field.
    #[must_use]
    pub fn dim(&self) -> Option<usize> {
        self.type_params.get("dim")?.parse().ok()
    }

    /// Longest value of a varchar field, in bytes.
    #[must_use]
    pub fn max_length(&self) -> Option<usize> {
        self.type_params.get("max_length")?.parse().ok()
    }
}

/// What a row of a collection looks like. A dynamic field is among `fields`, as its last one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CollectionSchema {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// In the order that the user gave.
    pub fields: Vec<FieldSchema>,
    /// Rows may carry keys that no field names.
    #[serde(default)]
    pub enable_dynamic_field: bool,
    /// The field whose value says to which partition a row belongs; users then name no partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<FieldId>,
    /// The field by which rows would be brought together. Kept; nothing looks at it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clustering_key: Option<FieldId>,
}

impl CollectionSchema {
    /// The primary key field.
    ///
    /// # Panics
    /// When there is none: a schema without primary key is refused before it becomes one of these.
    #[must_use]
    pub fn primary_key(&self) -> &FieldSchema {
        self.fields.iter().find(|field| field.is_primary_key).expect("a schema has a primary key")
    }

    /// The field with this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&FieldSchema> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The column of the dynamic field, where the collection has one.
    #[must_use]
    pub fn dynamic_field(&self) -> Option<&FieldSchema> {
        self.fields.iter().find(|field| field.is_dynamic)
    }

    /// The partition key field, where the collection has one.
    #[must_use]
    pub fn partition_key(&self) -> Option<&FieldSchema> {
        let id = self.partition_key?;
        self.fields.iter().find(|field| field.id == id)
    }

    /// Vector fields in their order.
    pub fn vector_fields(&self) -> impl Iterator<Item = &FieldSchema> {
        self.fields.iter().filter(|field| field.data_type.is_vector())
    }
}

/// Consistency levels with Milvus' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsistencyLevel {
    /// Reads see every acknowledged write.
    Strong,
    /// Reads see one's own writes.
    Session,
    /// Reads may lag by a bounded time.
    Bounded,
    /// Reads may lag.
    Eventually,
    /// Chosen per request.
    Customized,
}

impl ConsistencyLevel {
    /// The number in `common.ConsistencyLevel`.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Strong => 0,
            Self::Session => 1,
            Self::Bounded => 2,
            Self::Eventually => 3,
            Self::Customized => 4,
        }
    }

    /// The level that a setting names: its name, in whatever case, or its number.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let levels = [
            (Self::Strong, "strong"),
            (Self::Session, "session"),
            (Self::Bounded, "bounded"),
            (Self::Eventually, "eventually"),
            (Self::Customized, "customized"),
        ];
        let named = levels.into_iter().find(|(_, name)| text.eq_ignore_ascii_case(name)).map(|(level, _)| level);
        named.or_else(|| Self::from_number(text.parse().ok()?))
    }

    /// The level with this number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Strong,
            1 => Self::Session,
            2 => Self::Bounded,
            3 => Self::Eventually,
            4 => Self::Customized,
            _ => return None,
        })
    }
}

/// A partition by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionInfo {
    /// Its id.
    pub id: PartitionId,
    /// Unique in its collection.
    pub name: String,
}

/// An index definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexInfo {
    /// Its id.
    pub id: IndexId,
    /// Unique in its collection; the field's name where the user gave none.
    pub name: String,
    /// The field that it serves.
    pub field_id: FieldId,
    /// `index_type`, `metric_type`, `M`, … as the user gave them, AUTOINDEX filled in.
    pub params: BTreeMap<String, String>,
}

/// Everything that defines a collection at one time, but its rows: what a snapshot keeps and a restore brings back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionDefinition {
    /// Fields.
    pub schema: CollectionSchema,
    /// Number of shards.
    pub shards_num: i32,
    /// Default level of reads.
    pub consistency_level: ConsistencyLevel,
    /// Settings by name, as users gave them.
    pub properties: BTreeMap<String, String>,
    /// In order of creation, `_default` first.
    pub partitions: Vec<PartitionInfo>,
    /// In order of creation.
    pub indexes: Vec<IndexInfo>,
}
