//! The compiled contract: which columns there are, what must hold of them, how the output is laid out.
//!
//! The engine compiles a contract into this plan once and sends it as JSON; nothing here knows the contract's own
//! syntax.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A dataset's plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The dataset's name.
    pub dataset: String,
    /// SHA-256 of the contract, in hex; written into every row.
    pub contract: String,
    /// The columns in order.
    pub columns: Vec<Column>,
    /// Names of the primary key's columns; empty when records have no key. Of two records with one key the first is kept.
    #[serde(default)]
    pub key: Vec<String>,
    /// How accepted rows are spread over files.
    #[serde(default)]
    pub partition: Vec<PartitionField>,
    /// What to do with fields that the plan doesn't know.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
    /// How CSV text reads.
    #[serde(default)]
    pub csv: CsvOptions,
    /// The Iceberg table's ids of the three provenance columns; by default those after the largest column's.
    #[serde(default)]
    pub provenance_ids: Option<[i32; 3]>,
    /// A longer record is quarantined with its first bytes only.
    #[serde(default = "default_max_record_bytes")]
    pub max_record_bytes: usize,
}

fn default_max_record_bytes() -> usize {
    16 << 20
}

/// A column and its rules.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The field's name in records and tables.
    pub name: String,
    /// The Iceberg table's id of the field.
    pub field_id: i32,
    /// The type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whether a value must be there.
    #[serde(default)]
    pub required: bool,
    /// What must hold of a value that is there.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Accepted spellings of dates and timestamps, in `strftime` letters; empty means ISO 8601.
    #[serde(default)]
    pub formats: Vec<String>,
}

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// 64-bit floating point.
    Float64,
    /// True or false.
    Boolean,
    /// UTF-8 text.
    String,
    /// Day without a time.
    Date,
    /// Instant, in microseconds of UTC.
    Timestamp,
    /// Wall-clock time without a zone, in microseconds.
    TimestampNtz,
}

/// A rule on one column's values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "camelCase", deny_unknown_fields)]
pub enum Rule {
    /// Value ≥ the limit.
    Minimum {
        /// The limit.
        value: f64,
    },
    /// Value ≤ the limit.
    Maximum {
        /// The limit.
        value: f64,
    },
    /// Value > the limit.
    ExclusiveMinimum {
        /// The limit.
        value: f64,
    },
    /// Value < the limit.
    ExclusiveMaximum {
        /// The limit.
        value: f64,
    },
    /// At least so many characters (Unicode code points).
    MinLength {
        /// The count.
        value: usize,
    },
    /// At most so many characters (Unicode code points).
    MaxLength {
        /// The count.
        value: usize,
    },
    /// The regular expression matches somewhere in the value; anchor it to match the whole.
    Pattern {
        /// The expression, in the syntax of Rust's `regex`.
        value: String,
    },
    /// The value is one of these.
    Enum {
        /// The values as text.
        values: Vec<String>,
    },
}

/// What to do with a field that the plan doesn't know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownFields {
    /// Count it by name and leave it out.
    #[default]
    Ignore,
    /// Reject the record.
    Reject,
}

/// One field of the partition key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionField {
    /// The source column's name.
    pub column: String,
    /// How the value is made from the column's.
    pub transform: Transform,
    /// The Iceberg table's name of the partition field.
    pub name: String,
}

/// An Iceberg partition transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// The value itself.
    Identity,
    /// Years since 1970.
    Year,
    /// Months since 1970-01.
    Month,
    /// Days since 1970-01-01.
    Day,
    /// Hours since 1970-01-01T00.
    Hour,
}

/// How CSV text reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvOptions {
    /// The byte between fields.
    pub delimiter: char,
    /// The byte around fields that hold delimiters or line ends.
    pub quote: char,
    /// Whether the first record names the columns; if not, they come in the plan's order.
    pub header: bool,
    /// Spellings of null. A quoted field is never the empty token.
    pub null_tokens: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: ',', quote: '"', header: true, null_tokens: vec![String::new()] }
    }
}

impl Plan {
    /// Read a plan from JSON and check that it agrees with itself.
    ///
    /// # Errors
    /// `Error::Plan` when the JSON isn't a plan, a name is repeated or a key or partition names no column.
    pub fn from_json(text: &str) -> Result<Self> {
        let plan: Self = serde_json::from_str(text).map_err(|error| Error::Plan(error.to_string()))?;
        plan.validate()?;
        Ok(plan)
    }

    fn validate(&self) -> Result<()> {
        for (index, column) in self.columns.iter().enumerate() {
            if self.columns[..index].iter().any(|other| other.name == column.name) {
                return Err(Error::Plan(format!("column `{}` is there twice", column.name)));
            }
        }
        let partitions = self.partition.iter().map(|field| &field.column);
        for name in self.key.iter().chain(partitions) {
            self.column(name)?;
        }
        for (what, byte) in [("delimiter", self.csv.delimiter), ("quote", self.csv.quote)] {
            if !byte.is_ascii() {
                return Err(Error::Plan(format!("the CSV {what} `{byte}` is not an ASCII character")));
            }
        }
        Ok(())
    }

    /// Field ids of batch id, record number and contract.
    pub fn provenance_ids(&self) -> [i32; 3] {
        let last = self.columns.iter().map(|column| column.field_id).max().unwrap_or(0);
        self.provenance_ids.unwrap_or([last + 1, last + 2, last + 3])
    }

    /// The index of the column called `name`.
    ///
    /// # Errors
    /// `Error::Plan` when there is none.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| Error::Plan(format!("there is no column `{name}`")))
    }
}
