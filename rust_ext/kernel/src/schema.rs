//! Arrow schemas of what the kernel writes, with the Iceberg tables' field ids.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::plan::{Column, Kind, Plan, QuarantineIds};

/// Column that names the batch a row came in.
pub const BATCH_ID: &str = "_dpipe_batch_id";
/// Column that numbers a record in its batch, from 1.
pub const RECORD_NO: &str = "_dpipe_record_no";
/// Column that holds the hash of the contract a row was checked by.
pub const CONTRACT: &str = "_dpipe_contract";

impl Column {
    /// The Arrow type that the column has.
    pub fn arrow(&self) -> DataType {
        match self.kind {
            Kind::Struct => DataType::Struct(self.fields.iter().map(Self::field).collect()),
            Kind::List => {
                let item = self.fields.first().expect("a plan's arrays have an item");
                DataType::List(Arc::new(item.field().with_name("element")))
            }
            kind => kind.arrow(),
        }
    }

    fn field(&self) -> Field {
        with_id(Field::new(&self.name, self.arrow(), !self.required), self.field_id)
    }
}

impl Kind {
    /// The Arrow type of values without parts.
    fn arrow(self) -> DataType {
        match self {
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale.cast_signed()),
            Self::Boolean => DataType::Boolean,
            Self::String => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Struct | Self::List => DataType::Null,
        }
    }
}

fn with_id(field: Field, id: i32) -> Field {
    field.with_metadata(HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]))
}

/// The plan's columns alone.
pub fn columns(plan: &Plan) -> SchemaRef {
    Arc::new(Schema::new(column_fields(plan)))
}

fn column_fields(plan: &Plan) -> Vec<Field> {
    plan.columns.iter().map(Column::field).collect()
}

/// The plan's columns and where each row came from.
pub fn accepted(plan: &Plan) -> SchemaRef {
    let kinds = [(BATCH_ID, DataType::Utf8), (RECORD_NO, DataType::Int64), (CONTRACT, DataType::Utf8)];
    let provenance = kinds.into_iter().zip(plan.provenance_ids());
    let mut fields = column_fields(plan);
    fields.extend(provenance.map(|((name, kind), id)| with_id(Field::new(name, kind, false), id)));
    Arc::new(Schema::new(fields))
}

/// Fields of one violation in the quarantine; the ids are the last three.
pub fn violation_fields(ids: &QuarantineIds) -> Fields {
    let [.., column, rule, message] = *ids;
    Fields::from(vec![
        with_id(Field::new("column", DataType::Utf8, true), column),
        with_id(Field::new("rule", DataType::Utf8, false), rule),
        with_id(Field::new("message", DataType::Utf8, false), message),
    ])
}

/// The list element of a quarantined record's violations.
pub fn violation_item(ids: &QuarantineIds) -> Field {
    let [.., item, _, _, _] = *ids;
    with_id(Field::new("element", DataType::Struct(violation_fields(ids)), false), item)
}

/// A rejected or duplicate record: its place, its bytes, and why it is here.
pub fn quarantine(ids: &QuarantineIds) -> SchemaRef {
    use DataType::{Binary, Int64, Utf8};
    let violations = DataType::List(Arc::new(violation_item(ids)));
    let fields = [
        (BATCH_ID, Utf8, false),
        (RECORD_NO, Int64, false),
        (CONTRACT, Utf8, false),
        ("disposition", Utf8, false),
        ("duplicate_kind", Utf8, true),
        ("member", Utf8, true),
        ("byte_offset", Int64, true),
        ("byte_length", Int64, true),
        ("line", Int64, true),
        ("raw_format", Utf8, false),
        ("raw_header", Binary, true),
        ("raw", Binary, false),
        ("violations", violations, false),
        ("winner_batch_id", Utf8, true),
        ("winner_record_no", Int64, true),
    ];
    let field = |((name, kind, nullable), &id)| with_id(Field::new(name, kind, nullable), id);
    Arc::new(Schema::new(fields.into_iter().zip(ids).map(field).collect::<Vec<_>>()))
}
