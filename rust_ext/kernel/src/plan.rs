//! The compiled contract: which columns there are, what must hold of them, how the output is laid out.
//!
//! The engine compiles a contract into this plan once and sends it as JSON; nothing here knows the contract's own
//! syntax.

use serde::{Deserialize, Serialize};

use crate::{
    decimal,
    error::{Error, Result},
};

/// How many levels a column may have.
pub const MAX_NESTING: usize = 32;

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
    /// Names of the primary key's columns; empty when records have no key.
    #[serde(default)]
    pub key: Vec<String>,
    /// Names of the columns whose values no two rows share, each by itself.
    #[serde(default)]
    pub unique: Vec<String>,
    /// What must hold between two columns of a record.
    #[serde(default)]
    pub compare: Vec<Comparison>,
    /// How accepted rows are spread over files.
    #[serde(default)]
    pub partition: Vec<PartitionField>,
    /// What to do with fields that the plan doesn't know.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
    /// Which of two records with one key is kept.
    #[serde(default)]
    pub write_mode: WriteMode,
    /// The column whose larger value wins an upsert; without one the later record does.
    #[serde(default)]
    pub version: Option<String>,
    /// How CSV text reads.
    #[serde(default)]
    pub csv: CsvOptions,
    /// The Iceberg table's ids of the three provenance columns; by default those after the largest column's.
    #[serde(default)]
    pub provenance_ids: Option<[i32; 3]>,
    /// The ids of the quarantine table's fields; by default from 1.
    #[serde(default)]
    pub quarantine_ids: Option<QuarantineIds>,
    /// A longer record is quarantined with its first bytes only.
    #[serde(default = "default_max_record_bytes")]
    pub max_record_bytes: usize,
}

/// Ids of the quarantine table's fields in their order, then those of an item of `violations` and of what is in it.
pub type QuarantineIds = [i32; 19];

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
    /// Accepted spellings of dates and times, in `strftime` letters; empty means ISO 8601.
    #[serde(default)]
    pub formats: Vec<String>,
    /// The fields of an object; the one item of an array.
    #[serde(default)]
    pub fields: Vec<Self>,
    /// Minutes east of UTC of timestamps that don't say their zone; without it they must say it.
    #[serde(default)]
    pub default_offset: Option<DefaultOffset>,
}

impl Column {
    /// Whether what is in the column fits its type, and isn't too deep.
    fn validate(&self, depth: usize) -> Result<()> {
        let name = &self.name;
        let fits = match self.kind {
            Kind::Struct => !self.fields.is_empty(),
            Kind::List => self.fields.len() == 1,
            _ => self.fields.is_empty(),
        };
        if !fits {
            return Err(Error::Plan(format!(
                "`{name}` of type {:?} has {} fields",
                self.kind,
                self.fields.len()
            )));
        }
        if depth > MAX_NESTING {
            return Err(Error::Plan(format!("`{name}` is nested deeper than {MAX_NESTING} levels")));
        }
        for (index, field) in self.fields.iter().enumerate() {
            if self.fields[..index].iter().any(|other| other.name == field.name) {
                return Err(Error::Plan(format!("`{name}` has the field `{}` twice", field.name)));
            }
            field.validate(depth + 1)?;
        }
        Ok(())
    }

    fn last_id(&self) -> i32 {
        self.fields.iter().map(Self::last_id).fold(self.field_id, i32::max)
    }

    fn add_paths(&self, path: &str, paths: &mut Vec<String>) {
        for field in &self.fields {
            let path =
                if self.kind == Kind::List { format!("{path}[]") } else { format!("{path}.{}", field.name) };
            paths.push(path.clone());
            field.add_paths(&path, paths);
        }
    }
}

impl Kind {
    /// Whether values have parts.
    pub fn is_nested(self) -> bool {
        matches!(self, Self::Struct | Self::List)
    }

    /// Whether its values can say which of two records is newer.
    pub fn is_version(self) -> bool {
        matches!(self, Self::Int32 | Self::Int64) || self.is_dated()
    }

