//! The Python binding: converts, lets go of the interpreter, calls the kernel, converts back.

mod record_batches;
mod source;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use arrow::{ffi_stream::RecordBatchStreamReader, pyarrow::FromPyArrow, record_batch::RecordBatch};
use dpipe_kernel::{
    error::{Error, Result},
    outcome::Outcome,
    partition::PartitionValue,
    plan::Plan,
    profile::{NamedProfile, merge},
    read::Source,
    run::{Destination, Host, Options, run},
    schema,
};
use pyo3::{create_exception, exceptions::PyException, prelude::*, types::PyAny};
use serde::Serialize;

use record_batches::RecordBatches;

create_exception!(_kernel, KernelError, PyException, "The kernel could not carry out its plan.");
create_exception!(_kernel, KernelIoError, KernelError, "A file could not be opened, read or written.");
create_exception!(_kernel, KernelStreamError, KernelError, "An Arrow stream could not be opened or read on.");

/// Run the plan over the sources; see `dpipe/_kernel.pyi`.
#[pyfunction]
#[pyo3(signature = (plan, sources, *, data_dir, quarantine_dir, batch_size = 100_000, threads = 0, key_bytes = 1 << 30, profile = true, existing = None, existing_values = None, progress = None))]
#[allow(clippy::too_many_arguments)] // they are the keywords of the Python function
fn process<'py>(
    py: Python<'py>,
    plan: &str,
    sources: Vec<Bound<'py, PyAny>>,
    data_dir: PathBuf,
    quarantine_dir: PathBuf,
    batch_size: usize,
    threads: usize,
    key_bytes: usize,
    profile: bool,
    existing: Option<Py<PyAny>>,
    existing_values: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let sources: Vec<Source> = sources.iter().map(source::landed).collect::<PyResult<_>>()?;
    let mut options = Options::new(data_dir, quarantine_dir);
    options.batch_size = batch_size.max(1);
    options.threads = threads;
    options.key_bytes = key_bytes;
    options.profile = profile;
    let plan = Plan::from_json(plan).map_err(to_raise)?;
    let caller = Caller { existing, existing_values, progress, raised: None };
    let outcome = carry_out(py, &plan, &sources, &options, caller)?;
    to_python(py, &outcome)
}

/// Run the plan over one source without writing a file; see `dpipe/_kernel.pyi`.
#[pyfunction]
#[pyo3(signature = (plan, source, *, batch_id, format = None, compression = None, batch_size = 100_000, threads = 0, profile = true, keep = true))]
#[allow(clippy::too_many_arguments)] // they are the keywords of the Python function
fn process_in_memory<'py>(
    py: Python<'py>,
    plan: &str,
    source: &Bound<'py, PyAny>,
    batch_id: String,
    format: Option<&str>,
    compression: Option<&str>,
    batch_size: usize,
    threads: usize,
    profile: bool,
    keep: bool,
) -> PyResult<(Bound<'py, PyAny>, RecordBatches, RecordBatches)> {
    let source = Source {
        format: source::named(format)?,
        compression: source::named(compression)?,
        ..Source::of(batch_id, source::content(source)?)
    };
    let mut options = Options::to(if keep { Destination::Memory } else { Destination::Nowhere });
    options.batch_size = batch_size.max(1);
    options.threads = threads;
    options.profile = profile;
    let plan = Plan::from_json(plan).map_err(to_raise)?;
    let outcome = carry_out(py, &plan, &[source], &options, Caller::default())?;
    let answer = to_python(py, &outcome)?;
    Ok((
        answer,
        RecordBatches::new(schema::accepted(&plan), outcome.accepted),
        RecordBatches::new(schema::quarantine(&plan.quarantine_ids()), outcome.quarantined),
    ))
}

