//! Measures new connections: a full TLS handshake each, with one minimal request.

use crate::{
    contender::{Contender, ContenderKind},
    context::BenchContext,
    load,
    result_row::{Goal, Row, Unit},
    rounds,
    samples::Samples,
};

pub(crate) fn measure(context: &BenchContext) -> Vec<Row> {
    let count = context.scaled(3000);
    let sides = [ContenderKind::Portcullis, ContenderKind::Static].map(|kind| Contender::start(context, kind));
    let both = rounds::measure_in_turns(context.rounds, &sides, |side| {
        let cost = rounds::measure_cost(side, || load::handshakes(context, side, "/healthz", count, 8));
        f64::from(u32::try_from(count).unwrap()) / cost.processor
    });
    let [ours, theirs] = both.map(Samples::new);
    let row = Row::new("TLS handshakes a processor second", Unit::HandshakesPerSecond, &ours, ("nginx", &theirs));
    vec![row.more_is_better().goal(Goal::Ratio(1.0))]
}
