//! Measures the time from the start of the first process to the first 401, with the data folder in the page cache.

use std::path::Path;

use crate::{
    context::Context,
    outcome::{Goal, Row, Unit},
    samples::Samples,
    side::{Kind, Side},
    tree,
};

const REPOSITORIES: usize = 5000;

pub(crate) fn measure(context: &Context) -> Vec<Row> {
    let folder = context.folder();
    let tree = tree::make(folder.path().join("data"), context.scaled(REPOSITORIES));
    vec![
        compare(context, "start to the first 401, empty", None),
        compare(context, &format!("start to the first 401, {REPOSITORIES} repositories"), Some(&tree)),
    ]
}

fn compare(context: &Context, what: &str, data: Option<&Path>) -> Row {
    let kinds = [Kind::Portcullis, Kind::NginxAndRegistry];
    let mut times = kinds.map(|_| Vec::new());
    for round in 0..=context.rounds {
        for (kind, times) in kinds.into_iter().zip(&mut times) {
            let side = match data {
                Some(data) => Side::start_on(context, kind, data),
                None => Side::start(context, kind),
            };
            if round > 0 {
                times.push(side.started_in.as_secs_f64());
            }
        }
    }
    let [ours, theirs] = times.map(Samples::new);
    Row::new(what, Unit::Seconds, &ours, (kinds[1].name(), &theirs)).goal(Goal::Value(0.2))
}
