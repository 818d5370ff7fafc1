//! Record batches that other libraries take over without a copy.

use arrow::{
    datatypes::SchemaRef,
    error::ArrowError,
    ffi::FFI_ArrowSchema,
    ffi_stream::FFI_ArrowArrayStream,
    record_batch::{RecordBatch, RecordBatchIterator},
};
use pyo3::{
    prelude::*,
    types::{PyAny, PyCapsule},
};

use crate::KernelError;

/// Rows of one schema, to be read by its Arrow capsules any number of times; see `dpipe/_kernel.pyi`.
#[pyclass(frozen, module = "dpipe._kernel")]
pub struct RecordBatches {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl RecordBatches {
    /// Batches that have this schema.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches }
    }
}

#[pymethods]
impl RecordBatches {
    /// Names of the columns, in their order.
    #[getter]
    fn column_names(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Number of rows.
    fn __len__(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    fn __repr__(&self) -> String {
        format!("<{} rows of {}>", self.__len__(), self.column_names().join(", "))
    }

    /// A stream of all batches. They have the schema that they have, whatever is requested, which the protocol allows.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let batches = self.batches.clone().into_iter().map(Ok::<_, ArrowError>);
        let reader = RecordBatchIterator::new(batches, self.schema.clone());
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// The schema.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.schema.as_ref())
            .map_err(|error| KernelError::new_err(error.to_string()))?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }
}
