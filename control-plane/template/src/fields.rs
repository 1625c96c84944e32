//! `.Name`: fields of structs, keys of maps, methods.

use crate::{context::CallError, template::MissingKey, time, value::Value};

pub(crate) fn field(
    receiver: &Value,
    name: &str,
    args: &[Value],
    missing: MissingKey,
) -> Result<Value, CallError> {
    let mut value = receiver;
    while let Value::Typed(typed) = value {
        if let Some(result) = (typed.methods)(&typed.value, name, args) {
            return result;
        }
        value = &typed.value;
    }
    let result = match value {
        Value::Nil if missing == MissingKey::Error => {
            return Err(CallError(format!("nil data; no entry for key {name:?}")));
        }
        Value::Nil => Value::Nil,
        Value::Map(map) => match map.get(name) {
            Some(value) => value.clone(),
            None if missing == MissingKey::Error => {
                return Err(CallError(format!("map has no entry for key {name:?}")));
            }
            None => map.missing().clone(),
        },
        Value::Struct(s) => match s.fields.iter().find(|f| f.name == name) {
            Some(field) => field.value.clone(),
            None => return Err(unknown(receiver, name)),
        },
        Value::Time(at) => {
            return time::time_method(at, name, args).unwrap_or_else(|| Err(unknown(receiver, name)));
        }
        Value::Duration(d) => {
            return time::duration_method(*d, name, args).unwrap_or_else(|| Err(unknown(receiver, name)));
        }
        _ => return Err(unknown(receiver, name)),
    };
    if !args.is_empty() {
        return Err(CallError(format!("{name} has arguments but is not a method")));
    }
    Ok(result)
}

fn unknown(receiver: &Value, name: &str) -> CallError {
    CallError(format!("can't evaluate field {name} in type {}", receiver.type_name()))
}
