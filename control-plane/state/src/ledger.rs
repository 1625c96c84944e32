//! The ledger of AI spend: holds, what became of them, and the balance of every budget.
//!
//! For each budget, scope and period: committed = spent + reserved + unconfirmed. A hold is granted only if, in
//! the same transaction, committed + hold stays within every limit it is charged to; that is the whole
//! promise, and it needs no lock because there is one writer. Money is integer nano-dollars.
//!
//! Life of a hold: `held` -> `started` -> `settled`; `held` -> `cancelled` or `expired` (freed);
//! `started` -> `unconfirmed` (expired, counts in full) -> `settled` late or by an operator.

use crate::{
    alerts::json,
    engine::{Pending, State, StateError, Tables},
};
use model::{NanoUsd, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

pub(crate) const TABLES: Tables = Tables {
    module: "ledger",
    steps: &["CREATE TABLE holds (
        id TEXT PRIMARY KEY, attempt_id TEXT NOT NULL UNIQUE, phase TEXT NOT NULL, request TEXT NOT NULL,
        amount INTEGER NOT NULL, spent INTEGER NOT NULL, created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL, settled_by TEXT, refusal TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX holds_by_expiry ON holds (expires_at) WHERE phase IN ('held', 'started');
    CREATE TABLE charges (
        hold TEXT NOT NULL, budget TEXT NOT NULL, scope TEXT NOT NULL, period_start INTEGER NOT NULL,
        PRIMARY KEY (hold, budget, scope)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE balances (
        budget TEXT NOT NULL, scope TEXT NOT NULL, period_start INTEGER NOT NULL, period_end INTEGER NOT NULL,
        spent INTEGER NOT NULL, reserved INTEGER NOT NULL, unconfirmed INTEGER NOT NULL,
        refusals INTEGER NOT NULL, PRIMARY KEY (budget, scope, period_start)
    ) STRICT, WITHOUT ROWID"],
};

/// A budget that a hold counts against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub budget: String,
    /// Which of the budget's instances: empty, or `user=alice` where there is one for each user.
    pub scope: String,
    pub period_start: Timestamp,
    pub period_end: Timestamp,
    /// `None`: the budget only warns.
    pub limit: Option<NanoUsd>,
}

/// A hold that is asked for.
#[derive(Debug, Clone)]
pub struct HoldRequest {
    pub id: String,
    pub attempt_id: String,
    /// What is asked, in a canonical form: the same attempt with another request is a conflict.
    pub request: String,
    pub amount: NanoUsd,
    pub now: Timestamp,
    pub expires_at: Timestamp,
    pub charges: Vec<Charge>,
}

/// Which budget said no, and when it starts anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub budget: String,
    pub scope: String,
    pub limit: i64,
    pub committed: i64,
    pub resets_at: Timestamp,
}

/// The answer to a [`HoldRequest`]. Repeating an attempt repeats its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    Yes {
        id: String,
        amount: NanoUsd,
        expires_at: Timestamp,
    },
    No(Refusal),
    /// The attempt was made before with another request.
    Conflict,
}

/// Where a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Held,
    Started,
    Settled,
    Cancelled,
    Expired,
    Unconfirmed,
    Refused,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Held => "held",
            Phase::Started => "started",
            Phase::Settled => "settled",
            Phase::Cancelled => "cancelled",
            Phase::Expired => "expired",
            Phase::Unconfirmed => "unconfirmed",
            Phase::Refused => "refused",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        use Phase::{Cancelled, Expired, Held, Refused, Settled, Started, Unconfirmed};
        [Held, Started, Settled, Cancelled, Expired, Unconfirmed, Refused]
            .into_iter()
            .find(|p| p.as_str() == text)
    }
}

/// The answer to a step in a hold's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Done now; the hold as it stood before.
    Done(Hold),
    /// It was done before, in the same way; the hold as it stands.
    Repeated(Hold),
    /// It cannot be done in this phase, or was done in another way.
    Conflict(Hold),
    Unknown,
}

/// A hold as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    pub id: String,
    pub phase: Phase,
    pub request: String,
    pub amount: i64,
    pub spent: i64,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub settled_by: Option<String>,
}

/// One budget's instance in one period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balance {
    pub budget: String,
    pub scope: String,
    pub period_start: Timestamp,
    pub period_end: Timestamp,
    pub spent: NanoUsd,
    pub reserved: NanoUsd,
    pub unconfirmed: NanoUsd,
    pub refusals: i64,
}

