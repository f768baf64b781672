//! Samples of one quantity, with median and percentiles.
//!
//! Invariant: there is at least one sample, and the samples are sorted.

/// The samples of one quantity, one for each round.
#[derive(Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Takes at least one number, in any order; panics without any.
    pub(crate) fn new(mut numbers: Vec<f64>) -> Self {
        assert!(!numbers.is_empty(), "nothing was measured");
        numbers.sort_by(f64::total_cmp);
        Self(numbers)
    }

    /// The median; of an even number of samples, the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let Self(numbers) = self;
        let middle = numbers.len() / 2;
        if numbers.len() % 2 == 1 { numbers[middle] } else { f64::midpoint(numbers[middle - 1], numbers[middle]) }
    }

    /// The smallest sample.
    pub(crate) fn min(&self) -> f64 {
        self.0[0]
    }

    /// The largest sample.
    pub(crate) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// The percentile at `share`, from 0 to 1: the sample that this share of all samples does not exceed.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
        let index = (share * (self.0.len() - 1) as f64).ceil() as usize;
        self.0[index]
    }
}
