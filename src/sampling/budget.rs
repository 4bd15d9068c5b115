//! Keeps what recording costs within a share of the time: records in bursts and rests until each is paid for.
//!
//! Invariants:
//! - A burst that has cost more than its part of the budget is followed by a rest that makes up for it, whatever the
//!   reason: the next one is planned by what the last one cost.
//! - One burst costs at most a [`PER_BURST`]th of what any [`WINDOW`] may cost, as far as its cost can be foreseen; so
//!   over a window the budget is exceeded by the burst that does not fit, and by an underestimate, no more than
//!   [`TOLERANCE`].
//! - Where recording lines costs so much that bursts would be shorter than [`SHORTEST`], calls are recorded; from time
//!   to time lines are tried again.

use std::time::Duration;

/// The time over which the budget is to hold.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Most by which the budget is exceeded over a window, as a share of it.
pub const TOLERANCE: f64 = 0.25;

/// Bursts that a window can pay for.
const PER_BURST: f64 = 12.0;

/// The share of the budget that is planned for; the rest is for what cannot be measured, such as the instructions that
/// the interpreter changes when events go on and off.
const PLANNED: f64 = 0.7;

/// Shorter bursts hold too little to be of use, and going on and off would be most of their cost.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

/// A burst of calls as long as this says that lines may be affordable again.
const COMFORTABLE: Duration = Duration::from_millis(100);
/// … and every so many bursts that is tried.
const RETRY: u32 = 16;

/// What is recorded in a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    Lines,
    Calls,
}

impl Depth {
    /// The word in the metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Calls => "calls",
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Record nothing for so long first; zero: go on without a pause.
    pub rest: Duration,
    /// Then record for so long …
    pub burst: Duration,
    /// … at most, ending earlier when it has cost so much.
    pub allowance: Duration,
    pub depth: Depth,
}

/// See the module docs.
#[derive(Debug)]
pub struct Budget {
    share: f64,
    /// The deepest that may be recorded.
    deepest: Depth,
    plan: Plan,
    bursts: u32,
    /// What was spent beyond what the time that has passed pays for, in seconds.
    debt: f64,
}

impl Budget {
    /// `share` of the time, 0 to 1, may be spent on recording.
    pub fn new(share: f64, deepest: Depth) -> Self {
        let allowance = WINDOW.mul_f64(share / PER_BURST);
        let plan = Plan { rest: Duration::ZERO, burst: SHORTEST, allowance, depth: deepest };
        Self { share, deepest, plan, bursts: 0, debt: 0.0 }
    }

    /// The plan for the next burst.
    pub const fn plan(&self) -> Plan {
        self.plan
    }

    /// Recording that costs so little of the time need not end.
    pub fn is_cheap(&self, on: Duration, cost: Duration) -> bool {
        cost.as_secs_f64() <= on.as_secs_f64() * self.share * PLANNED
    }

    /// A burst is over: it lasted `on`, and going on, recording, going off and writing cost `cost` altogether. The time
    /// since the end of the burst before was `passed`.
    pub fn spent(&mut self, passed: Duration, on: Duration, cost: Duration) -> Plan {
        self.bursts += 1;
        let planned = (self.share * PLANNED).max(1e-9);
        // Time that was not used is lost: else a quiet hour would pay for a minute of full recording.
        let credit = self.plan.allowance.as_secs_f64();
        self.debt = (self.debt - passed.as_secs_f64() * planned).max(-credit) + cost.as_secs_f64();
        let ratio = cost.as_secs_f64() / on.as_secs_f64().max(1e-6);
        let affordable = Duration::from_secs_f64((credit / ratio.max(1e-6)).min(LONGEST.as_secs_f64()));
        self.plan.depth = self.depth_for(affordable);
        self.plan.burst = affordable.clamp(SHORTEST, LONGEST);
        // The rest pays the debt; what a burst costs while it lasts it pays itself.
        let rest = (self.debt / planned).max(0.0);
        self.plan.rest =
            if self.is_cheap(on, cost) { Duration::ZERO } else { Duration::from_secs_f64(rest.min(3600.0)) };
        self.plan
    }

