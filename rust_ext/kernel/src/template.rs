//! Records that look like the ones before them.
//!
//! Programs that write JSON write every record in one way: the same fields in the same order, the same white space. A
//! template is that way, learned from a record: the text before each value is compared as a whole, values go straight to their
//! columns ([`crate::quick`]). A record may leave out fields; one that differs otherwise is left to the general path.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    abreast::Abreast,
    cell::Cell,
    json::Cursor,
    parse::count_name,
    plan::{Plan, UnknownFields},
    quick::{Quick, QuickColumn, Scratch},
    rows::Rows,
    swar::Literal,
};

/// What a record that the template doesn't fit weighs, beside one that it fits.
const MISS: u32 = 4;
/// When misses outweigh hits by so much, the template is learned anew.
const STALE: u32 = 16;
/// A record of more fields is not learned from: each later record would be compared with all of them.
const MOST_FIELDS: usize = 1000;

/// How a source's records are written.
#[derive(Default)]
pub struct Template {
    layout: Option<Layout>,
    staleness: u32,
    /// Fields that the plan doesn't know and that are in no step any more, with the number of records that had them.
    forgotten: Vec<(Box<str>, u64)>,
}

struct Layout {
    spacing: Spacing,
    open: Literal,
    close: Literal,
    steps: Vec<Step>,
    /// Columns of the plan that no step has.
    unplaced: Vec<usize>,
    /// Steps of the record being read that no column takes.
    passed: Vec<usize>,
}

/// The white space and punctuation around names and values.
#[derive(Clone, PartialEq, Eq)]
struct Spacing {
    open: Box<[u8]>,
    comma: Box<[u8]>,
    colon: Box<[u8]>,
    close: Box<[u8]>,
}

/// A field: its name as it is written, and the plan's column.
struct Step {
    name: Box<str>,
    column: Option<QuickColumn>,
    /// The name as the first of a record, and as one after another field.
    first: Literal,
    next: Literal,
    seen: u64,
}

impl Template {
    /// Read the records of `text` that have these bytes each. `false` when one doesn't fit, and then none is in `rows`.
    #[inline(always)]
    pub fn read<const COUNT: usize>(
        &mut self,
        abreast: impl Abreast<COUNT>,
        text: &str,
        records: &[Range<usize>; COUNT],
        quick: &Quick,
        rows: &mut Rows,
        scratch: &mut Scratch,
    ) -> bool {
        let Some(layout) = &mut self.layout else { return false };
        if layout.read(abreast, text, records, quick, rows, scratch).is_none() {
            rows.take_back();
            layout.passed.clear();
            return false;
        }
        if !rows.commit(COUNT, &quick.checker.comparisons) {
            layout.passed.clear();
            return false;
        }
        for index in layout.passed.drain(..) {
            layout.steps[index].seen += 1;
        }
        self.staleness = self.staleness.saturating_sub(COUNT as u32);
        true
    }

    /// Learn from a record that the general path has accepted and the template didn't fit.
    pub fn learn(&mut self, record: &str, plan: &Plan, quick: &Quick) {
        self.staleness += MISS;
        if self.layout.is_some() && self.staleness < STALE {
            return;
        }
        self.staleness = 0;
        let Some((spacing, names)) = shape(record) else { return };
        let merged = match &self.layout {
            Some(layout) if layout.spacing == spacing => merged(layout.names(), &names),
            _ => None,
        };
        let merged = merged.filter(|names| names.len() <= MOST_FIELDS);
        let names = merged.unwrap_or_else(|| names.into_iter().map(Into::into).collect());
        let mut seen = self.layout.take().map(Layout::seen).unwrap_or_default();
        let refuse_unknown = plan.unknown_fields == UnknownFields::Reject;
        let names = names.into_iter().filter(|name| !refuse_unknown || plan.column(name).is_ok());
        self.layout = Some(Layout::new(spacing, names.collect(), plan, quick, &mut seen));
        self.forgotten.extend(seen);
    }

    /// Add the fields that the plan doesn't know to `unknown`, with the number of records that had them.
    pub fn count_unknown(self, unknown: &mut BTreeMap<String, u64>) {
        let seen = self.layout.map(Layout::seen).unwrap_or_default();
        for (name, records) in self.forgotten.into_iter().chain(seen) {
            count_name(unknown, name.into(), records);
        }
    }
}

impl Layout {
    fn new(
        spacing: Spacing,
        names: Vec<Box<str>>,
        plan: &Plan,
        quick: &Quick,
        seen: &mut BTreeMap<Box<str>, u64>,
    ) -> Self {
        let step = |name: Box<str>| {
            let quoted = [b"\"", name.as_bytes(), b"\"", &spacing.colon].concat();
            Step {
                column: plan.column(&name).ok().map(|index| quick.columns[index].clone()),
                first: Literal::new(&quoted),
                next: Literal::new(&[&spacing.comma, &quoted[..]].concat()),
                seen: seen.remove(&name).unwrap_or_default(),
                name,
            }
        };
        let steps: Vec<Step> = names.into_iter().map(step).collect();
        let is_unplaced =
            |index: &usize| steps.iter().flat_map(|step| &step.column).all(|column| column.index != *index);
        let unplaced = (0..plan.columns.len()).filter(is_unplaced).collect();
        let (open, close) = (Literal::new(&spacing.open), Literal::new(&spacing.close));
        Self { spacing, open, close, steps, unplaced, passed: Vec::new() }
    }