    /// Whether its values are days or times.
    pub fn is_dated(self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Timestamp | Self::TimestampNtz)
    }
}

/// The zone of timestamps that don't name theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultOffset {
    /// Minutes east of UTC.
    pub minutes: i16,
    /// Whether a value may name a zone of its own.
    pub overridable: bool,
}

/// A column's type; in JSON its name, for decimals with precision and scale: `decimal(10,2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Kind {
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// 64-bit floating point.
    Float64,
    /// Exact decimal number.
    Decimal {
        /// Digits in all, from 1 to 38.
        precision: u8,
        /// Digits after the point, at most as many.
        scale: u8,
    },
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
    /// Time of day, in microseconds since midnight.
    Time,
    /// An object with the fields that the column has.
    Struct,
    /// An array of items of one type.
    List,
}

/// The kinds that their name says all about.
const PLAIN_KINDS: [(&str, Kind); 11] = [
    ("int32", Kind::Int32),
    ("int64", Kind::Int64),
    ("float64", Kind::Float64),
    ("boolean", Kind::Boolean),
    ("string", Kind::String),
    ("date", Kind::Date),
    ("timestamp", Kind::Timestamp),
    ("timestamp_ntz", Kind::TimestampNtz),
    ("time", Kind::Time),
    ("struct", Kind::Struct),
    ("list", Kind::List),
];

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        if let Some((_, kind)) = PLAIN_KINDS.iter().find(|(known, _)| *known == name) {
            return Ok(*kind);
        }
        let digits = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
        let digits = digits.and_then(|digits| digits.split_once(','));
        let (precision, scale) = digits.ok_or_else(|| format!("no type `{name}`"))?;
        match (precision.parse(), scale.parse()) {
            (Ok(precision @ 1..=decimal::MAX_PRECISION), Ok(scale)) if scale <= precision => {
                Ok(Self::Decimal { precision, scale })
            }
            _ => Err(format!("`{name}` is not a decimal of 1 to {} digits", decimal::MAX_PRECISION)),
        }
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        if let Kind::Decimal { precision, scale } = kind {
            return format!("decimal({precision},{scale})");
        }
        let name = PLAIN_KINDS.iter().find(|(_, known)| *known == kind).map(|(name, _)| *name);
        name.expect("every kind but decimals is listed").to_owned()
    }
}

/// A limit as the plan spells it: a number, or text where a 64-bit float may not hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Limit {
    /// A number.
    Number(f64),
    /// An exact number, a date or a time as text.
    Text(String),
}

impl std::fmt::Display for Limit {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Number(value) => value.fmt(out),
            Self::Text(text) => out.write_str(text),
        }
    }
}

/// A rule on one column's values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "camelCase", deny_unknown_fields)]
pub enum Rule {
    /// Value ≥ the limit.
    Minimum {
        /// The limit.
        value: Limit,
    },
    /// Value ≤ the limit.
    Maximum {
        /// The limit.
        value: Limit,
    },
    /// Value > the limit.
    ExclusiveMinimum {
        /// The limit.
        value: Limit,
    },
    /// Value < the limit.
    ExclusiveMaximum {
        /// The limit.
        value: Limit,
    },
    /// Value is a multiple of this number.
    MultipleOf {
        /// The number, above 0.
        value: Limit,
    },
    /// The text has this format.
    Format {
        /// The format's name, as the contract has it.
        value: StringFormat,
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
    /// At least so many items.
    MinItems {
        /// The count.
        value: usize,
    },
    /// At most so many items.
    MaxItems {
        /// The count.
        value: usize,
    },
    /// No two items are alike.
    UniqueItems {},
    /// The value is one of these.
    Enum {
        /// The values as text.
        values: Vec<String>,
    },
}

/// What a text spells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StringFormat {
    /// Base64 (RFC 4648, section 4).
    Byte,
    /// A day, `yyyy-mm-dd`.
    Date,
    /// A date and time with its offset (RFC 3339).
    DateTime,
    /// A mail address.
    Email,
    /// A host's name (RFC 1123).
    Hostname,
    /// Four numbers and three dots.
    Ipv4,
    /// An IPv6 address (RFC 4291).
    Ipv6,
    /// A time of day.
    Time,
    /// An absolute URI (RFC 3986).
    Uri,
    /// A UUID with hyphens (RFC 9562).
    Uuid,
}

