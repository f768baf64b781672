//! Measures new connections: a full TLS handshake each, with one minimal request.

use crate::{
    context::Context,
    load,
    outcome::{Goal, Row, Unit},
    rounds,
    samples::Samples,
    side::{Kind, Side},
};

pub(crate) fn measure(context: &Context) -> Vec<Row> {
    let count = context.scaled(3000);
    let sides = [Kind::Portcullis, Kind::Static].map(|kind| Side::start(context, kind));
    let both = rounds::take(context.rounds, &sides, |side| {
        let cost = rounds::cost(side, || load::handshakes(context, side, "/healthz", count, 8));
        f64::from(u32::try_from(count).unwrap()) / cost.processor
    });
    let [ours, theirs] = both.map(Samples::new);
    let row = Row::new("TLS handshakes a processor second", Unit::HandshakesPerSecond, &ours, ("nginx", &theirs));
    vec![row.more_is_better().goal(Goal::Ratio(1.0))]
}
