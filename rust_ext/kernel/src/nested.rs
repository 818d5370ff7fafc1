//! Objects and arrays, from JSON text or Parquet columns straight into the builders of their columns.
//!
//! A nested column is read and checked in one pass: no tree is built, and what was written of a record that turns out to be
//! broken is cut off again. The plan's depth bounds the recursion; what the plan doesn't know is passed without any.

use std::collections::{HashMap, HashSet};

use crate::{
    abreast::{Abreast, Alone},
    cell::{Cell, Violation},
    check::{Checked, ColumnCheck},
    error::{Error, Result},
    json::Cursor,
    plan::{Column, Kind, Rule},
    quick::QuickKind,
    read::columns::Values,
    rows::{Builder, list_end},
    swar::{self, Literal},
};

/// So many violations inside one nested column are said of a record; a broken array of a million items is not to become a million
/// sentences.
const MOST_VIOLATIONS: usize = 100;

/// A nested column or a part of one.
pub struct Node {
    /// The number of its path in the plan ([`crate::plan::Plan::paths`]).
    id: usize,
    path: String,
    check: ColumnCheck,
    shape: Shape,
    /// How a value that is simply as expected is told.
    quick: QuickKind,
}

enum Shape {
    Leaf,
    /// Of each field also the name as it is spelled.
    Struct {
        fields: Vec<Node>,
        spelled: Vec<Literal>,
        by_name: HashMap<Box<str>, usize, foldhash::fast::FixedState>,
    },
    List {
        item: Box<Node>,
        least: usize,
        most: usize,
        unique: bool,
    },
}

/// What reading needs besides the text, kept from record to record.
#[derive(Default)]
pub struct Scratch {
    /// For each path, the number of the object in which it was last seen.
    seen: Vec<u64>,
    objects: u64,
    /// Paths of fields that the plan doesn't know.
    pub unknown: Vec<String>,
}

/// A stretch of text that is no JSON, with the reason.
type Read = std::result::Result<(), Violation>;

/// Where nested values come from, and where what is wrong with them goes.
pub struct Reader<'s> {
    /// Everything that is wrong.
    pub violations: &'s mut Vec<Violation>,
    /// What is kept from record to record.
    pub scratch: &'s mut Scratch,
}

impl Node {
    /// The node of a column whose path has the number `id`; the numbers of what is in it are counted on by `next`.
    ///
    /// # Errors
    /// `Error::Plan` when a rule doesn't fit its type.
    pub(crate) fn new(column: &Column, id: usize, path: String, next: &mut usize) -> Result<Self> {
        let mut child = |column: &Column, path: String| {
            let id = *next;
            *next += 1;
            Self::new(column, id, path, next)
        };
        let shape = match column.kind {
            Kind::Struct => {
                let fields = column.fields.iter().map(|field| child(field, format!("{path}.{}", field.name)));
                let fields = fields.collect::<Result<Vec<_>>>()?;
                let names = column.fields.iter().map(|field| field.name.as_str().into());
                let spelled =
                    column.fields.iter().map(|field| Literal::new(format!("\"{}\"", field.name).as_bytes()));
                Shape::Struct { fields, spelled: spelled.collect(), by_name: names.zip(0..).collect() }
            }
            Kind::List => {
                let item = column.fields.first();
                let item = item.ok_or_else(|| Error::Plan(format!("`{path}` is a list of nothing")))?;
                let item = Box::new(child(item, format!("{path}[]"))?);
                let (mut least, mut most, mut unique) = (0, usize::MAX, false);
                for rule in &column.rules {
                    match rule {
                        Rule::MinItems { value } => least = *value,
                        Rule::MaxItems { value } => most = *value,
                        Rule::UniqueItems {} => unique = true,
                        _ => {}
                    }
                }
                Shape::List { item, least, most, unique }
            }
            _ => Shape::Leaf,
        };
        let check = ColumnCheck::new(column)?;
        let quick = QuickKind::of(column, check.integer_bounds());
        Ok(Self { id, path, check, shape, quick })
    }

    /// Read a cell of a whole record into its column.
    pub fn read_cell(&self, cell: &Cell, builder: &mut Builder, reader: &mut Reader) -> Checked {
        let before = reader.violations.len();
        match cell {
            Cell::Missing | Cell::Null => return self.check.check(self.id, cell, reader.violations),
            Cell::Nested(text) => self.read_text(text, cell, builder, reader),
            Cell::Group { values, at } => self.read_values(values, *at, builder, reader),
            _ => match cell.untyped() {
                Some(text) if text.starts_with(['{', '[']) => self.read_text(text, cell, builder, reader),
                _ => self.wrong_type(cell, reader),
            },
        }
        if reader.violations.len() == before { Checked::Written } else { Checked::Broken }
    }

