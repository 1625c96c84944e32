//! When a budget starts anew: by day, week (Monday) or month, in a time zone.

use jiff::{ToSpan, Unit, Zoned, tz::TimeZone};
use model::Timestamp;

/// How long a budget lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    Day,
    Week,
    Month,
}

impl Period {
    pub fn as_str(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }

    /// Reads `day`, `week` or `month`.
    ///
    /// # Errors
    /// A sentence, for anything else.
    pub fn parse(text: &str) -> Result<Period, String> {
        [Period::Day, Period::Week, Period::Month]
            .into_iter()
            .find(|p| p.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a period: write day, week or month"))
    }

    /// The period that contains `at`: its first millisecond, and the first one of the next. Days are local days:
    /// 23 or 25 hours long where the zone changes its clocks.
    pub fn around(self, at: Timestamp, zone: &TimeZone) -> (Timestamp, Timestamp) {
        self.bounds(at, zone).unwrap_or_else(|_| {
            // Outside jiff's years -9999 to 9999: days of UTC, so that money still has a period.
            let day = 86_400_000;
            let start = at - at.rem_euclid(day);
            (start, start.saturating_add(day))
        })
    }

    fn bounds(self, at: Timestamp, zone: &TimeZone) -> Result<(Timestamp, Timestamp), jiff::Error> {
        let now: Zoned = jiff::Timestamp::from_millisecond(at)?.to_zoned(zone.clone());
        let today = now.date();
        let (first, next) = match self {
            Period::Day => (today, today.checked_add(1.day())?),
            Period::Week => {
                let back = i64::from(today.weekday().to_monday_zero_offset());
                let monday = today.checked_sub(back.days())?;
                (monday, monday.checked_add(7.days())?)
            }
            Period::Month => {
                let first = today.first_of_month();
                (first, first.checked_add(1.month())?)
            }
        };
        let ms = |date: jiff::civil::Date| -> Result<i64, jiff::Error> {
            Ok(date.to_zoned(zone.clone())?.round(Unit::Millisecond)?.timestamp().as_millisecond())
        };
        Ok((ms(first)?, ms(next)?))
    }
}

#[cfg(test)]
mod tests;
