//! The nouns and traits that both sides of a boundary need: labels, matchers, samples, alerts, money;
//! [`Append`], [`ExemplarSink`], [`Select`], [`Tail`], [`AlertSink`].
//!
//! Layer 0. It knows no file, no clock, no socket and no runtime; every other room of the control plane may
//! use it. What only one room needs does not belong here.

pub mod alert;
pub mod append;
pub mod duration;
pub mod exemplar;
pub mod histogram;
pub mod labels;
pub mod matcher;
pub mod money;
pub mod number;
pub mod sample;
pub mod select;
pub mod tail;

pub use alert::{Alert, AlertSink, SinkError};
pub use append::{Append, AppendError, Appended, Batch, Entry, Reject, SeriesRef};
pub use exemplar::{Exemplar, ExemplarReject, ExemplarSelect, ExemplarSink, NoExemplars};
pub use histogram::{CounterReset, Histogram, Span};
pub use labels::{Label, Labels, LabelsBuilder};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use money::NanoUsd;
pub use sample::{STALE_NAN_BITS, Sample, Timestamp, Value, is_stale_nan, stale_nan};
pub use select::{
    Cancel, CancelReason, Hints, Limits, SampleColumns, Select, SelectError, SelectRequest, SeriesStream,
};
pub use tail::{Kept, NoPosition, Position, Stretch, Tail, TailBounds, TailError};
