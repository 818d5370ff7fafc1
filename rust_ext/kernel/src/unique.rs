//! Columns whose values no two rows share: who has a value, and when it is free again.

use std::{
    collections::{HashMap, HashSet},
    iter::once,
    ops::Range,
    path::Path,
    sync::Arc,
};

use arrow::array::Array;

use crate::{
    dedupe::{Found, KeyIndex, Newcomers, Places, RecordPlace},
    error::Result,
    keys::{Keys, ValueEncoder},
};

/// A value that another row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Index of the plan's column.
    pub column: usize,
    /// The record that has it.
    pub by: RecordPlace,
}

/// The values of all unique columns seen so far. Nulls are no values.
pub struct UniqueValues {
    columns: Vec<Column>,
    /// Rows whose places others took: their values are free, whatever the indexes say.
    gone: HashSet<RecordPlace>,
}

struct Column {
    column: usize,
    index: KeyIndex,
    /// Further rows of the table with the value of one: from before the contract asked for uniqueness.
    sharers: HashMap<RecordPlace, Vec<RecordPlace>>,
}

/// The rows of a chunk, whose values are looked up and claimed row by row.
pub struct Claimants<'a> {
    values: &'a [Keys],
    newcomers: Vec<Newcomers<'a>>,
    /// What was found of the row that was looked up last, by column; `None` where it has no value.
    found: Vec<Option<Found>>,
}

impl UniqueValues {
    /// Nothing yet. Values of `most_held_bytes` a column are held in memory, and others in a file in `folder`.
    pub fn new(encoders: &[ValueEncoder], most_held_bytes: usize, folder: &Path) -> Self {
        let column = |encoder: &ValueEncoder| Column {
            column: encoder.column,
            index: KeyIndex::new(most_held_bytes, folder.to_owned()),
            sharers: HashMap::new(),
        };
        Self { columns: encoders.iter().map(column).collect(), gone: HashSet::new() }
    }

    /// Whether there is no unique column.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Take up values of rows that the table holds, by column.
    ///
    /// # Errors
    /// Those of [`KeyIndex::claim`].
    pub fn load(&mut self, values: Vec<Keys>, places: &Arc<Places>) -> Result<()> {
        for (column, values) in self.columns.iter_mut().zip(values) {
            let nulls = values.columns[0].nulls().cloned();
            let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            let Column { index, sharers, .. } = column;
            index.claim(values, places.clone(), is_null, |row, holder, _| {
                sharers.entry(holder.place).or_default().push(places.of(row));
                false
            })?;
        }
        Ok(())
    }

    /// The rows of a chunk, before they are looked up.
    ///
    /// # Errors
    /// Those of [`KeyIndex::enter`].
    pub fn enter<'a>(&mut self, values: &'a [Keys], places: &'a Places) -> Result<Claimants<'a>> {
        let indexes = self.columns.iter_mut().map(|column| &mut column.index);
        let newcomers = indexes.zip(values).map(|(index, values)| index.enter(values, places));
        let newcomers = newcomers.collect::<Result<_>>()?;
        Ok(Claimants { values, newcomers, found: vec![None; values.len()] })
    }

    /// See [`KeyIndex::fetch`].
    pub fn fetch(&self, claimants: &Claimants, rows: &Range<usize>) {
        for (column, newcomers) in self.columns.iter().zip(&claimants.newcomers) {
            column.index.fetch(newcomers, rows.clone());
        }
    }

    /// The values of a row that other rows have, but for the one that it takes the place of.
    ///
    /// # Errors
    /// Those of [`KeyIndex::find`].
    pub fn held(
        &mut self,
        claimants: &mut Claimants,
        row: usize,
        replaced: Option<RecordPlace>,
    ) -> Result<Vec<Held>> {
        let mut held = Vec::new();
        let Self { columns, gone } = self;
        let of_columns = claimants.newcomers.iter().zip(claimants.values).zip(&mut claimants.found);
        for (column, ((newcomers, values), found)) in columns.iter_mut().zip(of_columns) {
            *found = None;
            if values.columns[0].is_null(row) {
                continue;
            }
            let looked_up = column.index.find(newcomers, row)?;
            *found = Some(looked_up);
            if let Some((holder, _)) = looked_up.holder {
                let sharers = column.sharers.get(&holder.place).into_iter().flatten().copied();
                let is_there = |place: &RecordPlace| Some(*place) != replaced && !gone.contains(place);
                let by = once(holder.place).chain(sharers).find(is_there);
                held.extend(by.map(|by| Held { column: column.column, by }));
            }
        }
        Ok(held)
    }

    /// Give the row that was looked up last its values.
    pub fn take(&mut self, claimants: &Claimants, row: usize) {
        let of_columns = claimants.newcomers.iter().zip(&claimants.found);
        for (column, (newcomers, found)) in self.columns.iter_mut().zip(of_columns) {
            if let Some(found) = found {
                column.index.take(newcomers, row, found);
            }
        }
    }

