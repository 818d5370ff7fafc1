//! Chunks from the feed to whoever takes them up: read and parsed by the threads of a pool, handed on in their order.
//!
//! The thread that parses a chunk has read it just before, so that its bytes are still near; and the thread that takes chunks up,
//! of which there is one, is held up by neither.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Mutex, PoisonError, mpsc::channel},
};

use crate::{
    chunk::Chunk,
    error::{Error, Result},
    feed::{Feed, SourceFacts},
    job::caught,
    parse::{Compiled, Dialect, Parsed, parse},
};

/// The chunks of a feed.
pub struct Supply<'a> {
    rest: Mutex<Rest<'a>>,
    reads_here: bool,
}

/// The chunks that nobody has read yet.
struct Rest<'a> {
    feed: Feed<'a>,
    /// How many were read.
    read: u64,
    is_over: bool,
}

/// A chunk that was read.
pub struct Task {
    number: u64,
    /// Index of its source.
    pub source: usize,
    /// What is known of the source so far.
    pub facts: SourceFacts,
    /// Its records.
    pub chunk: Chunk,
}

impl<'a> Supply<'a> {
    /// The chunks of `feed`. With `reads_here` the thread that takes them up reads them as well.
    pub fn new(feed: Feed<'a>, reads_here: bool) -> Self {
        Self { rest: Mutex::new(Rest { feed, read: 0, is_over: false }), reads_here }
    }

    /// Have `pool` parse the chunks, and `take` them up on this thread in their order until it breaks off.
    ///
    /// # Errors
    /// Those of [`Feed::next_chunk`], [`parse`] and `take`.
    pub fn each_in_order<B>(
        &self,
        compiled: &Compiled,
        pool: &rayon::ThreadPool,
        mut take: impl FnMut(&Task, Parsed) -> Result<ControlFlow<B>>,
    ) -> Result<ControlFlow<B>> {
        // Twice as many chunks as threads are under way, so that no thread waits for the one chunk whose turn it is.
        let most_under_way = 2 * pool.current_num_threads() as u64;
        let (sender, receiver) = channel();
        let mut waiting = BTreeMap::new();
        let (mut asked, mut taken, mut ends) = (0, 0, 0);
        pool.in_place_scope(|scope| {
            loop {
                while ends == 0 && asked - taken < most_under_way {
                    let next = self.reads_here.then(|| self.next());
                    let sender = sender.clone();
                    scope.spawn(move |_| {
                        let parsed = || parsed(compiled, next.unwrap_or_else(|| self.next()));
                        // The receiver is gone only when the run has failed already.
                        let _ = sender.send(caught("a chunk made the parser panic", parsed));
                    });
                    asked += 1;
                }
                if taken + ends == asked {
                    return Ok(ControlFlow::Continue(()));
                }
                let answer = receiver.recv().map_err(|_| Error::Internal("the threads went away".into()))?;
                match answer? {
                    None => ends += 1,
                    Some((task, parsed)) => {
                        waiting.insert(task.number, (task, parsed));
                    }
                }
                while let Some((task, parsed)) = waiting.remove(&taken) {
                    taken += 1;
                    if let ControlFlow::Break(broken) = take(&task, parsed)? {
                        return Ok(ControlFlow::Break(broken));
                    }
                }
            }
        })
    }

    /// The feed, with what it has found out of its sources.
    pub fn into_feed(self) -> Feed<'a> {
        self.rest.into_inner().unwrap_or_else(PoisonError::into_inner).feed
    }

    /// Read the next chunk; `None` when there is none, or there was an error.
    fn next(&self) -> Result<Option<Task>> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.is_over {
            return Ok(None);
        }
        rest.is_over = true;
        let number = rest.read;
        let Some((source, facts, chunk)) = rest.feed.next_chunk()? else { return Ok(None) };
        let task = Task { number, source, facts: facts.clone(), chunk };
        (rest.read, rest.is_over) = (number + 1, false);
        Ok(Some(task))
    }
}

fn parsed(compiled: &Compiled, next: Result<Option<Task>>) -> Result<Option<(Task, Parsed)>> {
    let Some(task) = next? else { return Ok(None) };
    let dialect = match &task.facts.csv {
        Some(header) => Dialect::Csv(header.clone()),
        None => Dialect::Json,
    };
    let parsed = parse(compiled, &dialect, &task.facts.unknown_columns, &task.chunk)?;
    Ok(Some((task, parsed)))
}
