//! The run as a picture over time: one line a backend, one column a quarter of a second.

use std::time::Duration;

use crate::picture::{COLOURS, paint};
use crate::traffic::{Kind, Sample};

const COLUMN: Duration = Duration::from_millis(250);
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// New connections answered by each of `names`, failures below, and what happened when.
pub(crate) fn draw(samples: &[Sample], names: &[&str], marks: &[(Duration, char, &str)]) {
    let new: Vec<&Sample> = samples.iter().filter(|s| s.kind == Kind::New).collect();
    let Some(end) = new.iter().map(|s| s.at).max() else { return };
    let columns = column(end) + 1;
    let count = |who: &dyn Fn(&Sample) -> bool| {
        let mut counts = vec![0usize; columns];
        for s in new.iter().filter(|s| who(s)) {
            counts[column(s.at)] += 1;
        }
        counts
    };
    let rows: Vec<Vec<usize>> =
        names.iter().map(|name| count(&|s| s.outcome.as_deref().is_ok_and(|b| b == *name))).collect();
    let most = rows.iter().flatten().copied().max().unwrap_or(1).max(1);
    for (i, (name, row)) in names.iter().zip(&rows).enumerate() {
        println!("  {name:<7} {}", paint(COLOURS[i % 4], &line(row, most)));
    }
    let failures = count(&|s| s.outcome.is_err());
    println!("  {:<7} {}", "failed", paint("31", &line(&failures, most)));
    let mut below = vec![' '; columns];
    for (at, letter, _) in marks {
        below[column(*at).min(columns - 1)] = *letter;
    }
    println!("  {:<7} {}", "", below.iter().collect::<String>());
    let legend: Vec<String> = marks.iter().map(|(_, letter, what)| format!("{letter} {what}")).collect();
    println!("  {:<7} {}; a column is {} ms", "", legend.join(", "), COLUMN.as_millis());
}

fn column(at: Duration) -> usize {
    (at.as_millis() / COLUMN.as_millis()) as usize
}

/// Anything at all shows as at least the lowest level.
fn line(row: &[usize], most: usize) -> String {
    row.iter().map(|n| LEVELS[(n * 8).div_ceil(most).min(8)]).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn levels_span_from_nothing_to_most() {
        assert_eq!(super::line(&[0, 1, 50, 100], 100), " ▁▄█");
    }
}
