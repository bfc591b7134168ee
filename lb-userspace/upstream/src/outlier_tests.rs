//! The detector by example and in a seeded simulation.

use super::*;
use crate::clock;

fn rule() -> Outlier {
    Outlier {
        consecutive_errors: 5,
        error_rate: 50,
        min_requests: 20,
        window: Duration::from_secs(10),
        eject: Duration::from_secs(30),
        max_ejected: 50,
        latency: None,
    }
}

const BAD: Sample = Sample { error: true, latency: Duration::from_millis(1) };
const GOOD: Sample = Sample { error: false, latency: Duration::from_millis(1) };

fn five_errors(d: &mut Detector, rule: &Outlier, now: Instant) {
    for _ in 0..5 {
        d.record(BAD, rule, now);
    }
}

#[test]
fn five_errors_in_a_row_and_back_after_the_time() {
    let (rule, start) = (rule(), clock::now());
    let mut d = Detector::default();
    for _ in 0..4 {
        assert!(!d.record(BAD, &rule, start));
    }
    assert!(!d.record(GOOD, &rule, start), "a good one in between");
    for _ in 0..4 {
        assert!(!d.record(BAD, &rule, start));
    }
    assert!(d.record(BAD, &rule, start));
    assert_eq!(d.decide(true, &rule, start), Some(start + rule.eject));
    assert_eq!(d.ejection(start).map(|e| e.why.as_str()), Some("5 errors in a row"));
    assert!(d.ejection(start + rule.eject).is_none());
}

#[test]
fn a_rate_needs_enough_requests_and_a_window_forgets() {
    let (rule, start) = (rule(), clock::now());
    let mut d = Detector::default();
    for i in 0..19 {
        assert!(!d.record(if i % 2 == 0 { BAD } else { GOOD }, &rule, start));
    }
    let mut later = d.clone();
    assert!(d.record(BAD, &rule, start), "11 of 20");
    assert!(!later.record(BAD, &rule, start + Duration::from_secs(11)), "one of one, too few");
}

#[test]
fn slow_answers_eject_where_the_rule_says() {
    let rule = Outlier { latency: Some(Duration::from_millis(100)), error_rate: 0, ..rule() };
    let now = clock::now();
    let mut d = Detector::default();
    let slow = Sample { error: false, latency: Duration::from_millis(150) };
    let said = (0..20).filter(|_| d.record(slow, &rule, now)).count();
    assert_eq!(said, 1);
    d.decide(true, &rule, now);
    assert_eq!(d.ejection(now).map(|e| e.why.as_str()), Some("150 ms on average"));
}

#[test]
fn ejections_in_a_row_double_up_to_ten_times() {
    let (rule, mut now) = (rule(), clock::now());
    let mut d = Detector::default();
    let mut lengths = Vec::new();
    for _ in 0..6 {
        five_errors(&mut d, &rule, now);
        let until = d.decide(true, &rule, now).expect("ejected");
        lengths.push((until - now).as_secs());
        now = until;
    }
    assert_eq!(lengths, [30, 60, 120, 240, 300, 300]);
    now += Duration::from_secs(301);
    five_errors(&mut d, &rule, now);
    assert_eq!(d.decide(true, &rule, now), Some(now + rule.eject), "it was good for long enough");
}

#[test]
fn a_refused_wish_starts_anew() {
    let (rule, now) = (rule(), clock::now());
    let mut d = Detector::default();
    five_errors(&mut d, &rule, now);
    assert_eq!(d.decide(false, &rule, now), None);
    assert!(!d.wishes() && d.ejection(now).is_none());
    assert!(!d.record(BAD, &rule, now));
}

#[test]
fn half_of_a_pool_is_rounded_down() {
    assert_eq!([1, 2, 3, 10].map(|n| most_ejected(n, 50)), [0, 1, 1, 5]);
}

/// Against a plain list of all samples.
#[test]
fn the_window_agrees_with_a_list_of_everything() {
    let rule = Outlier { consecutive_errors: 0, ..rule() };
    for seed in 0..30u64 {
        let mut state = seed;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let start = clock::now();
        let (mut now, mut d, mut all) = (start, Detector::default(), Vec::new());
        for _ in 0..500 {
            now += Duration::from_millis(random(400));
            let sample = if random(100) < 45 { BAD } else { GOOD };
            all.push((now, sample));
            d.record(sample, &rule, now);
            // The oldest bucket may be up to one width short of the window.
            let within = |w: Duration| all.iter().filter(move |(at, _)| now.duration_since(*at) < w);
            let rate = |w: Duration| {
                let (n, bad) = (within(w).count(), within(w).filter(|(_, s)| s.error).count());
                (n, bad)
            };
            let (most, _) = rate(rule.window);
            let (least, _) = rate(rule.window - rule.window / BUCKETS);
            let seen: u64 = d.buckets.iter().map(|b| b.requests).sum();
            assert!(least as u64 <= seen && seen <= most as u64, "seed {seed}: {least} {seen} {most}");
            let errors: u64 = d.buckets.iter().map(|b| b.errors).sum();
            assert_eq!(d.wishes(), seen >= 20 && errors * 2 >= seen, "seed {seed}");
        }
    }
}