    fn read_text(&self, text: &str, cell: &Cell, builder: &mut Builder, reader: &mut Reader) {
        let mut cursor = Cursor::new(text, 0);
        let read = self.read(&mut cursor, builder, reader).and_then(|()| cursor.end());
        if let Err(fault) = read {
            // In a JSON record the text was found to be JSON before, so only a field of another format can be malformed.
            let rule = if matches!(cell, Cell::Nested(_)) { fault.rule } else { "type" };
            reader.violations.push(Violation { column: fault.column.or(Some(self.id)), rule, ..fault });
        }
    }

    /// Read the JSON value that begins at the cursor. A value that breaks a rule is passed like any other.
    ///
    /// # Errors
    /// A violation when the text is malformed.
    #[inline]
    pub(crate) fn read(&self, cursor: &mut Cursor, builder: &mut Builder, reader: &mut Reader) -> Read {
        match (&self.shape, builder, cursor.peek()) {
            (Shape::Struct { .. }, Builder::Struct { fields, len, .. }, Some(b'{')) => {
                *len += 1;
                self.read_object(cursor, fields, reader)
            }
            (Shape::List { .. }, Builder::List { item, ends, .. }, Some(b'[')) => {
                let (start, before) = (item.len(), reader.violations.len());
                let count = self.read_array(cursor, item, reader)?;
                ends.push(list_end(item));
                self.count_rules(count, start, before, item, reader);
                Ok(())
            }
            (_, builder, _) => {
                if self.read_quickly(cursor, builder).is_none() {
                    let cell = cursor.value()?;
                    self.leaf(&cell, builder, reader);
                }
                Ok(())
            }
        }
    }

    /// Read an integer or a text that is simply as expected; `None` when it isn't, and then nothing was read.
    #[inline]
    fn read_quickly(&self, cursor: &mut Cursor, builder: &mut Builder) -> Option<()> {
        let (bytes, at) = (cursor.bytes, cursor.at);
        match (&self.quick, builder) {
            (QuickKind::Integer { low, high }, builder) => {
                let (value, stop) = swar::json_integer(bytes, at, swar::word(bytes, at)?)?;
                let goes_on = matches!(bytes.get(stop), Some(b'.' | b'e' | b'E'));
                if goes_on || value < *low || value > *high {
                    return None;
                }
                builder.push_integers([value]);
                cursor.at = stop;
            }
            (QuickKind::Text { least, most, ruled: false }, Builder::String(column)) => {
                let stop = Alone.string_end(bytes, at)?;
                if !(*least..=*most).contains(&(stop - at - 1)) {
                    return None;
                }
                column.push(bytes, at + 1, stop);
                cursor.at = stop + 1;
            }
            _ => return None,
        }
        Some(())
    }

    #[inline]
    fn leaf(&self, cell: &Cell, builder: &mut Builder, reader: &mut Reader) {
        let is_value = !matches!(cell, Cell::Missing | Cell::Null);
        let checked = match self.shape {
            Shape::Leaf => self.check.check(self.id, cell, reader.violations),
            _ if is_value => {
                self.wrong_type(cell, reader);
                Checked::Broken
            }
            _ => self.check.check(self.id, cell, reader.violations),
        };
        match checked {
            // The record is lost; the null keeps the columns alike until what was written of it is cut off.
            Checked::Broken => builder.push_null(),
            checked => builder.push(cell, checked),
        }
    }

    #[cold]
    fn wrong_type(&self, cell: &Cell, reader: &mut Reader) {
        let wanted = if matches!(self.shape, Shape::List { .. }) { "an array" } else { "an object" };
        let message = format!("{} is not {wanted}", cell.shown());
        reader.violations.push(Violation::of_column(self.id, "type", message));
    }

