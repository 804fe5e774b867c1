//! Messages of any type that are almost right, made with nothing but their descriptors.

use crate::chance::Chance;
use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};

/// Fields that hold a message of their own as bytes.
const NESTED: [(&str, &str, &str); 4] = [
    ("milvus.proto.milvus.CreateCollectionRequest", "schema", "milvus.proto.schema.CollectionSchema"),
    ("milvus.proto.milvus.AddCollectionFieldRequest", "schema", "milvus.proto.schema.FieldSchema"),
    ("milvus.proto.milvus.SearchRequest", "placeholder_group", "milvus.proto.common.PlaceholderGroup"),
    ("milvus.proto.milvus.SubSearchRequest", "placeholder_group", "milvus.proto.common.PlaceholderGroup"),
];

/// What texts of requests are: names that exist, names that may not be, settings, filters, numbers.
const WORDS: &[&str] = &[
    "",
    "c",
    "c2",
    "a",
    "p",
    "s",
    "r",
    "u",
    "i",
    "default",
    "_default",
    "id",
    "b",
    "i8",
    "i16",
    "i32",
    "f",
    "d",
    "t",
    "j",
    "al",
    "at",
    "v",
    "h",
    "y",
    "z",
    "$meta",
    "*",
    "count(*)",
    "RowID",
    "..",
    "/",
    "../../etc/passwd",
    "c\0d",
    "имя",
    "0",
    "1",
    "-1",
    "4",
    "8",
    "1e309",
    "NaN",
    "true",
    "False",
    "null",
    "{}",
    "[]",
    "[1,2",
    "{\"a\":1}",
    "9223372036854775808",
    "L2",
    "IP",
    "COSINE",
    "HAMMING",
    "JACCARD",
    "AUTOINDEX",
    "FLAT",
    "HNSW",
    "IVF_FLAT",
    "BIN_FLAT",
    "SPARSE_INVERTED_INDEX",
    "INVERTED",
    "dim",
    "max_length",
    "max_capacity",
    "metric_type",
    "index_type",
    "params",
    "topk",
    "limit",
    "offset",
    "anns_field",
    "radius",
    "range_filter",
    "round_decimal",
    "group_by_field",
    "group_size",
    "strict_group_size",
    "iterator",
    "batch_size",
    "search_iter_v2",
    "search_iter_batch_size",
    "search_iter_last_bound",
    "search_iter_id",
    "ignore_growing",
    "strategy",
    "rrf",
    "weighted",
    "k",
    "weights",
    "norm_score",
    "reduce_stop_for_best",
    "collection.ttl.seconds",
    "mmap.enabled",
    "timezone",
    "partitionkey.isolation",
    "nprobe",
    "ef",
    "M",
    "efConstruction",
    "drop_ratio_search",
    "id in [1, 2]",
    "id == 1",
    "id > 0 and",
    "i8 + 1 > i16 * 2",
    "t like 'a%'",
    "j['a'] == 1",
    "json_contains(j['x'], 1)",
    "array_length(al) == 2",
    "al[0] in {x}",
    "exists j['a']",
    "not (b == true)",
    "f / 0 > 1",
    "i8 % 0 == 0",
    "id in {x}",
    "((((((((((id > 0))))))))))",
    "id < -9223372036854775808",
    "{\"nprobe\": 1}",
    "{\"radius\": 1, \"range_filter\": 0}",
    "cm9vdA==",
    "TWlsdnVz",
    "Insert",
    "Global",
    "root",
    "public",
];

/// All messages that there are.
///
/// # Panics
/// When the program's own descriptors cannot be read.
#[must_use]
pub fn pool() -> DescriptorPool {
    DescriptorPool::decode(elanus_proto::FILE_DESCRIPTOR_SET).expect("the program's own descriptors")
}

impl Chance {
    /// Any text, mostly a word that means something to the server.
    pub fn text(&mut self) -> String {
        match self.below(12) {
            0 => String::from_utf8_lossy(&self.bytes(40)).into_owned(),
            1 => self.number().to_string(),
            2 => self.word().repeat(self.below(200)),
            3 => "x".repeat([255, 256, 65_535, 65_536][self.below(4)]),
            _ => self.word().to_owned(),
        }
    }

