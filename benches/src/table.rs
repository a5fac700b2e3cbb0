//! Samples as a small table, with ratios and goals.

use crate::rounds::Side;

/// What the figures are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    pub(crate) decimals: usize,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// The ratio to a side, at least.
    RatioAtLeast(f64),
    /// The ratio to a side, at most.
    RatioAtMost(f64),
    /// Only said.
    None,
}

impl Goal {
    fn verdict(self, ratio: f64) -> (String, bool) {
        let (sign, goal, reached) = match self {
            Self::RatioAtLeast(goal) => (">=", goal, ratio >= goal),
            Self::RatioAtMost(goal) => ("<=", goal, ratio <= goal),
            Self::None => return (String::new(), true),
        };
        (format!("   goal {sign} {goal:.2}: {}", word(reached)), reached)
    }
}

pub(crate) fn word(reached: bool) -> &'static str {
    if reached { "PASS" } else { "below goal" }
}

/// Prints the figures of each side, one column per round.
pub(crate) fn figures(title: &str, unit: Unit, sides: &[Side<'_>]) {
    println!("\n{title} [{}]", unit.name);
    let wide = sides.iter().map(|side| side.name.len()).max().unwrap_or(0);
    let rounds = sides.first().map_or(0, |side| side.samples.len());
    let heads: String = (1..=rounds).map(|round| format!(" {:>10}", format!("round {round}"))).collect();
    println!("  {:wide$}{heads} {:>10} {:>10}", "", "median", "cpu us/op");
    for side in sides {
        let cells: String = side.figures().map(|f| format!(" {f:>10.*}", unit.decimals)).collect();
        let cpu: Option<Vec<f64>> = side.samples.iter().map(|sample| sample.cpu_us).collect();
        let cpu = cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{:.2}", median(cpu)));
        let middle = median(side.figures().collect());
        println!("  {:wide$}{cells} {middle:>10.*} {cpu:>10}", side.name, unit.decimals);
    }
}

/// Prints the ratio of the first side to another one. Whether the goal was reached: by the ratio of medians.
pub(crate) fn ratio(ours: &Side<'_>, theirs: &Side<'_>, goal: Goal) -> bool {
    let of_medians = median(ours.figures().collect()) / median(theirs.figures().collect());
    let pairs: Vec<f64> = ours.figures().zip(theirs.figures()).map(|(ours, theirs)| ours / theirs).collect();
    let (least, most) = (fold(&pairs, f64::min), fold(&pairs, f64::max));
    let (verdict, reached) = goal.verdict(of_medians);
    println!(
        "  {} / {}: medians {of_medians:.3}, per round {:.3} ({least:.3} to {most:.3}){verdict}",
        ours.name,
        theirs.name,
        median(pairs),
    );
    reached
}

/// Prints whether the median of a side is at most so much.
pub(crate) fn at_most(side: &Side<'_>, unit: Unit, goal: f64) -> bool {
    let middle = median(side.figures().collect());
    let (reached, decimals) = (middle <= goal, unit.decimals);
    println!("  {}: median {middle:.decimals$} {}   goal <= {goal}: {}", side.name, unit.name, word(reached));
    reached
}

fn fold(values: &[f64], pick: fn(f64, f64) -> f64) -> f64 {
    values.iter().copied().fold(f64::NAN, pick)
}

/// The middle value; of an even number, the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => f64::NAN,
        even if even.len() % 2 == 0 => f64::midpoint(even[middle - 1], even[middle]),
        odd => odd[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_goal_is_a_bound_that_counts_as_reached() {
        assert!(Goal::RatioAtLeast(0.85).verdict(0.85).1);
        assert!(!Goal::RatioAtLeast(0.85).verdict(0.84).1);
        assert!(Goal::RatioAtMost(1.15).verdict(1.15).1);
        assert!(!Goal::RatioAtMost(1.15).verdict(1.16).1);
        assert_eq!(Goal::None.verdict(0.0), (String::new(), true));
    }
}
