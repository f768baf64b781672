//! Taking turns: whatever disturbs the machine for a while disturbs all sides.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{samples::Samples, side::Side};

/// What a load cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Of the server's processes, in seconds.
    pub(crate) processor: f64,
    /// From beginning to end, in seconds.
    pub(crate) wall: f64,
}

/// The costs of one side, round by round.
pub(crate) struct Costs(Vec<Cost>);

/// Measures every side once a round, in turns of changing order; the first, which nothing is cached for, does not count.
pub(crate) fn take<const SIDES: usize, T>(
    rounds: usize,
    sides: &[Side; SIDES],
    mut measure: impl FnMut(&Side) -> T,
) -> [Vec<T>; SIDES] {
    let mut results = [(); SIDES].map(|()| Vec::with_capacity(rounds));
    for round in 0..=rounds {
        for turn in 0..SIDES {
            let turn = if round % 2 == 0 { turn } else { SIDES - 1 - turn };
            let result = measure(&sides[turn]);
            if round > 0 {
                results[turn].push(result);
            }
        }
    }
    results
}

/// Likewise, for what is measured in processor and wall time.
pub(crate) fn costs<const SIDES: usize>(
    rounds: usize,
    sides: &[Side; SIDES],
    mut load: impl FnMut(&Side),
) -> [Costs; SIDES] {
    take(rounds, sides, |side| cost(side, || load(side))).map(Costs)
}

/// What a load costs the server.
pub(crate) fn cost(side: &Side, load: impl FnOnce()) -> Cost {
    let before = side.processor_time();
    let began = Instant::now();
    load();
    let wall = began.elapsed().as_secs_f64();
    // What a server does after its last byte belongs to it, too.
    sleep(Duration::from_millis(30));
    Cost { processor: side.processor_time() - before, wall }
}

impl Costs {
    pub(crate) fn of(costs: Vec<Cost>) -> Self {
        Self(costs)
    }

    /// Processor time divided by how much was done.
    pub(crate) fn processor(&self, amount: f64) -> Samples {
        Samples::new(self.0.iter().map(|cost| cost.processor / amount).collect())
    }

    /// Wall time divided by how much was done.
    pub(crate) fn wall(&self, amount: f64) -> Samples {
        Samples::new(self.0.iter().map(|cost| cost.wall / amount).collect())
    }
}
