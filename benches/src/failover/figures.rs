//! Durations as a small table.

use std::time::Duration;

use crate::table;

/// What one thing took, run after run.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    goal: Option<Duration>,
    /// From the shortest to the longest, in milliseconds.
    sorted_ms: Vec<f64>,
}

impl Row {
    pub(crate) fn new(name: String, goal: Option<Duration>, took: Vec<Duration>) -> Self {
        let mut sorted_ms: Vec<f64> = took.iter().map(|took| took.as_secs_f64() * 1e3).collect();
        sorted_ms.sort_by(f64::total_cmp);
        Self { name, goal, sorted_ms }
    }

    fn median(&self) -> f64 {
        table::median(self.sorted_ms.clone())
    }

    /// The shortest time that so many in a hundred did not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.sorted_ms.len() * percent).div_ceil(100);
        self.sorted_ms.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// Whether the median is below the goal, if there is one.
    pub(crate) fn is_reached(&self) -> bool {
        self.goal.is_none_or(|goal| self.median() < goal.as_secs_f64() * 1e3)
    }

    fn verdict(&self) -> String {
        let word = table::word(self.is_reached());
        self.goal.map_or_else(String::new, |goal| format!("   goal median < {} ms: {word}", goal.as_millis()))
    }
}

/// Prints a line for each.
pub(crate) fn print(rows: &[Row]) {
    println!("\nuntil the first write that the next leader acknowledged [ms, lower is better]");
    let wide = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    println!("  {:wide$} {:>6} {:>9} {:>9} {:>9}", "", "runs", "median", "p90", "max");
    for row in rows {
        let (runs, median, verdict) = (row.sorted_ms.len(), row.median(), row.verdict());
        let (p90, max) = (row.percentile(90), row.percentile(100));
        println!("  {:wide$} {runs:>6} {median:>9.1} {p90:>9.1} {max:>9.1}{verdict}", row.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(goal_ms: u64, took_ms: &[u64]) -> Row {
        let took = took_ms.iter().copied().map(Duration::from_millis).collect();
        Row::new("row".to_owned(), Some(Duration::from_millis(goal_ms)), took)
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let row = row(1, &[10, 40, 20, 30]);
        assert_eq!([row.percentile(50), row.percentile(90), row.percentile(100)], [20.0, 40.0, 40.0]);
        assert_eq!(row.median(), 25.0);
    }

    #[test]
    fn a_goal_is_a_bound_that_the_median_stays_below() {
        assert!(row(21, &[10, 20, 900]).is_reached());
        assert!(!row(20, &[10, 20, 900]).is_reached());
        assert!(!row(20, &[]).is_reached(), "nothing was measured");
    }
}
