//! Arrow schemas of what the kernel writes, with the Iceberg tables' field ids.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::plan::{Column, Kind, Plan};

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

/// Fields of one violation in the quarantine.
pub fn violation_fields() -> Fields {
    Fields::from(vec![
        with_id(Field::new("column", DataType::Utf8, true), 17),
        with_id(Field::new("rule", DataType::Utf8, false), 18),
        with_id(Field::new("message", DataType::Utf8, false), 19),
    ])
}

/// The list element of a quarantined record's violations.
pub fn violation_item() -> Field {
    with_id(Field::new("element", DataType::Struct(violation_fields()), false), 16)
}

/// A rejected or duplicate record: its place, its bytes, and why it is here.
pub fn quarantine() -> SchemaRef {
    use DataType::{Binary, Int64, Utf8};
    let violations = DataType::List(Arc::new(violation_item()));
    let fields = [
        (1, BATCH_ID, Utf8, false),
        (2, RECORD_NO, Int64, false),
        (3, CONTRACT, Utf8, false),
        (4, "disposition", Utf8, false),
        (5, "duplicate_kind", Utf8, true),
        (6, "member", Utf8, true),
        (7, "byte_offset", Int64, true),
        (8, "byte_length", Int64, true),
        (9, "line", Int64, true),
        (10, "raw_format", Utf8, false),
        (11, "raw_header", Binary, true),
        (12, "raw", Binary, false),
        (13, "violations", violations, false),
        (14, "winner_batch_id", Utf8, true),
        (15, "winner_record_no", Int64, true),
    ];
    let field = |(id, name, kind, nullable)| with_id(Field::new(name, kind, nullable), id);
    Arc::new(Schema::new(fields.map(field).to_vec()))
}
