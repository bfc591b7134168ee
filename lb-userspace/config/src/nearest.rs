//! Which known word was meant.

/// The candidate nearest to what was given, if one is near enough to be worth suggesting.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let worth = (given.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (distance(&given, &c.to_lowercase()), c))
        .filter(|(d, _)| *d <= worth)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// `_` and `-` are mistaken for each other so often that it costs nothing; a beginning that was left unfinished costs
/// one.
fn distance(given: &str, candidate: &str) -> usize {
    let plain = |s: &str| s.replace(['_', '-', ' '], "");
    let (given, candidate) = (plain(given), plain(candidate));
    if given.chars().count() >= 3 && candidate.starts_with(&given) && given != candidate {
        return 1;
    }
    strsim::damerau_levenshtein(&given, &candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["algorithm", "backends", "idle_timeout", "interval", "tcp", "udp", "web"];
        for (given, meant) in [
            ("algoritm", Some("algorithm")),
            ("Backend", Some("backends")),
            ("idle-timeout", Some("idle_timeout")),
            ("idle", Some("idle_timeout")),
            ("inteval", Some("interval")),
            ("tpc", Some("tcp")),
            ("wbe", Some("web")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), meant, "{given}");
        }
    }
}
