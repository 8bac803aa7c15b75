//! A row of the results: our cost, the cost of other tools, the budget; as text and as JSON.

use child::usage::Usage;
use common::display::size;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The cost of work; none for a value that was not measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Seconds of wall time.
    pub seconds: f64,
    /// Seconds of processor time, all processors together.
    pub cpu: Option<f64>,
    /// Peak memory of the largest process, in bytes.
    pub memory: Option<u64>,
}

impl From<Usage> for Cost {
    fn from(usage: Usage) -> Self {
        Self { seconds: usage.wall.as_secs_f64(), cpu: Some(usage.cpu.as_secs_f64()), memory: Some(usage.memory) }
    }
}

impl Cost {
    /// A cost of which only the wall time is known.
    #[must_use]
    pub fn of_seconds(seconds: f64) -> Self {
        Self { seconds, ..Self::default() }
    }

    fn to_text(self) -> String {
        let digits = if self.seconds < 1.0 { 3 } else { 1 };
        let mut text = format!("{:.digits$} s", self.seconds);
        if let Some(cpu) = self.cpu {
            let _ = write!(text, ", cpu {cpu:.digits$} s");
        }
        if let Some(memory) = self.memory {
            let _ = write!(text, ", {}", size(memory));
        }
        text
    }

    fn to_json(self) -> Value {
        json!({"seconds": self.seconds, "cpu_seconds": self.cpu, "memory_bytes": self.memory})
    }
}

/// The other side of a comparison.
#[derive(Clone, Debug)]
pub enum Theirs {
    /// There is no other tool.
    Nobody,
    /// The tool's name and cost.
    Cost(&'static str, Cost),
    /// The tool's name, and why it could not be measured.
    Missing(&'static str, String),
}

/// The most wall time that our side may take.
#[derive(Clone, Copy, Debug)]
pub enum Budget {
    /// No limit.
    None,
    /// This fraction of the other side's time.
    Ratio(f64),
    /// This many seconds.
    Seconds(f64),
}

/// The most memory that making an image may take, in bytes.
pub const IMAGE_MEMORY: u64 = 256 << 20;

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Our cost.
    pub ours: Cost,
    /// The other side's cost.
    pub theirs: Theirs,
    /// The most wall time.
    pub budget: Budget,
    /// The most memory in bytes; none for no limit.
    pub memory: Option<u64>,
}

impl Row {
    /// A row without another side and without a budget.
    #[must_use]
    pub fn alone(what: String, ours: Cost) -> Self {
        Self { what, ours, theirs: Theirs::Nobody, budget: Budget::None, memory: None }
    }

    /// Our wall time divided by theirs.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        match &self.theirs {
            Theirs::Cost(_, cost) if cost.seconds > 0.0 => Some(self.ours.seconds / cost.seconds),
            _ => None,
        }
    }

    /// Whether our side is within its budgets; none without a budget, or if the other side was not measured.
    #[must_use]
    pub fn within(&self) -> Option<bool> {
        let time = match self.budget {
            Budget::None => None,
            Budget::Ratio(most) => self.ratio().map(|ratio| ratio <= most),
            Budget::Seconds(most) => Some(self.ours.seconds <= most),
        };
        let memory = self.memory.and_then(|most| Some(self.ours.memory? <= most));
        match (time, memory) {
            (Some(time), Some(memory)) => Some(time && memory),
            (time, memory) => time.or(memory),
        }
    }

    fn cells(&self) -> [String; 5] {
        let theirs = match &self.theirs {
            Theirs::Nobody => "-".to_owned(),
            Theirs::Cost(name, cost) => format!("{name}: {}", cost.to_text()),
            Theirs::Missing(name, why) => format!("{name}: NOT MEASURED, {why}"),
        };
        let mut budget = match self.budget {
            Budget::None => Vec::new(),
            Budget::Ratio(most) => vec![format!("{}", (most * 1000.0).round() / 1000.0)],
            Budget::Seconds(most) => vec![format!("{most} s")],
        };
        budget.extend(self.memory.map(size));
        let mut budget = if budget.is_empty() { "-".to_owned() } else { budget.join(", ") };
        if self.within() == Some(false) {
            budget.push_str(" OVER");
        }
        let ratio = self.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        [self.what.clone(), self.ours.to_text(), theirs, ratio, budget]
    }

    /// The row as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let theirs = match &self.theirs {
            Theirs::Nobody => Value::Null,
            Theirs::Cost(name, cost) => json!({"tool": name, "cost": cost.to_json()}),
            Theirs::Missing(name, why) => json!({"tool": name, "missing": why}),
        };
        let budget = match self.budget {
            Budget::None => Value::Null,
            Budget::Ratio(most) => json!({"ratio": most}),
            Budget::Seconds(most) => json!({"seconds": most}),
        };
        json!({
            "what": self.what, "ours": self.ours.to_json(), "theirs": theirs, "ratio": self.ratio(), "budget": budget,
            "memory_budget": self.memory, "within": self.within(),
        })
    }
}

/// All rows as a Markdown table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let head = ["what", "ours", "theirs", "ratio", "budget"].map(str::to_owned);
    let cells: Vec<[String; 5]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for (number, row) in cells.iter().enumerate() {
        let padded: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "| {} |", padded.join(" | "));
        if number == 0 {
            let _ = writeln!(text, "|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(theirs: Theirs, budget: Budget, memory: Option<u64>) -> Row {
        let ours = Cost { seconds: 1.0, cpu: Some(2.0), memory: Some(300 << 20) };
        Row { what: "w".to_owned(), ours, theirs, budget, memory }
    }

    #[test]
    fn a_row_is_compared_with_its_time_and_memory_budgets() {
        let two = Theirs::Cost("t", Cost::of_seconds(2.0));
        assert_eq!(row(two.clone(), Budget::Ratio(0.5), None).within(), Some(true));
        assert_eq!(row(two.clone(), Budget::Ratio(0.4), None).within(), Some(false));
        assert_eq!(row(two, Budget::Ratio(0.5), Some(IMAGE_MEMORY)).within(), Some(false));
        assert_eq!(row(Theirs::Missing("t", "gone".into()), Budget::Ratio(0.5), None).within(), None);
        assert_eq!(row(Theirs::Nobody, Budget::Seconds(0.9), None).within(), Some(false));
    }

    #[test]
    fn the_table_marks_missing_tools_and_exceeded_budgets() {
        let rows = [
            row(Theirs::Missing("tool", "it is not here".into()), Budget::None, Some(IMAGE_MEMORY)),
            row(Theirs::Cost("t", Cost::of_seconds(0.25)), Budget::Ratio(1.0), None),
        ];
        let text = table(&rows);
        assert!(text.contains("| 1.0 s, cpu 2.0 s, 300.0 MiB | tool: NOT MEASURED, it is not here | -     | 256.0 MiB OVER |"), "{text}");
        assert!(text.contains("| t: 0.250 s                         | 4.000 | 1 OVER         |"), "{text}");
        assert_eq!(rows[1].to_json()["within"], false);
    }
}