    fn read_object(&self, cursor: &mut Cursor, builders: &mut [Builder], reader: &mut Reader) -> Read {
        let Shape::Struct { fields, spelled, by_name } = &self.shape else { return Ok(()) };
        reader.scratch.objects += 1;
        let object = reader.scratch.objects;
        let mut expected = 0;
        cursor.at += 1;
        cursor.skip_white();
        let mut is_open = cursor.accept(b'}').is_none();
        while is_open {
            let found = match spelled.get(expected) {
                Some(name) if cursor.accept_literal(name) => Some(expected),
                _ => {
                    let name = cursor.name()?;
                    let name = name.text().unwrap_or_default();
                    let found = by_name.get(name).copied();
                    if found.is_none() {
                        reader.unknown(&self.path, name);
                    }
                    found
                }
            };
            cursor.colon()?;
            cursor.skip_white();
            match found {
                Some(index) if reader.scratch.is_first(fields[index].id, object) => {
                    fields[index].read(cursor, &mut builders[index], reader)?;
                    expected = index + 1;
                }
                Some(index) => {
                    let message = "the field is there twice";
                    return Err(Violation::of_column(fields[index].id, "duplicate_field", message));
                }
                None => _ = cursor.value()?,
            }
            is_open = cursor.goes_on(b'}')?;
        }
        for (field, builder) in fields.iter().zip(builders) {
            if reader.scratch.is_first(field.id, object) {
                field.leaf(&Cell::Missing, builder, reader);
            }
        }
        Ok(())
    }

    /// Read the items of an array; how many there are.
    fn read_array(
        &self,
        cursor: &mut Cursor,
        builder: &mut Builder,
        reader: &mut Reader,
    ) -> std::result::Result<usize, Violation> {
        let Shape::List { item, .. } = &self.shape else { return Ok(0) };
        let mut count = 0;
        cursor.at += 1;
        cursor.skip_white();
        let mut is_open = cursor.accept(b']').is_none();
        while is_open {
            let before = reader.violations.len();
            let read = item.read(cursor, builder, reader);
            reader.name_item(before, count);
            read?;
            count += 1;
            is_open = cursor.goes_on(b']')?;
        }
        Ok(count)
    }

    /// The rules on an array as a whole, whose items are those of `builder` from `start` on. Items that are broken, of which
    /// the violations from `before` on are, have no value to be compared.
    #[inline]
    fn count_rules(&self, count: usize, start: usize, before: usize, builder: &Builder, reader: &mut Reader) {
        let Shape::List { least, most, unique, .. } = &self.shape else { return };
        let is_whole = reader.violations.len() == before;
        let mut broken = |rule, message| {
            reader.violations.push(Violation::of_column(self.id, rule, message));
        };
        if count < *least {
            broken("minItems", format!("{count} items are fewer than {least}"));
        }
        if count > *most {
            broken("maxItems", format!("{count} items are more than {most}"));
        }
        if *unique && is_whole && count > 1 {
            let mut seen = HashSet::with_capacity(count);
            let mut key = Vec::new();
            for index in 0..count {
                key.clear();
                builder.write_key(start + index, &mut key);
                if !seen.insert(key.clone()) {
                    broken("uniqueItems", format!("[{index}] is there before"));
                    break;
                }
            }
        }
    }

    /// Read a value of a binary format.
    pub fn read_values(&self, values: &Values, at: usize, builder: &mut Builder, reader: &mut Reader) {
        match (&self.shape, builder, values) {
            (
                Shape::Struct { fields, .. },
                Builder::Struct { fields: builders, len, .. },
                Values::Struct { fields: found, nulls },
            ) if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(at)) => {
                *len += 1;
                for (field, builder) in fields.iter().zip(builders) {
                    match found.iter().find(|(name, _)| **name == *field.name()) {
                        Some((_, values)) => field.read_values(values, at, builder, reader),
                        None => field.leaf(&Cell::Missing, builder, reader),
                    }
                }
                for (name, _) in found {
                    if !fields.iter().any(|field| *field.name() == **name) {
                        reader.unknown(&self.path, name);
                    }
                }
            }
            (
                Shape::List { item, .. },
                Builder::List { item: builder, ends, .. },
                Values::List { items, offsets, nulls },
            ) if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(at)) => {
                let (start, before_all) = (builder.len(), reader.violations.len());
                let (first, stop) = (offsets[at], offsets[at + 1]);
                for index in first..stop {
                    let before = reader.violations.len();
                    item.read_values(items, index, builder, reader);
                    reader.name_item(before, index - first);
                }
                ends.push(list_end(builder));
                self.count_rules(stop - first, start, before_all, builder, reader);
            }
            (_, builder, values) => self.leaf(&values.cell(at), builder, reader),
        }
    }

    fn name(&self) -> &str {
        self.check.name()
    }
}

impl Scratch {
    /// Whether the path wasn't seen in the object so far; it is from now on.
    #[inline]
    fn is_first(&mut self, id: usize, object: u64) -> bool {
        if id >= self.seen.len() {
            self.seen.resize(id + 1, 0);
        }
        let first = self.seen[id] != object;
        self.seen[id] = object;
        first
    }
}

