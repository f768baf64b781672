//! The result of a case: rows of the report, each with the samples of both sides and the goal of the project, if any.

use crate::samples::Samples;

/// The unit of a quantity.
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

/// Whether a lower or a higher value is better.
#[derive(Clone, Copy)]
pub(crate) enum Better {
    Less,
    More,
}

/// The value to reach, in the direction of [`Better`].
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// The median of Portcullis divided by that of the peer.
    Ratio(f64),
    /// The median of Portcullis.
    Value(f64),
}

/// One quantity, measured for Portcullis and for one peer.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    pub(crate) ours: Samples,
    pub(crate) peer: &'static str,
    pub(crate) theirs: Samples,
    pub(crate) goal: Option<Goal>,
}

impl Row {
    /// A row in which less is better, without a goal.
    pub(crate) fn new(
        what: impl Into<String>,
        unit: Unit,
        ours: &Samples,
        (peer, theirs): (&'static str, &Samples),
    ) -> Self {
        let (ours, theirs) = (ours.clone(), theirs.clone());
        Self { name: what.into(), unit, better: Better::Less, ours, peer, theirs, goal: None }
    }

    pub(crate) fn more_is_better(self) -> Self {
        Self { better: Better::More, ..self }
    }

    pub(crate) fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// The median of Portcullis divided by that of the peer.
    pub(crate) fn ratio(&self) -> f64 {
        self.ours.median() / self.theirs.median()
    }

    /// Whether the goal is met; `None` without a goal.
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

    /// How many times better than the peer Portcullis is; 1 is equal.
    pub(crate) fn advantage(&self) -> f64 {
        self.advantage_of(self.ratio())
    }

    /// The advantage that would meet the goal; `None` without a goal.
    pub(crate) fn goal_advantage(&self) -> Option<f64> {
        Some(self.advantage_of(match self.goal? {
            Goal::Ratio(wanted) => wanted,
            Goal::Value(wanted) => wanted / self.theirs.median(),
        }))
    }

    /// The advantage of Portcullis' worst and best sample over the median of the peer.
    pub(crate) fn advantage_range(&self) -> (f64, f64) {
        let theirs = self.theirs.median();
        let (one, other) = (self.advantage_of(self.ours.min() / theirs), self.advantage_of(self.ours.max() / theirs));
        (one.min(other), one.max(other))
    }

    fn advantage_of(&self, ratio: f64) -> f64 {
        match self.better {
            Better::Less => 1.0 / ratio,
            Better::More => ratio,
        }
    }
}
