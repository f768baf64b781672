//! Measures all servers in turns, so that a temporary disturbance of the machine affects each of them.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{contender::Contender, samples::Samples};

/// The processor and wall time of one load.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Processor time of the server's processes, in seconds.
    pub(crate) processor: f64,
    /// Wall time, in seconds.
    pub(crate) wall: f64,
}

/// The costs of one server, one for each round.
pub(crate) struct Costs(Vec<Cost>);

/// Measures every server once a round, in alternating order. The first round warms the caches and does not count.
pub(crate) fn measure_in_turns<const SIDES: usize, T>(
    rounds: usize,
    sides: &[Contender; SIDES],
    mut measure: impl FnMut(&Contender) -> T,
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

/// Measures the processor and wall time of `load` for every server, once a round like [`measure_in_turns`].
pub(crate) fn measure_costs<const SIDES: usize>(
    rounds: usize,
    sides: &[Contender; SIDES],
    mut load: impl FnMut(&Contender),
) -> [Costs; SIDES] {
    measure_in_turns(rounds, sides, |side| measure_cost(side, || load(side))).map(Costs)
}

/// Measures the processor time that `load` costs the server, and its wall time.
pub(crate) fn measure_cost(side: &Contender, load: impl FnOnce()) -> Cost {
    let before = side.processor_time();
    let began = Instant::now();
    load();
    let wall = began.elapsed().as_secs_f64();
    // The work of a server after its last byte counts as well.
    sleep(Duration::from_millis(30));
    Cost { processor: side.processor_time() - before, wall }
}

impl Costs {
    pub(crate) fn new(costs: Vec<Cost>) -> Self {
        Self(costs)
    }

    /// Processor time divided by `amount`, the work of one load.
    pub(crate) fn processor(&self, amount: f64) -> Samples {
        Samples::new(self.0.iter().map(|cost| cost.processor / amount).collect())
    }

    /// Wall time divided by `amount`, the work of one load.
    pub(crate) fn wall(&self, amount: f64) -> Samples {
        Samples::new(self.0.iter().map(|cost| cost.wall / amount).collect())
    }
}
