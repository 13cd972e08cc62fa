//! When answers in a row become a verdict.

use k8s_openapi::api::core::v1::Probe;

/// How many equal answers in a row make a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes for a yes; at least 1.
    pub success: u32,
    /// Failures for a no; at least 1.
    pub failure: u32,
}

impl Thresholds {
    /// Of a probe, with the API's defaults.
    pub fn of(probe: &Probe) -> Self {
        let at_least_one =
            |n: Option<i32>, default: u32| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(default).max(1);
        Thresholds {
            success: at_least_one(probe.success_threshold, 1),
            failure: at_least_one(probe.failure_threshold, 3),
        }
    }
}

/// Counts equal answers in a row.
#[derive(Debug, Clone)]
pub struct Tally {
    thresholds: Thresholds,
    last: bool,
    /// How many times in a row `last` was the answer; 0 before the first.
    run: u32,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(thresholds: Thresholds) -> Self {
        Tally {
            thresholds,
            last: false,
            run: 0,
        }
    }

    /// Counts an answer; the verdict, if this answer (still) makes one.
    pub fn note(&mut self, yes: bool) -> Option<bool> {
        self.run = if self.run > 0 && self.last == yes {
            self.run.saturating_add(1)
        } else {
            1
        };
        self.last = yes;
        let needed = if yes {
            self.thresholds.success
        } else {
            self.thresholds.failure
        };
        (self.run >= needed).then_some(yes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as `+` and `-`; verdicts as `Y`, `N` and `.` for none.
    fn check(success: u32, failure: u32, answers: &str, verdicts: &str) {
        let mut tally = Tally::new(Thresholds { success, failure });
        let got: String = answers
            .chars()
            .map(|a| match tally.note(a == '+') {
                Some(true) => 'Y',
                Some(false) => 'N',
                None => '.',
            })
            .collect();
        assert_eq!(got, verdicts, "for {answers}");
    }

    #[test]
    fn only_answers_in_a_row_count() {
        check(1, 3, "+--+---", "Y..Y..N");
        check(2, 1, "+-++-++", ".N.YN.Y");
        check(1, 1, "-+-", "NYN");
        check(1, 3, "-----", "..NNN");
    }
}