impl Balance {
    pub fn committed(&self) -> NanoUsd {
        self.spent.saturating_add(self.reserved).saturating_add(self.unconfirmed)
    }
}

impl State {
    /// Asks for a hold. Resolves when the answer is on disk.
    pub fn reserve(&self, request: HoldRequest) -> Pending<Granted> {
        self.write(move |c| reserve(c, &request))
    }

    /// The provider is about to be called.
    pub fn start_hold(&self, id: &str, now: Timestamp) -> Pending<Step> {
        self.step(id, move |c, hold| match hold.phase {
            Phase::Held if hold.expires_at > now => {
                set_phase(c, &hold.id, Phase::Started)?;
                Ok(Step::Done(hold))
            }
            Phase::Started => Ok(Step::Repeated(hold)),
            _ => Ok(Step::Conflict(hold)),
        })
    }

    /// The caller gives the hold back before it has started.
    pub fn cancel_hold(&self, id: &str) -> Pending<Step> {
        self.step(id, |c, hold| match hold.phase {
            Phase::Held => {
                shift(c, &hold.id, Move { reserved: -hold.amount, ..Move::default() })?;
                set_phase(c, &hold.id, Phase::Cancelled)?;
                Ok(Step::Done(hold))
            }
            Phase::Cancelled | Phase::Expired => Ok(Step::Repeated(hold)),
            _ => Ok(Step::Conflict(hold)),
        })
    }

    /// Moves money from reserved to spent while an answer streams: `spent` so far, never more than the hold and
    /// never less than before.
    pub fn progress_hold(&self, id: &str, spent: NanoUsd) -> Pending<Step> {
        self.step(id, move |c, hold| {
            if hold.phase != Phase::Started {
                return Ok(Step::Conflict(hold));
            }
            let spent = spent.0.clamp(hold.spent, hold.amount.max(hold.spent));
            let moved = spent - hold.spent;
            shift(c, &hold.id, Move { spent: moved, reserved: -moved, ..Move::default() })?;
            c.prepare_cached("UPDATE holds SET spent = ?2 WHERE id = ?1")?.execute((&hold.id, spent))?;
            Ok(Step::Done(hold))
        })
    }

    /// The provider's answer is in: the hold becomes `cost`, however much that is. `by` is what was told, in a
    /// canonical form; telling it again repeats the answer.
    pub fn settle_hold(&self, id: &str, cost: NanoUsd, by: String) -> Pending<Step> {
        self.step(id, move |c, hold| match hold.phase {
            Phase::Started | Phase::Unconfirmed => {
                let open = hold.amount - hold.spent;
                let (reserved, unconfirmed) =
                    if hold.phase == Phase::Started { (-open, 0) } else { (0, -open) };
                shift(c, &hold.id, Move { spent: cost.0 - hold.spent, reserved, unconfirmed })?;
                c.prepare_cached("UPDATE holds SET phase = ?2, spent = ?3, settled_by = ?4 WHERE id = ?1")?
                    .execute((&hold.id, Phase::Settled.as_str(), cost.0, &by))?;
                Ok(Step::Done(hold))
            }
            Phase::Settled if hold.settled_by.as_deref() == Some(&by) => Ok(Step::Repeated(hold)),
            _ => Ok(Step::Conflict(hold)),
        })
    }

    /// Ends what is past its time: holds that never started are freed, started ones become unconfirmed.
    /// Returns how many of each.
    pub fn expire_holds(&self, now: Timestamp) -> Pending<(usize, usize)> {
        self.write(move |c| {
            let due: Vec<Hold> = c
                .prepare_cached(&format!("SELECT {COLUMNS} FROM holds WHERE expires_at <= ?1 AND phase IN ('held', 'started') LIMIT 1000"))?
                .query_map([now], |row| Ok(read_hold(row)))?
                .collect::<Result<Result<_, StateError>, _>>()??;
            let (mut freed, mut unconfirmed) = (0, 0);
            for hold in due {
                if hold.phase == Phase::Held {
                    shift(c, &hold.id, Move { reserved: -hold.amount, ..Move::default() })?;
                    set_phase(c, &hold.id, Phase::Expired)?;
                    freed += 1;
                } else {
                    let open = hold.amount - hold.spent;
                    shift(c, &hold.id, Move { reserved: -open, unconfirmed: open, ..Move::default() })?;
                    set_phase(c, &hold.id, Phase::Unconfirmed)?;
                    unconfirmed += 1;
                }
            }
            Ok((freed, unconfirmed))
        })
    }

