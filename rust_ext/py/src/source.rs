//! Sources as Python gives them.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use arrow::{
    ffi_stream::RecordBatchStreamReader,
    pyarrow::FromPyArrow,
    record_batch::{RecordBatch, RecordBatchIterator},
};
use bytes::Bytes;
use dpipe_kernel::read::{Content, Source};
use pyo3::{
    exceptions::PyException,
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyAny, PyBytes},
};
use serde::de::DeserializeOwned;

use crate::{KernelError, KernelStreamError};

/// A landed file, from a dict.
pub fn landed(source: &Bound<PyAny>) -> PyResult<Source> {
    let text = source.py().import("json")?.call_method1("dumps", (source,))?.extract::<String>()?;
    serde_json::from_str(&text).map_err(|error| KernelError::new_err(error.to_string()))
}

/// A format or compression, from its name.
pub fn named<T: DeserializeOwned>(name: Option<&str>) -> PyResult<Option<T>> {
    name.map(|name| serde_json::from_value(name.into()))
        .transpose()
        .map_err(|error| KernelError::new_err(error.to_string()))
}

/// Bytes, which are borrowed as they never change; an Arrow stream or array by its capsule; or else the path of a file.
pub fn content(source: &Bound<PyAny>) -> PyResult<Content> {
    if let Ok(bytes) = source.cast::<PyBytes>() {
        return Ok(Content::Bytes(Bytes::from_owner(PyBackedBytes::from(bytes.clone()))));
    }
    if source.hasattr("__arrow_c_stream__")? {
        let reader = RecordBatchStreamReader::from_pyarrow_bound(source);
        return Ok(Content::Stream(Arc::new(Mutex::new(opened(source, reader)?))));
    }
    if source.hasattr("__arrow_c_array__")? {
        let batch = opened(source, RecordBatch::from_pyarrow_bound(source))?;
        let schema = batch.schema();
        return Ok(Content::Stream(Arc::new(Mutex::new(RecordBatchIterator::new([Ok(batch)], schema)))));
    }
    Ok(Content::File(source.extract::<PathBuf>()?))
}

/// What the producer raised is the cause of an error of the kernel's; what isn't an error, as an interrupt, passes.
fn opened<T>(source: &Bound<PyAny>, opened: PyResult<T>) -> PyResult<T> {
    let py = source.py();
    opened.map_err(|error| {
        if !error.is_instance_of::<PyException>(py) {
            return error;
        }
        let failed =
            KernelStreamError::new_err(format!("the Arrow stream can't be opened: {}", error.value(py)));
        failed.set_cause(py, Some(error));
        failed
    })
}