/// A rule over two columns of a record; it holds when either value is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The name of the column before the operator.
    pub left: String,
    /// What the left value must be to the right one.
    pub operator: Operator,
    /// The name of the column after it.
    pub right: String,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The values are equal.
    #[serde(rename = "=")]
    Equal,
    /// They are not.
    #[serde(rename = "!=")]
    NotEqual,
    /// The left one is smaller.
    #[serde(rename = "<")]
    Less,
    /// The left one is smaller, or they are equal.
    #[serde(rename = "<=")]
    AtMost,
    /// The left one is larger.
    #[serde(rename = ">")]
    Greater,
    /// The left one is larger, or they are equal.
    #[serde(rename = ">=")]
    AtLeast,
}

impl Operator {
    /// The operator as contracts spell it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }
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

/// Which of two records with one key, whose other values differ, is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// The first.
    #[default]
    Append,
    /// The last. A row that the table holds is superseded.
    Upsert,
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
    /// The byte that takes the meaning of the one after it, in quoted fields; a quote can be doubled as well.
    pub escape: Option<char>,
    /// The byte that begins a line that is no record.
    pub comment: Option<char>,
    /// Whether the first record names the columns; if not, they come in the plan's order.
    pub header: bool,
    /// Spellings of null. A quoted field is never the empty token.
    pub null_tokens: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        let (escape, comment) = (None, None);
        Self { delimiter: ',', quote: '"', escape, comment, header: true, null_tokens: vec![String::new()] }
    }
}

impl CsvOptions {
    /// Refuse characters of more than a byte, line ends, and one that has two meanings.
    fn validate(&self) -> Result<()> {
        let given = [
            ("delimiter", Some(self.delimiter)),
            ("quote", Some(self.quote)),
            ("escape", self.escape),
            ("comment", self.comment),
        ];
        let given = given.into_iter().filter_map(|(what, byte)| Some((what, byte?))).collect::<Vec<_>>();
        for (index, (what, byte)) in given.iter().enumerate() {
            if !byte.is_ascii() || matches!(byte, '\r' | '\n') {
                return Err(Error::Plan(format!(
                    "the CSV {what} {byte:?} is not an ASCII character of a line"
                )));
            }
            if let Some((other, _)) = given[..index].iter().find(|(_, other)| other == byte) {
                return Err(Error::Plan(format!("the CSV {what} {byte:?} is the {other}, too")));
            }
        }
        Ok(())
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
        for column in &self.columns {
            column.validate(1)?;
        }
        let partitions = self.partition.iter().map(|field| &field.column);
        for name in self.key.iter().chain(&self.unique).chain(partitions) {
            if self.columns[self.column(name)?].kind.is_nested() {
                return Err(Error::Plan(format!(
                    "`{name}` is nested, and no key, unique column or partition is"
                )));
            }
        }
        if let Some(name) = &self.version
            && !self.columns[self.column(name)?].kind.is_version()
        {
            return Err(Error::Plan(format!("`{name}` is no integer, date or time, and a version is one")));
        }
        self.csv.validate()
    }

    /// Field ids of batch id, record number and contract.
    pub fn provenance_ids(&self) -> [i32; 3] {
        let last = self.columns.iter().map(Column::last_id).max().unwrap_or(0);
        self.provenance_ids.unwrap_or([last + 1, last + 2, last + 3])
    }

    /// Field ids of the quarantine table.
    pub fn quarantine_ids(&self) -> QuarantineIds {
        self.quarantine_ids.unwrap_or_else(|| {
            let mut ids = 0;
            std::array::from_fn(|_| {
                ids += 1;
                ids
            })
        })
    }

    /// The paths of the columns, and then of what is in them: `order`, `items`, `order.id`, `items[]`, `items[].price`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
        for column in &self.columns {
            column.add_paths(&column.name, &mut paths);
        }
        paths
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
