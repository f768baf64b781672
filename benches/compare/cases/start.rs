//! Measures the time from the start of the first process to the first 401, with the data folder in the page cache.

use std::path::Path;

use crate::{
    contender::{Contender, ContenderKind},
    context::BenchContext,
    large_registry,
    result_row::{Goal, Row, Unit},
    samples::Samples,
};

const REPOSITORIES: usize = 5000;

pub(crate) fn measure(context: &BenchContext) -> Vec<Row> {
    let folder = context.new_temp_dir();
    let tree = large_registry::create(folder.path().join("data"), context.scaled(REPOSITORIES));
    vec![
        compare(context, "start to the first 401, empty", None),
        compare(context, &format!("start to the first 401, {REPOSITORIES} repositories"), Some(&tree)),
    ]
}

fn compare(context: &BenchContext, what: &str, data: Option<&Path>) -> Row {
    let kinds = [ContenderKind::Portcullis, ContenderKind::NginxAndRegistry];
    let mut times = kinds.map(|_| Vec::new());
    for round in 0..=context.rounds {
        for (kind, times) in kinds.into_iter().zip(&mut times) {
            let side = match data {
                Some(data) => Contender::start_on(context, kind, data),
                None => Contender::start(context, kind),
            };
            if round > 0 {
                times.push(side.started_in.as_secs_f64());
            }
        }
    }
    let [ours, theirs] = times.map(Samples::new);
    Row::new(what, Unit::Seconds, &ours, (kinds[1].name(), &theirs)).goal(Goal::Value(0.2))
}
