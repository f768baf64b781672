//! Measures complete catalog and tag lists of large registries, after the first request.

use std::time::Instant;

use serde_json::Value;

use crate::{
    contender::{Contender, ContenderKind},
    context::BenchContext,
    large_registry::{self, MANY_TAGS},
    result_row::{Goal, Row, Unit},
    rounds,
    samples::Samples,
};

pub(crate) fn measure(context: &BenchContext) -> Vec<Row> {
    [5000, 20_000].into_iter().flat_map(|size| of_size(context, size)).collect()
}

fn of_size(context: &BenchContext, size: usize) -> Vec<Row> {
    let count = context.scaled(size);
    let folder = context.new_temp_dir();
    let tree = large_registry::create(folder.path().join("data"), count);
    // Neither server writes, so both can use the same folder.
    let sides = [ContenderKind::Portcullis, ContenderKind::NginxAndRegistry]
        .map(|kind| Contender::start_on(context, kind, &tree));
    let catalog = (format!("/v2/_catalog?n={count}"), "registry:catalog:*".to_owned(), "repositories");
    let tags = (format!("/v2/{MANY_TAGS}/tags/list?n={count}"), format!("repository:{MANY_TAGS}:pull"), "tags");

    let mut rows = Vec::new();
    for (name, (path, scope, field)) in [("catalog", catalog), ("tags", tags)] {
        let both = rounds::measure_in_turns(context.rounds * 3, &sides, |side| {
            let authorization = side.authorization(&scope);
            let began = Instant::now();
            let body = side.fetch(&path, authorization.as_deref());
            let milliseconds = began.elapsed().as_secs_f64() * 1000.0;
            let list: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(list[field].as_array().unwrap().len(), count, "{path} of {}", side.kind.name());
            milliseconds
        });
        let [ours, theirs] = both.map(Samples::new);
        let row = Row::new(format!("{name} of {size}"), Unit::Milliseconds, &ours, (sides[1].kind.name(), &theirs));
        rows.push(if size == 5000 { row.goal(Goal::Ratio(0.1)) } else { row });
    }
    rows
}
