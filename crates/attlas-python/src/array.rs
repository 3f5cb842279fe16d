//! Numbers on their way out: memory of the library that NumPy looks into without a copy.

use attlas::{Buffer, Numbers};
use half::f16;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Read-only numbers with a shape. `numpy.asarray` of it is a view, which keeps it, and so the memory, alive.
#[pyclass(frozen, module = "attlas._attlas")]
pub struct Array {
    shape: Vec<usize>,
    memory: Memory,
}

enum Memory {
    F16(Buffer<f16>),
    F32(Buffer<f32>),
    F64(Buffer<f64>),
}

impl Array {
    /// Numbers of 32 bits.
    pub fn f32(shape: impl Into<Vec<usize>>, numbers: impl Into<Buffer<f32>>) -> Array {
        Array { shape: shape.into(), memory: Memory::F32(numbers.into()) }
    }

    /// Numbers of 64 bits.
    pub fn f64(shape: impl Into<Vec<usize>>, numbers: impl Into<Buffer<f64>>) -> Array {
        Array { shape: shape.into(), memory: Memory::F64(numbers.into()) }
    }

    /// Numbers of a recording as they are stored; those in bfloat16, which NumPy does not know, as float32.
    pub fn of(shape: impl Into<Vec<usize>>, numbers: &Numbers) -> Result<Array, attlas::Error> {
        let memory = match numbers {
            Numbers::F32(numbers) => Memory::F32(numbers.load()?),
            Numbers::F16(numbers) => Memory::F16(numbers.load()?),
            Numbers::Bf16(_) => Memory::F32(numbers.read_all()?.into_owned().into()),
        };
        Ok(Array { shape: shape.into(), memory })
    }
}

#[pymethods]
impl Array {
    /// Where the numbers lie, as NumPy's array interface has it (version 3).
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (letter, size, address) = match &self.memory {
            Memory::F16(numbers) => ('f', 2, numbers.as_ptr() as usize),
            Memory::F32(numbers) => ('f', 4, numbers.as_ptr() as usize),
            Memory::F64(numbers) => ('f', 8, numbers.as_ptr() as usize),
        };
        let order = if cfg!(target_endian = "little") { '<' } else { '>' };
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("typestr", format!("{order}{letter}{size}"))?;
        interface.set_item("shape", pyo3::types::PyTuple::new(py, &self.shape)?)?;
        interface.set_item("data", (address, true))?; // read-only
        Ok(interface)
    }
}