    /// Forgets closed holds older than `before`. Balances stay.
    pub fn forget_holds(&self, before: Timestamp) -> Pending<usize> {
        self.write(move |c| {
            c.execute(
                "DELETE FROM charges WHERE hold IN (SELECT id FROM holds
                 WHERE created_at < ?1 AND phase NOT IN ('held', 'started', 'unconfirmed'))",
                [before],
            )?;
            Ok(c.execute(
                "DELETE FROM holds WHERE created_at < ?1 AND phase NOT IN ('held', 'started', 'unconfirmed')",
                [before],
            )?)
        })
    }

    /// One hold.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn hold(&self, id: &str) -> Result<Option<Hold>, StateError> {
        self.read(|c| find(c, "id", id))
    }

    /// Holds that are unconfirmed, oldest first, 1,000 at the most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn unconfirmed_holds(&self) -> Result<Vec<Hold>, StateError> {
        self.read(|c| {
            c.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM holds WHERE phase = 'unconfirmed' ORDER BY created_at LIMIT 1000"
            ))?
            .query_map([], |row| Ok(read_hold(row)))?
            .collect::<Result<Result<_, StateError>, _>>()?
        })
    }

    /// Balances of the periods that contain `now`, by budget and scope.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn balances(&self, now: Timestamp) -> Result<Vec<Balance>, StateError> {
        self.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT budget, scope, period_start, period_end, spent, reserved, unconfirmed, refusals
                 FROM balances WHERE period_start <= ?1 AND period_end > ?1 ORDER BY budget, scope",
            )?;
            let rows = statement.query_map([now], |row| {
                Ok(Balance {
                    budget: row.get(0)?,
                    scope: row.get(1)?,
                    period_start: row.get(2)?,
                    period_end: row.get(3)?,
                    spent: NanoUsd(row.get(4)?),
                    reserved: NanoUsd(row.get(5)?),
                    unconfirmed: NanoUsd(row.get(6)?),
                    refusals: row.get(7)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn step(
        &self,
        id: &str,
        act: impl FnOnce(&Connection, Hold) -> Result<Step, StateError> + Send + 'static,
    ) -> Pending<Step> {
        let id = id.to_owned();
        self.write(move |c| match find(c, "id", &id)? {
            Some(hold) => act(c, hold),
            None => Ok(Step::Unknown),
        })
    }
}

const COLUMNS: &str = "id, phase, request, amount, spent, created_at, expires_at, settled_by";

fn read_hold(row: &Row<'_>) -> Result<Hold, StateError> {
    let phase: String = row.get(1)?;
    Ok(Hold {
        id: row.get(0)?,
        phase: Phase::parse(&phase)
            .ok_or_else(|| StateError::Damaged(format!("a hold's phase is {phase:?}")))?,
        request: row.get(2)?,
        amount: row.get(3)?,
        spent: row.get(4)?,
        created_at: row.get(5)?,
        expires_at: row.get(6)?,
        settled_by: row.get(7)?,
    })
}

fn find(c: &Connection, column: &str, value: &str) -> Result<Option<Hold>, StateError> {
    c.prepare_cached(&format!("SELECT {COLUMNS} FROM holds WHERE {column} = ?1"))?
        .query_row([value], |row| Ok(read_hold(row)))
        .optional()?
        .transpose()
}

fn set_phase(c: &Connection, id: &str, phase: Phase) -> Result<(), StateError> {
    c.prepare_cached("UPDATE holds SET phase = ?2 WHERE id = ?1")?.execute((id, phase.as_str()))?;
    Ok(())
}

/// What one hold's money does in every balance that it is charged to.
#[derive(Debug, Default, Clone, Copy)]
struct Move {
    spent: i64,
    reserved: i64,
    unconfirmed: i64,
}

fn shift(c: &Connection, hold: &str, m: Move) -> Result<(), StateError> {
    c.prepare_cached(
        "UPDATE balances SET spent = spent + ?2, reserved = reserved + ?3, unconfirmed = unconfirmed + ?4
         WHERE (budget, scope, period_start) IN (SELECT budget, scope, period_start FROM charges WHERE hold = ?1)",
    )?
    .execute((hold, m.spent, m.reserved, m.unconfirmed))?;
    Ok(())
}

fn reserve(c: &Connection, r: &HoldRequest) -> Result<Granted, StateError> {
    if let Some(before) = find(c, "attempt_id", &r.attempt_id)? {
        if before.request != r.request {
            return Ok(Granted::Conflict);
        }
        if before.phase == Phase::Refused {
            let refusal: Option<String> =
                c.query_row("SELECT refusal FROM holds WHERE id = ?1", [&before.id], |row| row.get(0))?;
            let refusal = refusal.and_then(|text| serde_json::from_str(&text).ok());
            return refusal
                .map(Granted::No)
                .ok_or_else(|| StateError::Damaged("a refusal without its reason".into()));
        }
        return Ok(Granted::Yes {
            id: before.id,
            amount: NanoUsd(before.amount),
            expires_at: before.expires_at,
        });
    }
    let mut charges = r.charges.clone();
    for charge in &mut charges {
        never_move_back(c, charge, r.now)?;
        let committed = open_balance(c, charge)?;
        if let Some(limit) = charge.limit
            && committed.checked_add(r.amount.0).is_none_or(|after| after > limit.0)
        {
            return refuse(c, r, charge, limit, committed);
        }
    }
    c.prepare_cached("INSERT INTO holds VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, NULL, NULL)")?.execute((
        &r.id,
        &r.attempt_id,
        Phase::Held.as_str(),
        &r.request,
        r.amount.0,
        r.now,
        r.expires_at,
    ))?;
    for charge in &charges {
        c.prepare_cached("INSERT INTO charges VALUES (?1, ?2, ?3, ?4)")?.execute((
            &r.id,
            &charge.budget,
            &charge.scope,
            charge.period_start,
        ))?;
    }
    shift(c, &r.id, Move { reserved: r.amount.0, ..Move::default() })?;
    Ok(Granted::Yes { id: r.id.clone(), amount: r.amount, expires_at: r.expires_at })
}

/// A period once used is never left backwards, whatever the caller's clock says. One that is over is left even for
/// a period that began before it: a budget that was by the day and is by the month now.
fn never_move_back(c: &Connection, charge: &mut Charge, now: Timestamp) -> Result<(), StateError> {
    let newest: Option<(i64, i64)> = c
        .prepare_cached(
            "SELECT period_start, period_end FROM balances WHERE budget = ?1 AND scope = ?2
             ORDER BY period_start DESC LIMIT 1",
        )?
        .query_row((&charge.budget, &charge.scope), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((start, end)) = newest
        && start > charge.period_start
        && end > now
    {
        (charge.period_start, charge.period_end) = (start, end);
    }
    Ok(())
}

/// The balance's committed money; the row is made when it is not there.
fn open_balance(c: &Connection, charge: &Charge) -> Result<i64, StateError> {
    c.prepare_cached("INSERT OR IGNORE INTO balances VALUES (?1, ?2, ?3, ?4, 0, 0, 0, 0)")?.execute((
        &charge.budget,
        &charge.scope,
        charge.period_start,
        charge.period_end,
    ))?;
    Ok(c.prepare_cached(
        "SELECT spent + reserved + unconfirmed FROM balances
         WHERE budget = ?1 AND scope = ?2 AND period_start = ?3",
    )?
    .query_row((&charge.budget, &charge.scope, charge.period_start), |row| row.get(0))?)
}

fn refuse(
    c: &Connection,
    r: &HoldRequest,
    charge: &Charge,
    limit: NanoUsd,
    committed: i64,
) -> Result<Granted, StateError> {
    c.prepare_cached(
        "UPDATE balances SET refusals = refusals + 1 WHERE budget = ?1 AND scope = ?2 AND period_start = ?3",
    )?
    .execute((&charge.budget, &charge.scope, charge.period_start))?;
    let refusal = Refusal {
        budget: charge.budget.clone(),
        scope: charge.scope.clone(),
        limit: limit.0,
        committed,
        resets_at: charge.period_end,
    };
    c.prepare_cached("INSERT INTO holds VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, NULL, ?8)")?.execute((
        &r.id,
        &r.attempt_id,
        Phase::Refused.as_str(),
        &r.request,
        r.amount.0,
        r.now,
        r.expires_at,
        json(&refusal)?,
    ))?;
    Ok(Granted::No(refusal))
}

#[cfg(test)]
mod tests;
