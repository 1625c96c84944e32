//! AI usage to cost: reserve before the call, settle after it, refuse what would pass a budget.
//!
//! [`config`] is `alerts/budgets.yaml`; [`prices`] turns tokens into money; [`period`] tells when a budget
//! starts anew; [`Authority`] answers services. The promise, that no grant passes a budget at any concurrency
//! and across kill -9, is kept by `state`'s ledger; this crate decides what to ask of it. It speaks no HTTP.

pub mod authority;
pub mod config;
pub mod period;
pub mod prices;

pub use authority::{Authority, BudgetError, BudgetStatus, Reservation, ReservationRequest, Series};
pub use config::{BudgetConfig, BudgetRule, Field, OnExceed};
pub use period::Period;
pub use prices::{Price, PriceTable, Usage};
