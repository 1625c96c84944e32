//! What the page says and shows, apart from HTTP.

mod locale;
mod page;
mod texts;

pub(crate) use locale::Locale;
pub(crate) use page::{Choice, Home, Outcome, Reply};
pub(crate) use texts::Texts;
