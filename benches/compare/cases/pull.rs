//! Measures pulls of a large blob that is in the page cache; the client discards the content.

use crate::{
    contender::{Contender, ContenderKind},
    context::BenchContext,
    load::{self, Http, upload},
    random_blob::RandomBlob,
    result_row::{Goal, Row, Unit},
    rounds,
};

const REPOSITORY: &str = "large/blob";

/// Name, number of requests and concurrency of each load. Four sequential pulls are long enough for processor times in
/// units of 10 ms; the 16 concurrent ones have a connection each.
const LOADS: [(&str, usize, usize); 2] = [("alone", 4, 1), ("16 at once", 16, 16)];

pub(crate) fn measure(context: &BenchContext) -> Vec<Row> {
    let folder = context.new_temp_dir();
    let blob = RandomBlob::make(folder.path().join("blob"), context.megabytes(256));
    let sides = [ContenderKind::Portcullis, ContenderKind::NginxAndRegistry, ContenderKind::Static]
        .map(|kind| Contender::start(context, kind));
    for side in &sides {
        give(context, side, &blob);
    }

    let mut rows = Vec::new();
    for http in Http::BOTH {
        for (how, requests, at_once) in LOADS {
            let [ours, theirs, of_static] = rounds::measure_costs(context.rounds, &sides, |side| {
                let (path, authorization) = address(side, &blob);
                let amount = (requests, at_once, blob.size());
                load::pull(context, side, &path, authorization.as_deref(), amount, http);
            });
            let gigabytes = BenchContext::gigabytes(requests * blob.size());
            let [peer, still] = [&sides[1], &sides[2]].map(|side| side.kind.name());
            let what = |quantity: &str| format!("pull, {}, {how}: {quantity}", http.name());
            let processor = |costs: &rounds::Costs| costs.processor(gigabytes);
            rows.push(
                Row::new(what("processor"), Unit::SecondsPerGigabyte, &processor(&ours), (peer, &processor(&theirs)))
                    .goal(Goal::Ratio(0.5)),
            );
            rows.push(
                Row::new(
                    what("processor"),
                    Unit::SecondsPerGigabyte,
                    &processor(&ours),
                    (still, &processor(&of_static)),
                )
                .goal(Goal::Ratio(0.85)),
            );
            let wall = |costs: &rounds::Costs| costs.wall(gigabytes);
            rows.push(Row::new(what("wall"), Unit::SecondsPerGigabyte, &wall(&ours), (peer, &wall(&theirs))));
        }
    }
    rows
}

/// The path of the blob on this server, and the `Authorization` header for it.
fn address(side: &Contender, blob: &RandomBlob) -> (String, Option<String>) {
    if side.kind == ContenderKind::Static {
        return ("/blob".to_owned(), None);
    }
    let path = format!("/v2/{REPOSITORY}/blobs/{}", blob.digest());
    (path, side.authorization(&format!("repository:{REPOSITORY}:pull")))
}

fn give(context: &BenchContext, side: &Contender, blob: &RandomBlob) {
    if side.kind == ContenderKind::Static {
        return side.add_file("blob", blob.path());
    }
    upload::push_one(context, side, REPOSITORY, blob);
}
