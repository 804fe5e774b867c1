//! All columns of a request as rows of the collection: which columns may come, must come, and are filled in.

use super::columns::{Table, to_array};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array},
    compute::take,
    datatypes::{Field, Schema},
};
use elanus_proto::schema::FieldData;
use elanus_segment::{PkColumn, absent_column, arrow_schema};
use elanus_types::{
    Failure,
    schema::{CollectionSchema, DYNAMIC_FIELD, DataType, FieldSchema},
};
use std::{collections::BTreeMap, sync::Arc};

/// Where the primary keys of rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// The request has them.
    Given,
    /// The server gives them; the request must not have them.
    Generated,
}

/// Which columns a request must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// All that have no default value and are not nullable.
    All,
    /// The keys: what is left out is known from elsewhere.
    Some,
}

/// The checked columns of a request. Without the keys when they are generated, and without those that it may leave out.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<(Arc<Field>, Option<ArrayRef>)>,
    rows: usize,
    pk: String,
    pk_type: DataType,
}

impl Rows {
    pub(super) fn check(
        schema: &CollectionSchema,
        keys: Keys,
        which: Columns,
        fields_data: Vec<FieldData>,
        num_rows: u32,
        json_bytes_max: usize,
    ) -> Result<Self, Failure> {
        let rows = num_rows as usize;
        if rows == 0 {
            return Err(Failure::invalid("invalid num_rows: 0, the request has no rows"));
        }
        if rows > elanus_segment::ROWS_MAX {
            return Err(Failure::invalid(format!(
                "{rows} rows in one request, at most {} are taken",
                elanus_segment::ROWS_MAX
            )));
        }
        let mut given = by_field(schema, fields_data)?;
        let table = Table { schema, rows, json_bytes_max };
        let arrow = arrow_schema(schema);
        let mut columns = Vec::with_capacity(schema.fields.len());
        for (field, column) in schema.fields.iter().zip(arrow.fields()) {
            let array = match given.remove(field.name.as_str()) {
                Some(_) if field.is_primary_key && keys == Keys::Generated => {
                    let why = "auto id is on, the server gives its values";
                    return Err(Failure::invalid(format!("field {}: {why}", field.name)));
                }
                Some(data) => Some(to_array(table, field, column, data)?),
                None if field.is_primary_key && keys == Keys::Generated => None,
                None if which == Columns::Some && !field.is_primary_key => None,
                None => Some(required(field, column, rows)?),
            };
            columns.push((Arc::clone(column), array));
        }
        let pk = schema.primary_key();
        Ok(Self { columns, rows, pk: pk.name.clone(), pk_type: pk.data_type })
    }

    pub(super) fn count(&self) -> usize {
        self.rows
    }

    /// The rows, the keys that the request left out starting with `first`.
    pub(super) fn into_batch(self, first: Option<i64>) -> Result<RecordBatch, Failure> {
        let mut fields = Vec::with_capacity(self.columns.len());
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (field, array) in self.columns {
            let array = match (array, first) {
                (Some(array), _) => array,
                (None, Some(first)) => generated(self.pk_type, first, self.rows),
                (None, None) => return Err(Failure::internal("rows were made without their primary keys")),
            };
            fields.push(field);
            arrays.push(array);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|error| Failure::internal(error.to_string()))
    }

    /// The rows at these positions, each column as `complete` makes it of what the request has.
    pub(super) fn completed(
        self,
        schema: &CollectionSchema,
        kept: &[u32],
        complete: impl Fn(&FieldSchema, &Field, Option<ArrayRef>) -> Result<ArrayRef, Failure>,
    ) -> Result<RecordBatch, Failure> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (field, (column, given)) in schema.fields.iter().zip(self.columns) {
            let given = given.map(|given| taken(given, kept)).transpose()?;
            let array = complete(field, &column, given)?;
            columns.push((column, Some(array)));
        }
        Self { columns, rows: kept.len(), ..self }.into_batch(None)
    }

    /// The keys that the request gave.
    pub(super) fn given_keys(&self) -> Result<PkColumn, Failure> {
        let found = self.columns.iter().find(|(field, _)| field.name() == &self.pk);
        let Some((field, Some(array))) = found else {
            return Err(Failure::internal("rows have no primary keys to look at"));
        };
        let batch = RecordBatch::try_from_iter([(field.name(), Arc::clone(array))]);
        let batch = batch.map_err(|error| Failure::internal(error.to_string()))?;
        PkColumn::from_batch(&batch, &self.pk).map_err(|error| Failure::internal(error.to_string()))
    }
}

fn taken(array: ArrayRef, rows: &[u32]) -> Result<ArrayRef, Failure> {
    take(&array, &UInt32Array::from(rows.to_vec()), None).map_err(|error| Failure::internal(error.to_string()))
}

fn generated(pk_type: DataType, first: i64, rows: usize) -> ArrayRef {
    let ids = (first..).take(rows);
    match pk_type {
        DataType::VarChar => Arc::new(StringArray::from_iter_values(ids.map(|id| id.to_string()))),
        _ => Arc::new(Int64Array::from_iter_values(ids)),
    }
}

fn by_field(schema: &CollectionSchema, fields_data: Vec<FieldData>) -> Result<BTreeMap<&str, FieldData>, Failure> {
    let mut given = BTreeMap::new();
    for data in fields_data {
        let name = if data.is_dynamic { DYNAMIC_FIELD } else { data.field_name.as_str() };
        let Some(field) = schema.field(name) else {
            let why = match name {
                DYNAMIC_FIELD => "the dynamic field is not enabled".to_owned(),
                name => format!("field {name} does not exist in the collection"),
            };
            return Err(Failure::invalid(why));
        };
        if given.insert(field.name.as_str(), data).is_some() {
            return Err(Failure::invalid(format!("duplicated field name {} in the request", field.name)));
        }
    }
    Ok(given)
}

