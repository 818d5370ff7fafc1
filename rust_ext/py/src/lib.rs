//! The Python binding: converts, lets go of the interpreter, calls the kernel, converts back.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use arrow::{ffi_stream::RecordBatchStreamReader, pyarrow::FromPyArrow, record_batch::RecordBatch};
use dpipe_kernel::{
    error::{Error, Result},
    partition::PartitionValue,
    plan::Plan,
    profile::{NamedProfile, merge},
    read::Source,
    run::{Host, Options, run},
};
use pyo3::{create_exception, exceptions::PyException, prelude::*, types::PyAny};

create_exception!(_kernel, KernelError, PyException, "The kernel could not carry out its plan.");
create_exception!(_kernel, KernelIoError, KernelError, "A file could not be opened, read or written.");

/// Run the plan over the sources; see `dpipe/_kernel.pyi`.
#[pyfunction]
#[pyo3(signature = (plan, sources, *, data_dir, quarantine_dir, batch_size = 100_000, threads = 0, profile = true, existing = None, progress = None))]
#[allow(clippy::too_many_arguments)] // they are the keywords of the Python function
fn process<'py>(
    py: Python<'py>,
    plan: &str,
    sources: Vec<Bound<'py, PyAny>>,
    data_dir: PathBuf,
    quarantine_dir: PathBuf,
    batch_size: usize,
    threads: usize,
    profile: bool,
    existing: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let json = py.import("json")?;
    let dumps = |value: &Bound<PyAny>| json.call_method1("dumps", (value,))?.extract::<String>();
    let sources: Vec<Source> = sources
        .iter()
        .map(|source| {
            serde_json::from_str(&dumps(source)?).map_err(|error| KernelError::new_err(error.to_string()))
        })
        .collect::<PyResult<_>>()?;
    let mut options = Options::new(data_dir, quarantine_dir);
    options.batch_size = batch_size.max(1);
    options.threads = threads;
    options.profile = profile;
    let mut host = Caller { existing, progress, raised: None };
    let outcome = py.detach(|| {
        let run = || run(&Plan::from_json(plan)?, &sources, &options, &mut host);
        catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err(Error::Internal("the kernel panicked".into())))
    });
    match outcome {
        Ok(outcome) => {
            let text =
                serde_json::to_string(&outcome).map_err(|error| KernelError::new_err(error.to_string()))?;
            json.call_method1("loads", (text,))
        }
        Err(error) => Err(host.raised.unwrap_or_else(|| match error {
            error if error.is_io() => KernelIoError::new_err(error.to_string()),
            error => KernelError::new_err(error.to_string()),
        })),
    }
}

/// Merge what several runs said of the same columns; see `dpipe/_kernel.pyi`.
#[pyfunction]
fn merge_profiles<'py>(py: Python<'py>, profiles: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let json = py.import("json")?;
    let text = json.call_method1("dumps", (profiles,))?.extract::<String>()?;
    let wrong =
        |error: serde_json::Error| KernelError::new_err(format!("not profiles of the kernel: {error}"));
    let parts: Vec<Vec<NamedProfile>> = serde_json::from_str(&text).map_err(wrong)?;
    let merged = serde_json::to_string(&merge(parts)).map_err(wrong)?;
    json.call_method1("loads", (merged,))
}

/// The Python functions that a run calls back.
struct Caller {
    existing: Option<Py<PyAny>>,
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
            let values =
                serde_json::to_string(partition).map_err(|error| KernelError::new_err(error.to_string()))?;
            let values = py.import("json")?.call_method1("loads", (values,))?;
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
    module.add_function(wrap_pyfunction!(process, module)?)?;
    module.add_function(wrap_pyfunction!(merge_profiles, module)?)
}
