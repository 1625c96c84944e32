//! Arguments of functions: values to texts, floats and counts.

use crate::{context::CallError, value::Value};

pub(crate) fn text(value: &Value) -> Result<&str, CallError> {
    value
        .text()
        .map(|t| &**t)
        .ok_or_else(|| CallError(format!("wrong type for value; expected string; got {}", value.type_name())))
}

/// Prometheus's idea of a number: numbers, durations in seconds, and texts that spell a float.
pub(crate) fn float(value: &Value) -> Result<f64, CallError> {
    match value.base() {
        Value::Float(v) => Ok(*v),
        #[expect(clippy::cast_precision_loss, reason = "as Go's float64(int64)")]
        Value::Int(n) => Ok(*n as f64),
        Value::Duration(d) => Ok(d.as_secs_f64()),
        Value::Str(t) | Value::Safe(_, t) => {
            t.parse().map_err(|_| CallError(format!("{t:?} is not a number")))
        }
        other => Err(CallError(format!("can't convert {} to float", other.type_name()))),
    }
}

pub(crate) fn exactly<const N: usize>(args: &[Value]) -> Result<&[Value; N], CallError> {
    args.try_into().map_err(|_| CallError(format!("wrong number of args: want {N} got {}", args.len())))
}