/// The column of a field that the request has nothing for.
pub(super) fn required(field: &FieldSchema, column: &Field, rows: usize) -> Result<ArrayRef, Failure> {
    if field.is_dynamic {
        return Ok(Arc::new(StringArray::from_iter_values(std::iter::repeat_n("{}", rows))));
    }
    if let Some(array) = absent_column(column, rows) {
        return Ok(array);
    }
    Err(Failure::invalid(format!("fieldSchema({}) has no corresponding fieldData pass in", field.name)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use arrow::array::Array;
    use elanus_proto::schema::{
        FloatArray, IntArray, LongArray, ScalarField, VectorField, field_data, scalar_field::Data, vector_field,
    };
    use elanus_types::FieldId;

    pub(in crate::write) fn schema() -> CollectionSchema {
        let field = |(id, name, data_type, param): (i64, &str, DataType, Option<(&str, &str)>)| FieldSchema {
            id: FieldId(id),
            name: name.to_owned(),
            description: String::new(),
            data_type,
            is_primary_key: name == "pk",
            auto_id: false,
            is_dynamic: name == "$meta",
            nullable: matches!(name, "small" | "text"),
            element_type: None,
            default_value: None,
            type_params: param.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect(),
        };
        let fields = [
            (100, "pk", DataType::Int64, None),
            (101, "v", DataType::FloatVector, Some(("dim", "2"))),
            (102, "small", DataType::Int8, None),
            (103, "text", DataType::VarChar, Some(("max_length", "5"))),
            (104, "doc", DataType::Json, None),
            (105, "real", DataType::Double, None),
            (106, "$meta", DataType::Json, None),
        ];
        CollectionSchema {
            description: String::new(),
            fields: fields.map(field).into(),
            enable_dynamic_field: true,
            ..CollectionSchema::default()
        }
    }

    /// The same without `doc` and `real`, which cannot be left out.
    fn small() -> CollectionSchema {
        let mut schema = schema();
        schema.fields.retain(|field| !matches!(field.name.as_str(), "doc" | "real"));
        schema
    }

    pub(in crate::write) fn data(name: &str, values: Data) -> FieldData {
        let scalars = ScalarField { data: Some(values), valid_data: Vec::new() };
        FieldData {
            field_name: name.to_owned(),
            field: Some(field_data::Field::Scalars(scalars)),
            is_dynamic: name == "$meta",
            ..FieldData::default()
        }
    }

    pub(in crate::write) fn vectors(name: &str, dim: i64, elements: &[f32]) -> FieldData {
        let data = Some(vector_field::Data::FloatVector(FloatArray { data: elements.to_vec() }));
        let vectors = VectorField { dim, data, valid_data: Vec::new() };
        FieldData {
            field_name: name.to_owned(),
            field: Some(field_data::Field::Vectors(vectors)),
            ..FieldData::default()
        }
    }

    fn pks(keys: &[i64]) -> FieldData {
        data("pk", Data::LongData(LongArray { data: keys.to_vec() }))
    }

    #[test]
    fn columns_that_may_be_left_out_are_filled_in() {
        let rows =
            Rows::check(&small(), Keys::Given, Columns::All, vec![vectors("v", 2, &[0.0; 4]), pks(&[3, 4])], 2, 100)
                .unwrap();
        assert_eq!(rows.given_keys().unwrap(), PkColumn::Int(vec![3, 4]));
        let batch = rows.into_batch(None).unwrap();
        let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["pk", "v", "small", "text", "$meta"]);
        assert_eq!(batch.column(2).null_count(), 2);

        let rows =
            Rows::check(&small(), Keys::Generated, Columns::All, vec![vectors("v", 2, &[0.0; 4])], 2, 100).unwrap();
        let batch = rows.into_batch(Some(70)).unwrap();
        assert_eq!(PkColumn::from_batch(&batch, "pk").unwrap(), PkColumn::Int(vec![70, 71]));
    }

    #[test]
    fn columns_that_do_not_fit_the_schema_are_refused() {
        let mut fixed = small();
        fixed.fields.retain(|field| !field.is_dynamic);
        let dynamic = || data("$meta", Data::IntData(IntArray { data: vec![] }));
        let v = || vectors("v", 2, &[0.0; 4]);
        for (schema, keys, columns, rows, fragment) in [
            (small(), Keys::Given, vec![pks(&[1, 2]), v()], 0, "invalid num_rows: 0"),
            (small(), Keys::Given, vec![pks(&[1, 2])], 2, "fieldSchema(v) has no corresponding fieldData pass in"),
            (small(), Keys::Given, vec![v()], 2, "fieldSchema(pk) has no corresponding fieldData pass in"),
            (small(), Keys::Generated, vec![pks(&[1, 2]), v()], 2, "field pk: auto id is on"),
            (small(), Keys::Given, vec![pks(&[1, 2]), v(), v()], 2, "duplicated field name v"),
            (small(), Keys::Given, vec![pks(&[1, 2]), v(), vectors("w", 2, &[0.0; 4])], 2, "field w does not exist"),
            (fixed, Keys::Given, vec![pks(&[1, 2]), v(), dynamic()], 2, "the dynamic field is not enabled"),
        ] {
            let failure = Rows::check(&schema, keys, Columns::All, columns, rows, 100).unwrap_err();
            assert!(failure.message.contains(fragment), "{} / {fragment}", failure.message);
        }
    }
}
