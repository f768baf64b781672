//! What a case found out: rows of the report, with the goal that the project has set itself, if there is one.

use crate::samples::Samples;

/// How a number is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    SecondsPerGigabyte,
    Seconds,
    Milliseconds,
    RequestsPerSecond,
    HandshakesPerSecond,
    Megabytes,
    Times,
}

/// Which way is good.
#[derive(Clone, Copy)]
pub(crate) enum Better {
    Less,
    More,
}

/// What counts as done, in the direction of [`Better`].
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// Our median as a multiple of theirs.
    Ratio(f64),
    /// Our median itself.
    Value(f64),
}

/// One quantity on two sides.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    pub(crate) ours: Samples,
    pub(crate) peer: &'static str,
    pub(crate) theirs: Samples,
    pub(crate) goal: Option<Goal>,
}

impl Row {
    /// Less is better, and there is no goal yet.
    pub(crate) fn new(
        what: impl Into<String>,
        unit: Unit,
        ours: &Samples,
        (peer, theirs): (&'static str, &Samples),
    ) -> Self {
        let (ours, theirs) = (ours.clone(), theirs.clone());
        Self { what: what.into(), unit, better: Better::Less, ours, peer, theirs, goal: None }
    }

    pub(crate) fn more_is_better(self) -> Self {
        Self { better: Better::More, ..self }
    }

    pub(crate) fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// Our median as a multiple of theirs.
    pub(crate) fn ratio(&self) -> f64 {
        self.ours.median() / self.theirs.median()
    }

    /// Whether the goal is met, if there is one.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let (reached, wanted) = match self.goal? {
            Goal::Ratio(wanted) => (self.ratio(), wanted),
            Goal::Value(wanted) => (self.ours.median(), wanted),
        };
        Some(match self.better {
            Better::Less => reached <= wanted,
            Better::More => reached >= wanted,
        })
    }

    /// How many times better than the peer we are, 1 being as good.
    pub(crate) fn advantage(&self) -> f64 {
        self.advantage_of(self.ratio())
    }

    /// The advantage that would meet the goal.
    pub(crate) fn wanted_advantage(&self) -> Option<f64> {
        Some(self.advantage_of(match self.goal? {
            Goal::Ratio(wanted) => wanted,
            Goal::Value(wanted) => wanted / self.theirs.median(),
        }))
    }

    /// The advantage if all our numbers had been the worst, and the best, of the run; theirs being the median.
    pub(crate) fn range_of_advantage(&self) -> (f64, f64) {
        let theirs = self.theirs.median();
        let (one, other) =
            (self.advantage_of(self.ours.least() / theirs), self.advantage_of(self.ours.most() / theirs));
        (one.min(other), one.max(other))
    }

    fn advantage_of(&self, ratio: f64) -> f64 {
        match self.better {
            Better::Less => 1.0 / ratio,
            Better::More => ratio,
        }
    }
}