    fn depth_for(&self, affordable: Duration) -> Depth {
        match (self.plan.depth, self.deepest) {
            (_, Depth::Calls) => Depth::Calls,
            (Depth::Lines, _) if affordable < SHORTEST => Depth::Calls,
            (Depth::Lines, _) => Depth::Lines,
            (Depth::Calls, _) if affordable >= COMFORTABLE && self.bursts.is_multiple_of(RETRY) => Depth::Lines,
            (Depth::Calls, _) => Depth::Calls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program whose recording costs so much of the time while it is on, by the time on a fake clock.
    type Load = fn(f64, Depth) -> f64;

    /// What was spent, as (begin, end, cost) in seconds; and the time that lines and calls were recorded.
    fn simulate(share: f64, load: Load, seconds: f64) -> (Vec<(f64, f64, f64)>, [f64; 2]) {
        let mut budget = Budget::new(share, Depth::Lines);
        let (mut now, mut last_end) = (0.0, 0.0);
        let (mut spent, mut recorded) = (Vec::new(), [0.0; 2]);
        while now < seconds {
            let plan = budget.plan();
            now += plan.rest.as_secs_f64();
            // Going on and off costs a millisecond; the program is looked at every five.
            let (begin, mut cost) = (now, 0.001);
            while now - begin < plan.burst.as_secs_f64() && cost < plan.allowance.as_secs_f64() {
                cost += 0.005 * load(now, plan.depth);
                now += 0.005;
            }
            recorded[plan.depth as usize] += now - begin;
            spent.push((begin, now, cost));
            let passed = Duration::from_secs_f64(now - last_end);
            budget.spent(passed, Duration::from_secs_f64(now - begin), Duration::from_secs_f64(cost));
            last_end = now;
        }
        (spent, recorded)
    }

    /// The largest share of any window of ten seconds.
    fn worst(spent: &[(f64, f64, f64)]) -> f64 {
        let cost_in = |from: f64| -> f64 {
            spent
                .iter()
                .map(|&(begin, end, cost)| {
                    let inside = (end.min(from + 10.0) - begin.max(from)).max(0.0);
                    cost * inside / (end - begin).max(1e-9)
                })
                .sum()
        };
        spent.iter().map(|&(begin, ..)| cost_in(begin) / 10.0).fold(0.0, f64::max)
    }

    #[test]
    fn no_window_of_ten_seconds_exceeds_the_budget_beyond_the_tolerance() {
        let loads: [(&str, Load); 6] = [
            ("lines", |_, depth| if depth == Depth::Lines { 3.0 } else { 0.05 }),
            ("calls", |_, depth| if depth == Depth::Lines { 6.0 } else { 5.0 }),
            ("service", |_, depth| if depth == Depth::Lines { 0.4 } else { 0.1 }),
            ("quiet", |_, _| 0.001),
            ("bursty", |now, _| if ((now / 3.0) as u64).is_multiple_of(2) { 0.005 } else { 4.0 }),
            ("extreme", |_, _| 40.0),
        ];
        for share in [0.005, 0.02, 0.1] {
            for (name, load) in loads {
                let (spent, recorded) = simulate(share, load, 300.0);
                let worst = worst(&spent);
                // One look at the load of the worst program costs more than the smallest budget allows a burst.
                let step = 0.005 * 40.0 / 10.0;
                let most = share * (1.0 + TOLERANCE) + if name == "extreme" { step } else { 0.0 };
                assert!(worst <= most + 0.005 * 6.0 / 10.0, "{name} at {share}: {worst}");
                assert!(recorded.iter().sum::<f64>() > 0.0, "{name} at {share} recorded nothing");
            }
        }
    }

    #[test]
    fn what_costs_less_than_the_budget_is_recorded_all_the_time() {
        let (spent, recorded) = simulate(0.02, |_, _| 0.001, 60.0);
        assert!(recorded[Depth::Lines as usize] > 55.0, "{recorded:?}, {} bursts", spent.len());
    }

    #[test]
    fn a_budget_is_used_and_not_just_kept() {
        let (spent, _) = simulate(0.02, |_, _| 1.0, 300.0);
        let total: f64 = spent.iter().map(|(_, _, cost)| cost).sum();
        assert!((0.010..=0.02).contains(&(total / 300.0)), "{}", total / 300.0);
    }

    #[test]
    fn calls_are_recorded_where_lines_cost_too_much_and_lines_again_when_they_do_not() {
        let load: Load = |now, depth| match (depth, now < 100.0) {
            (Depth::Lines, true) => 20.0,
            (Depth::Lines, false) => 0.01,
            (Depth::Calls, _) => 0.01,
        };
        let (_, recorded) = simulate(0.02, load, 100.0);
        assert!(recorded[Depth::Calls as usize] > 10.0 * recorded[Depth::Lines as usize], "{recorded:?}");
        let (_, recorded) = simulate(0.02, load, 400.0);
        assert!(recorded[Depth::Lines as usize] > 100.0, "{recorded:?}");
    }
}