impl Reader<'_> {
    #[cold]
    fn unknown(&mut self, path: &str, name: &str) {
        self.scratch.unknown.push(format!("{path}.{name}"));
    }

    /// Say of the violations since `before` in which item they are; past some, they are dropped.
    #[inline]
    fn name_item(&mut self, before: usize, index: usize) {
        if self.violations.len() > before {
            for violation in &mut self.violations[before..] {
                violation.message = format!("[{index}] {}", violation.message);
            }
            self.violations.truncate(before.max(MOST_VIOLATIONS));
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;
    use arrow_json::LineDelimitedWriter;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::{
        chunk::{Chunk, Framing},
        parse::{Compiled, Dialect, Parsed, parse},
        plan::Plan,
    };

    /// A column `a`: an object of a number, a required text, and an array of objects.
    fn compiled(unknown: &str) -> Compiled {
        let item = json!({"name": "element", "field_id": 5, "type": "struct", "fields": [
            {"name": "z", "field_id": 6, "type": "string"},
            {"name": "d", "field_id": 7, "type": "decimal(5,2)"},
        ]});
        let list = json!({"name": "list", "field_id": 4, "type": "list", "fields": [item],
            "rules": [{"rule": "maxItems", "value": 3}, {"rule": "uniqueItems"}]});
        let column = json!({"name": "a", "field_id": 1, "type": "struct", "fields": [
            {"name": "x", "field_id": 2, "type": "int64", "rules": [{"rule": "minimum", "value": 0}]},
            {"name": "y", "field_id": 3, "type": "string", "required": true},
            list,
        ]});
        let plan = json!({"dataset": "d", "contract": "c", "unknown_fields": unknown, "columns": [column]});
        Compiled::new(Plan::from_json(&plan.to_string()).unwrap()).unwrap()
    }

    fn read(compiled: &Compiled, text: &str) -> Parsed {
        let data = text.as_bytes().to_vec().into();
        let chunk = Chunk::Text { data, offset: 0, line: 1, framing: Framing::Lines };
        parse(compiled, &Dialect::Json, &[], &chunk).unwrap()
    }

    /// The paths and rules that a record breaks.
    fn broken(record: &str) -> Vec<(String, &'static str, String)> {
        let compiled = compiled("ignore");
        let paths = compiled.plan.paths();
        let parsed = read(&compiled, record);
        let violations = parsed.rejects.into_iter().flat_map(|reject| reject.violations);
        let path = |index: Option<usize>| index.map(|index| paths[index].clone()).unwrap_or_default();
        violations.map(|found| (path(found.column), found.rule, found.message)).collect()
    }

    fn rows(batch: &RecordBatch) -> Vec<Value> {
        let mut text = Vec::new();
        let mut writer = LineDelimitedWriter::new(&mut text);
        writer.write(batch).unwrap();
        writer.finish().unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn what_is_broken_is_named_by_its_path_and_its_place() {
        let record = r#"{"a": {"x": -1, "list": [{"z": "k"}, {"z": 2, "d": 1.005}, null, {"z": "m"}]}}"#;
        let found = broken(record);
        let named: Vec<_> = found.iter().map(|(path, rule, _)| (path.as_str(), *rule)).collect();
        assert_eq!(
            named,
            [
                ("a.x", "minimum"),
                ("a.list[].z", "type"),
                ("a.list[].d", "type"),
                ("a.list", "maxItems"),
                ("a.y", "required"),
            ]
        );
        assert_eq!(found[1].2, "[1] `2` is not a string");
        assert_eq!(found[4].2, "the field is missing");
    }

    #[test]
    fn other_values_in_the_place_of_an_object_or_an_array_are_broken() {
        for (record, path, rule) in [
            (r#"{"a": 1}"#, "a", "type"),
            (r#"{"a": []}"#, "a", "type"),
            (r#"{"a": {"y": "k", "list": {}}}"#, "a.list", "type"),
            (r#"{"a": {"y": "k", "list": [[]]}}"#, "a.list[]", "type"),
            (r#"{"a": {"y": {}}}"#, "a.y", "type"),
            (r#"{"a": {"y": "k", "list": [{"z": "1"}, {"z": "1", "d": null}]}}"#, "a.list", "uniqueItems"),
            (r#"{"a": {"y": "k", "y": "k"}}"#, "a.y", "duplicate_field"),
            (r#"{"a": {"y": "k",}}"#, "", "malformed"),
        ] {
            let found = broken(record);
            assert_eq!(found.len(), 1, "{record} {found:?}");
            assert_eq!((found[0].0.as_str(), found[0].1), (path, rule), "{record}");
        }
    }

    #[test]
    fn fields_that_the_plan_does_not_know_are_counted_or_refused_by_their_paths() {
        let text =
            "{\"a\": {\"y\": \"k\", \"q\": {\"y\": [1]}}}\n{\"a\": {\"y\": \"k\", \"list\": [{\"q\": 1}]}}\n";
        let parsed = read(&compiled("ignore"), text);
        assert_eq!(parsed.rows.num_rows(), 2);
        let counts: Vec<_> = parsed.unknown.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(counts, [("a.list[].q", 1), ("a.q", 1)]);
        let parsed = read(&compiled("reject"), text);
        assert_eq!(parsed.rejects.len(), 2);
        assert_eq!(parsed.rejects[0].violations[0].rule, "unknown_field");
    }

    #[test]
    fn a_broken_array_does_not_become_a_million_sentences() {
        let record = format!("{{\"a\": {{\"y\": \"k\", \"list\": [{}1]}}}}", "1,".repeat(100_000));
        assert!(broken(&record).len() <= super::MOST_VIOLATIONS + 2);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels| {
            let leaf = json!({"name": "l", "field_id": 1, "type": "int32"});
            let column = (1..levels).fold(
                leaf,
                |inner, _| json!({"name": "l", "field_id": 1, "type": "list", "fields": [inner]}),
            );
            Plan::from_json(&json!({"dataset": "d", "contract": "c", "columns": [column]}).to_string())
        };
        assert!(nested(crate::plan::MAX_NESTING).is_ok());
        assert!(nested(crate::plan::MAX_NESTING + 1).is_err());
    }

    fn item() -> impl Strategy<Value = Value> {
        let z = prop_oneof![Just(Value::Null), "[a-z\"\\\\é]{0,20}".prop_map(Value::String)];
        prop_oneof![
            1 => Just(Value::Null),
            4 => (z, proptest::option::of(0..999_i64)).prop_map(|(z, d)| match d {
                Some(d) => json!({"d": d, "z": z}),
                None => json!({"z": z}),
            }),
        ]
    }

    fn object() -> impl Strategy<Value = Value> {
        let list = proptest::option::of(prop::collection::vec(item(), 0..4));
        prop_oneof![
            1 => Just(Value::Null),
            6 => (proptest::option::of(0..i64::MAX), "[a-zé\n]{0,9}", list).prop_map(|(x, y, list)| {
                json!({"x": x, "y": y, "list": list})
            }),
        ]
    }

    /// The value as the columns have it: every field is there, and missing ones are null. Nulls that the writer leaves out are
    /// left out on both sides.
    fn without_nulls(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(_, value)| !value.is_null());
                Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
            Value::Number(number) => json!(number.as_f64()),
            other => other.clone(),
        }
    }

    fn has_no_equal_items(value: &Value) -> bool {
        let items: Vec<_> = value["list"].as_array().into_iter().flatten().map(without_nulls).collect();
        (1..items.len()).all(|at| !items[..at].contains(&items[at]))
    }

    proptest! {
        #[test]
        fn values_are_those_of_serde_json(values in prop::collection::vec(object(), 1..20)) {
            let values: Vec<_> = values.into_iter().filter(has_no_equal_items).collect();
            let text: String = values.iter().map(|value| format!("{}\n", json!({"a": value}))).collect();
            let parsed = read(&compiled("reject"), &text);
            prop_assert_eq!(parsed.rejects.len(), 0);
            let expected: Vec<_> = values.iter().map(|value| without_nulls(&json!({"a": value}))).collect();
            let found: Vec<_> = rows(&parsed.rows).iter().map(without_nulls).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_text_is_read_or_refused(parts in prop::collection::vec(
            prop::sample::select(vec!["{", "}", "[", "]", ":", ",", "\"x\"", "\"y\"", "\"list\"", "\"z\"", "null", "1", "\"", " "]),
            0..30,
        )) {
            let text = format!("{{\"a\": {}}}\n{{\"a\": {{\"y\": \"k\"}}}}\n", parts.concat());
            let parsed = read(&compiled("ignore"), &text);
            prop_assert_eq!(parsed.records, 2);
            prop_assert_eq!(parsed.rows.num_rows() + parsed.rejects.len(), 2);
            prop_assert_eq!(parsed.spans.len(), parsed.rows.num_rows());
        }
    }
}