/// Run without the interpreter. What Python raised on the way is raised again, and a panic is an error.
fn carry_out(
    py: Python<'_>,
    plan: &Plan,
    sources: &[Source],
    options: &Options,
    mut host: Caller,
) -> PyResult<Outcome> {
    let outcome = py.detach(|| {
        let run = || run(plan, sources, options, &mut host);
        catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err(Error::Internal("the kernel panicked".into())))
    });
    outcome.map_err(|error| host.raised.unwrap_or_else(|| to_raise(error)))
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` hands it over
fn to_raise(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Stream(_) => KernelStreamError::new_err(message),
        error if error.is_io() => KernelIoError::new_err(message),
        _ => KernelError::new_err(message),
    }
}

/// A value as Python has it after JSON.
fn to_python<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).map_err(|error| KernelError::new_err(error.to_string()))?;
    py.import("json")?.call_method1("loads", (text,))
}

/// Merge what several runs said of the same columns; see `dpipe/_kernel.pyi`.
#[pyfunction]
fn merge_profiles<'py>(py: Python<'py>, profiles: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let text = py.import("json")?.call_method1("dumps", (profiles,))?.extract::<String>()?;
    let wrong =
        |error: serde_json::Error| KernelError::new_err(format!("not profiles of the kernel: {error}"));
    let parts: Vec<Vec<NamedProfile>> = serde_json::from_str(&text).map_err(wrong)?;
    to_python(py, &merge(parts))
}

/// The Python functions that a run calls back.
#[derive(Default)]
struct Caller {
    existing: Option<Py<PyAny>>,
    existing_values: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
    raised: Option<PyErr>,
}

impl Caller {
    /// Keep what Python raised, to be raised again when the run has come to its end.
    fn keep<T>(&mut self, result: PyResult<T>) -> Result<T> {
        result.map_err(|error| {
            self.raised = Some(error);
            Error::Interrupted
        })
    }
}

impl Host for Caller {
    fn existing(
        &mut self,
        partition: &BTreeMap<String, PartitionValue>,
        rows: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let reader = Python::attach(|py| {
            let Some(existing) = &self.existing else { return Ok(None) };
            let values = to_python(py, partition)?;
            let table = existing.bind(py).call1((values,))?;
            if table.is_none() {
                Ok(None)
            } else {
                RecordBatchStreamReader::from_pyarrow_bound(&table).map(Some)
            }
        });
        let Some(reader) = self.keep(reader)? else { return Ok(()) };
        for batch in reader {
            rows(&batch?)?;
        }
        Ok(())
    }

    fn existing_values(
        &mut self,
        columns: &[String],
        rows: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let parts = Python::attach(|py| {
            let Some(existing_values) = &self.existing_values else { return Ok(None) };
            existing_values.bind(py).call1((columns.to_vec(),))?.try_iter().map(|parts| Some(parts.unbind()))
        });
        let Some(parts) = self.keep(parts)? else { return Ok(()) };
        loop {
            let next = Python::attach(|py| {
                let part = parts.bind(py).clone().next().transpose()?;
                part.map(|part| RecordBatchStreamReader::from_pyarrow_bound(&part)).transpose()
            });
            let Some(reader) = self.keep(next)? else { return Ok(()) };
            for batch in reader {
                rows(&batch?)?;
            }
        }
    }

    fn progress(&mut self, records: u64, bytes: u64) -> Result<()> {
        let noted = Python::attach(|py| {
            py.check_signals()?;
            if let Some(progress) = &self.progress {
                progress.bind(py).call1((records, bytes))?;
            }
            Ok(())
        });
        self.keep(noted)
    }
}

/// The compiled part of dpipe.
#[pymodule]
fn _kernel(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("KernelError", module.py().get_type::<KernelError>())?;
    module.add("KernelIoError", module.py().get_type::<KernelIoError>())?;
    module.add("KernelStreamError", module.py().get_type::<KernelStreamError>())?;
    module.add_class::<RecordBatches>()?;
    module.add_function(wrap_pyfunction!(process, module)?)?;
    module.add_function(wrap_pyfunction!(process_in_memory, module)?)?;
    module.add_function(wrap_pyfunction!(merge_profiles, module)?)
}
