use std::fmt::Write;

/// Lines behind the first difference that are looked at: their comparison takes room for each pair of them.
const LINES_MAX: usize = 500;
/// Lines of unchanged text around a difference.
const AROUND: usize = 3;

/// The lines of two texts with `-` before those of the first alone, `+` before those of the second alone. `None` when
/// they are equal.
pub(super) fn diff(first: &str, second: &str) -> Option<String> {
    if first == second {
        return None;
    }
    let (first, second): (Vec<_>, Vec<_>) = (first.lines().collect(), second.lines().collect());
    let equal = first.iter().zip(&second).take_while(|(one, other)| one == other).count();
    let from = equal.saturating_sub(AROUND + 1);
    let end = |lines: usize| lines.min(from + LINES_MAX);
    let lines = merged(&first[from..end(first.len())], &second[from..end(second.len())]);
    let is_near = |at: usize| {
        let near = at.saturating_sub(AROUND)..(at + AROUND + 1).min(lines.len());
        lines[near].iter().any(|(sign, _)| *sign != ' ')
    };
    let mut text = String::new();
    let mut left_out = false;
    for (at, (sign, line)) in lines.iter().enumerate() {
        if is_near(at) {
            let _ = writeln!(text, "{sign} {line}");
        } else if !left_out {
            text.push_str("  ..\n");
        }
        left_out = !is_near(at);
    }
    Some(text)
}

/// Both, by their longest common subsequence.
fn merged<'a>(first: &[&'a str], second: &[&'a str]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0_usize; second.len() + 1]; first.len() + 1];
    for i in (0..first.len()).rev() {
        for j in (0..second.len()).rev() {
            common[i][j] = if first[i] == second[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < first.len() || j < second.len() {
        if i < first.len() && j < second.len() && first[i] == second[j] {
            lines.push((' ', first[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == second.len() || (i < first.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', first[i]));
            i += 1;
        } else {
            lines.push(('+', second[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_a_few_lines_around_it() {
        assert_eq!(diff("a\nb", "a\nb"), None);
        assert_eq!(diff("a\nb\nc", "a\nx\nc").as_deref(), Some("  a\n- b\n+ x\n  c\n"));
        let (long, other) = ("1\n2\n3\n4\n5\n6\n7", "1\n2\n3\n4\n5\n6\n8");
        assert_eq!(diff(long, other).as_deref(), Some("  ..\n  4\n  5\n  6\n- 7\n+ 8\n"));
        let long = |last: &str| (0..100_000).map(|n| format!("{n}\n")).collect::<String>() + last;
        let end = "  ..\n  99997\n  99998\n  99999\n- a\n+ b\n";
        assert_eq!(diff(&long("a"), &long("b")).as_deref(), Some(end));
    }
}
