//! Pictures for the terminal: bars, and the table at the end.

use std::io::IsTerminal as _;

/// What one engine's run came to.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) engine: String,
    pub(crate) requests: usize,
    /// Failures in the detection window of the kill, and outside of it.
    pub(crate) in_window: usize,
    pub(crate) outside: usize,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) broken: usize,
}

/// Text in an ANSI colour, where the terminal wants colours (<https://no-color.org>).
pub(crate) fn paint(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Colours of the backends, in their order.
pub(crate) const COLOURS: [&str; 4] = ["36", "33", "35", "34"];

pub(crate) fn title(text: &str) {
    println!("\n{}", paint("1", text));
}

/// One bar a backend: its share of the answers, and what its weight promised.
pub(crate) fn bars(rows: &[(&str, usize, Option<f64>)]) {
    const WIDTH: f64 = 44.0;
    let sum: usize = rows.iter().map(|(_, n, _)| n).sum();
    for (i, (name, n, promised)) in rows.iter().enumerate() {
        let share = if sum == 0 { 0.0 } else { *n as f64 / sum as f64 };
        let bar = bar(share * WIDTH);
        let pad = " ".repeat(WIDTH as usize - bar.chars().count());
        let promised = promised.map_or(String::new(), |p| format!("  (weight: {:4.1} %)", p * 100.0));
        println!("  {name}  {}{pad} {n:>6}  {:5.1} %{promised}", paint(COLOURS[i % 4], &bar), share * 100.0);
    }
}

/// A bar of `length` cells, to an eighth of a cell.
fn bar(length: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (length * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

pub(crate) fn summary(rows: &[Summary]) {
    title("In sum");
    println!(
        "  {:<12} {:>9} {:>22} {:>16} {:>9} {:>10} {:>7}",
        "engine", "requests", "failed in kill window", "failed otherwise", "packets", "bytes", "claims"
    );
    for r in rows {
        let claims = if r.broken == 0 { paint("32", "   held") } else { paint("31", &format!("{:>3} not", r.broken)) };
        println!(
            "  {:<12} {:>9} {:>22} {:>16} {:>9} {:>10} {claims}",
            r.engine, r.requests, r.in_window, r.outside, r.packets, r.bytes
        );
    }
    println!("  packets and bytes: client to backend, as the data plane counted them");
}

#[cfg(test)]
mod tests {
    #[test]
    fn bars_are_as_long_as_they_say() {
        assert_eq!(super::bar(2.5), "██▌");
        assert_eq!(super::bar(0.0), "");
        assert_eq!(super::bar(44.0).chars().count(), 44);
    }
}