    /// Note that another row took the place of this one.
    pub fn let_go(&mut self, place: RecordPlace) {
        self.gone.insert(place);
    }

    /// Keep the values of a chunk, whose rows are numbered from `firsts` on.
    ///
    /// # Errors
    /// Those of [`KeyIndex::keep`].
    pub fn keep(&mut self, firsts: Vec<usize>, values: Vec<Keys>, places: &Arc<Places>) -> Result<()> {
        for ((column, first), values) in self.columns.iter_mut().zip(firsts).zip(values) {
            column.index.keep(first, values, places.clone())?;
        }
        Ok(())
    }
}

impl Claimants<'_> {
    /// The numbers of the first row, by column.
    pub fn firsts(&self) -> Vec<usize> {
        self.newcomers.iter().map(|newcomers| newcomers.first).collect()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use proptest::{option, prelude::*};

    use super::*;
    use crate::{numbering::Numbering, plan::Plan};

    type Row = [Option<i64>; 2];

    fn encoders() -> Vec<ValueEncoder> {
        let plan = serde_json::json!({
            "dataset": "d", "contract": "c", "unique": ["a", "b"],
            "columns": [
                {"name": "a", "field_id": 1, "type": "int64"}, {"name": "b", "field_id": 2, "type": "int64"},
            ],
        });
        ValueEncoder::each(&Plan::from_json(&plan.to_string()).unwrap()).unwrap()
    }

    /// The rows' values by column; all under one hash, or under good ones.
    fn keys(encoders: &[ValueEncoder], rows: &[Row], collide: bool) -> Vec<Keys> {
        let of_column = |encoder: &ValueEncoder| {
            let values: ArrayRef =
                Arc::new(Int64Array::from_iter(rows.iter().map(|row| row[encoder.column])));
            let mut keys = encoder.encode(&values).unwrap();
            if collide {
                keys.hashes.fill(42 << 32);
            }
            keys
        };
        encoders.iter().map(of_column).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn a_row_takes_all_of_its_values_or_none_whatever_collides_or_is_spilled(
            table in prop::collection::vec((option::of(0..30_i64), option::of(0..30_i64)), 0..20),
            chunks in prop::collection::vec(
                prop::collection::vec(((option::of(0..30_i64), option::of(0..30_i64)), option::of(0..20_u64)), 0..20),
                1..6,
            ),
            collide: bool,
            most_held_bytes in prop::sample::select(vec![0, 300, usize::MAX]),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let encoders = encoders();
            let mut unique = UniqueValues::new(&encoders, most_held_bytes, folder.path());
            // What there is, said again: the rows that have each value, of each column.
            let mut holders: [HashMap<i64, Vec<RecordPlace>>; 2] = Default::default();
            let existing: Vec<Row> = table.iter().map(|(a, b)| [*a, *b]).collect();
            let listed: Vec<_> = (0..existing.len()).map(|at| RecordPlace { batch: 1, record: at as u64 }).collect();
            for (row, place) in existing.iter().zip(&listed) {
                for (values, value) in holders.iter_mut().zip(row) {
                    value.iter().for_each(|value| values.entry(*value).or_default().push(*place));
                }
            }
            unique.load(keys(&encoders, &existing, collide), &Arc::new(Places::Listed(listed))).unwrap();
            let mut before = 0;
            for chunk in &chunks {
                let rows: Vec<Row> = chunk.iter().map(|((a, b), _)| [*a, *b]).collect();
                let values = keys(&encoders, &rows, collide);
                let places = Arc::new(Places::Chunk { batch: 0, before, numbering: Numbering::default() });
                let mut claimants = unique.enter(&values, &places).unwrap();
                for (at, (row, (_, replaced))) in rows.iter().zip(chunk).enumerate() {
                    // Some rows take the place of one of the table.
                    let replaced = replaced.map(|record| RecordPlace { batch: 1, record });
                    let found = unique.held(&mut claimants, at, replaced).unwrap();
                    let mut expected = Vec::new();
                    for (column, value) in row.iter().enumerate() {
                        let others = value.iter().flat_map(|value| holders[column].get(value).into_iter().flatten());
                        let by = others.copied().find(|place| Some(*place) != replaced);
                        expected.extend(by.map(|by| Held { column, by }));
                    }
                    prop_assert_eq!(&found, &expected);
                    if !found.is_empty() {
                        continue;
                    }
                    unique.take(&claimants, at);
                    let place = RecordPlace { batch: 0, record: before + at as u64 + 1 };
                    for (values, value) in holders.iter_mut().zip(row) {
                        if let Some(replaced) = replaced {
                            values.values_mut().for_each(|places| places.retain(|place| *place != replaced));
                        }
                        value.iter().for_each(|value| values.entry(*value).or_default().push(place));
                    }
                    replaced.into_iter().for_each(|replaced| unique.let_go(replaced));
                }
                let firsts = claimants.firsts();
                unique.keep(firsts, values, &places).unwrap();
                before += chunk.len() as u64;
            }
        }
    }
}
