//! Rule unit tests: the files that `promtool test rules` reads, run by the same code that runs in production.
//!
//! Every rule file a test names is evaluated at every `evaluation_interval` from the start to the last time that
//! a test asks about; alerts and expressions are then compared with what the test expects.

mod file;
mod run;

pub use file::{AlertCase, ExpectedAlert, ExprCase, TestFile, TestGroup};
pub use run::{Failure, Report, run_file};

#[cfg(test)]
mod tests;