    fn word(&mut self) -> &'static str {
        self.of(WORDS).copied().unwrap_or_default()
    }

    /// A message of this type, with some of its fields. Those whose names say what belongs there mostly have that.
    pub fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            if let Some(name) = usual(field.name()).filter(|_| !self.once_in(8)) {
                let name = Value::String(name.to_owned());
                let name = if field.is_list() { Value::List(vec![name]) } else { name };
                if name.is_valid_for_field(&field) {
                    message.set_field(&field, name);
                }
            } else if self.once_in(2) && depth > 0 {
                let value = self.field(&field, depth - 1);
                message.set_field(&field, value);
            }
        }
        message
    }

    /// Changes a few things in a message.
    pub fn change(&mut self, message: &mut DynamicMessage) {
        for _ in 0..=self.below(3) {
            self.change_once(message, 6);
        }
    }

    fn change_once(&mut self, message: &mut DynamicMessage, depth: usize) {
        let fields: Vec<FieldDescriptor> = message.descriptor().fields().collect();
        let set: Vec<FieldDescriptor> = fields.iter().filter(|field| message.has_field(field)).cloned().collect();
        // Mostly what is there: most fields are read by nobody.
        let from = if set.is_empty() || self.once_in(5) { &fields } else { &set };
        let Some(field) = self.of(from).cloned() else { return };
        match self.below(8) {
            0 => message.clear_field(&field),
            choice if choice == 1 || !message.has_field(&field) => {
                let value = self.field(&field, depth.min(3));
                message.set_field(&field, value);
            }
            _ => {
                let (kind, nested) = (field.kind(), nested_type(&field));
                self.change_value(message.get_field_mut(&field), &kind, nested, depth);
            }
        }
    }

    fn change_value(&mut self, value: &mut Value, kind: &Kind, nested: Option<MessageDescriptor>, depth: usize) {
        match value {
            Value::List(values) => self.change_list(values, kind, depth),
            Value::Map(values) => {
                let mut keys: Vec<MapKey> = values.keys().cloned().collect();
                keys.sort();
                let one = self.of(&keys).cloned().and_then(|key| values.get_mut(&key));
                if let (Some(one), Kind::Message(entry)) = (one, kind) {
                    self.change_value(one, &entry.map_entry_value_field().kind(), None, depth);
                }
            }
            Value::Message(inner) if depth > 0 => self.change_once(inner, depth - 1),
            Value::Bytes(bytes) => {
                let inner = nested.and_then(|nested| DynamicMessage::decode(nested, bytes.clone()).ok());
                *bytes = match inner {
                    Some(mut inner) if !self.once_in(6) => {
                        self.change_once(&mut inner, depth.saturating_sub(1));
                        inner.encode_to_vec().into()
                    }
                    _ => {
                        let mut spoilt = bytes.to_vec();
                        self.spoil(&mut spoilt);
                        spoilt.into()
                    }
                };
            }
            Value::String(text) if self.once_in(3) => {
                let mut spoilt = std::mem::take(text).into_bytes();
                self.spoil(&mut spoilt);
                *text = String::from_utf8_lossy(&spoilt).into_owned();
            }
            other => *other = self.scalar(kind, depth),
        }
    }

    fn change_list(&mut self, values: &mut Vec<Value>, kind: &Kind, depth: usize) {
        let at = self.below(values.len());
        match self.below(6) {
            0 if !values.is_empty() => drop(values.remove(at)),
            1 if !values.is_empty() => {
                let again = values[at].clone();
                values.insert(at, again);
            }
            2 => {
                let more = self.scalar(kind, depth.min(2));
                values.push(more);
            }
            3 if values.len() > 1 => {
                let other = self.below(values.len());
                values.swap(at, other);
            }
            _ => {
                if let Some(value) = values.get_mut(at) {
                    self.change_value(value, kind, None, depth);
                }
            }
        }
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        if field.is_map() {
            return self.map(&field.kind(), depth);
        }
        if field.is_list() {
            let count = self.below(4);
            return Value::List((0..count).map(|_| self.scalar(&field.kind(), depth)).collect());
        }
        match nested_type(field) {
            Some(nested) if !self.once_in(6) => Value::Bytes(self.message(&nested, depth).encode_to_vec().into()),
            _ => self.scalar(&field.kind(), depth),
        }
    }

    fn map(&mut self, entry: &Kind, depth: usize) -> Value {
        let Kind::Message(entry) = entry else { return Value::Map(Default::default()) };
        let (key, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let count = self.below(3);
        let pairs = (0..count).filter_map(|_| Some((self.scalar(&key, 0).into_map_key()?, self.scalar(&value, depth))));
        Value::Map(pairs.collect())
    }

    fn scalar(&mut self, kind: &Kind, depth: usize) -> Value {
        match kind {
            Kind::Double => Value::F64(self.real()),
            Kind::Float => Value::F32(self.real() as f32),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.number() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.number()),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.number() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.number().cast_unsigned()),
            Kind::Bool => Value::Bool(self.once_in(2)),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(Bytes::from(self.bytes(64))),
            Kind::Message(descriptor) if depth > 0 => Value::Message(self.message(descriptor, depth - 1)),
            Kind::Message(descriptor) => Value::Message(DynamicMessage::new(descriptor.clone())),
            Kind::Enum(descriptor) => {
                let known: Vec<i32> = descriptor.values().map(|value| value.number()).collect();
                let unknown = self.once_in(6).then(|| self.number() as i32);
                Value::EnumNumber(unknown.or_else(|| self.of(&known).copied()).unwrap_or_default())
            }
        }
    }
}

/// What a field of this name holds in a request that means something in the [world](crate::world).
fn usual(field: &str) -> Option<&'static str> {
    Some(match field {
        "collection_name" | "collection_names" | "old_name" => "c",
        "new_name" => "c9",
        "partition_name" | "partition_names" => "p",
        "field_name" => "v",
        "index_name" => "i",
        "alias" => "a",
        "snapshot_name" | "name" => "s",
        "db_name" => "default",
        "username" => "u",
        "role_name" => "r",
        _ => return None,
    })
}

fn nested_type(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let of = field.parent_message();
    let found = NESTED.iter().find(|(message, name, _)| of.full_name() == *message && field.name() == *name);
    found.and_then(|(_, _, nested)| of.parent_pool().get_message_by_name(nested))
}
