//! Measures repeated requests of one manifest on 16 connections: with Basic authentication, and with a token.

use crate::{
    client::basic_authorization,
    contender::{Contender, ContenderKind},
    context::BenchContext,
    fixtures::{ALICE, BOB},
    image, load,
    result_row::{Goal, Row, Unit},
    rounds,
    samples::Samples,
};

const CONNECTIONS: usize = 16;
const REPOSITORY: &str = "small/image";

pub(crate) fn measure(context: &BenchContext) -> Vec<Row> {
    let [portcullis, proxied, bare] =
        [ContenderKind::Portcullis, ContenderKind::NginxAndRegistry, ContenderKind::Registry].map(|kind| {
            let side = Contender::start(context, kind);
            image::put_small(&side, REPOSITORY, "1");
            side
        });
    let mut rows = Vec::new();
    let sides = [portcullis, proxied];
    for user in [&ALICE, &BOB] {
        let name = format!("manifest, Basic, bcrypt at cost {}", user.cost);
        let both = compare(context, &sides, &name, |_| Some(basic_authorization(user)));
        rows.extend(
            both.map(|row| if user.cost == ALICE.cost { with_goal(row, Unit::RequestsPerSecond, 40.0) } else { row }),
        );
    }
    let [portcullis, _] = sides;
    let sides = [portcullis, bare];
    let scope = format!("repository:{REPOSITORY}:pull");
    let both = compare(context, &sides, "manifest, Bearer", |side| side.authorization(&scope));
    rows.extend(both.map(|row| with_goal(row, Unit::Milliseconds, 1.0 / 20.0)));
    rows
}

fn with_goal(row: Row, unit: Unit, ratio: f64) -> Row {
    if row.unit == unit { row.goal(Goal::Ratio(ratio)) } else { row }
}

fn compare(
    context: &BenchContext,
    sides: &[Contender; 2],
    name: &str,
    authorization: impl Fn(&Contender) -> Option<String>,
) -> [Row; 2] {
    let both = rounds::measure_in_turns(context.rounds, sides, |side| {
        let authorization = authorization(side);
        let path = format!("/v2/{REPOSITORY}/manifests/1");
        let mut answered = None;
        let cost = rounds::measure_cost(side, || {
            let authorization = authorization.as_deref();
            answered = Some(load::requests(context, side, &path, authorization, CONNECTIONS, context.load_duration()));
        });
        let answered = answered.unwrap();
        (answered.per_second, cost.processor * 1000.0 / answered.count)
    });
    let [(rate, effort), (their_rate, their_effort)] = both.map(|results| {
        let (rates, efforts): (Vec<f64>, Vec<f64>) = results.into_iter().unzip();
        (Samples::new(rates), Samples::new(efforts))
    });
    let peer = sides[1].kind.name();
    [
        Row::new(format!("{name}: requests"), Unit::RequestsPerSecond, &rate, (peer, &their_rate)).more_is_better(),
        Row::new(format!("{name}: processor a request"), Unit::Milliseconds, &effort, (peer, &their_effort)),
    ]
}
