//! The JSON log: one line an event, `timestamp level service message` first, then context.

use serde_json::{Map, Value};
use std::{
    fmt,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Where lines go.
#[derive(Clone, Default)]
pub enum Output {
    #[default]
    Stdout,
    /// Collected, for tests.
    Buffer(Arc<Mutex<Vec<u8>>>),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Output::Stdout => "Stdout",
            Output::Buffer(_) => "Buffer",
        })
    }
}

impl Output {
    fn write(&self, line: &[u8]) {
        // A log that cannot be written has nowhere to say so.
        let _lost = match self {
            Output::Stdout => std::io::stdout().lock().write_all(line),
            Output::Buffer(buffer) => {
                buffer.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
                Ok(())
            }
        };
    }
}

/// Fields of a span, kept with it.
struct Fields(Map<String, Value>);

#[derive(Default)]
struct Collect {
    message: String,
    fields: Map<String, Value>,
}

impl Collect {
    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            // Names for the trace only.
            name if name.starts_with("otel.") || name.starts_with("http.") || name.starts_with("log.") => {}
            name => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Collect {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

/// The layer that writes.
#[derive(Debug)]
pub(super) struct JsonLog {
    service: String,
    output: Output,
}

impl JsonLog {
    pub(super) fn new(service: String, output: Output) -> Self {
        JsonLog { service, output }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLog {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let mut collect = Collect::default();
        attributes.record(&mut collect);
        if let Some(span) = ctx.span(id) {
            span.extensions_mut().insert(Fields(collect.fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let mut collect = Collect::default();
        values.record(&mut collect);
        if let Some(span) = ctx.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            fields.0.extend(collect.fields);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a log line carries the system's own time")]
    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut collect = Collect::default();
        event.record(&mut collect);
        let mut context = Map::new();
        if let Some(scope) = ctx.event_scope(event) {
            for span in scope.from_root() {
                if let Some(fields) = span.extensions().get::<Fields>() {
                    context.extend(fields.0.clone());
                }
            }
        }
        let named = collect.fields.remove("service");
        let service = context
            .remove("service")
            .or(named)
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_else(|| self.service.clone());
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let now = super::rfc3339(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let level = event.metadata().level().as_str().to_lowercase();
        let mut rest = Map::new();
        for (name, value) in context.into_iter().chain(collect.fields) {
            rest.entry(name).or_insert(value);
        }
        // The four that every line has come first, in this order; a map would sort them among the others.
        let mut text = format!(
            "{{\"timestamp\":\"{now}\",\"level\":\"{level}\",\"service\":{},\"message\":{}",
            Value::from(service),
            Value::from(collect.message)
        );
        for (name, value) in rest {
            if !matches!(name.as_str(), "timestamp" | "level" | "message") {
                text.push_str(&format!(",{}:{value}", Value::from(name)));
            }
        }
        text.push_str("}\n");
        self.output.write(text.as_bytes());
    }
}

#[cfg(test)]
mod tests;
