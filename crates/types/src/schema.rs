//! Collections, fields and indexes as users define them, in the words of Milvus.

use crate::{Aging, Failure, FieldId, IndexId, PartitionId};
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
    /// A list of at most `max_capacity` values of the field's `element_type`
    Array,
    /// A JSON document
    Json,
    /// `dim` bits, eight a byte
    BinaryVector,
    /// `dim` 32-bit IEEE 754 numbers
    FloatVector,
    /// `dim` 16-bit IEEE 754 numbers
    Float16Vector,
    /// `dim` numbers that are the upper half of a 32-bit IEEE 754 number
    #[serde(rename = "bfloat16_vector")]
    BFloat16Vector,
    /// Numbers of 32 bits at some of 2^32 - 1 places, zero at the others
    SparseFloatVector,
    /// `dim` 8-bit integers
    Int8Vector,
}

impl DataType {
    const ALL: [(Self, i32); 16] = [
        (Self::Bool, 1),
        (Self::Int8, 2),
        (Self::Int16, 3),
        (Self::Int32, 4),
        (Self::Int64, 5),
        (Self::Float, 10),
        (Self::Double, 11),
        (Self::VarChar, 21),
        (Self::Array, 22),
        (Self::Json, 23),
        (Self::BinaryVector, 100),
        (Self::FloatVector, 101),
        (Self::Float16Vector, 102),
        (Self::BFloat16Vector, 103),
        (Self::SparseFloatVector, 104),
        (Self::Int8Vector, 105),
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
        !self.metrics().is_empty()
    }

    /// True for what may be an element of an array.
    #[must_use]
    pub fn is_element(self) -> bool {
        !self.is_vector() && !matches!(self, Self::Array | Self::Json)
    }

    /// How vectors of this type are compared; what an index without a metric has comes first. None for scalars.
    #[must_use]
    pub fn metrics(self) -> &'static [&'static str] {
        match self {
            Self::FloatVector | Self::Float16Vector | Self::BFloat16Vector | Self::Int8Vector => {
                &["COSINE", "L2", "IP"]
            }
            Self::BinaryVector => &["HAMMING", "JACCARD"],
            Self::SparseFloatVector => &["IP"],
            Self::Bool
            | Self::Int8
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::Float
            | Self::Double
            | Self::VarChar
            | Self::Array
            | Self::Json => &[],
        }
    }
}

/// What a field has where a row brings no value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultValue {
    /// Of a bool field.
    Bool(bool),
    /// Of a field of whole numbers.
    Int(i64),
    /// Of a float or double field; as text where it is kept, because not every reader of JSON is exact.
    Float(#[serde(with = "exact")] f64),
    /// Of a varchar field, or a JSON document.
    Text(String),
}

mod exact {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
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
    /// What the elements of an array are; `None` for every other field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element_type: Option<DataType>,
    /// The value of a row that brings none, and of rows that were there before the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_value: Option<DefaultValue>,
    /// `dim`, `max_length`, … as given.
    #[serde(default)]
    pub type_params: BTreeMap<String, String>,
}

impl FieldSchema {
    /// A field with nothing but these.
    #[must_use]
    pub fn new(id: FieldId, name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            id,
            name: name.into(),
            description: String::new(),
            data_type,
            is_primary_key: false,
            auto_id: false,
            is_dynamic: false,
            nullable: false,
            element_type: None,
            default_value: None,
            type_params: BTreeMap::new(),
        }
    }

    /// Number of elements of a vector field.
    #[must_use]
    pub fn dim(&self) -> Option<usize> {
        self.type_params.get("dim")?.parse().ok()
    }

    /// Longest value of a varchar field, or of an element of an array of them, in bytes.
    #[must_use]
    pub fn max_length(&self) -> Option<usize> {
        self.type_params.get("max_length")?.parse().ok()
    }

    /// Most elements of a value of an array field.
    #[must_use]
    pub fn max_capacity(&self) -> Option<usize> {
        self.type_params.get("max_capacity")?.parse().ok()
    }

    /// True when a row may come without a value.
    #[must_use]
    pub fn may_be_absent(&self) -> bool {
        self.nullable || self.default_value.is_some()
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

    /// That a collection stays one without this field.
    ///
    /// # Errors
    /// 1100 for what rows are found or placed by, and for the only vector.
    pub fn require_droppable(&self, field: &FieldSchema) -> Result<(), Failure> {
        let why = if field.is_primary_key {
            "it is the primary key"
        } else if self.partition_key == Some(field.id) {
            "it is the partition key"
        } else if self.clustering_key == Some(field.id) {
            "it is the clustering key"
        } else if field.is_dynamic {
            "it is the dynamic field"
        } else if field.data_type.is_vector() && self.vector_fields().count() == 1 {
            "a collection needs a vector field"
        } else {
            return Ok(());
        };
        Err(Failure::invalid(format!("field {} cannot be dropped: {why}", field.name)))
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

/// Everything that defines a collection at one time, but its rows: what a snapshot keeps and a restore brings back (R-4).
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
    /// From when its rows age; not for users.
    #[serde(default, skip_serializing_if = "Aging::is_default")]
    pub aging: Aging,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_wrote_is_a_field() {
        let field: FieldSchema = serde_json::from_str(
            r#"{"id": 101, "name": "v", "data_type": "float_vector", "type_params": {"dim": "4"}}"#,
        )
        .unwrap();
        assert_eq!((field.element_type, &field.default_value, field.dim()), (None, &None, Some(4)));
        let written = serde_json::to_string(&field).unwrap();
        assert!(!written.contains("element_type") && !written.contains("default_value"), "{written}");
    }

    #[test]
    fn default_values_come_back_to_the_last_bit() {
        for value in [
            DefaultValue::Bool(true),
            DefaultValue::Int(i64::MIN),
            DefaultValue::Float(0.1_f32.into()),
            DefaultValue::Float(f64::MIN_POSITIVE / 3.0),
            DefaultValue::Float(1.0e300_f64.sqrt() / 7.0),
            DefaultValue::Text("\"\u{0}".to_owned()),
        ] {
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<DefaultValue>(&text).unwrap(), value, "{text}");
        }
    }
}