    fn names(&self) -> Vec<Box<str>> {
        self.steps.iter().map(|step| step.name.clone()).collect()
    }

    fn seen(self) -> BTreeMap<Box<str>, u64> {
        let unknown = self.steps.into_iter().filter(|step| step.column.is_none() && step.seen > 0);
        unknown.map(|step| (step.name, step.seen)).collect()
    }

    /// Read field after field, each of all the records, so that a processor reads them side by side: where a field begins in
    /// one hangs on the fields before it there, not on the others.
    #[inline(always)]
    fn read<const COUNT: usize>(
        &mut self,
        abreast: impl Abreast<COUNT>,
        text: &str,
        records: &[Range<usize>; COUNT],
        quick: &Quick,
        rows: &mut Rows,
        scratch: &mut Scratch,
    ) -> Option<()> {
        let (bytes, columns) = (text.as_bytes(), rows.columns());
        let starts = records.each_ref().map(|record| record.start + self.open.len());
        if !records.iter().all(|record| self.open.is_at(bytes, record.start)) {
            return None;
        }
        let mut at = starts;
        for (index, step) in self.steps.iter().enumerate() {
            let name = if index == 0 { &step.first } else { &step.next };
            if let Some(column) = &step.column
                && abreast.are_at(name, bytes, &at)
            {
                column.json(abreast, text, &mut at, name.len(), &quick.checker, columns, scratch)?;
                continue;
            }
            for (at, start) in at.iter_mut().zip(starts) {
                let name = if *at == start { &step.first } else { &step.next };
                if name.is_at(bytes, *at) {
                    *at += name.len();
                    match &step.column {
                        Some(column) => {
                            *at = column.json_value(text, *at, &quick.checker, columns, scratch)?
                        }
                        None => {
                            *at = skip(text, *at)?;
                            self.passed.push(index);
                        }
                    }
                } else if let Some(column) = &step.column
                    && !column.absent(1, columns)
                {
                    return None;
                }
            }
        }
        for column in &self.unplaced {
            if !quick.columns[*column].absent(COUNT, columns) {
                return None;
            }
        }
        let ends = |(record, at): (&Range<usize>, usize)| {
            at + self.close.len() == record.end && self.close.is_at(bytes, at)
        };
        records.iter().zip(at).all(ends).then_some(())
    }
}

/// The place after a value that no column takes.
fn skip(text: &str, at: usize) -> Option<usize> {
    let mut cursor = Cursor::new(text, at);
    match cursor.value().ok()? {
        // A line end inside; whether it ends the record is not to be judged here.
        Cell::Nested(nested) if nested.contains('\n') => None,
        _ => Some(cursor.at),
    }
}

/// How a record is written; `None` when a name has an escape or is there twice, or there are too many.
fn shape(record: &str) -> Option<(Spacing, Vec<&str>)> {
    let mut cursor = Cursor::new(record, 0);
    let between = |start: usize, stop: usize| Box::from(&record.as_bytes()[start..stop]);
    cursor.skip_white();
    cursor.accept(b'{')?;
    cursor.skip_white();
    let open = between(0, cursor.at);
    let (mut names, mut commas, mut colons) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        cursor.accept(b'"')?;
        let start = cursor.at;
        let Cell::Str(name) = cursor.string().ok()? else { return None };
        if names.len() == MOST_FIELDS || names.contains(&name) {
            return None;
        }
        names.push(name);
        let after_name = start + name.len() + 1;
        cursor.skip_white();
        cursor.accept(b':')?;
        cursor.skip_white();
        colons.push(between(after_name, cursor.at));
        cursor.value().ok()?;
        let after_value = cursor.at;
        cursor.skip_white();
        if cursor.accept(b',').is_none() {
            let close = between(after_value, record.len());
            let comma = commas.into_iter().next().unwrap_or_else(|| Box::from(&b","[..]));
            return Some((Spacing { open, comma, colon: colons.swap_remove(0), close }, names));
        }
        cursor.skip_white();
        commas.push(between(after_value, cursor.at));
    }
}

/// The names of both, in an order that is that of either; `None` when they contradict each other.
fn merged(mut known: Vec<Box<str>>, names: &[&str]) -> Option<Vec<Box<str>>> {
    let mut next = 0;
    for name in names {
        match known.iter().position(|other| **other == **name) {
            Some(at) if at < next => return None,
            Some(at) => next = at + 1,
            None => {
                known.insert(next, (*name).into());
                next += 1;
            }
        }
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_shape_is_its_spacing_and_its_names() {
        let (spacing, names) = shape(" { \"a\" : 1 ,\"b\": {\"c\": []} } ").unwrap();
        assert_eq!(names, ["a", "b"]);
        let found = [spacing.open, spacing.comma, spacing.colon, spacing.close];
        assert_eq!(found.map(|text| String::from_utf8(text.into()).unwrap()), [" { ", " ,", " : ", " } "]);
        assert!(shape("{\"a\\u0062\": 1}").is_none() && shape("{}").is_none());
        assert!(shape("{\"a\": 1, \"b\": 2, \"a\": 3}").is_none());
    }

    #[test]
    fn orders_are_merged_unless_they_contradict_each_other() {
        let known = || vec!["a".into(), "c".into()];
        assert_eq!(merged(known(), &["a", "b", "c", "d"]).unwrap(), ["a", "b", "c", "d"].map(Box::from));
        assert_eq!(merged(known(), &["c"]).unwrap(), known());
        assert!(merged(known(), &["c", "a"]).is_none());
    }
}
