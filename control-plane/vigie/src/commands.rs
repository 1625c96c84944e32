//! The command line. Each command is a file; all of them answer `--output json`.

mod check;
mod cli;
mod remote;
mod serve;
mod test;
mod tsdb;

pub use cli::run;

use std::io::Write;

/// What a command prints at its end, and whether it went well.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) good: bool,
    pub(crate) text: String,
    pub(crate) json: serde_json::Value,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Answer {
    fn print(&self, output: Output) -> std::process::ExitCode {
        let text = match output {
            Output::Text => self.text.clone(),
            Output::Json => serde_json::to_string_pretty(&self.json).unwrap_or_default(),
        };
        // Problems of a text answer go where errors go; JSON is always the answer itself.
        let failed_text = !self.good && output == Output::Text;
        let _nobody_reads = if failed_text {
            writeln!(std::io::stderr().lock(), "{}", text.trim_end())
        } else {
            writeln!(std::io::stdout().lock(), "{}", text.trim_end())
        };
        if self.good { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
    }
}

/// Rows under a heading, columns aligned.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..head.len())
        .map(|i| {
            let cells = rows.iter().map(|r| r.get(i).map_or(0, |c| c.chars().count()));
            cells.max().unwrap_or(0).max(head[i].chars().count())
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let mut out = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            out.push_str(&format!("{cell:<width$}  "));
        }
        format!("{}\n", out.trim_end())
    };
    let mut out = line(head.to_vec());
    for row in rows {
        out.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    out
}
