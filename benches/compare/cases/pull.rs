//! Measures pulls of a large blob that is in the page cache; the client discards the content.

use crate::{
    context::Context,
    data::Blob,
    load::{self, Http, upload},
    outcome::{Goal, Row, Unit},
    rounds,
    side::{Kind, Side},
};

const REPOSITORY: &str = "large/blob";

/// Name, number of requests and concurrency of each load. Four sequential pulls are long enough for processor times in
/// units of 10 ms; the 16 concurrent ones have a connection each.
const LOADS: [(&str, usize, usize); 2] = [("alone", 4, 1), ("16 at once", 16, 16)];

pub(crate) fn measure(context: &Context) -> Vec<Row> {
    let folder = context.folder();
    let blob = Blob::make(folder.path().join("blob"), context.megabytes(256));
    let sides = [Kind::Portcullis, Kind::NginxAndRegistry, Kind::Static].map(|kind| Side::start(context, kind));
    for side in &sides {
        give(context, side, &blob);
    }

    let mut rows = Vec::new();
    for http in Http::BOTH {
        for (how, requests, at_once) in LOADS {
            let [ours, theirs, of_static] = rounds::costs(context.rounds, &sides, |side| {
                let (path, authorization) = address(side, &blob);
                let amount = (requests, at_once, blob.size());
                load::pull(context, side, &path, authorization.as_deref(), amount, http);
            });
            let gigabytes = Context::gigabytes(requests * blob.size());
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
fn address(side: &Side, blob: &Blob) -> (String, Option<String>) {
    if side.kind == Kind::Static {
        return ("/blob".to_owned(), None);
    }
    let path = format!("/v2/{REPOSITORY}/blobs/{}", blob.digest());
    (path, side.authorization(&format!("repository:{REPOSITORY}:pull")))
}

fn give(context: &Context, side: &Side, blob: &Blob) {
    if side.kind == Kind::Static {
        return side.offer("blob", blob.path());
    }
    upload::give(context, side, REPOSITORY, blob);
}
