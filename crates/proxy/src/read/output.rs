//! Which columns a read fetches for the output fields that a user names, and which names the answer carries.

use elanus_types::{
    Failure,
    schema::{CollectionSchema, DYNAMIC_FIELD},
};

/// The columns of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Output {
    /// Fields of the schema, each once.
    pub(super) columns: Vec<String>,
    /// What the answer calls them. A name that is no column is a key of the dynamic field, which the client takes out of
    /// the column `$meta`; `$meta` itself means all its keys.
    pub(super) names: Vec<String>,
}

impl Output {
    pub(super) fn plan(schema: &CollectionSchema, asked: &[String]) -> Result<Self, Failure> {
        let mut output = Self::default();
        for name in asked {
            match name.trim() {
                "*" => schema.fields.iter().for_each(|field| output.add(&field.name, &field.name)),
                name => output.add_one(schema, name)?,
            }
        }
        Ok(output)
    }

    fn add_one(&mut self, schema: &CollectionSchema, name: &str) -> Result<(), Failure> {
        if let Some(field) = schema.field(name) {
            self.add(&field.name, &field.name);
            return Ok(());
        }
        let Some(dynamic) = schema.dynamic_field() else {
            return Err(Failure::invalid(format!("field {name} not exist")));
        };
        let key =
            dynamic_key(name).ok_or_else(|| Failure::invalid(format!("parse output field name failed: {name}")))?;
        self.add(&dynamic.name, key);
        Ok(())
    }

    fn add(&mut self, column: &str, name: &str) {
        for (list, item) in [(&mut self.columns, column), (&mut self.names, name)] {
            if !list.iter().any(|known| known == item) {
                list.push(item.to_owned());
            }
        }
    }

    /// Adds the primary key where it was not asked for.
    pub(super) fn with_key(mut self, schema: &CollectionSchema) -> Self {
        let pk = &schema.primary_key().name;
        self.add(pk, pk);
        self
    }
}

/// `key`, `$meta["key"]` or `$meta['key']`.
fn dynamic_key(name: &str) -> Option<&str> {
    let key = match name.strip_prefix(DYNAMIC_FIELD) {
        None => name,
        Some(rest) => {
            let inner = rest.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
            let quote = inner.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
            return inner.strip_prefix(quote)?.strip_suffix(quote).filter(|key| !key.is_empty());
        }
    };
    let mut bytes = key.bytes();
    let first = bytes.next()?;
    let word = (first.is_ascii_alphabetic() || first == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    word.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_types::{
        FieldId,
        schema::{DataType, FieldSchema},
    };

    fn schema(dynamic: bool) -> CollectionSchema {
        let names = [("pk", DataType::Int64), ("v", DataType::FloatVector), ("$meta", DataType::Json)];
        let fields = names.into_iter().take(if dynamic { 3 } else { 2 }).map(|(name, data_type)| FieldSchema {
            id: FieldId(100),
            name: name.to_owned(),
            description: String::new(),
            data_type,
            is_primary_key: name == "pk",
            auto_id: false,
            is_dynamic: name == "$meta",
            nullable: false,
            element_type: None,
            default_value: None,
            type_params: [].into(),
        });
        CollectionSchema {
            description: String::new(),
            fields: fields.collect(),
            enable_dynamic_field: dynamic,
            ..CollectionSchema::default()
        }
    }

    fn plan(dynamic: bool, asked: &[&str]) -> Result<(String, String), Failure> {
        let asked: Vec<_> = asked.iter().map(|name| (*name).to_owned()).collect();
        Output::plan(&schema(dynamic), &asked).map(|output| (output.columns.join(" "), output.names.join(" ")))
    }

    #[test]
    fn names_become_columns() {
        for (dynamic, asked, columns, names) in [
            (true, &["*"][..], "pk v $meta", "pk v $meta"),
            (false, &["*", "v"], "pk v", "pk v"),
            (true, &["x", "v", "y"], "$meta v", "x v y"),
            (true, &["$meta[\"a b\"]", "x"], "$meta", "a b x"),
            (true, &["$meta"], "$meta", "$meta"),
            (true, &[], "", ""),
        ] {
            assert_eq!(plan(dynamic, asked).unwrap(), (columns.to_owned(), names.to_owned()), "{asked:?}");
        }
        assert_eq!(plan(false, &["x"]).unwrap_err().message, "field x not exist");
        assert!(plan(true, &["a b"]).is_err() && plan(true, &["$meta[x]"]).is_err());
    }

    #[test]
    fn the_key_comes_once() {
        let output = Output { columns: vec!["v".into()], names: vec!["v".into()] }.with_key(&schema(false));
        assert_eq!(output.clone().with_key(&schema(false)), output);
        assert_eq!(output.columns, ["v", "pk"]);
    }
}
